"""A charge may have a delta of its own, for group keys found in data. Earlier charges had none."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE ledger ADD COLUMN delta_units BIGINT DEFAULT 0 NOT NULL "
        "CONSTRAINT no_negative_delta CHECK (delta_units >= 0)"
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER ledger_fixed")
        op.execute(FIXED)


FIXED = """
    CREATE TRIGGER ledger_fixed BEFORE UPDATE ON ledger
    WHEN NEW.rho_units <> OLD.rho_units OR NEW.delta_units <> OLD.delta_units
        OR NEW.population <> OLD.population OR NEW.project IS NOT OLD.project
        OR NEW.request_digest <> OLD.request_digest OR NEW.dataset_version <> OLD.dataset_version
        OR OLD.value IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a charge is fixed'); END
"""
