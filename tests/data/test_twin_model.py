"""The model that twins of related columns are drawn from: it agrees with its tables, by a joint that can be written out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.secure.data.twin_model import Model, Table, cells_with, deal

SHAPES = {
    "a lone column": [],
    "nothing joined": [(0,), (1,)],
    "a chain": [(0, 1), (1, 2), (2, 3)],
    "a star": [(0, 1), (0, 2), (0, 3)],
    "a circle": [(0, 1), (1, 2), (2, 3), (0, 3)],
    "two parts": [(0, 1), (2, 3)],
    "a triple and a pair": [(0, 1, 2), (2, 3)],
    "all pairs": list(itertools.combinations(range(4), 2)),
}
SIZES = (3, 2, 4, 2)


def exact(joint, columns, total=1000.0):
    gone = tuple(i for i in range(joint.ndim) if i not in columns)
    return joint.sum(axis=gone) * total


def tables_of(joint, joined):
    wanted = [*((i,) for i in range(joint.ndim)), *(c for c in joined if len(c) > 1)]
    return [Table(columns=c, counts=exact(joint, c), variance=1.0) for c in wanted]


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_drawn_from_it_have_the_tables_it_was_given(shape):
    sizes = SIZES[:1] if shape == "a lone column" else SIZES
    joint = np.random.default_rng(1).dirichlet(np.ones(np.prod(sizes)) / 2).reshape(sizes)
    model = Model(sizes, tables_of(joint, SHAPES[shape]), 1000.0, tolerance=1e-7)
    drawn = model.sample(50_000, np.random.default_rng(2))
    for table in tables_of(joint, SHAPES[shape]):
        found = np.zeros(table.counts.shape)
        np.add.at(found, tuple(drawn[c] for c in table.columns), 1000 / 50_000)
        assert np.abs(found - table.counts).max() < 3, table.columns


def test_what_no_table_joins_is_independent_and_what_follows_through_others_is_not():
    joint = np.zeros((2, 2, 2, 2))
    for a, d in itertools.product(range(2), repeat=2):
        joint[a, a, a, d] = 0.25
    model = Model((2, 2, 2, 2), tables_of(joint, [(0, 1), (1, 2)]), 1000.0)
    a, _, c, d = model.sample(20_000, np.random.default_rng(0))
    assert (a == c).mean() > 0.99
    assert abs((a == d).mean() - 0.5) < 0.02


def test_tables_that_contradict_each_other_are_weighed_by_their_noise():
    sure = Table(columns=(0,), counts=np.array([900.0, 100.0]), variance=1.0)
    vague = Table(columns=(0, 1), counts=np.array([[250.0, 250.0], [250.0, 250.0]]), variance=1e6)
    other = Table(columns=(1,), counts=np.array([500.0, 500.0]), variance=1.0)
    drawn = Model((2, 2), [sure, other, vague], 1000.0).sample(10_000, np.random.default_rng(0))
    assert (drawn[0] == 0).mean() == pytest.approx(0.9, abs=0.02)


def test_noisy_tables_below_zero_give_a_model_all_the_same():
    noisy = Table(columns=(0,), counts=np.array([-30.0, 5.0, -2.0]), variance=100.0)
    drawn = Model((3,), [noisy], 10.0).sample(10, np.random.default_rng(0))
    assert len(drawn[0]) == 10


def test_the_search_goes_on_from_a_model_of_fewer_tables():
    joint = np.random.default_rng(3).dirichlet(np.ones(48)).reshape(SIZES)
    tables = tables_of(joint, [(0, 1), (1, 2), (0, 2)])
    before = Model(SIZES, tables[:-1], 1000.0)
    after = Model(SIZES, tables, 1000.0, before=before, tolerance=1e-7)
    drawn = after.sample(50_000, np.random.default_rng(0))
    found = np.zeros((3, 4))
    np.add.at(found, (drawn[0], drawn[2]), 1 / 50)
    assert np.abs(found - exact(joint, (0, 2))).max() < 3


def test_the_largest_clique_is_told_beforehand():
    assert cells_with(SIZES, [(0, 1), (2, 3)]) == 8
    assert cells_with(SIZES, list(itertools.combinations(range(4), 2))) == 48
    assert cells_with((10, 10, 10), [(0, 1), (1, 2)]) == 100


@settings(max_examples=60)
@given(keys=st.lists(st.integers(0, 3), max_size=60), seed=st.integers(0, 9), data=st.data())
def test_within_each_key_shares_are_met_to_a_row(keys, seed, data):
    shares = np.array(
        data.draw(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any), min_size=4, max_size=4)),
        float,
    )
    drawn = deal(np.array(keys, dtype=int), shares, np.random.default_rng(seed))
    for key in set(keys):
        mine = drawn[np.array(keys) == key]
        wanted = shares[key] / shares[key].sum() * len(mine)
        assert np.abs(np.bincount(mine, minlength=3) - wanted).max() < 2
        assert not np.any(np.bincount(mine, minlength=3)[shares[key] == 0])
