"""Reviewed outputs: what a run produced, written again by our own hand, with the rules' findings.

Guarantees: only outputs of the plan are taken, by their planned name and kind; a table is parsed and written again as
CSV, a figure decoded and encoded again as PNG without metadata, a text must be UTF-8; what does not parse is refused and
counts as missing. A declared table is computed by `judging`, whatever the run left. Stored by content hash, outside any
folder that a sandbox can reach.
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

from tre.errors import DataError, NotAllowed
from tre.messages import EmittedOutput, OutputKind, Plan, PlannedOutput
from tre.rules.canonical import canonical_json, digest_bytes
from tre.rules.disclosure.finding import Finding
from tre.rules.fitted import ModelSummary
from tre.rules.policy import Disclosure, Policies
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.database import tables
from tre.secure.jobs.leases import Hold
from tre.secure.jobs.runner import Ran
from tre.secure.release import executed, judging
from tre.secure.release.planning import need_allowed

MAX_PIXELS = 20_000_000
MAX_CELLS = 200_000


def collect(
    context: Context, registry: Registry, ran: Ran | None, release: str, plan: Plan, policies: Policies, *, hold: Hold
) -> None:
    """Store each planned output (or its absence) and its findings, and the executed notebook. Safe to call again.

    All of it takes effect in one transaction that `hold` is asked in: people may have approved what another worker left.
    """
    folder = context.area.folder("outputs")
    with context.database.read() as connection:
        infos = {
            name: registry.info(connection, policies, plan.project, name, version=version)
            for name, version in (plan.datasets if _allowed(connection, plan) else {}).items()
        }
        before = judging.released(connection, folder, list(plan.datasets))
    judged = judging.judge(
        plan.outputs, contents(ran, plan.outputs), infos, lambda name: registry.rows(name, plan.datasets[name]), before,
        thresholds(policies, plan.project),
    )  # fmt: skip
    rows = []
    for position, item in enumerate(plan.outputs):
        content, found = judged[item.name].content, judged[item.name].findings
        sha256 = None
        if content is not None:
            sha256 = digest_bytes(content)
            _keep(folder / sha256, content)
        rows.append(
            {
                "release": release, "name": item.name, "position": position, "kind": item.kind.value,
                "context": item.context, "sha256": sha256,
                "findings": json.dumps([f.model_dump(mode="json") for f in found]),
            }
        )  # fmt: skip
    with context.database.write() as connection:
        hold(connection)
        executed.keep(context, ran, release, plan)
        connection.execute(tables.outputs.delete().where(tables.outputs.c.release == release))
        if rows:
            connection.execute(tables.outputs.insert(), rows)


def _allowed(connection: sa.Connection, plan: Plan) -> bool:
    """Without it no row is read: declared tables are then missing."""
    try:
        need_allowed(connection, plan)
    except NotAllowed:
        return False
    return True


def _keep(place: Path, content: bytes) -> None:
    """Whole or not at all: another release may have the same output, and be read at this moment."""
    part = place.with_suffix(f".{secrets.token_hex(4)}.part")
    part.write_bytes(content)
    part.replace(place)


def stored(connection: sa.Connection, release: str) -> list[sa.Row[tuple[object, ...]]]:
    t = tables.outputs
    return list(connection.execute(sa.select(t).where(t.c.release == release).order_by(t.c.position)))


def content(context: Context, sha256: str) -> bytes:
    """The bytes of that hash. Raises DataError for a file that is another than when it was stored."""
    found = (context.area.folder("outputs") / sha256).read_bytes()
    if digest_bytes(found) != sha256:
        raise DataError("output_changed", "A stored output was changed.", "Restore the area's folder from a backup.")
    return found


def findings(row: sa.Row[Any]) -> tuple[Finding, ...]:
    """What was found about a stored output."""
    return tuple(Finding.model_validate(f) for f in json.loads(str(row.findings)))


def thresholds(policies: Policies, project: str) -> Disclosure:
    """The area's and the project's, the stricter of each."""
    return policies.area.disclosure.stricter(policies.projects[project].disclosure)


def contents(ran: Ran | None, items: Sequence[PlannedOutput]) -> dict[str, bytes | None]:
    """What a box left of each output that is no declared table, by name and kind, written anew; None where nothing is."""
    return {i.name: _content(ran, i) for i in items if i.declared is None}


def left(ran: Ran) -> dict[str, bytes | None]:
    """The same of a rehearsal, whose own list is the one that is planned by."""
    return {o.name: _content(ran, o) for o in (ran.emitted.outputs if ran.emitted else ()) if o.declared is None}


def _content(ran: Ran | None, item: PlannedOutput | EmittedOutput) -> bytes | None:
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
        case OutputKind.MODEL:
            return canonical_json(ModelSummary.model_validate_json(raw).model_dump(mode="json"))


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
