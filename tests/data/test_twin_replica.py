"""A replica resembles real rows, repeats none of their numbers, and what is said against it would find a copy."""

import numpy as np
import pandas as pd
import pytest

from tre.errors import DataError, PolicyError
from tre.rules.twin import TwinPolicy
from tre.secure.data import twin_replica, twin_sdv
from tre.secure.data.twin_structural import sample_structural

from .test_twin_relations import CONSTANT, RELATED, ROOT, hie, people_related
from .test_twins import SCHEMAS, fits, ingested


@pytest.fixture(scope="module")
def people():
    return people_related(1000)


@pytest.mark.slow
def test_people_of_a_panel_are_whole_and_what_belongs_together_still_does(tmp_path):
    schema, real = SCHEMAS["hie"], hie(tmp_path)
    rows, evidence = twin_replica.make(real, schema, TwinPolicy(constant=CONSTANT), seed=1, scratch=tmp_path)
    rows, truth = fits(rows, schema, tmp_path), pd.read_parquet(real)
    assert not rows.duplicated(["person", "year"]).any()
    assert (rows.groupby("person")[list(CONSTANT)].nunique(dropna=False) == 1).all(axis=None)
    assert rows["person"].nunique() == evidence.people == truth["person"].nunique()
    assert evidence.distance < 0.05
    assert evidence.attack == pytest.approx(0.5, abs=0.05)
    assert rows[["mdvis", "meddol"]].corr().iloc[0, 1] > 0.2  # 0.28 in the data


def test_no_number_of_the_data_is_carried_over_though_the_range_is_the_declared_one(tmp_path):
    schema = SCHEMAS["everything"]
    made = sample_structural(schema, rows=400, seed=1)
    rows, _ = twin_replica.make(ingested(made, schema, tmp_path), schema, TwinPolicy(), seed=2, scratch=tmp_path)
    fits(rows, schema, tmp_path)
    numbers = [f.name for f in schema.fields if f.type.value == "number" and f.categories is None and not f.step]
    assert numbers
    for name in numbers:
        assert not set(rows[name].dropna()) & set(made[name].dropna())


@pytest.mark.slow
def test_a_copy_of_the_data_would_be_found(tmp_path, people, monkeypatch):
    real = ingested(people, RELATED, tmp_path)
    _, honest = twin_replica.make(real, RELATED, TwinPolicy(), seed=1, scratch=tmp_path)
    monkeypatch.setattr(
        twin_replica, "copula", lambda table, *_, rows, **__: table.sample(rows, replace=True, ignore_index=True)
    )
    _, copied = twin_replica.make(real, RELATED, TwinPolicy(), seed=1, scratch=tmp_path)
    assert copied.repeated == 1
    assert honest.repeated <= copied.repeated


def test_a_copy_of_a_panel_is_found_though_not_everybody_is_there_in_every_year(tmp_path, monkeypatch):
    schema, all_of_them = SCHEMAS["hie"], pd.read_parquet(ROOT / "tre/demo/hie.parquet")
    few = all_of_them[all_of_them["person"].isin(all_of_them["person"].unique()[:300])]
    assert (few.groupby("person").size() < few["year"].nunique()).any()
    monkeypatch.setattr(twin_replica, "copula", lambda table, *_, **__: table)
    real = ingested(few, schema, tmp_path)
    _, evidence = twin_replica.make(real, schema, TwinPolicy(constant=CONSTANT), seed=1, scratch=tmp_path)
    assert evidence.repeated == 1
    assert evidence.distance == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.parquet", "real.parquet"]


@pytest.mark.slow
def test_whoever_does_not_know_the_seed_does_not_know_what_sdv_drew(people):
    table = people[["a", "b"]].astype(float)
    once, again, other = (twin_sdv.copula(table, dict.fromkeys("ab", "numerical"), rows=50, seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(once, again)
    assert not once.equals(other)


def test_the_attack_tells_those_who_were_copied_from_others(monkeypatch):
    rng = np.random.default_rng(3)
    real = [rng.integers(0, 40, 600).astype(np.int32) for _ in range(6)]
    monkeypatch.setattr(twin_replica, "copula", lambda table, *_, rows, **__: table.reset_index(drop=True))
    assert twin_replica._attack(real, np.random.default_rng(4)) > 0.9


@pytest.mark.slow
def test_an_attack_on_a_model_that_learnt_nothing_of_anyone_finds_nothing():
    rng = np.random.default_rng(3)
    real = [rng.integers(0, 3, 2000).astype(np.int32) for _ in range(6)]
    assert twin_replica._attack(real, np.random.default_rng(4)) == pytest.approx(0.5, abs=0.06)


def test_few_people_get_no_replica(tmp_path, people):
    with pytest.raises(PolicyError) as caught:
        twin_replica.make(ingested(people[:90], RELATED, tmp_path), RELATED, TwinPolicy(), seed=1, scratch=tmp_path)
    assert caught.value.code == "replica_impossible"


def test_what_sdv_says_of_values_is_not_passed_on():
    table = pd.DataFrame({"a": ["7331"] * 50})
    with pytest.raises(DataError) as caught:
        twin_sdv.copula(table, {"a": "numerical"}, rows=5)
    assert caught.value.code == "twin_failed"
    assert "7331" not in str(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_metadata_are_declared_and_no_range_of_the_table_binds_the_sample(monkeypatch):
    from sdv.metadata import Metadata
    from sdv.single_table import GaussianCopulaSynthesizer

    seen = {}
    made = GaussianCopulaSynthesizer.__init__

    def watched(self, metadata, **options):
        seen.update(options, metadata=metadata.to_dict())
        made(self, metadata, **options)

    monkeypatch.setattr(Metadata, "detect_from_dataframes", None)
    monkeypatch.setattr(GaussianCopulaSynthesizer, "__init__", watched)
    twin_sdv.copula(pd.DataFrame({"a": [7331.0, *range(60)]}), {"a": "numerical"}, rows=5)
    assert seen["enforce_min_max_values"] is False
    assert "7331" not in str(seen["metadata"])
