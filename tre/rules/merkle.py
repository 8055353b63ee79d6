"""Merkle trees as RFC 9162 (Certificate Transparency 2) has them: roots, and proofs that anyone can check.

Guarantees: with SHA-256 as good as it is held to be, one root stands for one list of leaves in one order; an inclusion
proof shows that a leaf is at a place of it, a consistency proof that an earlier list is the beginning of a later one. Proofs
have at most about twice the logarithm of the list's length in hashes.
`get(level, index)` is the hash of the complete subtree of 2^level leaves that begins at leaf index * 2^level.
Source: RFC 9162, section 2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

Get = Callable[[int, int], bytes]
EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(size: int, get: Get) -> bytes:
    """The root of the first `size` leaves."""
    return EMPTY if size == 0 else _subtree(0, size, get)


def inclusion(index: int, size: int, get: Get) -> list[bytes]:
    """The proof that leaf `index` is in the tree of the first `size` leaves, from the leaf upwards."""
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(middle, end, get))
            end = middle
        else:
            path.append(_subtree(start, middle, get))
            start = middle
    return path[::-1]


def consistency(old: int, size: int, get: Get) -> list[bytes]:
    """The proof that the first `old` leaves are the beginning of the first `size`."""
    if not 0 < old <= size:
        raise ValueError("the earlier tree is no beginning of the later one")
    start, end, whole, path = 0, size, True, []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_subtree(middle, end, get))
            end = middle
        else:
            path.append(_subtree(start, middle, get))
            start, whole = middle, False
    return [*([] if whole else [_subtree(start, end, get)]), *path[::-1]]


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], wanted: bytes) -> bool:
    """Whether the proof shows that the leaf of this hash is at `index` in the tree of `size` leaves with this root."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    return last == 0 and found == wanted


def consistent(old: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree of `old` leaves with its root is the beginning of that of `size` leaves."""
    if old == size:
        return not proof and old_root == new_root
    if not 0 < old < size or not proof:
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, step)
        place, last = place >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _subtree(start: int, end: int, get: Get) -> bytes:
    count = end - start
    if count & (count - 1) == 0 and start % count == 0:
        return get(count.bit_length() - 1, start // count)
    middle = start + _split(count)
    return node_hash(_subtree(start, middle, get), _subtree(middle, end, get))
