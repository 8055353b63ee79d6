"""What a twin has by declaration, in every tier: rows that rare filters find, missing values, and people who link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.data.test_twins import EVERYTHING, LABEL, NO_KEY, ROOT, fits, ingested, schema_of
from tre.errors import PolicyError
from tre.rules.accounting import rho_of
from tre.rules.twin import Tier, TwinPolicy, problems
from tre.secure.data import twin_tiers
from tre.secure.data.twin_file import read_label, write
from tre.secure.data.twin_structural import sample_structural
from tre.secure.services import create

HIE = schema_of("hie")
# The second, of two that would be the only one of their kind: a child who was admitted twelve times.
CASES: list[dict[str, Any]] = [
    {"year": 5, "totadm": 12, "age": 3.5, "site": "Georgetown"},
    {"education": None, "mdvis": 150},
]
CONSTANT = ("site", "sex", "education")


def policy(tier: Tier, **more: Any) -> TwinPolicy:
    return TwinPolicy(tier=tier, epsilon=1 if tier.learns else None, edge_cases=CASES, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    rows = pd.read_parquet(ROOT / "tre/demo/hie.parquet")
    return ingested(rows[rows["person"] % 10 == 0], HIE, folder)


@pytest.mark.slow
@pytest.mark.parametrize("tier", [t for t in Tier if t is not Tier.REPLICA])
def test_every_tier_has_the_declared_rows_and_a_missing_value_wherever_one_may_be(
    tier: Tier, real: Path, tmp_path: Path
) -> None:
    twin = policy(tier, constant=CONSTANT if tier.relates else ())
    learnt = twin_tiers.learn(real, HIE, twin, rho_units=rho_of(1, 1e-6)) if tier.learns else None
    made = twin_tiers.make(HIE, twin, learnt, seed=4)
    rows = fits(pd.concat(list(made.frames)), HIE, tmp_path)
    found = rows.query("year == 5 and totadm == 12 and age == 3.5 and site == 'Georgetown'")
    assert len(found) >= 1
    assert rows["education"].isna().any()
    assert len(rows.query("mdvis == 150 and education.isna()")) >= 1
    if tier.relates:  # a person whose site is declared has it in all years
        person = found["tre_person"].iloc[0]
        assert rows[rows["tre_person"] == person]["site"].nunique() == 1


def test_nothing_is_added_or_taken_away_and_the_same_seed_gives_the_same_rows() -> None:
    plain, with_cases = (
        pd.concat(list(twin_tiers.make(EVERYTHING, t, None, seed=3).frames))
        for t in (TwinPolicy(tier=Tier.STRUCTURAL), TwinPolicy(tier=Tier.STRUCTURAL, edge_cases=({"level": 9, "note": "rare"},)))
    )  # fmt: skip
    assert len(plain) == len(with_cases)
    assert (plain[["nhs", "seen"]] == with_cases[["nhs", "seen"]]).all(axis=None)
    assert int((with_cases["note"] == "rare").sum()) == 1
    optional = [
        f.name for f in EVERYTHING.fields if not f.constraints.required and f.name not in EVERYTHING.primary_key
    ]
    assert sample_structural(EVERYTHING, rows=1000, seed=3)[optional].notna().all(axis=None)  # made, dates too
    assert plain[optional].isna().any().all()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"nhs": "9990000000"}, "beside the person"),
        ({"weight": 3}, "beside the person"),
        ({"sample": 3}, "is a key"),
        ({"dose": 501}, "outside its bounds"),
        ({"dose": 1.5}, "of type integer"),
        ({"alive": 1}, "of type boolean"),
        ({"level": 2}, "none of its categories"),
        ({"ward": "D"}, "does not fit its pattern"),
        ({"note": None}, "is required"),
        ({"seen": None}, "is required"),
        ({"seen": "2021-01-01"}, "outside its bounds"),
        ({"seen": "soon"}, "of type date"),
    ],
)
def test_an_edge_case_is_a_row_that_ingest_would_take(case: dict[str, Any], reason: str) -> None:
    (found,) = problems(TwinPolicy(edge_cases=(case,)), EVERYTHING, pure=False)
    assert found[0] == "edge_cases"
    assert reason in found[1]


def test_an_edge_case_may_leave_out_what_may_be_missing_and_name_a_date() -> None:
    fine = (
        {"alive": None, "seen": "2020-02-29"},
        {"temperature": 42, "born": "1900-01-01"},
        {"level": 5, "alive": False},
    )
    assert problems(TwinPolicy(edge_cases=fine), EVERYTHING, pure=False) == []


def test_a_twin_that_learnt_anything_is_not_public() -> None:
    learns = TwinPolicy(tier=Tier.PLAUSIBLE, epsilon=1, public=True)
    assert [key for key, _ in problems(learns, NO_KEY, pure=False)] == ["public"]
    people = schema_of("hie-people")
    counted = TwinPolicy(tier=Tier.VALID, people_of="hie", public=True)
    assert [key for key, _ in problems(counted, people, pure=False)] == ["public"]
    assert problems(TwinPolicy(tier=Tier.STRUCTURAL, public=True), NO_KEY, pure=False) == []


def test_the_people_of_another_twin_are_for_one_row_a_person_and_tiers_that_learn_nothing() -> None:
    for wrong in (
        TwinPolicy(tier=Tier.PLAUSIBLE, epsilon=1, people_of="hie"),
        TwinPolicy(people_of="hie", rows=50),
    ):
        assert [key for key, _ in problems(wrong, schema_of("hie-people"), pure=False)] == ["people_of"]
    assert [key for key, _ in problems(TwinPolicy(people_of="b"), NO_KEY, pure=False)] == ["people_of"]


def test_the_label_names_no_version_where_nothing_was_learnt(tmp_path: Path) -> None:
    write(sample_structural(NO_KEY, rows=20, seed=1), NO_KEY, LABEL, tmp_path / "twin.parquet")
    label = read_label(tmp_path / "twin.parquet")
    assert label is not None
    assert label.version is None


@pytest.mark.slow
def test_every_visit_of_a_twin_is_of_a_person_of_the_other(tmp_path: Path) -> None:
    services = create(tmp_path / "area")
    services.apply(ROOT / "policies", dry_run=False)
    for name in ("hie", "hie-people"):
        services.ingest(name, [ROOT / "tre/demo" / f"{name.replace('-', '_')}.parquet"], drop_invalid=False)
    with pytest.raises(Exception, match="twin_missing"):
        services.make_twin("hie-people")
    for name in ("hie", "hie-people"):
        services.make_twin(name)
    visits, people = (pd.read_parquet(services.registry.twin(n)) for n in ("hie", "hie-people"))
    for column in ("person", "tre_person"):
        assert set(visits[column]) == set(people[column])
    assert people["person"].is_unique
    services.close()


def test_a_policy_names_people_that_are_named_alike(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    path = tmp_path / "policies/datasets/hie-people.yaml"
    services = create(tmp_path / "area")
    for old, new, reason in (
        ("people_of: hie", "people_of: hie-people", "another dataset"),
        ("maximum: 999999", "maximum: 99999", "declared differently"),
    ):
        text = path.read_text()
        path.write_text(text.replace(old, new))
        with pytest.raises(PolicyError, match=reason):
            services.apply(tmp_path / "policies", dry_run=True)
        path.write_text(text)
    services.close()
