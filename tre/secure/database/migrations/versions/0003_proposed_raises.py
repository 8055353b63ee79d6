"""Raises of budgets that wait for a second admin: what was proposed stays as it was, and is decided once, by another."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "raises",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("based_on", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.String(length=64), nullable=False),
        sa.Column("proposed_at", sa.String(length=32), nullable=False),
        sa.Column("confirmed_by", sa.String(length=64), nullable=True),
        sa.Column("confirmed_at", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["based_on"], ["policies.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    if op.get_context().dialect.name == "sqlite":
        for statement in TRIGGERS:
            op.execute(statement)


TRIGGERS = (
    """
    CREATE TRIGGER raises_fixed BEFORE UPDATE ON raises
    WHEN NEW.id <> OLD.id OR NEW.content <> OLD.content OR NEW.based_on <> OLD.based_on OR NEW.reason <> OLD.reason
        OR NEW.proposed_by <> OLD.proposed_by OR NEW.proposed_at <> OLD.proposed_at
        OR OLD.confirmed_by IS NOT NULL OR NEW.confirmed_by IS NULL OR NEW.confirmed_by = OLD.proposed_by
    BEGIN SELECT RAISE(ABORT, 'a proposal is fixed, and confirmed once by somebody else'); END
    """,
    "CREATE TRIGGER raises_kept BEFORE DELETE ON raises BEGIN SELECT RAISE(ABORT, 'a proposal is kept'); END",
)
