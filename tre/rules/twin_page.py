"""A published twin for people, as one page that does nothing: what it is, what it learnt, what it must not be used for.

Guarantees: made of declared facts and the twin's label; every text in it is escaped (rules.page), nothing in it loads, links
or runs. It holds no figure of the rows but their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tre.rules import page
from tre.rules.datapackage import Described, dictionary
from tre.rules.page import Look, Markup, Tag, element
from tre.rules.twin import Tier

RESEMBLES = {
    Tier.STRUCTURAL: "names, types, ranges and keys, as declared. Nothing else about it resembles real data",
    Tier.VALID: "names, types, ranges, keys and missing values, as declared. Nothing else about it resembles real data",
    Tier.PLAUSIBLE: "each column on its own, roughly. What columns have to do with each other is lost",
    Tier.MULTIVARIATE: "each column, and how some pairs of columns go together, roughly",
    Tier.DETAILED: "each column, and how some pairs and triples of columns go together, roughly",
    Tier.REPLICA: "each column, and how all pairs of columns go together, as far as a Gaussian copula can say it",
}
NOT_FOR = (
    "Results: no number computed from it is a finding about anyone, and none may be published as one.",
    "Decisions about people, services or money.",
    "Training a model that is then used on people.",
    "Finding out about a person.",
)
NO_ROW = "No row is of a person: one that looks like somebody is chance."


def page_of(d: Described, label: Mapping[str, Any], *, area: str, files: Iterable[str]) -> str:
    title = f"SYNTHETIC: {d.title}"
    return page.document(
        title,
        element(Tag.HEADING, title),
        _line(
            "These rows are made up. They are not the dataset, and no row is of a person."
            if label["tier"] != Tier.REPLICA
            else "These rows are made up after real ones, without noise. They are not the dataset. Two output checkers approved "
            "that they leave.",
            Look.WARNING,
        ),
        _section("What it is", _what(d, label, area)),
        _section("What it learnt, and what that cost", _learnt(label)),
        _section("What it is for", _for()),
        _section("What it must not be used for", _not_for(label)),
        _section("Whose data it is a twin of", _origin(d)),
        _section("Columns", _columns(d)),
        _section("Files", _files(files)),
    )


def _line(text: str, look: Look | None = None) -> Markup:
    return element(Tag.PARAGRAPH, text, look=look)


def _section(title: str, lines: Iterable[Markup]) -> Markup:
    return element(Tag.SECTION, element(Tag.SUBHEADING, title), *lines)


def _what(d: Described, label: Mapping[str, Any], area: str) -> Iterable[Markup]:
    tier = Tier(label["tier"])
    yield _line(
        f"A {tier.value} synthetic twin of the dataset {d.id} of {area}: {d.rows:,} rows, {len(d.columns)} columns."
    )
    yield _line(f"It resembles the real data in {RESEMBLES[tier]}.")
    seed = "" if label["seed"] is None else f"; seed {label['seed']}"
    yield _line(f"Made {label['made']} by {label['generator']}{seed}.")
    if label["declared"]:
        yield _line(
            f"{label['declared']} rows hold rare values that the data controller wrote down, so that code meets them."
        )


def _learnt(label: Mapping[str, Any]) -> Iterable[Markup]:
    yield _line(f"It learnt {label['learnt']}.")
    if label["tier"] == Tier.REPLICA:
        yield _line(
            f"It is no output of differential privacy: a model was fitted on version {label['version']} of the data, and nothing "
            "bounds what its rows tell of a person: one that looks like somebody need not be chance. Two output checkers approved these "
            "very rows."
        )
        return
    if label["epsilon"] is None:
        yield _line(
            "Making it read no record, so it can tell nothing of anybody, and cost nothing of anybody's privacy budget."
        )
        return
    yield _line(
        f"It was made from noisy counts of version {label['version']} of the data, under differential privacy: "
        f"epsilon {label['epsilon']:g}, delta {label['delta']:g}. That was charged to the privacy budget of the people in the "
        "data before a record was read. Whatever is done with this twin, together with anything else that anybody knows, "
        "tells of one person no more than that."
    )


def _not_for(label: Mapping[str, Any]) -> Iterable[Markup]:
    yield from (_line(text) for text in NOT_FOR)
    if label["tier"] != Tier.REPLICA:
        yield _line(NO_ROW)


def _for() -> Iterable[Markup]:
    yield _line("Seeing what the dataset holds, writing and rehearsing code for it, teaching, and testing software.")


def _origin(d: Described) -> Iterable[Markup]:
    if d.description:
        yield _line(d.description)
    yield _line(f"Source: {d.source or 'not said'}")
    yield _line(f"Licence: {d.licence or 'not said'}")
    yield _line(f"Steward: {d.steward}")


def _columns(d: Described) -> Iterable[Markup]:
    """As the dictionary says: the schema's words, in which nothing comes from rows."""
    for name, kind, title, description, missing, values, _ in dictionary(d)[1:]:
        yield element(Tag.LABEL, f"{name}: {title}" if title else name)
        optional = "; may be missing" if missing == "yes" else ""
        yield _line(f"{kind}{f', {values}' if values else ''}{optional}")
        if description:
            yield _line(description, Look.NOTE)


def _files(files: Iterable[str]) -> Iterable[Markup]:
    yield element(Tag.VERBATIM, "\n".join(sorted(files)))
    yield _line(
        "twin.receipt.json is signed by the area. Whether all this is unchanged and its own, anybody can check:"
    )
    yield element(Tag.VERBATIM, "tre verify FOLDER --key KEY")
