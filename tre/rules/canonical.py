"""Canonical JSON and digests: one value, one sequence of bytes.

Guarantees: equal values give equal bytes (keys sorted, no white space, UTF-8, NaN and infinity refused), so that a
digest names a plan, a policy or a receipt. Floats are written as Python's shortest round-trip form.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, BinaryIO


def canonical_json(value: Any) -> bytes:
    """`value` (JSON types only) as its one sequence of bytes. Raises ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of `value`'s canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_stream(stream: BinaryIO) -> str:
    """Of what is left to read in it, in bounded memory."""
    found = hashlib.sha256()
    while piece := stream.read(2**20):
        found.update(piece)
    return found.hexdigest()
