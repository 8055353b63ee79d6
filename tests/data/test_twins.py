"""Twins: they fit the schema (ingest itself is the oracle), say what they are, and learn only what was paid for."""

from __future__ import annotations

import builtins
import inspect
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.errors import DataError, PolicyError
from tre.rules.accounting import UNIT, rho_of
from tre.rules.policy import Dataset
from tre.rules.schema import TableSchema
from tre.secure.data.ingest import ingest
from tre.secure.data.twin_file import Label, finish, read_label, write
from tre.secure.data.twin_plausible import Margins, cells_of, exact_counts, measure, sample_plausible
from tre.secure.data.twin_text import text_like
from tre.secure.data.twin_valid import sample_valid

ROOT = Path(__file__).parents[2]
RHO = rho_of(0.5, 1e-6)
LABEL = Label(
    dataset="d",
    tier="valid",
    made="2026-01-01",
    generator="g",
    seed=1,
    epsilon=None,
    delta=None,
    rho_units=0,
    learnt="nothing",
)


def schema_of(name: str) -> TableSchema:
    return Dataset.model_validate(yaml.safe_load((ROOT / "policies/datasets" / f"{name}.yaml").read_text())).table


# Every type, with and without bounds, a grid, a pattern, a unique field, optional fields, and a key with a date in it.
EVERYTHING = TableSchema.model_validate({
    "fields": [
        {"name": "nhs", "type": "string", "constraints": {"required": True, "pattern": "999[0-9]{7}"}},
        {"name": "seen", "type": "date", "constraints": {"minimum": "2020-01-01", "maximum": "2020-03-31"}},
        {"name": "ward", "type": "string", "constraints": {"pattern": "[A-C](-[0-9]{1,2})?|none"}},
        {"name": "born", "type": "date"},
        {"name": "dose", "type": "integer", "constraints": {"minimum": 0, "maximum": 500}, "step": 25},
        {"name": "level", "type": "integer", "constraints": {"enum": [1, 5, 9]}},
        {"name": "temperature", "type": "number", "constraints": {"minimum": 34.05, "maximum": 42}, "step": 0.1},
        {"name": "open_number", "type": "number"},
        {"name": "above", "type": "integer", "constraints": {"minimum": 1000}},
        {"name": "alive", "type": "boolean"},
        {"name": "note", "type": "string", "constraints": {"required": True}},
        {"name": "sample", "type": "integer", "constraints": {"unique": True, "minimum": 1, "maximum": 5000}},
    ],
    "primary_key": ["nhs", "seen"],
    "unit": {"field": "nhs", "max_rows": 4},
})  # fmt: skip
NO_KEY = TableSchema.model_validate({
    "fields": [
        {"name": "who", "type": "integer", "constraints": {"required": True}},
        {"name": "x", "type": "integer", "constraints": {"minimum": 0, "maximum": 9}},
    ],
    "unit": {"field": "who", "max_rows": 3},
})  # fmt: skip
OWN_KEY = TableSchema.model_validate({
    "fields": [
        {"name": "who", "type": "integer", "constraints": {"required": True, "minimum": 10, "maximum": 5000}},
        {"name": "event", "type": "string"},
        {"name": "b", "type": "boolean", "constraints": {"required": True}},
    ],
    "primary_key": ["event"],
    "unit": {"field": "who", "max_rows": 40},
})  # fmt: skip
SCHEMAS = {
    "hie": schema_of("hie"), "hie-people": schema_of("hie-people"), "everything": EVERYTHING, "no key": NO_KEY, "own": OWN_KEY,
}  # fmt: skip


def fits(frame: pd.DataFrame, schema: TableSchema, folder: Path) -> pd.DataFrame:
    """The twin's file, after ingest itself found nothing wrong with it."""
    write(frame, schema, LABEL, folder / "twin.parquet")
    done = ingest(schema, [folder / "twin.parquet"], folder / "checked.parquet", key=b"k")
    assert done.rows == len(frame)
    twin = pd.read_parquet(folder / "twin.parquet")
    assert int(twin["tre_order"].max()) < schema.unit.max_rows
    assert list(twin.dtypes) == list(pd.read_parquet(folder / "checked.parquet").dtypes)
    return twin


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_valid_twin_fits_its_schema(tmp_path: Path, name: str) -> None:
    schema = SCHEMAS[name]
    frame = sample_valid(schema, rows=600, seed=5)
    assert len(frame) == 600
    twin = fits(frame, schema, tmp_path)
    assert list(twin.columns) == [*(f.name for f in schema.fields), "tre_person", "tre_order"]
    if schema.unit.max_rows > 1:
        assert twin.groupby("tre_person").size().max() > 1
    for field in schema.fields:
        values = twin[field.name].dropna()
        if field.categories is not None:
            assert set(values) == set(field.categories)
        if field.bounds is not None and field.name != schema.unit.field:  # spread over what is declared
            low, high = field.bounds
            assert values.min() < low + (high - low) / 3
            assert values.max() > high - (high - low) / 3
        free = field.constraints.required or field.name in schema.primary_key or field.constraints.pattern
        if not free and field.type != "string":
            assert 0 < twin[field.name].isna().mean() < 0.2


def test_the_valid_tier_is_given_no_data() -> None:
    assert list(inspect.signature(sample_valid).parameters) == ["schema", "rows", "seed"]


@pytest.mark.slow
def test_a_seed_repeats_a_valid_twin() -> None:
    one, same, other = (sample_valid(EVERYTHING, rows=50, seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


SCRIPT = """
import json, sys
sys.path[:0] = [{root!r}]
from tests.data.test_twins import EVERYTHING
from tre.secure.data.twin_valid import sample_valid
print(sample_valid(EVERYTHING, rows=50, seed=1).to_csv())
"""


@pytest.mark.slow
def test_sdv_is_silent_writes_nothing_at_home_and_repeats_in_another_process(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT.format(root=str(ROOT))],
        env=environment, capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == sample_valid(EVERYTHING, rows=50, seed=1).to_csv() + "\n"
    assert done.stderr == ""
    assert list(tmp_path.rglob("*")) == []


def test_without_sdv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.split(".", 1)[0] == "sdv":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PolicyError) as caught:
        sample_valid(NO_KEY, rows=10, seed=1)
    assert caught.value.code == "twins_extra_missing"
    assert 'pip install "tre[twins]"' in str(caught.value)


def with_who(constraints: dict[str, Any]) -> TableSchema:
    who = {"name": "who", "type": "integer", "constraints": {"required": True, **constraints}}
    return TableSchema.model_validate({**NO_KEY.model_dump(), "fields": [who, *NO_KEY.model_dump()["fields"][1:]]})


def test_where_identifiers_run_out_there_are_fewer_people(tmp_path: Path) -> None:
    schema = with_who({"enum": [1, 2]})
    assert set(fits(sample_valid(schema, rows=100, seed=1), schema, tmp_path)["who"]) == {1, 2}


def test_a_schema_that_no_row_fits_is_said_so() -> None:
    with pytest.raises(PolicyError, match="twin_impossible"):
        sample_valid(with_who({"enum": [1, 2], "minimum": 3}), rows=100, seed=1)


def test_a_twin_of_too_few_people_to_tell_from_noise_still_has_rows(tmp_path: Path) -> None:
    real = ingested(pd.DataFrame({"who": [1, 2], "x": [1, 9]}), NO_KEY, tmp_path)
    for seed in range(5):
        frame = sample_plausible(measure(real, NO_KEY, rho_units=10**6), NO_KEY, seed=seed)
        assert len(fits(frame, NO_KEY, tmp_path)) > 9


@pytest.mark.parametrize(
    "pattern", ["[A-Z]{2}[0-9]{6}[A-D]", "a|b|cd?", r"\d+-\w*", "[^x]y.z", "(?:ab){2,}", "^x$", None]
)
def test_made_up_text_matches_its_pattern(pattern: str | None) -> None:
    rng = np.random.default_rng(0)  # noqa: TID251  # a test's own
    for _ in range(20):
        assert re.fullmatch(pattern or "text", text_like(pattern, rng))


def test_a_pattern_that_text_cannot_be_made_from_is_refused() -> None:
    for pattern in (r"(?=a)b", r"(a)\1"):
        with pytest.raises(PolicyError, match="twin_impossible"):
            text_like(pattern, np.random.default_rng(0))  # noqa: TID251  # a test's own


# The plausible tier


def ingested(frame: pd.DataFrame, schema: TableSchema, folder: Path) -> Path:
    frame.to_parquet(folder / "in.parquet", index=False)
    ingest(schema, [folder / "in.parquet"], folder / "real.parquet", key=b"k")
    return folder / "real.parquet"


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_plausible_twin_fits_its_schema(tmp_path: Path, name: str) -> None:
    schema = SCHEMAS[name]
    real = ingested(sample_valid(schema, rows=400, seed=1), schema, tmp_path)
    for rho in (10**12, 10**6):  # little noise, and nothing but noise
        frame = sample_plausible(measure(real, schema, rho_units=rho), schema, seed=3)
        fits(frame, schema, tmp_path)


@pytest.mark.parametrize("name", SCHEMAS)
def test_cells_are_public_and_cover_the_declared_range(name: str) -> None:
    schema = SCHEMAS[name]
    measured = {c.field: c for c in cells_of(schema)}
    assert schema.unit.field not in measured
    for field in schema.fields:
        cells = measured.get(field.name)
        if cells is None:
            assert field.categories is None
            continue
        if cells.kind == "bins":
            assert cells.edges[0] == field.bounds[0]  # type: ignore[index]
            assert cells.edges[-1] == field.bounds[1] + (field.type == "integer")  # type: ignore[index]
        assert list(cells.edges) == sorted(set(cells.edges))
        assert cells.missing is not (field.constraints.required or field.name in schema.primary_key)


@pytest.mark.slow
def test_every_row_is_counted_once_in_every_margin(tmp_path: Path) -> None:
    for i, (name, schema) in enumerate(SCHEMAS.items()):
        real = ingested(sample_valid(schema, rows=300, seed=i), schema, tmp_path)
        frame = pd.read_parquet(real)
        counts = exact_counts(real, schema)
        assert sum(counts.pop("tre_people")) == frame["tre_person"].nunique(), name
        for field, cells in counts.items():
            assert sum(cells) == len(frame), field


def test_counts_are_of_bounded_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": [1] * 7 + [2], "x": [0, 0, 0, 0, 0, 0, 0, 9]})
    counts = exact_counts(ingested(frame, NO_KEY, tmp_path), NO_KEY)
    assert counts["tre_people"] == (1, 0, 1)
    assert counts["x"][0] == 3
    assert sum(counts["x"]) == 4


PEOPLE = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=2, max_size=6)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(people=PEOPLE)
def test_no_person_moves_a_margin_by_more_than_the_noise_is_made_for(
    people: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("people")
    rows = pd.DataFrame([(who, x) for who, xs in enumerate(people) for x in xs], columns=["who", "x"])
    everyone = exact_counts(ingested(rows, NO_KEY, folder), NO_KEY)
    for who in range(len(people)):
        without = exact_counts(ingested(rows[rows["who"] != who], NO_KEY, folder), NO_KEY)
        for margin, counts in everyone.items():
            distance = math.dist(counts, without[margin])
            assert distance <= (1 if margin == "tre_people" else NO_KEY.unit.max_rows)


def test_noise_is_for_the_sensitivity_and_its_cost_for_the_budget(tmp_path: Path) -> None:
    schema = SCHEMAS["hie"]
    real = ingested(sample_valid(schema, rows=100, seed=1), schema, tmp_path)
    margins = measure(real, schema, rho_units=RHO)
    spent = 0.0
    for margin in (margins.people, *margins.fields):
        sensitivity = 1 if margin.cells.field == "tre_people" else schema.unit.max_rows
        spent += sensitivity**2 / (2 * margin.sigma**2)
        assert len(margin.counts) == margin.cells.size
    assert 0.999 * RHO * UNIT < spent <= RHO * UNIT
    again = measure(real, schema, rho_units=RHO)
    assert again != margins


@pytest.mark.slow
def test_margins_are_small_json_and_hold_nothing_else(tmp_path: Path) -> None:
    schema = SCHEMAS["everything"]
    real = ingested(sample_valid(schema, rows=100, seed=1), schema, tmp_path)
    margins = measure(real, schema, rho_units=RHO)
    text = margins.model_dump_json()
    assert Margins.model_validate_json(text) == margins
    assert len(text) < 10_000
    for secret in pd.read_parquet(real)["nhs"]:
        assert secret not in text
    assert list(inspect.signature(sample_plausible).parameters) == ["margins", "schema", "seed"]


@pytest.mark.slow
def test_a_plausible_twin_resembles_each_column(tmp_path: Path) -> None:
    schema = SCHEMAS["hie"]
    out = tmp_path / "real.parquet"
    ingest(schema, [ROOT / "tre/demo/hie.parquet"], out, key=b"k")
    margins = measure(out, schema, rho_units=RHO)
    twin, real = fits(sample_plausible(margins, schema, seed=1), schema, tmp_path), pd.read_parquet(out)
    assert abs(twin["tre_person"].nunique() - 5912) < 500
    for column in ("year", "site", "coinsurance", "sex", "health"):
        shares = [f[column].value_counts(normalize=True) for f in (real, twin)]
        assert (shares[0] - shares[1]).abs().max() < 0.07, column
    for column in ("age", "income", "mhi", "education", "family_size"):
        # Over 120 draws the noise moved income's mean by 4 % (one standard deviation), the others' by less.
        assert twin[column].mean() == pytest.approx(real[column].mean(), rel=0.3), column
    assert twin["mentvis"].nunique() > 1
    pd.testing.assert_frame_equal(sample_plausible(margins, schema, seed=2), sample_plausible(margins, schema, seed=2))


def test_measuring_a_broken_file_says_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "real.parquet").write_text("7331")
    with pytest.raises(DataError) as caught:
        exact_counts(tmp_path / "real.parquet", NO_KEY)
    assert caught.value.code == "measure_failed"
    assert caught.value.__context__ is None


# The file


def test_the_label_stays_with_the_rows(tmp_path: Path) -> None:
    label = Label(
        dataset="hie",
        tier="plausible",
        made="2026-01-01",
        generator="tre",
        seed=7,
        epsilon=0.5,
        delta=1e-6,
        rho_units=9,
        learnt="é",
    )
    frame = pd.DataFrame({"who": [2, 1, 2], "x": [1, None, 3]})
    first = write(frame, NO_KEY, label, tmp_path / "twin.parquet")
    assert first == write(frame, NO_KEY, label, tmp_path / "again.parquet")
    assert read_label(tmp_path / "twin.parquet") == label
    says = pd.read_parquet(tmp_path / "twin.parquet").attrs["tre"]
    assert says.startswith("SYNTHETIC ")
    assert '"dataset":"hie"' in says
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert read_label(ingested(frame, NO_KEY, tmp_path)) is None


def test_finish_numbers_persons_and_their_rows() -> None:
    done = finish(pd.DataFrame({"who": [9, 4, 9], "x": [1, 2, 0]}), NO_KEY)
    assert done["who"].tolist() == [4, 9, 9]
    assert done["tre_person"].tolist() == [0, 1, 1]
    assert done["tre_order"].tolist() == [0, 0, 1]
    pd.testing.assert_frame_equal(finish(done, NO_KEY), done)
