"""A twin is kept and passed on: a package that says what it is, to those who may have it, whose every byte is vouched for."""

import csv
import json
import re
import subprocess

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tre.errors import NotFound
from tre.secure.data.twin_file import read_label

from .conftest import BIN, Area

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    made = Area(tmp_path_factory.mktemp("area")).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def package(area, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "toy-twin"
    told, _ = area.desk("twin", "toy", "--out", folder, "--column")
    assert sorted(told["files"]) == sorted(p.name for p in folder.iterdir())
    return folder


def file(folder, ending):
    (found,) = folder.glob(f"*.SYNTHETIC.*{ending}")
    return found


def test_a_package_says_everywhere_what_it_is(package):
    table = file(package, ".csv.label.json")
    label = json.loads(table.read_text())
    assert (label["tier"], label["epsilon"]) == ("plausible", 1.0)
    assert label["seed"] is not None
    assert label["version"]
    assert f"toy.SYNTHETIC.plausible.{label['made']}.csv.label.json" == table.name
    rows = pd.read_parquet(file(package, ".parquet"))
    assert rows.attrs["tre"].startswith("SYNTHETIC")
    assert set(rows["tre_synthetic"]) == {"SYNTHETIC (plausible)"}
    page = (package / "index.html").read_text()
    for said in (
        "made up",
        "plausible",
        "epsilon 1, delta 1e-06",
        "must not be used for",
        "Steward: Tests",
        "Licence: not said",
    ):
        assert said in page
    assert "<script" not in page


def test_it_holds_the_projects_columns_and_no_other(package):
    """The same rows in both files; people are told apart, and their field is not there."""
    columns = ["year", "sex", "age", "visits", "tre_person", "tre_synthetic"]
    rows = pd.read_parquet(file(package, ".parquet"))
    with file(package, ".csv").open(newline="") as f:
        lines = list(csv.DictReader(f))
    descriptor = json.loads((package / "datapackage.json").read_text())
    schemas = [r["schema"] for r in descriptor["resources"]]
    assert list(rows.columns) == list(lines[0]) == [f["name"] for f in schemas[0]["fields"]] == columns
    assert len(lines) == len(rows)
    assert {line["visits"] == "" for line in lines} == {False, True}  # what may be missing is missing somewhere
    assert schemas[0]["primaryKey"] == ["tre_person", "year"]
    with (package / "data-dictionary.csv").open(newline="") as f:
        said = {line["name"]: line for line in csv.DictReader(f)}
    assert list(said) == columns
    assert (said["visits"]["values"], said["visits"]["may be missing"]) == ("0 to 50", "yes")
    assert "9999" not in re.sub(r"[0-9a-f]{32,}", "", json.dumps(descriptor))  # a digest may hold it by chance


def test_it_is_verified_whole_alone_and_as_an_archive(area, package, tmp_path):
    for path in (package, file(package, ".parquet"), file(package, ".csv")):
        told, _ = area.desk("verify", path)
        assert told["key_known"]
        assert told["statement"]["label"]["dataset"] == "toy"
    archive = tmp_path / "toy.zip"
    area.desk("twin", "toy", "--out", archive, "--column")
    again = tmp_path / "again.zip"
    area.desk("twin", "toy", "--out", again, "--column")
    assert archive.read_bytes() == again.read_bytes()
    area.desk("verify", archive)
    elsewhere = area.root / "desk-of-a-stranger"  # who has no key
    _, error = area.desk("verify", archive, home=elsewhere, expect=9)
    assert "[key_unknown]" in error
    area.desk("verify", archive, "--key", area.client("ada").receipt_key(), home=elsewhere)
    told, _ = area.desk("verify", archive, "--any-key", home=elsewhere)
    assert not told["key_known"]
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    _, error = area.desk("verify", archive, expect=9)
    assert "[archive_changed]" in error


def test_a_changed_byte_is_found_and_its_file_named(area, package, tmp_path):
    names = sorted(p.name for p in package.iterdir())
    for name in names:
        copy = tmp_path / name
        copy.mkdir()
        for p in package.iterdir():
            (copy / p.name).write_bytes(p.read_bytes())
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
    for name in (file(package, ".parquet").name, file(package, ".csv").name, "index.html"):
        _, error = area.desk("verify", tmp_path / name, expect=9)
        assert "[file_changed]" in error
        assert name in error
    _, error = area.desk("verify", tmp_path / "twin.receipt.json", expect=9)
    assert "[label_" in error or "[signature_wrong]" in error
    alone = file(package, ".parquet").name
    _, error = area.desk("verify", tmp_path / alone / alone, expect=9)
    assert "[file_changed]" in error


def test_a_twin_without_its_label_is_nobodys(area, package, tmp_path):
    """Whoever drops the label, inside the file or beside it, has rows that nobody vouches for."""
    table = pq.read_table(file(package, ".parquet"))
    stripped = tmp_path / "hie.parquet"
    pq.write_table(table.replace_schema_metadata(None), stripped)
    assert read_label(stripped) is None
    _, error = area.desk("verify", stripped, expect=9)
    assert "[label_missing]" in error
    (tmp_path / "twin.receipt.json").write_bytes((package / "twin.receipt.json").read_bytes())
    _, error = area.desk("verify", stripped, expect=9)
    assert "[file_changed]" in error
    folder = tmp_path / "folder"
    folder.mkdir()
    for p in package.iterdir():
        if p.name != "twin.receipt.json":
            (folder / p.name).write_bytes(p.read_bytes())
    _, error = area.desk("verify", folder, expect=9)
    assert "[label_missing]" in error
    label = json.loads((package / "twin.receipt.json").read_text())
    label["statement"]["label"]["tier"] = "valid"
    (folder / "twin.receipt.json").write_text(
        json.dumps(label, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    )
    _, error = area.desk("verify", folder, expect=9)
    assert "[signature_wrong]" in error


def test_a_twin_is_its_projects_until_one_that_learnt_nothing_is_public(area, tmp_path):
    for person in ("ada", "bo", "dee"):
        with pytest.raises(NotFound, match="dataset_unknown"):
            area.client(person).twin_package("other")
    assert [o.id for o in area.client("ada").twins()] == ["toy"]
    path = area.root / "policies/datasets/other.yaml"
    declared = yaml.safe_load(path.read_text())
    declared["twin"] = {"tier": "structural", "public": True, "rows": 50}
    path.write_text(yaml.safe_dump(declared))
    services = area.services()
    services.apply(area.root / "policies", dry_run=False)
    with pytest.raises(
        NotFound, match="dataset_unknown"
    ):  # the twin that is there learnt from rows, whatever the policy says
        area.client("ada").twin_package("other")
    services.make_twin("other")
    services.close()
    for person in ("ada", "eve", "bo", "dee"):
        (offer,) = [o for o in area.client(person).twins() if o.id == "other"]
        assert offer.public
        assert offer.columns == ("person", "year", "sex", "age", "visits")
        assert offer.epsilon is None
    told, _ = area.desk("datasets", "--twins", person="bo")
    assert [o["id"] for o in told] == ["other"]
    area.desk("twin", "other", "--out", tmp_path / "other", person="bo")
    label = json.loads(file(tmp_path / "other", ".csv.label.json").read_text())
    assert label["version"] is None  # of no version: nothing was read
    assert "cost nothing" in (tmp_path / "other" / "index.html").read_text()


def test_an_admin_who_publishes_what_was_learnt_says_why(area, tmp_path):
    command = [
        str(BIN / "tre-admin"),
        "twin",
        "toy",
        "--area",
        str(area.root / "area"),
        "--publish",
        str(tmp_path / "toy"),
    ]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "[reason_missing]" in refused.stderr
    assert not (tmp_path / "toy").exists()
    subprocess.run([*command, "--reason", "the open day"], capture_output=True, check=True)
    area.desk("verify", tmp_path / "toy")
    assert "person" in pd.read_parquet(file(tmp_path / "toy", ".parquet")).columns  # made up, as all of it
    again = subprocess.run([*command, "--reason", "the open day"], capture_output=True, text=True, check=False)
    assert "[folder_not_empty]" in again.stderr
    services = area.services()
    with services.context.database.read() as connection:
        recorded = connection.exec_driver_sql("SELECT detail FROM audit WHERE event = 'twin.published'").all()
    services.close()
    assert [json.loads(r[0])["reason"] for r in recorded] == ["the open day"]
