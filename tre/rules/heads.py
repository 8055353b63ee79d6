"""Signed tree heads: what a witness outside the area keeps, so that nobody inside can rewrite the audit log unseen.

Guarantees: `read` takes bytes and returns a head whose signature fits the key that it names, or fails with a code;
`extends` shows that a later head's log begins with all of an earlier one's, whoever holds the area meanwhile.
What it cannot know alone is whose key signed: the witness compares `key` with the one that the area told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, ValidationError

from tre.errors import VerificationFailed
from tre.rules.canonical import canonical_json
from tre.rules.merkle import consistent
from tre.rules.schema import Closed

HASH = re.compile(r"[0-9a-f]{64}")


class Since(Closed):
    """An earlier head of the same log, and the proof that this one begins with it."""

    size: int = Field(ge=1)
    root: str = Field(pattern=r"^[0-9a-f]{64}$")
    proof: tuple[str, ...] = Field(max_length=200)


class Head(Closed):
    """The log's first `size` entries as one root, at a moment (UTC)."""

    size: int = Field(ge=1)
    root: str = Field(pattern=r"^[0-9a-f]{64}$")
    at: str = Field(max_length=32)
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")
    since: Since | None = None  # not signed: it proves itself


def signed_bytes(size: int, root: str, at: str) -> bytes:
    """What the signature covers; the prefix keeps it from being mistaken for a signature of anything else."""
    return b"tre tree head v1\n" + canonical_json({"size": size, "root": root, "at": at})


def read(content: bytes) -> Head:
    """Raises VerificationFailed: head_malformed or signature_wrong."""
    try:
        head = Head.model_validate_json(content)
    except ValidationError:
        raise _failed("head_malformed", "This is no signed head of an audit log.") from None
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head.key))
        key.verify(bytes.fromhex(head.signature), signed_bytes(head.size, head.root, head.at))
    except (InvalidSignature, ValueError):
        raise _failed("signature_wrong", "The signature does not fit the head.") from None
    return head


def extends(later: Head, earlier: Head) -> None:
    """Raises VerificationFailed unless `later` proves that its log begins with the whole of `earlier`'s."""
    if later.key != earlier.key:
        raise _failed("key_changed", "The two heads were signed with different keys.")
    since = later.since
    if since is None or (since.size, since.root) != (earlier.size, earlier.root):
        raise _failed("proof_missing", "The later head holds no proof about the earlier one.")
    try:
        proof = [_hash(p) for p in since.proof]
    except ValueError:
        raise _failed("head_malformed", "The proof holds something else than hashes.") from None
    if not consistent(earlier.size, bytes.fromhex(earlier.root), later.size, bytes.fromhex(later.root), proof):
        raise _failed(
            "log_rewritten", "The later log does not begin with the earlier one: entries were changed or removed."
        )


def _hash(text: str) -> bytes:
    if not HASH.fullmatch(text):
        raise ValueError("not a hash")
    return bytes.fromhex(text)


def _failed(code: str, message: str) -> VerificationFailed:
    return VerificationFailed(code, message, "Keep both heads, and ask the area's controller.")


def proof_text(proof: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(p.hex() for p in proof)


def as_json(head: Mapping[str, Any]) -> str:
    return json.dumps(head, indent=2, sort_keys=True) + "\n"
