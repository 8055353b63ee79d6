"""Replicas and votes about them, which are only added to."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

TABLES = ("replicas", "replica_votes")
WHY = "what was proposed and said stays"


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(length=16), primary_key=True),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=16), sa.ForeignKey("versions.version"), nullable=False),
        sa.Column("rows", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.String(length=32), nullable=False),
    )
    op.create_table(
        "replica_votes",
        sa.Column("replica", sa.String(length=16), sa.ForeignKey("replicas.id"), primary_key=True),
        sa.Column("person", sa.String(length=64), primary_key=True),
        sa.Column("choice", sa.String(length=16), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
    )
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
        if not sqlite:
            op.execute(
                f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} EXECUTE FUNCTION tre_refuse('nothing is deleted')"
            )
