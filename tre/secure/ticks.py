"""Ticks: the moments at which a desk may see what follows from work on real rows. One place for their arithmetic."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import sqlalchemy as sa

from tre.secure import policies as policy_files
from tre.secure.context import Context


def following(context: Context, connection: sa.Connection) -> int:
    """The next tick by the policies in force, in seconds since 1970: after now, and no closer to the work's own time."""
    tick = policy_files.current(connection).area.tick_seconds
    return (math.floor(context.seconds() / tick) + 1) * tick


def stamp(seconds: int) -> str:
    """As everything is dated: UTC, to the second, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(context: Context, connection: sa.Connection) -> str:
    """The next tick, dated."""
    return stamp(following(context, connection))
