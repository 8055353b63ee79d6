"""A receipt fails on any changed byte, name or key, and says which step failed."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.errors import VerificationFailed
from tre.rules.canonical import canonical_json
from tre.rules.receipt import RECEIPT, file_digests, signed_bytes, verify


def _bundle(key=None):
    key = key or Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    files = {"values.json": b'{"a":1}', "outputs/t.csv": b"x,y\n1,2\n"}
    statement = {"release": "rel-1", "files": file_digests(files)}
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    receipt = {"statement": statement, "key": public, "signature": key.sign(signed_bytes(statement)).hex()}
    return {**files, RECEIPT: canonical_json(receipt)}


def test_an_untouched_bundle_is_good():
    assert verify(_bundle())["release"] == "rel-1"


@settings(max_examples=600)
@given(st.data())
def test_any_changed_byte_anywhere_is_found(data):
    files = _bundle()
    name = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    changed = bytearray(files[name])
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VerificationFailed):
        verify({**files, name: bytes(changed)})


def _with(change):
    files = _bundle()
    receipt = json.loads(files[RECEIPT])
    change(files, receipt)
    return files


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("receipt_missing", lambda f, r: f.pop(RECEIPT)),
        ("receipt_unreadable", lambda f, r: f.update({RECEIPT: b"{"})),
        ("receipt_malformed", lambda f, r: f.update({RECEIPT: json.dumps(r, indent=1).encode()})),
        (
            "receipt_malformed",
            lambda f, r: f.update({RECEIPT: canonical_json(r | {"signature": r["signature"].upper()})}),
        ),
        ("receipt_malformed", lambda f, r: f.update({RECEIPT: canonical_json(r | {"more": 1})})),
        ("signature_wrong", lambda f, r: f.update({RECEIPT: canonical_json(r | {"signature": "0" * 128})})),
        ("file_changed", lambda f, r: f.update({"values.json": b"{}"})),
        ("file_missing", lambda f, r: f.pop("values.json")),
        ("file_added", lambda f, r: f.update({"more.csv": b""})),
    ],
)
def test_each_kind_of_damage_is_named(code, change):
    with pytest.raises(VerificationFailed) as failed:
        verify(_with(change))
    assert failed.value.code == code


def test_a_statement_signed_by_another_key_is_not_the_areas():
    forged = verify(_bundle(Ed25519PrivateKey.from_private_bytes(b"f" * 32)))
    assert forged["key"] != verify(_bundle())["key"]
