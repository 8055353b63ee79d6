"""The tables. What each row means; who may change it is the ledger's, the queue's, the review's own module."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Text

metadata = sa.MetaData()

# What counts up for ever. SQLite's own row numbers are called INTEGER, and as large.
Count = BigInteger().with_variant(Integer(), "sqlite")


class Said(sa.types.TypeDecorator[str]):
    """Text as people or notebooks wrote it. NUL, which PostgreSQL keeps in no text, is kept as U+FFFD everywhere."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002
        return None if value is None else value.replace("\x00", "\ufffd")


# Applied policies, newest last: the whole text that was applied.
policies = sa.Table(
    "policies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Column("applied_at", String(32), nullable=False),
)

# Raises of budgets that one admin proposed and another must confirm: the policies that would then be applied.
raises = sa.Table(
    "raises",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("content", Text, nullable=False),
    Column("based_on", Integer, ForeignKey("policies.id"), nullable=False),
    Column("reason", Said, nullable=False),
    Column("proposed_by", String(64), nullable=False),
    Column("proposed_at", String(32), nullable=False),
    Column("confirmed_by", String(64)),
    Column("confirmed_at", String(32)),
)

# A person's bearer tokens, by their SHA-256.
tokens = sa.Table(
    "tokens",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("made_at", String(32), nullable=False),
)

# Ingested data. `version` is a keyed identifier: outside it tells nothing about the content.
versions = sa.Table(
    "versions",
    metadata,
    Column("version", String(16), primary_key=True),
    Column("dataset", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("rows", Count, nullable=False),
    Column("people", Count, nullable=False),
    Column("rejected", Text, nullable=False),
    Column("schema_digest", String(64), nullable=False),
    Column("ingested_at", String(32), nullable=False),
    Column("seq", Count, nullable=False, unique=True),
)

# What was measured of a version's quality: as secret as its rows. And seals, as they were signed.
quality_reports = sa.Table(
    "quality_reports",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", String(16), ForeignKey("versions.version"), nullable=False, index=True),
    Column("report", Text, nullable=False),
    Column("measured_at", String(32), nullable=False),
)

seals = sa.Table(
    "seals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", String(16), ForeignKey("versions.version"), nullable=False, index=True),
    Column("content", Text, nullable=False),
    Column("issued_at", String(32), nullable=False),
)

twins = sa.Table(
    "twins",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset", String(64), nullable=False),
    Column("version", String(16), ForeignKey("versions.version"), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("label", Text, nullable=False),
    Column("made_at", String(32), nullable=False),
)

# Replicas that were proposed, each with what is known against it; and what output checkers said of them.
replicas = sa.Table(
    "replicas",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("dataset", String(64), nullable=False),
    Column("version", String(16), ForeignKey("versions.version"), nullable=False),
    Column("rows", Count, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("label", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("reason", Said, nullable=False),
    Column("person", String(64), nullable=False),
    Column("made_at", String(32), nullable=False),
)

replica_votes = sa.Table(
    "replica_votes",
    metadata,
    Column("replica", String(16), ForeignKey("replicas.id"), primary_key=True),
    Column("person", String(64), primary_key=True),
    Column("choice", String(16), nullable=False),
    Column("comment", Said, nullable=False),
    Column("at", String(32), nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("person", String(64), nullable=False),
    Column("state", String(24), nullable=False, index=True),
    Column("notebook", String(64), nullable=False),
    Column("name", Said),  # of the notebook, at the desk
    Column("parameters", Text, nullable=False),
    Column("plan", Text),
    Column("plan_digest", String(64)),
    Column("failure", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("diagnostics", Said),  # for the operator only
    Column("submitted_at", String(32), nullable=False),
)

# Who is at work on what: a rehearsal, a run or a release of a job, by one worker, until a moment (milliseconds, UTC).
leases = sa.Table(
    "leases",
    metadata,
    Column("job", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("worker", String(64), nullable=False, index=True),
    Column("token", String(32), nullable=False),
    Column("until", BigInteger, nullable=False),
)

# When each project was last served, by kind of work: whoever waits longest is next.
turns = sa.Table(
    "turns",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("at", BigInteger, nullable=False),
)

releases = sa.Table(
    "releases",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("job", String(16), ForeignKey("jobs.id"), nullable=False, unique=True),
    Column("project", String(64), nullable=False),
    Column("person", String(64), nullable=False),
    Column("state", String(24), nullable=False, index=True),
    Column("bundle", String(64)),
    Column("created_at", String(32), nullable=False),
)

# What the desk may see of a job, and from when on.
published = sa.Table(
    "published",
    metadata,
    Column("id", Count, primary_key=True),
    Column("job", String(16), ForeignKey("jobs.id"), nullable=False, index=True),
    Column("stage", String(24), nullable=False),
    Column("visible_from", Count, nullable=False),
)

# How a job's run on real rows ended (rules.told), and the first second at which a tick has passed since.
run_ends = sa.Table(
    "run_ends",
    metadata,
    Column("job", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("how", String(16), nullable=False),
    Column("told_from", BigInteger, nullable=False),
)

# Jobs whose notebook runs on blocks of people; from the confirmation on, when (rules.slots; seconds, UTC).
block_jobs = sa.Table(
    "block_jobs",
    metadata,
    Column("job", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("blocks", Integer, nullable=False),
    Column("begins", BigInteger),
    Column("seconds", Integer),
    Column("slots", Integer),
    Column("due", BigInteger),
)

# What a block handed out, as places on the grids of its plan; until the release is drawn.
block_claims = sa.Table(
    "block_claims",
    metadata,
    Column("job", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("block", Integer, primary_key=True, autoincrement=False),
    Column("places", Text, nullable=False),
)

# The ledger: see secure.ledger. Values and states never go back (triggers in the migrations).
ledger = sa.Table(
    "ledger",
    metadata,
    Column("id", Count, primary_key=True),
    Column("population", String(64), nullable=False, index=True),
    Column("project", String(64), index=True),
    Column("purpose", String(16), nullable=False),
    Column("request_digest", String(64), nullable=False, index=True),
    Column("dataset_version", String(16), nullable=False),
    Column("release", String(16), ForeignKey("releases.id")),
    Column("position", Integer, nullable=False),
    Column("rho_units", BigInteger, nullable=False),  # of pure epsilon in a population kept so
    Column("delta_units", BigInteger, nullable=False, server_default="0"),
    Column("state", String(16), nullable=False),
    Column("value", Text),
    Column("reserved_at", String(32), nullable=False),
    Column("spent_at", String(32)),
    Column("ended_at", String(32)),
    sa.CheckConstraint("rho_units > 0", name="positive"),
    sa.CheckConstraint("delta_units >= 0", name="no_negative_delta"),
)

outputs = sa.Table(
    "outputs",
    metadata,
    Column("release", String(16), ForeignKey("releases.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("context", Said, nullable=False),
    Column("sha256", String(64)),
    Column("findings", Text, nullable=False),
)

votes = sa.Table(
    "votes",
    metadata,
    Column("release", String(16), ForeignKey("releases.id"), primary_key=True),
    Column("person", String(64), primary_key=True),
    Column("decision", String(16), nullable=False),
    Column("comment", Said, nullable=False),
    Column("at", String(32), nullable=False),
)

# What checkers say of a request beside their votes.
remarks = sa.Table(
    "remarks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release", String(16), ForeignKey("releases.id"), nullable=False, index=True),
    Column("person", String(64), nullable=False),
    Column("audience", String(16), nullable=False),
    Column("text", Said, nullable=False),
    Column("at", String(32), nullable=False),
)

# Why a researcher wants an output to leave although a rule fails it.
exceptions = sa.Table(
    "exceptions",
    metadata,
    Column("release", String(16), ForeignKey("releases.id"), primary_key=True),
    Column("output", String(64), primary_key=True),
    Column("reason", Said, nullable=False),
    Column("at", String(32), nullable=False),
)

# Who wants a release revoked, and why.
revocations = sa.Table(
    "revocations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release", String(16), ForeignKey("releases.id"), nullable=False),
    Column("person", String(64), nullable=False),
    Column("reason", Said, nullable=False),
    Column("at", String(32), nullable=False),
    sa.UniqueConstraint("release", "person"),
)

# What people are told of requests that move (secure.notices). The identifier is random: one that counts up would tell its
# reader what happened between two of them.
notices = sa.Table(
    "notices",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("person", String(64), nullable=False, index=True),
    Column("told", String(24), nullable=False),
    Column("job", String(16), ForeignKey("jobs.id"), nullable=False),
    Column("release", String(16), ForeignKey("releases.id")),
    Column("exceptions", Integer, nullable=False),  # that were asked for
    Column("visible_from", BigInteger, nullable=False),
    Column("read_at", String(32)),
)

# The outbox: notices that are still to be sent by e-mail, from when on, and how often that was tried.
mails = sa.Table(
    "mails",
    metadata,
    Column("notice", String(16), ForeignKey("notices.id"), primary_key=True),
    Column("due", BigInteger, nullable=False, index=True),
    Column("tries", Integer, nullable=False),
)

# That this area was made of a backup: it charges nothing until somebody has answered for what it has forgotten.
restored = sa.Table(
    "restored",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("made", String(32), nullable=False),  # when the backup was
    Column("restored_at", String(32), nullable=False),
    Column("accepted_at", String(32)),
    Column("reason", Said),
)

audit = sa.Table(
    "audit",
    metadata,
    Column("seq", Count, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("person", String(64), nullable=False),
    Column("event", String(64), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

# Complete subtrees of the log's Merkle tree (see secure.tree): node `place` of `level`, over 2^level entries.
audit_nodes = sa.Table(
    "audit_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
)
