"""Errors at one price: ours, four other libraries and two plain baselines, on the same rows with one (epsilon, delta).

Each task is released again and again under the whole budget. What is reported is the mean absolute error over cells
and repeats by level of table, the geometric mean over the levels of the workload, and how often our 95 % intervals
hold the exact answer. Errors are of the noise: the exact answers are of clamped numbers, as everyone's are.
An answer that a method left out or could not give has no error: its share is written beside (as "−12 %"), and a method
that leaves out more than one in twenty is not taken for the best of a level.
Not measured here: how strong each promise is. diffprivlib takes group sizes as public and draws in floating point;
SmartNoise shows which groups are empty.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean, mean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import baselines, ours, peers, report
from bench.measure import say
from bench.peers.protocol import Answer, Statistic
from bench.workloads import Cell, Dataset, Task, datasets, exact, level

EPSILON, DELTA = 1.0, 1e-6
REPEATS, QUICK = 100, 5
SECONDS = 60.0  # what a peer may take for one task; a slow one is repeated less often
ALLOWED_MISSING = 0.05
OURS = "tre"


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of one level: over all its cells and repeats."""

    mean: float | None
    median: float | None
    missing: float

    @property
    def complete(self) -> bool:
        return self.mean is not None and self.missing <= ALLOWED_MISSING


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method's answer to one task."""

    levels: Mapping[str, Errors]
    repeats: int
    accounting: str = ""
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    unsupported: Mapping[str, str] = field(default_factory=dict)


# By dataset and task, then by method.
Results = dict[tuple[str, str], dict[str, Result]]
# By kind of statistic: intervals that hold the exact answer, and all intervals.
Coverage = dict[str, tuple[int, int]]


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    """Everything, side by side; writes JSON and a plot beside those of the other subjects."""
    repeats, console = repeats or (QUICK if quick else REPEATS), Console(soft_wrap=True)
    before, found, coverage = report.machine(), Results(), Coverage()
    versions: dict[str, Any] = {}
    unavailable: dict[str, str] = {}
    for data in datasets(folder):
        truth = exact(data)
        for task in data.tasks:
            found[data.name, task.name] = _baselines(task, data, truth, repeats)
            found[data.name, task.name][OURS] = _ours(task, data, truth, repeats, coverage)
        for name in peers.NAMES:
            say(f"accuracy: {data.name}, {name}")
            try:
                document = peers.run(name, _document(data, repeats, quick=quick), folder)
            except peers.Unavailable as reason:
                say(f"{name} is left out: {reason}")
                unavailable[name] = str(reason)
                continue
            versions[name] = document["versions"]
            for task in data.tasks:
                found[data.name, task.name][name] = _peer(task, data, truth, document["tasks"][task.name])
    show(found, coverage, console)
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "subject": "accuracy",
        "epsilon": EPSILON,
        "delta": DELTA,
        "machine": before,
        "versions": versions,
        "unavailable": unavailable,
        "coverage": {kind: {"held": held, "of": of} for kind, (held, of) in coverage.items()},
        "results": [
            {"dataset": d, "task": t, "method": m, **asdict(r)} for (d, t), by in found.items() for m, r in by.items()
        ],
    }
    for path in _write(results, content, found):
        console.print(str(path))


def _document(data: Dataset, repeats: int, *, quick: bool) -> dict[str, Any]:
    return {
        "data": str(data.path),
        "columns": data.columns,
        "epsilon": EPSILON,
        "delta": DELTA,
        "repeats": repeats,
        "seconds": SECONDS / 6 if quick else SECONDS,
        "tasks": [task.document() for task in data.tasks],
    }


def _baselines(task: Task, data: Dataset, truth: dict[Cell, float | None], repeats: int) -> dict[str, Result]:
    counts = _rows_behind(task, data)
    found = {}
    for name, noise in baselines.BASELINES.items():
        drawn = baselines.release(task, data, truth, counts, noise(EPSILON, DELTA), repeats)
        answered = {a["statistic"] for a in drawn[0]}
        unsupported = {s.name: "not of the baseline" for s in task.statistics if s.name not in answered}
        levels = _levels(task, data, truth, drawn, unsupported)
        found[name] = Result(levels=levels, repeats=repeats, unsupported=unsupported)
    return found


def _rows_behind(task: Task, data: Dataset) -> dict[Cell, float | None]:
    """Of each mean, by cell."""
    counted = {Statistic(s.name, "count", s.by) for s in task.statistics if s.kind == "mean"}
    return exact(Dataset(name="", path=data.path, columns=data.columns, tasks=(Task(name="", statistics=(*counted,)),)))


def _ours(task: Task, data: Dataset, truth: dict[Cell, float | None], repeats: int, coverage: Coverage) -> Result:
    drawn, cpu = ours.release(task, data.path, data.columns, EPSILON, DELTA, repeats)
    kinds = {s.name: s.kind for s in task.statistics}
    for answer in (a for once in drawn for a in once):
        true = truth[answer["statistic"], tuple(answer["keys"])]
        if true is not None and answer["low"] is not None:
            held, of = coverage.get(kinds[answer["statistic"]], (0, 0))
            # Whole steps of a grid, written in floating point.
            inside = answer["low"] - 1e-9 <= true <= answer["high"] + 1e-9
            coverage[kinds[answer["statistic"]]] = held + inside, of + 1
    return Result(levels=_levels(task, data, truth, drawn, {}), repeats=repeats, cpu_seconds=cpu)


def _peer(task: Task, data: Dataset, truth: dict[Cell, float | None], answer: dict[str, Any]) -> Result:
    unsupported, drawn = answer["unsupported"], answer["repeats"]
    return Result(
        levels=_levels(task, data, truth, drawn, unsupported),
        repeats=len(drawn),
        accounting=answer.get("accounting", ""),
        cpu_seconds=answer.get("cpu_seconds", {}),
        unsupported=unsupported,
    )


def _levels(
    task: Task,
    data: Dataset,
    truth: dict[Cell, float | None],
    drawn: list[list[Answer]],
    unsupported: Mapping[str, str],
) -> dict[str, Errors]:
    """Errors by level, of the statistics that are supported; cells without a true value (a mean of no rows) aside."""
    found: dict[str, list[float | None]] = defaultdict(list)
    for s in (s for s in task.statistics if s.name not in unsupported):
        cells = [(s.name, keys) for keys in data.keys(s) if truth[s.name, keys] is not None]
        for once in drawn:
            values = {tuple(a["keys"]): a["value"] for a in once if a["statistic"] == s.name}
            found[level(s)] += [_error(values.get(cell[1]), truth[cell]) for cell in cells]
    return {name: _errors(errors) for name, errors in found.items()}


def _error(value: float | None, true: float | None) -> float | None:
    return None if value is None or true is None else abs(value - true)


def _errors(errors: list[float | None]) -> Errors:
    given = [e for e in errors if e is not None]
    missing = 1 - len(given) / len(errors)
    return Errors(mean=mean(given) if given else None, median=median(given) if given else None, missing=missing)


def overall(by_method: Mapping[str, Result], method: str) -> tuple[float, int] | None:
    """The geometric mean, over levels that both have nearly whole, of a method's error over ours; and how many levels."""
    mine, other = by_method[OURS].levels, by_method[method].levels
    ratios = []
    for name in mine.keys() & other.keys():
        a, b = mine[name], other[name]
        if a.complete and b.complete and a.mean and b.mean:  # an error of 0 has no ratio
            ratios.append(b.mean / a.mean)
    return (geometric_mean(ratios), len(ratios)) if ratios else None


def show(found: Results, coverage: Coverage, console: Console) -> None:
    for name in dict.fromkeys(d for d, _ in found):
        alone = {t: by for (d, t), by in found.items() if d == name and _is_single(by)}
        console.print(_table(f"{name}: one statistic, the whole budget", {t: _only(by) for t, by in alone.items()}))
        for (d, t), by in found.items():
            if d == name and not _is_single(by):
                columns = {column: {m: r.levels.get(column) for m, r in by.items()} for column in by[OURS].levels}
                console.print(_table(f"{name}: {t}, one budget for all of it", columns))
                _show_overall(t, by, console)
    for kind, (held, of) in sorted(coverage.items()):
        console.print(f"intervals of {OURS} that hold the exact answer: {kind} {held / of:.1%} of {of:,}")


def _is_single(by: Mapping[str, Result]) -> bool:
    return len(by[OURS].levels) == 1


def _only(by: Mapping[str, Result]) -> dict[str, Errors | None]:
    return {m: next(iter(r.levels.values()), None) for m, r in by.items()}


def _show_overall(task: str, by: Mapping[str, Result], console: Console) -> None:
    ratios = {m: overall(by, m) for m in by if m != OURS}
    told = [f"{m} {r[0]:.2f} ({r[1]} levels)" for m, r in ratios.items() if r]
    console.print(f"{task}: geometric mean of the error over {OURS}'s: {', '.join(told)}")


def _table(title: str, columns: Mapping[str, Mapping[str, Errors | None]]) -> Table:
    made = Table(title=f"{title}: mean absolute error (− share not answered)", title_justify="left")
    made.add_column("method", no_wrap=True)
    for column in columns:
        made.add_column(column, justify="right")
    methods = dict.fromkeys(m for by in columns.values() for m in by)
    for method in methods:
        made.add_row(method, *(_shown(by.get(method)) for by in columns.values()))
    made.add_section()
    made.add_row("best peer / " + OURS, *(_against_best(by) for by in columns.values()))
    return made


def _shown(errors: Errors | None) -> str:
    if errors is None or errors.mean is None:
        return "–"
    return _digits(errors.mean) + (f" (−{errors.missing:.0%})" if errors.missing else "")


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _against_best(by: Mapping[str, Errors | None]) -> str:
    mine = by.get(OURS)
    errors = {m: e.mean for m, e in by.items() if m in peers.NAMES and e is not None and e.complete}
    if mine is None or not mine.mean or not errors:
        return "–"
    name, error = min(((m, e) for m, e in errors.items() if e is not None), key=lambda item: item[1])
    return f"{error / mine.mean:.2f} ({name})"


def _write(folder: Path, content: dict[str, Any], found: Results) -> Iterable[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    name = "accuracy-" + content["at"].replace(":", "").replace("+0000", "Z")
    written, plot = folder / f"{name}.json", folder / f"{name}.png"
    written.write_text(json.dumps(content, indent=1) + "\n")
    _plot(found, plot)
    return written, plot


# Okabe and Ito's colours, told apart by nearly everyone; every method has a shape of its own besides.
STYLES = {
    OURS: ("#000000", "o"),
    "opendp_context": ("#E69F00", "s"),
    "smartnoise": ("#56B4E9", "^"),
    "diffprivlib": ("#009E73", "v"),
    "pipelinedp": ("#CC79A7", "D"),
    "even split, zCDP": ("#D55E00", "x"),
    "a Laplace table each": ("#0072B2", "+"),
}


def _plot(found: Results, path: Path) -> None:
    """Each method's error over ours, line by line, on a log scale."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(d for d, _ in found))
    lines = {d: _lines(found, d) for d in names}
    most = max(len(rows) for rows in lines.values())
    figure = Figure(figsize=(7 * len(names), 1.5 + 0.28 * most), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        _panel(panel, name, lines[name])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(
        f"Error at ε = {EPSILON:g}, δ = {DELTA:g}, as a multiple of ours (further left is better)", fontsize=10
    )
    figure.savefig(path, dpi=150)


def _lines(found: Results, dataset: str) -> list[tuple[str, dict[str, float]]]:
    lines = []
    for (d, task), by in found.items():
        for name in by[OURS].levels if d == dataset else ():
            label = task if _is_single(by) else f"{task}: {name}"
            errors = {m: r.levels[name].mean for m, r in by.items() if name in r.levels}
            mine = errors.get(OURS)
            if mine:
                lines.append((label, {m: e / mine for m, e in errors.items() if e}))
    return lines


def _panel(panel: Any, name: str, lines: list[tuple[str, dict[str, float]]]) -> None:
    for method, (colour, marker) in STYLES.items():
        points = [(ratios[method], y) for y, (_, ratios) in enumerate(lines) if method in ratios]
        if points:
            panel.plot(*zip(*points, strict=True), marker, color=colour, markersize=6, label=method, linestyle="none")
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_xscale("log")
    panel.set_yticks(range(len(lines)), [label for label, _ in lines], fontsize=8)
    panel.set_ylim(len(lines) - 0.5, -0.5)
    panel.grid(axis="y", linewidth=0.3)
    panel.set_title(name, fontsize=9, loc="left")
    panel.tick_params(labelsize=8)
