"""Noise: OpenDP's, integer, of the stated size, paid for, and different every time.

False-alarm rates: each statistical test below fails by chance in less than one run in a million (bounds of five standard
errors, stated where they stand).
"""

import math

import pytest

from tre.rules.accounting import rho_of
from tre.statistics.noise import gaussian, sigma_for

N = 20_000


def test_the_scale_for_epsilon_one_is_the_known_one():
    assert sigma_for(1.0, rho_of(1.0, 1e-6)) == pytest.approx(4.5308, rel=1e-4)


@pytest.mark.parametrize("units", [10**9, 10**10, 10**12])
def test_noise_is_whole_numbers_of_the_stated_variance(units):
    drawn = gaussian([0] * N, sensitivity=2.0, rho_units=units)
    assert all(isinstance(v, int) for v in drawn.values)
    variance = sum(v * v for v in drawn.values) / N
    # The variance of N squared normals is sigma^2 (1 ± sqrt(2 / N)); 5 standard errors: false alarm 6e-7.
    assert variance == pytest.approx(drawn.sigma**2, rel=5 * math.sqrt(2 / N))
    assert abs(sum(drawn.values) / N) < 5 * drawn.sigma / math.sqrt(N)


def test_two_draws_have_nothing_to_do_with_each_other():
    """A constant seed would give a correlation of 1. 5 / sqrt(N): false alarm 6e-7."""
    first, second = (gaussian([0] * N, sensitivity=1.0, rho_units=10**10).values for _ in range(2))
    correlation = sum(a * b for a, b in zip(first, second, strict=True)) / math.sqrt(
        sum(a * a for a in first) * sum(b * b for b in second)
    )
    assert abs(correlation) < 5 / math.sqrt(N)


def test_noise_is_added_to_the_value():
    drawn = gaussian([10**9] * 100, sensitivity=1.0, rho_units=10**12)
    assert all(abs(v - 10**9) < 50 for v in drawn.values)


@pytest.mark.parametrize(
    ("values", "sensitivity", "units"),
    [([0], 0.0, 10**12), ([0], math.inf, 10**12), ([0], 1.0, 0), ([0], 1.0, -5)],
)
def test_what_cannot_be_paid_for_is_not_drawn(values, sensitivity, units):
    with pytest.raises(ValueError):
        gaussian(values, sensitivity=sensitivity, rho_units=units)


def test_no_total_is_too_large_to_be_drawn():
    """A failure that depends on the data would be an answer: sums saturate instead."""
    drawn = gaussian([2**70, -(2**70)], sensitivity=1.0, rho_units=10**12)
    assert drawn.values[0] > 2**61
    assert drawn.values[1] < -(2**61)


def test_a_scale_that_is_too_small_is_caught_by_opendps_own_map(monkeypatch):
    """A planted fault: with 0.999 of the noise the loss exceeds what was paid, and nothing is drawn."""
    from tre.statistics import noise

    monkeypatch.setattr(noise, "sigma_for", lambda s, u: sigma_for(s, u) * 0.999)
    with pytest.raises(ValueError, match="exceeds"):
        gaussian([0], sensitivity=1.0, rho_units=10**12)
