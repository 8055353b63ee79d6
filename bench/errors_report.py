"""Errors shown: a table for people, JSON for machines, a plot of every method's error over ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import peers
from bench.errors import OURS, PURE, ByMethod, Errors, Results, best, over_ours, overall

# By kind of statistic: intervals that hold the exact answer, and all intervals.
Coverage = dict[str, tuple[int, int]]


def show(found: Results, coverage: Coverage, console: Console) -> None:
    for name in dict.fromkeys(d for d, _ in found):
        of_this = {task: by for (d, task), by in found.items() if d == name}
        console.print(_table(name, of_this))
        for task, by in of_this.items():
            if not is_single(by):
                told = [f"{m} {r[0]:.2f} ({r[1]})" for m in by if m != OURS and (r := overall(by, m))]
                console.print(
                    f"{name}, {task}: error over {OURS}'s, geometric mean (of so many levels): {', '.join(told)}"
                )
    for kind, (held, of) in sorted(coverage.items()):
        console.print(f"95 % intervals of {OURS} that hold the exact answer: {kind} {held / of:.1%} of {of:,}")


def is_single(by: ByMethod) -> bool:
    return len(by[OURS].levels) == 1


def _table(dataset: str, tasks: Mapping[str, ByMethod]) -> Table:
    title = f"{dataset}: mean absolute error (− share not answered)"
    made = Table(title=title, title_justify="left")
    methods = list(dict.fromkeys(m for by in tasks.values() for m in by))
    made.add_column("released in one budget", no_wrap=True)
    made.add_column("error of", no_wrap=True)
    for method in methods:
        made.add_column(method.replace("_", " "), justify="right")
    for ours in (OURS, PURE):
        made.add_column(f"best library / {ours}", no_wrap=True)
    for task, by in tasks.items():
        for i, name in enumerate(by[OURS].levels):
            least = [best(by, peers.NAMES, name, ours) for ours in (OURS, PURE)]
            shown = [_shown(by[m].levels.get(name)) if m in by else "" for m in methods]
            last = [f"{found[1]:.2f}  {found[0]}" if found else "" for found in least]
            made.add_row("" if i else task, "" if is_single(by) else name, *shown, *last)
        if not is_single(by):
            made.add_section()
    return made


def _shown(errors: Errors | None) -> str:
    if errors is None or errors.mean is None:
        return "–"
    return _digits(errors.mean) + (f" (−{errors.missing:.0%})" if errors.missing else "")


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def write(folder: Path, content: dict[str, Any], found: Results) -> Iterable[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    name = "accuracy-" + content["at"].replace(":", "").replace("+0000", "Z")
    written, plot = folder / f"{name}.json", folder / f"{name}.png"
    written.write_text(json.dumps(content, indent=1) + "\n")
    _plot(found, plot)
    return written, plot


def plain(found: Results) -> list[dict[str, Any]]:
    """For JSON: of each level how many cells are answered, not each."""
    content = []
    for (dataset, task), by in found.items():
        for method, result in by.items():
            content.append({"dataset": dataset, "task": task, "method": method, **asdict(result)})
            for errors in content[-1]["levels"].values():
                errors["cells"] = len(errors["cells"])
    return content


# Okabe and Ito's colours, told apart by nearly everyone; every method has a shape of its own besides.
STYLES = {
    OURS: ("#000000", "o"),
    PURE: ("#000000", "*"),
    "opendp_context": ("#E69F00", "s"),
    "opendp_mbi": ("#8C8C00", "P"),
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
    panels: Any = figure.subplots(1, len(names), squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        _panel(panel, name, lines[name])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle("Error at one privacy loss, as a multiple of ours (further left is better)", fontsize=10)
    figure.savefig(path, dpi=150)


def _lines(found: Results, dataset: str) -> list[tuple[str, dict[str, float]]]:
    lines = []
    for (d, task), by in found.items():
        for name in by[OURS].levels if d == dataset else ():
            label = task if is_single(by) else f"{task}: {name}"
            ratios = {m: r for m in by if (r := over_ours(by, m, name))}
            if ratios:
                lines.append((label, ratios))
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
