"""How SQLite and PostgreSQL are each made to keep what `Database` promises.

SQLite: BEGIN IMMEDIATE takes the write lock before anything is read; WAL lets readers go on; synchronous=FULL is durable.
PostgreSQL: a write is READ COMMITTED and takes one advisory lock before anything is read, so that each of its statements
sees all that earlier writers committed, and nothing changes under it; a read is REPEATABLE READ, one snapshot, and
READ ONLY. A server that would acknowledge a commit before it is on disk is told not to, connection by connection.
Not guaranteed: that a server's operator has not turned fsync off, or that its disk does not lie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tre.errors import PolicyError

WAIT_SECONDS = 30
# One number among the locks of one PostgreSQL database: "tre" and what it is for.
LOCK = 0x747265_01

WRITE: dict[str, dict[str, Any]] = {
    "sqlite": {"tre_write": True},
    "postgresql": {"tre_write": True, "isolation_level": "READ COMMITTED"},
}
READ: dict[str, dict[str, Any]] = {
    "sqlite": {},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}


def engine(target: Path | str) -> sa.Engine:
    if isinstance(target, Path):
        made = sa.create_engine(f"sqlite:///{target}", connect_args={"timeout": WAIT_SECONDS}, hide_parameters=True)
        sa.event.listen(made, "connect", _configure_sqlite)
        sa.event.listen(made, "begin", _begin_sqlite)
        return made
    made = _server(target)
    sa.event.listen(made, "connect", _configure_postgresql)
    sa.event.listen(made, "begin", _begin_postgresql)
    return made


def _server(address: str) -> sa.Engine:
    try:
        if sa.make_url(address).drivername != "postgresql+psycopg":
            raise sa.exc.ArgumentError
        # A connection is looked at before it is used: a server may have been started anew since.
        return sa.create_engine(address, hide_parameters=True, pool_pre_ping=True)
    except sa.exc.ArgumentError:
        raise PolicyError(
            "database_invalid", "This is no database's address.", "postgresql+psycopg://USER@HOST/NAME"
        ) from None
    except ModuleNotFoundError:
        raise PolicyError(
            "extra_missing",
            "An area on PostgreSQL needs psycopg, which is not installed.",
            'pip install "tre[postgres]"',
        ) from None


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={WAIT_SECONDS}000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("tre_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _configure_postgresql(connection: Any, _record: Any) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{WAIT_SECONDS}s"])
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()


def _begin_postgresql(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("tre_write", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
