"""`tre`: the commands of the desk, for researchers and output checkers. Imports are lazy: help must come at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tre import terminal
from tre.desk import checking, notices, replicas, reviewing, twins
from tre.errors import Conflict, RequestError
from tre.messages import JobView, Stage
from tre.terminal import json_option, table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tre", prog_name="tre")
def cli() -> None:
    """The desk of a trusted research environment: explore twins, submit notebooks, replay what was released.

    \b
    A first journey:
      tre login URL                         (asks for your token)
      tre datasets
      tre submit analysis.ipynb --project P
      tre fetch RELEASE results/
    """


def main() -> None:
    terminal.run(cli)


def _client() -> Any:
    from tre.desk.connect import of_command

    return of_command()


@cli.command()
@click.argument("url")
@click.option("--token", help="Else it is asked for, unseen.")
@json_option
def login(url: str, token: str | None, show: Console) -> Any:
    """Remember the gateway and your token (file of mode 0600).

    \b
    Example: tre login https://gateway.example
    """
    from tre.client import Client
    from tre.desk import show as shown
    from tre.desk.store import Store

    token = token or os.environ.get("TRE_TOKEN") or click.prompt("Token", hide_input=True, err=True)
    client = Client(url, token)
    me = client.me()
    store = Store.default()
    store.save_login(url, token)
    store.pin_key(url, client.receipt_key())
    shown.isolation(client.isolation)
    show.print(f"Signed in as {me.name} ({me.role}); projects: {', '.join(me.projects) or 'none'}.")
    return me


_common = [
    click.argument("notebook", type=click.Path(path_type=Path)),
    click.option("--project", "-P", required=True, help="The project it is for."),
    click.option("-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter of the notebook."),
    click.option("--blocks", metavar="K", help="Run on K blocks of people, for tre.estimate; auto: as many as needed."),
    click.option("--strip", is_flag=True, help="Remove outputs from what is sent (your file stays as it is)."),
]


def common(function: Any) -> Any:
    for option in reversed(_common):
        function = option(function)
    return function


@cli.command()
@common
@json_option
def rehearse(notebook: Path, project: str, parameters: Any, blocks: str | None, strip: bool, show: Console) -> Any:
    """Rehearse a notebook on the twin: shows the plan, its price and the error to expect. Charges nothing.

    \b
    Example: tre rehearse analysis.ipynb --project visits
    """
    from tre.desk import sending

    view = sending.rehearsed(
        _client(), sending.read(notebook, project, dict(parameters), strip=strip, blocks=blocks), show
    )
    if all(c.affordable for c in view.costs):
        show.print(f"Nothing was charged. To let it go as it is: tre confirm {view.id}; else: tre withdraw {view.id}")
    return view


@cli.command()
@common
@click.option("--yes", is_flag=True, help="Confirm the plan without asking.")
@click.option("--wait", is_flag=True, help="Wait until it is released, returned or rejected.")
@click.option(
    "--check", is_flag=True, help="Only say what output checkers would send back, and why; nothing is sent on."
)
@json_option
def submit(
    notebook: Path, project: str, parameters: Any, blocks: str | None, strip: bool, yes: bool, wait: bool, check: bool,
    show: Console,
) -> Any:  # fmt: skip
    """Rehearse, show the plan, and after your confirmation send it into the secure area.

    \b
    Example: tre submit analysis.ipynb --project visits -p year 2 --wait
      tre submit forest.ipynb --project visits --blocks 200
      tre submit tables.ipynb --project visits --check
    """
    from tre.desk import sending

    client = _client()
    view = sending.rehearsed(
        client, sending.read(notebook, project, dict(parameters), strip=strip, blocks=blocks), show
    )
    if check:
        return _checked(client, view, show)
    # What does not fit is refused below, with what would: no need to ask.
    fits = all(c.affordable for c in view.costs)
    if fits and not yes and not click.confirm("Confirm this plan? Its cost will be reserved.", err=True):
        client.withdraw(view.id)
        raise Conflict(
            "not_confirmed", "The plan was not confirmed; nothing was charged.", "Submit again when you wish."
        )
    return sending.confirmed(client, view, show, wait=wait)


def _checked(client: Any, view: JobView, show: Console) -> JobView:
    """The rules' word on the twin, and no more of the job."""
    from tre.desk import show as shows

    plan = view.plan
    withdrawn: JobView = client.withdraw(view.id)
    names = shows.returned(show, plan) if plan is not None else []
    if names:
        raise RequestError(
            "would_be_returned", f"Output checkers would send back: {', '.join(names)}.", "Mend what the findings say."
        )
    return withdrawn.model_copy(update={"plan": plan})


@cli.command()
@click.argument("job")
@reviewing.exception_option
@click.option("--wait", is_flag=True, help="Wait until it is released, returned or rejected.")
@json_option
def confirm(job: str, exceptions: dict[str, str], wait: bool, show: Console) -> Any:
    """Confirm the plan of a rehearsed job: its cost is reserved, and it goes into the secure area.

    \b
    Example: tre confirm job-1a2b3c4d --exception "table-2=the zeros are structural: men have no births"
    """
    from tre.desk import sending

    client = _client()
    view = client.job(job)
    if view.plan_digest is None:
        raise Conflict("not_planned", "This job has no plan.", "Look at it: tre job ID")
    return sending.confirmed(client, view, show, wait=wait, exceptions=exceptions)


@cli.command()
@click.argument("job")
@json_option
def withdraw(job: str, show: Console) -> Any:
    """Take a job back: at any time until its statistics are drawn. What was reserved is free again.

    \b
    Example: tre withdraw job-1a2b3c4d
    """
    view = _client().withdraw(job)
    show.print(f"{job} is withdrawn; nothing was charged.")
    return view


@cli.command()
@json_option
def jobs(show: Console) -> Any:
    """Your jobs, newest first.

    \b
    Example: tre jobs
    """
    from tre.desk.show import SENTENCE

    client = _client()
    found = client.jobs()
    rows = [(j.id, j.project, j.submitted, SENTENCE[j.stage], j.release) for j in found]
    show.print(table("Jobs", ("id", "project", "submitted", "stage", "release"), rows))
    notices.hint(show, client)
    return found


@cli.command()
@click.argument("job_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until it is released, returned or rejected.")
@json_option
def job(job_id: str, wait: bool, show: Console) -> Any:
    """One job: its stage, plan and release.

    \b
    Example: tre job job-1a2b3c4d --wait
    """
    from tre.desk import show as shows
    from tre.desk.follow import until

    client = _client()
    view = until(client, job_id, lambda v: v.stage.final, show) if wait else client.job(job_id)
    shows.job(show, view)
    if view.stage is Stage.PLANNED:
        shows.plan(show, view)
    return view


@cli.command()
@click.option("--project", "-P", required=True)
@json_option
def budget(project: str, show: Console) -> Any:
    """What a project may still spend.

    \b
    Example: tre budget --project visits
    """
    from tre.desk import show as shows

    found = _client().budget(project)
    shows.balances(show, found)
    return found


@cli.command()
@json_option
def releases(show: Console) -> Any:
    """What was released to your projects.

    \b
    Example: tre releases
    """
    found = _client().releases()
    rows = [
        (
            r.id,
            r.project,
            r.stage.value,
            r.updated,
            r.statistics,
            r.outputs,
            ", ".join(f"{e:.3f}" for e in r.charged.values()) or "0",
        )
        for r in found
    ]
    show.print(table("Releases", ("id", "project", "state", "since", "statistics", "outputs", "charged epsilon"), rows))
    return found


for command in (
    twins.datasets,
    twins.twin,
    reviewing.reviews,
    reviewing.review,
    reviewing.revoke,
    replicas.replicas,
    replicas.replica,
    notices.notices,
    checking.fetch,
    checking.verify,
    checking.verify_head,
):
    cli.add_command(command)
