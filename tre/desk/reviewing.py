"""The commands of output checkers: what waits, a look, a vote. A part of `tre`, whose other commands are in `cli`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tre.desk import notices
from tre.desk.connect import of_command
from tre.desk.show import escape
from tre.messages import Vote
from tre.rules.lifecycle import Release
from tre.rules.voting import Audience, DecisionKind, Remark
from tre.terminal import json_option, table


def _named(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, _sign, text = pair.partition("=")
        if not name or not text.strip():
            raise click.BadParameter("write OUTPUT=REASON")
        found[name] = text
    return found


exception_option = click.option(
    "--exception", "exceptions", multiple=True, metavar="OUTPUT=REASON", callback=_named,
    help="Why it should leave although a rule fails it; output checkers decide. May be given again.",
)  # fmt: skip


@click.command()
@click.option("--exceptions", is_flag=True, help="Instead: the exceptions that were decided before, newest first.")
@json_option
def reviews(exceptions: bool, show: Console) -> Any:
    """For output checkers: what waits for your vote.

    \b
    Examples: tre reviews
              tre reviews --exceptions
    """
    if exceptions:
        decided = of_command().exceptions()
        lines = [
            tuple(
                map(
                    escape, (e.at, e.release, e.output, ", ".join(e.datasets), ", ".join(e.rules), e.reason, e.decision)
                )
            )
            for e in decided
        ]
        columns = ("asked", "request", "output", "datasets", "fails", "reason", "decision")
        show.print(table("Exceptions decided", columns, lines))
        return decided
    client = of_command()
    found = client.reviews()
    rows = [
        (r.release, r.project, r.person, r.submitted, len(r.plan.requests) + len(r.plan.estimates), len(r.outputs))
        for r in found
    ]
    show.print(
        table("Waiting for your vote", ("release", "project", "from", "submitted", "statistics", "outputs"), rows)
    )
    if client.replicas():
        show.print("Replicas wait for your vote, too: tre replicas")
    notices.hint(show, client)
    return found


@click.command()
@click.argument("release")
@click.option("--approve", "decision", flag_value="approve", help="It may leave.")
@click.option("--return", "decision", flag_value="return", help="Back to the researcher, with your comment.")
@click.option("--reject", "decision", flag_value="reject", help="It may not leave.")
@click.option("--comment", default="", help="The researcher reads it after the decision; needed unless you approve.")
@click.option("--remark", help="Say this beside a vote: the researcher reads it after the decision.")
@click.option("--private", is_flag=True, help="The remark is for output checkers only.")
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
    release: str, decision: str | None, comment: str, remark: str | None, private: bool, notebook: Path | None,
    save: Path | None, sacro: Path | None, show: Console,
) -> Any:  # fmt: skip
    """For output checkers: look at a release, or vote on it. Every look is recorded.

    \b
    Examples: tre review rel-1a2b3c4d
              tre review rel-1a2b3c4d --notebook rel-1a2b3c4d.html
              tre review rel-1a2b3c4d --return --comment "cells below ten in table-2"
    """
    from tre.desk import show as shows

    client = of_command()
    if remark is not None:
        client.remark(release, Remark(audience=Audience.CHECKERS if private else Audience.RESEARCHER, text=remark))
    if decision is not None:
        info = client.vote(release, Vote(decision=DecisionKind(decision), comment=comment))
        both = info.votes_cast == 2
        then = (
            "Both have voted: it is decided, and done at the area's next tick."
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
        write_private(notebook, client.review_notebook(release))
        show.print(
            f"The executed notebook is in {notebook}: claims, and unreleased. Delete the file once you have voted."
        )
    return info


@click.command()
@click.argument("release")
@click.option("--reason", required=True, help="Why; the researcher reads it.")
@json_option
def revoke(release: str, reason: str, show: Console) -> Any:
    """Take a release back: an admin alone, or two output checkers, each with a reason.

    It is handed out no more. Copies that were fetched cannot be called back.

    \b
    Example: tre revoke rel-1a2b3c4d --reason "cells of fewer than ten people in table 2"
    """
    state = of_command().revoke(release, reason)
    done = state is Release.REVOKED
    show.print(
        f"{release} is revoked." if done else f"Recorded. {release} is revoked when another checker says so too."
    )
    return {"release": release, "state": state.value}


def write_private(path: Path, content: bytes) -> None:
    """For its owner's eyes."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
        f.write(content)
