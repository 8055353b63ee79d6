"""Receipts: what was released, bound to what it came from, signed with Ed25519; and the check of a bundle.

A bundle is a set of named files, one of which, receipt.json, is a signed statement with the SHA-256 of every other.
Guarantees: `verify` works on bytes in memory, needs no network and no account, and fails on any changed, added or
missing byte: the receipt's own bytes must be the canonical form of what was signed, the file list must match exactly.
What it cannot know alone is whose key signed: the caller compares `key` with one it trusts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tre.errors import VerificationFailed
from tre.rules.canonical import canonical_json, digest_bytes

RECEIPT = "receipt.json"
HEX = {"key": re.compile(r"[0-9a-f]{64}"), "signature": re.compile(r"[0-9a-f]{128}")}


def signed_bytes(statement: Mapping[str, Any]) -> bytes:
    """What the signature covers; the prefix keeps it from being mistaken for a signature of anything else."""
    return b"tre receipt v1\n" + canonical_json(statement)


def file_digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: digest_bytes(content) for name, content in files.items() if name != RECEIPT}


def verify(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The receipt's statement, with `key`. Raises VerificationFailed with a code that says which step failed."""
    # 1. The receipt is there, is JSON, and its bytes are the one canonical form of its content.
    receipt = _parsed(files)
    # 2. The signature is over the statement, by the key named in the receipt.
    check_signature(receipt["key"], receipt["signature"], signed_bytes(receipt["statement"]))
    # 3. The files are exactly those that the statement names, byte for byte.
    _check_files(receipt["statement"]["files"], file_digests(files))
    return {**receipt["statement"], "key": receipt["key"]}


def _parsed(files: Mapping[str, bytes]) -> dict[str, Any]:
    if RECEIPT not in files:
        raise _failed("receipt_missing", "There is no receipt.json.")
    try:
        receipt = json.loads(files[RECEIPT])
        canonical = canonical_json(receipt)
    except (ValueError, RecursionError):
        raise _failed("receipt_unreadable", "receipt.json cannot be read.") from None
    well_formed = (
        isinstance(receipt, dict)
        and set(receipt) == {"statement", "key", "signature"}
        and isinstance(receipt["statement"], dict)
        and isinstance(receipt["statement"].get("files"), dict)
        and all(isinstance(receipt[k], str) and form.fullmatch(receipt[k]) for k, form in HEX.items())
    )
    if not well_formed or canonical != files[RECEIPT]:
        raise _failed("receipt_malformed", "receipt.json is not a receipt in its canonical form.")
    return dict(receipt)


def check_signature(key: str, signature: str, message: bytes, what: str = "receipt") -> None:
    """Of Ed25519, both in hexadecimal digits. Raises VerificationFailed: signature_wrong."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        raise _failed("signature_wrong", f"The signature does not fit the {what}.") from None


def _check_files(stated: Mapping[str, Any], found: Mapping[str, str]) -> None:
    changed = sorted(name for name in stated if name in found and found[name] != stated[name])
    absent = sorted(set(stated) - set(found))
    added = sorted(set(found) - set(stated))
    for code, names, what in (
        ("file_changed", changed, "was changed"),
        ("file_missing", absent, "is missing"),
        ("file_added", added, "is not part of the release"),
    ):
        if names:
            raise _failed(code, f"{names[0]} {what}.")


def _failed(code: str, message: str) -> VerificationFailed:
    return VerificationFailed(code, message, "Do not rely on this copy; fetch the release again and compare.")
