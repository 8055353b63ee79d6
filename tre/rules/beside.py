"""The page of an executed notebook: what was submitted, cell by cell, and beside it what the run left behind.

Guarantees: the left side is the submitted bytes, named by their digest; the right side is shown as claims (`inert`), and a cell
whose source is not the submitted one at its place is told with a warning. That the sources agree proves nothing of the
outputs: the page says so at its top. What is too long is cut, and the cut is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tre.rules import notebook as notebooks
from tre.rules.inert import ADDED_BY_THE_RUN, Cell, Item, Named, Picture, Text
from tre.rules.page import Look, Markup, Tag, document, element, picture

MAX_TEXT = 20_000  # characters of one item
MAX_SHOWN = 2_000_000  # of the page
# Draws a picture anew as PNG, or None where it cannot or may not (any more).
Draw = Callable[[Picture], bytes | None]

UNTRUSTED = (
    "UNTRUSTED. This notebook was written by a process that shared its sandbox with the notebook's own code. Everything on the "
    "right, outputs, pictures, errors and sources, is a claim and can be forged, also where the sources agree. Nothing of it "
    "is rendered or can be released: decide on the outputs under review. Do not copy values from here."
)
DIFFERS = (
    "WARNING: the sources in the executed notebook are not those that were submitted. What was run is what was submitted; an "
    "executed notebook that says otherwise was forged or damaged."
)


class Match(StrEnum):
    """How one place of the executed notebook fits the submitted one."""

    SAME = "as submitted"
    ADDED = "not submitted: added by the run, by its tag"
    STRANGE = "NOT WHAT WAS SUBMITTED"
    MISSING = "MISSING from the executed notebook"

    @property
    def warns(self) -> bool:
        return self in (Match.STRANGE, Match.MISSING)


@dataclass(frozen=True)
class Pair:
    match: Match
    submitted: tuple[str, str] | None  # (kind, source)
    executed: Cell | None


def sources(notebook: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Kind and source of each cell of a checked, submitted notebook."""
    return [(c["cell_type"], notebooks.source(c)) for c in notebook["cells"]]


def compare(submitted: Sequence[tuple[str, str]], executed: Sequence[Cell]) -> list[Pair]:
    """Both in order; a submitted cell that comes later makes those skipped before it missing. Linear in their lengths."""
    places: dict[tuple[str, str], list[int]] = {}
    for i in reversed(range(len(submitted))):
        places.setdefault(submitted[i], []).append(i)
    pairs: list[Pair] = []
    at = 0
    for cell in executed:
        later = places.get((cell.kind, cell.source), [])
        while later and later[-1] < at:
            later.pop()
        if later:
            pairs += [Pair(Match.MISSING, s, None) for s in submitted[at : later[-1]]]
            at = later[-1] + 1
            pairs.append(Pair(Match.SAME, submitted[at - 1], cell))
        else:
            added = bool(cell.tags & ADDED_BY_THE_RUN)
            pairs.append(Pair(Match.ADDED if added else Match.STRANGE, None, cell))
    return pairs + [Pair(Match.MISSING, s, None) for s in submitted[at:]]


@dataclass
class _Left:
    """How much more a page may hold."""

    characters: int = MAX_SHOWN
    cut: int = field(default=0)

    def take(self, text: str) -> tuple[str, int]:
        """What of a text is shown, and how many characters are not."""
        shown = text[: min(MAX_TEXT, self.characters)]
        self.characters -= len(shown)
        return shown, len(text) - len(shown)


def page(
    *,
    title: str,
    facts: Mapping[str, str],
    submitted: Mapping[str, Any],
    executed: Sequence[Cell] | str,
    draw: Draw,
) -> str:
    """The whole page; `executed` is a sentence of ours where there is nothing that can be shown."""
    left = _Left()
    told = [element(Tag.PARAGRAPH, f"{name}: {value}") for name, value in facts.items()]
    head = [element(Tag.HEADING, title), element(Tag.PARAGRAPH, UNTRUSTED, look=Look.WARNING), *told]
    if isinstance(executed, str):
        head.append(element(Tag.PARAGRAPH, executed, look=Look.WARNING))
        pairs = [Pair(Match.SAME, s, None) for s in sources(submitted)]
    else:
        pairs = compare(sources(submitted), executed)
        if any(p.match.warns for p in pairs):
            head.append(element(Tag.PARAGRAPH, DIFFERS, look=Look.WARNING))
    return document(title, *head, *(_pair(p, i, left, draw) for i, p in enumerate(pairs, 1)))


def _pair(pair: Pair, number: int, left: _Left, draw: Draw) -> Markup:
    kind = pair.submitted[0] if pair.submitted else pair.executed.kind if pair.executed else ""
    heading = element(
        Tag.SUBHEADING, f"{number}. {kind} — {pair.match.value}" if pair.executed else f"{number}. {kind}"
    )
    mine = [element(Tag.LABEL, "Submitted")]
    mine += _verbatim(pair.submitted[1], left) if pair.submitted else [_note("Nothing was submitted here.")]
    theirs = [element(Tag.LABEL, "Left by the run: claims")]
    if pair.match.warns:
        theirs.append(element(Tag.PARAGRAPH, pair.match.value, look=Look.WARNING))
    if pair.executed is not None:
        if pair.match is not Match.SAME:
            theirs += [_note("source in the executed notebook"), *_verbatim(pair.executed.source, left)]
        for item in pair.executed.items:
            theirs += _item(item, left, draw)
    both = element(Tag.BLOCK, element(Tag.BLOCK, *mine), element(Tag.BLOCK, *theirs, look=Look.CLAIM), look=Look.PAIR)
    return element(Tag.SECTION, heading, both)


def _item(item: Item, left: _Left, draw: Draw) -> list[Markup]:
    match item:
        case Text(label, content):
            return [_note(label), *_verbatim(content, left)]
        case Picture(kind):
            drawn = draw(item)
            if drawn is None:
                return [_not_shown(kind.value, len(item.content), "it cannot be drawn, or there are too many")]
            return [_note("picture, drawn anew"), picture(drawn)]
        case Named(label, size, why):
            return [_not_shown(label, size, why)]


def _verbatim(text: str, left: _Left) -> list[Markup]:
    shown, cut = left.take(text)
    made = [element(Tag.VERBATIM, shown)]
    return [*made, _note(f"{cut:,} characters more are not shown")] if cut else made


def _note(text: str) -> Markup:
    return element(Tag.PARAGRAPH, text, look=Look.NOTE)


def _not_shown(label: str, size: int, why: str) -> Markup:
    return _note(f"not shown: {label[:80]} ({size:,} characters): {why}")
