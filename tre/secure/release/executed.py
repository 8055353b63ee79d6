"""The executed notebook of a release's run: kept for its output checkers, and made into a page that does nothing.

Guarantees: its bytes are read once, by the strict collector, when the run has ended, and are the same for both checkers; only a
plan that people decide has them kept; they are parsed by `rules.inert` as claims, their pictures decoded and encoded again
within a budget of pixels and bytes. Whatever they hold, a page comes of it: at worst one that says why nothing is shown.
Not done here: who may look, and when (`review`).
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from tre.errors import SandboxError
from tre.messages import Plan
from tre.rules import beside, inert
from tre.rules.canonical import digest_bytes
from tre.rules.inert import Picture
from tre.secure.context import Context
from tre.secure.jobs import collect
from tre.secure.jobs.runner import Ran

NAME = "executed.ipynb"  # as tre.desk.boxed writes it
# Of all pictures of one page: what is drawn for a checker takes seconds, not minutes, and a browser can hold it.
MAX_PIXELS, MAX_DRAWN = 60_000_000, 32 * 2**20


def keep(context: Context, ran: Ran | None, release: str, plan: Plan) -> None:
    """What a run left, or nothing in its place. Safe to call again: the last attempt's stands."""
    place = _place(context, release)
    content = None if ran is None or plan.automatic else _collected(ran)
    if content is None:
        place.unlink(missing_ok=True)
        return
    part = place.with_suffix(f".{secrets.token_hex(4)}.part")
    part.write_bytes(content)
    part.replace(place)


def kept(context: Context, release: str) -> bytes | None:
    try:
        return _place(context, release).read_bytes()
    except FileNotFoundError:
        return None


def page(release: str, submitted: bytes, content: bytes | None, facts: Mapping[str, str]) -> str:
    """The page for a checker. Blocks for as long as its pictures take."""
    told = {**facts, "submitted notebook, SHA-256": digest_bytes(submitted)}
    if content is not None:
        told["executed notebook as it was left, SHA-256"] = digest_bytes(content)
    return beside.page(
        title=f"Executed notebook of {release}",
        facts=told,
        submitted=json.loads(submitted),
        executed=_read(content),
        draw=_Drawer().draw,
    )


def _read(content: bytes | None) -> tuple[inert.Cell, ...] | str:
    if content is None:
        return (
            "The run left no executed notebook that can be read: none at all, no plain file, or one that is too large."
        )
    try:
        return inert.parse(content)
    except inert.Unreadable as error:
        return f"The executed notebook cannot be shown: {error}."


def _place(context: Context, release: str) -> Path:
    # With the outputs under review, which no sandbox can reach.
    return context.area.folder("outputs") / f"{release}.ipynb"


def _collected(ran: Ran) -> bytes | None:
    try:
        return collect.read(ran.outbox, NAME, max_bytes=inert.MAX_BYTES)
    except SandboxError:
        return None


class _Drawer:
    """Draws pictures until the page's budget is used up."""

    def __init__(self) -> None:
        self._pixels, self._drawn = MAX_PIXELS, MAX_DRAWN

    def draw(self, picture: Picture) -> bytes | None:
        if picture.pixels > self._pixels:
            return None
        self._pixels -= picture.pixels
        try:
            drawn = _png(picture)
        except Exception:  # Pillow's decoders raise what they like on bytes made to hurt them
            return None
        if len(drawn) > self._drawn:
            return None
        self._drawn -= len(drawn)
        return drawn


def _png(picture: Picture) -> bytes:
    """Decoded and encoded again: no metadata, no second frame, nothing that hides under transparency or after the end."""
    from PIL import Image

    with Image.open(io.BytesIO(picture.content), formats=(picture.kind.name,)) as image:
        # Pillow believes a second header, too. Nothing was decoded yet.
        if image.width * image.height != picture.pixels:
            raise ValueError("not the size that its header said")
        clean = Image.new("RGB", image.size, "white")
        rgba = image.convert("RGBA")
        clean.paste(rgba, mask=rgba.getchannel("A"))
    buffer = io.BytesIO()
    clean.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
