"""The attack of the report finds a copy, and finds nothing where there is nothing to be found."""

import numpy as np
import pandas as pd
import pytest

from tre.errors import DataError
from tre.rules.accounting import rho_of
from tre.rules.twin import Tier, TwinPolicy
from tre.secure.data import twin_attack, twin_relations

from .test_twin_relations import CONSTANT, RELATED, hie
from .test_twins import SCHEMAS, ingested

pytestmark = pytest.mark.slow


def people(n, *, values=40, columns=6, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, values, n).astype(np.int32) for _ in range(columns)]


def test_who_was_copied_is_told_from_who_was_not():
    inside, outside = people(300), people(300, seed=4)
    assert twin_attack.area_under(inside, outside, inside, seed=1) > 0.9


def test_rows_that_have_to_do_with_nobody_tell_nothing():
    inside, outside, others = (people(2000, seed=s) for s in (3, 4, 5))
    assert twin_attack.area_under(inside, outside, others, seed=1) == pytest.approx(0.5, abs=0.05)


def tried(path, schema, twin, scratch):
    return twin_attack.tried(path, schema, twin, rho_units=rho_of(1, 1e-6), seed=2, scratch=scratch)


@pytest.mark.parametrize("tier", [Tier.PLAUSIBLE, Tier.MULTIVARIATE])
def test_the_twins_that_are_handed_out_tell_it_nothing_and_leave_nothing_behind(tmp_path, tier):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    twin = TwinPolicy(tier=tier, epsilon=1, constant=CONSTANT if tier.relates else ())
    assert tried(hie(tmp_path), SCHEMAS["hie"], twin, scratch) == pytest.approx(0.5, abs=0.06)
    assert list(scratch.iterdir()) == []


def test_a_tier_that_copied_its_rows_would_be_found(tmp_path, monkeypatch):
    """Planted: the twin's rows are those that it was made of."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"who": range(800), **{c: rng.integers(0, 3, 800) for c in "abcd"}})
    real, twin = ingested(frame, RELATED, tmp_path), TwinPolicy(tier=Tier.MULTIVARIATE, epsilon=1)
    honest = tried(real, RELATED, twin, tmp_path)
    right = twin_attack.read
    monkeypatch.setattr(
        twin_attack,
        "read",
        lambda path, *more: right(path.parents[1] / "inside.parquet" if path.stem == "twin" else path, *more),
    )
    assert tried(real, RELATED, twin, tmp_path) > honest + 0.02


def test_a_twin_that_learnt_nothing_and_few_people_are_not_attacked(tmp_path):
    real = hie(tmp_path)
    assert tried(real, SCHEMAS["hie"], TwinPolicy(tier=Tier.STRUCTURAL), tmp_path) is None
    assert twin_relations.FEWEST_PEOPLE < twin_attack.FEWEST_PEOPLE


def test_what_duckdb_says_is_not_passed_on(tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_text("7331")
    with pytest.raises(DataError) as caught:
        tried(broken, RELATED, TwinPolicy(tier=Tier.MULTIVARIATE, epsilon=1), tmp_path)
    assert caught.value.code == "measure_failed"
    assert caught.value.__context__ is None
