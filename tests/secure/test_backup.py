"""A backup is whole or refused; an area made of it charges nothing until somebody answers for what it forgot."""

import io
import json
import sqlite3
import tarfile

import pytest

from tests.journey.conftest import policies, write_data, write_policies
from tre.errors import Conflict, DataError, NotFound, PolicyError
from tre.rules.ledger import Charge
from tre.secure import backup as module
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.backup import KEPT
from tre.secure.services import create, open_area, restore

AT = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    """An area with data and three charges: reserved, spent, released."""
    folder = tmp_path_factory.mktemp("backup")
    services = create(folder / "area")
    services.apply(write_policies(folder / "policies", policies()), dry_run=False)
    services.ingest("toy", [write_data(folder / "toy.csv")], drop_invalid=False)
    services.make_twin("toy")
    entries = _reserve(services, 3)
    with services.context.database.write() as connection:
        for entry in entries[1:]:
            ledger.spend(connection, entry, at=AT)
        ledger.store(connection, entries[2], "{}", at=AT)
    yield folder, services
    services.close()


def _reserve(services, count):
    with services.context.database.write() as connection:
        found = policy_files.current(connection)
        wanted = [
            ledger.Reservation(
                population="toy-people", project="visits", purpose="release", request_digest=f"{i:064}",
                dataset_version="v", release=None, position=i, rho_units=10**9,
            )
            for i in range(count)
        ]  # fmt: skip
        return ledger.reserve(connection, found, wanted, at=AT)


@pytest.fixture(scope="module")
def backup(area):
    folder, services = area
    services.backup(folder / "area.tar")
    return folder / "area.tar"


def _states(services):
    with services.context.database.read() as connection:
        return [e.state for e in ledger.history(connection) if e.project == "visits"]


def test_what_comes_back_is_what_was_there(area, backup, tmp_path):
    folder, services = area
    assert backup.stat().st_mode & 0o777 == 0o600
    made = restore(backup, tmp_path / "new")
    assert made.receipt_key == services.receipt_key
    for name in KEPT:
        before = {
            p.relative_to(folder / "area"): p.read_bytes() for p in (folder / "area" / name).rglob("*") if p.is_file()
        }
        after = {
            p.relative_to(tmp_path / "new"): p.read_bytes() for p in (tmp_path / "new" / name).rglob("*") if p.is_file()
        }
        assert before == after
    assert (tmp_path / "new" / "keys" / "area.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert made.verify_audit()["first_broken"] is None
    made.close()


def test_a_restored_area_charges_and_serves_nothing_until_it_is_answered_for(backup, tmp_path):
    made = restore(backup, tmp_path / "new")
    with pytest.raises(Conflict, match="area_restored"):
        _reserve(made, 1)
    with pytest.raises(Conflict, match="area_restored"):
        made.worker()
    with pytest.raises(PolicyError, match="reason_needed"):
        made.accept_restored("  ")
    made.close()
    made = open_area(tmp_path / "new")  # also after it was opened anew
    with pytest.raises(Conflict, match="area_restored"):
        made.need_whole()
    assert _states(made) == [Charge.RESERVED, Charge.SPENT, Charge.RELEASED]
    made.accept_restored("nothing was released since")
    # what was under way may have been drawn since: it counts, and is drawn no more
    assert _states(made) == [Charge.LOST, Charge.LOST, Charge.RELEASED]
    assert len(_reserve(made, 1)) == 1
    with pytest.raises(NotFound):
        made.accept_restored("again")
    made.close()


def test_nothing_is_overwritten(area, backup, tmp_path):
    _, services = area
    with pytest.raises(Conflict, match="file_exists"):
        services.backup(backup)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(Conflict, match="area_exists"):
        restore(backup, tmp_path / "used")


def _rewritten(backup, target, change):
    with tarfile.open(backup) as old, tarfile.open(target, "w") as new:
        for entry in old.getmembers():
            content = old.extractfile(entry).read()
            for name, data in change(entry.name, content):
                entry.name, entry.size = name, len(data)
                new.addfile(entry, io.BytesIO(data))


BROKEN = {
    "a changed byte of a file": lambda n, c: [(n, c[:-1] + bytes([c[-1] ^ 1]) if n == "keys/area.key" else c)],
    "a missing file": lambda n, c: [] if n == "keys/signing.key" else [(n, c)],
    "a file beside the folders": lambda n, c: [(n, c), ("../evil", b"x")] if n == "area.db" else [(n, c)],
    "a file that nothing names": lambda n, c: [(n, c), ("keys/more", b"x")] if n == "area.db" else [(n, c)],
    "another version": lambda n, c: [(n, json.dumps({**json.loads(c), "version": 2}).encode() if n == "backup.json" else c)],
    "a file without a name": lambda n, c: [(n, c), (".", b"x")] if n == "area.db" else [(n, c)],
    "no manifest": lambda n, c: [] if n == "backup.json" else [(n, c)],
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_not_a_whole_backup_is_refused(backup, tmp_path, how):
    _rewritten(backup, tmp_path / "broken.tar", BROKEN[how])
    with pytest.raises(DataError, match="backup_broken"):
        restore(tmp_path / "broken.tar", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "evil").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["broken.tar"]  # and no rows are left where nobody looks


def test_a_cut_or_foreign_file_is_refused(backup, tmp_path):
    (tmp_path / "cut.tar").write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])
    (tmp_path / "text.tar").write_text("no archive")
    for name in ("cut.tar", "text.tar"):
        with pytest.raises(DataError, match="backup_broken"):
            restore(tmp_path / name, tmp_path / f"new-{name}")


def test_a_backup_while_the_area_is_at_work_is_of_one_moment(area, tmp_path):
    """The copy is a whole database, also with a transaction open beside it."""
    folder, services = area
    other = sqlite3.connect(folder / "area" / "area.db", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM jobs").fetchall()
    services.backup(tmp_path / "at-work.tar")
    other.close()
    made = restore(tmp_path / "at-work.tar", tmp_path / "new")
    assert made.verify_audit()["first_broken"] is None
    made.close()


@pytest.mark.slow
def test_an_area_on_a_server_says_who_backs_it_up(tmp_path, postgresql):
    services = create(tmp_path / "area", database=postgresql.new())
    with pytest.raises(PolicyError, match="pg_dump"):
        services.backup(tmp_path / "area.tar")
    services.close()


def test_a_file_that_is_replaced_meanwhile_does_not_break_the_backup(area, tmp_path, monkeypatch):
    folder, services = area
    file = folder / "area" / "outputs" / "rel-1.ipynb"
    file.write_text("before")
    sha256 = module._sha256

    def replaced(path):
        found = sha256(path)
        file.with_suffix(".part").write_text("after")
        file.with_suffix(".part").replace(file)
        return found

    monkeypatch.setattr(module, "_sha256", replaced)
    services.backup(tmp_path / "at-work.tar")
    restore(tmp_path / "at-work.tar", tmp_path / "new").close()
    assert (tmp_path / "new" / "outputs" / "rel-1.ipynb").read_text() == "before"
    file.unlink()


def test_a_restore_that_dies_at_any_moment_leaves_no_area_that_would_charge(backup, tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "mark", die)
    with pytest.raises(KeyboardInterrupt):
        restore(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()
