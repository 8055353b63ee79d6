"""A thousand single bytes changed, one at a time: in a bundle's files, its receipt, its archive, the audit log's rows, what is
kept of its tree, and heads that witnesses have. Every one is found, and what was changed is named.

Seeded: a failure names its trial, and comes again.
"""

import io
import random
import shutil
import sqlite3
import zipfile
from contextlib import closing

import pytest
import sqlalchemy as sa

from tre import archive
from tre.errors import VerificationFailed
from tre.rules import heads, receipt
from tre.rules.canonical import canonical_json
from tre.secure import audit, tree
from tre.secure.database import Database, tables

SEED, TRIALS = 20261126, 1_000
a, n = tables.audit, tables.audit_nodes


def _changed(chance, content):
    """(the content with one byte changed, where)"""
    place = chance.randrange(len(content))
    changed = bytearray(content)
    changed[place] ^= chance.randrange(1, 256)
    return bytes(changed), place


class Files:
    def __init__(self, files):
        self.files = files
        assert receipt.verify(files)

    def trial(self, chance):
        name = chance.choice([f for f in sorted(self.files) if self.files[f]])
        changed, place = _changed(chance, self.files[name])
        with pytest.raises(VerificationFailed) as failed:
            receipt.verify({**self.files, name: changed})
        said = failed.value.message
        return f"{name}, byte {place}: {said}", name in said or (name == "receipt.json" and "receipt" in said)


class Receipt(Files):
    """Alone: it is one file of many, and the one that vouches."""

    def trial(self, chance):
        changed, place = _changed(chance, self.files["receipt.json"])
        with pytest.raises(VerificationFailed) as failed:
            receipt.verify({**self.files, "receipt.json": changed})
        return f"receipt, byte {place}: {failed.value}", "receipt" in failed.value.message


class Archive:
    def __init__(self, name, files):
        self.content = archive.pack(name, files)
        assert archive.unpack(self.content) == files
        with zipfile.ZipFile(io.BytesIO(self.content)) as found:
            self.starts = [(i.header_offset, i.filename) for i in found.infolist()]
            self.directory = found.start_dir

    def trial(self, chance):
        changed, place = _changed(chance, self.content)
        with pytest.raises(VerificationFailed) as failed:
            archive.unpack(changed)
        entry = [name for start, name in self.starts if start <= place][-1]
        said = failed.value.message
        named = "archive" in said if place >= self.directory else said.startswith(f"{entry} ")
        return f"archive, byte {place}: {said}", named


class Stored:
    """A row of a copy of the database; each trial is rolled back."""

    def __init__(self, connection, table, keys, found):
        self.connection, self.table, self.keys, self.found = connection, table, keys, found
        self.rows = [dict(r._mapping) for r in connection.execute(sa.select(table))]
        assert found(connection) is None

    def trial(self, chance):
        while True:
            row = chance.choice(self.rows)
            column = chance.choice(list(row))
            new = self._new(chance, row[column])
            savepoint = self.connection.begin_nested()
            try:
                self._write(row, column, new)
            except sa.exc.IntegrityError:  # the place of another row: the database itself refuses
                savepoint.rollback()
                continue
            found = self.found(self.connection)
            savepoint.rollback()
            old = tuple(row[k] for k in self.keys)
            told = found if isinstance(found, tuple) else (found,)
            # A row that was moved to another place is told at the first of the two that is wrong.
            places = {old, tuple(new if k == column else row[k] for k in self.keys)} if column in self.keys else {old}
            return f"{self.table.name}{old}.{column}: {new!r}: told at {told}", told in places or (
                column in self.keys and found is not None
            )

    def _new(self, chance, value):
        if isinstance(value, int):
            return value ^ 1 << chance.randrange(40)
        return _changed(chance, value.encode())[0]

    def _write(self, row, column, new):
        where = " AND ".join(f"{k} = :{k}" for k in self.keys)
        value = ":new" if isinstance(new, int) else "CAST(:new AS TEXT)"
        given = {k: row[k] for k in self.keys} | {"new": new}
        self.connection.execute(sa.text(f"UPDATE {self.table.name} SET {column} = {value} WHERE {where}"), given)


class Witnessed:
    """Heads as witnesses keep them: as written, packed, and with the proof about an earlier one."""

    def __init__(self, services):
        first = heads.as_json(services.audit_head()).encode()
        with services.context.database.write() as connection:
            audit.record(connection, at="2030-01-01T00:00:00Z", person="test", event="test.more", subject="more")
        second = services.audit_head(first)
        self.heads = {"monday": first, "tuesday": heads.as_json(second).encode(), "packed": canonical_json(second)}
        assert len(heads.named(self.heads)) == 3

    def trial(self, chance):
        name = chance.choice(sorted(self.heads))
        changed, place = _changed(chance, self.heads[name])
        with pytest.raises(VerificationFailed) as failed:
            heads.named({**self.heads, name: changed})
        return f"head {name}, byte {place}: {failed.value}", failed.value.message.startswith(f"{name}:")


def test_any_changed_byte_is_found_and_what_was_changed_is_named(published, tmp_path):
    services, name, files = published
    witnessed = Witnessed(services)
    with services.context.database.write() as connection:
        tree.extend(connection)
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(services.context.database.engine.url.database)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    database = Database(copy)
    with database.write() as connection:
        for trigger in ("audit_fixed", "audit_kept"):  # as somebody who has the file could
            connection.execute(sa.text(f"DROP TRIGGER {trigger}"))
    with database.write() as connection:
        kinds = [
            Files(files), Receipt(files), Archive(name, files), witnessed,
            Stored(connection, a, ("seq",), audit.first_broken), Stored(connection, n, ("level", "place"), tree.wrong_node),
        ]  # fmt: skip
        for number in range(TRIALS):
            chance = random.Random(SEED + number)  # noqa: S311  # a seed, so that a failure comes again
            told, named = kinds[number % len(kinds)].trial(chance)
            assert named, f"trial {number} of seed {SEED}: {told}"
    database.close()


def test_audit_verify_names_a_changed_file_of_a_release_and_a_receipt_that_is_another(published, tmp_path):
    services, name, files = published
    assert services.verify_audit()["changed_files"] == []
    folder, kept = services.bundler.folder(name), tmp_path / "kept"
    shutil.copytree(folder, kept)
    try:
        (folder / "values.json").write_bytes(files["values.json"][:-1])
        assert services.verify_audit()["changed_files"] == [f"{name}: values.json was changed."]
        shutil.rmtree(folder)
        assert services.verify_audit()["changed_files"] == [f"{name}: There is no receipt.json."]
        # Whoever has the key signs another receipt: the database says which one was published.
        statement = {"release": name, "audit": "0", "files": {}}
        other = {
            "statement": statement, "key": services.context.area.public_key,
            "signature": services.context.area.sign(receipt.signed_bytes(statement)),
        }  # fmt: skip
        folder.mkdir()
        (folder / "receipt.json").write_bytes(canonical_json(other))
        assert services.verify_audit()["changed_files"] == [f"{name}: receipt.json is not the one that was published."]
    finally:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
