"""Estimates over blocks: any claim becomes a place on the grid, one block changes the scores by no more than is paid for,
errors are those told beforehand, and intervals cover."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tre.errors import RequestError
from tre.rules.accounting import rho_of
from tre.statistics import blocks_combine, noise, quantiles
from tre.statistics.blocks import Aggregator, Estimate, parse

DELTA = 1e-6


def estimate(**changes):
    return Estimate.model_validate({"bounds": (-1, 1), "epsilon": 1.0, "default": 0.0, **changes})


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=8,
)


@given(claimed=ANYTHING, size=st.integers(1, 3))
def test_whatever_a_block_claims_becomes_places_on_the_grid(claimed, size):
    e = estimate(size=size)
    places = e.places(claimed)
    assert len(places) == size
    assert all(isinstance(p, int) and 0 <= p < e.grid for p in places)


@pytest.mark.parametrize(
    "claimed",
    [None, "0.9", True, math.nan, math.inf, -math.inf, 1e308, 10**400, 1.0000001, [0.9], {"value": 0.9}],
    ids=lambda c: str(c)[:12],
)
def test_what_is_no_number_within_the_bounds_is_the_default(claimed):
    e = estimate(default=0.25)
    assert e.place(claimed) == e.place(0.25) == 625
    assert e.places([claimed]) == (625,)
    assert e.places(claimed if isinstance(claimed, list) and len(claimed) != 1 else [claimed, 0.9]) == (625,)


def test_a_number_within_the_bounds_is_moved_to_the_nearest_point_of_the_grid():
    e = estimate(grid=5)
    assert [e.place(v) for v in (-1, -0.8, -0.7, 0, 0.24, 0.26, 1)] == [0, 0, 1, 2, 2, 3, 4]
    assert [e.value(p) for p in range(5)] == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"bounds": (1, -1)}, {"bounds": (0, 0)}, {"bounds": (0, math.inf)}, {"bounds": (0, 1e300)}, {"epsilon": 0},
        {"bounds": (2**52, 2**52 + 1)}, {"epsilon": math.nan}, {"default": 2}, {"size": 0}, {"size": 21}, {"grid": 1},
        {"aggregator": "max"}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_an_estimate_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(RequestError, match="cannot be made"):
        parse({"bounds": (-1, 1), "epsilon": 1.0, "default": 0.0, **wrong})


@pytest.mark.parametrize("probability", [Fraction(1, 2), Fraction(1, 5), Fraction(4, 5)], ids=str)
def test_one_changed_block_changes_no_score_by_more_than_is_paid_for(probability):
    """All pairs of four blocks on a grid of four that differ in one block; the most is reached."""
    worst = 0
    for blocks in itertools.product(range(4), repeat=4):
        before = quantiles.scores([blocks.count(p) for p in range(4)], probability, 1)
        for i, place in itertools.product(range(4), range(4)):
            other = [*blocks[:i], place, *blocks[i + 1 :]]
            after = quantiles.scores([other.count(p) for p in range(4)], probability, 1)
            worst = max(worst, *(abs(a - b) for a, b in zip(before, after, strict=True)))
    assert worst == probability.denominator


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("aggregator", list(Aggregator))
def test_the_draws_of_an_estimate_are_of_the_sensitivity_above_and_cost_no_more_than_it(aggregator, pure, monkeypatch):
    """What OpenDP is asked for, by the sums that brute force confirms: a sum changes by the grid's length less 1."""
    e, spent = estimate(aggregator=aggregator, size=3), []
    honest_choose, honest_noised = noise.choose, noise.noised

    def choose(scores, *, sensitivity, units, pure):
        assert sensitivity in (2, 5)
        spent.append(units)
        return honest_choose(scores, sensitivity=sensitivity, units=units, pure=pure)

    def noised(values, *, l1, l2, units, pure):
        assert len(values) == 1
        assert l1 == l2
        assert l1 == e.grid - 1 if aggregator is Aggregator.MEAN else 0 < l1 < e.grid
        spent.append(units)
        return honest_noised(values, l1=l1, l2=l2, units=units, pure=pure)

    monkeypatch.setattr(blocks_combine, "choose", choose)
    monkeypatch.setattr(blocks_combine, "noised", noised)
    units = 10**12 if pure else rho_of(1.0, DELTA)
    blocks = [e.places([math.sin(i), math.cos(i), math.sin(3 * i) / 2]) for i in range(1500)]
    found = blocks_combine.combine(e, blocks, units=units, pure=pure)
    assert len(found) == 3
    assert 0.97 * units < sum(spent) <= units
    assert all(-1 <= c.value <= 1 for c in found)


@pytest.mark.parametrize("k", [2, 50, 2000])
@pytest.mark.parametrize("aggregator", list(Aggregator))
def test_the_shape_of_an_answer_depends_on_nothing_that_blocks_said(aggregator, k):
    e = estimate(aggregator=aggregator)
    shapes = set()
    for claims in ([None] * k, [1] * k, [-1] * k, [math.sin(i) for i in range(k)], [1e308] + [0.1] * (k - 1)):
        found = blocks_combine.combine(e, [e.places([c]) for c in claims], units=rho_of(1.0, DELTA), pure=False)
        shapes.add(tuple((c.low is None, c.high is None) for c in found))
    assert len(shapes) == 1


def test_fewer_blocks_than_a_median_needs_are_known_beforehand():
    found = [
        blocks_combine.least_blocks(estimate(epsilon=eps), rho_of(eps, DELTA), pure=False)
        for eps in (0.1, 0.25, 0.5, 1, 2, 4)
    ]
    assert found == pytest.approx([909, 384, 200, 104, 55, 29], abs=1)
    assert blocks_combine.least_blocks(estimate(), 10**12, pure=True) == math.ceil(4 * math.log(1001 / 0.01))
    four = estimate(size=4)
    assert blocks_combine.least_blocks(four, rho_of(1, DELTA), pure=False) == pytest.approx(2 * 104, abs=2)


def draws(e, k, *, units, pure=False, times, spread=0.1, centre=0.3):
    """Combined values of blocks whose numbers are normal around `centre`."""
    rng = np.random.default_rng(7)  # noqa: TID251  # the blocks of a simulation
    for _ in range(times):
        claims = rng.normal(centre, spread, k)
        yield blocks_combine.combine(e, [e.places([float(c)]) for c in claims], units=units, pure=pure)[0]


@pytest.mark.slow
@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize(
    ("aggregator", "k", "times"),
    [(Aggregator.MEDIAN, 200, 400), (Aggregator.MEDIAN, 600, 100), (Aggregator.MEAN, 300, 400), (Aggregator.WINSORISED, 1500, 100)],
)  # fmt: skip
def test_errors_are_those_told_beforehand(aggregator, k, times, pure):
    """Within five standard errors of so many draws, of a normal's or of a Laplace's, whose tails are longer."""
    e = estimate(aggregator=aggregator)
    units = 10**12 if pure else rho_of(1.0, DELTA)
    found = [c.value - 0.3 for c in draws(e, k, units=units, pure=pure, times=times)]
    told = blocks_combine.expected_error(e, k, units, pure=pure, spread=0.1)
    assert math.sqrt(np.mean(np.square(found))) == pytest.approx(
        told, rel=5 * math.sqrt(((6 if pure else 3) - 1) / 4 / times)
    )


@pytest.mark.parametrize("spread", [0.003, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("share", [1, 1.2, 1.5, 2])
@pytest.mark.parametrize("epsilon", [0.5, 2])
def test_a_medians_error_is_told_even_where_it_may_be_drawn_from_anywhere(epsilon, share, spread):
    """Beside the error by exact probabilities: with the least blocks it is mostly of the few draws that go astray."""
    e, units = estimate(bounds=(0, 1), default=0.5, epsilon=epsilon), rho_of(epsilon, DELTA)
    k = round(share * blocks_combine.least_blocks(e, units, pure=False))
    assert blocks_combine.margin(e, k, units, pure=False) is None
    scale = blocks_combine.rank_scale(blocks_combine.HALF, units, pure=False)
    rng, points, squares = np.random.default_rng(5), np.linspace(0, 1, e.grid), []  # noqa: TID251  # a simulation's blocks
    for _ in range(200):
        counts = np.bincount([e.place(v) for v in rng.normal(0.6, spread, k).clip(0, 1)], minlength=e.grid)
        ranks = np.array(quantiles.scores(counts.tolist(), blocks_combine.HALF)) / 2
        chances = np.exp(-(ranks - ranks.min()) / scale)
        squares.append(chances @ (points - 0.6) ** 2 / chances.sum())
    exact = math.sqrt(np.mean(squares))
    assert 0.85 < blocks_combine.expected_error(e, k, units, pure=False, spread=spread) / exact < 1.25


def test_how_many_blocks_an_interval_needs_is_known_beforehand():
    e, units = estimate(), rho_of(1.0, DELTA)
    found = blocks_combine.interval_from(e, units, 1_000, pure=False)
    assert found == pytest.approx(290, abs=2)
    assert blocks_combine.margin(e, found, units, pure=False) is not None
    assert blocks_combine.margin(e, found - 1, units, pure=False) is None
    assert blocks_combine.interval_from(e, units, 200, pure=False) is None


@pytest.mark.slow
@pytest.mark.parametrize("pure", [False, True])
def test_a_medians_interval_covers_what_such_blocks_give(pure):
    """It is rather too wide (`bench intervals` has how much): of a hundred, hardly one should not."""
    e, units = estimate(), 10**12 if pure else rho_of(1.0, DELTA)
    assert blocks_combine.margin(e, 200, units, pure=pure) is None
    assert all(c.low is None for c in draws(e, 200, units=units, pure=pure, times=5))
    inside = [c.low <= 0.3 <= c.high for c in draws(e, 600, units=units, pure=pure, times=100)]
    assert np.mean(inside) >= 0.93


@pytest.mark.slow
def test_a_means_interval_covers_the_mean_of_the_blocks_it_had():
    e, units = estimate(aggregator=Aggregator.MEAN), rho_of(1.0, DELTA)
    places = [e.places([0.3 + 0.4 * math.sin(i)]) for i in range(300)]
    exact = e.value(sum(p for (p,) in places) / 300)
    found = [blocks_combine.combine(e, places, units=units, pure=False)[0] for _ in range(400)]
    assert np.mean([c.low <= exact <= c.high for c in found]) > 0.95 - 5 * math.sqrt(0.95 * 0.05 / 400)
