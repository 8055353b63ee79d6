"""The admin's commands about the record: the audit log and its witnesses, the public register, backups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tre.errors import Conflict, DataError, NotFound
from tre.secure.command import area_option, services
from tre.terminal import json_option


@click.group()
def audit() -> None:
    """The audit log."""


@audit.command("head")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--since", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="An earlier head.")
@area_option
@json_option
def head(file: Path, since: Path | None, area: Path | None, show: Console) -> Any:
    """Write a signed head of the audit log, for somebody outside to keep; with a proof about one they have.

    \b
    Example: tre-admin audit head today.json --since yesterday.json
    """
    from tre.rules.heads import as_json

    found = services(area).audit_head(None if since is None else since.read_bytes())
    if file.exists():
        raise Conflict("file_exists", f"{file} exists.", "Name a new file; a head is never overwritten.")
    file.write_text(as_json(found))
    show.print(f"{found['size']:,} entries, root {found['root']}, in {file}: give it to a witness")
    return found


@audit.command("verify")
@click.option(
    "--head",
    "witnessed",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A head that a witness kept; may be given again.",
)
@area_option
@json_option
def verify(witnessed: tuple[Path, ...], area: Path | None, show: Console) -> Any:
    """Check every entry of the audit log, the receipts that were made with it, and the heads that witnesses kept.

    \b
    Example: tre-admin audit verify --head kept/2026-11-26.json
    """
    found = services(area).verify_audit({str(path): path.read_bytes() for path in witnessed})
    if found["first_broken"] is not None:
        raise DataError(
            "audit_broken",
            f"The audit log does not fit from entry {found['first_broken']} on.",
            "Keep the database as it is, and compare it with a backup.",
        )
    if found["receipts_that_do_not_fit"]:
        raise DataError(
            "audit_rewritten",
            f"The receipt of {found['receipts_that_do_not_fit'][0]} was made with another audit log than this one.",
            "Keep the database as it is, and compare it with a backup.",
        )
    if found["changed_files"]:
        raise DataError(
            "release_changed", f"A release is not as it was published: {found['changed_files'][0]}",
            "Keep the area as it is, and compare it with a backup.",
        )  # fmt: skip
    if found["does_not_fit"] == "tree":
        level, place = found["wrong_node"]
        raise DataError(
            "audit_tree_broken", f"Node {place} of level {level} of what is kept of the log's tree is not of its entries.",
            "Keep the database as it is, and compare it with a backup.",
        )  # fmt: skip
    if found["does_not_fit"] is not None:
        raise DataError(
            "audit_rewritten", f"The log does not begin with the head in {found['does_not_fit']}.",
            "Keep the database as it is, and compare it with a backup and with what the witness has.",
        )  # fmt: skip
    also = f", and the heads of {found['witnessed']} witnesses" if found["witnessed"] else ""
    show.print(f"{found['entries']:,} entries, unbroken{also}; head {found['head']}")
    return found


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@area_option
@json_option
def register(folder: Path, area: Path | None, show: Console) -> Any:
    """Write the public register into a folder: a page and its data, made of policies and of what was released.

    \b
    Example: tre-admin register /srv/www/register
    """
    found = services(area).register(folder)
    releases = sum(len(p["releases"]) for p in found["projects"])
    show.print(f"{len(found['projects'])} projects and {releases} releases, in {folder / 'index.html'}")
    return found


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@area_option
@json_option
def backup(file: Path, area: Path | None, show: Console) -> Any:
    """Copy the whole area into one file, while it is at work. It holds the rows and the keys: keep it as you keep them.

    \b
    Example: tre-admin backup /srv/backup/area-2026-11-26.tar
    """
    found = services(area).backup(file)
    show.print(f"{found['files']} files, {found['bytes']:,} bytes, in {found['file']}")
    return found


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--accept", is_flag=True, help="Answer for what a restored area has forgotten; it then charges again.")
@click.option("--reason", help="Recorded with --accept.")
@area_option
@json_option
def restore(file: Path | None, accept: bool, reason: str | None, area: Path | None, show: Console) -> Any:
    """Make an area of a backup, in the new folder that --area names. It charges nothing until that is answered for.

    What was charged and released after the backup is not in it, and would be paid for twice: compare it with the releases
    that researchers have, then accept. Whatever was under way in the backup counts as spent, and is told as lost.

    \b
    Example: tre-admin restore backup.tar --area /srv/tre/area; tre-admin restore --accept --reason "nothing since"
    """
    if accept:
        services(area).accept_restored(reason or "")
        show.print("Accepted, and recorded: the area charges again.")
        return {"accepted": True}
    if file is None or area is None:
        raise NotFound("restore_unnamed", "A backup and a new folder are needed.", "tre-admin restore FILE --area NEW")
    from tre.secure.services import restore as make

    made = make(file, area)
    click.get_current_context().call_on_close(made.close)
    show.print(f"An area at {area}. It charges nothing yet: tre-admin restore --accept --reason TEXT --area {area}")
    return {"area": str(area)}


@click.command()
@area_option
@json_option
def stats(area: Path | None, show: Console) -> Any:
    """How long things take, how checkers decide and agree, what goes back and why, what noise adds, what budgets have left.

    For the controller and the team: how long runs on real rows took tells a little of the rows.

    \b
    Example: tre-admin stats --json
    """
    from tre.secure import figures, figures_text
    from tre.secure import policies as policy_files

    context = services(area).context
    with context.database.read() as connection:
        found = figures.figures(connection, policy_files.current(connection), at=context.now())
    figures_text.show(show, found)
    return found


COMMANDS = (audit, register, backup, restore, stats)
