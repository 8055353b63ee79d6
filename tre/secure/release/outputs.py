"""Reviewed outputs: what a run produced, written again by our own hand, with the rules' findings.

Guarantees: only outputs of the plan are taken, by their planned name and kind; a table is parsed and written again as
CSV, a figure decoded and encoded again as PNG without metadata, a text must be UTF-8; what does not parse is refused and
counts as missing. Stored by content hash, outside any folder that a sandbox can reach.
"""

from __future__ import annotations

import csv
import io
import json
import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tre.messages import OutputKind, Plan, PlannedOutput
from tre.rules.canonical import digest_bytes
from tre.rules.disclosure import claims
from tre.rules.disclosure.finding import Finding
from tre.rules.policy import Disclosure, Policies
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.jobs.leases import Hold
from tre.secure.jobs.runner import Ran
from tre.secure.release import executed

MAX_PIXELS = 20_000_000
MAX_CELLS = 200_000


def collect(context: Context, ran: Ran | None, release: str, plan: Plan, policies: Policies, *, hold: Hold) -> None:
    """Store each planned output (or its absence) and its findings, and the executed notebook. Safe to call again.

    All of it takes effect in one transaction that `hold` is asked in: people may have approved what another worker left.
    """
    rows = []
    for position, item in enumerate(plan.outputs):
        content = _content(ran, item)
        sha256 = None
        if content is not None:
            sha256 = digest_bytes(content)
            _keep(context.area.folder("outputs") / sha256, content)
        findings = judge(item.kind, content, thresholds(policies, plan.project), _identifiers(policies, plan.project))
        found = json.dumps([f.model_dump(mode="json") for f in findings])
        rows.append(
            {
                "release": release, "name": item.name, "position": position, "kind": item.kind.value,
                "context": item.context, "sha256": sha256, "findings": found,
            }
        )  # fmt: skip
    with context.database.write() as connection:
        hold(connection)
        executed.keep(context, ran, release, plan)
        connection.execute(tables.outputs.delete().where(tables.outputs.c.release == release))
        if rows:
            connection.execute(tables.outputs.insert(), rows)


def _keep(place: Path, content: bytes) -> None:
    """Whole or not at all: another release may have the same output, and be read at this moment."""
    part = place.with_suffix(f".{secrets.token_hex(4)}.part")
    part.write_bytes(content)
    part.replace(place)


def stored(connection: sa.Connection, release: str) -> list[sa.Row[tuple[object, ...]]]:
    t = tables.outputs
    return list(connection.execute(sa.select(t).where(t.c.release == release).order_by(t.c.position)))


def findings(row: sa.Row[Any]) -> tuple[Finding, ...]:
    """What was found about a stored output."""
    return tuple(Finding.model_validate(f) for f in json.loads(str(row.findings)))


def thresholds(policies: Policies, project: str) -> Disclosure:
    """The area's and the project's, the stricter of each."""
    return policies.area.disclosure.stricter(policies.projects[project].disclosure)


def _identifiers(policies: Policies, project: str) -> list[str]:
    return [policies.datasets[name].unit.field for name in policies.projects[project].datasets]


def _content(ran: Ran | None, item: PlannedOutput) -> bytes | None:
    """The output of that name and kind, rewritten; None when the run did not make it or it cannot be read."""
    if ran is None or ran.emitted is None:
        return None
    claimed = [o for o in ran.emitted.outputs if (o.name, o.kind) == (item.name, item.kind)]
    raw = ran.output(claimed[0]) if claimed else None
    try:
        return rewrite(item.kind, raw) if raw is not None else None
    except (ValueError, OSError, csv.Error, SyntaxError, Warning):
        return None


def rewrite(kind: OutputKind, raw: bytes) -> bytes:
    """`raw` parsed and written again. Raises ValueError, OSError or csv.Error for what is not of its kind."""
    match kind:
        case OutputKind.TABLE:
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="\n").writerows(_rows(raw))
            return buffer.getvalue().encode()
        case OutputKind.FIGURE:
            return _png(raw)
        case OutputKind.TEXT:
            return raw.decode("utf-8").encode()


def _rows(raw: bytes) -> list[list[str]]:
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8")), strict=True))
    if not rows or sum(len(r) for r in rows) > MAX_CELLS or any(len(r) != len(rows[0]) for r in rows):
        raise ValueError("not a table")
    return rows


def _png(raw: bytes) -> bytes:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a decompression bomb is only a warning to Pillow
        with Image.open(io.BytesIO(raw), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError("too large")
            clean = Image.new("RGB", image.size, "white")
            rgba = image.convert("RGBA")
            clean.paste(rgba, mask=rgba.getchannel("A"))  # what hides under transparency does not come along
    buffer = io.BytesIO()
    clean.save(buffer, format="PNG")
    return buffer.getvalue()


def judge(kind: OutputKind, content: bytes | None, limits: Disclosure, identifiers: Sequence[str]) -> list[Finding]:
    if content is None:
        return claims.missing()
    match kind:
        case OutputKind.TABLE:
            header, *rows = _rows(content)
            return claims.table(header, rows, limits=limits, identifiers=identifiers)
        case OutputKind.TEXT:
            return claims.text(content.decode(), limits=limits, identifiers=identifiers)
        case OutputKind.FIGURE:
            return claims.figure(None)
