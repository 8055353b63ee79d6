"""Rules over what a notebook hands out as it is: a table as text, a text, a picture, a model's summary.

What the notebook's own process says of people cannot be recomputed here, so the last word on every such output is a
finding of the rule `unchecked`, REVIEW: it needs eyes. What can be seen in the thing itself is found before: counts that
are too small, also behind a share and behind what was left out of a total, identifiers, lists of people, extremes,
columns and characters that a reader would not see, models with few degrees of freedom, and the same table with a few
people more or less. Messages name columns and numbers of cells, not the cells' values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tre.rules.disclosure.counts import COARSEN, NOISE, ROUND, SUPPRESS
from tre.rules.disclosure.finding import (
    Earlier,
    Finding,
    Mitigate,
    Mitigation,
    Rule,
    Statbarn,
    Verdict,
    places,
)
from tre.rules.disclosure.reading import COUNT, EXTREME, QUANTILE, SHARE, Sheet, read
from tre.rules.policy import Disclosure
from tre.rules.text import visible

DECLARE = Mitigation(kind=Mitigate.DECLARE, call="tre.output(name, dataset.group_by(…).table(…), context=…)")
SAY = Mitigation(kind=Mitigate.SAY, call="tre.output(…, context=…, data=…)")
_LONG = 120


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    limits: Disclosure,
    identifiers: Sequence[str],
    fields: Sequence[str] = (),
) -> list[Finding]:
    """Findings for a table given as text. `fields`: the names of the columns that rows of the datasets have."""
    sheet = read(header, rows)
    return [
        size(sheet, limits.max_rows),
        identifier(sheet, identifiers),
        row_level(sheet, fields),
        hidden(sheet),
        threshold(sheet, limits.threshold),
        shares(sheet, limits.threshold),
        totals(sheet, limits.threshold),
        rounding(sheet, limits.round_to),
        extremes(sheet),
        degrees(sheet, limits.degrees_of_freedom),
        underlying(sheet),
        unchecked("table", DECLARE),
    ]


def unchecked(kind: str, *mitigations: Mitigation) -> Finding:
    said = f"Not checked by machine, needs eyes: who is behind the numbers of this {kind} cannot be recomputed."
    return Finding(rule=Rule.UNCHECKED, verdict=Verdict.REVIEW, message=said, mitigations=mitigations)


def missing() -> list[Finding]:
    return [Finding(rule=Rule.PRESENCE, verdict=Verdict.FAIL, message="The run did not produce this output.")]


def figure(data: str | None) -> list[Finding]:
    """A picture. `data`: the output of the same request that holds its numbers."""
    if data is None:
        said = "The numbers behind the picture are not there: propose them as a table and name it with data=…"
        first = Finding(rule=Rule.UNDERLYING, verdict=Verdict.REVIEW, message=said, mitigations=(SAY,))
    else:
        said = f"The numbers behind it are said to be in {data!r}."
        first = Finding(rule=Rule.UNDERLYING, verdict=Verdict.PASS, message=said)
    return [first, unchecked("picture")]


_FEW = re.compile(r"(?i)\b(?:n|count|people|persons|patients|participants|cases)\s*(?:=|:|is|was)\s*(\d+)\b|\b(\d+)\s+(?:people|persons?|patients?|participants?|cases?|women|men|children)\b")  # fmt: skip


def text(content: str, *, limits: Disclosure, identifiers: Sequence[str]) -> list[Finding]:
    """A text: counts of people in its words, and lines that look like rows."""
    few = [n for pair in _FEW.findall(content) for n in pair if n and 0 < int(n) < limits.threshold]
    found = [
        _result(
            Rule.THRESHOLD, len(few), Verdict.FAIL, f"{len(few)} numbers of people in it are below {limits.threshold}.",
            "No number of people in it is too small.", Statbarn.FREQUENCIES, (COARSEN,),
        )
    ]  # fmt: skip
    lines = [line for line in content.splitlines() if line.strip()]
    rows = [line for line in lines if len(re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])", line)) >= 2]
    many = len(rows) if len(rows) > 20 else 0
    said = "It has many lines of numbers: propose a table instead of a text."
    found.append(_result(Rule.ROWS, many, Verdict.FAIL, said, "It has few lines of numbers.", None, (DECLARE,)))
    named = sum(
        bool(re.search(rf"(?<!\w){re.escape(i)}(?!\w)\s*[=:,#]?\s*\d", content, re.I)) for i in identifiers if i
    )
    named += len(re.findall(r"(?i)\b(?:patient|person|participant|subject|record)[ _]?(?:id|number|no\.?)\b\s*[=:]?\s*\w", content))  # fmt: skip
    said = "It names people by an identifier."
    found.append(_result(Rule.IDENTIFIER, named, Verdict.FAIL, said, "It names no identifier."))
    unseen = int(visible(content) != content)
    coded = len(re.findall(r"[A-Za-z0-9+/=]{80,}", content))
    said = "It holds characters that are drawn as nothing, or long codes that nobody can read."
    found.append(_result(Rule.HIDDEN, unseen + coded, Verdict.FAIL, said, "Nothing in it is hidden."))
    return [*found, unchecked("text")]


def model(*, observations: int, parameters: int, residual: float, limits: Disclosure) -> list[Finding]:
    """A fitted model's summary, as the notebook says it."""
    low = int(residual < limits.degrees_of_freedom)
    said = f"It has fewer than {limits.degrees_of_freedom} residual degrees of freedom: it may tell the data it is of."
    good = f"It has {limits.degrees_of_freedom} residual degrees of freedom or more."
    few = int(observations < limits.threshold)
    odd = int(abs(observations - parameters - residual) > 1)
    return [
        _result(Rule.DEGREES_OF_FREEDOM, low, Verdict.FAIL, said, good, Statbarn.COEFFICIENTS, (COARSEN, NOISE)),
        _result(
            Rule.THRESHOLD, few, Verdict.FAIL, f"It is of fewer than {limits.threshold} observations.",
            f"It is of {limits.threshold} observations or more.", Statbarn.COEFFICIENTS, (NOISE,),
        ),
        _result(
            Rule.CLAIM, odd, Verdict.REVIEW, "Its observations, parameters and degrees of freedom do not fit together.",
            "Its observations, parameters and degrees of freedom fit together.",
        ),
        unchecked("model"),
    ]  # fmt: skip


def context(said: str, name: str) -> Finding:
    """Whether the words for the checkers say something."""
    words = re.findall(r"[^\W\d_]{2,}", said)
    told = {w.casefold() for w in words} - {w.casefold() for w in re.findall(r"[^\W\d_]{2,}", name)}
    empty = not told or said.strip().casefold() in {"todo", "tbd", "test", "output", "table", "figure", "results"}
    if empty:
        verdict, message = Verdict.FAIL, "The context says nothing."
    elif len(told) < 3:
        verdict, message = Verdict.REVIEW, "The context says little: who is in it, what is shown, what it is for?"
    else:
        return Finding(rule=Rule.CONTEXT, verdict=Verdict.PASS, message="The context says something; people read it.")
    return Finding(rule=Rule.CONTEXT, verdict=verdict, message=message, mitigations=(SAY,))


def size(sheet: Sheet, limit: int) -> Finding:
    n = len(sheet.rows)
    return _result(
        Rule.SIZE, int(n > limit), Verdict.FAIL, f"{n} rows; the limit is {limit}. It may be a list of people.",
        f"{n} rows, within the limit of {limit}.", None, (COARSEN,),
    )  # fmt: skip


_PERSONAL = re.compile(
    r"(^|_)(id|ids|uuid|guid|nhs|nhs_number|ssn|nino|mrn|email|phone|postcode|address|surname|forename|first_name|last_name|dob|date_of_birth|birthdate)($|_)"
)


def identifier(sheet: Sheet, identifiers: Sequence[str]) -> Finding:
    """A column that is named like a person's identifier, or whose values look like one."""
    names = {i.strip().casefold() for i in identifiers if i}
    bad = [
        c for c, head in enumerate(sheet.names)
        if head in names or any(head in (f"{n}_id", f"{n}id", f"{n}_number") for n in names)
        or _PERSONAL.search(head) or sheet.looks_personal(c)
    ]  # fmt: skip
    cells, _ = places((r, c) for c in bad for r in range(len(sheet.rows)))
    said = f"{len(bad)} columns are named like an identifier, or hold what looks like one."
    return _result(Rule.IDENTIFIER, len(bad), Verdict.FAIL, said, "No column is like an identifier.", cells=cells)


def row_level(sheet: Sheet, fields: Sequence[str]) -> Finding:
    """A table of groups names each group once; a list of people repeats itself, or has nothing but the fields of a row."""
    known = {f.casefold() for f in fields}
    names = sheet.names[1:] if sheet.numbered else sheet.names
    plain = bool(known) and all(n in known for n in names) and len(names) > 1
    repeats = len(sheet.rows) > 1 and sheet.key is None
    # A table of a field's mean by group keeps the field's name: then its keys are all but the last columns.
    listed = plain and len(sheet.rows) > 5 and (sheet.unique or 0) + 1 < len(sheet.names) and not sheet.has_fractions
    wide = (sheet.unique or 0) >= len(sheet.names) > 0 and len(sheet.rows) > 20
    counted = any(COUNT.search(sheet.names[c]) for c in sheet.values)
    wide |= sheet.numbered and len(sheet.rows) > 20 and not counted
    said = "It looks like a list of single rows: its keys do not name each line once, or it has a row's own columns."
    return _result(
        Rule.ROWS,
        int(repeats or listed or wide),
        Verdict.FAIL,
        said,
        "It looks like a table of groups.",
        None,
        (DECLARE,),
    )


def hidden(sheet: Sheet) -> Finding:
    """What a reader of the table would not see, or could not read."""
    heads = [c for c, n in enumerate(sheet.header) if not n.strip() or visible(n) != n or sheet.header.count(n) > 1]
    # pandas leaves the name of one unnamed index column empty; it is printed, and in the first place.
    if heads == [0] and not sheet.header[0] and sheet.unique == 1:
        heads = []
    cells = [
        (r, c)
        for r, row in enumerate(sheet.rows)
        for c, v in enumerate(row)
        if visible(v) != v
        or len(v) > _LONG
        or re.search(r"[A-Za-z0-9+/=]{60,}", v)
        or v.lstrip().startswith(("{", "["))
    ]
    found, _ = places([*cells, *((r, c) for c in heads for r in range(len(sheet.rows)))])
    said = "It has columns without a name, characters that are drawn as nothing, or cells that nobody can read."
    return _result(
        Rule.HIDDEN, len(heads) + len(cells), Verdict.FAIL, said, "Every column has a name, and every cell can be read.",
        cells=found,
    )  # fmt: skip


def threshold(sheet: Sheet, limit: int) -> Finding:
    """Whole numbers from 1 to limit - 1: in a column of counts they are too small; in another, people look."""
    low = [(r, c) for c in sheet.values for r, v in sheet.whole(c) if 0 < v < limit]
    sure = [(r, c) for r, c in low if COUNT.search(sheet.names[c])]
    if not low:
        return _result(
            Rule.THRESHOLD, 0, Verdict.PASS, "", f"No whole number from 1 to {limit - 1} beside the keys.",
            Statbarn.FREQUENCIES,
        )  # fmt: skip
    cells, n = places(sure or low)
    columns = ", ".join(repr(sheet.header[c])[:60] for c in sorted({c for _, c in sure or low})[:5])
    said = f"Column {columns}: {n} whole numbers from 1 to {limit - 1}."
    said += " They count too few people." if sure else " If they count people, they are too small."
    return Finding(
        rule=Rule.THRESHOLD, verdict=Verdict.FAIL if sure else Verdict.REVIEW, message=said,
        statbarn=Statbarn.FREQUENCIES, cells=cells, count=n, mitigations=(SUPPRESS, DECLARE, NOISE),
    )  # fmt: skip


def shares(sheet: Sheet, limit: int) -> Finding:
    """A share beside its count tells both parts: either may be small, or all."""
    counts = [c for c in sheet.values if COUNT.search(sheet.names[c])]
    bad, alike = [], []
    for c in [c for c in sheet.values if SHARE.search(sheet.names[c])]:
        whole = 100.0 if any(v > 1 for _, v in sheet.numbers(c)) else 1.0
        for r, v in sheet.numbers(c):
            part = v / whole
            if part in (0.0, 1.0):
                alike.append((r, c))
            n = sheet.number(r, counts[0]) if counts else None
            if n is not None and any(0 < round(n * p) < limit for p in (part, 1 - part)):
                bad.append((r, c))
    cells, n = places(bad + alike)
    rule = Rule.CLASS if alike and not bad else Rule.THRESHOLD
    said = f"{n} shares are none or all of their group, or of fewer than {limit} people either way."
    return _result(
        rule if n else Rule.CLASS, n, Verdict.FAIL, said, "No share is none or all of its group, or of a few people.",
        Statbarn.FREQUENCIES, (COARSEN, ROUND, NOISE), cells=cells,
    )  # fmt: skip


def totals(sheet: Sheet, limit: int) -> Finding:
    """What was left out of a column of counts whose total is printed."""
    bad: list[tuple[int, int]] = []
    for c in sheet.values:
        for total, rows, gone in sheet.parts(c):
            left = (sheet.number(total, c) or 0) - sum(sheet.number(r, c) or 0 for r in rows)
            if gone and (len(gone) == 1 or 0 < left < limit):
                bad += [(total, c), *((r, c) for r in gone)]
    cells, n = places(bad)
    said = "Totals tell what was left out: only one cell of a total is missing, or all that are missing are few people."
    return _result(
        Rule.TOTALS, n, Verdict.FAIL, said, "No total tells what was left out.", Statbarn.LINKED,
        (SUPPRESS, DECLARE, NOISE), cells=cells,
    )  # fmt: skip


def rounding(sheet: Sheet, base: int) -> Finding:
    bad = [
        (r, c) for c in sheet.values if base > 1 and COUNT.search(sheet.names[c]) for r, v in sheet.whole(c) if v % base
    ]
    cells, n = places(bad)
    good = f"Counts are rounded to {base}." if base > 1 else "The policy asks for no rounding."
    return _result(
        Rule.ROUNDING, n, Verdict.FAIL, f"{n} counts are not rounded to {base}.", good, Statbarn.FREQUENCIES,
        (ROUND, DECLARE, NOISE), cells=cells,
    )  # fmt: skip


def extremes(sheet: Sheet) -> Finding:
    """Minima and maxima are one person's values; exact quantiles may be."""
    ends = [(r, c) for r, c in sheet.named(EXTREME)]
    middles = [(r, c) for r, c in sheet.named(QUANTILE)]
    cells, n = places(ends or middles)
    said = (
        f"{n} cells are a smallest or largest value: one person's."
        if ends
        else f"{n} exact quantiles may each be one person's value."
    )
    return _result(
        Rule.EXTREME, n, Verdict.FAIL if ends else Verdict.REVIEW, said, "No column is named like an extreme.",
        Statbarn.ENDPOINTS if ends else Statbarn.POSITION, (ROUND, NOISE), cells=cells,
    )  # fmt: skip


_DOF = re.compile(r"(^|_)(df|dof|df_resid|residual_df|degrees_of_freedom|resid_df)($|_)")


def degrees(sheet: Sheet, limit: int) -> Finding:
    bad = [(r, c) for r, c in sheet.named(_DOF) if (v := sheet.number(r, c)) is not None and v < limit]
    cells, n = places(bad)
    return _result(
        Rule.DEGREES_OF_FREEDOM, n, Verdict.FAIL, f"{n} degrees of freedom are below {limit}.",
        "No degrees of freedom too low.", Statbarn.COEFFICIENTS, (COARSEN, NOISE), cells=cells,
    )  # fmt: skip


def underlying(sheet: Sheet) -> Finding:
    """Means, sums and shares without the counts that they are of."""
    counted = any(COUNT.search(sheet.names[c]) for c in sheet.values)
    fractions = [c for c in sheet.values if sheet.is_fraction(c)]
    lacking = bool(fractions) and not counted
    said = "It has means or shares and no column of counts: the checkers cannot see how many people are behind them."
    return _result(
        Rule.UNDERLYING,
        int(lacking),
        Verdict.REVIEW,
        said,
        "The counts behind its numbers are there.",
        None,
        (SAY, DECLARE),
    )


def alike(mine: Sheet, others: Mapping[tuple[str | None, str], Sheet], limit: int) -> Finding:
    """The same table with a few people more or less: counts under the same keys that differ by 1 to limit - 1, and
    counts of three tables of which two add up to nearly the third."""
    bad: list[tuple[int, int]] = []
    with_: dict[Earlier, None] = {}
    columns = [c for c in mine.values if COUNT.search(mine.names[c])]
    known = {place: sheet.counts() for place, sheet in others.items()}
    for c in columns:
        for r, n in mine.whole(c):
            key = (mine.keys(r), mine.names[c])
            there = [(place, of[key]) for place, of in known.items() if key in of]
            for i, (place, m) in enumerate(there):
                near: list[tuple[tuple[str | None, str], ...]] = [(place,)] if 0 < abs(n - m) < limit else []
                near += [
                    (place, other) for other, k in there[i + 1 :]
                    if 0 < min(abs(n + m - k), abs(n + k - m), abs(m + k - n)) < limit
                ]  # fmt: skip
                if near:
                    bad.append((r, c))
                    with_ |= dict.fromkeys(Earlier(release=p[0], output=p[1]) for at in near for p in at)
    cells, n = places(bad)
    said = f"{n} counts differ by fewer than {limit} from those of other tables under the same keys, or add up to nearly them."
    verdict = Verdict.FAIL if n else Verdict.PASS
    rule = Rule.DIFFERENCING if any(e.release is not None for e in with_) or not n else Rule.LINKED
    good = f"Its counts are no near copies of {len(others)} other tables."
    return Finding(
        rule=rule, verdict=verdict, message=said if n else good, statbarn=Statbarn.LINKED, cells=cells, count=n,
        earlier=tuple(with_)[:20], mitigations=(COARSEN, DECLARE, NOISE) if n else (),
    )  # fmt: skip


def _result(
    rule: Rule, n: int, verdict: Verdict, bad: str, good: str, statbarn: Statbarn | None = None,
    mitigations: tuple[Mitigation, ...] = (), cells: tuple[object, ...] = (),
) -> Finding:  # fmt: skip
    if not n:
        return Finding(rule=rule, verdict=Verdict.PASS, message=good, statbarn=statbarn)
    return Finding(
        rule=rule, verdict=verdict, message=bad, statbarn=statbarn, cells=cells, count=n, mitigations=mitigations,
    )  # fmt: skip
