"""What stands beside the values in a release's bundle: the disclosure record, by rule and threshold, and nothing of rows."""

import json

import pytest
from click.testing import CliRunner

from tests.rules.test_page import Seen
from tests.secure import released
from tre.archive import pack, unpack
from tre.desk.cli import cli
from tre.rules import receipt
from tre.rules.disclosure.finding import Rule
from tre.rules.policy import Disclosure

PEOPLE = ("ada", "eve", "bo", "cy", "di", "dee")


def _words(value):
    """All keys and values of a document, one by one."""
    if isinstance(value, dict):
        return [w for k, v in value.items() for w in (k, *_words(v))]
    return [w for v in value for w in _words(v)] if isinstance(value, list) else [value]


def test_the_record_says_what_was_checked_by_which_thresholds_for_what_and_who_decided(published):
    _, name, files = published
    statement = receipt.verify(files)
    record = json.loads(files["disclosure-record.json"])
    assert "disclosure-record.json" in statement["files"]
    assert (record["release"], record["decided"]) == (name, statement["released"])
    assert record["purpose"]["project"] == "visits"
    assert record["criteria"]["policy"] == statement["policy"]
    assert record["criteria"]["thresholds"] == Disclosure().model_dump(mode="json")
    assert [r["rule"] for r in record["criteria"]["rules"]] == [r.value for r in Rule]
    assert record["criteria"]["noise"]["toy-people"]["lifetime"]["epsilon"] == 40
    assert set(record["tools"]) == {"tre", "opendp", "python"}
    assert record["decision"]["by"] == statement["decided_by"]
    assert len(record["decision"]["by"]) == 2
    adults, by_age = record["outputs"]
    assert (adults["verdict"], by_age["verdict"]) == ("pass", "fail")
    assert adults["applied"]["suppressed"]
    assert not by_age["applied"]["suppressed"]
    assert ("threshold", "fail") in {(f["rule"], f["verdict"]) for f in by_age["findings"]}
    assert [s["name"] for s in record["statistics"]] == ["by-sex"]


def test_a_finding_is_told_once_without_values_places_or_numbers(published):
    _, _, files = published
    for document in (json.loads(files["disclosure-record.json"]), json.loads(files["receipt.json"])["statement"]):
        for output in document["outputs"]:
            told = [tuple(sorted(f.items())) for f in output["findings"]]
            assert told == sorted(set(told))
            assert all({k for k, _ in f} <= {"rule", "verdict", "statbarn"} for f in told)


@pytest.mark.parametrize("name", ["disclosure-record.json", "ro-crate-metadata.json"])
def test_neither_record_nor_crate_names_a_person(published, name):
    _, _, files = published
    said = _words(json.loads(files[name]))
    assert not {*PEOPLE, *(p.title() for p in PEOPLE)} & set(said)


def test_the_crate_is_of_the_files_of_the_release_and_of_nothing_else(published):
    """Whether it is a crate at all is for the validator: `python -m bench crate`."""
    _, name, files = published
    statement = receipt.verify(files)
    graph = json.loads(files["ro-crate-metadata.json"])["@graph"]
    entities = {e["@id"]: e for e in graph}
    assert len(entities) == len(graph)
    assert {p["@id"] for p in entities["./"]["hasPart"]} == set(files) - {"ro-crate-metadata.json"}
    for path, content in files.items():
        if path not in ("receipt.json", "ro-crate-metadata.json"):
            assert entities[path]["contentSize"] == str(len(content))
    referred = [w["@id"] for w in _references(graph) if not w["@id"].startswith("https://w3id.org/")]
    assert set(referred) <= set(entities)
    assert entities["#execution"]["agent"] == {"@id": f"#person-{statement['researcher']}"}
    assert entities["#disclosure-check"]["agent"] == [{"@id": f"#person-{p}"} for p in statement["decided_by"]]
    assert {e["endTime"] for e in graph if "endTime" in e} == {statement["released"]}
    assert not [e for e in graph if "startTime" in e]
    assert entities["./"]["identifier"] == name


def _references(value):
    if isinstance(value, dict):
        return [value] if set(value) == {"@id"} else [r for v in value.values() for r in _references(v)]
    return [r for v in value for r in _references(v)] if isinstance(value, list) else []


def test_the_archive_is_verified_by_anybody_and_its_receipt_read_as_a_page(published, tmp_path, monkeypatch):
    """No network, no account: a desk that has never seen a gateway, the key told by hand."""
    services, name, files = published
    archive, page = tmp_path / f"{name}.zip", tmp_path / "receipt.html"
    archive.write_bytes(services.bundle("ada", name))
    assert archive.read_bytes() == pack(name, files)
    assert unpack(archive.read_bytes()) == files
    monkeypatch.setenv("TRE_HOME", str(tmp_path / "desk"))
    key = services.context.area.public_key
    done = CliRunner().invoke(cli, ["verify", str(archive), "--key", key, "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert f"good: {name}" in done.output
    seen = Seen(page.read_text())
    words = " ".join(seen.texts)
    for said in (
        name,
        released.SMALL,
        "threshold: cells of too few people (threshold 10)",
        "Against a rule: people decided",
        key,
    ):
        assert said in words
    for said in receipt.verify(files)["decided_by"]:
        assert said in words
    assert not {"script", "a", "img", "link"} & set(seen.tags)
    assert CliRunner().invoke(cli, ["verify", str(archive)]).exit_code != 0
    archive.write_bytes(archive.read_bytes().replace(b"by-sex", b"by-age", 1))
    assert CliRunner().invoke(cli, ["verify", str(archive), "--key", key]).exit_code != 0
