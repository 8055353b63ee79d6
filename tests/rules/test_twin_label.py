"""A twin's label is of exactly these bytes and this key, and is no release's receipt."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tre.errors import VerificationFailed
from tre.rules import receipt, twin_label
from tre.rules.canonical import canonical_json

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
FILES = {"a.parquet": "1" * 64, "a.csv": "2" * 64}
STATEMENT = {"kind": twin_label.KIND, "label": {"tier": "valid"}, "files": FILES}


def signed(statement, prefixed=twin_label.signed_bytes):
    return canonical_json({"statement": statement, "key": PUBLIC, "signature": KEY.sign(prefixed(statement)).hex()})


def code(label, digests, *, whole=True):
    with pytest.raises(VerificationFailed) as caught:
        twin_label.verify(label, digests, whole=whole)
    return caught.value.code


def test_the_files_it_names_are_accepted_whole_or_one_by_one():
    assert twin_label.verify(signed(STATEMENT), FILES, whole=True)["key"] == PUBLIC
    assert twin_label.verify(signed(STATEMENT), {"renamed.csv": "2" * 64}, whole=False)["label"] == {"tier": "valid"}


@pytest.mark.parametrize(
    ("digests", "whole", "expected"),
    [
        ({**FILES, "a.csv": "3" * 64}, True, "file_changed"),
        ({"a.csv": "2" * 64}, True, "file_missing"),
        ({**FILES, "b.csv": "2" * 64}, True, "file_added"),
        ({"a.csv": "3" * 64}, False, "file_changed"),
    ],
)
def test_other_files_are_named(digests, whole, expected):
    assert code(signed(STATEMENT), digests, whole=whole) == expected


def test_a_label_of_other_bytes_or_another_hand_is_refused():
    good = signed(STATEMENT)
    assert code(None, FILES) == "label_missing"
    assert code(b"{", FILES) == "label_unreadable"
    assert code(good + b"\n", FILES) == "label_malformed"
    for wrong in ([], {}, {"statement": 1}, {**json.loads(good), "more": 1}, {**json.loads(good), "key": "x"}):
        assert code(canonical_json(wrong), FILES) == "label_malformed"
    assert (
        code(canonical_json({**json.loads(good), "statement": {**STATEMENT, "label": {}}}), FILES) == "signature_wrong"
    )
    for i in range(0, len(good), 7):
        changed = bytearray(good)
        changed[i] ^= 1
        code(bytes(changed), FILES)


def test_neither_is_taken_for_the_other():
    assert code(signed(STATEMENT, receipt.signed_bytes), FILES) == "signature_wrong"
    with pytest.raises(VerificationFailed, match="signature_wrong"):
        receipt.verify({receipt.RECEIPT: signed(STATEMENT)})
