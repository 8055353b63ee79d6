"""Text from people, as it may be shown to others: nothing in it acts on a terminal or hides what stands beside it."""

from __future__ import annotations

import unicodedata

# Characters that are drawn as nothing, or as an empty place, though Unicode calls them letters, marks or symbols.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)


def visible(text: str) -> str:
    """`text` with every control, format and invisible character but line ends and tabs written out as its code."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(c):04x}" if _hidden(c) and c not in "\n\t" else c for c in text)


def _hidden(c: str) -> bool:
    return c in _BLANK or unicodedata.category(c) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")


def writable(text: str) -> bool:
    """Whether every store and every file takes it: UTF-8 has no lone surrogates, and PostgreSQL and SQL text no NUL."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
