"""Twins that know relations: they fit their schema, learn only what was paid for, and people stay whole."""

import inspect
import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.errors import DataError, PolicyError
from tre.rules.accounting import UNIT, rho_of
from tre.rules.schema import SchemaField, TableSchema
from tre.rules.twin import Tier, TwinPolicy, problems
from tre.secure.data import twin_relations, twin_tiers
from tre.secure.data.ingest import ingest
from tre.secure.data.twin_file import write
from tre.secure.data.twin_layout import ABSENT, layout, read
from tre.secure.data.twin_plausible import Cells, values
from tre.secure.data.twin_related import sample_related
from tre.secure.data.twin_relations import PARTS, Alone, Relations
from tre.secure.data.twin_shape import repair

from .test_twins import LABEL, ROOT, SCHEMAS, fits, ingested

MUCH = rho_of(10, 1e-6)
ONE = rho_of(1, 1e-6)
CONSTANT = ("site", "coinsurance", "sex", "income", "education", "family_size", "health", "mhi", "disea", "physlm")

VISITS = TableSchema.model_validate({
    "fields": [
        {"name": "who", "type": "integer", "constraints": {"required": True, "minimum": 1}},
        {"name": "day", "type": "date", "constraints": {"required": True, "minimum": "2024-01-01", "maximum": "2024-12-31"}},
        {"name": "ward", "type": "string", "constraints": {"enum": ["a", "b", "c"]}},
        {"name": "cost", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}},
    ],
    "unit": {"field": "who", "max_rows": 6},
})  # fmt: skip
RELATED = TableSchema.model_validate({
    "fields": [
        {"name": "who", "type": "integer", "constraints": {"required": True}},
        *({"name": n, "type": "integer", "constraints": {"required": True, "enum": [0, 1, 2]}} for n in "abcd"),
    ],
    "primary_key": ["who"],
    "unit": {"field": "who", "max_rows": 1},
})  # fmt: skip


def made(schema, folder, frame, *, rho=ONE, tier=Tier.MULTIVARIATE, **options):
    """What is learnt of these rows, with the tier's policy."""
    twin = TwinPolicy(tier=tier, epsilon=1, **options)
    return twin, twin_tiers.learn(ingested(frame, schema, folder), schema, twin, rho_units=rho)


def rows_of(schema, twin, learnt, seed=1):
    return pd.concat(list(twin_tiers.make(schema, twin, learnt, seed=seed).frames), ignore_index=True)


def hie(folder):
    out = folder / "real.parquet"
    ingest(SCHEMAS["hie"], [ROOT / "tre/demo/hie.parquet"], out, key=b"k")
    return out


@pytest.fixture(scope="module")
def related():
    return people_related(2000)


def people_related(n):
    """People whose a and b are mostly the same, and whose c and d have nothing to do with anything."""
    rng = np.random.default_rng(0)
    a, c, d = rng.integers(0, 3, (3, n))
    b = np.where(rng.random(n) < 0.9, a, rng.integers(0, 3, n))
    return pd.DataFrame({"who": range(n), "a": a, "b": b, "c": c, "d": d})


@pytest.mark.parametrize("tier", [Tier.MULTIVARIATE, Tier.DETAILED])
@pytest.mark.parametrize("name", SCHEMAS)
def test_it_fits_its_schema(tmp_path, name, tier):
    schema = SCHEMAS[name]
    structural = twin_tiers.make(schema, TwinPolicy(tier=Tier.STRUCTURAL, rows=300), None, seed=3)
    (frame,) = structural.frames
    fits(frame, schema, tmp_path)
    twin, learnt = made(schema, tmp_path, frame, rho=MUCH, tier=tier)
    fits(rows_of(schema, twin, learnt), schema, tmp_path)


def test_columns_that_belong_together_still_do_and_others_still_do_not(tmp_path, related):
    twin, learnt = made(RELATED, tmp_path, related)
    assert {tuple(learnt.alone[c].column.cells.field for c in t.columns) for t in learnt.together} >= {("a", "b")}
    rows = rows_of(RELATED, twin, learnt)
    assert len(rows) == pytest.approx(2000, abs=100)
    assert (rows["a"] == rows["b"]).mean() == pytest.approx((related["a"] == related["b"]).mean(), abs=0.15)
    for other in "cd":
        assert (rows["a"] == rows[other]).mean() == pytest.approx(1 / 3, abs=0.12)


def test_a_pair_that_is_asked_for_is_counted_whatever_it_shows(tmp_path, related):
    _, learnt = made(RELATED, tmp_path, related, relations=(("d", "c"),))
    assert (2, 3) in [t.columns for t in learnt.together]


def test_for_few_people_each_column_is_learnt_alone_and_better_and_that_is_said(tmp_path, related):
    twin, few = made(RELATED, tmp_path, related[:150])
    assert few.together == ()
    assert "too few people for relations" in twin_tiers.make(RELATED, twin, few, seed=1).learnt
    _, many = made(RELATED, tmp_path, related)
    assert few.sigma < many.sigma


@pytest.mark.slow
def test_people_of_a_panel_keep_what_is_constant_and_have_years_of_their_own(tmp_path):
    schema = SCHEMAS["hie"]
    twin = TwinPolicy(tier=Tier.MULTIVARIATE, epsilon=1, constant=CONSTANT)
    real = hie(tmp_path)
    learnt = twin_tiers.learn(real, schema, twin, rho_units=MUCH)  # the structure is asked for here, not the noise
    rows, truth = fits(rows_of(schema, twin, learnt), schema, tmp_path), pd.read_parquet(real)
    assert not rows.duplicated(["person", "year"]).any()
    assert (rows.groupby("person")[list(CONSTANT)].nunique(dropna=False) == 1).all(axis=None)
    years = [f.groupby("person").size().value_counts(normalize=True) for f in (truth, rows)]
    assert years[0].sub(years[1], fill_value=0).abs().sum() / 2 < 0.1
    assert rows[["mdvis", "meddol"]].corr().iloc[0, 1] > 0.12  # 0.28 in the data; on their own, none
    assert learnt.rows == pytest.approx(len(rows), rel=0.05)


@pytest.mark.slow
def test_events_are_in_the_order_of_time_and_as_many_as_people_have(tmp_path):
    rng = np.random.default_rng(1)
    many = rng.integers(1, 7, 3000)
    who = np.repeat(np.arange(1, 3001), many)
    days = [date(2024, 1, 1 + int(d)) for d in rng.integers(0, 28, len(who))]
    frame = pd.DataFrame(
        {"who": who, "day": days, "ward": rng.choice(["a", "b"], len(who)), "cost": rng.random(len(who)) * 9}
    )
    twin, learnt = made(VISITS, tmp_path, frame, order="day", rho=rho_of(3, 1e-6))
    rows = rows_of(VISITS, twin, learnt)
    assert rows.groupby("who")["day"].apply(lambda days: days.is_monotonic_increasing).all()
    shares = [f.groupby("who").size().value_counts(normalize=True) for f in (frame, rows)]
    assert shares[0].sub(shares[1], fill_value=0).abs().sum() / 2 < 0.1


def test_nothing_but_noise_and_choices_with_noise_comes_out_and_they_cost_what_was_charged(
    tmp_path, monkeypatch, related
):
    spent = []
    for name, where in (("gaussian", "rho_units"), ("choose", "units")):
        right = getattr(twin_relations, name)

        def counted(*args, right=right, where=where, **more):
            spent.append(more[where])
            assert more["sensitivity"] >= (1 if where == "rho_units" else PARTS)
            return right(*args, **more)

        monkeypatch.setattr(twin_relations, name, counted)
    for tier in (Tier.MULTIVARIATE, Tier.DETAILED):
        for rows in (related, related[:150]):
            spent.clear()
            _, learnt = made(RELATED, tmp_path, rows, tier=tier)
            assert learnt.rho_units == ONE
            assert 0.5 * ONE < sum(spent) <= ONE


PEOPLE = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6), min_size=2, max_size=6
)
EVENTS = RELATED.model_copy(update={"fields": RELATED.fields[:3], "primary_key": (), "unit": VISITS.unit})


@pytest.mark.slow
@settings(max_examples=30)
@given(people=PEOPLE, shares=st.lists(st.floats(0, 1), min_size=9, max_size=9))
def test_no_person_moves_a_count_by_more_than_one_or_a_score_by_more_than_is_said(tmp_path_factory, people, shares):
    path = tmp_path_factory.mktemp("people") / "real.parquet"
    rows = pd.DataFrame([(w, *values) for w, mine in enumerate(people) for values in mine], columns=["who", "a", "b"])
    rows = rows.assign(tre_person=rows["who"], tre_order=rows.groupby("who").cumcount())
    laid = layout(EVENTS)
    size = {c.cells.field: c.cells.size for c in laid.columns}
    known = Relations(
        rho_units=1, people=5, sigma=1.0, together=(), asked=0,
        alone=[Alone(column=c, counts=(0,) * c.cells.size, groups=range(c.cells.size)) for c in laid.columns],
    )  # fmt: skip

    def secret(frame):
        frame.to_parquet(path)
        return twin_relations._Secret(read(path, EVENTS, laid), known)

    everyone, many = secret(rows), len(laid.columns)
    assert size == {"tre_people": 6, "a": 3, "b": 3}
    pairs = [(i, j) for i in range(1, many) for j in range(1, i)]
    for who in range(len(people)):
        without = secret(rows[rows["who"] != who])
        for columns in [*((i,) for i in range(many)), *pairs]:
            assert np.abs(everyone.count(columns) - without.count(columns)).sum() <= 1
        for pair in pairs:
            (before, moved), (after, also) = (s.distance(pair, np.array(shares), 5) for s in (everyone, without))
            assert moved == also
            assert abs(before - after) <= moved


def test_codes_are_of_bounded_rows_one_line_for_each_person(tmp_path):
    frame = pd.DataFrame(
        {"who": [1] * 9 + [2], "day": [date(2024, 1, d) for d in range(1, 11)], "ward": ["a"] * 9 + ["c"], "cost": 1.0}
    )
    laid = layout(VISITS, time="day")
    codes = read(ingested(frame, VISITS, tmp_path), VISITS, laid)
    wards = [c for c, column in zip(codes, laid.columns, strict=True) if column.cells.field == "ward"]
    assert {len(c) for c in codes} == {2}
    assert sorted(wards[0]) == [0, 2]
    assert len(wards) == laid.slots == 6
    assert sorted(wards[-1]) == [ABSENT, 0]


def test_relations_are_small_json_and_hold_nothing_else(tmp_path, related):
    _, learnt = made(RELATED, tmp_path, related)
    text = learnt.model_dump_json()
    assert Relations.model_validate_json(text) == learnt
    assert len(text) < 5_000
    assert all(isinstance(n, int) for t in (*learnt.alone, *learnt.together) for n in t.counts)
    assert not {"codes", "parquet", "rows"} & set(inspect.signature(sample_related).parameters)
    assert set(json.loads(text)) == {"rho_units", "people", "sigma", "alone", "together", "asked"}


@pytest.mark.slow
def test_a_seed_repeats_its_bytes_in_however_many_pieces_and_nobody_is_in_two(tmp_path, related):
    twin, learnt = made(RELATED, tmp_path, related, rows=50_000)
    sums = set()
    for name in ("one", "two"):
        frames = twin_tiers.make(RELATED, twin, learnt, seed=4).frames
        sums.add(write(frames, RELATED, LABEL, tmp_path / name))
    assert len(sums) == 1
    rows = pd.read_parquet(tmp_path / "one")
    assert len(rows) == 50_000
    assert rows["who"].is_unique
    assert rows["tre_person"].is_unique


@pytest.mark.parametrize("tier", [Tier.PLAUSIBLE, Tier.MULTIVARIATE])
def test_what_cannot_be_learnt_is_refused_before_it_is_charged(tier):
    with pytest.raises(PolicyError, match="too small"):
        twin_tiers.enough(RELATED, TwinPolicy(tier=tier, epsilon=1), rho_units=50)
    bare = RELATED.model_copy(update={"fields": RELATED.fields[:1]})
    if tier is Tier.MULTIVARIATE:
        with pytest.raises(PolicyError, match="No field"):
            twin_tiers.enough(bare, TwinPolicy(tier=tier, epsilon=1), rho_units=ONE)


def test_measuring_a_broken_file_says_nothing_of_it(tmp_path):
    (tmp_path / "real.parquet").write_text("7331")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "real.parquet", VISITS, layout(VISITS))
    assert "7331" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_sigma_is_what_the_budget_gives(tmp_path, related):
    _, learnt = made(RELATED, tmp_path, related)
    spent = len(learnt.alone) / (2 * learnt.sigma**2) + sum(1 / (2 * t.sigma**2) for t in learnt.together)
    assert spent <= ONE * UNIT


@pytest.mark.parametrize(
    ("twin", "key"),
    [
        ({"tier": "multivariate plausible"}, "epsilon"),
        ({"tier": "structural", "epsilon": 1}, "epsilon"),
        ({"tier": "plausible", "epsilon": 1, "rows": 50}, "rows"),
        ({"tier": "plausible", "epsilon": 1, "constant": ["a"]}, "constant"),
        ({"tier": "detailed", "epsilon": 1, "constant": ["who"]}, "constant"),
        ({"tier": "detailed", "epsilon": 1, "relations": [["a", "nothing"]]}, "relations"),
        ({"tier": "detailed", "epsilon": 1, "relations": [["a", "a"]]}, "relations"),
        ({"tier": "detailed", "epsilon": 1, "order": "ward"}, "order"),
    ],
)
def test_a_twin_policy_that_makes_no_sense_is_told(twin, key):
    table = RELATED.model_copy(update={"fields": (*RELATED.fields, VISITS.field("ward"))})
    assert [k for k, _ in problems(TwinPolicy.model_validate(twin), table, pure=False)] == [key]


def test_pure_epsilon_pays_for_no_gaussian_noise():
    for tier in set(Tier) - {Tier.REPLICA}:
        found = problems(TwinPolicy(tier=tier, epsilon=1 if tier.learns else None), RELATED, pure=True)
        assert [k for k, _ in found] == (["tier"] if tier.learns else [])


@pytest.mark.parametrize(
    "said", ["multivariate plausible", "multivariate", "multivariate-plausible", "multivariate_plausible"]
)
def test_the_middle_tier_is_understood_however_it_is_written(said):
    assert TwinPolicy.model_validate({"tier": said}).tier is Tier.MULTIVARIATE


@pytest.mark.parametrize(
    ("field", "edges"),
    [
        ({"type": "number", "constraints": {"minimum": 0, "maximum": 1}, "step": 0.01}, (0, 0.01, 0.1, 1)),
        ({"type": "integer", "constraints": {"minimum": 0, "maximum": 500}, "step": 25}, (0, 25, 130, 501)),
        ({"type": "integer", "constraints": {"minimum": 1, "maximum": 9}}, (1, 2, 5, 10)),
        ({"type": "number", "constraints": {"minimum": -1, "maximum": 1}}, (-1, -0.5, 0, 1)),
    ],
)
def test_a_value_drawn_for_a_cell_is_in_that_cell_after_the_repair_too(field, edges):
    field = SchemaField.model_validate({"name": "x", **field})
    codes = np.repeat(np.arange(len(edges) - 1), 500)
    cells = Cells(field="x", kind="bins", edges=edges)
    drawn = repair(values(cells, field, codes, np.random.default_rng(0)), field).to_numpy(float)
    assert (np.minimum(np.searchsorted(edges, drawn, side="right") - 1, len(edges) - 2) == codes).all()
    assert drawn.max() >= field.constraints.maximum - 0.02 * (edges[-1] - edges[0])
