"""`python -m bench`: run the subjects, print what they found, write JSON and a plot under bench/results/."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

import bench
from bench import (
    accuracy,
    audit,
    blocks,
    blocks_slurm,
    check,
    cost,
    crate,
    disclosure,
    estimates,
    intervals,
    jobs,
    lab,
    ledger,
    proof,
    quality,
    report,
    sacro,
    submit,
    twins,
)
from bench.measure import Comparison

# Of time, and of errors. What asks other libraries installs them first, and so runs only when it is named.
SUBJECTS: dict[str, Callable[..., list[Comparison]]] = {
    "check": check.run,
    "submit": submit.run,
    "jobs": jobs.run,
    "ledger": ledger.run,
    "cost": cost.run,
    "blocks": blocks.run,
    "slurm": blocks_slurm.run,
    "lab": lab.run,
}
OTHERS: dict[str, Callable[..., None]] = {
    "accuracy": accuracy.run,
    "audit": audit.run,
    "crate": crate.run,
    "disclosure": disclosure.run,
    "estimates": estimates.run,
    "intervals": intervals.run,
    "proof": proof.run,
    "quality": quality.run,
    "sacro": sacro.run,
    "twins": twins.run,
}
BY_DEFAULT = ("check", "submit", "jobs", "ledger", "proof")
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=bench.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (*SUBJECTS, *OTHERS)
    help_text = f"of {', '.join(names)}; by default {' and '.join(BY_DEFAULT)}"
    parser.add_argument("subjects", nargs="*", metavar="subject", help=help_text)
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds: to see that it works")
    parser.add_argument(
        "--full", action="store_true", help="cost: 100 million rows too (takes an hour, and 4 GB of disk)"
    )
    parser.add_argument("--repeats", type=int, help="rounds of each comparison")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (default: %(default)s)")
    arguments = parser.parse_args()
    unknown = set(arguments.subjects) - set(names)
    if unknown:
        parser.error(f"no subject {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    if arguments.repeats is not None and arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    chosen = [s for s in names if s in (arguments.subjects or BY_DEFAULT)]
    given = {"subjects": chosen, "quick": arguments.quick, "full": arguments.full, "repeats": arguments.repeats}
    before = report.machine()
    found: list[Comparison] = []
    sizes = {"quick": arguments.quick, "repeats": arguments.repeats}
    try:
        with tempfile.TemporaryDirectory(prefix="tre-bench-") as folder:
            for subject in chosen:
                if subject in OTHERS:
                    OTHERS[subject](Path(folder), arguments.results, **sizes)
                else:
                    more = {"full": arguments.full} if subject == "cost" else {}
                    found += SUBJECTS[subject](Path(folder), **sizes, **more)
    finally:
        if found:  # a subject that fails does not take the others with it
            _report(found, report.document(found, before, given), arguments.results)


def _report(found: list[Comparison], content: dict[str, Any], folder: Path) -> None:
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 130)
    report.show(found, console)
    for path in report.write(folder, content, found):
        console.print(str(path))


if __name__ == "__main__":
    main()
