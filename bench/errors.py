"""Errors of released answers, by level of table, and what one method's are over another's. No input or output here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import geometric_mean, mean, median

from bench.peers.protocol import Answer
from bench.workloads import Cell, Dataset, Task, level

NEARLY = 0.95  # a cell answered in this share of repeats is answered
# Ours with losses kept in zCDP, which everything is divided by, and in pure epsilon (delta 0: the stronger promise).
OURS, PURE = "tre", "tre, pure"


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of one level: over all answers, and by cell (the mean over repeats) where nearly every repeat has one."""

    mean: float | None
    median: float | None
    missing: float
    cells: Mapping[Cell, float]
    of: int

    def over(self, other: Errors) -> float | None:
        """This mean error over the other's, on the cells of both; None where those are fewer than half."""
        common = self.cells.keys() & other.cells.keys()
        theirs = sum(other.cells[c] for c in common)
        if 2 * len(common) < self.of or theirs == 0:
            return None
        return sum(self.cells[c] for c in common) / theirs


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method's answer to one task."""

    levels: Mapping[str, Errors]
    repeats: int
    accounting: str = ""
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    unsupported: Mapping[str, str] = field(default_factory=dict)


# One task's results by method; and all of them, by dataset and task.
ByMethod = Mapping[str, Result]
Results = dict[tuple[str, str], dict[str, Result]]


def levels_of(
    task: Task,
    data: Dataset,
    truth: dict[Cell, float | None],
    drawn: list[list[Answer]],
    unsupported: Mapping[str, str],
) -> dict[str, Errors]:
    """Errors by level, of the statistics that are supported; cells without a true value (a mean of no rows) aside."""
    known = {(s.name, keys) for s in task.statistics for keys in data.keys(s) if truth[s.name, keys] is not None}
    found: dict[str, dict[Cell, list[float]]] = defaultdict(dict)
    for s in (s for s in task.statistics if s.name not in unsupported):
        found[level(s)] |= {(s.name, keys): [] for keys in data.keys(s) if (s.name, keys) in known}
    levels = {s.name: level(s) for s in task.statistics}
    for answer in (a for once in drawn for a in once):
        cell = answer["statistic"], tuple(answer["keys"])
        true = truth.get(cell)
        if true is not None and answer["value"] is not None:
            found[levels[cell[0]]][cell].append(abs(answer["value"] - true))
    return {name: _errors(by_cell, len(drawn)) for name, by_cell in found.items()}


def _errors(by_cell: Mapping[Cell, list[float]], repeats: int) -> Errors:
    given = [e for errors in by_cell.values() for e in errors]
    return Errors(
        mean=mean(given) if given else None,
        median=median(given) if given else None,
        missing=1 - len(given) / (len(by_cell) * repeats) if repeats else 1.0,
        cells={cell: mean(errors) for cell, errors in by_cell.items() if len(errors) >= NEARLY * max(repeats, 1)},
        of=len(by_cell),
    )


def best(by_method: ByMethod, among: Sequence[str], name: str, ours: str = OURS) -> tuple[str, float] | None:
    """The method among these with the least error at a level, and that over ours."""
    ratios = {m: r for m in among if (r := over_ours(by_method, m, name, ours)) is not None}
    return min(ratios.items(), key=lambda item: item[1]) if ratios else None


def overall(by_method: ByMethod, method: str) -> tuple[float, int] | None:
    """The geometric mean over levels of a method's error over ours, and of how many levels (an error of 0 has none)."""
    ratios = [r for name in by_method[OURS].levels if (r := over_ours(by_method, method, name))]
    return (geometric_mean(ratios), len(ratios)) if ratios else None


def over_ours(by_method: ByMethod, method: str, name: str, ours: str = OURS) -> float | None:
    theirs = by_method[method].levels.get(name) if method in by_method else None
    return theirs.over(by_method[ours].levels[name]) if theirs is not None else None
