"""The proof of tests/proof at greater length: how much of the loss that is charged an audit finds, statistic by statistic.

Five times the strata of the tests, so five times the draws; at a loss of 1 and of 4; under rho and under pure epsilon. An
audit that finds more than was charged stops the bench. What is found is a lower bound: a share of one half is much for
a mechanism whose guarantee is tight, and little is no flaw (the person added hurts another statistic more).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import report
from bench.measure import say
from tests.proof import suite
from tests.proof.test_proof import DERIVE, QUANTILE, STATISTICS
from tre.terminal import table

STRATA, QUICK = 20_000, 4_000
LOSSES = (1.0, 4.0)


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    """Writes JSON beside the results of the other subjects. `repeats`: how often the whole is done."""
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 130)
    before, started, found = report.machine(), time.monotonic(), []
    for _ in range(repeats or 1):
        for name, statistic in (STATISTICS | {"quantile": QUANTILE}).items():
            say(f"proof: {name}")
            found += [
                _audited(folder, name, statistic, pure=pure, rho=rho, quick=quick)
                for pure in (False, True)
                for rho in LOSSES
            ]
    rows = [
        (
            f["statistic"],
            f["kept"],
            f"{f['charged']:g}",
            f"{f['found']:.2f}",
            f"{f['found'] / f['charged']:.0%}",
            f["who"],
        )
        for f in found
    ]
    columns = ("statistic", "kept in", "charged", "found at least", "of it", "who was added")
    console.print(table("Audits", columns, rows))
    console.print(f"{len(found)} audits of {len(suite.HURTING)} people each in {time.monotonic() - started:.0f} s")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"at": at, "subject": "proof", "machine": before, "results": found}
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"proof-{at.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    console.print(str(path))


def _audited(
    folder: Path, name: str, statistic: dict[str, object], *, pure: bool, rho: float, quick: bool
) -> dict[str, str | float]:
    """The person of suite.HURTING about whom most is found."""
    strata = 1_000 if name == "quantile" else QUICK if quick else STRATA // suite.cells(statistic)
    best: dict[str, str | float] = {"found": -1.0}
    for who, person in suite.HURTING.items():
        with tempfile.TemporaryDirectory(dir=folder) as own:
            bound = suite.audit(Path(own), statistic, person, rho=rho, strata=strata, pure=pure, derive=DERIVE)
        if bound.rho > float(best["found"]):
            best = {"found": bound.rho, "charged": bound.claimed, "who": who}
    return {"statistic": name, "kept": "epsilon" if pure else "rho", **best}
