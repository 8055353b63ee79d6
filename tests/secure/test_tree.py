"""The log's tree: grown in any steps it is the same tree; whoever rewrites the log is found by a head kept outside."""

import json
import random

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journey.conftest import policies, write_policies
from tre.errors import Conflict, DataError, VerificationFailed
from tre.rules import heads, merkle
from tre.rules.audit import FIRST, entry_hash
from tre.rules.canonical import canonical_json
from tre.secure import audit, tree
from tre.secure.database import tables
from tre.secure.services import create

a, n = tables.audit, tables.audit_nodes


@pytest.fixture
def services(tmp_path, database):
    made = create(tmp_path / "area", database=database)
    made.apply(write_policies(tmp_path / "policies", policies()), dry_run=False)
    yield made
    made.close()


def _add(services, count, word="x"):
    with services.context.database.write() as connection:
        for i in range(count):
            audit.record(connection, at="2026-01-01T00:00:00Z", person="ada", event=word, subject=f"s-{i}")


def _unguard(connection):
    """What only somebody who owns the database can do."""
    if connection.dialect.name == "sqlite":
        for name in ("audit_fixed", "audit_kept"):
            connection.execute(sa.text(f"DROP TRIGGER {name}"))
    else:
        connection.execute(sa.text("ALTER TABLE audit DISABLE TRIGGER ALL"))


def _rewrite(services, change, *, tree_too=True):
    """As an administrator would who knows everything: entries changed, and the whole chain made anew after them."""
    with services.context.database.write() as connection:
        _unguard(connection)
        rows = [dict(r._mapping) for r in connection.execute(sa.select(a).order_by(a.c.seq))]
        connection.execute(a.delete())
        if tree_too:
            connection.execute(n.delete())
        previous = FIRST
        for seq, row in enumerate(change(rows), start=1):
            new = {**row, "seq": seq, "previous": previous}
            detail = json.loads(row["detail"])
            new["hash"] = entry_hash(seq, row["at"], row["person"], row["event"], row["subject"], detail, previous)
            connection.execute(
                a.insert().values(
                    **new,
                )
            )
            previous = new["hash"]


def _bytes(head):
    return heads.as_json(head).encode()


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_however_it_grows_it_is_the_tree_of_its_entries(tmp_path_factory, steps):
    from tre.secure.database import Database

    database = Database(tmp_path_factory.mktemp("tree") / "area.db")
    database.migrate()
    leaves = []
    for step in steps:
        with database.write() as connection:
            leaves += [
                bytes.fromhex(audit.record(connection, at="t", person="p", event="e", subject=f"{i}"))
                for i in range(step)
            ]
            assert tree.extend(connection) == len(leaves)
            kept = tree.stored_root(connection)
            assert kept == (len(leaves), merkle.root(len(leaves), _get(leaves)).hex())
            assert tree.roots(connection, range(1, len(leaves) + 1)) == {
                size: merkle.root(size, _get(leaves)).hex() for size in range(1, len(leaves) + 1)
            }
    database.close()


def _get(leaves):
    def get(level, place):
        if level == 0:
            return merkle.leaf_hash(leaves[place])
        return merkle.node_hash(get(level - 1, 2 * place), get(level - 1, 2 * place + 1))

    return get


def test_a_witness_follows_the_log_from_head_to_head(services):
    _add(services, 5)
    first = services.audit_head()
    _add(services, 12)
    second = services.audit_head(_bytes(first))
    heads.extends(heads.read(_bytes(second)), heads.read(_bytes(first)))
    found = services.verify_audit({"first": _bytes(first), "second": _bytes(second)})
    assert (found["does_not_fit"], found["witnessed"]) == (None, 2)


REWRITES = {
    "an entry changed": lambda rows: [*rows[:2], {**rows[2], "person": "eve"}, *rows[3:]],
    "an entry removed": lambda rows: rows[:2] + rows[3:],
    "two entries swapped": lambda rows: [rows[0], rows[2], rows[1], *rows[3:]],
    "an entry added": lambda rows: [*rows[:2], rows[0], *rows[2:]],
    "the end cut off": lambda rows: rows[:-1],
}


@pytest.mark.parametrize("how", REWRITES)
def test_an_administrator_who_rewrites_log_and_tree_is_found_by_a_witnessed_head(services, how):
    """The chain and the tree are made anew and whole; without the witness nothing is wrong with them."""
    _add(services, 6)
    kept = _bytes(services.audit_head())
    _rewrite(services, REWRITES[how])
    alone = services.verify_audit()
    assert (alone["first_broken"], alone["does_not_fit"]) == (None, None)
    assert services.verify_audit({"the witness": kept})["does_not_fit"] == "the witness"
    with pytest.raises(Conflict, match="log_rewritten"):
        services.audit_head(kept)
    forged = services.audit_head()
    forged["since"] = {"size": heads.read(kept).size, "root": heads.read(kept).root, "proof": ["0" * 64] * 3}
    with pytest.raises(VerificationFailed):
        heads.extends(heads.read(_bytes(forged)), heads.read(kept))


@pytest.mark.parametrize("how", REWRITES)
def test_a_log_that_was_rewritten_below_its_tree_is_not_signed_as_what_it_was(services, how):
    """The stored tree is still the old log's, and would prove to a witness that nothing happened."""
    _add(services, 6)
    kept = _bytes(services.audit_head())
    _rewrite(services, REWRITES[how], tree_too=False)
    with pytest.raises(DataError, match="audit_tree_broken"):
        services.audit_head(kept)


def test_a_node_that_was_changed_is_found(services):
    _add(services, 9)
    services.audit_head()
    with services.context.database.write() as connection:
        connection.execute(n.update().where(n.c.level == 3, n.c.place == 0).values(hash="0" * 64))
    assert services.verify_audit()["does_not_fit"] == "tree"


def test_any_changed_byte_of_a_head_is_found(services):
    _add(services, 3)
    content = canonical_json(services.audit_head())
    heads.read(content)
    moments = random.Random(7)  # noqa: S311  # a seed, so that a failure comes again
    for _ in range(200):
        place = moments.randrange(len(content))
        changed = content[:place] + bytes([content[place] ^ (1 << moments.randrange(7))]) + content[place + 1 :]
        with pytest.raises(VerificationFailed):
            heads.read(changed)


def test_heads_of_two_areas_are_not_mixed_up(tmp_path, services):
    other = create(tmp_path / "other")
    other.apply(write_policies(tmp_path / "policies-2", policies()), dry_run=False)
    first, second = services.audit_head(), other.audit_head()
    with pytest.raises(VerificationFailed, match="key_changed"):
        heads.extends(heads.read(_bytes(second)), heads.read(_bytes(first)))
    other.close()


@pytest.mark.parametrize("earlier", range(1, 10))
def test_a_head_since_an_earlier_one_is_the_head_that_all_entries_give(services, earlier):
    _add(services, earlier)
    first = services.audit_head()
    _add(services, 7)
    since, whole = services.audit_head(_bytes(first)), services.audit_head()
    assert (since["size"], since["root"]) == (whole["size"], whole["root"])
    heads.extends(heads.read(_bytes(since)), heads.read(_bytes(first)))


def test_a_head_since_an_earlier_one_reads_the_new_entries_and_one_more(services, monkeypatch):
    """What stands before is covered by that one's hash, and by the signature on the earlier head."""
    _add(services, 40)
    kept = heads.read(_bytes(services.audit_head()))
    _add(services, 3)
    read = []

    def count(connection, cursor, statement, parameters, context, many):
        if "audit" in statement and statement.startswith("SELECT"):
            read.append(statement)

    def all_entries(*_):
        raise AssertionError("all entries were read")

    monkeypatch.setattr(tree, "roots", all_entries)
    sa.event.listen(services.context.database.engine, "before_cursor_execute", count)
    assert tree.head(services.context, kept)["size"] == kept.size + 3
    assert len(read) < 60  # nodes one by one: some five for each level of six


DAMAGE = {
    "a stored peak": (5, 0), "a node of the proof": (1, 22), "the leaf of the last witnessed entry": (0, 43),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_a_stored_node_that_was_changed_is_not_relied_on(services, what):
    with services.context.database.read() as connection:
        there = audit.head(connection)[0]
    _add(services, 44 - there)
    kept = services.audit_head()
    assert kept["size"] == 44
    _add(services, 2)
    right = services.audit_head()
    level, place = DAMAGE[what]
    with services.context.database.write() as connection:
        done = connection.execute(n.update().where(n.c.level == level, n.c.place == place).values(hash="0" * 64))
        assert done.rowcount == 1
    try:
        assert services.audit_head(_bytes(kept))["root"] == right["root"]
    except DataError as refused:
        assert refused.code == "audit_tree_broken"
    else:
        assert what == "the leaf of the last witnessed entry"  # the entry itself is read


def test_an_entry_before_the_witnessed_one_cannot_be_rewritten_without_breaking_the_chain(services):
    """A head since then is signed: it stands for the chain, which `audit verify` finds broken."""
    _add(services, 9)
    kept = services.audit_head()
    with services.context.database.write() as connection:
        _unguard(connection)
        connection.execute(a.update().where(a.c.seq == 4).values(person="eve", hash="0" * 64))
    assert services.audit_head(_bytes(kept))["root"] == kept["root"]
    assert services.verify_audit({"kept": _bytes(kept)})["first_broken"] == 4
    with pytest.raises(DataError, match="audit_tree_broken"):
        services.audit_head()
