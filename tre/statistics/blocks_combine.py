"""From the blocks' places on a grid to one noisy number: a median, a mean, or a winsorised mean of k blocks.

Guarantees: k is fixed, and neighbours differ in one of the k places, arbitrarily. What that changes at most: a count of
places up to a point by 1, so any score of a quantile a / b by b; a sum of places by the grid's length less 1. Every draw
is OpenDP's, whose `map` has confirmed its loss; together the draws of an estimate stay within its units. Nothing but
`units`, k and the estimate's own text decides which draws are made: the shape of the answer tells nothing.
An interval of a median covers, with 95 %, the median of what such blocks give (noise and the people being a sample):
its ends are drawn for ranks that are apart by the noise's margin (statistics.quantiles) and by a sample's. Where k is too
small for it, none is offered and the median has the whole loss. The interval of a mean is of the noise alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tre.statistics import quantiles
from tre.statistics.blocks import Aggregator, Estimate, log_candidates, shares
from tre.statistics.noise import Z_GAUSSIAN, Z_LAPLACE, choose, noised, scale_for, sigma_for

HALF, FIFTH = Fraction(1, 2), Fraction(1, 5)
# Of a normal distribution 1.25 % lie beyond it on one side: what sampling may leave out at each end of an interval.
Z_SAMPLE = 2.2414
# Of a winsorised mean's units, in hundredths: each quantile, and the mean.
QUANTILE, MEAN = 20, 60


@dataclass(frozen=True, kw_only=True)
class Combined:
    """A noisy number in the estimate's own unit, with its 95 % interval where one is offered."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Used:
    """How a number was made: what a reader needs to check it. `scale` is in ranks for a median, else of the number."""

    mechanism: str
    sensitivity: float
    scale: float
    interval: str


def combine(e: Estimate, blocks: Sequence[Sequence[int]], *, units: int, pure: bool) -> tuple[Combined, ...]:
    """One for each number of the estimate; `blocks` has the places of each block. The caller has paid `units`."""
    each, k = shares(e, units), len(blocks)
    if any(len(b) != e.size or not all(0 <= place < e.grid for place in b) for b in blocks):
        raise ValueError("a block has one place on the grid for each number")
    columns = [[b[i] for b in blocks] for i in range(e.size)]
    match e.aggregator:
        case Aggregator.MEDIAN:
            return tuple(_median(e, c, k, each, pure) for c in columns)
        case Aggregator.MEAN:
            return tuple(_mean(e, c, k, each, pure, 0, e.grid - 1) for c in columns)
        case Aggregator.WINSORISED:
            return tuple(_winsorised(e, c, k, each, pure) for c in columns)


def _counts(e: Estimate, places: Sequence[int]) -> list[int]:
    counts = [0] * e.grid
    for place in places:
        counts[place] += 1
    return counts


def _median(e: Estimate, places: Sequence[int], k: int, units: int, pure: bool) -> Combined:
    counts, apart = _counts(e, places), margin(e, k, units, pure=pure)

    def drawn(part: int, moved: int = 0) -> float:
        scores = quantiles.scores(counts, HALF, moved)
        return e.value(choose(scores, sensitivity=HALF.denominator, units=units * part // 100, pure=pure))

    if apart is None:
        return Combined(value=drawn(100), low=None, high=None)
    value, low, high = drawn(quantiles.VALUE), drawn(quantiles.END, -apart), drawn(quantiles.END, apart)
    # A number between two points of the grid was moved to one of them.
    low, high = max(min(low, value) - e.step / 2, e.bounds[0]), min(max(high, value) + e.step / 2, e.bounds[1])
    return Combined(value=value, low=low, high=high)


def _mean(e: Estimate, places: Sequence[int], k: int, units: int, pure: bool, low: int, high: int) -> Combined:
    """Of the places clamped to [low, high], which were not chosen by looking at them without noise."""
    width = high - low
    total = sum(min(max(p, low), high) - low for p in places)
    if width == 0:
        return Combined(value=e.value(low), low=e.value(low), high=e.value(low))
    drawn = noised([total], l1=width, l2=width, units=units, pure=pure)
    place = low + drawn.values[0] / k
    error = (Z_LAPLACE if pure else Z_GAUSSIAN) * drawn.sigma / k
    return Combined(value=e.value(place), low=e.value(place - error), high=e.value(place + error))


def _winsorised(e: Estimate, places: Sequence[int], k: int, units: int, pure: bool) -> Combined:
    counts = _counts(e, places)

    def drawn(probability: Fraction) -> int:
        scores = quantiles.scores(counts, probability)
        return choose(scores, sensitivity=probability.denominator, units=units * QUANTILE // 100, pure=pure)

    low, high = sorted((drawn(FIFTH), drawn(1 - FIFTH)))
    return _mean(e, places, k, units * MEAN // 100, pure, low, high)


# What can be said beforehand: from the estimate's text, k and the price alone


def rank_scale(probability: Fraction, units: int, *, pure: bool) -> float:
    """A candidate whose rank is off by r more is drawn exp(-r / scale) times as often."""
    return scale_for(probability.denominator, units, pure=pure) / probability.denominator


def margin(e: Estimate, k: int, units: int, *, pure: bool) -> int | None:
    """How far the ranks of an interval's ends are from the median's, in half ranks; None where there are too few blocks.

    `units` are one number's. The noise's part holds by a union bound over the grid, the sample's by the normal
    approximation of a binomial: the interval is rather too wide than too narrow.
    """
    noise = quantiles.margin(e.grid, HALF.denominator, units, pure=pure)
    apart = math.ceil(noise + HALF.denominator * (Z_SAMPLE * math.sqrt(k) / 2 + 1))
    return apart if apart < k else None


def least_blocks(e: Estimate, units: int, *, pure: bool) -> int:
    """The fewest blocks at which the number drawn is, but for 1 %, within what the blocks gave (units: the estimate's)."""
    each = shares(e, units)
    match e.aggregator:
        case Aggregator.MEDIAN:
            return max(2, math.ceil(2 * rank_scale(HALF, each, pure=pure) * log_candidates(e)))
        case Aggregator.WINSORISED:
            scale = rank_scale(FIFTH, each * QUANTILE // 100, pure=pure)
            return max(2, math.ceil(scale * log_candidates(e) / float(FIFTH)))
        case Aggregator.MEAN:  # noise of at most a quarter of the bounds' width
            return max(2, math.ceil(4 * sigma_for(1, each, pure=pure)))


def _astray(e: Estimate, k: int, scale: float, spread: float) -> float:
    """About the chance that a median is drawn from outside of what the blocks gave: it is then anywhere within the bounds.

    Every point there is k / 2 ranks off; those near the middle are as many as a rank scale holds, or the one.
    """
    a_rank = math.sqrt(2 * math.pi) * spread / k
    return min(1.0, e.grid * math.exp(-k / (2 * scale)) / max(1.0, 2 * scale * a_rank / e.step))


def interval_from(e: Estimate, units: int, most: int, *, pure: bool) -> int | None:
    """The fewest blocks with which a median has an interval; None where that is more than `most` (units: the estimate's)."""
    each = shares(e, units)
    return next((k for k in range(2, most + 1) if margin(e, k, each, pure=pure) is not None), None)


def expected_error(e: Estimate, k: int, units: int, *, pure: bool, spread: float) -> float:
    """The root mean square error to expect of one number, noise and sampling, where blocks differ by `spread` (a standard
    deviation). In closed form; of a median and a normal distribution of what the blocks give."""
    each = shares(e, units)
    match e.aggregator:
        case Aggregator.MEDIAN:
            part = 100 if margin(e, k, each, pure=pure) is None else quantiles.VALUE
            s = rank_scale(HALF, each * part // 100, pure=pure)
            near = spread**2 * (math.pi / (2 * k) + 4 * math.pi * (s / k) ** 2) + e.step**2 / 12
            return math.sqrt(near + _astray(e, k, s, spread) * (e.bounds[1] - e.bounds[0]) ** 2 / 12)
        case Aggregator.MEAN:
            width = e.bounds[1] - e.bounds[0]
            return math.hypot(spread / math.sqrt(k), sigma_for(width, each, pure=pure) / k)
        case Aggregator.WINSORISED:
            width = min(
                2 * 0.8416 * spread, e.bounds[1] - e.bounds[0]
            )  # between the quintiles of a normal distribution
            return math.hypot(
                1.05 * spread / math.sqrt(k), sigma_for(max(width, e.step), each * MEAN // 100, pure=pure) / k
            )


def used(e: Estimate, k: int, units: int, *, pure: bool) -> Used:
    each = shares(e, units)
    if e.aggregator is Aggregator.MEDIAN:
        offered = margin(e, k, each, pure=pure) is not None
        share = each * (quantiles.VALUE if offered else 100) // 100
        interval = "noise and sampling, 95 %" if offered else "none: too few blocks at this epsilon"
        return Used(
            mechanism="noisy minimum", sensitivity=1, scale=rank_scale(HALF, share, pure=pure), interval=interval
        )
    share, name = each, "discrete laplace" if pure else "discrete gaussian"
    if e.aggregator is Aggregator.WINSORISED:
        share, name = each * MEAN // 100, f"two noisy minima, then {name}"
    width = e.bounds[1] - e.bounds[0]
    return Used(
        mechanism=name,
        sensitivity=width / k,
        scale=sigma_for(width, share, pure=pure) / k,
        interval="noise alone, 95 %",
    )
