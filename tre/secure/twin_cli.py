"""The admin's commands about synthetic twins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from tre.secure.command import area_option, services
from tre.terminal import bar, json_option, table


@click.command()
@click.argument("dataset")
@click.option(
    "--publish",
    type=click.Path(path_type=Path),
    help="Write the twin there is, as published, into a new folder or FILE.zip.",
)
@click.option("--reason", help="With --publish: why. Recorded; needed for a twin that learnt from real rows.")
@click.option("--column", is_flag=True, help="With --publish: a column in which every row says that it is synthetic.")
@click.option("--replica", metavar="ID", help="With --publish: a replica that two output checkers approved.")
@area_option
@json_option
def twin(
    dataset: str, publish: Path | None, reason: str | None, column: bool, replica: str | None, area: Path | None,
    show: Console,
) -> Any:  # fmt: skip
    """Make a dataset's synthetic twin, of the tier that its policy names. Charged where it learns from real rows.

    \b
    Example: tre-admin twin hie
      tre-admin twin hie --publish hie-twin --reason "for the open day"
    """
    made = services(area)
    if publish is not None:
        if replica is None:
            told = made.twins.publish(dataset, publish, reason=reason, column=column)
        else:
            with made.replicas.approved(dataset, replica) as rows:
                told = made.twins.publish(dataset, publish, reason=reason, column=column, replica=(replica, rows))
        show.print(
            f"{dataset}: the SYNTHETIC {told['twin']['tier']} twin, signed, is in {publish}: read index.html there."
        )
        return told
    if replica is not None:
        raise click.UsageError("--replica goes with --publish FOLDER.")
    with bar(show, f"making the twin of {dataset}", "rows") as progress:
        done = made.make_twin(dataset, progress)
    cost = f"epsilon {done['epsilon']:g} (delta {done['delta']:g})" if done["epsilon"] else "nothing"
    show.print(
        f"{dataset}: a {done['tier']} twin of {done['rows']:,} rows. It learnt {done['learnt']}. Charged: {cost}."
    )
    if done["again"]:
        show.print(f"Twins that have its people are to be made again: {', '.join(done['again'])}")
    return done


@click.command()
@click.argument("dataset")
@click.option("--as", "person", required=True, help="The admin who answers for it, of people.yaml; recorded.")
@click.option(
    "--reason", required=True, help="Why rows modelled on real ones without noise are needed: checkers read it."
)
@area_option
@json_option
def replica(dataset: str, person: str, reason: str, area: Path | None, show: Console) -> Any:
    """Model a dataset's real rows with SDV, WITHOUT noise, and put the result before two output checkers.

    Nothing of it leaves, or is shown to anybody else, before both approved these very rows. The dataset's policy must say
    `replica: true` under `twin`. A twin of a tier with noise needs nobody's approval: see whether it will do.

    \b
    Example: tre-admin replica hie --as dee --reason "benchmark of record linkage"
    """
    made = services(area)
    with show.status(f"modelling {dataset}: about half a minute for 20,000 rows"):
        told = made.replicas.propose(dataset, person=person, reason=reason)
    show.print(f"{told['replica']} waits for two output checkers: tre replicas")
    return told


@click.command()
@area_option
@json_option
def replicas(area: Path | None, show: Console) -> Any:
    """What became of replicas that were proposed.

    \b
    Example: tre-admin replicas
    """
    found = services(area).replicas.all()
    rows = [(r["replica"], r["dataset"], r["made"], r["state"], "; ".join(r["comments"])) for r in found]
    show.print(table("Replicas", ("id", "dataset", "made", "state", "comments"), [tuple(map(escape, r)) for r in rows]))
    return found


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


COMMANDS = (twin, replica, replicas, twin_report)
