"""SACRO's package at the desk: a checker's outputs written as one, and a notebook's ACRO session proposed as outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tre.desk.output import Output, output
from tre.errors import RequestError
from tre.messages import OutputKind, ReviewInfo
from tre.rules import sacro
from tre.rules.policy import Disclosure


def write(folder: Path, info: ReviewInfo, contents: Mapping[str, bytes], limits: Disclosure) -> Path:
    """The outputs under review as a package that SACRO-Viewer opens; returns its folder."""
    items = [
        sacro.Item(
            name=o.name, kind=o.kind.value, file=_file(o.name, o.kind), content=contents[o.name], context=o.context,
            command=f"tre.output({o.name!r}, …)", made=info.submitted, findings=o.findings,
        )
        for o in info.outputs
        if o.name in contents
    ]  # fmt: skip
    for path, content in sacro.package(items, limits).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


def _file(name: str, kind: OutputKind) -> str:
    return f"{name}.model.json" if kind is OutputKind.MODEL else f"{name}.{kind.suffix}"


def acro_outputs(folder: str | Path, *, context: str) -> list[Output]:
    """Propose what an ACRO session has finalised into `folder`: every file, with ACRO's word on it for the checkers.

    ACRO's word is a claim: the rules look at each file anew. Raises RequestError, as tre.output does.
    """
    folder = Path(folder)
    try:
        found = sacro.read((folder / sacro.RESULTS).read_bytes())
    except (OSError, ValueError):
        raise RequestError(
            "acro_missing", "The folder has no results.json of ACRO.", "Call acro.finalise(folder) before."
        ) from None
    made = []
    for name, claimed in found.items():
        for i, file in enumerate(claimed.files):
            label = re.sub(r"[^A-Za-z0-9_-]+", "-", name if i == 0 else f"{name}-{i}").strip("-_")[:63] or f"acro-{i}"
            words = " ".join((context.strip(), *(c.strip() for c in claimed.comments), claimed.said()))
            made.append(output(label, folder / file, context=words[:4_000]))
    return made
