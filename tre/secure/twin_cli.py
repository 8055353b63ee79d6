"""The admin's commands about synthetic twins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tre.secure.command import area_option, services
from tre.terminal import bar, json_option


@click.command()
@click.argument("dataset")
@click.option(
    "--publish",
    type=click.Path(path_type=Path),
    help="Write the twin there is, as published, into a new folder or FILE.zip.",
)
@click.option("--reason", help="With --publish: why. Recorded; needed for a twin that learnt from real rows.")
@click.option("--column", is_flag=True, help="With --publish: a column in which every row says that it is synthetic.")
@area_option
@json_option
def twin(dataset: str, publish: Path | None, reason: str | None, column: bool, area: Path | None, show: Console) -> Any:
    """Make a dataset's synthetic twin, of the tier that its policy names. Charged where it learns from real rows.

    \b
    Example: tre-admin twin hie
      tre-admin twin hie --publish hie-twin --reason "for the open day"
    """
    made = services(area)
    if publish is not None:
        told = made.twins.publish(dataset, publish, reason=reason, column=column)
        show.print(
            f"{dataset}: the SYNTHETIC {told['twin']['tier']} twin, signed, is in {publish}: read index.html there."
        )
        return told
    with bar(show, f"making the twin of {dataset}", "rows") as progress:
        done = made.make_twin(dataset, progress)
    cost = f"epsilon {done['epsilon']:g} (delta {done['delta']:g})" if done["epsilon"] else "nothing"
    show.print(
        f"{dataset}: a {done['tier']} twin of {done['rows']:,} rows. It learnt {done['learnt']}. Charged: {cost}."
    )
    if done["again"]:
        show.print(f"Twins that have its people are to be made again: {', '.join(done['again'])}")
    return done


@click.command("twin-report")
@click.argument("dataset")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file in the area's folder; else reports/DATASET.html there.",
)
@click.option(
    "--publishable", type=click.Path(path_type=Path, dir_okay=False), help="Also write here what needs no real row."
)
@area_option
@json_option
def twin_report(dataset: str, out: Path | None, publishable: Path | None, area: Path | None, show: Console) -> Any:
    """Compare a twin with its data: quality, risk, and the checks before it is handed out. Stays inside the area.

    Nothing of it is printed: it is made of real rows without noise. What leaves of it leaves as an output that two people approve.

    \b
    Example: tre-admin twin-report hie --publishable quality.html
    """
    from tre.secure import reporting

    made = services(area)
    with show.status(f"comparing the twin of {dataset}"):
        told = reporting.write(made.context, made.registry, dataset, out=out, publishable=publishable)
    show.print(f"In {told['inside']}: from real rows WITHOUT noise; it stays inside the area.")
    if publishable is not None:
        show.print(f"In {publishable}: what needs no real row, and may be published.")
    return told


COMMANDS = (twin, twin_report)
