"""Text from people, as it may be shown to others: nothing in it acts on a terminal or hides what stands beside it."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """`text` with every control and format character but line ends and tabs written out as its code."""
    return "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp") and c not in "\n\t" else c
        for c in text
    )


def writable(text: str) -> bool:
    """Whether every store and every file takes it: UTF-8 has no lone surrogates, and PostgreSQL and SQL text no NUL."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
