"""Whether SACRO-Viewer's own loading code opens the package that `tre review --sacro` writes. Not a figure, but a peer's word.

The viewer is no package of an index: the environment variable SACRO_VIEWER names a checkout of AI-SDC/SACRO-Viewer. Without it
the subject is left out, with one line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from rich.console import Console

from bench import peers
from bench.measure import say
from tests.rules.test_sacro import ITEMS
from tre.rules.policy import Disclosure
from tre.rules.sacro import package


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:  # noqa: ARG001  # nothing here is by chance
    viewer = os.environ.get("SACRO_VIEWER")
    if not viewer:
        say("sacro is left out: SACRO_VIEWER names no checkout of AI-SDC/SACRO-Viewer")
        return
    for path, content in package(ITEMS, Disclosure()).items():
        (folder / "package" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "package" / path).write_bytes(content)
    found = peers.run("sacro_viewer", {"viewer": viewer, "folder": str(folder / "package")}, folder)
    Console().print_json(json.dumps(found))
    assert found["outputs"] == [i.name for i in ITEMS]
    assert all(found["checksums"])
    results.mkdir(parents=True, exist_ok=True)
    (results / "sacro.json").write_text(json.dumps(found, indent=2))
