"""Templates made into pages: everything that a person or a notebook wrote becomes text.

Guarantees: every value is escaped, and its control, format and invisible characters are written out, whatever template
it stands in; a page holds no script, loads its own style sheet and pictures drawn by our own code, sends forms to this
host only, and stands in nobody's frame.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tre.messages import OutputKind, ReviewOutput
from tre.rules.disclosure.finding import Finding, Verdict
from tre.rules.text import visible

TEMPLATES = Path(__file__).with_name("templates")
STYLE = (TEMPLATES / "style.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-dns-prefetch-control": "off",
}
# In words, what stands beside a colour.
WORST = {Verdict.FAIL: "fails", Verdict.REVIEW: "needs eyes", Verdict.PASS: "passes"}


def _shown(value: Any) -> Any:
    """What a template prints: markup of our own as it is, any other text with nothing hidden in it."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_templates = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, finalize=_shown,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
_templates.globals.update(style=Markup(STYLE), said=WORST.__getitem__)  # noqa: S704  # our own file


def page(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The answer. Raises UndefinedError for a value that the template wants and is not given."""
    return HTMLResponse(_templates.get_template(template).render(values), status, HEADERS)


@dataclass(frozen=True)
class Cell:
    text: str
    verdict: Verdict | None  # of the worst finding about it that is no pass


@dataclass(frozen=True)
class Shown:
    """An output for a template: of a table its cells, of a figure its address, of anything else its text."""

    output: ReviewOutput
    header: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    picture: str = ""
    text: str = ""


def shown(output: ReviewOutput, content: bytes | None) -> Shown:
    """`content`: bytes that our own code wrote of this kind; None where there is none."""
    if content is None:
        return Shown(output)
    match output.kind:
        case OutputKind.TABLE:
            header, *rows = list(csv.reader(io.StringIO(content.decode())))
            marks = _marks(output.findings)
            cells = tuple(
                tuple(Cell(text, marks.get((r, c))) for c, text in enumerate(row)) for r, row in enumerate(rows)
            )
            return Shown(output, header=tuple(header), rows=cells)
        case OutputKind.FIGURE:
            return Shown(output, picture=f"data:image/png;base64,{base64.b64encode(content).decode()}")
        case OutputKind.MODEL:
            return Shown(output, text=json.dumps(json.loads(content), indent=2, ensure_ascii=False))
        case _:
            return Shown(output, text=content.decode())


def _marks(findings: tuple[Finding, ...]) -> dict[tuple[int, int], Verdict]:
    found: dict[tuple[int, int], Verdict] = {}
    for f in sorted((f for f in findings if f.verdict is not Verdict.PASS), key=lambda f: f.verdict.rank):
        found |= {(p.row, p.column): f.verdict for p in f.cells}  # the worst comes last
    return found
