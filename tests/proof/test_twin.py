"""The audit of twins: what an attacker who knows everybody else learns of one person, from all that is ever kept of them.

The attacker is told the noisy tables that a twin is drawn from, and the twin adds nothing to them. Whether the person is
there is guessed from the best single number, their own cells in units of noise. The bound is tests.proof.suite's.
"""

import dataclasses

import numpy as np
import pytest

from tre.rules.accounting import UNIT
from tre.secure.data import twin_relations
from tre.secure.data.twin_layout import Column, Layout
from tre.secure.data.twin_plausible import Cells

from . import suite

CLAIMED = 1.0
DRAWS = 1500
CELLS = [Column(cells=Cells(field=name, kind="categories", categories=(0, 1, 2))) for name in "abc"]
LAID = Layout(columns=tuple(CELLS), slots=1)
# Everybody is alike, and the person is like nobody: the worst case for them.
OTHERS = np.zeros((3, 40), dtype=np.int32)
PERSON = np.full((3, 1), 2, dtype=np.int32)


def seen(codes):
    """How much the tables look as if the person were there, in units of what one person can be told."""
    rho = round(CLAIMED / UNIT)
    known = twin_relations.measure(list(codes), LAID, rho_units=rho, triples=True)
    told = sum(a.counts[2] for a in known.alone) / known.sigma**2
    for table in known.together:
        last = tuple(known.alone[c].groups[2] for c in table.columns)
        sizes = [known.sizes[c] for c in table.columns]
        told += np.reshape(table.counts, sizes)[last] / table.sigma**2
    return told


def audit():
    without = np.array([seen(OTHERS) for _ in range(DRAWS)])
    beside = np.array([seen(np.hstack([OTHERS, PERSON])) for _ in range(DRAWS)])
    return suite._bound(without, beside, pure=False)


@pytest.mark.slow
def test_nobody_is_told_by_more_than_was_charged_and_the_audit_would_see_it(monkeypatch):
    bound = audit()
    assert 0.05 * CLAIMED < bound <= CLAIMED
    right = twin_relations.gaussian

    def little(values, *, sensitivity, rho_units):
        drawn = right(values, sensitivity=sensitivity, rho_units=rho_units * 9)
        return dataclasses.replace(drawn, sigma=3 * drawn.sigma)

    monkeypatch.setattr(twin_relations, "gaussian", little)
    assert audit() > CLAIMED
