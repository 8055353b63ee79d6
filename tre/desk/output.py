"""`tre.output`: propose something without noise for release; two people will decide.

Guarantees: only three kinds of bytes are ever handed out: CSV, PNG, plain text, in files that this code names. What a
frame or figure carries beside that (attributes, metadata, scripts) stays behind. The secure side writes them again.
"""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import Any

import pandas as pd

from tre.desk.workspace import current
from tre.errors import RequestError
from tre.messages import OutputKind


class Output:
    """What the notebook shows of a proposed output: which world it is from, and the thing itself."""

    def __init__(self, name: str, kind: OutputKind, content: bytes, badge: str) -> None:
        self.name, self.kind, self.content, self.badge = name, kind, content, badge

    def __repr__(self) -> str:
        return f"[{self.badge}] output {self.name!r} ({self.kind.value}, {len(self.content)} bytes)"

    def _repr_html_(self) -> str:
        import base64

        head = f"<b>{html.escape(self.name)}</b> <small>{html.escape(self.badge)}</small><br>"
        match self.kind:
            case OutputKind.TABLE:
                return head + str(pd.read_csv(io.BytesIO(self.content)).to_html(index=False, border=0))
            case OutputKind.FIGURE:
                return head + f'<img src="data:image/png;base64,{base64.b64encode(self.content).decode()}">'
            case OutputKind.TEXT:
                return head + f"<pre>{html.escape(self.content.decode('utf-8', 'replace'))}</pre>"


def output(name: str, thing: Any, *, context: str) -> Output:
    """Propose `thing` (a pandas or Polars table, a matplotlib figure, a text, or a path to .csv, .png or .txt).

    `context` tells the output checkers what it shows. Raises RequestError for anything else, or without context.
    """
    from tre.desk.dataset import _checked

    _checked(name)
    if not isinstance(context, str) or not context.strip():
        raise RequestError("context_missing", "An output needs a context.", 'Say what it shows: context="…".')
    kind, content = _bytes(thing)
    workspace = current()
    workspace.emit_output(name, kind, context.strip(), content)
    released = workspace.released_output(name)
    # The same name is not enough: another notebook's output may be called so. What it shows must be said in the same words.
    if released is not None and (released[0].kind, released[0].context) == (kind, context.strip()):
        item, bundle = released
        known = "RELEASED" if bundle.key_known else "UNVERIFIED, signed with a key that this desk does not know"
        badge = f"{known}: in {bundle.release}, made by that release's notebook, approved by two output checkers, without noise"
        return Output(name, kind, (bundle.folder / item.file).read_bytes(), badge)
    if workspace.world.real:
        return Output(name, kind, content, "INSIDE: proposed for release, not yet decided")
    return Output(name, kind, content, "SYNTHETIC: this is what the twin gives")


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
    figure = getattr(thing, "figure", thing)
    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
        return OutputKind.FIGURE, buffer.getvalue()
    raise RequestError(
        "output_kind",
        f"A {type(thing).__name__} cannot be an output.",
        "Give a pandas or Polars table, a matplotlib figure, a text, or a path to a .csv, .png or .txt file.",
    )


_READERS = {".csv": OutputKind.TABLE, ".png": OutputKind.FIGURE, ".txt": OutputKind.TEXT}


def _file(path: Path) -> tuple[OutputKind, bytes]:
    if path.suffix not in _READERS:
        raise RequestError("output_kind", "An output file is .csv, .png or .txt.", "Write it in one of these.")
    try:
        return _READERS[path.suffix], path.read_bytes()
    except OSError:
        raise RequestError(
            "output_missing", "The output's file cannot be read.", "Write it before this call."
        ) from None
