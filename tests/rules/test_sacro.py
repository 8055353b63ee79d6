"""SACRO's package: what its viewer's loading code asks for is there, and what ACRO wrote is read as a claim.

That the viewer's own code opens it is shown by `python -m bench sacro`, which needs a checkout of it.
"""

import hashlib
import json

import pytest

from tests.rules.disclosure.tables import people, table
from tre.rules.disclosure.claims import unchecked
from tre.rules.disclosure.counts import single
from tre.rules.disclosure.finding import Verdict
from tre.rules.policy import Disclosure
from tre.rules.sacro import CONFIG, RESULTS, Item, package, read

FEW = tuple(single(table(people(a=12, b=3), ["class"], n="count"), Disclosure()))
ITEMS = [
    Item(
        name="by-class", kind="table", file="by-class.csv", content=b"class,n\na,12\nb,3\n", context="People by class",
        command="tre.output('by-class', …)", made="2026-01-02T03:04:05Z", findings=FEW,
    ),
    Item(
        name="model", kind="model", file="model.model.json", content=b"{}", context="A model of income",
        command="tre.output('model', …)", made="2026-01-02T03:04:05Z", findings=(unchecked("model"),),
    ),
]  # fmt: skip


def test_every_output_is_there_with_its_file_its_checksum_and_the_cells_that_fail():
    files = package(ITEMS, Disclosure())
    results = json.loads(files[RESULTS])
    assert set(results["results"]) == {"by-class", "model"}
    for found in results["results"].values():
        for file in found["files"]:
            digest = hashlib.sha256(files[file["name"]]).hexdigest()
            assert files[f"checksums/{file['name']}.txt"] == digest.encode()
    first = results["results"]["by-class"]
    assert first["status"] == "fail"
    # Of ACRO's columns the first is the row's label, and not counted.
    assert first["files"][0]["sdc"]["cells"] == {"threshold": [[1, 0]]}
    assert "https://w3id.org/statbarnsdc#Frequencies" in first["fair"]["statbarn"]
    assert "https://w3id.org/statbarnsdc#LowCount" in first["fair"]["risks"]
    assert results["results"]["model"]["status"] == "review"
    assert json.loads(files[CONFIG])["safe_threshold"] == 10


def test_a_file_that_would_take_the_place_of_the_packages_own_is_refused():
    import dataclasses

    with pytest.raises(ValueError, match="name"):
        package([dataclasses.replace(ITEMS[0], file=RESULTS)], Disclosure())


def test_what_we_wrote_and_what_acro_writes_is_read_as_a_claim():
    found = read(package(ITEMS, Disclosure())[RESULTS])
    assert found["by-class"].status is Verdict.FAIL
    acro = {
        "version": "1.0.2",
        "tool": "acro",
        "results": {
            "output_0": {
                "uid": "output_0", "status": "pass", "type": "table", "properties": {}, "outcome": {},
                "files": [{"name": "output_0_0.csv", "sdc": {}}], "command": "acro.crosstab(…)", "summary": "pass",
                "timestamp": "-", "comments": ["visits by sex"], "exception": None, "fair": {},
            }
        },
    }  # fmt: skip
    claimed = read(json.dumps(acro).encode())["output_0"]
    assert (claimed.status, claimed.files, claimed.comments) == (Verdict.PASS, ("output_0_0.csv",), ("visits by sex",))
    assert "in the notebook's own process" in claimed.said()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"version": "1", "results": {"a": {"status": "Pass", "files": [{"name": "a.csv"}]}}}',
        b'{"version": "1", "results": {"a": {"status": "pass", "files": [{"name": "../secret"}]}}}',
        b'{"version": "1", "results": {"a": {"status": "pass", "files": []}}}',
        b"[" * 100_000,
        b" " * 5_000_000,
    ],
)
def test_what_is_no_such_file_is_refused_whatever_it_holds(content):
    with pytest.raises(ValueError, match="it is"):
        read(content)
