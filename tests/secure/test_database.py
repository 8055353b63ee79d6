"""An area whose database is a server: where that is said, what is refused, and what both engines keep alike."""

import stat

import pytest
import sqlalchemy as sa

from tre.errors import Conflict, PolicyError, TreError, Unreachable
from tre.secure.database import Database, tables
from tre.secure.services import create, open_area


@pytest.mark.slow
def test_an_area_finds_its_server_again_and_leaves_no_file_behind(tmp_path, postgresql):
    address = postgresql.new()
    create(tmp_path / "area", database=address).close()
    settings = tmp_path / "area" / "settings.yaml"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert not list((tmp_path / "area").glob("area.db*"))
    services = open_area(tmp_path / "area")
    assert services.context.database.engine.dialect.name == "postgresql"
    services.close()


@pytest.mark.slow
def test_a_database_of_one_area_is_not_given_to_another(tmp_path, postgresql):
    address = postgresql.new()
    create(tmp_path / "area", database=address).close()
    with pytest.raises(Conflict, match="database_used"):
        create(tmp_path / "other", database=address)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("postgresql+psycopg://tre:secret-word@/none?host=/nowhere", Unreachable),
        ("postgresql://tre:secret-word@/none", PolicyError),
        ("sqlite:///secret-word.db", PolicyError),
        ("mysql+pymysql://tre:secret-word@/none", PolicyError),
        ("secret-word", PolicyError),
    ],
)
def test_a_server_that_cannot_be_had_is_told_without_its_address(tmp_path, address, refusal):
    with pytest.raises(refusal) as refused:
        create(tmp_path / "area", database=address)
    assert "secret-word" not in str(refused.value)
    assert not (tmp_path / "area").exists()


@pytest.mark.parametrize(
    "text", ["database: sqlite:///secret-word", "databases: secret-word", "- secret-word", "database: [secret-word"]
)
def test_settings_that_are_wrong_are_refused_without_their_text(tmp_path, text):
    create(tmp_path / "area").close()
    (tmp_path / "area" / "settings.yaml").write_text(text)
    with pytest.raises(TreError, match="settings_invalid") as refused:
        open_area(tmp_path / "area")
    assert "secret-word" not in str(refused.value)


def _database(tmp_path, address):
    made = Database(address or tmp_path / "area.db")
    made.migrate()
    return made


def _add(connection, text="x"):
    connection.execute(tables.policies.insert().values(digest="d", content=text, applied_at="now"))


def _count(connection):
    return connection.execute(sa.select(sa.func.count()).select_from(tables.policies)).scalar_one()


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(tmp_path, database):
    made = _database(tmp_path, database)
    with made.read() as reader:
        assert _count(reader) == 0
        with made.write() as writer:
            _add(writer)
        assert _count(reader) == 0
    with made.read() as reader:
        assert _count(reader) == 1
    made.close()


def test_what_fails_leaves_nothing(tmp_path, database):
    made = _database(tmp_path, database)
    with pytest.raises(RuntimeError), made.write() as writer:
        _add(writer)
        raise RuntimeError
    with made.read() as reader:
        assert _count(reader) == 0
    made.close()


def test_a_null_character_is_kept_as_the_same_sign_by_both(tmp_path, database):
    made = _database(tmp_path, database)
    job = {
        "id": "j",
        "project": "p",
        "person": "a",
        "state": "s",
        "notebook": "n",
        "parameters": "{}",
        "submitted_at": "",
    }
    with made.write() as writer:
        writer.execute(tables.jobs.insert().values(**job, diagnostics="a\x00b"))
    with made.read() as reader:
        assert reader.execute(sa.select(tables.jobs.c.diagnostics)).scalar_one() == "a\ufffdb"
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("table", ["ledger", "audit", "raises", "votes", "remarks", "exceptions", "revocations"])
def test_a_server_empties_no_table_of_record_at_one_stroke(tmp_path, postgresql, table):
    made = _database(tmp_path, postgresql.new())
    with pytest.raises(sa.exc.IntegrityError, match="nothing is deleted"), made.write() as writer:
        writer.execute(sa.text(f"TRUNCATE {table}"))
    made.close()


@pytest.mark.slow
def test_a_read_on_a_server_cannot_write_and_a_write_is_durable_whatever_the_server_prefers(tmp_path, postgresql):
    address = postgresql.new()
    made = _database(tmp_path, address)
    with pytest.raises(sa.exc.DBAPIError, match="read-only"), made.read() as reader:
        _add(reader)
    with made.write() as writer:
        name = writer.execute(sa.text("SELECT current_database()")).scalar_one()
        writer.execute(sa.text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    made.close()
    again = Database(address)
    with again.write() as writer:
        assert writer.execute(sa.text("SHOW synchronous_commit")).scalar_one() == "on"
    again.close()
