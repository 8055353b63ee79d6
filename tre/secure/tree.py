"""The audit log as a Merkle tree: its heads, signed, and proofs about them; kept beside the log, and checked against it.

Guarantees: a leaf is an entry's hash, which covers the entry and all before it; complete subtrees are stored, so that a head
since an earlier one, with its proof, reads a number of rows that grows with the logarithm of the log and with what is new
since; a head without one, all hashes. What is stored is a convenience: it is compared with what a signature covers or with
the entries before it is relied on (`_seen`), and as a whole by `audit verify` (`wrong_node`).
Not guaranteed: anything about who witnesses. A head that nobody outside keeps proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, DataError
from tre.rules import heads, merkle
from tre.rules.heads import Head
from tre.secure import audit
from tre.secure.context import Context
from tre.secure.database import tables

n, a = tables.audit_nodes, tables.audit


def extend(connection: sa.Connection) -> int:
    """Store the subtrees that have become complete; returns the log's length."""
    size = audit.head(connection)[0]
    done, level = _count(connection, 0), 0
    # Entries count from one, leaves from zero.
    rows = connection.execute(sa.select(a.c.seq, a.c.hash).where(a.c.seq > done).order_by(a.c.seq)).all()
    new = [merkle.leaf_hash(bytes.fromhex(row.hash)) for row in rows]
    while new:
        values = [{"level": level, "place": done + i, "hash": h.hex()} for i, h in enumerate(new)]
        connection.execute(n.insert(), values)
        above = _count(connection, level + 1)
        # The left half of the first new pair may have been there before.
        first = 2 * above
        known = {done + i: h for i, h in enumerate(new)}
        if first < done:
            known[first] = _stored(connection, level, first)
        pairs = range(above, (done + len(new)) // 2)
        new = [merkle.node_hash(known[2 * p], known[2 * p + 1]) for p in pairs]
        done, level = above, level + 1
    return size


def _count(connection: sa.Connection, level: int) -> int:
    """How many nodes of a level are stored, by its last one: counting them would take longer with every entry."""
    last = connection.execute(sa.select(sa.func.max(n.c.place)).where(n.c.level == level)).scalar()
    return 0 if last is None else int(last) + 1


def _stored(connection: sa.Connection, level: int, place: int) -> bytes:
    query = sa.select(n.c.hash).where(n.c.level == level, n.c.place == place)
    return bytes.fromhex(connection.execute(query).scalar_one())


def head(context: Context, since: Head | None = None) -> dict[str, Any]:
    """A signed head of the log as it is, with a proof that it begins with `since`. Raises Conflict where it does not.

    What is signed is computed from entries, and compared with what is stored: else a log that was rewritten below its tree
    would be signed as the one that it was. Raises DataError where they differ.
    """
    at = context.now()
    with context.database.read() as connection:
        size, root = _seen(connection, since, context.area.public_key)
    with context.database.write() as connection:
        extend(connection)
        get = getter(connection)
        if merkle.root(size, get) != root:
            raise _broken_tree()
        made = {
            "size": size, "root": root.hex(), "at": at, "key": context.area.public_key,
            "signature": context.area.sign(heads.signed_bytes(size, root.hex(), at)),
        }  # fmt: skip
        if since is not None:
            if since.size > size or merkle.root(since.size, get).hex() != since.root:
                raise Conflict(
                    "log_rewritten", "This log does not begin with the head that was given.",
                    "Keep the database as it is, and compare it with a backup.",
                )  # fmt: skip
            proof = merkle.consistency(since.size, size, get)
            if not merkle.consistent(since.size, bytes.fromhex(since.root), size, root, proof):
                raise _broken_tree()
            made["since"] = {"size": since.size, "root": since.root, "proof": heads.proof_text(proof)}
    return made


def _seen(connection: sa.Connection, since: Head | None, key: str) -> tuple[int, bytes]:
    """The log's length and root, from its entries: all of them, or those after a head that this area has signed."""
    size = audit.head(connection)[0]
    if _count(connection, 0) > size:
        raise _broken_tree()
    known = _peaks(connection, since) if since is not None and since.key == key else None
    if known is None or since is None:
        return size, bytes.fromhex(roots(connection, {size}).get(size, merkle.EMPTY.hex()))
    # A signature stands for these peaks, and the entry's hash for all entries before it, as long as the chain is whole.
    last = connection.execute(sa.select(a.c.hash).where(a.c.seq == since.size)).scalar()
    path = merkle.inclusion(since.size - 1, since.size, getter(connection))
    leaf = merkle.leaf_hash(bytes.fromhex(last)) if last is not None else b""
    if last is None or not merkle.includes(leaf, since.size - 1, since.size, path, bytes.fromhex(since.root)):
        raise _broken_tree()
    if audit.first_broken(connection, after=since.size) is not None:
        raise _broken_tree()
    rows = connection.execute(sa.select(a.c.hash).where(a.c.seq > since.size, a.c.seq <= size).order_by(a.c.seq))
    for row in rows:
        _grow(known, row.hash)
    return size, _folded([p for _, p in known])


def _peaks(connection: sa.Connection, since: Head) -> list[tuple[int, bytes]] | None:
    """The complete subtrees of a head, from what is stored, where that gives the head's root; None where it does not."""
    if since.size > _count(connection, 0):
        return None
    found, start = [], 0
    for level in range(since.size.bit_length() - 1, -1, -1):
        if since.size >> level & 1:
            kept = connection.execute(
                sa.select(n.c.hash).where(n.c.level == level, n.c.place == start >> level)
            ).scalar()
            if kept is None:
                return None
            found.append((level, bytes.fromhex(kept)))
            start += 1 << level
    return found if _folded([p for _, p in found]).hex() == since.root else None


def getter(connection: sa.Connection) -> merkle.Get:
    """What is stored of the tree, for proofs about any head of the log up to where it was last extended."""
    return lambda level, place: _stored(connection, level, place)


def _broken_tree() -> DataError:
    return DataError(
        "audit_tree_broken", "The log's entries are not those that its tree was made of.",
        "Keep the database as it is, and compare it with a backup: tre-admin audit verify",
    )  # fmt: skip


def roots(connection: sa.Connection, sizes: Iterable[int]) -> dict[int, str]:
    """The roots of the log's beginnings of these sizes, from the entries themselves; a size beyond its end has none."""
    wanted, found = set(sizes), {}
    peaks: list[tuple[int, bytes]] = []  # complete subtrees from the left: (level, hash)
    for row in connection.execute(sa.select(a.c.seq, a.c.hash).order_by(a.c.seq)):
        _grow(peaks, row.hash)
        if row.seq in wanted:
            found[int(row.seq)] = _folded([p for _, p in peaks]).hex()
    return found


def _grow(peaks: list[tuple[int, bytes]], hashed: str) -> None:
    """One more entry at the right."""
    level, node = 0, merkle.leaf_hash(bytes.fromhex(hashed))
    while peaks and peaks[-1][0] == level:
        node = merkle.node_hash(peaks.pop()[1], node)
        level += 1
    peaks.append((level, node))


def _folded(peaks: list[bytes]) -> bytes:
    node = peaks[-1]
    for left in reversed(peaks[:-1]):
        node = merkle.node_hash(left, node)
    return node


def stored_root(connection: sa.Connection) -> tuple[int, str] | None:
    """The root of what is stored of the tree; None before any of it is."""
    size = _count(connection, 0)
    if not size:
        return None
    return size, merkle.root(size, getter(connection)).hex()


def check(connection: sa.Connection, witnessed: Mapping[str, Head]) -> str | None:
    """The witnessed head, by its name, that the log does not begin with; None if it begins with all."""
    found = roots(connection, {h.size for h in witnessed.values()})
    return next((name for name, head in witnessed.items() if found.get(head.size) != head.root), None)


def wrong_node(connection: sa.Connection) -> tuple[int, int] | None:
    """The first stored node, by level and place, that is not of the log's tree, or missing; None if all are right.

    Each level is compared with the one below, which was right; the lowest with the entries.
    """
    size = _count(connection, 0)
    for level in range(max(1, size.bit_length())):
        kept = connection.execute(sa.select(n.c.place, n.c.hash).where(n.c.level == level).order_by(n.c.place))
        right = _leaves(connection, size) if level == 0 else _above(connection, level - 1)
        for place, wanted in enumerate(chain(right, [None])):
            try:
                row = kept.fetchone()
            except sa.exc.DBAPIError:  # bytes that are no text
                return level, place
            if wanted is None:
                if row is None:
                    break
                return level, int(row.place)
            if row is None or (row.place, row.hash) != (place, wanted.hex()):
                return level, place
    stray = connection.execute(
        sa.select(n.c.level, n.c.place).where(~n.c.level.between(0, max(0, size.bit_length() - 1)))
    ).first()
    return (int(stray.level), int(stray.place)) if stray is not None else None


def _leaves(connection: sa.Connection, size: int) -> Iterator[bytes]:
    for row in connection.execute(sa.select(a.c.hash).where(a.c.seq <= size).order_by(a.c.seq)):
        yield merkle.leaf_hash(bytes.fromhex(row.hash))


def _above(connection: sa.Connection, level: int) -> Iterator[bytes]:
    """The nodes over all complete pairs of a level."""
    rows = iter(connection.execute(sa.select(n.c.hash).where(n.c.level == level).order_by(n.c.place)))
    for left, right in zip(rows, rows, strict=False):
        yield merkle.node_hash(bytes.fromhex(left.hash), bytes.fromhex(right.hash))
