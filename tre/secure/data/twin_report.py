"""The quality and risk report of a twin, as one page for people; in two forms that are never mixed.

- *inside*: with figures from the real rows, without noise. It says in red what it is, and where it may not go.
- *open*: the label, the twin against the noisy counts that were paid for, and the checks that need no real row.

Guarantees: the open form is made by a function that is given nothing from real rows. Every text is escaped (rules.page); plots are
ours, as pictures that cannot run or load anything.
The four checks are those that Raab, Nowok and Dibben ask of synthetic data before it is handed out: that it is labelled, that it
discloses nobody, that its structure is right, that it is documented; computed where they can be, and said so where not.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tre.errors import TreError
from tre.rules import page
from tre.rules.page import Look, Markup, Tag, element
from tre.rules.policy import Dataset
from tre.secure.data.ingest import ingest
from tre.secure.data.twin_fidelity import Inside, Open
from tre.secure.data.twin_file import Label, file_name
from tre.secure.data.twin_sdv import quiet

STAYS = (
    "Derived from real rows WITHOUT noise. This file stays inside the secure area. Anything of it leaves only as an output that "
    "two output checkers have approved."
)
# The most columns in a plot, and the worst pairs that are listed.
MOST_PLOTS = 24
MOST_PAIRS = 20


@dataclass(frozen=True, kw_only=True)
class Check:
    """One of Raab's four. `passed` is None for what nobody can compute."""

    kind: str
    what: str
    passed: bool | None


def checks(name: str, dataset: Dataset, twin: Path, label: Label | None) -> list[Check]:
    """Those that need no real row."""
    found = [
        Check(
            kind="labelling", what="the file says that it is synthetic, and how it was made", passed=label is not None
        ),
        Check(kind="labelling", what="its name says so", passed="SYNTHETIC" in twin.name),
    ]
    if label is not None:
        paid = label.learnt_nothing or label.rho_units > 0 or label.epsilon is None
        found += [
            Check(kind="labelling", what="the label is of this dataset", passed=label.dataset == name),
            Check(kind="disclosure", what="it learnt nothing, or what it learnt is in the ledger", passed=paid),
            Check(
                kind="labelling", what=f"published, it is called {file_name(name, label.tier, label.made)}", passed=None
            ),
        ]
    found.append(Check(kind="structure", what="ingest takes it as it takes the real rows", passed=_fits(dataset, twin)))
    documented = {
        "title": dataset.title, "description": dataset.description, "source": dataset.source, "licence": dataset.licence,
        "steward": dataset.steward,
    }  # fmt: skip
    found += [
        Check(kind="documentation", what=f"the dataset has a {k}", passed=bool(v.strip()))
        for k, v in documented.items()
    ]
    titled = all(f.title or f.description for f in dataset.fields)
    found.append(Check(kind="documentation", what="every field says what it is", passed=titled))
    return found


def _fits(dataset: Dataset, twin: Path) -> bool:
    with tempfile.TemporaryDirectory(prefix="report-", dir=twin.parent) as folder:
        try:
            ingest(dataset.table, [twin], Path(folder) / "checked.parquet", key=b"report")
        except TreError:
            return False
    return True


def open_page(name: str, label: Label, figures: Open | None, found: Iterable[Check]) -> str:
    """What may be published: nothing here was given anything from a real row."""
    title = f"Quality of the SYNTHETIC twin of {name}"
    return page.document(
        title, element(Tag.HEADING, title), *_label(label), *_open(figures), *_checks(found), _limits(),
    )  # fmt: skip


def inside_page(
    name: str, label: Label, figures: Open | None, real: Inside, scores: Mapping[str, float], attack: float | None,
    found: list[Check],
) -> str:  # fmt: skip
    title = f"INSIDE ONLY: quality and risk of the SYNTHETIC twin of {name}"
    share = real.match.real / max(1, real.match.rows)
    copied = Check(
        kind="disclosure", what="no row of it is a row that occurs once in the data", passed=real.match.real_once == 0
    )
    return page.document(
        title, element(Tag.HEADING, title), _line(STAYS, Look.WARNING), *_label(label), _columns(real), _pairs(real),
        _section(
            "Rows that are also real rows",
            _line(f"{real.match.real:,} of {real.match.rows:,} rows ({share:.2%}) are also rows of the data, but for the person's field; "
                  f"{real.match.real_once:,} of them are rows that occur once there."),
            _line("Of few columns with few values most rows are met by chance, whatever the twin was made from. A twin that learnt "
                  "nothing, or noisy counts alone, has copied no row: then matches are chance. They would show a copy.", Look.NOTE),
        ),
        _section("Trained on the twin, tested on real people", _models(real)),
        _section("A membership attack", _attack(attack)),
        _section("SDMetrics' diagnostics and quality", _scores(scores)),
        *_open(figures), *_checks([*found, copied]), _limits(), _line(STAYS, Look.WARNING),
    )  # fmt: skip


def _line(text: str, look: Look | None = None) -> Markup:
    return element(Tag.PARAGRAPH, text, look=look)


def _section(title: str, *lines: Markup) -> Markup:
    return element(Tag.SECTION, element(Tag.SUBHEADING, title), *lines)


def _label(label: Label) -> Iterable[Markup]:
    yield _line(
        f"A {label.tier} twin, made {label.made} by {label.generator}; seed {label.seed}. It learnt {label.learnt}."
    )
    if label.declared:
        yield _line(f"{label.declared} of its rows are edge cases by declaration.")


def _verbatim(lines: Iterable[tuple[str, float]]) -> Markup:
    return element(Tag.VERBATIM, "\n".join(f"{value:7.4f}  {name}" for name, value in lines) or "none")


def _columns(real: Inside) -> Markup:
    mean = sum(real.columns.values()) / max(1, len(real.columns))
    return _section(
        "Columns one by one, against the real rows",
        _line(f"Mean total variation distance {mean:.4f} (0: the same shares; 1: nothing in common)."),
        _verbatim(sorted(real.columns.items(), key=lambda c: -c[1])),
        page.drawing(_plot(real.shares)),
    )


def _pairs(real: Inside) -> Markup:
    mean = sum(real.pairs.values()) / max(1, len(real.pairs))
    worst = sorted(real.pairs.items(), key=lambda p: -p[1])[:MOST_PAIRS]
    return _section(
        "Columns two by two, against the real rows",
        _line(
            f"Mean total variation distance of {len(real.pairs)} pairs {mean:.4f}; the {len(worst)} that are farthest:"
        ),
        _verbatim((f"{a} × {b}", d) for (a, b), d in worst),
    )


def _models(real: Inside) -> Markup:
    if not real.trained:
        return _line("Not computed: scikit-learn is not installed, or no field has few categories.", Look.NOTE)
    lines = [f"{'field':24} {'twin':>8} {'real':>8} {'commonest':>10}"]
    lines += [f"{t.field[:24]:24} {t.on_twin:8.3f} {t.on_real:8.3f} {t.commonest:10.3f}" for t in real.trained]
    return element(Tag.VERBATIM, "\n".join(lines))


def _attack(found: float | None) -> Markup:
    if found is None:
        return _line(
            "Not tried: the twin learnt nothing, people are too few, or the policy names another tier.", Look.NOTE
        )
    return _line(
        f"A second twin was made of half of the people. Telling them from the others by how common their cells are in it has an "
        f"area under the curve of {found:.3f} (0.5: nothing was learnt; 1: a copy). An attack that fails proves nothing."
    )


def _scores(found: Mapping[str, float]) -> Markup:
    if not found:
        return _line('Not computed: SDMetrics is not installed (pip install "tre[twins]").', Look.NOTE)
    return _verbatim(found.items())


def _open(figures: Open | None) -> Iterable[Markup]:
    title = "Against the noisy counts that it was drawn from"
    if figures is None:
        said = "It was drawn from no counts, or the policy has changed since: there is nothing to compare it with."
        yield _section(title, _line(said, Look.NOTE))
        return
    yield _section(
        title,
        _line(
            "These counts have their noise, which the ledger has paid for: what follows costs nothing and may be published."
        ),
        element(Tag.LABEL, "Columns"),
        _verbatim(sorted(figures.columns.items(), key=lambda c: -c[1])),
        element(Tag.LABEL, "Tables of several columns"),
        _verbatim(sorted(figures.tables.items(), key=lambda c: -c[1])),
    )


def _checks(found: Iterable[Check]) -> Iterable[Markup]:
    said = {True: "yes", False: "NO", None: "to be looked at"}
    mine = list(found)
    for kind in ("labelling", "disclosure", "structure", "documentation"):
        lines = [
            _line(f"{said[c.passed]}: {c.what}", Look.WARNING if c.passed is False else None)
            for c in mine
            if c.kind == kind
        ]
        yield _section(f"Check: {kind}", *lines)


def _limits() -> Markup:
    return _section(
        "What these figures do not say",
        _line(
            "That the twin is safe: no figure can. That follows from how it was made, and from what was paid for it."
        ),
        _line("That a result would be the same on the real rows: rehearse on the twin, and then ask for the result."),
    )


def _plot(shares: Mapping[str, tuple[list[float], list[float]]]) -> bytes:
    """Each column's shares, real and of the twin, as one SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = list(shares)[:MOST_PLOTS]
    across, down = 3, max(1, -(-len(names) // 3))
    with mpl.rc_context({"svg.hashsalt": "tre", "svg.fonttype": "none", "font.size": 7}):
        figure = Figure(figsize=(9, 1.6 * down), layout="constrained")
        for i, name in enumerate(names):
            axes = figure.add_subplot(down, across, i + 1)
            for share, colour, what in zip(shares[name], ("#444444", "#5b3f8c"), ("real", "SYNTHETIC"), strict=True):
                axes.step(range(len(share)), share, where="mid", color=colour, label=what, linewidth=1)
            axes.set_title(name, fontsize=7)
            axes.set_ylim(bottom=0)
            if i == 0:
                axes.legend(fontsize=6)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def scores(real: Path, twin: Path, dataset: Dataset) -> dict[str, float]:
    """SDMetrics' scores, where it is installed; its words, which can quote values, go nowhere."""
    try:
        from sdmetrics.reports import DiagnosticReport, QualityReport
    except ImportError:
        return {}
    import pandas as pd

    kinds = {
        "integer": "numerical",
        "number": "numerical",
        "boolean": "boolean",
        "date": "datetime",
        "string": "categorical",
    }
    columns = {
        f.name: {"sdtype": "categorical" if f.categories is not None else kinds[f.type.value]}
        for f in dataset.fields
        if f.name != dataset.table.unit.field  # names of people say nothing, and go with nothing
    }
    frames = [pd.read_parquet(p, columns=list(columns)) for p in (real, twin)]
    for name in (n for n, c in columns.items() if c["sdtype"] == "datetime"):
        for frame in frames:
            frame[name] = pd.to_datetime(frame[name])
    described = {"METADATA_SPEC_VERSION": "V2", "tables": {"twin": {"columns": columns}}, "relationships": []}
    properties = []
    try:
        with quiet():
            for kind in (DiagnosticReport, QualityReport):
                report: Any = kind()
                report.generate({"twin": frames[0]}, {"twin": frames[1]}, described, verbose=False)
                properties.append(report.get_properties())
    except Exception:  # whatever it breaks on, its text could quote a value
        return {}
    found = {str(p): float(s) for t in properties for p, s in zip(t["Property"], t["Score"], strict=True)}
    return {name: score for name, score in found.items() if not math.isnan(score)}
