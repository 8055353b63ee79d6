"""What every part of the secure side is given: the area's folder, its database, the clock. Made once, in services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from tre.secure.database import Database
from tre.secure.settings import AreaFolder


@dataclass(frozen=True, kw_only=True)
class Context:
    area: AreaFolder
    database: Database
    clock: Callable[[], datetime]

    def now(self) -> str:
        """UTC, to the second, ISO 8601."""
        return self.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def today(self) -> date:
        return self.clock().astimezone(UTC).date()

    def seconds(self) -> float:
        return self.clock().timestamp()
