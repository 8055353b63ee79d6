"""Made-up text for a twin: the word "text", or something that matches a declared pattern.

Guarantees: a result matches its pattern in full, or PolicyError is raised: it is tested before it is given away.
Covered: what codes are made of (literals, character classes, repeats, groups, alternatives). Look-around, back-references
and the like are not, nor are they at ingest. The parser is Python's own, whose tree is not a public interface: hence the test.
"""

from __future__ import annotations

import re
import string
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np

from tre.errors import PolicyError

_ANY = string.ascii_letters + string.digits
_CLASSES = {"category_digit": string.digits, "category_word": _ANY + "_", "category_space": " "}
_REPEATS_AT_MOST = 8


def text_like(pattern: str | None, rng: np.random.Generator) -> str:
    """A text that matches `pattern`; "text" without one."""
    if pattern is None:
        return "text"
    try:
        text = _items(_parser.parse(pattern), rng)
    except (NotImplementedError, ValueError):
        text = None
    if text is None or not re.fullmatch(pattern, text):
        raise PolicyError(
            "twin_impossible",
            "No text for a twin can be made from a field's pattern.",
            "Use a simpler pattern, or an enum.",
        )
    return text


def _items(items: Any, rng: np.random.Generator) -> str:
    return "".join(_item(kind, value, rng) for kind, value in items)


def _item(kind: Any, value: Any, rng: np.random.Generator) -> str:
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.AT:
        return ""
    if kind is op.ANY:
        return _pick(_ANY, rng)
    if kind is op.IN:
        return _pick(_class(value), rng)
    if kind is op.NOT_LITERAL:
        return _pick(_ANY.replace(chr(value), ""), rng)
    if kind is op.SUBPATTERN:
        return _items(value[-1], rng)
    if kind is op.BRANCH:
        return _items(value[1][int(rng.integers(len(value[1])))], rng)
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
        low, high, inner = value
        times = int(rng.integers(low, min(int(high), low + _REPEATS_AT_MOST) + 1))
        return "".join(_items(inner, rng) for _ in range(times))
    raise NotImplementedError


def _class(parts: Any) -> str:
    """The characters of [...], of which a negated class has what is left of letters and digits."""
    found, negated = "", False
    for kind, value in parts:
        if kind is op.NEGATE:
            negated = True
        elif kind is op.LITERAL:
            found += chr(value)
        elif kind is op.RANGE:
            found += "".join(chr(c) for c in range(value[0], min(value[1], value[0] + 200) + 1))
        elif kind is op.CATEGORY and str(value).lower() in _CLASSES:
            found += _CLASSES[str(value).lower()]
        else:
            raise NotImplementedError
    return "".join(c for c in _ANY if c not in found) if negated else found


def _pick(characters: str, rng: np.random.Generator) -> str:
    return characters[int(rng.integers(len(characters)))]
