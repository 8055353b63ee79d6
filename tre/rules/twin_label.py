"""The signed label of a published twin: whose it is, what it is, and the SHA-256 of each of its files.

Guarantees: pure; files come as digests. A twin is *ours and unchanged* if `verify` passes and the key is one that the caller
trusts: the label's own bytes are the canonical form of what was signed, and every file is the one that it names. A file alone
is enough, whatever it is called: it is known by its bytes. The signature's prefix keeps a twin's label from being taken for
a release's receipt, or the reverse.
Not guaranteed: that a twin is recognised as one. Whoever strips the label has rows that nobody vouches for, and `verify` says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tre.errors import VerificationFailed
from tre.rules.canonical import canonical_json
from tre.rules.receipt import HEX

FILE = "twin.receipt.json"
KIND = "synthetic twin"


def signed_bytes(statement: Mapping[str, Any]) -> bytes:
    """What the signature covers."""
    return b"tre twin v1\n" + canonical_json(statement)


def verify(label: bytes | None, digests: Mapping[str, str], *, whole: bool) -> dict[str, Any]:
    """The label's statement, with `key`. `whole`: all of its files are to be there, else any of them will do.

    Raises VerificationFailed with a code that says which step failed.
    """
    # 1. The label is there, is JSON, and its bytes are the one canonical form of its content.
    if label is None:
        raise _failed("label_missing", f"There is no {FILE} with it: nobody vouches for what it is.")
    found = _parsed(label)
    # 2. The signature is over the statement, by the key named in the label.
    _check_signature(found)
    # 3. The files are those that the statement names, byte for byte.
    stated: Mapping[str, str] = found["statement"]["files"]
    if whole:
        _check_all(stated, digests)
    else:
        for name, digest in digests.items():
            if digest not in stated.values():
                raise _failed("file_changed", f"{name} was changed, or is no file of this twin.")
    return {**found["statement"], "key": found["key"]}


def _parsed(label: bytes) -> dict[str, Any]:
    try:
        found = json.loads(label)
        canonical = canonical_json(found)
    except (ValueError, RecursionError):
        raise _failed("label_unreadable", f"{FILE} cannot be read.") from None
    statement = found.get("statement") if isinstance(found, dict) else None
    well_formed = (
        isinstance(statement, dict)
        and set(found) == {"statement", "key", "signature"}
        and statement.get("kind") == KIND
        and isinstance(statement.get("files"), dict)
        and isinstance(statement.get("label"), dict)
        and all(isinstance(found[k], str) and form.fullmatch(found[k]) for k, form in HEX.items())
    )
    if not well_formed or canonical != label:
        raise _failed("label_malformed", f"{FILE} is not a twin's label in its canonical form.")
    return dict(found)


def _check_signature(found: Mapping[str, Any]) -> None:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(found["key"]))
    try:
        key.verify(bytes.fromhex(found["signature"]), signed_bytes(found["statement"]))
    except InvalidSignature:
        raise _failed("signature_wrong", "The signature does not fit the label.") from None


def _check_all(stated: Mapping[str, str], digests: Mapping[str, str]) -> None:
    changed = sorted(name for name in stated if name in digests and digests[name] != stated[name])
    for code, names, what in (
        ("file_changed", changed, "was changed"),
        ("file_missing", sorted(set(stated) - set(digests)), "is missing"),
        ("file_added", sorted(set(digests) - set(stated)), "is not part of the twin"),
    ):
        if names:
            raise _failed(code, f"{names[0]} {what}.")


def _failed(code: str, message: str) -> VerificationFailed:
    return VerificationFailed(
        code, message, "Do not take it for the area's twin; fetch it again: tre twin DATASET --out FOLDER"
    )
