"""What a request has that the one before it had not: for checkers who have seen, and perhaps returned, the one before.

Which one that is: the newest request of the same project, for a notebook of the same name at the researcher's desk, that was
made no later than this one and is decided (`earlier`). A request without a name has none before it; one that was withdrawn, failed
or is under way is passed over.

Guarantees: a difference is told by names, of outputs, statistics, parameters and their parts, and by the lines of the submitted
notebooks, which were written before anything real was touched; no content of an output is in it. Comparing
sources takes bounded time, whatever they hold.
Not done here: who may see it (secure.release.earlier), making it harmless to show (the pages, the desk).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from enum import StrEnum
from typing import Any

from tre.rules.lifecycle import Release
from tre.rules.schema import Closed

# What both sides of a request have seen to its end.
DECIDED = frozenset((Release.RETURNED, Release.REJECTED, Release.RELEASED, Release.REVOKED))
# Lines, once what begins and ends alike is left out: beyond this the sources are told as different, without how.
MOST_LINES = 2_000
CONTEXT = 3


class Kind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Change(Closed):
    """One thing that is there, not there any more, or another; `parts`: what of it is another."""

    kind: Kind
    name: str
    parts: tuple[str, ...] = ()


class Changes(Closed):
    """Since the request `earlier`, which became `state`; `said`: what its researcher was told. `source`: a unified diff of
    the submitted notebooks, empty where they are the same, None where they are too long to compare."""

    earlier: str
    state: str
    submitted: str
    said: tuple[str, ...]
    source: str | None
    parameters: tuple[Change, ...]
    data: tuple[Change, ...]
    statistics: tuple[Change, ...]
    outputs: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, as far as it says which one was before which."""

    release: str
    project: str
    notebook: str | None
    at: str
    state: Release


def earlier(this: Asked, others: Iterable[Asked]) -> str | None:
    """The request that `this` is compared with; None where there is none."""
    if this.notebook is None:
        return None
    before = [
        o
        for o in others
        if o.release != this.release
        and (o.project, o.notebook) == (this.project, this.notebook)
        and o.at <= this.at
        and o.state in DECIDED
    ]
    return max(before, key=lambda o: (o.at, o.release)).release if before else None


def compare(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> tuple[Change, ...]:
    """Things by their names, each with its parts: in the later order, what is gone at the end."""
    found = []
    for name, parts in after.items():
        if name not in before:
            found.append(Change(kind=Kind.ADDED, name=name))
        elif parts != before[name]:
            keys = dict.fromkeys([*before[name], *parts])
            others = tuple(k for k in keys if before[name].get(k) != parts.get(k))
            found.append(Change(kind=Kind.CHANGED, name=name, parts=others))
    return (*found, *(Change(kind=Kind.REMOVED, name=name) for name in before if name not in after))


def source(before: str, after: str) -> str | None:
    """Lines of both, as `diff -u` tells them."""
    # Not by `splitlines`, which takes other characters for line ends too, and so as the same.
    old, new = before.split("\n"), after.split("\n")
    head = _alike(old, new)
    tail = _alike(old[head:][::-1], new[head:][::-1])
    first, last = max(0, head - CONTEXT), max(0, tail - CONTEXT)
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    if max(len(old), len(new)) > MOST_LINES:
        return None
    # The first two lines name files, of which there are none; places are of the part that is shown.
    lines = list(unified_diff(old, new, n=CONTEXT, lineterm=""))[2:]
    return "\n".join(_placed(line, first) if line.startswith("@@") else line for line in lines)


def _alike(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines from the first on are the same."""
    return next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def _placed(line: str, first: int) -> str:
    """A range line, moved by what was left out before it."""
    _, old, new, _ = line.split(" ")
    return f"@@ {_moved(old, first)} {_moved(new, first)} @@"


def _moved(place: str, first: int) -> str:
    start, comma, count = place[1:].partition(",")
    return f"{place[0]}{int(start) + first}{comma}{count}"
