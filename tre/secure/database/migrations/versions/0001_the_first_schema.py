"""The first schema: every table, and the triggers that hold what no program may undo."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("notebook", sa.String(length=64), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("plan_digest", sa.String(length=64), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("diagnostics", sa.Text(), nullable=True),
        sa.Column("submitted_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"], unique=False)
    op.create_table(
        "policies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "tokens",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "versions",
        sa.Column("version", sa.String(length=16), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Text(), nullable=False),
        sa.Column("schema_digest", sa.String(length=64), nullable=False),
        sa.Column("ingested_at", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
        sa.UniqueConstraint("seq"),
    )
    op.create_table(
        "published",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=24), nullable=False),
        sa.Column("visible_from", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"],
            ["jobs.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_published_job"), "published", ["job"], unique=False)
    op.create_table(
        "releases",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"],
            ["jobs.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job"),
    )
    op.create_index(op.f("ix_releases_state"), "releases", ["state"], unique=False)
    op.create_table(
        "twins",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("made_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["version"],
            ["versions.version"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("population", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=True),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("dataset_version", sa.String(length=16), nullable=False),
        sa.Column("release", sa.String(length=16), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("rho_units", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("reserved_at", sa.String(length=32), nullable=False),
        sa.Column("spent_at", sa.String(length=32), nullable=True),
        sa.Column("ended_at", sa.String(length=32), nullable=True),
        sa.CheckConstraint("rho_units > 0", name="positive"),
        sa.ForeignKeyConstraint(
            ["release"],
            ["releases.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_ledger_population"), "ledger", ["population"], unique=False)
    op.create_index(op.f("ix_ledger_project"), "ledger", ["project"], unique=False)
    op.create_index(op.f("ix_ledger_request_digest"), "ledger", ["request_digest"], unique=False)
    op.create_table(
        "outputs",
        sa.Column("release", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["release"],
            ["releases.id"],
        ),
        sa.PrimaryKeyConstraint("release", "name"),
    )
    op.create_table(
        "votes",
        sa.Column("release", sa.String(length=16), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["release"],
            ["releases.id"],
        ),
        sa.PrimaryKeyConstraint("release", "person"),
    )
    if op.get_context().dialect.name == "sqlite":
        for statement in TRIGGERS:
            op.execute(statement)


# A charge moves forwards only, keeps its price, and is never deleted; the audit log is only ever added to.
TRIGGERS = (
    """
    CREATE TRIGGER ledger_forwards BEFORE UPDATE ON ledger
    WHEN NOT (
        (OLD.state = 'reserved' AND NEW.state IN ('spent', 'returned'))
        OR (OLD.state = 'spent' AND NEW.state IN ('released', 'lost'))
    )
    BEGIN SELECT RAISE(ABORT, 'a charge moves forwards only'); END
    """,
    """
    CREATE TRIGGER ledger_fixed BEFORE UPDATE ON ledger
    WHEN NEW.rho_units <> OLD.rho_units OR NEW.population <> OLD.population OR NEW.project IS NOT OLD.project
        OR NEW.request_digest <> OLD.request_digest OR NEW.dataset_version <> OLD.dataset_version
        OR OLD.value IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a charge is fixed'); END
    """,
    """
    CREATE TRIGGER ledger_value BEFORE UPDATE ON ledger
    WHEN (NEW.state = 'released') <> (NEW.value IS NOT NULL)
    BEGIN SELECT RAISE(ABORT, 'a released charge has a value, and no other has'); END
    """,
    "CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'a charge is never deleted'); END",
    "CREATE TRIGGER audit_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END",
    "CREATE TRIGGER audit_fixed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END",
)
