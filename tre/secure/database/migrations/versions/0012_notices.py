"""What people are told of requests that move, and what of it is still to be sent by e-mail."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.String(length=16), primary_key=True),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("told", sa.String(length=24), nullable=False),
        sa.Column("job", sa.String(length=16), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("release", sa.String(length=16), sa.ForeignKey("releases.id"), nullable=True),
        sa.Column("exceptions", sa.Integer(), nullable=False),
        sa.Column("visible_from", sa.BigInteger(), nullable=False),
        sa.Column("read_at", sa.String(length=32), nullable=True),
    )
    op.create_index("ix_notices_person", "notices", ["person"])
    op.create_table(
        "mails",
        sa.Column("notice", sa.String(length=16), sa.ForeignKey("notices.id"), primary_key=True),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
    )
    op.create_index("ix_mails_due", "mails", ["due"])
