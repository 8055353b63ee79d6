"""What a notebook is called at the desk, so that the one submitted before is found."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("name", sa.Text(), nullable=True))
