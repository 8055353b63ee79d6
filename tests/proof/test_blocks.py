"""Estimates over blocks, audited: no lower bound from replicate draws on neighbouring blocks is above the claim.

Neighbours differ in what one block gave, by all of the grid. A person whose rows went to two blocks, or a block that two
could write to, would change two: the audit is seen to find that. Each bound holds at 99.8 %, and is far below its claim.
"""

import numpy as np
import pytest

from tre.statistics.blocks import parse
from tre.statistics.blocks_combine import combine

from . import suite

DRAWS = 1200
RHO = 2.0
UNITS = round(RHO * 1e12)
# With these, every aggregator's answer is moved most by one block that goes from one end of the bounds to the other.
K = 6


def audit(aggregator, *, pure, changed=1, draws=DRAWS):
    """A lower bound on the loss (rho, or epsilon where pure) between blocks of which so many differ; UNITS are paid."""
    e = parse(
        {
            "bounds": (0, 1),
            "epsilon": 1.0,
            "default": 0,
            "grid": 2 if aggregator == "median" else 11,
            "aggregator": aggregator,
        }
    )
    low, high = (
        [[0]] * (K // 2) + [[e.grid - 1]] * (K // 2),
        [[0]] * (K // 2 - changed) + [[e.grid - 1]] * (K // 2 + changed),
    )
    drawn = [
        np.array([combine(e, blocks, units=UNITS, pure=pure)[0].value for _ in range(draws)]) for blocks in (low, high)
    ]
    return max(suite._bound(*drawn, pure=pure), suite._bound(*drawn[::-1], pure=pure))


@pytest.mark.slow
@pytest.mark.parametrize("pure", [False, True], ids=["zcdp", "pure"])
@pytest.mark.parametrize("aggregator", ["median", "mean", "winsorised"])
def test_no_audit_of_an_estimate_finds_more_loss_than_was_charged(aggregator, pure):
    assert audit(aggregator, pure=pure, draws=400 if aggregator == "winsorised" else DRAWS) <= RHO


@pytest.mark.slow
def test_the_audit_of_an_estimate_finds_a_person_who_is_in_two_blocks_and_would_miss_none_in_one():
    """Power: it finds more than a sixth of what is lost. Two blocks lose four times as much, and half of that is found."""
    assert audit("mean", pure=False) > RHO / 6
    assert audit("mean", pure=False, changed=2, draws=2000) > RHO
