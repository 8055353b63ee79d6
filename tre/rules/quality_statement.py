"""The data quality statement: what is looked at in a dataset, and of the results what may be published.

Guarantees: made of policy, of when a version came, and of noisy counts that the ledger was charged for, and of nothing else: a
measurement (rules.quality.Report) is no argument of anything here. What a statement says without noise, every row of a version
keeps because ingest lets no other in, whatever the rows. Without an epsilon in the policy it has no counts.
Sensitivity: `noisy_checks` are those of which one person's row breaks each at most once, whatever anybody else's rows are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from tre.rules import page
from tre.rules.page import Look, Markup, Tag, element
from tre.rules.policy import Dataset, Policies
from tre.rules.quality import Check, Dimension, ForeignKey, Rule, checks_of
from tre.rules.schema import Closed

INSIDE = "looked at; the result stays inside the area"
BY_INGEST = "kept by every row: ingest lets no other in"
SINCE_CHANGED = "declared after this version came; not said of it"


class Noised(Closed):
    """Noisy counts, drawn once for a version: of rows, then of rows that break each check, by its name."""

    epsilon: float
    delta: float
    units: int
    sigma: float
    z: float
    rows: int
    counts: dict[str, int]
    # Of at most so many rows of each person.
    most: int


def noisy_checks(name: str, policies: Policies, ingested: Collection[str]) -> tuple[Check, ...]:
    """Those whose counts can be paid for: of the person's own rows alone. A foreign key is, where it leads from the person's
    identifier to that of a dataset about the same people; any other could change by everybody's rows with one of another's."""
    dataset = policies.datasets[name]
    keys = {",".join(k.fields) + f">{k.dataset}" for k in dataset.quality.foreign_keys if _own(dataset, k, policies)}
    known = {k for k in keys if k.partition(">")[2] in ingested}
    return tuple(
        c
        for c in checks_of(dataset.table, dataset.quality)
        if c.rule in (Rule.PRESENT, Rule.ROW_RULE, Rule.PERIOD) or (c.rule is Rule.FOREIGN_KEY and c.subject in known)
    )


def _own(dataset: Dataset, key: ForeignKey, policies: Policies) -> bool:
    other = policies.datasets[key.dataset]
    return (
        other.population == dataset.population
        and key.fields == (dataset.unit.field,)
        and key.references == (other.unit.field,)
    )


def statement(
    name: str, policies: Policies, *, version: str, came: date, schema_digest: str, as_ingested: bool, made: date,
    noised: Noised | None,
) -> dict[str, Any]:  # fmt: skip
    """`as_ingested`: whether the declared schema is the one that the version was ingested by."""
    dataset, area = policies.datasets[name], policies.area
    checks = checks_of(dataset.table, dataset.quality)
    results = {c.id: _result(c, dataset, came, as_ingested=as_ingested, noised=noised) for c in checks}
    dimensions = {
        d.value: [
            {"of": c.subject, "rule": c.rule.value, "says": c.says, "result": results[c.id]}
            for c in checks
            if c.dimension is d
        ]
        for d in Dimension
    }
    return {
        "statement": 1, "area": area.title, "controller": area.controller, "dataset": name, "title": dataset.title,
        "steward": dataset.steward, "source": dataset.source, "version": version, "came": came.isoformat(),
        "schema": schema_digest, "made": made.isoformat(), "dimensions": dimensions,
        "not_assessed": [d for d, found in dimensions.items() if not found],
        "noise": noised and _noise(noised),
    }  # fmt: skip


def _result(check: Check, dataset: Dataset, came: date, *, as_ingested: bool, noised: Noised | None) -> str:
    if check.rule.by_ingest:
        return BY_INGEST if as_ingested else SINCE_CHANGED
    if check.rule is Rule.REFRESHED and dataset.quality.frequency is not None:
        due = came + timedelta(days=dataset.quality.frequency.days)
        return f"this version came on {came}; the next is due by {due}"
    if noised is None or check.id not in noised.counts:
        return INSIDE
    rows, count = max(0, noised.rows), max(0, noised.counts[check.id])
    share = f" ({min(1.0, count / rows):.1%})" if rows else ""
    what = "without one" if check.rule is Rule.PRESENT else "that do not keep it"
    return f"about {count:,} of {rows:,} rows{share} {what}, give or take {round(noised.z * noised.sigma):,}"


def _noise(noised: Noised) -> dict[str, Any]:
    return {
        "epsilon": noised.epsilon, "delta": noised.delta, "units": noised.units, "standard_deviation": noised.sigma,
        "rows": noised.rows, "counts": noised.counts,
        "says": f"each number is of at most {noised.most} rows of each person, with noise of this standard deviation, so that "
        "nobody's rows can be told from it; drawn once",
    }  # fmt: skip


def page_of(content: Mapping[str, Any]) -> str:
    """For people."""
    noise = content["noise"]
    cost = (
        f"Numbers here are noisy; they cost epsilon {noise['epsilon']:g} at delta {noise['delta']:g} of the privacy budget of the "
        "people in the data, once for this version."
        if noise
        else "No number here was learnt from the rows, and nothing is said of how well they keep what ingest does not enforce."
    )
    return page.document(
        f"Data quality statement: {content['title']}",
        element(Tag.HEADING, f"Data quality statement: {content['title']}"),
        element(Tag.PARAGRAPH, f"{content['controller']}. Dataset {content['dataset']}, version {content['version']}, "
                f"which came on {content['came']}. Made {content['made']}."),
        element(Tag.PARAGRAPH, cost, look=Look.NOTE),
        *(_section(name, found) for name, found in content["dimensions"].items()),
        element(Tag.PARAGRAPH, f"Digest of the declared schema: {content['schema']}", look=Look.NOTE),
    )  # fmt: skip


def _section(name: str, found: Iterable[Mapping[str, str]]) -> Markup:
    lines = [
        element(Tag.PARAGRAPH, f"{c['of']}: {c['says']}. {c['result'][:1].upper()}{c['result'][1:]}.") for c in found
    ]
    return element(
        Tag.SECTION,
        element(Tag.SUBHEADING, name.capitalize()),
        *(lines or [element(Tag.PARAGRAPH, "Not assessed: nothing is declared to compare with.", look=Look.NOTE)]),
    )
