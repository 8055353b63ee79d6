"""Measurements of the quality of versions, and seals, which are only added to."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

WHY = "a seal that was issued stays"


def upgrade() -> None:
    op.create_table(
        "quality_reports",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("version", sa.String(length=16), sa.ForeignKey("versions.version"), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("measured_at", sa.String(length=32), nullable=False),
    )
    op.create_index("ix_quality_reports_version", "quality_reports", ["version"])
    op.create_table(
        "seals",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("version", sa.String(length=16), sa.ForeignKey("versions.version"), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.String(length=32), nullable=False),
    )
    op.create_index("ix_seals_version", "seals", ["version"])
    sqlite = op.get_context().dialect.name == "sqlite"
    for name, event in (("kept", "DELETE"), ("fixed", "UPDATE")):
        if sqlite:
            op.execute(f"CREATE TRIGGER seals_{name} BEFORE {event} ON seals BEGIN SELECT RAISE(ABORT, '{WHY}'); END")
        else:
            op.execute(
                f"CREATE TRIGGER seals_{name} BEFORE {event} ON seals FOR EACH ROW EXECUTE FUNCTION tre_refuse('{WHY}')"
            )
    if not sqlite:
        op.execute(
            "CREATE TRIGGER seals_whole BEFORE TRUNCATE ON seals EXECUTE FUNCTION tre_refuse('nothing is deleted')"
        )
