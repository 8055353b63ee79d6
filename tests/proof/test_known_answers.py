"""Known answers: conversions, OpenDP's own map of what we draw with, and draws against the exact distributions.

False-alarm rates: chi-square tests fail by chance in one run in 100,000 each; frequencies are held to five standard errors.
"""

import ast
import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian, make_laplace, make_noisy_max
from opendp.measures import max_divergence, zero_concentrated_divergence
from opendp.metrics import l1_distance, l2_distance, linf_distance
from scipy.stats import chisquare

from tre.rules.accounting import UNIT, epsilon_of, rho_of
from tre.statistics.found import threshold
from tre.statistics.noise import choose, gaussian, laplace, scale_for, sigma_for

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).resolve().parents[2] / "tre"


def test_conversions_are_the_published_ones():
    assert rho_of(1.0, 1e-6) * UNIT == pytest.approx(0.024355970, abs=5e-9)
    assert epsilon_of(10**11, 1e-6) == pytest.approx(2.1419, abs=5e-5)
    assert sigma_for(1.0, rho_of(1.0, 1e-6)) == pytest.approx(4.53088, abs=5e-6)
    assert rho_of(1.0, 0.0) * UNIT == 1.0


VECTOR = vector_domain(atom_domain(T="i64"))


@pytest.mark.parametrize("units", [10**8, rho_of(1.0, 1e-6), 10**12, 4 * 10**12])
@pytest.mark.parametrize("sensitivity", [1.0, math.sqrt(3), 5.0, 180.0])
def test_opendps_map_is_the_price_to_nine_digits(units, sensitivity):
    """At the scales of tre.statistics.noise, for each of its three mechanisms, in both measures."""
    exact = units * UNIT
    normal = make_gaussian(VECTOR, l2_distance(T="f64"), sigma_for(sensitivity, units), MO="ZeroConcentratedDivergence")
    assert normal.map(sensitivity) == pytest.approx(exact, rel=1e-8)
    assert normal.map(sensitivity) <= exact
    heavy = make_laplace(VECTOR, l1_distance(T="f64"), sigma_for(sensitivity, units, pure=True) / math.sqrt(2))
    assert heavy.map(sensitivity) == pytest.approx(exact, rel=1e-8)
    whole = math.ceil(sensitivity)
    for pure, measure in ((False, zero_concentrated_divergence()), (True, max_divergence())):
        scale = scale_for(float(whole), units, pure=pure)
        choice = make_noisy_max(VECTOR, linf_distance(T="i64"), measure, scale, negate=True)
        assert choice.map(whole) == pytest.approx(exact, rel=1e-8)
        assert choice.map(whole) <= exact


@pytest.mark.parametrize("apart", [1, 3, 10])
def test_a_choice_of_two_is_as_frequent_as_gumbels(apart):
    units, n = 10**11, 10_000
    scale = scale_for(1.0, units)
    better = sum(choose([0, apart], sensitivity=1.0, units=units, pure=False) == 0 for _ in range(n)) / n
    wanted = 1 / (1 + math.exp(-apart / scale))
    assert abs(better - wanted) < 5 * math.sqrt(wanted * (1 - wanted) / n)


def _fits(values, mass):
    """Chi-square of whole numbers against an unnormalised mass, the tails put together."""
    reach = 4
    while mass(reach) / mass(0) > 1e-3:
        reach += 1
    around = np.arange(-400, 401)
    exact = np.array([mass(abs(int(k))) for k in around])
    exact /= exact.sum()
    inside = np.abs(around) <= reach
    wanted = [*exact[inside], exact[~inside].sum()]
    seen = [int((values == k).sum()) for k in around[inside]]
    seen.append(len(values) - sum(seen))
    return chisquare(seen, np.array(wanted) * len(values)).pvalue


@pytest.mark.parametrize("units", [10**10, 5 * 10**10, 10**12])
def test_draws_follow_the_exact_discrete_gaussian(units):
    drawn = gaussian([0] * 50_000, sensitivity=1.0, rho_units=units)
    assert _fits(np.array(drawn.values), lambda k: math.exp(-k * k / (2 * drawn.sigma**2))) > 1e-5


@pytest.mark.parametrize("units", [10**11, 10**12])
def test_draws_follow_the_exact_discrete_laplace(units):
    drawn = laplace([0] * 50_000, sensitivity=1.0, units=units)
    scale = drawn.sigma / math.sqrt(2)
    assert _fits(np.array(drawn.values), lambda k: math.exp(-k / scale)) > 1e-5


@pytest.mark.parametrize("sigma", [0.8, 3.0, 30.0])
def test_a_discrete_tail_is_no_heavier_than_the_threshold_takes_it_for(sigma):
    """P(1 + noise >= threshold) <= delta / rows, summed exactly."""
    around = np.arange(-2000, 2001)
    mass = np.exp(-(around.astype(float) ** 2) / (2 * sigma**2))
    mass /= mass.sum()
    for rows, delta in ((1, 1e-4), (3, 1e-6), (5, 1e-9)):
        tail = mass[1 + around >= threshold(rows, sigma, delta)].sum()
        assert tail <= delta / rows
    assert threshold(1, sigma, 0.5) == pytest.approx(2 + NormalDist(0, sigma).inv_cdf(0.5))


def test_a_key_of_one_person_is_told_as_seldom_as_was_charged():
    """Measured at a delta large enough to be seen: 40,000 keys with one person each."""
    units, delta, n = 5 * 10**10, 0.02, 40_000
    least = threshold(1, sigma_for(1.0, units), delta)
    told = sum(v >= least for v in gaussian([1] * n, sensitivity=1.0, rho_units=units).values) / n
    assert told < delta + 5 * math.sqrt(delta / n)


def test_opendp_is_used_in_one_module_for_three_mechanisms():
    """Its other constructors have had defects that an author of queries could reach: docs/security.md, row 34."""
    users, made = set(), set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "opendp":
                users.add(path.relative_to(SOURCE).as_posix())
                made |= {a.name for a in node.names if node.module == "opendp.measurements"}
            if isinstance(node, ast.Import):
                assert not any(a.name.split(".")[0] == "opendp" for a in node.names), path
    assert users == {"statistics/noise.py"}
    assert made == {"make_gaussian", "make_laplace", "make_noisy_max"}
