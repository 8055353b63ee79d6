"""Keys found in the data: common ones are told, those of one person almost never, and what is found cannot be refused."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tre.errors import RequestError
from tre.statistics import found
from tre.statistics.aggregate import open_rows
from tre.statistics.found import threshold
from tre.statistics.noise import sigma_for
from tre.statistics.prepare import prepare
from tre.statistics.request import parse
from tre.statistics.result import evaluate

from .conftest import SCHEMA, write_rows


def _prepared(by, statistics=None, *, epsilon=1.0, delta=1e-6):
    content = {
        "dataset": "toy",
        "group_by": by,
        "statistics": statistics or {"n": {"kind": "count"}},
        "epsilon": epsilon,
    }
    return prepare(parse(content), SCHEMA, delta=delta)


def _table(path, prepared):
    with open_rows(path) as connection:
        return evaluate(connection, prepared)


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """300 people say 'common', 200 'usual', and each of 50 a note of their own; a text longer than any key is left out."""
    said = ["common"] * 300 + ["usual"] * 200 + [f"mine {i}" for i in range(50)] + ["y" * 300] * 400 + [None] * 20
    rows = [(i, 0, "fm"[i % 2], "a", 30, 1.0, 1.0, note) for i, note in enumerate(said)]
    return write_rows(tmp_path_factory.mktemp("notes") / "rows.parquet", rows)


def test_common_keys_are_found_in_their_own_order_and_single_peoples_are_not(notes):
    table = _table(notes, _prepared([{"column": "note", "found": 1e-8}, {"column": "sex"}]))
    assert [c.keys[0] for c in table.cells] == ["common", "common", "usual", "usual", None, None]
    (found, *_) = table.mechanisms
    assert (found.measure, found.delta) == ("keys", 1e-8)


def test_finding_has_a_part_of_the_loss_and_the_statistics_the_rest(notes):
    prepared = _prepared([{"column": "note", "found": 1e-8}])
    spent = sum(m.rho_units for m in _table(notes, prepared).mechanisms)
    assert 0.99 * prepared.rho_units < spent <= prepared.rho_units
    assert prepared.delta_units == 10**7


def test_what_is_found_is_refused_before_or_never():
    """With as many keys as are kept, a request's vectors still stay below their limits: nothing is refused once paid."""
    many = {f"h{i}": {"kind": "histogram", "column": "age", "bins": 20 + i} for i in range(40)}
    prepared = _prepared([{"column": "note", "found": 1e-8}], many)
    assert prepared.finding.most < 500
    again = prepared.finding.again(tuple(f"k{i}" for i in range(prepared.finding.most)))
    assert sum(c.cells for c in again.components) <= 500_000


def test_keys_of_equal_counts_go_by_themselves_and_not_by_the_rows(tmp_path, monkeypatch):
    """Without noise, 30 keys of 40 people each: those kept are the first of them, however the rows are ordered."""
    monkeypatch.setattr(found, "gaussian", lambda values, **_: SimpleNamespace(values=values))
    kept = []
    for step in (1, 7):
        said = [f"key {i * step % 30:02}" for i in range(1200)]
        path = write_rows(tmp_path / f"{step}.parquet", [(i, 0, "f", "a", 30, 1.0, 1.0, n) for i, n in enumerate(said)])
        prepared = _prepared([{"column": "note", "found": 1e-8}], epsilon=20.0)
        with open_rows(path) as connection:
            kept.append(found.find(connection, prepared, replace(prepared.finding, most=10))[0])
    assert kept == [tuple(f"key {i:02}" for i in range(10))] * 2


def test_where_nothing_is_common_nothing_is_told(tmp_path):
    rows = [(i, 0, "f", "a", i % 100, 1.0, 1.0, f"mine {i}") for i in range(100)]
    path = write_rows(tmp_path / "rows.parquet", rows)
    table = _table(path, _prepared([{"column": "age", "found": 1e-8}], epsilon=0.1))
    assert table.cells == ()
    assert [c.keys for c in _table(path, _prepared([{"column": "note", "found": 1e-8}])).cells] == [(None,)]


def test_the_threshold_leaves_delta_to_all_keys_of_one_person():
    sigma = sigma_for(3**0.5, 10**11)
    for delta in (1e-4, 1e-8, 1e-12):
        from statistics import NormalDist

        one = NormalDist(0, sigma).cdf(-(threshold(3, sigma, delta) - 2))
        assert 3 * one == pytest.approx(delta, rel=1e-6)


@pytest.mark.parametrize(
    ("code", "by", "delta"),
    [
        ("request_invalid", [{"column": "note", "found": 0}], 1e-6),
        ("request_invalid", [{"column": "note", "found": 0.01}], 1e-6),
        ("request_invalid", [{"column": "note", "found": 1e-8, "keys": ["x"]}], 1e-6),
        ("request_invalid", [{"column": "note", "found": 1e-8}, {"column": "age", "found": 1e-8}], 1e-6),
        ("group_invalid", [{"column": "cost", "found": 1e-8}], 1e-6),
        ("column_unknown", [{"column": "person", "found": 1e-8}], 1e-6),
        ("keys_unknown", [{"column": "note", "found": 1e-8}], 0.0),
    ],
)
def test_what_cannot_be_found_is_refused(code, by, delta):
    with pytest.raises(RequestError) as refused:
        _prepared(by, delta=delta)
    assert refused.value.code == code


@pytest.mark.slow
def test_however_many_keys_are_found_the_request_is_never_refused_for_them(tmp_path):
    """A refusal after the rows were read would be told of them, and paid for."""
    statistics = {
        "h": {"kind": "histogram", "column": "cost", "bins": 400},
        "q": {"kind": "quantile", "column": "cost", "probability": 0.5, "by": ["note"], "bins": 20},
        "n": {"kind": "count", "margins": True},
    }
    rows = [(i, 0, "fm"[i % 2], None, 30, 1.0, 1.0, f"note {i % 800}") for i in range(16_000)]
    path = write_rows(tmp_path / "rows.parquet", rows)
    prepared = _prepared([{"column": "note", "found": 1e-5}, {"column": "sex"}], statistics, epsilon=60.0)
    table = _table(path, prepared)
    assert 0 < len({c.keys[0] for c in table.cells if c.by is None}) <= prepared.finding.most + 1
