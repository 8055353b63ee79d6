"""What was measured, three times: a table for people, JSON for machines, a plot of every single run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measure import ROOT, Comparison


def show(comparisons: Sequence[Comparison], console: Console) -> None:
    made = Table(title="Ratios within a round: median (lowest to highest)", title_justify="left")
    for name in ("subject", "what"):
        made.add_column(name, no_wrap=True)
    for name in ("wall s", "cpu s", "wall ratio", "cpu ratio"):
        made.add_column(name, justify="right", no_wrap=True)
    for c in comparisons:
        for name in c.timings:
            made.add_row(f"{c.subject}, {c.setting}", name, *_row(c, name), end_section=name == list(c.timings)[-1])
    console.print(made)
    for c in comparisons:
        if c.notes:
            console.print(f"{c.subject}, {c.setting}: " + ", ".join(f"{k} {v}" for k, v in c.notes.items()))


def _row(c: Comparison, name: str) -> tuple[str, ...]:
    cpu, cpu_ratio = c.cpu(name), c.cpu_ratio(name)
    ratios = c.ratios(name)
    spread = "1" if name == c.baseline else f"{c.ratio(name):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{c.wall(name):.3f}", _number(cpu, 3), spread, "1" if name == c.baseline else _number(cpu_ratio, 2)


def _number(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


def machine() -> dict[str, Any]:
    import duckdb
    import polars

    # Of the checkout, so that a figure can be traced; empty outside of one.
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return {
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "polars": polars.__version__,
        "commit": commit.strip(),
    }


def document(comparisons: Sequence[Comparison], before: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": arguments,
        "machine": before,
        "load_after": os.getloadavg(),
        "comparisons": [_plain(c) for c in comparisons],
    }


def _plain(c: Comparison) -> dict[str, Any]:
    arms = {
        name: {
            "wall_median": c.wall(name),
            "cpu_median": c.cpu(name),
            "wall_ratio": c.ratio(name),
            "cpu_ratio": c.cpu_ratio(name),
            "runs": [vars(t) for t in timings],
        }
        for name, timings in c.timings.items()
    }
    return {
        "subject": c.subject,
        "setting": c.setting,
        "baseline": c.baseline,
        "at": c.at,
        "arms": arms,
        "notes": dict(c.notes),
    }


def write(folder: Path, content: dict[str, Any], comparisons: Sequence[Comparison]) -> tuple[Path, ...]:
    """The JSON and the plots of one run, named by its time."""
    folder.mkdir(parents=True, exist_ok=True)
    name = content["at"].replace(":", "").replace("+0000", "Z")
    written, plot = folder / f"{name}.json", folder / f"{name}.png"
    written.write_text(json.dumps(content, indent=1) + "\n")
    where = f"{content['at']}, {content['machine']['usable_cores']} cores, shared"
    _plot(comparisons, plot, where)
    growing = [c for c in comparisons if c.at is not None]
    if len(growing) < 2:
        return written, plot
    growth = folder / f"{name}-growth.png"
    _plot_growth(growing, growth, where)
    return written, plot, growth


def _plot(comparisons: Sequence[Comparison], path: Path, where: str) -> None:
    from matplotlib.figure import Figure

    lines = [len(c.timings) for c in comparisons]
    figure = Figure(figsize=(8, 1.2 + 0.9 * len(lines) + 0.35 * sum(lines)), layout="constrained")
    panels = figure.subplots(len(comparisons), 1, squeeze=False, height_ratios=lines)[:, 0]
    for panel, c in zip(panels, comparisons, strict=True):
        _panel(panel, c)
    figure.suptitle(f"Every run a dot, the line its median\n{where}", fontsize=9)
    figure.savefig(path, dpi=150)


def _plot_growth(comparisons: Sequence[Comparison], path: Path, where: str) -> None:
    """Seconds against size, both logarithmic: parallel lines grow alike."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, title, seconds in zip(panels, ("wall", "CPU"), (Comparison.wall, Comparison.cpu), strict=True):
        for name, marker in zip(comparisons[0].timings, "osD^v", strict=False):
            points = [(c.at, seconds(c, name)) for c in comparisons if name in c.timings]
            panel.plot(*zip(*points, strict=True), marker=marker, label=name)
        panel.set(xscale="log", yscale="log", xlabel="rows")
        panel.set_title(f"{title} seconds", fontsize=9, loc="left")
        panel.tick_params(labelsize=8)
    panels[0].legend(fontsize=8, frameon=False)
    figure.suptitle(f"{comparisons[0].subject}, medians\n{where}", fontsize=9)
    figure.savefig(path, dpi=150)


def _panel(panel: Any, c: Comparison) -> None:
    names = list(c.timings)
    for y, name in enumerate(names):
        runs = [t.wall for t in c.timings[name]]
        panel.plot(runs, [y] * len(runs), "o", alpha=0.5, markersize=5, markeredgewidth=0)
        panel.plot([c.wall(name)] * 2, [y - 0.3, y + 0.3], "-", color="black", linewidth=1)
    labels = [n if n == c.baseline else f"{n}  (× {c.ratio(n):.2f})" for n in names]
    panel.set_yticks(range(len(names)), labels, fontsize=8)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_xlim(left=0)
    panel.set_xlabel("wall seconds", fontsize=8)
    panel.set_title(f"{c.subject}: {c.setting}", fontsize=9, loc="left")
    panel.tick_params(labelsize=8)
