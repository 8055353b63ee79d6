"""The demonstration's policies for places where nothing can isolate a notebook (Binder): they say so themselves.

Guarantees: only what the demonstration's data allow, which anybody may read anyway: these are marked public, no others are, and isolation
is `none`, so that each answer, command and receipt tells it, and an area with any other data is refused.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

# Whose rows stand in this repository. Another's policy beside theirs stays as it is, and no such area is then made of them.
PUBLIC = ("hie", "hie-people")
TITLE = "Public demonstration: there is no wall here"
# One visitor and one or two gigabytes: a sandbox at a time, none kept warm.
SMALL: dict[str, Any] = {
    "title": TITLE,
    "sandbox": {"isolation": "none", "wall_seconds": 300, "cpu_seconds": 600, "memory_mb": 1024, "outbox_mb": 16},
    "queue": {"rehearsals": 1, "runs": 1, "warm": False},
    "blocks": {"lanes": 1, "seconds": 10, "memory_mb": 1024, "twin": 4},
}


def policies(source: Path, folder: Path) -> Path:
    """Written into a new folder within `folder`, which is returned."""
    made = folder / "policies"
    shutil.copytree(source, made)
    _change(made / "area.yaml", SMALL)
    for dataset in PUBLIC:
        _change(made / "datasets" / f"{dataset}.yaml", {"public": True})
    return made


def _change(file: Path, keys: dict[str, Any]) -> None:
    content = yaml.safe_load(file.read_text("utf-8")) | keys
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
