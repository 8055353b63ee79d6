"""`tre-admin budget`: what was spent over time and where it leads, for people, for machines and as a picture."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from tre.rules.accounting import rho_of
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.cli import cli
from tre.secure.services import create

SHIPPED = Path(__file__).resolve().parents[2] / "policies"
POPULATION = "hie-participants"


@pytest.fixture
def services(tmp_path, database):
    made = create(tmp_path / "area", database=database)
    made.apply(SHIPPED, dry_run=False)
    yield made
    made.close()


def _charge(services, epsilon, *, days_ago, project="visits"):
    at = (datetime.now(UTC) - timedelta(days=days_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    wish = ledger.Reservation(
        population=POPULATION, project=project, purpose="release", request_digest="d" * 64, dataset_version="v",
        release=None, position=0, rho_units=rho_of(epsilon, 1e-6),
    )  # fmt: skip
    with services.context.database.write() as connection:
        return ledger.reserve(connection, policy_files.current(connection), [wish], at=at)[0]


def _budget(tmp_path, *arguments):
    command = ["--area", str(tmp_path / "area"), "budget", *arguments]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_before_the_first_charge_there_is_nothing_to_forecast(services, tmp_path):
    (found,) = services.budgets()
    assert (found["forecast"], found["burn_down"], found["projects"][0]["forecast"]) == (None, [], None)
    shown = _budget(tmp_path, "--plot", str(tmp_path / "budget.png"))
    assert f"{POPULATION}: no charge yet" in shown
    assert "visits: no charge yet" in shown
    with Image.open(tmp_path / "budget.png") as picture:
        assert picture.format == "PNG"


def test_charges_add_up_over_time_and_lead_to_a_day(services, tmp_path):
    _charge(services, 1.0, days_ago=200)
    _charge(services, 1.0, days_ago=10)
    _charge(services, 0.5, days_ago=10, project=None)
    with services.context.database.write() as connection:
        returned = _charge_given_back(services, connection)
    (found,) = json.loads(_budget(tmp_path, "--json"))
    unit, half = rho_of(1.0, 1e-6), rho_of(0.5, 1e-6)
    assert [p["used_units"] for p in found["burn_down"]] == [unit, 2 * unit + half]
    assert found["burn_down"][-1]["used_epsilon"] == pytest.approx(found["used_epsilon"])
    (visits,) = found["projects"]
    assert [p["used_units"] for p in visits["burn_down"]] == [unit, 2 * unit]
    recent, life = found["forecast"]["recent"], found["forecast"]["life"]
    assert (recent["days"], recent["used_units"], life["days"]) == (90, unit + half, 201)
    assert recent["runs_out"] < life["runs_out"]
    assert [e["state"] for e in found["history"] if e["entry"] == returned] == ["returned"]
    shown = _budget(tmp_path, "hie", "--plot", str(tmp_path / "budget.png"))
    assert f"it runs out on {recent['runs_out']}" in shown
    assert "█" in shown
    with Image.open(tmp_path / "budget.png") as picture:
        assert picture.size[0] > 600


def _charge_given_back(services, connection):
    policies = policy_files.current(connection)
    wish = ledger.Reservation(
        population=POPULATION, project="visits", purpose="release", request_digest="e" * 64, dataset_version="v",
        release=None, position=0, rho_units=rho_of(0.5, 1e-6),
    )  # fmt: skip
    (entry,) = ledger.reserve(connection, policies, [wish], at=services.context.now())
    ledger.give_back(connection, entry, at=services.context.now())
    return entry
