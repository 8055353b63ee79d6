"""What is said about a request beside votes: remarks, exceptions asked for, and why a release is to be revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "remarks",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("release", sa.String(length=16), sa.ForeignKey("releases.id"), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("audience", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
    )
    op.create_index("ix_remarks_release", "remarks", ["release"])
    op.create_table(
        "exceptions",
        sa.Column("release", sa.String(length=16), sa.ForeignKey("releases.id"), primary_key=True),
        sa.Column("output", sa.String(length=64), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
    )
    op.create_table(
        "revocations",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("release", sa.String(length=16), sa.ForeignKey("releases.id"), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.UniqueConstraint("release", "person"),
    )
