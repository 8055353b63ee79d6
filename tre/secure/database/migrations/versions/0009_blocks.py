"""Estimates over blocks: which jobs have them, when their slots are, and what each block claimed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "block_jobs",
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("begins", sa.BigInteger()),
        sa.Column("seconds", sa.Integer()),
        sa.Column("slots", sa.Integer()),
        sa.Column("due", sa.BigInteger()),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("job"),
    )
    op.create_table(
        "block_claims",
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("places", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("job", "block"),
    )
