"""Policy files: what is wrong is named by file, line, field and reason, and then nothing changes."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tre.errors import PolicyError
from tre.secure import policies as policy_files
from tre.secure.services import create

SHIPPED = Path(__file__).resolve().parents[2] / "policies"


TOY = """title: Toy
steward: nobody
population: hie-participants
unit: {field: person, max_rows: 1}
twin: {tier: valid, rows: 10}
fields:
  - {name: person, type: integer, constraints: {required: true, minimum: 0, maximum: 99}}
  - {name: other, type: integer, constraints: {required: true, minimum: 0, maximum: 99}}
  - {name: amount, type: number, constraints: {minimum: 0, maximum: 10}}
"""


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(SHIPPED, tmp_path / "policies")
    return tmp_path / "policies"


def test_the_shipped_policies_are_valid():
    policies = policy_files.load(SHIPPED)
    assert "hie" in policies.datasets
    assert policies.projects["visits"].people == ("ada",)


BROKEN = [
    # file, from, to, what the message must say
    ("area.yaml", "tick_seconds: 2", "tick_seconds: soon", ["area.yaml, line", "tick_seconds", "integer"]),
    ("area.yaml", "tick_seconds: 2", "tick_second: 2", ["area.yaml, line", "tick_second", "not permitted"]),
    ("area.yaml", "controller:", "controller: [", ["area.yaml, line"]),
    ("area.yaml", "checkers: 2", "checkers: 1", ["area.yaml, line", "review.checkers"]),
    ("area.yaml", "run: when_needed", "run: when_needed\nrun: always", ["area.yaml, line", "written twice"]),
    ("populations.yaml", "epsilon: 8.0", "epsilon: -8.0", ["populations.yaml, line", "lifetime.epsilon", "greater than 0"]),
    ("populations.yaml", "measure: zcdp", "measure: both", ["populations.yaml, line", "measure"]),
    ("populations.yaml", "measure: zcdp", "measure: pure", ["populations.yaml, line 9", "lifetime.delta", "has delta 0"]),
    ("populations.yaml", "delta: 1.0e-6", "delta: 0", ["populations.yaml, line 9", "lifetime.delta", "greater than 0"]),
    ("populations.yaml", "delta: 1.0e-6", "delta: 1.0e-6\n      keys_delta: 0.5", ["populations.yaml, line 10", "lifetime.keys_delta"]),
    ("populations.yaml", "measure: zcdp", "measure: zcdp\n    yearly: {epsilon: 9, delta: 1.0e-6}", ["populations.yaml, line", "yearly.epsilon", "for all years"]),
    ("populations.yaml", "measure: zcdp", "measure: zcdp\n    yearly: {epsilon: 1, delta: 1.0e-7}", ["populations.yaml, line", "yearly.delta", "population's delta"]),
    ("projects/visits.yaml", "people: [ada]", "people: [ada]\nyearly: {others: {epsilon: 1, delta: 1.0e-6}}", ["projects/visits.yaml, line", "yearly.others", "without an allowance"]),
    ("projects/visits.yaml", "people: [ada]", "people: [ada]\nyearly: {hie-participants: {epsilon: 5, delta: 1.0e-6}}", ["projects/visits.yaml, line", "yearly.hie-participants.epsilon"]),
    ("area.yaml", "run: when_needed", "run: when_needed\nraises_need: 3", ["area.yaml, line", "raises_need"]),
    ("people.yaml", "role: checker", "role: boss", ["people.yaml, line", "role"]),
    ("people.yaml", "accredited_until: 2035-12-31", "accredited_until: forever", ["people.yaml", "accredited_until"]),
    ("projects/visits.yaml", "people: [ada]", "people: [bo]", ["projects/visits.yaml, line", "people.0", "only a researcher"]),
    ("projects/visits.yaml", "people: [ada]", "people: [zoe]", ["projects/visits.yaml, line", "people.0", "no such person"]),
    ("projects/visits.yaml", "hie: [year,", "hie: [yaer,", ["projects/visits.yaml, line", "datasets.hie.0", "'yaer'"]),
    ("projects/visits.yaml", "ends: 2034-12-31", "ends: 2020-12-31", ["projects/visits.yaml, line", "ends"]),
    ("projects/visits.yaml", "delta: 1.0e-6", "delta: 1.0e-5", ["projects/visits.yaml, line", "delta"]),
    ("datasets/hie.yaml", "population: hie-participants", "population: nobody", ["datasets/hie.yaml, line", "population"]),
]  # fmt: skip


@pytest.mark.parametrize(("file", "before", "after", "said"), BROKEN)
def test_a_broken_file_is_named_by_file_line_field_and_reason(folder, tmp_path, file, before, after, said):
    services = create(tmp_path / "area")
    services.apply(SHIPPED, dry_run=False)
    path = folder / file
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(PolicyError) as refused:
        services.apply(folder, dry_run=False)
    for part in said:
        assert part in refused.value.message
    assert refused.value.code == "policy_invalid"
    with services.context.database.read() as connection:
        assert policy_files.current(connection) == policy_files.load(SHIPPED)
    services.close()


def test_the_line_is_the_right_one(folder):
    path = folder / "projects/visits.yaml"
    lines = path.read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if line.startswith("legal_basis"))
    path.write_text(path.read_text().replace("legal_basis:", "legal_bases:"))
    with pytest.raises(PolicyError, match=rf"projects/visits.yaml, line {number}, legal_bases"):
        policy_files.load(folder)


def test_all_problems_are_told_at_once(folder):
    for file in ("area.yaml", "people.yaml"):
        (folder / file).write_text("title: only")
    (folder / "populations.yaml").unlink()
    with pytest.raises(PolicyError) as refused:
        policy_files.load(folder)
    assert all(
        f in refused.value.message for f in ("area.yaml", "people.yaml", "populations.yaml: the file is missing")
    )


def test_a_dry_run_shows_the_difference_and_changes_nothing(folder, tmp_path):
    services = create(tmp_path / "area")
    assert services.apply(SHIPPED, dry_run=False).applied
    path = folder / "populations.yaml"
    path.write_text(path.read_text().replace("epsilon: 8.0", "epsilon: 7.0"))
    told = services.apply(folder, dry_run=True)
    assert told.changes == ["~ populations.hie-participants.lifetime.epsilon: 8.0 → 7.0"]
    assert told == replace(services.apply(folder, dry_run=False), applied=False)
    assert services.apply(folder, dry_run=False).changes == []
    services.close()


def _pure(folder):
    """The shipped population, kept in pure epsilon."""
    for path in folder.rglob("*.yaml"):
        text = path.read_text().replace("measure: zcdp", "measure: pure").replace("delta: 1.0e-6", "delta: 0")
        path.write_text(re.sub(r"^twin:\n(  .*\n)+", "twin:\n  tier: valid\n", text, flags=re.M))
    return folder


def test_a_population_kept_in_pure_epsilon_has_delta_0_and_stays_so(folder, tmp_path):
    services = create(tmp_path / "area")
    assert services.apply(_pure(folder), dry_run=False).applied
    with pytest.raises(PolicyError, match="measure and delta are fixed"):
        services.apply(SHIPPED, dry_run=False)
    services.close()


def test_a_twin_with_gaussian_noise_is_not_paid_in_pure_epsilon(folder):
    path = _pure(folder) / "datasets/hie.yaml"
    path.write_text(path.read_text().replace("tier: valid", "tier: plausible\n  epsilon: 0.5"))
    with pytest.raises(PolicyError, match=r"datasets/hie.yaml, line \d+, twin.tier: .* pure epsilon cannot pay"):
        policy_files.load(folder)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("populations.yaml", "delta: 1.0e-6", "delta: 1.0e-7"),
        ("populations.yaml", "hie-participants", "others"),
    ],
)
def test_what_was_promised_to_people_does_not_change(folder, tmp_path, file, before, after):
    services = create(tmp_path / "area")
    services.apply(SHIPPED, dry_run=False)
    for path in folder.rglob("*.yaml"):
        path.write_text(path.read_text().replace(before, after))
    with pytest.raises(PolicyError, match="policies were not applied"):
        services.apply(folder, dry_run=False)
    services.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [("field: person", "field: other"), ("{name: amount, type: number", "{name: amount, type: integer")],
    ids=["unit", "type"],
)
def test_what_rows_were_ingested_by_does_not_change_under_them(folder, tmp_path, before, after):
    """Rows say whose they are by what was the unit's field when they came in."""
    policy = folder / "datasets" / "toy.yaml"
    policy.write_text(TOY)
    services = create(tmp_path / "area")
    services.apply(folder, dry_run=False)
    policy.write_text(TOY.replace(before, after))
    services.apply(folder, dry_run=False)  # nothing is there yet
    policy.write_text(TOY)
    services.apply(folder, dry_run=False)
    rows = tmp_path / "rows.csv"
    rows.write_text("person,other,amount\n1,1,1.0\n2,1,2.0\n")
    services.ingest("toy", [rows], drop_invalid=False)
    policy.write_text(TOY.replace("maximum: 10", "maximum: 5"))
    services.apply(folder, dry_run=False)
    policy.unlink()
    services.apply(folder, dry_run=False)
    policy.write_text(TOY.replace(before, after))
    with pytest.raises(PolicyError, match=r"datasets/toy.yaml, schema"):
        services.apply(folder, dry_run=False)
    services.close()


def test_yaml_cannot_run_code(folder):
    (folder / "area.yaml").write_text("title: !!python/object/apply:os.system ['id']")
    with pytest.raises(PolicyError, match="area.yaml"):
        policy_files.load(folder)


def test_a_dataset_taken_out_does_not_come_back_about_other_people(folder, tmp_path):
    """A budget would be reset by it."""
    services = create(tmp_path / "area")
    services.apply(SHIPPED, dry_run=False)
    kept = {p: p.read_text() for p in [*folder.glob("datasets/*.yaml"), *folder.glob("projects/*.yaml")]}
    for path in kept:
        path.unlink()
    services.apply(folder, dry_run=False)
    for path, text in kept.items():
        path.write_text(text.replace("hie-participants", "fresh"))
    populations = folder / "populations.yaml"
    populations.write_text(
        populations.read_text() + "  fresh: {title: Fresh, lifetime: {epsilon: 8.0, delta: 1.0e-6}}\n"
    )
    with pytest.raises(PolicyError, match="do not become others"):
        services.apply(folder, dry_run=False)
    services.close()
