"""The admin's commands about quality: measuring it, publishing a statement of it, sealing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from tre.errors import Conflict, RequestError
from tre.secure.command import area_option, services
from tre.terminal import json_option, table

if TYPE_CHECKING:
    from tre.rules.quality import Drift, Report


def in_short(scores: Mapping[Any, float | None]) -> str:
    return ", ".join(f"{d} {'not assessed' if s is None else _share(s)}" for d, s in scores.items())


def _share(score: float) -> str:
    """Never rounded up to all."""
    return "100%" if score == 1 else f"{min(score, 0.9999):.2%}"


def _quality(area: Path | None) -> Any:
    from tre.secure.quality import Quality

    made = services(area)
    return Quality(made.context, made.registry)


@click.command()
@click.argument("dataset")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--files", "of_files", is_flag=True, help="Measure the files that are named, before they are ingested.")
@click.option(
    "--statement", type=click.Path(path_type=Path, dir_okay=False), help="Write what may be published: .json or .html."
)
@area_option
@json_option
def quality(
    dataset: str, files: tuple[Path, ...], of_files: bool, statement: Path | None, area: Path | None, show: Console
) -> Any:
    """How many rows break each check that the dataset's policy declares: of the ingested version, or of files.

    Counts of rows, for the controller and the team: they stay inside. What may be published is the statement.

    \b
    Example: tre-admin quality hie
      tre-admin quality hie --files new.csv
      tre-admin quality hie --statement hie-quality.html
    """
    if of_files != bool(files):
        raise RequestError("files_unclear", "Files and --files go together.", "tre-admin quality DATASET --files FILE…")
    if statement is not None:
        return _write(dataset, statement, area, show, files=bool(files))
    made = _quality(area)
    with show.status(f"measuring {dataset}"):
        found = made.measure(dataset, list(files))
    _show(show, found)
    return {**found.model_dump(mode="json"), "scores": found.scores, "not_assessed": found.not_assessed}


def _write(dataset: str, target: Path, area: Path | None, show: Console, *, files: bool) -> Any:
    from tre.rules import quality_statement

    if files:
        raise RequestError("statement_of_version", "A statement is of a version.", "Ingest the files first.")
    if target.suffix not in (".json", ".html"):
        raise RequestError("target_unknown", "A statement is written as .json or .html.", "Name such a file.")
    if target.exists():
        raise Conflict("file_exists", f"{target} is there already.", "Name a file that is not there yet.")
    content = _quality(area).statement(dataset)
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    target.write_text(quality_statement.page_of(content) if target.suffix == ".html" else text, "utf-8")
    noise = content["noise"]
    cost = (
        f"its counts are noisy and cost epsilon {noise['epsilon']:g}, once"
        if noise
        else "it has no counts, and cost nothing"
    )
    show.print(f"{target}: safe to publish; {cost}.")
    return content


def _show(show: Console, found: Report) -> None:
    what = f"version {found.version}" if found.version else "files that are not ingested"
    scores = [(d, "not assessed" if s is None else _share(s)) for d, s in found.scores.items()]
    show.print(
        table(f"Quality of {escape(found.dataset)}, {what}: {found.rows:,} rows", ("dimension", "kept by"), scores)
    )
    failed = [
        (c.check.dimension, escape(c.check.subject), c.check.rule, f"{c.broken:,}", f"{c.of:,}")
        for c in found.counts
        if c.failed
    ]
    if failed:
        show.print(table("Checks that are broken", ("dimension", "of", "rule", "rows", "of rows"), failed))
    missing = [
        (c.check.subject, f"{c.broken:,}", f"{1 - (c.share or 0):.1%}")
        for c in found.counts
        if not c.check.rule.judged and c.broken
    ]
    if missing:
        show.print(table("Without a value, where none is required", ("field", "rows", "share"), missing))
    for m in found.markers:
        show.print(f"{escape(m.field)}: {m.rows:,} cells hold the marker {escape(repr(m.marker))}")
    if found.undeclared_columns:
        show.print(f"{found.undeclared_columns} columns are declared nowhere; ingest leaves them out.")
    _show_drift(show, found.drift)
    show.print(f"Not assessed: {', '.join(found.not_assessed) or 'nothing'}.")
    show.print("These are counts of real rows: they stay inside. To publish: --statement FILE, or tre-admin seal.")


def _show_drift(show: Console, drift: Drift | None) -> None:
    if drift is None:
        return
    fields = f"; declared otherwise since: {', '.join(drift.fields)}" if drift.fields else ""
    show.print(f"The version before had {drift.rows_before:,} rows of {drift.people_before:,} people{fields}.")
    for w in drift.worse:
        show.print(f"  {escape(w.check)} is kept by {_share(w.now)} of rows; it was {_share(w.before)}")


@click.command()
@click.argument("dataset")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--as", "person", required=True, help="The admin who answers for it, of people.yaml; recorded.")
@area_option
@json_option
def seal(dataset: str, file: Path | None, person: str, area: Path | None, show: Console) -> Any:
    """Measure the current version and, if it earns one, write a signed seal: which checks it passed, until when.

    A seal tells, without noise, of real rows that they passed. Issuing one publishes that: a decision for the controller.

    \b
    Example: tre-admin seal hie --as dee
    """
    from tre.secure import seals

    file = file or Path(f"{dataset}-seal.json")
    if file.exists():
        raise Conflict("file_exists", f"{file} is there already.", "Name a file that is not there yet.")
    made = _quality(area)
    signed = seals.issue(made.context, made, dataset, person=person)
    file.write_bytes(seals.as_bytes(signed))
    s = signed.statement
    level = s.level.value if s.level else "all checks"
    show.print(
        f"{file}: {dataset}, version {s.version}, {level}, until {s.until}. Anybody checks it: tre verify {file}"
    )
    return signed


COMMANDS = (quality, seal)
