"""A table given as text, read as a person would: which columns are keys, which hold counts, what is a total.

Guarantees: nothing is decided here, and nothing fails on any text. Reading is by names and shapes, so it can be wrong:
the rules that use it say REVIEW or FAIL, and every such table is marked as not checked by machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

COUNT = re.compile(
    r"(^|_)(n|n_\w+|num|number|no|nobs|obs|observations|count|counts|size|freq|frequency|frequencies|rows|people|persons|patients|participants|cases|cell_count|total_n|count_\w+)($|_)"
)
SHARE = re.compile(r"(^|_)(share|shares|proportion|prop|pct|percent|percentage|rate|fraction|prevalence)($|_)|%")
EXTREME = re.compile(
    r"(^|_)(min|max|minimum|maximum|first|last|lowest|highest|smallest|largest|top|oldest|youngest)($|_)"
)
QUANTILE = re.compile(r"(^|_)(median|quantile|percentile|quartile|iqr|p\d{1,2}|q[1-3])($|_)|^\d{1,2}(\.\d+)?%$")
TOTAL = re.compile(r"^\s*(total|all|overall|sum|together|both|any)\s*$", re.I)
GONE = re.compile(r"^\s*(\*+|-+|–|—|x|c|na|n/a|nan|redacted|\[redacted\]|suppressed|\[suppressed\]|\(suppressed\)|<\s*\d+|≤\s*\d+)\s*$", re.I)  # fmt: skip
_NUMBER = re.compile(r"^\s*[-+]?(\d[\d,]*)?(\.\d*)?([eE][-+]?\d+)?\s*%?\s*$")
_PERSONAL = re.compile(
    r"^([0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9a-fA-F]{16,}|\d{3}[ -]\d{3}[ -]\d{4}|\d{3}-\d{2}-\d{4}|[^@\s]+@[^@\s]+\.\w+|[A-Z]{2}\s?\d{2}\s?\d{2}\s?\d{2}\s?[A-D]|(?:pt|pat|p|person|subj|id)[-_ ]?\d{3,})$",
    re.I,
)


@dataclass(frozen=True)
class Sheet:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The header as it is matched: small letters, words by underscores."""
        return tuple(
            re.sub(r"[^\w%]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", h.strip())).strip("_").lower()
            for h in self.header
        )

    @cached_property
    def key(self) -> int | None:
        """How many of the first columns name each row once; None when all of them together do not. 0: a single row."""
        if len(self.rows) < 2:
            words = [
                not any(self.number(r, c) is not None for r in range(len(self.rows))) for c in range(len(self.header))
            ]
            return words.index(False) if False in words else len(words)
        return None if self.unique is None else self._wider(self.unique)

    @cached_property
    def unique(self) -> int | None:
        """The fewest of the first columns that name each row once."""
        for n in range(1, len(self.header) + 1):
            if len({row[:n] for row in self.rows}) == len(self.rows):
                return n
        return None

    def _wider(self, n: int) -> int:
        """Columns of words that follow the keys describe them, and are no numbers."""
        while n < len(self.header) and not any(self.number(r, n) is not None for r in range(len(self.rows))):
            if any(GONE.match(row[n]) or not row[n].strip() for row in self.rows):
                break
            n += 1
        return n

    @cached_property
    def numbered(self) -> bool:
        """Whether the first column only numbers the rows: a frame's index, or a counter."""
        first = [self.number(r, 0) for r in range(len(self.rows))] if self.header else []
        whole = len(first) > 1 and all(v is not None and v == int(v) for v in first)
        counter = first == [float(i) for i in range(len(first))] or first == [float(i + 1) for i in range(len(first))]
        return whole and self.unique == 1 and (not self.header[0].strip() or counter)

    @property
    def values(self) -> range:
        """The columns that are not keys."""
        return range(min(self.key if self.key is not None else 0, len(self.header)), len(self.header))

    def keys(self, row: int) -> tuple[str, ...]:
        return self.rows[row][: self.values.start]

    def number(self, row: int, column: int) -> float | None:
        text = self.rows[row][column].strip()
        if not text or not _NUMBER.match(text) or not any(c.isdigit() for c in text):
            return None
        try:
            found = float(text.rstrip("%").replace(",", ""))
        except ValueError:
            return None
        return found if math.isfinite(found) else None

    def numbers(self, column: int) -> Iterator[tuple[int, float]]:
        for r in range(len(self.rows)):
            value = self.number(r, column)
            if value is not None:
                yield r, value

    def whole(self, column: int) -> Iterator[tuple[int, int]]:
        """The whole numbers: of a column of counts also those that are written with a point (as pandas does beside gaps)."""
        if not COUNT.search(self.names[column]) and self.is_fraction(column):
            return
        for r, value in self.numbers(column):
            if value == int(value):
                yield r, int(value)

    def is_fraction(self, column: int) -> bool:
        return any("." in self.rows[r][column] or "e" in self.rows[r][column].lower() for r, _ in self.numbers(column))

    @property
    def has_fractions(self) -> bool:
        return any(self.is_fraction(c) for c in self.values)

    def named(self, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """The numbers under a column, or beside a key, that is named so."""
        for c in self.values:
            for r, _ in self.numbers(c):
                words = (self.names[c], *(_word(k) for k in self.keys(r)))
                if any(pattern.search(w) for w in words):
                    yield r, c

    def looks_personal(self, column: int) -> bool:
        found = [row[column].strip() for row in self.rows if row[column].strip()]
        return len(found) > 1 and sum(bool(_PERSONAL.match(v)) for v in found) * 2 > len(found)

    def parts(self, column: int) -> Iterator[tuple[int, list[int], list[int]]]:
        """(a total's row, the rows shown of it, the rows left out of it), along each key; only where it is of a count."""
        for axis in range(self.values.start):
            lines: dict[tuple[str, ...], list[int]] = {}
            for r, row in enumerate(self.rows):
                lines.setdefault((*row[:axis], *row[axis + 1 : self.values.start]), []).append(r)
            for line in lines.values():
                totals = [r for r in line if TOTAL.match(self.rows[r][axis])]
                parts = [r for r in line if r not in totals]
                if len(totals) == 1 and self.number(totals[0], column) is not None:
                    gone = [r for r in parts if self.number(r, column) is None]
                    shown = [r for r in parts if r not in gone]
                    if gone and sum(self.number(r, column) or 0 for r in shown) <= (
                        self.number(totals[0], column) or 0
                    ):
                        yield totals[0], shown, gone

    def counts(self) -> dict[tuple[tuple[str, ...], str], int]:
        """By keys and column."""
        return {
            (self.keys(r), self.names[c]): n
            for c in self.values
            if COUNT.search(self.names[c])
            for r, n in self.whole(c)
        }


def _word(key: str) -> str:
    return re.sub(r"[^\w%]+", "_", key.strip()).lower()


def read(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Sheet:
    """Rows are as long as the header."""
    width = len(header)
    return Sheet(tuple(header), tuple(tuple(row[:width]) + ("",) * (width - len(row)) for row in rows))
