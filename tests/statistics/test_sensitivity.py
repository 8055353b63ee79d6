"""How much one person can change an exact vector: brute force never exceeds what is declared, and reaches it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.statistics.aggregate import exact, open_rows
from tre.statistics.prepare import prepare
from tre.statistics.request import parse

from .conftest import SCHEMA, write_rows

STATISTICS = {
    "rows": {"kind": "count"},
    "people": {"kind": "count_people"},
    "total": {"kind": "sum", "column": "cost", "bounds": [0, 100]},
    "middle": {"kind": "mean", "column": "cost", "bounds": [0, 100]},
    "spread": {"kind": "variance", "column": "cost", "bounds": [0, 100]},
    "bins": {"kind": "histogram", "column": "age", "bins": 5},
}
REQUEST = {"dataset": "toy", "statistics": STATISTICS, "epsilon": 1.0}

person_rows = st.lists(
    st.tuples(
        st.sampled_from("fm"), st.sampled_from([None, "a", "b", "c"]), st.sampled_from([0, 60, 120]),
        st.sampled_from([None, float("nan"), -1e9, 0.0, 50.0, 100.0, 1e9]),
    ),
    max_size=5,
)  # fmt: skip


def _distances(tmp, people, grouped):
    """For each component, the largest L2 distance that removing one person makes, and what is declared."""
    request = parse(REQUEST | ({"group_by": [{"column": "sex"}, {"column": "site"}]} if grouped else {}))
    prepared = prepare(request, SCHEMA, delta=1e-6)

    def vectors(without):
        rows = [
            (p, o, sex, site, age, cost, None, None)
            for p, mine in enumerate(people)
            if p != without
            for o, (sex, site, age, cost) in enumerate(mine)
        ]
        with open_rows(write_rows(tmp / f"without-{without}.parquet", rows)) as connection:
            return exact(connection, prepared)

    whole = vectors(None)
    for component in prepared.components:
        largest = max((math.dist(whole[component], vectors(p)[component]) for p in range(len(people))), default=0.0)
        yield component, largest


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(person_rows, min_size=1, max_size=3), st.booleans())
def test_no_person_changes_a_vector_by_more_than_is_declared(tmp_path_factory, people, grouped):
    for component, largest in _distances(tmp_path_factory.mktemp("people"), people, grouped):
        assert largest <= component.l2 + 1e-9


@pytest.mark.parametrize("grouped", [False, True])
def test_somebody_with_all_rows_at_the_bound_reaches_it(tmp_path, grouped):
    """A declared sensitivity that is larger than needed would be noise for nothing."""
    worst = [("f", "a", 0, 1e9)] * 5
    spread = [("f", "a", 0, 1e9), ("m", "b", 0, 1e9), ("f", "c", 0, 1e9)]
    reached = {}
    for i, person in enumerate((worst, spread)):
        (tmp_path / str(i)).mkdir()
        for component, largest in _distances(tmp_path / str(i), [person], grouped):
            reached[component] = max(reached.get(component, 0), largest)
    for component, largest in reached.items():
        assert largest == pytest.approx(component.l2)
