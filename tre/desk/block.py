"""Inside a block's sandbox: the notebook is on one block of people, and what it estimates is written down as a claim.

Guarantees: nothing. The notebook may write the file itself; the secure side reads numbers from it, or takes the default.
Releases and outputs of the notebook go on as in any run, and are asked of nobody.
"""

from __future__ import annotations

import json
from pathlib import Path

from tre.desk.workspace import Box, Proposed
from tre.statistics.blocks import Estimate
from tre.statistics.request import Request


class Block(Box):
    def __init__(self, data: Path, outbox: Path) -> None:
        super().__init__(data, outbox)
        self.claimed: dict[str, list[float]] = {}

    def emit_request(self, name: str, request: Request) -> None:
        pass

    def emit_output(self, proposed: Proposed) -> None:
        pass

    def emit_estimate(self, name: str, estimate: Estimate, claimed: list[float]) -> None:  # noqa: ARG002  # the plan has it
        self.claimed[name] = claimed
        part = self.outbox / "claims.part"
        part.write_text(json.dumps(self.claimed))
        part.replace(self.outbox / "claims.json")
