"""Votes, remarks, exceptions and revocations are only added to, as the audit log is: the database itself refuses the rest."""

from alembic import op

revision = "0013"
down_revision = "0012"

TABLES = ("votes", "remarks", "exceptions", "revocations")
WHY = "what people said is only added to"


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    for table in TABLES:
        for name, event in (("kept", "DELETE"), ("fixed", "UPDATE")):
            if sqlite:
                op.execute(
                    f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, '{WHY}'); END"
                )
            else:
                op.execute(
                    f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION tre_refuse('{WHY}')"
                )
        if not sqlite:  # SQLite has no TRUNCATE, and PostgreSQL's asks no row
            op.execute(
                f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} EXECUTE FUNCTION tre_refuse('nothing is deleted')"
            )
