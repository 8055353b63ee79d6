"""The ledger in the database: races, triggers, and what a crash leaves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tre.errors import BudgetExceeded, PolicyError
from tre.rules.accounting import delta_charge, rho_of
from tre.rules.canonical import digest
from tre.rules.policy import Measure, Policies
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.database import HEAD, Database, tables
from tre.secure.services import create

SHIPPED = Path(__file__).resolve().parents[2] / "policies"
POPULATION = "hie-participants"


@pytest.fixture
def services(tmp_path, database):
    made = create(tmp_path / "area", database=database)
    made.apply(SHIPPED, dry_run=False)
    yield made
    made.close()


def _wish(epsilon, project="visits", digest="d" * 64, **more):
    return ledger.Reservation(
        population=POPULATION, project=project, purpose="release", request_digest=digest, dataset_version="v",
        release=None, position=0, rho_units=rho_of(epsilon, 1e-6), **more,
    )  # fmt: skip


def _reserve(services, epsilon):
    with services.context.database.write() as connection:
        (entry,) = ledger.reserve(connection, policy_files.current(connection), [_wish(epsilon)], at="now")
        return entry


def test_what_does_not_fit_leaves_nothing_behind(services):
    _reserve(services, 3.0)
    with pytest.raises(BudgetExceeded), services.context.database.write() as connection:
        wishes = [_wish(0.1, digest="a" * 64), _wish(3.9, digest="b" * 64)]
        ledger.reserve(connection, policy_files.current(connection), wishes, at="now")
    with services.context.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.ledger)).scalar_one() == 1


STEPS = {
    "spend": lambda c, e: ledger.spend(c, e, at="now"),
    "store": lambda c, e: ledger.store(c, e, "{}", at="now"),
    "give back": lambda c, e: ledger.give_back(c, e, at="now"),
    "lose": lambda c, e: ledger.lose(c, e, at="now"),
}


@pytest.mark.parametrize(
    ("path", "last_is_refused"),
    [
        (["spend", "store"], False),
        (["spend", "lose"], False),
        (["give back"], False),
        (["store"], True),
        (["lose"], True),
        (["spend", "give back"], True),
        (["spend", "spend"], True),
        (["give back", "spend"], True),
        (["spend", "store", "store"], True),
        (["spend", "store", "give back"], True),
        (["spend", "lose", "store"], True),
        (["spend", "lose", "give back"], True),
    ],
)
def test_a_charge_moves_forwards_only(services, path, last_is_refused):
    entry = _reserve(services, 0.5)
    *first, last = path
    for step in first:
        with services.context.database.write() as connection:
            STEPS[step](connection, entry)
    if last_is_refused:
        with pytest.raises(RuntimeError), services.context.database.write() as connection:
            STEPS[last](connection, entry)
    else:
        with services.context.database.write() as connection:
            STEPS[last](connection, entry)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger",
        "UPDATE ledger SET rho_units = 1",
        "UPDATE ledger SET delta_units = 1",
        "UPDATE ledger SET state = 'reserved' WHERE state = 'released'",
        "UPDATE ledger SET state = 'returned' WHERE state = 'spent'",
        "UPDATE ledger SET value = 'other' WHERE state = 'released'",
        "UPDATE ledger SET state = 'released' WHERE state = 'spent'",
        "UPDATE ledger SET population = 'others'",
        "DELETE FROM audit",
        "UPDATE audit SET person = 'nobody'",
    ],
)
def test_the_database_itself_refuses_what_would_undo_a_charge(services, statement):
    released, spent = _reserve(services, 0.5), _reserve(services, 0.5)
    with services.context.database.write() as connection:
        ledger.spend(connection, released, at="now")
        ledger.store(connection, released, "{}", at="now")
        ledger.spend(connection, spent, at="now")
    with pytest.raises(sa.exc.IntegrityError), services.context.database.write() as connection:
        connection.execute(sa.text(statement))


def _policies(services, *, pure=False, keys_delta=0.0):
    """Those in force, with the population's lifetime and the project's allowance changed."""
    with services.context.database.read() as connection:
        content = policy_files.current(connection).model_dump()
    population = content["populations"][POPULATION]
    population["measure"] = Measure.PURE if pure else Measure.ZCDP
    for loss in (population["lifetime"], content["projects"]["visits"]["allowances"][POPULATION]):
        loss.update(delta=0 if pure else 1e-6, keys_delta=keys_delta)
    return Policies.model_validate(content)


@pytest.mark.parametrize(("kept", "charged"), [(True, Measure.ZCDP), (False, Measure.PURE)])
def test_units_of_one_measure_are_never_charged_to_a_population_kept_in_the_other(services, kept, charged):
    with pytest.raises(PolicyError, match="measure_mismatch"), services.context.database.write() as connection:
        ledger.reserve(connection, _policies(services, pure=kept), [_wish(0.1, measure=charged)], at="now")
    assert services.budgets()[0]["history"] == []


def test_pure_epsilons_fill_a_pure_budget_exactly(services):
    policies = _policies(services, pure=True)
    for i in range(40):
        with services.context.database.write() as connection:
            wish = _wish(1, digest=f"{i:064}", measure=Measure.PURE)
            ledger.reserve(connection, policies, [replace(wish, rho_units=rho_of(0.1, 0))], at="now")
    with services.context.database.write() as connection:
        assert [a.left_units for a in ledger.accounts(connection, policies, POPULATION, "visits", at="now")] == [
            4 * 10**12,
            0,
        ]
        with pytest.raises(BudgetExceeded, match="'visits' has epsilon 0.000 left"):
            ledger.reserve(connection, policies, [replace(wish, rho_units=1)], at="now")


def test_the_delta_of_found_keys_is_reserved_with_its_charge_and_comes_back_with_it(services):
    policies, half = _policies(services, keys_delta=1e-7), delta_charge(5e-8)

    def reserve(delta_units):
        with services.context.database.write() as connection:
            return ledger.reserve(connection, policies, [_wish(0.1, delta_units=delta_units)], at="now")[0]

    first, _ = reserve(half), reserve(half)
    with pytest.raises(BudgetExceeded, match="keys_delta_exceeded"):
        reserve(1)
    reserve(0)
    with services.context.database.write() as connection:
        ledger.give_back(connection, first, at="now")
    reserve(half)
    with services.context.database.read() as connection:
        for account in ledger.accounts(connection, policies, POPULATION, "visits", at="now"):
            assert (account.used_delta_units, account.left_delta_units) == (2 * half, 0)


def test_a_yearly_cap_holds_within_its_year_and_the_lifetime_number_over_all(services):
    policies = _policies(services)
    loss = policies.populations[POPULATION].lifetime
    yearly = {POPULATION: loss.model_copy(update={"epsilon": 1.0})}
    visits = policies.projects["visits"].model_copy(update={"yearly": yearly})
    policies = policies.model_copy(update={"projects": {**policies.projects, "visits": visits}})

    def reserve(epsilon, at):
        with services.context.database.write() as connection:
            ledger.reserve(connection, policies, [_wish(epsilon)], at=at)

    reserve(0.8, "2030-12-31T23:59:59Z")
    with pytest.raises(BudgetExceeded, match=r"project account 'visits' for this year has epsilon 0\.[0-9]+ left"):
        reserve(0.8, "2030-12-31T23:59:59Z")
    reserve(1.0, "2031-01-01T00:00:00Z")
    with pytest.raises(BudgetExceeded, match="wait for the next"):
        reserve(0.01, "2031-06-01T00:00:00Z")
    for year in range(2032, 2043):
        reserve(1.0, f"{year}-01-01T00:00:00Z")
    with pytest.raises(BudgetExceeded, match="project account 'visits' has"):
        reserve(1.0, "2044-01-01T00:00:00Z")
    with services.context.database.read() as connection:
        found = ledger.accounts(connection, policies, POPULATION, "visits", at="2044-01-01T00:00:00Z")
    assert [(a.kind, a.used_units > 0) for a in found] == [
        ("population", True), ("project", True), ("project, this year", False),
    ]  # fmt: skip
    assert found[0].used_units == rho_of(0.8, 1e-6) + 12 * rho_of(1.0, 1e-6)


def test_what_the_area_and_a_project_want_at_once_is_counted_together(services):
    wishes = [_wish(3.9), _wish(7.9, project=None)]
    with pytest.raises(BudgetExceeded), services.context.database.write() as connection:
        ledger.reserve(connection, _policies(services), wishes, at="now")


EARLIER = """
    INSERT INTO ledger
    (population, project, purpose, request_digest, dataset_version, position, rho_units, state, value, reserved_at)
    VALUES ('people', NULL, 'twin', 'd', 'v', 0, 7, 'released', '{}', 'then'),
           ('people', 'visits', 'release', 'e', 'v', 0, 9, 'reserved', NULL, 'then')
"""


def test_a_database_of_the_first_schema_comes_along_without_losing_a_charge(tmp_path):
    database = Database(tmp_path / "area.db")
    database.migrate("0001")
    with database.write() as connection:
        connection.execute(sa.text(EARLIER))
        assert not [c for c in sa.inspect(connection).get_columns("ledger") if c["name"] == "delta_units"]
    database.migrate()
    with database.read() as connection:
        rows = ledger.history(connection)
    assert [(r.rho_units, r.delta_units, r.state, r.value) for r in rows] == [
        (7, 0, "released", "{}"), (9, 0, "reserved", None),
    ]  # fmt: skip
    for statement in ("UPDATE ledger SET delta_units = 1 WHERE id = 2", "DELETE FROM ledger"):
        with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
            connection.execute(sa.text(statement))
    with database.write() as connection:
        ledger.spend(connection, 2, at="now")
    database.close()


def test_a_plan_made_after_an_upgrade_finds_the_policies_that_were_applied_before_it(services):
    """Policies of an earlier version lack later fields; their digest then was another than the one they have now."""
    with services.context.database.write() as connection:
        now = policy_files.current(connection)
        earlier = json.loads(now.model_dump_json())
        del earlier["populations"][POPULATION]["lifetime"]["keys_delta"]
        content = {"digest": digest(earlier), "content": json.dumps(earlier)}
        connection.execute(tables.policies.update().values(**content))
        assert policy_files.by_digest(connection, digest(earlier)) == now
        assert policy_files.by_digest(connection, policy_files.policy_digest(now)) == now


def test_the_newest_migration_is_the_one_that_is_waited_for(tmp_path, database):
    files = sorted(
        p.name for p in Path(policy_files.__file__).parent.joinpath("database/migrations/versions").glob("0*.py")
    )
    assert files[-1].startswith(HEAD)
    new = Database(database or tmp_path / "new.db")
    new.migrate()
    new.migrate()  # and again changes nothing
    with new.read() as connection:
        found = set(sa.inspect(connection).get_table_names())
        declared = compare_metadata(MigrationContext.configure(connection), tables.metadata)
    assert found == {*tables.metadata.tables, "alembic_version"}
    assert declared == []
    new.close()
