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
    """Raises VerificationFailed: head_malformed, signature_wrong or proof_wrong.

    The bytes must be those that were written: a witness's file that was changed in any way is no evidence.
    """
    try:
        head = Head.model_validate_json(content)
        found = json.loads(content)
        as_written = content in (as_json(found).encode(), canonical_json(found))
    except (ValidationError, ValueError, RecursionError):
        raise _failed("head_malformed", "This is no signed head of an audit log.") from None
    if not as_written:
        raise _failed("head_malformed", "This head is not in the form in which heads are written.")
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head.key))
        key.verify(bytes.fromhex(head.signature), signed_bytes(head.size, head.root, head.at))
    except (InvalidSignature, ValueError):
        raise _failed("signature_wrong", "The signature does not fit the head.") from None
    if head.since is not None and not _proves(head, head.since):
        raise _failed("proof_wrong", "The head's proof about the earlier one does not hold.")
    return head


def named(contents: Mapping[str, bytes]) -> dict[str, Head]:
    """Several, by what they are called: a failure says which one it is of."""
    found = {}
    for name, content in contents.items():
        try:
            found[name] = read(content)
        except VerificationFailed as failed:
            raise VerificationFailed(failed.code, f"{name}: {failed.message}", failed.next_step) from None
    return found


def extends(later: Head, earlier: Head) -> None:
    """Raises VerificationFailed unless `later` proves that its log begins with the whole of `earlier`'s."""
    if later.key != earlier.key:
        raise _failed("key_changed", "The two heads were signed with different keys.")
    since = later.since
    if since is None or (since.size, since.root) != (earlier.size, earlier.root):
        raise _failed("proof_missing", "The later head holds no proof about the earlier one.")
    if not _proves(later, since):
        raise _failed(
            "log_rewritten", "The later log does not begin with the earlier one: entries were changed or removed."
        )


def _proves(later: Head, since: Since) -> bool:
    if not all(HASH.fullmatch(p) for p in since.proof):
        return False
    proof = [bytes.fromhex(p) for p in since.proof]
    return consistent(since.size, bytes.fromhex(since.root), later.size, bytes.fromhex(later.root), proof)


def _failed(code: str, message: str) -> VerificationFailed:
    return VerificationFailed(code, message, "Keep both heads, and ask the area's controller.")


def proof_text(proof: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(p.hex() for p in proof)


def as_json(head: Mapping[str, Any]) -> str:
    return json.dumps(head, indent=2, sort_keys=True) + "\n"
