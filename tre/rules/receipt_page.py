"""A receipt for people, as one page that does nothing: what was asked, why, at what cost, what was found, who decided.

Guarantees: made of a bundle that `receipt.verify` has accepted, by the reader's own software, so that the page can say what
was checked; every text in it is escaped (rules.page), nothing in it loads, links or runs. Whatever a signed statement
holds, a page comes of it: what is not there, or is of another shape, is said so.
Not done here: the check itself. A page that somebody hands you proves nothing; make your own of the release's files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tre.rules import page
from tre.rules.disclosure import record as records
from tre.rules.page import Look, Markup, Tag, element

VERDICTS = {"pass": "nothing found", "review": "people had to look", "fail": "against a rule: people decided"}


def page_of(files: Mapping[str, bytes], statement: Mapping[str, Any], *, key_known: bool) -> str:
    """`statement`: as `receipt.verify` gave it for these very files."""
    told = _Told(statement)
    record = _Told(_json(files.get(records.NAME)))
    plan = _Told(_json(files.get("plan.json")))
    return page.document(
        f"Receipt of {told.text('release')}",
        element(Tag.HEADING, f"Receipt of {told.text('release')}"),
        element(Tag.PARAGRAPH, f"{told.text('area')}, {told.text('controller')}. Released {told.text('released')}."),
        _section("Checked", _checked(told, len(files), key_known=key_known)),
        _section("What it was for", _purpose(told, record)),
        _section("What was asked, with noise", _statistics(told)),
        _section("What was asked, without noise", _outputs(told, plan)),
        _section("By which rules", _criteria(record)),
        _section("Who decided", _decision(told)),
        _section("What it came from", _origin(told)),
    )


class _Told:
    """What a document says, whatever its shape."""

    def __init__(self, content: Any) -> None:
        self.content: Mapping[str, Any] = content if isinstance(content, Mapping) else {}

    def text(self, name: str) -> str:
        value = self.content.get(name)
        return "not said" if value is None or value == "" else _text(value)

    def part(self, name: str) -> _Told:
        return _Told(self.content.get(name))

    def parts(self, name: str) -> list[_Told]:
        value = self.content.get(name)
        return [_Told(v) for v in value] if isinstance(value, list) else []

    def texts(self, name: str) -> list[str]:
        value = self.content.get(name)
        return [_text(v) for v in value] if isinstance(value, list) else []

    def pairs(self) -> list[tuple[str, str]]:
        return [(k, _text(v)) for k, v in sorted(self.content.items())]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _json(content: bytes | None) -> Any:
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None


def _section(title: str, lines: Iterable[Markup]) -> Markup:
    found = list(lines) or [element(Tag.PARAGRAPH, "Nothing.", look=Look.NOTE)]
    return element(Tag.SECTION, element(Tag.SUBHEADING, title), *found)


def _line(text: str, look: Look | None = None) -> Markup:
    return element(Tag.PARAGRAPH, text, look=look)


def _checked(told: _Told, count: int, *, key_known: bool) -> Iterable[Markup]:
    yield _line(
        f"The signature fits this receipt, and each of the other {count - 1} files is, byte for byte, what was signed."
    )
    if key_known:
        yield _line("It was made with a key that the software that made this page was told to trust:")
    else:
        yield _line(
            "Nobody has told the software that made this page whose key this is. Anybody can sign with some key: compare "
            "it with the one that the area's controller tells you.",
            Look.WARNING,
        )
    yield element(Tag.VERBATIM, told.text("key"))


def _purpose(told: _Told, record: _Told) -> Iterable[Markup]:
    purpose = record.part("purpose")
    yield _line(f"Project: {purpose.text('title')} ({told.text('project')})")
    for name, title in (
        ("purpose", "Purpose"), ("public_benefit", "Public benefit"), ("legal_basis", "Legal basis"), ("agreement", "Agreement"),
    ):  # fmt: skip
        yield _line(f"{title}: {purpose.text(name)}")


def _statistics(told: _Told) -> Iterable[Markup]:
    """What each cost: epsilon bounds what all of it together tells of any one person."""
    for s in [*told.parts("statistics"), *told.parts("estimates")]:
        cost = f"cost epsilon {s.text('charged_epsilon')} at delta {s.text('delta')} of {s.text('population')}"
        again = "" if s.content.get("charged_epsilon") else " (released before: the same numbers again, for nothing)"
        yield _line(f"{s.text('name')}: {s.text('state')}; {cost}{again}. {s.text('guarantee')}.")


def _outputs(told: _Told, plan: _Told) -> Iterable[Markup]:
    contexts = {p.text("name"): p.text("context") for p in plan.parts("outputs")}
    for o in told.parts("outputs"):
        name = o.text("name")
        yield element(Tag.LABEL, f"{name} ({o.text('kind')})")
        yield _line(f"In the researcher's words: {contexts.get(name, 'not said')}", Look.CLAIM)
        for verdict, words in reversed(VERDICTS.items()):
            rules = sorted(
                {f.text("rule").replace("_", " ") for f in o.parts("findings") if f.text("verdict") == verdict}
            )
            if rules:
                yield _line(f"{words.capitalize()}: {', '.join(rules)}.")


def _criteria(record: _Told) -> Iterable[Markup]:
    criteria = record.part("criteria")
    for rule in criteria.parts("rules"):
        limits = ", ".join(f"{name} {value}" for name, value in rule.part("thresholds").pairs())
        yield _line(
            f"{rule.text('rule').replace('_', ' ')}: {rule.text('looks_for')}" + (f" ({limits})" if limits else "")
        )
    for population, risk in sorted(criteria.part("noise").content.items()):
        yield _line(f"Budget of {population}: {_text(risk)}")


def _decision(told: _Told) -> Iterable[Markup]:
    yield _line(f"Decided: {told.text('decision')}.")
    people = told.texts("decided_by")
    if people:
        yield _line(
            f"Output checkers: {', '.join(people)}. Researcher: {told.text('researcher')}. Only the area knows who they are."
        )
    else:
        yield _line(f"Researcher: {told.text('researcher')}. Only the area knows who that is.")


def _origin(told: _Told) -> Iterable[Markup]:
    for name, version in told.part("datasets").pairs():
        yield _line(f"Dataset {name}, version {version}")
    for name in ("notebook", "plan", "policy"):
        yield _line(f"Digest of the {name}: {told.text(name)}")
    yield _line(f"Isolation of notebooks: {told.text('isolation')}. Software: {told.text('software')}")
