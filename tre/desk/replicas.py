"""The commands of output checkers about replicas: what waits, a look, a vote. A part of `tre`, whose others are in `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tre.desk.connect import of_command
from tre.desk.reviewing import write_private
from tre.desk.show import escape
from tre.rules.replica import Choice, Evidence, ReplicaVote
from tre.terminal import json_option, table


@click.command()
@json_option
def replicas(show: Console) -> Any:
    """For output checkers: replicas that wait for your vote.

    \b
    Example: tre replicas
    """
    found = of_command().replicas()
    rows = [(r.id, r.dataset, r.made, escape(r.reason)) for r in found]
    show.print(table("Replicas that wait for your vote", ("id", "dataset", "made", "why"), rows))
    return found


@click.command()
@click.argument("replica")
@click.option(
    "--save", type=click.Path(path_type=Path), help="Write its rows into this new Parquet file, to look at them."
)
@click.option("--approve", "choice", flag_value="approve", help="These rows may be published.")
@click.option("--reject", "choice", flag_value="reject", help="They may not.")
@click.option("--sha256", help="With a vote: of the rows that you looked at, as this command shows it.")
@click.option("--comment", default="", help="The admins read it after the decision; needed to reject.")
@json_option
def replica(
    replica: str, save: Path | None, choice: str | None, sha256: str | None, comment: str, show: Console
) -> Any:
    """For output checkers: look at a replica, or vote on it. Every look is recorded.

    A replica is rows that SDV modelled on real ones, without noise. Two of you decide whether they may be published.

    \b
    Examples: tre replica rep-1a2b3c4d --save rows.parquet
              tre replica rep-1a2b3c4d --approve --sha256 3f…
              tre replica rep-1a2b3c4d --reject --comment "the attack finds who was in"
    """
    client = of_command()
    if choice is None:
        info = client.replica(replica)
        for line in _said(info.evidence):
            show.print(line)
        show.print(f"SHA-256 of the rows: {info.sha256}")
        show.print(f"{info.dataset}, {info.rows:,} rows, {info.state.value}. Why: {escape(info.reason)}")
        if save is not None:
            write_private(save, client.replica_rows(replica))
            show.print(f"Its rows are in {save}: unreleased. Delete the file once you have voted.")
        return info
    if choice == Choice.APPROVE and not sha256:
        raise click.UsageError("To approve, say which rows: --sha256, as `tre replica ID` shows it.")
    seen = sha256 or client.replica(replica).sha256
    info = client.replica_vote(replica, ReplicaVote(choice=Choice(choice), sha256=seen, comment=comment))
    show.print(f"Your vote on {replica} is recorded: {choice}. It is {info.state.value}.")
    return info


def _said(e: Evidence) -> list[str]:
    attack = f"tells people in the model from others with an area under the curve of {e.attack:.3f} (0.5: not at all)."
    return [
        "[bold]No differential privacy: nothing bounds what these rows tell of a person.[/]",
        f"Of its {e.people:,} people, {e.repeated:.2%} have all the cells of a real person, {e.repeated_alone:.2%} of just one.",
        f"A membership attack {attack} That this one fails does not say that another would.",
        f"Single columns are {e.distance:.3f} from the real ones (total variation distance, mean).",
    ]
