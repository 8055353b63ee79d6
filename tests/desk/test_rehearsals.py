"""Ten notebooks, run on the twin and then on the real rows: what the real rows break, the rehearsal has shown.

Each runs in this process with the workspace that a sandbox has, its cells one after the other as papermill would; what it asks for is
compared, since a plan is made of that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest

from tests.journey.conftest import PROJECT, policies, write_policies
from tre.desk import workspace
from tre.messages import World
from tre.secure import policies as policy_files
from tre.secure.services import create

mpl.use("agg")
pytestmark = pytest.mark.slow

PEOPLE = 1500
FIELDS: list[dict[str, Any]] = [
    {"name": "person", "type": "integer", "constraints": {"required": True, "minimum": 1, "maximum": 9999}},
    {"name": "visit", "type": "integer", "constraints": {"required": True, "minimum": 1, "maximum": 6}},
    {"name": "seen", "type": "date", "constraints": {"minimum": "2020-01-01", "maximum": "2023-12-31"}},
    {"name": "ward", "type": "string", "constraints": {"required": True, "enum": ["A", "B", "C"]}},
    {"name": "weight", "type": "number", "constraints": {"minimum": 1, "maximum": 200}, "step": 0.1},
    {"name": "beds", "type": "integer", "constraints": {"minimum": 0, "maximum": 30}},
    {"name": "alive", "type": "boolean"},
]  # fmt: skip
ADMISSIONS = {
    "title": "Admissions", "steward": "-", "population": "toy-people", "unit": {"field": "person", "max_rows": 6},
    "primary_key": ["person", "visit"], "fields": FIELDS,
    # A child of under 3 kg on ward C, and more than four visits: some real ones, and hardly one that a twin would have by itself.
    "twin": {"tier": "multivariate plausible", "epsilon": 1, "edge_cases": [{"weight": 2.5, "ward": "C"}, {"visit": 5}, {"visit": 6}]},
}  # fmt: skip
REGISTER = {
    **{k: v for k, v in ADMISSIONS.items() if k != "primary_key"}, "unit": {"field": "person", "max_rows": 1}, "primary_key": ["person"],
    "fields": [FIELDS[0], {"name": "sex", "type": "string", "constraints": {"required": True, "enum": ["f", "m"]}},
               {"name": "born", "type": "integer", "constraints": {"minimum": 1900, "maximum": 2023}}],
    "twin": {"tier": "structural", "people_of": "toy"},
}  # fmt: skip
COLUMNS = {"toy": ["visit", "seen", "ward", "weight", "beds", "alive"], "other": ["sex", "born"]}

START = 'import tre, numpy as np, pandas as pd\nadmissions = tre.dataset("toy")\nrows = admissions.to_pandas()'
NOTEBOOKS: dict[str, list[str]] = {
    "a filter": ['old = rows[rows["weight"] > 80]', 'admissions.where("weight > 80").release("heavy", epsilon=1.0, n=tre.count())'],
    "a rare filter": [
        'small = rows[(rows["weight"] < 3) & (rows["ward"] == "C")]', 'first = small.sort_values("weight").iloc[0]["weight"]',
        'admissions.where("weight < 3").release("small", epsilon=1.0, n=tre.count())',
    ],
    "groups": [
        'by = rows.groupby("ward")["beds"].agg(["mean", "size"])', 'a, b, c = (by.loc[w, "mean"] for w in "ABC")',
        'admissions.group_by("ward").release("beds", epsilon=1.0, mean=tre.mean("beds"))',
    ],
    "a pivot": [
        'table = rows.pivot_table(index="ward", columns="visit", values="weight", aggfunc="mean")',
        "late = table[[5, 6]]", 'admissions.group_by("ward").release("w", epsilon=1.0, mean=tre.mean("weight"))',
    ],
    "a regression": [
        'known = rows.dropna(subset=["weight", "beds"])',
        'design = pd.get_dummies(known[["beds", "ward"]], columns=["ward"], drop_first=True).astype(float)',
        'slopes = dict(zip(design, np.linalg.lstsq(design.to_numpy(), known["weight"].to_numpy(), rcond=None)[0], strict=True))',
        'slopes["ward_C"]',
        'admissions.release("fit", epsilon=1.0, model=tre.linear_model("weight", ["beds"]))',
    ],
    "a link": [
        'both = admissions.link(tre.dataset("other"))', "pairs = both.to_pandas()", "assert len(pairs) == len(rows)",
        'both.group_by("sex").release("by-sex", epsilon=1.0, n=tre.count())',
    ],
    "dates": [
        'month = pd.to_datetime(rows["seen"]).dt.to_period("M")', "counts = month.value_counts().sort_index()", "counts.iloc[0]",
        """admissions.where("seen >= DATE '2022-01-01'").release("late", epsilon=1.0, n=tre.count())""",
    ],
    "missing values": [
        'known = rows.dropna(subset=["beds"])', 'assert rows["beds"].isna().any(), "nothing to fill"',
        'filled = rows["beds"].fillna(rows["beds"].median()).astype(int)',
        'admissions.derive(known="beds IS NOT NULL").release("share", epsilon=1.0, known=tre.share("known"))',
    ],
    "a figure": [
        "import matplotlib.pyplot as plt", "figure, axes = plt.subplots()", 'axes.hist(rows["weight"].dropna(), bins=10)',
        'tre.output("weights", figure, context="how weights are spread")', "plt.close(figure)",
    ],
    "true and false": [
        'living = rows[rows["alive"] == True]', 'rows["alive"].map({True: 1, False: 0}).mean()',
        'admissions.where("alive").release("alive", epsilon=1.0, n=tre.count())',
    ],
}  # fmt: skip
# What fails on these real rows; each has to fail on the twin.
BROKEN: dict[str, tuple[str, str]] = {
    "missing whole numbers": ("IntCastingNaNError", 'rows["beds"].astype(int)'),
    "missing flags": ("AssertionError", 'assert rows["alive"].dtype == bool'),
    "missing dates": ("AttributeError", '[d.year for d in rows["seen"]]'),
    "one row a person": ("AssertionError", 'assert len(rows) == len(tre.dataset("other").to_pandas())'),
    "a category that is not declared": ("KeyError", 'rows.groupby("ward").size().loc["D"]'),
    "a field that is not there": ("RequestError", 'admissions.release("x", epsilon=1.0, m=tre.mean("height"))'),
}


def real_rows(folder: Path) -> dict[str, Path]:
    """Few of each rare kind: three values missing of each that may be, four small children on ward C."""
    people = pd.Series(range(1, PEOPLE + 1))
    lines = people.loc[people.index.repeat(people % 4 + 1)]
    n = len(lines)
    at = pd.Series(range(n))
    admissions = pd.DataFrame({
        "person": lines.to_numpy(), "visit": lines.groupby(lines).cumcount().to_numpy() + 1,
        "seen": (pd.Timestamp("2020-01-01") + pd.to_timedelta(at * 7 % 1460, unit="D")).dt.strftime("%Y-%m-%d"),
        "ward": at.map(lambda i: "ABC"[i % 3]), "weight": 40 + at % 600 / 10, "beds": (at * 3 % 30).astype("Int64"), "alive": at % 5 > 0,
    })  # fmt: skip
    admissions["visit"] = admissions["visit"].where(
        admissions["person"] != 11, admissions["visit"] + 2
    )  # and visits 5 and 6
    admissions.loc[[5, 8, 11, 14], "weight"] = 2.2
    admissions["alive"] = admissions["alive"].map({True: "true", False: "false"})
    for i, name in enumerate(("seen", "weight", "beds", "alive")):
        admissions.loc[[100 + 9 * i, 500 + 9 * i, 900 + 9 * i], name] = None
    admissions.to_csv(folder / "toy.csv", index=False)
    register = pd.DataFrame({"person": people, "sex": people.map(lambda p: "fm"[p % 2]), "born": 1940 + people % 80})
    register.to_csv(folder / "other.csv", index=False)
    return {name: folder / f"{name}.csv" for name in ("toy", "other")}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[World, Path]:
    """The folder that a sandbox would see as /data, of the twin and of the real rows."""
    root = tmp_path_factory.mktemp("area")
    files = policies(visits={**PROJECT, "datasets": COLUMNS}, others={"datasets": {}})
    files |= {"datasets/toy.yaml": ADMISSIONS, "datasets/other.yaml": REGISTER}
    files["projects/others.yaml"] = {**files["projects/others.yaml"], "datasets": {}}
    services = create(root / "area")
    services.apply(write_policies(root / "policies", files), dry_run=False)
    found = {}
    for name, path in real_rows(root).items():
        services.ingest(name, [path], drop_invalid=False)
        services.make_twin(name)
    for world in (World.REHEARSAL, World.RUN):
        folder = found[world] = root / world.value
        folder.mkdir()
        with services.context.database.read() as connection:
            manifest = services.planner.manifest(connection, policy_files.current(connection), "visits", world)
        (folder / "manifest.json").write_text(manifest.model_dump_json())
        for name, info in manifest.datasets.items():
            real = services.registry.view(services.registry.rows(name, info.version), info.columns)
            source = real if world.real else services.registry.twin_view(name, info.columns)
            (folder / f"{name}.parquet").write_bytes(source.read_bytes())
    services.close()
    return found


@pytest.fixture
def run(
    worlds: dict[World, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[list[str], World], Any]]:
    def ran(cells: list[str], world: World) -> Any:
        """What it asked for, or the kind of its error."""
        outbox = tmp_path / world.value
        outbox.mkdir()
        monkeypatch.setenv("TRE_WORLD", "box")
        monkeypatch.setenv("TRE_DATA", str(worlds[world]))
        monkeypatch.setenv("TRE_OUTBOX", str(outbox))
        workspace.current.cache_clear()
        names: dict[str, Any] = {}
        try:
            for cell in [START, *cells]:
                exec(cell, names)  # noqa: S102
        except Exception as error:
            return type(error).__name__
        emitted = json.loads((outbox / "emitted.json").read_text())
        return [(r["name"], r["request"]) for r in emitted["requests"]], [o["name"] for o in emitted["outputs"]]

    yield ran
    workspace.current.cache_clear()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_ran_on_the_twin_runs_on_the_real_rows_and_asks_for_the_same(name: str, run: Any) -> None:
    rehearsed = run(NOTEBOOKS[name], World.REHEARSAL)
    assert isinstance(rehearsed, tuple), rehearsed
    assert run(NOTEBOOKS[name], World.RUN) == rehearsed


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_real_rows_break_the_rehearsal_has_shown(name: str, run: Any) -> None:
    kind, cell = BROKEN[name]
    assert run([cell], World.RUN) == kind  # the control
    assert run([cell], World.REHEARSAL) == kind
