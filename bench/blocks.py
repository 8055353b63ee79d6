"""A notebook over k blocks, from its confirmation to its release, beside as many plain runs of papermill.

The notebook trains a small random forest. The area's slots are as short as this machine allows (SECONDS in LANES at once);
one in ten is spare, and the first begins after the lead: all of it is in the time. Papermill runs one notebook at a time,
with no sandbox, and is asked for few runs, whose median stands for all k. A block that was late would count as the
default: how many did is said, as the rows here are made up; nothing else may look.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import sqlalchemy as sa
import yaml

from bench.area import BIN, Area, one_cell
from bench.jobs import _twin
from bench.measure import Comparison, Timing, command, say
from tre.messages import Submission
from tre.rules.lifecycle import Job
from tre.secure.database import tables
from tre.secure.services import Services, open_area

SECONDS, LANES = 4, 8
SOURCE = """import tre
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
frame = tre.dataset("hie").to_pandas()[["age", "meddol"]].dropna()
half, old = len(frame) // 2, frame["age"] > 30
forest = RandomForestClassifier(n_estimators=20).fit(frame[["meddol"]][:half], old[:half])
given = forest.predict_proba(frame[["meddol"]][half:])[:, -1]
auc = roc_auc_score(old[half:], given) if old[half:].nunique() == 2 else 0.5
tre.estimate("auc", auc, bounds=(0, 1), epsilon=1.0, default=0)"""
BASELINE = "papermill, one after the other"


def run(folder: Path, *, quick: bool, repeats: int | None) -> list[Comparison]:
    area = _area(folder / "blocks")
    notebook = folder / "blocks.ipynb"
    notebook.write_text(one_cell(SOURCE))
    services = open_area(area.place)
    try:
        one = _plain(area, notebook, repeats or 3)
        return [_compared(services, k, one) for k in ((120,) if quick else (200, 1000))]
    finally:
        services.close()


def _area(folder: Path) -> Area:
    area = Area(folder, run="when_needed")
    path = folder / "policies" / "area.yaml"
    rules = yaml.safe_load(path.read_text())
    rules["blocks"] = {"seconds": SECONDS, "lanes": LANES, "twin": 0}
    path.write_text(yaml.safe_dump(rules))
    command(str(BIN / "tre-admin"), "apply", str(folder / "policies"), environment={"TRE_AREA": str(area.place)})
    return area


def _plain(area: Area, notebook: Path, rounds: int) -> float:
    """Seconds of one run of papermill on the twin, at a desk: the median."""
    home = area.folder / "desk-papermill"
    _twin(area, home)
    program = [sys.executable, "-m", "papermill", str(notebook), str(area.folder / "out.ipynb"), "--no-progress-bar"]
    return sorted(command(*program, environment={"TRE_HOME": str(home)})[0] for _ in range(rounds))[rounds // 2]


def _compared(services: Services, k: int, one: float) -> Comparison:
    took, late = _through(services, k)
    say(
        f"blocks: {k} in {took:.0f} s, {late} of them late or failed; papermill {one * k:.0f} s; {took / (one * k):.3f} of it"
    )
    timings = {BASELINE: [Timing(one * k)], "blocks": [Timing(took)]}
    setting = "a small random forest, from confirmation to release"
    notes = {"seconds of a slot": SECONDS, "lanes": LANES, "late or failed": late}
    return Comparison(subject="blocks", setting=setting, baseline=BASELINE, timings=timings, at=k, notes=notes)


def confirmed(services: Services, source: str, k: int) -> tuple[str, float]:
    """A job of a notebook of one cell, rehearsed, and the moment of its confirmation."""
    job = services.submit("ada", Submission(project="visits", notebook=one_cell(source), blocks=k)).id
    while services.job("ada", job).stage == "rehearsing":
        time.sleep(0.1)
    view = services.job("ada", job)
    if view.failure is not None:
        raise SystemExit(view.failure.message)
    began = time.perf_counter()
    services.queue.confirm(person="ada", job=job, plan_digest=view.plan_digest or "")
    return job, began


def _through(services: Services, k: int) -> tuple[float, int]:
    """(seconds from confirmation to release, blocks that counted as the default)."""
    worker = services.worker()
    worker.start()
    try:
        job, began = confirmed(services, SOURCE, k)
        worker.wake()
        late = k
        while not services.job("ada", job).stage.final:
            late = min(late, k - _good(services, job))
            time.sleep(0.1)
        return time.perf_counter() - began, late
    finally:
        worker.stop()


def _good(services: Services, job: str) -> int:
    b, j = tables.block_claims, tables.jobs
    with services.context.database.read() as connection:
        places = connection.execute(sa.select(b.c.places).where(b.c.job == job)).scalars()
        found = sum(json.loads(str(p))["auc"] != [0] for p in places)
        failed = connection.execute(sa.select(j.c.state).where(j.c.id == job)).scalar() == Job.FAILED
    if failed:
        raise SystemExit("the job of blocks failed")
    return found
