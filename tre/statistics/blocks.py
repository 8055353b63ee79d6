"""An estimate over blocks, as it is asked for: bounds, a grid, how the blocks' numbers are combined, and what that needs.

Guarantees: closed, versioned JSON, a function of what a notebook asked for on the twin; a number that a block hands out
becomes a place on the grid whatever it is (`place` is total), so that one block changes one place and nothing else. What
one place can change is the whole sensitivity: nothing is assumed of the code that ran in the block.
Source of the scheme: Nissim, Raskhodnikova, Smith (2007), "Smooth Sensitivity and Sampling in Private Data Analysis".
Not done here: drawing (statistics.blocks_combine), or assigning people to blocks (secure.data.partition).
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from tre.errors import RequestError
from tre.rules.accounting import rho_of
from tre.rules.schema import LARGEST, Closed
from tre.statistics.request import MAX_EPSILON

# How many numbers one estimate may have: they share its loss.
MOST_NUMBERS = 20
# The chance that a median falls outside of the blocks' numbers, where there are as few blocks as `least_blocks` says.
ASTRAY = 0.01


class Aggregator(StrEnum):
    """How the blocks' numbers become one: a noisy median, a noisy mean, or a mean of what two noisy quantiles leave."""

    MEDIAN = "median"
    MEAN = "mean"
    WINSORISED = "winsorised"


class Estimate(Closed):
    """`size` numbers within `bounds`, on a grid of so many points. `default` stands for what a block does not hand out."""

    version: Literal[1] = 1
    size: int = Field(default=1, ge=1, le=MOST_NUMBERS)
    bounds: tuple[float, float]
    epsilon: float
    aggregator: Aggregator = Aggregator.MEDIAN
    grid: int = Field(default=1001, ge=2, le=10_001)
    default: float

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        low, high = self.bounds
        if not (low < high and max(abs(low), abs(high)) <= LARGEST and self.step > max(abs(low), abs(high)) * 2**-40):
            raise ValueError("bounds are two numbers, the lower first, not too large and not too close together")
        if not low <= self.default <= high:
            raise ValueError("default must be within the bounds")
        if not 0 < self.epsilon <= MAX_EPSILON:
            raise ValueError(f"epsilon must be above 0 and at most {MAX_EPSILON:g}")
        return self

    @property
    def step(self) -> float:
        return (self.bounds[1] - self.bounds[0]) / (self.grid - 1)

    def value(self, place: float) -> float:
        """The number at a place of the grid, or between two."""
        return min(max(self.bounds[0] + place * self.step, self.bounds[0]), self.bounds[1])

    def place(self, claimed: object) -> int:
        """A block's number as a place on the grid; the default's for everything that is not a number within the bounds."""
        low, high = self.bounds
        number = self.default
        if isinstance(claimed, int | float) and not isinstance(claimed, bool) and low <= claimed <= high:
            number = float(claimed)  # NaN is in no bounds
        return min(max(round((number - low) / self.step), 0), self.grid - 1)

    def places(self, claimed: object) -> tuple[int, ...]:
        """All numbers of one block; the default's places where they are not so many as were asked for."""
        if not isinstance(claimed, list) or len(claimed) != self.size:
            claimed = [None] * self.size
        return tuple(self.place(number) for number in claimed)

    def units(self, delta: float) -> int:
        """What it costs: of rho, or of pure epsilon where delta is 0."""
        return rho_of(self.epsilon, delta)


def parse(content: object) -> Estimate:
    """Raises RequestError: estimate_invalid."""
    try:
        return Estimate.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(p)[:40] for p in first["loc"][:3])
        reason = first["msg"].removeprefix("Value error, ")
        raise RequestError(
            "estimate_invalid",
            f"This estimate cannot be made{f' ({place})' if place else ''}: {reason}.",
            'For instance tre.estimate("coef-age", value, bounds=(-1, 1), epsilon=0.5).',
        ) from None


def middle(bounds: tuple[float, float]) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) / 2


def shares(e: Estimate, units: int) -> int:
    """What each of its numbers has of the loss."""
    share = units // e.size
    if share <= 0:
        raise ValueError("the loss is too small to be shared")
    return share


def log_candidates(e: Estimate) -> float:
    return math.log(e.grid / ASTRAY)
