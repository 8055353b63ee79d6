"""An executed notebook as what it claims to hold: texts, pictures, and the names of everything else.

The bytes were written by a process that shared its sandbox with a notebook on real rows: forgeable, and hostile to whoever
opens them. Guarantees: `parse` reads within limits of bytes, parts, cells and items, and either returns plain values or raises
Unreadable; nothing is interpreted: HTML, Markdown and LaTeX stay source text, a picture is bytes whose header says PNG or JPEG
of a sane size, SVG, scripts, widgets and every other kind are named with their size and not shown.
Not done here: drawing pictures anew (`secure.release.executed`), or making a page (`beside`, `page`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_BYTES = 16 * 2**20
# Brackets and commas: what JSON of a given size can become in memory is bounded by them.
MAX_PARTS = 1_000_000
MAX_CELLS = 1_000
MAX_ITEMS = 2_000
MAX_SIDE, MAX_PIXELS = 16_384, 20_000_000
# Deflate writes at most some 1,030 bytes for one, and a pixel has at least one bit.
_MOST_PIXELS_A_BYTE = 8 * 1_100

# papermill's own additions, by their tags. A tag is a claim as well: such a cell is shown as not submitted.
ADDED_BY_THE_RUN = frozenset({"injected-parameters", "papermill-error-cell-tag"})

_TEXTS = ("text/plain", "text/html", "text/markdown", "text/latex")
_PNG = b"\x89PNG\r\n\x1a\n"
# Colours and cursor movements; titles and links (OSC 8), up to their end on the same line.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)")


class Unreadable(ValueError):
    """Not a notebook that can be shown; the text says why in words of ours."""


class Raster(StrEnum):
    PNG = "image/png"
    JPEG = "image/jpeg"


@dataclass(frozen=True)
class Text:
    label: str
    content: str


@dataclass(frozen=True)
class Picture:
    kind: Raster
    content: bytes
    pixels: int


@dataclass(frozen=True)
class Named:
    """Something that is there and not shown."""

    label: str
    size: int
    why: str


Item = Text | Picture | Named


@dataclass(frozen=True)
class Cell:
    kind: str
    source: str
    tags: frozenset[str]
    items: tuple[Item, ...]


def parse(content: bytes) -> tuple[Cell, ...]:
    """The cells of an executed notebook. Raises Unreadable."""
    if len(content) > MAX_BYTES:
        raise Unreadable(f"it has more than {MAX_BYTES >> 20} MiB")
    if sum(content.count(mark) for mark in (b",", b"[", b"{")) > MAX_PARTS:
        raise Unreadable("it has too many parts")
    try:
        notebook = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Unreadable("it is not JSON in UTF-8") from None
    found = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(found, list):
        raise Unreadable("it is not a notebook")
    if len(found) > MAX_CELLS:
        raise Unreadable(f"it has more than {MAX_CELLS} cells")
    try:
        cells = tuple(_cell(c) for c in found)
    except RecursionError:  # read as deep as it could be, and too deep to be measured
        raise Unreadable("it is nested too deeply") from None
    if sum(len(c.items) for c in cells) > MAX_ITEMS:
        raise Unreadable(f"it has more than {MAX_ITEMS} outputs")
    return cells


def plain(text: str) -> str:
    """A terminal's text without what acts on a terminal."""
    return _ANSI.sub("", text)


def raster(kind: Raster, content: bytes) -> int | None:
    """How many pixels a picture of that kind says it has; None for what is no such picture, or of no sane size."""
    size = _png_size(content) if kind is Raster.PNG else _jpeg_size(content)
    if size is None or not all(0 < side <= MAX_SIDE for side in size):
        return None
    pixels = size[0] * size[1]
    if pixels > MAX_PIXELS or (kind is Raster.PNG and pixels > len(content) * _MOST_PIXELS_A_BYTE):
        return None
    return pixels


def _png_size(content: bytes) -> tuple[int, int] | None:
    if len(content) < 33 or content[:8] != _PNG or content[8:16] != b"\0\0\0\rIHDR":
        return None
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """From the frame header, found by walking from segment to segment."""
    if content[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        (length,) = struct.unpack(">H", content[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        if length < 2 or marker in (0xD8, 0xD9, 0xDA):
            return None
        at += 2 + length
    return None


def _cell(cell: Any) -> Cell:
    if not isinstance(cell, dict):
        raise Unreadable("a cell is malformed")
    kind = cell.get("cell_type")
    source = _joined(cell.get("source", ""))
    if kind not in ("code", "markdown", "raw") or source is None:
        raise Unreadable("a cell is malformed")
    items = [*_outputs(cell.get("outputs", []) if kind == "code" else []), *_attachments(cell.get("attachments"))]
    return Cell(kind, source, _tags(cell.get("metadata")), tuple(items))


def _tags(metadata: Any) -> frozenset[str]:
    found = metadata.get("tags") if isinstance(metadata, dict) else None
    return frozenset(t for t in found if isinstance(t, str)) if isinstance(found, list) else frozenset()


def _joined(text: Any) -> str | None:
    """nbformat writes a text as one string or as a list of lines."""
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        return "".join(text)
    return text if isinstance(text, str) else None


def _attachments(found: Any) -> Iterator[Item]:
    if isinstance(found, dict) and found:
        yield Named("attachments", _size(found), f"{len(found)} files inside a cell")


def _outputs(found: Any) -> Iterator[Item]:
    if not isinstance(found, list):
        raise Unreadable("a cell's outputs are malformed")
    for output in found:
        if not isinstance(output, dict):
            raise Unreadable("an output is malformed")
        match output.get("output_type"):
            case "stream":
                name = output.get("name")
                label = name if name in ("stdout", "stderr") else "stream"
                yield _text(label, output.get("text"))
            case "error":
                yield _text("error", _error(output))
            case "display_data" | "execute_result":
                yield from _bundle(output.get("data"))
            case _:
                yield Named("output of an unknown type", _size(output), "only known types are shown")


def _error(output: Mapping[str, Any]) -> str | None:
    lines = output.get("traceback") or [output.get("ename"), output.get("evalue")]
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return None
    return "\n".join(lines)


def _bundle(data: Any) -> Iterator[Item]:
    """All representations of one output, each for itself: any of them may say something else than the others."""
    if not isinstance(data, dict):
        raise Unreadable("an output is malformed")
    for kind, value in data.items():
        if kind in _TEXTS:
            label = "text" if kind == "text/plain" else f"{kind}: its source, not rendered"
            yield _text(label, value)
        elif kind in set(Raster):
            yield _picture(Raster(kind), value)
        else:
            yield Named(kind, _size(value), "this kind is never shown")


def _text(label: str, value: Any) -> Item:
    text = _joined(value)
    return Named(label, _size(value), "it is malformed") if text is None else Text(label, plain(text))


def _picture(kind: Raster, value: Any) -> Item:
    text = _joined(value)
    try:
        content = base64.b64decode("".join((text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    pixels = raster(kind, content)
    if pixels is None:
        return Named(kind, _size(value), "it is no such picture, or of no sane size")
    return Picture(kind, content, pixels)


def _size(value: Any) -> int:
    """About how long it is, without writing it out where it is a text."""
    text = _joined(value)
    return len(text) if text is not None else len(json.dumps(value))
