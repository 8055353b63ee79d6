"""`tre.estimate`: a number that any notebook computes, to be had with noise over blocks of people.

Guarantees: what is shown says which world it is from: the twin's number, one block's inside, or the released one with its
interval. Bounds, epsilon and the rest are fixed by the rehearsal; in a block they decide nothing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

from tre.desk.release import Origin
from tre.desk.workspace import current
from tre.errors import RequestError
from tre.messages import ReleasedEstimate, World
from tre.statistics.blocks import Estimate, middle, parse


class Estimated:
    """One estimate: `value` (a number, or a list of them), `low` and `high` where an interval was released."""

    def __init__(
        self, name: str, asked: Estimate, values: list[float], scalar: bool, origin: Origin, released: ReleasedEstimate | None
    ) -> None:  # fmt: skip
        self.name, self.asked, self.origin, self.released = name, asked, origin, released
        self._values, self._scalar = values, scalar

    @property
    def value(self) -> Any:
        return self._one(self._values)

    @property
    def low(self) -> Any:
        return self._one(list(self.released.low) if self.released else [None] * len(self._values))

    @property
    def high(self) -> Any:
        return self._one(list(self.released.high) if self.released else [None] * len(self._values))

    def _one(self, numbers: list[Any]) -> Any:
        return numbers[0] if self._scalar else numbers

    def __float__(self) -> float:
        return float(self.value)

    def _headline(self) -> str:
        if self.released is None:
            said = {
                Origin.SYNTHETIC: "what the whole twin gives; a release would be over blocks, with noise",
                Origin.THROW_AWAY: "what these rows give; this value never leaves the secure area as it is",
            }[self.origin]
            return f"{self.origin.badge}: {said}"
        r = self.released
        return (
            f"{self.origin.badge} in {r.release}, made by that release's notebook: {self.asked.aggregator.value} of "
            f"{r.blocks} blocks, "
            f"with noise the ledger has paid for; epsilon {self.asked.epsilon:g}; interval: {r.interval}"
        )

    def _lines(self) -> list[str]:
        lows, highs = (self.released.low, self.released.high) if self.released else ([None] * len(self._values),) * 2
        return [
            f"{v:.6g}" if low is None or high is None else f"{v:.6g} ({low:.6g} to {high:.6g})"
            for v, low, high in zip(self._values, lows, highs, strict=True)
        ]

    def __repr__(self) -> str:
        return f"{self.name} — {self._headline()}\n" + "\n".join(self._lines())

    def _repr_html_(self) -> str:
        style = f"background:{self.origin.colour};color:#fff;padding:2px 8px;border-radius:4px;font-size:0.85em"
        badge = f'<span style="{style}">{self.origin.badge}</span>'
        text = html.escape(self._headline().removeprefix(self.origin.badge).lstrip(": "))
        body = "<br>".join(html.escape(line) for line in self._lines())
        return f"<div><b>{html.escape(self.name)}</b> {badge} <small>{text}</small><br>{body}</div>"


def estimate(
    name: str,
    value: Any,
    *,
    bounds: tuple[float, float],
    epsilon: float,
    aggregator: str = "median",
    default: float | None = None,
    grid: int = 1001,
) -> Estimated:
    """Ask for `value` (a number, or up to 20) over blocks: `tre submit NOTEBOOK --blocks K` runs this notebook on each.

    Each block's number is moved into `bounds`; one that is missing counts as `default` (the middle of the bounds). They
    are combined by a noisy `median`, `mean` or `winsorised` mean. Raises RequestError: estimate_invalid, name_invalid.
    """
    from tre.desk.dataset import _checked

    _checked(name)
    workspace = current()
    numbers, scalar = _numbers(value, strict=workspace.world is not World.BLOCK)
    content = {
        "size": max(1, len(numbers)),
        "bounds": bounds,
        "epsilon": epsilon,
        "aggregator": aggregator,
        "grid": grid,
    }
    try:
        content["default"] = middle((float(bounds[0]), float(bounds[1]))) if default is None else default
    except (TypeError, ValueError, IndexError):
        content["default"] = 0.0  # the bounds are refused below
    asked = parse(content)
    workspace.emit_estimate(name, asked, [_bounded(n, asked) for n in numbers])
    found = workspace.released_estimate(name, asked)
    if found is not None:
        released, key_known = found
        origin = Origin.RELEASED if key_known else Origin.UNVERIFIED
        return Estimated(name, asked, list(released.values), scalar, origin, released)
    return Estimated(
        name, asked, numbers, scalar, Origin.THROW_AWAY if workspace.world.real else Origin.SYNTHETIC, None
    )


def _numbers(value: Any, *, strict: bool) -> tuple[list[float], bool]:
    """As floats, and whether it was one number. On a block, what is no number is NaN, and so the default's."""
    scalar = not isinstance(value, Iterable) or isinstance(value, str | bytes) or getattr(value, "ndim", 1) == 0
    found = []
    for number in [value] if scalar else list(value):
        try:
            found.append(float(number))
        except (TypeError, ValueError, OverflowError):
            found.append(math.nan)
    if strict and not all(map(math.isfinite, found)):
        raise RequestError(
            "estimate_invalid",
            "On the twin, this estimate is not a finite number.",
            "Give a number, or a short list of them; say what to do where there is nothing to compute from.",
        )
    return found, scalar


def _bounded(number: float, asked: Estimate) -> float:
    """Moved into the bounds, where it is a number: whatever is outside when it arrives counts as the default."""
    return number if math.isnan(number) else min(max(number, asked.bounds[0]), asked.bounds[1])
