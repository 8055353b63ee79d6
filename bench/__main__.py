"""`python -m bench`: run the subjects, print the ratios, write JSON and a plot under bench/results/."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

import bench
from bench import check, ledger, report, submit
from bench.measure import Comparison

SUBJECTS: dict[str, Callable[..., list[Comparison]]] = {
    "check": check.run,
    "submit": submit.run,
    "ledger": ledger.run,
}
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=bench.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", metavar="subject", help=f"of {', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes, three rounds: to see that it works")
    parser.add_argument("--repeats", type=int, help="rounds of each comparison")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (default: %(default)s)")
    arguments = parser.parse_args()
    unknown = set(arguments.subjects) - SUBJECTS.keys()
    if unknown:
        parser.error(f"no subject {', '.join(sorted(unknown))}; there are: {', '.join(SUBJECTS)}")
    if arguments.repeats is not None and arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    chosen = [s for s in SUBJECTS if s in arguments.subjects or not arguments.subjects]
    given = {"subjects": chosen, "quick": arguments.quick, "repeats": arguments.repeats}
    before = report.machine()
    found: list[Comparison] = []
    try:
        with tempfile.TemporaryDirectory(prefix="tre-bench-") as folder:
            for subject in chosen:
                found += SUBJECTS[subject](Path(folder), quick=arguments.quick, repeats=arguments.repeats)
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
