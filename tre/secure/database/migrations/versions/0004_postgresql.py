"""PostgreSQL is held to what SQLite is: the same triggers, and numbers that count up for ever. SQLite has both already."""

from alembic import op

revision = "0004"
down_revision = "0003"

REFUSE = """
    CREATE FUNCTION tre_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
    END
    $$
"""

# name, table, event and what is refused (no condition: everything), and why: as in the migrations before.
TRIGGERS = (
    (
        "ledger_forwards", "ledger", "UPDATE",
        """NOT ((OLD.state = 'reserved' AND NEW.state IN ('spent', 'returned'))
            OR (OLD.state = 'spent' AND NEW.state IN ('released', 'lost')))""",
        "a charge moves forwards only",
    ),
    (
        "ledger_fixed", "ledger", "UPDATE",
        """NEW.rho_units <> OLD.rho_units OR NEW.delta_units <> OLD.delta_units
            OR NEW.population <> OLD.population OR NEW.project IS DISTINCT FROM OLD.project
            OR NEW.request_digest <> OLD.request_digest OR NEW.dataset_version <> OLD.dataset_version
            OR OLD.value IS NOT NULL""",
        "a charge is fixed",
    ),
    (
        "ledger_value", "ledger", "UPDATE", "(NEW.state = 'released') <> (NEW.value IS NOT NULL)",
        "a released charge has a value, and no other has",
    ),
    ("ledger_kept", "ledger", "DELETE", "", "a charge is never deleted"),
    ("audit_kept", "audit", "DELETE", "", "the log is only added to"),
    ("audit_fixed", "audit", "UPDATE", "", "the log is only added to"),
    (
        "raises_fixed", "raises", "UPDATE",
        """NEW.id <> OLD.id OR NEW.content <> OLD.content OR NEW.based_on <> OLD.based_on OR NEW.reason <> OLD.reason
            OR NEW.proposed_by <> OLD.proposed_by OR NEW.proposed_at <> OLD.proposed_at
            OR OLD.confirmed_by IS NOT NULL OR NEW.confirmed_by IS NULL OR NEW.confirmed_by = OLD.proposed_by""",
        "a proposal is fixed, and confirmed once by somebody else",
    ),
    ("raises_kept", "raises", "DELETE", "", "a proposal is kept"),
)  # fmt: skip

LONG = {
    "versions": ("rows", "people", "seq"),
    "published": ("id", "visible_from"),
    "ledger": ("id",),
    "audit": ("seq",),
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, columns in LONG.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE BIGINT")
    for table in ("published", "ledger"):
        op.execute(f"ALTER SEQUENCE {table}_id_seq AS BIGINT")
    op.execute(REFUSE)
    for name, table, event, condition, why in TRIGGERS:
        when = f"WHEN ({condition})" if condition else ""
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION tre_refuse('{why}')"
        )
    for table in ("ledger", "audit", "raises"):  # SQLite has no TRUNCATE, and PostgreSQL's asks no row
        op.execute(
            f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} EXECUTE FUNCTION tre_refuse('nothing is deleted')"
        )
