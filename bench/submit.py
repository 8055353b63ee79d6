"""From a notebook to a released value, beside papermill running the same notebook at the desk on the twin.

`tre submit --yes --wait` against a real gateway: start of the command, rehearsal in a sandbox, plan, confirmation,
charge, noise, signed bundle, and the wait for the next tick, here one second (a real area takes minutes, on purpose).
Beside it `tre rehearse`, so that what a rehearsal takes can be told from what follows it. Every round asks for another
statistic, as a repeated one would be replayed and cost nothing.
Both sides start a kernel. Plain papermill also imports, for a second or more, a grammar of nbformat's validator that
`tre.desk.kernel` is there to spare: a ratio near or below one is owed to that.
With `run: always` the notebook is also run on the real rows; the answer does not wait for that, the next round does.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.area import BIN, DATASET, PROJECT, Area
from bench.measure import Comparison, Run, Timing, alternate, command, say

CELLS = (
    f'import tre\nvisits = tre.dataset("{DATASET}")',
    """visits.where(f"age >= {least}").group_by("sex").release(
    "by-sex", epsilon=0.1, n=tre.count(), mean=tre.mean("mdvis", bounds=(0, 50)))""",
)
BASELINE = "papermill"


def run(folder: Path, *, quick: bool, repeats: int | None) -> list[Comparison]:
    notebook = folder / "analysis.ipynb"
    notebook.write_text(_notebook())
    with ExitStack() as cleanup:
        areas = {}
        for rule in ("when_needed", "always"):
            say(f"submit: an area with run: {rule}")
            areas[rule] = Area(folder / rule, run=rule)
            cleanup.callback(areas[rule].stop)
            areas[rule].serve()
        plain = areas["when_needed"]
        command(str(BIN / "tre"), "twin", DATASET, environment=plain.desk(BASELINE))
        arms = {BASELINE: _papermill(plain, notebook), "tre rehearse": _rehearse(plain, notebook)}
        arms |= {f"tre submit, run: {rule}": _submit(area, notebook) for rule, area in areas.items()}
        rounds = repeats or (3 if quick else 9)
        say(f"submit: {rounds} rounds of {len(arms)}")
        timings = alternate(arms, rounds)
    setting = "one release by sex, tick 1 s"
    return [Comparison(subject="submit", setting=setting, baseline=BASELINE, timings=timings)]


def _notebook() -> str:
    blank: dict[str, object] = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    parameters = {**blank, "id": "p", "metadata": {"tags": ["parameters"]}, "source": "least = 18"}
    cells = [parameters, *({**blank, "id": f"c{i}", "source": source} for i, source in enumerate(CELLS))]
    metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells})


def _least(number: int) -> list[str]:
    """The parameter that makes each round's statistic a new one."""
    return ["-p", "least", str(round(18 + number / 4, 2))]


def _papermill(area: Area, notebook: Path) -> Run:
    out = str(area.folder / "executed.ipynb")

    def once(number: int) -> Timing:
        program = [sys.executable, "-m", "papermill", str(notebook), out, "--no-progress-bar"]
        return Timing(command(*program, *_least(number), environment=area.desk(BASELINE))[0])

    return once


def _rehearse(area: Area, notebook: Path) -> Run:
    def once(number: int) -> Timing:
        program = [str(BIN / "tre"), "rehearse", str(notebook), "--project", PROJECT, "--json"]
        return Timing(command(*program, *_least(number), environment=area.desk("rehearse"))[0])

    return once


def _submit(area: Area, notebook: Path) -> Run:
    def once(number: int) -> Timing:
        program = [str(BIN / "tre"), "submit", str(notebook), "--project", PROJECT, "--yes", "--wait", "--json"]
        seconds, said = command(*program, *_least(number), environment=area.desk("submit"))
        job = json.loads(said)
        if job["stage"] != "released" or any(r["replayed"] for r in job["plan"]["requests"]):
            raise SystemExit(f"{job['id']} ended as {job['stage']}, or was replayed")
        area.settle()
        return Timing(seconds)

    return once
