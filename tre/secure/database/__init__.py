"""The area's database: SQLite or PostgreSQL through SQLAlchemy Core, migrated by Alembic. The only owner of a connection.

Guarantees, the same on both: `write()` is one transaction that holds the area's one write lock from its first statement
(two processes racing for one budget wait for each other), durable before it returns; `read()` sees one consistent state.
How each engine is made to keep this is `dialects`' subject.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tre.errors import Conflict, Unreachable
from tre.secure.database import dialects, tables

# The newest migration. At this revision nothing needs Alembic, which takes longer to load than most commands to run.
HEAD = "0015"


class Database:
    """`target` is SQLite's file, or a server's address."""

    def __init__(self, target: Path | str) -> None:
        self.engine = dialects.engine(target)

    def migrate(self, revision: str = HEAD) -> None:
        """Bring the schema to this version's; each step is a file in migrations/versions."""
        if self._revision() == revision:
            return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def refuse_used(self) -> None:
        """Raises Conflict where another area's tables are already."""
        used = self._revision() is not None
        self.close()
        if used:
            raise Conflict(
                "database_used", "This database belongs to an area already.", "Make an empty one for the new area."
            )

    def _revision(self) -> str | None:
        try:
            with self.read() as connection:
                if not sa.inspect(connection).has_table("alembic_version"):
                    return None
                return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        except sa.exc.OperationalError:
            if self.engine.dialect.name == "sqlite":
                raise
            raise Unreachable(
                "database_unreachable", "The area's database server does not let us in.",
                "See that it runs, and that the address in the area's settings.yaml is right.",
            ) from None  # fmt: skip

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        options = dialects.WRITE[self.engine.dialect.name]
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        options = dialects.READ[self.engine.dialect.name]
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self.engine.dispose()


__all__ = ["Database", "tables"]
