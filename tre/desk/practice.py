"""Practice for output checkers: made-up outputs, what the real rules say of them, and what an experienced checker would.

Guarantees: every row is made up here, no file or gateway is read, and nothing is decided or recorded. The findings are not
written down: they come from the rules in force in the area, at the thresholds given.
"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tre.rules.disclosure import claims
from tre.rules.disclosure.cells import Group, Measured, Table, What
from tre.rules.disclosure.counts import single
from tre.rules.disclosure.differencing import Atom, Printed, differences
from tre.rules.disclosure.finding import Finding, Verdict, worst
from tre.rules.policy import Disclosure

# (the person's number, the group, the value)
Rows = Sequence[tuple[int, str, float]]


@dataclass(frozen=True)
class Case:
    """As a checker gets it: tables or a text with their context. Look first, then at `findings`, then at `answer`."""

    name: str
    title: str
    context: str
    shown: Mapping[str, pd.DataFrame] | str
    findings: tuple[Finding, ...] = field(repr=False)
    decision: str = field(repr=False)
    why: str = field(repr=False)

    @property
    def verdict(self) -> Verdict:
        """The machine's."""
        return worst(self.findings)

    @property
    def found(self) -> pd.DataFrame:
        """What the rules found, the worst first; what passed is left out."""
        told = sorted((f for f in self.findings if f.verdict is not Verdict.PASS), key=lambda f: -f.verdict.rank)
        return pd.DataFrame(
            [{"verdict": f.verdict.value, "rule": f.rule.value, "says": f.message} for f in told],
            columns=["verdict", "rule", "says"],
        )

    @property
    def answer(self) -> str:
        return f"{self.decision}: {self.why}"

    def __repr__(self) -> str:
        parts = self.shown if isinstance(self.shown, str) else "\n\n".join(f.to_string() for f in self._frames())
        return f"{self.title}\nContext: {self.context}\n\n{parts}"

    def _repr_html_(self) -> str:
        inner = (
            f"<pre>{html.escape(self.shown)}</pre>"
            if isinstance(self.shown, str)
            else "".join(f"<p>{html.escape(n)}</p>{f.to_html(index=False, border=0)}" for n, f in self.shown.items())
        )
        return f"<div><b>{html.escape(self.title)}</b><p>Context: {html.escape(self.context)}</p>{inner}</div>"

    def _frames(self) -> list[pd.DataFrame]:
        return [] if isinstance(self.shown, str) else list(self.shown.values())


def cases(limits: Disclosure | None = None) -> dict[str, Case]:
    """All of them by name, in the order to take them. `limits`: your area's thresholds; else the defaults."""
    at = limits or Disclosure()
    made = [make(at) for make in _CASES]
    return {case.name: case for case in made}


# The cases


def _small_cell(at: Disclosure) -> Case:
    rows = _people({"north": 41, "east": 58, "south": 4, "west": 37})
    return Case(
        "small-cell", "Who answered, by region", "Respondents by region of residence, to show that all regions are covered",
        {"people-by-region": _printed(rows, "region", "people")}, tuple(single(_table(rows, "region", What.PEOPLE), at)),
        "Return",
        "four people in the south are few enough to be known to each other, and a later table could be set against this one. Ask for regions "
        "put together, or `suppress()`, which also takes out a second cell where a total would tell the first. Leaving out the south alone is "
        "not enough where the sum is known.",
    )  # fmt: skip


def _one_large(at: Disclosure) -> Case:
    bakers = {i: 40.0 + i for i in range(24)} | {24: 90_000.0}
    rows = [(i, "bakers", v) for i, v in bakers.items()] + [(100 + i, "dairies", 300.0 + i) for i in range(30)]
    return Case(
        "one-large", "Turnover by trade", "Turnover of businesses in the study, by trade, in thousands, to compare the trades",
        {"turnover-by-trade": _printed(rows, "trade", "turnover")}, tuple(single(_table(rows, "trade", What.SUM), at)),
        "Return",
        "twenty-five bakers are many, and yet the sum is nearly all of one of them: who knows the trade reads that business's turnover off it. "
        "A count does not show this; only who is behind the number does, which is why the rule looks at contributions.",
    )  # fmt: skip


def _everybody(at: Disclosure) -> Case:
    rows = [(i, "ward A", 1.0) for i in range(34)] + [(100 + i, "ward B", float(i % 3 == 0)) for i in range(36)]
    return Case(
        "everybody", "Infections by ward", "Share of patients with a hospital infection, by ward, for the hygiene report",
        {"infected-by-ward": _printed(rows, "ward", "share")}, tuple(single(_table(rows, "ward", What.SHARE), at)),
        "Return",
        "no cell is small, but of ward A it says of *every* patient that they were infected: who knows that somebody lay there has learnt "
        "it. This is class disclosure. Wards put together, or noise, would do.",
    )  # fmt: skip


def _a_birthday_apart(at: Disclosure) -> Case:
    adults, older, born = 214, 211, range(211, 214)  # three people are eighteen
    both = Atom((frozenset({0}), frozenset({0})), frozenset(range(at.threshold)))
    only = Atom((frozenset(), frozenset({0})), frozenset(born))
    now = Printed(output="over-18", release=None, by=("age",), keys=[("over 18",)], shown=frozenset({0}), column=1)
    before = Printed(
        output="adults", release="rel-0a1b2c3d", by=("age",), keys=[("18 and older",)], shown=frozenset({0})
    )
    return Case(
        "a-birthday-apart", "People over eighteen", "How many took part who are over 18, for the description of the sample",
        {
            "over-18": pd.DataFrame({"age": ["over 18"], "people": [older]}),
            "adults (released last month, by another project)": pd.DataFrame({"age": ["18 and older"], "people": [adults]}),
        },
        tuple(differences([now, before], [both, only], at.threshold)[0]), "Return",
        "each table alone is harmless; one taken from the other leaves the three people who are eighteen. That is differencing, and no "
        "single look finds it: the check compares what is proposed with everything that has left. Ask for the definition that was used before.",
    )  # fmt: skip


def _bare_means(at: Disclosure) -> Case:
    frame = pd.DataFrame({"clinic": ["A", "B", "C"], "mean_bmi": [27.13, 26.84, 31.9]})
    return Case(
        "bare-means", "Mean body mass index by clinic", "Mean BMI by clinic", {"bmi-by-clinic": frame}, _claimed(frame, "Mean BMI by clinic", at),
        "Return",
        "nothing here says of how many people each mean is, so nothing can be judged: a mean of one person is that person's value. The program "
        "cannot know either, which is what *unchecked* means: not that all is well. Ask for a column of counts, or for a declared table.",
    )  # fmt: skip


def _in_words(at: Disclosure) -> Case:
    text = "The oldest woman in the sample (aged 104, from the island) had 12 visits; patient 88213 had the most, 61."
    said = "A paragraph for the results"
    found = (claims.context(said, "results"), *claims.text(text, limits=at, identifiers=["patient"]))
    return Case(
        "in-words", "A paragraph of results", said, text, found, "Reject",
        "two persons stand in it. Prose carries values as well as a table does, and rules see little of it: read every number and ask of how many "
        "people it is. An extreme is always somebody.",
    )  # fmt: skip


def _rounded(at: Disclosure) -> Case:
    rows = _people({"low": 120, "middle": 240, "high": 90})
    said = "Participants by income, rounded to ten, to describe the sample"
    return Case(
        "rounded", "Participants by income", said, {"people-by-income": _printed(rows, "income", "people")},
        (claims.context(said, "people-by-income"), *single(_table(rows, "income", What.PEOPLE), at)), "Approve",
        "many people in each cell, the context says what it is and why, nothing else of this project is near it. Most outputs are like this "
        "one: a checker who returns everything is worked around.",
    )  # fmt: skip


def _a_question_of_purpose(at: Disclosure) -> Case:
    rows = _people({"reported": 60, "not reported": 40})
    said = "Of the pupils whose class teacher was suspended in March, how many had reported it"
    return Case(
        "a-question-of-purpose", "Reports of pupils", said, {"reports": _printed(rows, "report", "people")},
        (claims.context(said, "reports"), *single(_table(rows, "report", What.PEOPLE), at)), "Ask the other checker, and the data controller",
        "every rule passes and still this is about one teacher, known to the whole town. Rules count; whether an output is within what the project "
        "was approved for, and about whom it is, is why people decide.",
    )  # fmt: skip


_CASES: tuple[Callable[[Disclosure], Case], ...] = (
    _small_cell, _one_large, _everybody, _a_birthday_apart, _bare_means, _in_words, _rounded, _a_question_of_purpose,
)  # fmt: skip


# How they are made


def _people(counts: Mapping[str, int]) -> Rows:
    return [(i, key, 1.0) for i, key in enumerate(k for k, n in counts.items() for _ in range(n))]


def _groups(rows: Rows) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for _, key, value in rows:
        found[key].append(value)
    return found


def _number(kind: What, values: Sequence[float]) -> float | int:
    if kind is What.PEOPLE:
        return len(values)
    total = sum(values)
    return total if kind is What.SUM else round(total / len(values), 3)


def _table(rows: Rows, by: str, kind: What) -> Table:
    """One row a person, so whoever is behind a cell is counted at once."""
    groups = []
    for key, values in _groups(rows).items():
        sizes = sorted((abs(v) for v in values), reverse=True)
        yes = sum(v > 0 for v in values)
        measured = Measured(
            value=_number(kind, values), people=len(values), largest=tuple(sizes[:10]), total=sum(sizes),
            parts=(yes, len(values) - yes) if kind is What.SHARE else None,
        )  # fmt: skip
        groups.append(Group(keys=(key,), rows=len(values), people=len(values), measured={"value": measured}))
    return Table(by=(by,), kinds={"value": kind}, groups=groups)


def _printed(rows: Rows, by: str, name: str) -> pd.DataFrame:
    kind = {"people": What.PEOPLE, "turnover": What.SUM, "share": What.SHARE}[name]
    shown: list[dict[str, Any]] = [{by: key, name: _number(kind, values)} for key, values in _groups(rows).items()]
    return pd.DataFrame(shown)


def _claimed(frame: pd.DataFrame, said: str, at: Disclosure) -> tuple[Finding, ...]:
    header, *rows = [list(frame.columns), *([str(v) for v in row] for row in frame.to_numpy())]
    found = claims.table(header, rows, limits=at, identifiers=["person"], fields=list(frame.columns))
    return (claims.context(said, "means"), *found)
