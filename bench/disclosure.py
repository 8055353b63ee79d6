"""Disclosures found and false alarms, on the corpus of tests/disclosure: the check of `tre` beside ACRO, on the same rows.

The corpus is ours: its cases were written beside the rules that are to find them, so what is found of it says that
nothing has been lost, and not how often something new would be: that is what the cases held out are for. ACRO is asked as a notebook would ask it; it was made to
look at tables and models that its own calls make, not at files, and "unseen" is its `custom_output`. "Alarm" is a FAIL or
REVIEW that says why; "eyes" says only that people must look.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import peers, report
from bench.measure import say
from tests.disclosure.corpus import (
    HELD_OUT_PLANTED,
    HELD_OUT_SAFE,
    PLANTED,
    SAFE,
    Case,
    Declared,
    Model,
    Picture,
    Sheet,
    Words,
)
from tests.disclosure.ours import Ours
from tre.terminal import table

ALARM = ("fail", "review")
ALL = [*PLANTED, *SAFE, *HELD_OUT_PLANTED, *HELD_OUT_SAFE]


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:  # noqa: ARG001  # nothing here is by chance
    """Both on all cases; prints a table and writes JSON beside that of the other subjects."""
    before = report.machine()
    ours = Ours(folder)
    started = time.monotonic()
    mine = {_id(c): ours.verdict(c)[0] for c in ALL}
    took = time.monotonic() - started
    theirs, versions, summaries = _acro(ours, folder)
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 150)
    content: dict[str, Any] = {"machine": before, "versions": versions, "seconds": took}
    for title, cases in (
        ("planted", PLANTED),
        ("safe", SAFE),
        ("held out, planted", HELD_OUT_PLANTED),
        ("held out, safe", HELD_OUT_SAFE),
    ):
        rows, counted = _table(cases, mine, theirs)
        columns = (title, "cases", "tre: alarm", "eyes", "pass", "ACRO: alarm", "unseen", "error", "pass")
        console.print(table(f"{title}: {len(cases)} cases", columns, rows))
        content[title] = counted
    content["cases"] = {n: {"tre": v, "acro": theirs.get(n), "said": summaries.get(n)} for n, v in mine.items()}
    results.mkdir(parents=True, exist_ok=True)
    path = results / "disclosure.json"
    path.write_text(json.dumps(content, indent=2))
    console.print(str(path))


def _id(case: Case) -> str:
    return f"{case.kind}: {case.name}"


def _table(
    cases: list[Case], mine: dict[str, str], theirs: dict[str, str]
) -> tuple[list[tuple[str, ...]], dict[str, dict[str, int]]]:
    counted: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for case in cases:
        for kind in (case.kind, "all"):
            of = counted[kind]
            of["cases"] += 1
            verdict = mine[_id(case)]
            of["tre " + ("alarm" if verdict in ALARM else verdict)] += 1
            said = theirs.get(_id(case), "none")
            of["acro " + ("alarm" if said in ALARM else said)] += 1
    columns = ("cases", "tre alarm", "tre eyes", "tre pass", "acro alarm", "acro custom", "acro error", "acro pass")
    order = [*(k for k in counted if k != "all"), "all"]
    return [(k, *(str(counted[k][c]) for c in columns)) for k in order], {k: dict(v) for k, v in counted.items()}


def _acro(ours: Ours, folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    cases = ALL
    task = {
        "data": {name: str(folder / f"{name}.csv") for name in ours.paths},
        "cases": [{"outputs": [_asked(o) for o in c.outputs], "together": c.together} for c in cases],
    }
    try:
        answer = peers.run("acro", task, folder)
    except peers.Unavailable as reason:
        say(f"acro is left out: {reason}")
        return {}, {}, {}
    said = {_id(c): a for c, a in zip(cases, answer["answers"], strict=True)}
    return {n: a["status"] for n, a in said.items()}, answer["versions"], {n: a["summary"] for n, a in said.items()}


def _asked(output: Any) -> dict[str, Any]:
    match output:
        case Declared():
            statement = output.statement()
            return {
                "kind": "declared", "dataset": output.dataset, "where": output.where, "group_by": statement["group_by"],
                "totals": output.totals, "suppress": output.suppress, "statistics": list(statement["statistics"].values()),
            }  # fmt: skip
        case Model():
            return {
                "kind": "model",
                "outcome": output.outcome,
                "predictors": output.predictors.split(),
                "where": output.where,
            }
        case Sheet() | Words():
            suffix = "csv" if isinstance(output, Sheet) else "txt"
            return {"kind": "custom", "suffix": suffix, "content": output.text.encode().hex()}
        case Picture():
            return {"kind": "custom", "suffix": "png", "content": output.content.hex()}
    raise TypeError(type(output).__name__)
