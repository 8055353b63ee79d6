"""Plots of a release: points with error bars in colours that the colour-blind can tell apart (Okabe and Ito's)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tre.statistics.kinds import Survival
from tre.statistics.table import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tre.desk.release import Release

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def plot(release: Release, statistic: str | None = None) -> Figure:
    import matplotlib.pyplot as plt

    labels = [statistic] if statistic else list(release.request.statistics)
    figure, axes = plt.subplots(
        1, len(labels), figsize=(1 + 4.2 * len(labels), 3.6), squeeze=False, layout="constrained"
    )
    for i, (label, panel) in enumerate(zip(labels, axes[0], strict=True)):
        cells = [c for c in release.table.cells if c.statistic == label]
        if isinstance(release.request.statistics[label], Survival):
            _curve(panel, cells)
        else:
            _draw(panel, cells, COLOURS[i % len(COLOURS)])
        panel.set_title(label, loc="left")
    figure.suptitle(f"{release.name} — {release.origin.badge}", color=release.origin.colour, x=0.01, ha="left")
    figure.supxlabel(f"{release.origin.sentence}; bars: 95 % interval of the noise", fontsize=7, color="#555555")
    plt.close(figure)  # shown by its own display as the cell's value, not a second time by the backend
    return figure  # type: ignore[no-any-return]


def _curve(panel: Axes, cells: list[Cell]) -> None:
    """A life table: a step curve a group, with the band of its intervals; it ends where noise hides who is left."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for c in cells:
        if c.value is not None:
            groups.setdefault(c.keys, []).append(c)
    for i, (keys, mine) in enumerate(groups.items()):
        start = mine[0].bin[0] if mine[0].bin else 0.0  # where everybody is still there
        at = [start, *(c.bin[1] for c in mine if c.bin)]
        colour, name = COLOURS[i % len(COLOURS)], ", ".join("(missing)" if k is None else str(k) for k in keys)
        panel.step(at, [1.0, *(float(c.value or 0) for c in mine)], where="post", color=colour, label=name or "all")
        low, high = (
            [1.0, *(float(v or 0) for v in side)] for side in zip(*((c.low, c.high) for c in mine), strict=True)
        )
        panel.fill_between(at, low, high, step="post", color=colour, alpha=0.2, linewidth=0)
    panel.set_ylim(0, 1.02)
    panel.grid(color="#dddddd")
    if groups:
        panel.legend(fontsize=8, frameon=False)


def _draw(panel: Axes, cells: list[Cell], colour: str) -> None:
    names = [_name(c) for c in cells]
    shown = [(i, c) for i, c in enumerate(cells) if c.value is not None]
    at = [i for i, _ in shown]
    values = [float(c.value) for _, c in shown if c.value is not None]
    below = [max(0.0, c.value - c.low) for _, c in shown]  # type: ignore[operator]
    above = [max(0.0, c.high - c.value) for _, c in shown]  # type: ignore[operator]
    panel.errorbar(values, at, xerr=[below, above], fmt="o", color=colour, ecolor="#444444", capsize=3)
    for i, cell in enumerate(cells):
        if cell.value is None:
            panel.text(0.02, i, "drowned in noise", fontsize=7, transform=panel.get_yaxis_transform(), va="center")
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.grid(axis="x", color="#dddddd")
    panel.set_axisbelow(True)


def _name(cell: Cell) -> str:
    parts = ["(missing)" if k is None else str(k) for k in cell.keys]
    if cell.by is not None:  # a margin: about all of the groups that it does not name
        parts = [f"{g} {k}" for g, k in zip(cell.by, parts, strict=True)] or ["all"]
    if cell.term is not None:
        parts.append(str(cell.term))
    if cell.bin is not None:
        parts.append(f"{cell.bin[0]:g}–{cell.bin[1]:g}")
    return ", ".join(parts) or "all"
