"""Raising a budget: a reason, a record, and, where the area says so, a second admin."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tre.errors import Conflict, NotAllowed, NotFound, PolicyError
from tre.secure import policies as policy_files
from tre.secure.database import tables
from tre.secure.services import create

SHIPPED = Path(__file__).resolve().parents[2] / "policies"
POPULATION = "hie-participants"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(SHIPPED, tmp_path / "policies")
    return tmp_path / "policies"


@pytest.fixture
def services(tmp_path, folder, database):
    """Policies with two admins, one whose accreditation has ended, and one admin needed for a raise."""
    more = "  el: {name: El, role: admin, accredited_until: 2035-12-31}\n  flo: {name: Flo, role: admin, accredited_until: 2020-01-01}\n"
    _change(folder / "people.yaml", "people:\n", f"people:\n{more}")
    made = create(tmp_path / "area", database=database)
    made.apply(folder, dry_run=False)
    yield made
    made.close()


def _change(path, before, after):
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))


def _raise(folder, epsilon="9.0", before="8.0"):
    _change(folder / "populations.yaml", f"epsilon: {before}", f"epsilon: {epsilon}")
    return folder


def _in_force(services):
    with services.context.database.read() as connection:
        return policy_files.current(connection).populations[POPULATION].lifetime.epsilon


def _entries(services, event):
    t = tables.audit
    with services.context.database.read() as connection:
        rows = connection.execute(sa.select(t).where(t.c.event == event).order_by(t.c.seq))
        return [(r.person, r.subject, json.loads(r.detail)) for r in rows]


def test_a_raise_without_a_reason_is_refused_and_says_what_it_would_mean(services, folder):
    with pytest.raises(PolicyError, match="reason_needed") as refused:
        services.apply(_raise(folder), dry_run=False)
    assert "from epsilon 8 to epsilon 9" in refused.value.message
    for empty in ("", "  ", "x" * 1001):
        with pytest.raises(PolicyError, match="reason_needed"):
            services.apply(folder, dry_run=False, reason=empty)
    assert _in_force(services) == 8
    (told,) = services.apply(folder, dry_run=True).raises
    assert "2,981-fold" in told["means"][1]


def test_a_raise_is_an_entry_of_its_own_with_both_losses_and_the_reason(services, folder):
    done = services.apply(_raise(folder), dry_run=False, person="dee", reason="A new study of the same families")
    assert done.applied
    assert _in_force(services) == 9
    ((person, subject, detail),) = _entries(services, "budget.raised")
    assert (person, subject) == ("dee", POPULATION)
    assert (detail["before"]["epsilon"], detail["after"]["epsilon"], detail["spent_units"]) == (8, 9, 0)
    assert detail["reason"] == "A new study of the same families"
    assert services.verify_audit()["first_broken"] is None


def test_what_raises_nothing_needs_no_reason_and_leaves_no_such_entry(services, folder):
    assert services.apply(_raise(folder, "7.0"), dry_run=False).applied
    assert _entries(services, "budget.raised") == []


@pytest.mark.parametrize("person", ["ada", "bo", "flo", "zoe"])
def test_only_an_accredited_admin_of_the_policies_in_force_can_be_named(services, folder, person):
    with pytest.raises(NotAllowed, match="admin_unknown"):
        services.apply(_raise(folder), dry_run=False, person=person, reason="because")
    assert _in_force(services) == 8


def _two(services, folder):
    _change(folder / "area.yaml", "run: when_needed", "run: when_needed\nraises_need: 2")
    assert services.apply(folder, dry_run=False).applied
    return _raise(folder)


def test_where_two_admins_must_agree_the_second_one_applies_what_the_first_proposed(services, folder):
    _two(services, folder)
    with pytest.raises(PolicyError, match="person_needed"):
        services.apply(folder, dry_run=False, reason="because")
    proposal = services.apply(folder, dry_run=False, person="dee", reason="because").proposal
    assert _in_force(services) == 8
    _raise(folder, "20", "9.0")  # what the folder says later is not what was proposed
    with pytest.raises(NotAllowed, match="same_admin"):
        services.confirm_raise(proposal, person="dee")
    with pytest.raises(NotAllowed, match="admin_unknown"):
        services.confirm_raise(proposal, person="bo")
    with pytest.raises(NotFound, match="raise_unknown"):
        services.confirm_raise("raise-none", person="el")
    assert [r["state"] for r in services.raises()] == ["waiting"]
    assert services.confirm_raise(proposal, person="el").applied
    assert _in_force(services) == 9
    ((person, _, detail),) = _entries(services, "budget.raised")
    assert (person, detail["proposed_by"], detail["proposal"]) == ("el", "dee", proposal)
    assert [r["state"] for r in services.raises()] == ["confirmed"]
    with pytest.raises(Conflict, match="raise_decided"):
        services.confirm_raise(proposal, person="el")


def test_a_proposal_that_policies_have_overtaken_is_confirmed_no_more(services, folder, tmp_path):
    _two(services, folder)
    proposal = services.apply(folder, dry_run=False, person="dee", reason="because").proposal
    with pytest.raises(Conflict, match="raise_waiting"):
        services.apply(folder, dry_run=False, person="el", reason="because")
    _raise(folder, "6.0", "9.0")
    services.apply(folder, dry_run=False)
    with pytest.raises(Conflict, match="outdated"):
        services.confirm_raise(proposal, person="el")
    assert _in_force(services) == 6


def test_one_admin_alone_does_not_lower_the_number_that_a_raise_needs(services, folder):
    _raise(_two(services, folder), "8.0", "9.0")
    _change(folder / "area.yaml", "raises_need: 2", "raises_need: 1")
    proposal = services.apply(folder, dry_run=False, person="dee", reason="We are few").proposal
    assert proposal is not None
    assert services.confirm_raise(proposal, person="el").applied


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE raises SET content = '{}', confirmed_by = 'el'",
        "UPDATE raises SET confirmed_by = 'dee'",
        "UPDATE raises SET proposed_by = 'el', confirmed_by = 'dee'",
        "DELETE FROM raises",
    ],
)
def test_the_database_itself_holds_proposer_and_proposal(services, folder, statement):
    services.apply(_two(services, folder), dry_run=False, person="dee", reason="because")
    with pytest.raises(sa.exc.IntegrityError), services.context.database.write() as connection:
        connection.execute(sa.text(statement))


@pytest.mark.slow
def test_the_commands_tell_propose_and_confirm(services, folder, tmp_path):
    def run(*arguments):
        program = [str(Path(sys.executable).parent / "tre-admin"), "--area", str(tmp_path / "area"), *arguments]
        return subprocess.run(program, capture_output=True, text=True, check=False)

    _two(services, folder)
    told = run("apply", str(folder), "--dry-run")
    assert "A raise." in told.stdout
    assert "lifetime.epsilon: 8.0 → 9.0" in told.stdout
    assert run("apply", str(folder)).returncode == PolicyError.exit_code
    proposed = json.loads(run("apply", str(folder), "--reason", "because", "--as", "dee", "--json").stdout)
    assert not proposed["applied"]
    assert proposed["proposal"] in run("raise", "list").stdout
    assert run("raise", "confirm", proposed["proposal"], "--as", "dee").returncode == NotAllowed.exit_code
    confirmed = run("raise", "confirm", proposed["proposal"], "--as", "el", "--json")
    assert json.loads(confirmed.stdout)["applied"]
