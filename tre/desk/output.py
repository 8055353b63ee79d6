"""`tre.output`: propose something without noise for release; two people will decide.

Guarantees: only four kinds of bytes are ever handed out: CSV, PNG, plain text and a model's summary, in files that this
code names. What a frame or figure carries beside that (attributes, metadata, scripts) stays behind. Of a declared table
the statement is handed out, and trusted code computes it. What a file is, its first bytes say and not its name.
On the twin, identifiers, lists of rows and what is too large are refused at once; the rules' other findings are shown.
The secure side writes everything again and asks the rules again, on the real rows.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tre.desk.declared import Table, findings_html
from tre.desk.fitted import is_fitted, summary
from tre.desk.workspace import Proposed, Workspace, current
from tre.errors import RequestError
from tre.messages import DatasetInfo, OutputKind
from tre.rules.disclosure import claims
from tre.rules.disclosure.finding import Finding, Verdict, refused, worst
from tre.rules.fitted import ModelSummary
from tre.rules.policy import Disclosure

MAX_BYTES = 20 * 2**20


class Output:
    """What the notebook shows of a proposed output: which world it is from, the thing itself, and what the rules found."""

    def __init__(
        self, name: str, kind: OutputKind, content: bytes, badge: str, findings: Sequence[Finding] = ()
    ) -> None:
        self.name, self.kind, self.content, self.badge = name, kind, content, badge
        self.findings = tuple(findings)

    @property
    def verdict(self) -> Verdict:
        """The machine's, on the rows of this world."""
        return worst(self.findings)

    def __repr__(self) -> str:
        bad = [f for f in self.findings if f.verdict is not Verdict.PASS]
        said = "".join(f"\n  {f.verdict.value} {f.rule.value}: {f.message}" for f in bad)
        return f"[{self.badge}] output {self.name!r} ({self.kind.value}, {len(self.content)} bytes){said}"

    def _repr_html_(self) -> str:
        import base64

        head = f"<b>{html.escape(self.name)}</b> <small>{html.escape(self.badge)}</small><br>"
        tail = findings_html(self.findings)
        match self.kind:
            case OutputKind.TABLE:
                return head + str(pd.read_csv(io.BytesIO(self.content)).to_html(index=False, border=0)) + tail
            case OutputKind.FIGURE:
                return head + f'<img src="data:image/png;base64,{base64.b64encode(self.content).decode()}">' + tail
            case OutputKind.TEXT | OutputKind.MODEL:
                return head + f"<pre>{html.escape(self.content.decode('utf-8', 'replace'))}</pre>" + tail


def output(name: str, thing: Any, *, context: str, data: str | None = None) -> Output:
    """Propose `thing`: a declared table (`dataset.group_by(…).table(…)`, which trusted code computes and checks), a pandas or
    Polars table, a matplotlib figure, a fitted statsmodels model, a text, or a path to a .csv, .png or .txt file.

    `context` tells the output checkers who is in it, what it shows and what it is for. `data` names the output of this
    notebook that holds the numbers behind a figure. Raises RequestError for anything else, without context, and on the
    twin for identifiers, for lists of rows and for what is too large.
    """
    from tre.desk.dataset import _checked

    _checked(name)
    if not isinstance(context, str) or not context.strip():
        raise RequestError("context_missing", "An output needs a context.", 'Say what it shows: context="…".')
    workspace = current()
    statement = thing.statement if isinstance(thing, Table) else None
    kind, content = (OutputKind.TABLE, thing.content) if isinstance(thing, Table) else _bytes(thing)
    if len(content) > MAX_BYTES:
        raise RequestError("output_too_large", "An output may have 20 MB.", "Propose less.")
    said = context.strip()
    found = [claims.context(said, name), *_findings(workspace, kind, content, thing, data)]
    why = None if workspace.world.real else refused(found)
    if why is not None:
        raise RequestError(*why)
    workspace.emit_output(
        Proposed(
            name=name, kind=kind, context=said, content=content, declared=statement,
            data=None if data is None else _checked(data),
        )
    )  # fmt: skip
    released = workspace.released_output(name)
    # The same name is not enough: another notebook's output may be called so. What it shows must be said in the same words.
    if released is not None and (released[0].kind, released[0].context) == (kind, said):
        item, bundle = released
        known = "RELEASED" if bundle.key_known else "UNVERIFIED, signed with a key that this desk does not know"
        badge = f"{known}: in {bundle.release}, made by that release's notebook, approved by two output checkers, without noise"
        return Output(name, kind, (bundle.folder / item.file).read_bytes(), badge)
    if workspace.world.real:
        return Output(name, kind, content, "INSIDE: proposed for release, not yet decided", found)
    return Output(name, kind, content, "SYNTHETIC: this is what the twin gives", found)


def _findings(
    workspace: Workspace, kind: OutputKind, content: bytes, thing: Any, data: str | None
) -> Sequence[Finding]:
    if isinstance(thing, Table):
        return thing.findings
    infos = workspace.known()
    limits = strictest(infos)
    identifiers = [i.table.unit.field for i in infos]
    fields = [f.name for i in infos for f in i.table.fields]
    match kind:
        case OutputKind.TABLE:
            header, *rows = list(csv.reader(io.StringIO(content.decode()))) or [[]]
            return claims.table(header, rows, limits=limits, identifiers=identifiers, fields=fields)
        case OutputKind.TEXT:
            return claims.text(content.decode(), limits=limits, identifiers=identifiers)
        case OutputKind.FIGURE:
            return claims.figure(data)
        case OutputKind.MODEL:
            return claims.model(**ModelSummary.model_validate_json(content).facts, limits=limits)


def strictest(infos: Sequence[DatasetInfo]) -> Disclosure:
    """Of all datasets at once: which of them a frame is made of is not known."""
    limits = infos[0].disclosure if infos else Disclosure()
    for info in infos[1:]:
        limits = limits.stricter(info.disclosure)
    return limits


def _bytes(thing: Any) -> tuple[OutputKind, bytes]:
    if isinstance(thing, Path) or (isinstance(thing, str) and "\n" not in thing and Path(thing).suffix in _READERS):
        return _file(Path(thing))
    if isinstance(thing, str):
        return OutputKind.TEXT, thing.encode()
    if isinstance(thing, pd.Series):
        thing = thing.to_frame()
    if isinstance(thing, pd.DataFrame):
        index = not (isinstance(thing.index, pd.RangeIndex))
        return OutputKind.TABLE, thing.to_csv(index=index, lineterminator="\n").encode()
    if hasattr(thing, "write_csv"):  # Polars, without importing it
        return OutputKind.TABLE, thing.write_csv().encode()
    if is_fitted(thing):
        return OutputKind.MODEL, summary(thing).model_dump_json().encode()
    figure = getattr(thing, "figure", thing)
    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
        return OutputKind.FIGURE, buffer.getvalue()
    raise RequestError(
        "output_kind",
        f"A {type(thing).__name__} cannot be an output.",
        "Give a table of a dataset, a pandas or Polars table, a matplotlib figure, a fitted statsmodels model, a text, or a "
        "path to a .csv, .png or .txt file.",
    )


_READERS = {".csv": OutputKind.TABLE, ".png": OutputKind.FIGURE, ".txt": OutputKind.TEXT}
_PNG = b"\x89PNG\r\n\x1a\n"


def _file(path: Path) -> tuple[OutputKind, bytes]:
    if path.suffix not in _READERS:
        raise RequestError("output_kind", "An output file is .csv, .png or .txt.", "Write it in one of these.")
    try:
        content = path.read_bytes()
    except OSError:
        raise RequestError(
            "output_missing", "The output's file cannot be read.", "Write it before this call."
        ) from None
    kind = _READERS[path.suffix]
    if content.startswith(_PNG) != (kind is OutputKind.FIGURE) or (
        kind is not OutputKind.FIGURE and not _plain(content)
    ):
        raise RequestError(
            "output_kind",
            "The file is not what its name says.",
            "Write it anew: .csv and .txt hold UTF-8, .png a picture.",
        )
    return kind, content


def _plain(content: bytes) -> bool:
    try:
        return not any(c < " " and c not in "\t\n\r" for c in content.decode())
    except UnicodeDecodeError:
        return False
