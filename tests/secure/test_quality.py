"""Quality in an area: measured when data come, published with noise that was charged first or without numbers, sealed by an admin."""

import json

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tests.journey.conftest import policies, write_data, write_policies
from tre.errors import BudgetExceeded, Conflict, DataError, NotAllowed, PolicyError
from tre.rules.ledger import Charge
from tre.secure import seals
from tre.secure.cli import cli as admin
from tre.secure.data import quality_reports
from tre.secure.database import tables
from tre.secure.quality import Quality
from tre.secure.services import create

PLAIN = {
    "rules": [{"name": "young-see-few", "holds": "age > 20 OR visits < 8"}],
    "frequency": "yearly",
    "levels": {"bronze": {"validity": 1}, "gold": {"consistency": 1}},
}


class Toy:
    """An area with 400 people's rows, of which four have no number of visits."""

    def __init__(self, root, quality, **changes):
        self.root = root
        self.services = create(root / "area")
        self.apply(quality, **changes)
        rows = write_data(root / "toy.csv")
        lines = rows.read_text().splitlines()
        lines[10:14] = [line.rpartition(",")[0] + "," for line in lines[10:14]]
        rows.write_text("\n".join(lines) + "\n")
        self.done = self.services.ingest("toy", [rows], drop_invalid=False)
        self.quality = Quality(self.services.context, self.services.registry)

    def apply(self, quality, **changes):
        toy = {"quality": quality, "twin": {"tier": "valid"}}
        self.services.apply(write_policies(self.root / "policies", policies(toy=toy, **changes)), dry_run=False)

    @property
    def rows(self):
        return self.services.registry.rows("toy", self.done["version"])

    def read(self, query):
        with self.services.context.database.read() as connection:
            return connection.execute(query).all()

    def charges(self):
        t = tables.ledger
        return [tuple(r) for r in self.read(sa.select(t.c.purpose, t.c.state).order_by(t.c.id))]

    def command(self, *arguments):
        return CliRunner().invoke(admin, [*arguments, "--area", str(self.root / "area")])


@pytest.fixture
def toy(tmp_path):
    made = []

    def make(quality=PLAIN, **changes):
        made.append(Toy(tmp_path, quality, **changes))
        return made[0]

    yield make
    for area in made:
        area.services.close()


def test_data_come_with_their_measurement_and_neither_audit_nor_status_tells_it(toy):
    area = toy()
    assert area.done["quality"]["validity"] == 1
    with area.services.context.database.read() as connection:
        kept = quality_reports.latest(connection, area.done["version"])
    broken = {c.check.id: c.broken for c in kept.counts if c.broken}
    young = {p: 18 + p % 60 for p in range(400)}
    seen = sum(age <= 20 and (p * year) % 9 == 8 for p, age in young.items() for year in (1, 2))
    assert broken == {"visits:present": 4, "young-see-few:row_rule": seen}
    assert kept == area.quality.measure("toy")
    entries = area.read(sa.select(tables.audit.c.event, tables.audit.c.detail))
    assert [json.loads(e.detail) for e in entries if e.event == "dataset.ingested"] == [
        {"version": area.done["version"]}
    ]


def test_what_differs_from_the_version_before_is_said(toy):
    area = toy()
    assert area.quality.measure("toy").drift is None
    fields = [f for f in policies()["datasets/toy.yaml"]["fields"] if f["name"] != "sex"]
    fields = [{**f, "constraints": {"maximum": 99}} if f["name"] == "visits" else {**f, "title": "A"} for f in fields]
    changed = policies(
        toy={"quality": PLAIN, "twin": {"tier": "valid"}, "fields": [*fields, {"name": "ward", "type": "string"}]},
        visits={"datasets": {"toy": ["year"]}}, others={"datasets": {}},
    )  # fmt: skip
    changed["projects/others.yaml"]["datasets"] = {}
    area.services.apply(write_policies(area.root / "policies", changed), dry_run=False)
    rows = area.root / "more.csv"
    lines = write_data(rows, people=500).read_text().splitlines()
    rows.write_text("\n".join([f"{lines[0]},ward", *(f"{line},x" for line in lines[1:])]).replace(",3,x", ",,x"))
    area.services.ingest("toy", [rows], drop_invalid=False)
    drift = area.quality.measure("toy").drift
    assert (drift.rows_before, drift.people_before) == (800, 400)
    assert set(drift.fields) == {"- sex", "~ visits", "+ ward"}
    (missing,) = drift.worse
    assert (missing.check, missing.before) == ("visits:present", 796 / 800)
    assert 0.85 < missing.now < 0.92
    assert area.quality.measure("toy", [rows]).drift.rows_before == 1000


def test_files_are_measured_before_they_are_ingested_and_nothing_is_kept(toy):
    area = toy()
    bad = area.root / "bad.csv"
    bad.write_text("person,year,sex,age,visits,extra\n1,1,f,30,2,x\n1,1,f,30,2,x\n2,3,x,130,,x\n")
    before = area.read(sa.select(sa.func.count()).select_from(tables.quality_reports))
    found = area.command("quality", "toy", "--files", str(bad), "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    broken = {f"{c['check']['subject']}:{c['check']['rule']}": c["broken"] for c in told["counts"] if c["broken"]}
    assert broken == {
        "visits:present": 1,
        "person,year:primary_key": 2,
        "year:enum": 1,
        "sex:enum": 1,
        "age:maximum": 1,
    }
    assert told["undeclared_columns"] == 1
    assert told["version"] is None
    assert area.read(sa.select(sa.func.count()).select_from(tables.quality_reports)) == before


def test_without_an_epsilon_a_statement_reads_no_row(toy):
    """The rows are not even there."""
    area = toy()
    area.rows.unlink()
    content = area.quality.statement("toy")
    assert content["noise"] is None
    assert area.charges() == []


def test_the_noise_of_a_statement_is_charged_first_and_drawn_once(toy):
    area = toy({**PLAIN, "epsilon": 2.0})
    first = area.quality.statement("toy")
    area.rows.unlink()
    assert area.quality.statement("toy") == first
    assert area.charges() == [("quality", Charge.RELEASED)]
    noise = first["noise"]
    # 800 rows; one person has at most two, each counted in the rows and in two checks.
    assert abs(noise["rows"] - 800) < 6 * noise["standard_deviation"]
    assert set(noise["counts"]) == {"visits:present", "young-see-few:row_rule"}
    units = area.read(sa.select(tables.ledger.c.rho_units))[0].rho_units
    assert noise["units"] == units
    (noised,) = [r for r in area.read(sa.select(tables.audit)) if r.event == "quality.noised"]
    assert json.loads(noised.detail) == {"rho_units": units, "version": area.done["version"]}


def test_another_rule_is_another_charge(toy):
    area = toy({**PLAIN, "epsilon": 1.0})
    area.quality.statement("toy")
    area.apply({**PLAIN, "epsilon": 1.0, "rules": [{"name": "young-see-few", "holds": "age > 30 OR visits < 8"}]})
    area.quality.statement("toy")
    assert area.charges() == [("quality", Charge.RELEASED)] * 2


def test_pure_epsilon_pays_for_it_too(toy):
    pure = {"measure": "pure", "lifetime": {"epsilon": 40, "delta": 0}}
    mine = {"allowances": {"toy-people": {"epsilon": 6, "delta": 0}}}
    area = toy({**PLAIN, "epsilon": 2.0}, population=pure, visits=mine, others=mine)
    noise = area.quality.statement("toy")["noise"]
    assert (noise["epsilon"], noise["delta"]) == (2.0, 0.0)


def test_what_cannot_be_paid_for_is_neither_drawn_nor_written(toy):
    area = toy({**PLAIN, "epsilon": 8.0}, population={"lifetime": {"epsilon": 7, "delta": 1e-6}})
    with pytest.raises(BudgetExceeded):
        area.quality.statement("toy")
    done = area.command("quality", "toy", "--statement", str(area.root / "s.json"))
    assert isinstance(done.exception, BudgetExceeded)
    assert not (area.root / "s.json").exists()
    assert area.charges() == []


def test_a_draw_that_was_interrupted_is_lost_with_its_charge(toy, monkeypatch):
    area = toy({**PLAIN, "epsilon": 2.0})

    def fail(*_, **__):
        raise DataError("ingest_failed", "The disk is full.", "-")

    with monkeypatch.context() as m:
        m.setattr("tre.secure.data.quality.exact_vector", fail)
        with pytest.raises(DataError):
            area.quality.statement("toy")
    assert area.charges() == [("quality", Charge.SPENT)]
    area.quality.statement("toy")
    assert area.charges() == [("quality", Charge.SPENT), ("quality", Charge.RELEASED)]


def test_fields_declared_after_the_data_came_cost_nothing_and_say_so(toy):
    area = toy()
    fields = [*policies()["datasets/toy.yaml"]["fields"], {"name": "later", "type": "integer"}]
    changed = policies(toy={"quality": {**PLAIN, "epsilon": 1.0}, "twin": {"tier": "valid"}, "fields": fields})
    area.services.apply(write_policies(area.root / "policies", changed), dry_run=False)
    with pytest.raises(Conflict) as caught:
        area.quality.statement("toy")
    assert caught.value.code == "fields_later"
    assert area.charges() == []


def test_an_expression_that_is_none_is_refused_when_policies_are_applied(toy):
    area = toy()
    for holds, why in (("ages > 1", "no column"), ("age", "not a boolean"), ("count(*) > 1", "not in the language")):
        with pytest.raises(PolicyError) as caught:
            area.apply({"rules": [{"name": "r", "holds": holds}]})
        assert why in caught.value.message
        assert "datasets/toy.yaml" in caught.value.message


def test_a_statement_is_written_for_people_and_for_machines(toy):
    area = toy({**PLAIN, "epsilon": 2.0})
    for name in ("s.json", "s.html"):
        done = area.command("quality", "toy", "--statement", str(area.root / name))
        assert done.exit_code == 0, done.output
        again = area.command("quality", "toy", "--statement", str(area.root / name))
        assert again.exception.code == "file_exists"
    assert json.loads((area.root / "s.json").read_text()) == area.quality.statement("toy")
    assert "epsilon 2" in (area.root / "s.html").read_text()


def test_rows_that_were_left_out_count_against_validity_for_good(toy):
    area = toy()
    rows = area.root / "more.csv"
    rows.write_text(write_data(rows, people=50).read_text().replace(",m,", ",x,", 10))
    area.services.ingest("toy", [rows], drop_invalid=True)
    for _ in range(2):
        (left,) = [c for c in area.quality.measure("toy").counts if c.check.id == "rows:let_in"]
        assert (left.broken, left.of) == (10, 100)
    assert area.command("seal", "toy", str(area.root / "s.json"), "--as", "dee").exception.code == "seal_unearned"
    told = [c for c in area.quality.statement("toy")["dimensions"]["validity"] if c["rule"] == "let_in"]
    assert [c["result"] for c in told] == ["looked at; the result stays inside the area"]


# Seals


def test_an_admin_seals_and_anybody_checks_it_and_the_list_of_datasets_shows_it(toy, tmp_path, monkeypatch):
    from tre.desk.cli import cli as desk

    area = toy()
    file = tmp_path / "seal.json"
    done = area.command("seal", "toy", str(file), "--as", "dee")
    assert done.exit_code == 0, done.output
    statement = json.loads(file.read_bytes())["statement"]
    assert statement["level"] == "bronze"
    assert "young-see-few:row_rule" in set(statement["checked"]) - set(statement["passed"])
    assert statement["not_assessed"] == ["accuracy"]
    assert '"dee"' not in file.read_text()  # with its quotes: three letters of hexadecimal are in many a digest
    (entry,) = [r for r in area.read(sa.select(tables.audit)) if r.event == "dataset.sealed"]
    assert (entry.person, entry.subject) == ("dee", "toy")
    assert set(json.loads(entry.detail)) == {"version", "until", "sha256"}

    monkeypatch.setenv("TRE_HOME", str(tmp_path / "desk"))
    key = area.services.context.area.public_key
    good = CliRunner().invoke(desk, ["verify", str(file), "--key", key])
    assert good.exit_code == 0, good.output
    assert "level bronze" in good.output
    assert CliRunner().invoke(desk, ["verify", str(file)]).exception.code == "key_unknown"
    assert CliRunner().invoke(desk, ["verify", str(file), "--key", "0" * 64]).exception.code == "key_unknown"
    file.write_bytes(file.read_bytes().replace(b"bronze", b"silver", 1))
    assert CliRunner().invoke(desk, ["verify", str(file), "--key", key]).exception.code == "signature_wrong"

    (info,) = area.services.datasets("ada")
    assert info.seal.said == f"bronze, until {statement['until']}"
    area.services.ingest("toy", [write_data(area.root / "next.csv", people=410)], drop_invalid=False)
    assert area.services.datasets("ada")[0].seal is None


@pytest.mark.parametrize("person", ["ada", "bo", "nobody"])
def test_nobody_but_an_admin_seals(toy, person):
    area = toy()
    with pytest.raises(NotAllowed):
        seals.issue(area.services.context, area.quality, "toy", person=person)
    assert area.read(sa.select(tables.seals)) == []


def test_what_does_not_reach_the_lowest_level_gets_no_seal(toy):
    area = toy({**PLAIN, "levels": {"bronze": {"consistency": 1}}})
    done = area.command("seal", "toy", str(area.root / "s.json"), "--as", "dee")
    assert done.exception.code == "seal_unearned"
    assert not (area.root / "s.json").exists()
    assert area.read(sa.select(tables.seals)) == []


def test_a_seal_that_is_over_is_not_shown(toy):
    from datetime import date

    area = toy()
    signed = seals.issue(area.services.context, area.quality, "toy", person="dee")
    with area.services.context.database.read() as connection:
        assert seals.in_force(connection, area.done["version"], signed.statement.until) is not None
        assert seals.in_force(connection, area.done["version"], date(2199, 1, 1)) is None
