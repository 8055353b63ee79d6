"""The report of a twin: what is of real rows stays inside and is told to nobody; what may be published needs none of them."""

import inspect
import re
import shutil

import duckdb
import pandas as pd
import pytest

from tests.journey.conftest import SCHEMA, policies, write_data, write_policies
from tre.errors import DataError, NotFound, PolicyError
from tre.secure import reporting
from tre.secure.data import twin_fidelity, twin_report
from tre.secure.data.twin_file import read_label
from tre.secure.services import create

# Of one real person alone.
SECRET = 49
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    root = tmp_path_factory.mktemp("area")
    services = create(root / "area")
    services.apply(
        write_policies(root / "policies", policies(toy={**SCHEMA, "twin": {"tier": "multivariate", "epsilon": 2}})),
        dry_run=False,
    )
    services.ingest("toy", [write_data(root / "toy.csv", secret={7: SECRET})], drop_invalid=False)
    services.make_twin("toy")
    yield services
    services.close()


def report(area, **where):
    return reporting.write(area.context, area.registry, "toy", **{"out": None, "publishable": None, **where})


def test_what_is_of_real_rows_stays_in_the_areas_folder_for_its_owner_and_says_so(area, tmp_path):
    for outside in (tmp_path / "r.html", area.context.area.root / ".." / "r.html"):
        with pytest.raises(PolicyError, match="report_stays_inside"):
            report(area, out=outside)
        assert not outside.exists()
    told = report(area, publishable=tmp_path / "open.html")
    inside = area.context.area.root / "reports" / "toy.html"
    assert told == {"dataset": "toy", "inside": str(inside.resolve()), "publishable": str(tmp_path / "open.html")}
    assert inside.stat().st_mode & 0o777 == 0o600
    text = inside.read_text()
    assert text.count("stays inside the secure area") == 2
    assert "INSIDE ONLY" in text
    for part in (
        "Columns two by two",
        "Rows that are also real rows",
        "Trained on the twin",
        "area under the curve",
        "Column Shapes",
        "Check: labelling",
        "image/svg+xml",
    ):
        assert part in text
    assert "<script" not in text
    published = (tmp_path / "open.html").read_text()
    for part in (
        "real rows WITHOUT noise",
        "also real rows",
        "Trained on",
        "area under",
        "Column Shapes",
        "against the real rows",
        "image/svg",
    ):
        assert part not in published
    for part in ("Against the noisy counts", "Check: documentation", "epsilon 2", "no figure can"):
        assert part in published


def test_the_publishable_form_needs_no_real_row(area, tmp_path):
    """It is the same, byte for byte, where the rows are gone."""
    assert list(inspect.signature(twin_report.open_page).parameters) == ["name", "label", "figures", "found"]
    report(area, publishable=tmp_path / "with.html")
    with area.context.database.read() as connection:
        version = area.registry.version(connection, "toy")
    rows = area.registry.rows("toy", version)
    shutil.move(rows, tmp_path / "rows")
    try:
        with pytest.raises(DataError) as caught:
            report(area, publishable=tmp_path / "without.html")
    finally:
        shutil.move(tmp_path / "rows", rows)
    assert caught.value.__context__ is None
    assert (tmp_path / "with.html").read_bytes() == (tmp_path / "without.html").read_bytes()


def test_it_charges_nothing_and_its_making_is_recorded(area):
    before = area.budgets()
    report(area)
    assert area.budgets() == before
    with area.context.database.read() as connection:
        (detail,) = connection.exec_driver_sql(
            "SELECT detail FROM audit WHERE event = 'twin.reported' ORDER BY seq DESC LIMIT 1"
        ).one()
    assert detail == '{"publishable":false}'


def test_a_copy_of_the_data_is_seen_and_noise_is_not_taken_for_one(area, tmp_path):
    with area.context.database.read() as connection:
        version = area.registry.version(connection, "toy")
    real, schema = area.registry.rows("toy", version), _schema(area)
    copied = twin_fidelity.inside(real, real, schema)
    assert copied.match.real == copied.match.rows == 800
    assert copied.match.real_once > 0
    assert set(copied.columns.values()) == set(copied.pairs.values()) == {0.0}
    twin = twin_fidelity.inside(real, area.registry.twin("toy"), schema)
    assert twin.match.real < twin.match.rows
    assert 0 < sum(twin.columns.values()) / len(twin.columns) < sum(twin.pairs.values()) / len(twin.pairs) < 0.7
    (sex, year) = sorted(twin.trained, key=lambda t: t.field)[:2]
    assert 0.3 < sex.on_twin <= 1
    assert 0.3 < year.on_real <= 1


def test_distances_are_those_of_plain_counting(area):
    with area.context.database.read() as connection:
        version = area.registry.version(connection, "toy")
    paths = (area.registry.rows("toy", version), area.registry.twin("toy"))
    found = twin_fidelity.inside(*paths, _schema(area))
    frames = [pd.read_parquet(p) for p in paths]
    for by, said in ((["sex"], found.columns["sex"]), (["year", "sex"], found.pairs["year", "sex"])):
        a, b = (f.groupby(by).size() / len(f) for f in frames)
        assert said == pytest.approx(a.sub(b, fill_value=0).abs().sum() / 2)


def test_a_twin_is_near_the_counts_it_was_drawn_from(area):
    label = read_label(area.registry.twin("toy"))
    with area.context.database.read() as connection:
        dataset = policy(area)
        learnt = area.registry.learnt_before(connection, dataset, label)
    found = twin_fidelity.open_figures(area.registry.twin("toy"), dataset.table, dataset.twin, learnt)
    assert found.columns["sex [1]" if "sex [1]" in found.columns else "sex"] < 0.1
    assert max(found.columns.values()) < 0.5


def test_the_four_checks_find_what_is_missing(area, tmp_path):
    dataset, twin = policy(area), area.registry.twin("toy")
    found = {c.what: c.passed for c in twin_report.checks("toy", dataset, twin, read_label(twin))}
    assert found["ingest takes it as it takes the real rows"] is True
    assert found["the dataset has a licence"] is False  # of this toy
    assert found["it learnt nothing, or what it learnt is in the ledger"] is True
    broken = tmp_path / "toy.parquet"
    duckdb.sql(f"COPY (SELECT * REPLACE (99 AS year) FROM read_parquet('{twin}')) TO '{broken}' (FORMAT parquet)")
    found = {c.what: c.passed for c in twin_report.checks("other", dataset, broken, None)}
    assert found["ingest takes it as it takes the real rows"] is False
    assert found["the file says that it is synthetic, and how it was made"] is False
    assert found["its name says so"] is False


def test_there_is_no_report_without_a_twin(area):
    with pytest.raises(NotFound, match="twin_missing"):
        reporting.write(area.context, area.registry, "other", out=None, publishable=None)
    with pytest.raises(PolicyError, match="dataset_unknown"):
        reporting.write(area.context, area.registry, "nothing", out=None, publishable=None)


def test_no_word_of_it_is_printed_but_where_it_is(area):
    from click.testing import CliRunner

    from tre.secure.cli import cli

    done = CliRunner().invoke(cli, ["twin-report", "toy", "--area", str(area.context.area.root), "--json"])
    assert done.exit_code == 0
    assert re.fullmatch(r'\{"dataset": "toy", "inside": "[^"]*", "publishable": null\}\n', done.stdout)


def policy(area):
    from tre.secure import policies as policy_files

    with area.context.database.read() as connection:
        return policy_files.current(connection).datasets["toy"]


def _schema(area):
    return policy(area).table
