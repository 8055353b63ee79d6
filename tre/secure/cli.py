"""`tre-admin`: the commands of the secure side, run on the area's own machine by those who may read its folder."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from tre import terminal
from tre.rules.policy import Isolation
from tre.secure import quality_cli, record_cli, twin_cli
from tre.secure.command import area_option, services
from tre.terminal import json_option, table

if TYPE_CHECKING:
    from tre.secure.applying import Outcome


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--area", type=click.Path(path_type=Path), envvar="TRE_AREA", help="The area's folder; else TRE_AREA.")
@click.version_option(package_name="tre", prog_name="tre-admin")
@click.pass_context
def cli(context: click.Context, area: Path | None) -> None:
    """The secure area of a trusted research environment.

    \b
    A new area:
      tre-admin init AREA; export TRE_AREA=AREA
      tre-admin apply policies/
      tre-admin ingest DATASET FILE…; tre-admin twin DATASET
      tre-admin token PERSON; tre-admin serve
    """
    context.obj = area


def main() -> None:
    os.umask(0o022)
    terminal.run(cli)


@cli.command()
@click.argument("area", type=click.Path(path_type=Path))
@click.option("--database", metavar="URL", help="An empty PostgreSQL database: postgresql+psycopg://…; else a file.")
@json_option
def init(area: Path, database: str | None, show: Console) -> Any:
    """Make a new, empty area: folder, keys, database.

    \b
    Example: tre-admin init /srv/tre/area
    """
    from tre.secure.services import create

    services = create(area, database=database)
    show.print(f"A new area at {area}. Its receipt key: {services.receipt_key}")
    show.print(f"Next: export TRE_AREA={area}; tre-admin apply policies/")
    return {"area": str(area), "receipt_key": services.receipt_key}


@cli.command()
@click.argument("policies", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@click.option("--reason", help="Why a budget is raised; recorded. Needed for a raise, and for nothing else.")
@click.option("--as", "person", help="The admin who does it, of people.yaml; recorded.")
@area_option
@json_option
def apply(
    policies: Path, dry_run: bool, reason: str | None, person: str | None, area: Path | None, show: Console
) -> Any:
    """Validate all policy files, show the difference, apply it. A broken file changes nothing.

    What raises a budget is told apart, and needs a reason; where two admins must agree, it waits for the second.

    \b
    Example: tre-admin apply policies/ --dry-run
    """
    done = services(area).apply(policies, dry_run=dry_run, person=person, reason=reason)
    _show_outcome(show, done)
    if done.proposal:
        show.print(
            f"Nothing is applied yet. Another admin confirms: tre-admin raise confirm {done.proposal} --as PERSON"
        )
    elif not done.changes:
        show.print("Nothing changes.")
    else:
        show.print(f"{_counted(done)} {'to apply' if dry_run else 'applied'}.")
    return asdict(done)


def _counted(done: Outcome) -> str:
    return f"{len(done.changes)} change{'' if len(done.changes) == 1 else 's'}"


def _show_outcome(show: Console, done: Outcome) -> None:
    colours = {"+": "green", "-": "red", "~": "yellow"}
    for line in done.changes:
        show.print(f"[{colours[line[0]]}]{escape(line)}[/]")
    _show_raises(show, done.raises)


def _show_raises(show: Console, raises: list[dict[str, Any]]) -> None:
    for found in raises:
        raised, meaning = found["means"]
        show.print(f"[bold]A raise.[/] {escape(raised)}\n  {escape(meaning)}")


@cli.group("raise")
def raise_() -> None:
    """Raises of budgets that wait for a second admin."""


@raise_.command("list")
@area_option
@json_option
def raise_list(area: Path | None, show: Console) -> Any:
    """What was proposed, by whom and why; newest first.

    \b
    Example: tre-admin raise list
    """
    found = services(area).raises()
    rows = [
        (r["id"], r["state"], r["proposed_by"], r["proposed_at"], r["confirmed_by"], escape(r["reason"])) for r in found
    ]
    show.print(table("Raises of budgets", ("id", "state", "proposed by", "at", "confirmed by", "reason"), rows))
    for r in found:
        _show_raises(show, r["raises"])
    return found


@raise_.command("confirm")
@click.argument("proposal")
@click.option("--as", "person", required=True, help="The admin who confirms: not the one who proposed it.")
@area_option
@json_option
def raise_confirm(proposal: str, person: str, area: Path | None, show: Console) -> Any:
    """Agree to a proposed raise; this applies its policies.

    \b
    Example: tre-admin raise confirm raise-1a2b3c4d --as dee
    """
    done = services(area).confirm_raise(proposal, person=person)
    _show_outcome(show, done)
    show.print(f"{_counted(done)} applied.")
    return asdict(done)


@cli.command()
@click.argument("dataset")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--drop-invalid", is_flag=True, help="Leave out rows that break a rule, and count them.")
@area_option
@json_option
def ingest(dataset: str, files: tuple[Path, ...], drop_invalid: bool, area: Path | None, show: Console) -> Any:
    """Validate data (CSV or Parquet) against the declared schema and register them as a version.

    \b
    Example: tre-admin ingest hie hie.parquet
    """
    made = services(area)
    with show.status(f"validating {dataset}"):
        done = made.ingest(dataset, list(files), drop_invalid=drop_invalid)
    show.print(f"{dataset}: {done['rows']:,} rows of {done['people']:,} people, version {done['version']}.")
    for r in done["rejected"]:
        show.print(f"  left out {r['rows']:,} rows: {r['field']} breaks {r['rule']}")
    show.print(f"  its quality: {quality_cli.in_short(done['quality'])} (tre-admin quality {dataset})")
    return done


@cli.command()
@click.argument("person")
@area_option
@json_option
def token(person: str, area: Path | None, show: Console) -> Any:
    """Make a token for a person; it is shown once.

    \b
    Example: tre-admin token ada
    """
    made = services(area).make_token(person)
    show.print(f"{made}\nIt is not stored and will not be shown again.")
    return {"person": person, "token": made}


@cli.group()
def tokens() -> None:
    """Tokens that were made (`tre-admin token PERSON` makes one)."""


@tokens.command("withdraw")
@click.argument("person")
@area_option
@json_option
def tokens_withdraw(person: str, area: Path | None, show: Console) -> Any:
    """Withdraw all tokens of a person, and the sessions that they began: from now on they open nothing.

    \b
    Example: tre-admin tokens withdraw ada
    """
    gone = services(area).withdraw_tokens(person)
    show.print(
        f"{gone} token{'' if gone == 1 else 's'} of {escape(person)} withdrawn. A new one: tre-admin token PERSON"
    )
    return {"person": person, "withdrawn": gone}


@cli.command()
@click.argument("dataset", required=False)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the burn-down into this PNG file.")
@area_option
@json_option
def budget(dataset: str | None, plot: Path | None, area: Path | None, show: Console) -> Any:
    """What every population's budget has spent, on what, what is left, and when it runs out at the present pace.

    \b
    Example: tre-admin budget hie --plot budget.png
    """
    from tre.secure import budget_text

    found = services(area).budgets(dataset)
    budget_text.show(show, found)
    if plot is not None:
        budget_text.plot(found, str(plot))
        show.print(f"Drawn into {plot}")
    return found


@cli.command("isolation-report")
@click.option("--all", "everything", is_flag=True, help="Also show what was plainly stopped.")
@click.option(
    "--level",
    type=click.Choice([i.value for i in Isolation]),
    default="full",
    show_default=True,
    help="What gets through at a weaker isolation.",
)
@click.option("--forked", is_flag=True, help="From forks that enter their box, as blocks of an estimate do.")
@json_option
def isolation_report(everything: bool, level: str, forked: bool, show: Console) -> Any:
    """Attack the cage on this machine, and the same outside it as a control; fails unless everything was stopped.

    \b
    Example: tre-admin isolation-report --all
    """
    from tre.secure.isolation import report, start, table
    from tre.terminal import Told

    with show.status("attacking the cage"):
        found = report.report(isolation=Isolation(level), forked=forked)
    table.show(show, found, everything=everything)
    return Told(table.document(found), start.leaks(found))


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, help="0 takes a free one.")
@click.option(
    "--workers", default=1, show_default=True, help="Started beside it; 0 where `tre-admin work` runs elsewhere."
)
@area_option
@json_option
def serve(host: str, port: int, workers: int, area: Path | None, show: Console) -> Any:
    """Serve the gateway and do the area's work until stopped. Refuses where the cage does not hold.

    \b
    Example: tre-admin serve --port 8080
    """
    from tre.gateway.server import serve as serve_gateway

    made = services(area)
    made.need_whole()
    level = made.refuse_leaks()
    if level is not Isolation.FULL:
        show.print(f"[bold red]Isolation is {level}[/]: for public data only. Whoever asks this gateway is told so.")
    serve_gateway(
        made, level, host, port, workers, lambda url: show.print(f"The gateway is at {url} (stop with Ctrl-C)")
    )
    return {"stopped": True}


@cli.command()
@click.option("--piped", is_flag=True, help="Work until standard input ends; each byte from it says: there is work.")
@click.option("--checked", hidden=True, default="", help="The isolation that the gateway attacked when it started.")
@area_option
def work(piped: bool, checked: str, area: Path | None) -> None:
    """Take the area's jobs until stopped. `serve` starts one of these itself; more may run beside it.

    A worker that is asked to stop (Ctrl-C, SIGTERM) finishes what it is at; what takes too long it puts back.

    \b
    Example: tre-admin work --area /srv/tre/area
    """
    from tre.secure.jobs.process import work as work_until_stopped

    made = services(area)
    level = made.isolation()
    if level.value != checked:  # else the gateway that started us has made sure of it
        level = made.refuse_leaks()
    work_until_stopped(made.worker(level), piped=piped)


for _command in (*quality_cli.COMMANDS, *record_cli.COMMANDS, *twin_cli.COMMANDS):
    cli.add_command(_command)


if __name__ == "__main__":
    main()
