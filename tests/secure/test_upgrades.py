"""An area of the version before: what it holds comes along, and what is new works on it."""

import pytest
import sqlalchemy as sa

from tre.secure.database import Database

JOB = """INSERT INTO jobs (id, project, person, state, notebook, parameters, attempt, submitted_at)
    VALUES ('job-1', 'visits', 'ada', 'finished', 'n', '{}', 0, 'then')"""
RELEASE = """INSERT INTO releases (id, job, project, person, state, created_at)
    VALUES ('rel-1', 'job-1', 'visits', 'ada', 'in_review', 'then')"""
VOTE = "INSERT INTO votes (release, person, decision, comment, at) VALUES ('rel-1', 'bo', 'approve', '', 'then')"


@pytest.fixture
def before(tmp_path, database):
    """A database of version 0010, with a request that one checker has voted on."""
    made = Database(database or tmp_path / "area.db")
    made.migrate("0010")
    with made.write() as connection:
        for statement in (JOB, RELEASE, VOTE):
            connection.execute(sa.text(statement))
    made.migrate()
    yield made
    made.close()


def test_its_jobs_and_votes_are_there_and_its_notebooks_have_no_name(before):
    with before.read() as connection:
        assert connection.execute(sa.text("SELECT id, name FROM jobs")).all() == [("job-1", None)]
        assert connection.execute(sa.text("SELECT person FROM votes")).scalars().all() == ["bo"]
        assert connection.execute(sa.text("SELECT count(*) FROM notices")).scalar_one() == 0


@pytest.mark.parametrize("table", ["votes", "remarks", "exceptions", "revocations"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET at = 'later'", "DELETE FROM {}"])
def test_what_people_said_is_only_added_to(before, table, statement):
    row = {
        "remarks": "(id, release, person, audience, text, at) VALUES (1, 'rel-1', 'bo', 'checkers', 'x', 'then')",
        "exceptions": "(release, output, reason, at) VALUES ('rel-1', 't', 'x', 'then')",
        "revocations": "(id, release, person, reason, at) VALUES (1, 'rel-1', 'bo', 'x', 'then')",
    }
    with before.write() as connection:
        if table in row:
            connection.execute(sa.text(f"INSERT INTO {table} {row[table]}"))
    with pytest.raises(sa.exc.IntegrityError, match="only added to"), before.write() as connection:
        connection.execute(sa.text(statement.format(table)))


VERSION = """INSERT INTO versions (version, dataset, sha256, rows, people, rejected, schema_digest, ingested_at, seq)
    VALUES ('v1', 'toy', 's', 1, 1, '[]', 'd', 'then', 1)"""
SEAL = "INSERT INTO seals (id, version, content, issued_at) VALUES (1, 'v1', '{}', 'then')"


@pytest.mark.parametrize("statement", ["UPDATE seals SET content = 'other'", "DELETE FROM seals"])
def test_a_version_of_before_can_be_measured_and_sealed_and_its_seal_stays(tmp_path, database, statement):
    made = Database(database or tmp_path / "sealed.db")
    made.migrate("0013")
    with made.write() as connection:
        connection.execute(sa.text(VERSION))
    made.migrate()
    with made.write() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM quality_reports")).scalar_one() == 0
        connection.execute(sa.text(SEAL))
    with pytest.raises(sa.exc.IntegrityError, match="stays"), made.write() as connection:
        connection.execute(sa.text(statement))
    made.close()


@pytest.mark.parametrize("table", ["replicas", "replica_votes"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET person = 'other'", "DELETE FROM {}"])
def test_in_an_area_of_before_replicas_can_be_proposed_and_stay(tmp_path, database, table, statement):
    made = Database(database or tmp_path / "replicas.db")
    made.migrate("0014")
    with made.write() as connection:
        connection.execute(sa.text(VERSION))
    made.migrate()
    with made.write() as connection:
        connection.execute(
            sa.text("INSERT INTO replicas VALUES ('r', 'toy', 'v1', 1, 's', '{}', '{}', 'x', 'dee', 'then')")
        )
        connection.execute(sa.text("INSERT INTO replica_votes VALUES ('r', 'bo', 'approve', '', 'then')"))
    with pytest.raises(sa.exc.IntegrityError, match="stays"), made.write() as connection:
        connection.execute(sa.text(statement.format(table)))
    made.close()
