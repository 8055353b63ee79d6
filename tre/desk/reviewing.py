"""The commands of output checkers: what waits, a look, a vote. A part of `tre`, whose other commands are in `cli`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tre.desk.connect import needed
from tre.messages import DecisionKind, Vote
from tre.terminal import json_option, table


@click.command()
@json_option
def reviews(show: Console) -> Any:
    """For output checkers: what waits for your vote.

    \b
    Example: tre reviews
    """
    found = needed().reviews()
    rows = [
        (r.release, r.project, r.person, r.submitted, len(r.plan.requests) + len(r.plan.estimates), len(r.outputs))
        for r in found
    ]
    show.print(
        table("Waiting for your vote", ("release", "project", "from", "submitted", "statistics", "outputs"), rows)
    )
    return found


@click.command()
@click.argument("release")
@click.option("--approve", "decision", flag_value="approve", help="It may leave.")
@click.option("--return", "decision", flag_value="return", help="Back to the researcher, with your comment.")
@click.option("--reject", "decision", flag_value="reject", help="It may not leave.")
@click.option("--comment", default="", help="The researcher reads it after the decision; needed unless you approve.")
@click.option(
    "--notebook",
    type=click.Path(path_type=Path),
    help="Write what the run left of the notebook to this HTML file: it does nothing.",
)
@click.option("--save", type=click.Path(path_type=Path), help="Write the outputs under review into this folder.")
@click.option(
    "--sacro", type=click.Path(path_type=Path), help="Write them into this folder as SACRO-Viewer opens them."
)
@json_option
def review(
    release: str, decision: str | None, comment: str, notebook: Path | None, save: Path | None, sacro: Path | None,
    show: Console,
) -> Any:  # fmt: skip
    """For output checkers: look at a release, or vote on it. Every look is recorded.

    \b
    Examples: tre review rel-1a2b3c4d
              tre review rel-1a2b3c4d --notebook rel-1a2b3c4d.html
              tre review rel-1a2b3c4d --return --comment "cells below ten in table-2"
    """
    from tre.desk import show as shows

    client = needed()
    if decision is not None:
        info = client.vote(release, Vote(decision=DecisionKind(decision), comment=comment))
        both = info.votes_cast == 2
        then = (
            "Both have voted: it is decided."
            if both
            else "The other checker's vote is still to come, or hidden from you."
        )
        show.print(f"Your vote on {release} is recorded: {decision}. {then}")
        return info
    info = client.review(release)
    contents = {o.name: client.review_output(release, o.name) for o in info.outputs if o.present}
    shows.review(show, info, contents)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        for output in info.outputs:
            if output.name in contents:
                (save / f"{output.name}.{output.kind.suffix}").write_bytes(contents[output.name])
    if sacro is not None:
        from tre.desk import sacro as packages

        packages.write(sacro, info, contents, info.disclosure)
        show.print(f"In {sacro}: unreleased. Delete the folder once you have voted; the vote is taken here, not there.")
    if notebook is not None:
        _write_private(notebook, client.review_notebook(release))
        show.print(
            f"The executed notebook is in {notebook}: claims, and unreleased. Delete the file once you have voted."
        )
    return info


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
        f.write(content)
