"""`tre fetch`, `tre verify`, `tre verify-head`: a release brought to the desk, and checked by anybody anywhere.

Guarantees: the two checks need no network, no account and no server; nothing is written of a release that does not fit its
receipt. Imports are lazy, as in cli.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from tre.errors import Conflict, RequestError
from tre.terminal import json_option


def fetched(client: Any, release: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A release's files, verified by the gateway's pinned key and put where notebooks at this desk replay them."""
    from tre.archive import unpack
    from tre.desk import bundle
    from tre.desk.store import Store

    store = Store.default()
    store.pin_key(client.url, client.receipt_key())
    files = unpack(client.bundle(release))
    verdict = bundle.verify(files, store.known_keys())
    bundle.write(store.releases / release, files)
    return files, verdict


@click.command()
@click.argument("release")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--archive", type=click.Path(path_type=Path, dir_okay=False), help="Write it as one ZIP file, too or instead."
)
@json_option
def fetch(release: str, folder: Path | None, archive: Path | None, show: Console) -> Any:
    """Fetch a release into DIR, verify it, and let notebooks here replay it.

    \b
    Example: tre fetch rel-1a2b3c4d results/
      tre fetch rel-1a2b3c4d --archive rel-1a2b3c4d.zip
    """
    from tre.desk import bundle
    from tre.desk.connect import of_command

    if folder is None and archive is None:
        raise RequestError("target_missing", "Nothing says where to.", "Name a folder, or --archive FILE.zip.")
    client = of_command()
    files, verdict = fetched(client, release)
    if folder is not None:
        bundle.write(folder, files)
    if archive is not None:
        bundle.write_archive(archive, release, files)
    where = " and ".join([*([f"{folder}/"] if folder else []), *([str(archive)] if archive else [])])
    show.print(f"{release}: verified, in {where} (values, outputs, receipt). Notebooks at this desk now replay it.")
    told = {"folder": str(folder) if folder else None, "archive": str(archive) if archive else None}
    return {"release": release, **told, "files": sorted(files), **verdict}


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--key", help="The area's receipt key (64 hexadecimal digits) or a file that holds it.")
@click.option("--any-key", is_flag=True, help="Check the bytes even if nobody has told this desk the area's key.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write the receipt as a page for people."
)
@json_option
def verify(path: Path, key: str | None, any_key: bool, html: Path | None, show: Console) -> Any:
    """Check a release's or a twin's folder or archive, or a seal of a dataset's quality: its signature and every byte it
    covers. A twin's Parquet or CSV file alone, too, beside its twin.receipt.json. Needs no network and no account.

    \b
    Example: tre verify results/ --key area-key.hex
      tre verify rel-1a2b3c4d.zip --html receipt.html
      tre verify hie-seal.json --key area-key.hex
      tre verify hie-twin
    """
    from tre.desk import bundle, twins
    from tre.desk import show as shown
    from tre.desk.store import Store
    from tre.rules import receipt_page

    known = {Path(key).read_text().strip() if Path(key).is_file() else key} if key else Store.default().known_keys()
    if twins.is_twin(path):
        if html is not None:
            raise RequestError("html_none", "A twin has a page already.", "Read its index.html.")
        return twins.check(path, known, any_key=any_key, show=show)
    content = bundle.sealed(path)
    if content is not None:
        return _verify_seal(content, known, show, must_be_known=not any_key)
    files = bundle.read(path)
    verdict = bundle.verify(files, known, must_be_known=not any_key)
    receipt = verdict["receipt"]
    if html is not None:
        if html.exists():
            raise Conflict("file_exists", f"{html} is there already.", "Name a file that is not there yet.")
        html.write_text(receipt_page.page_of(files, receipt, key_known=verdict["key_known"]), "utf-8")
    show.print(
        f"[bold green]good[/bold green]: {receipt['release']} of {receipt['area']}, released {receipt['released']}"
    )
    show.print(_signer(receipt["key"], known=verdict["key_known"]))
    shown.isolation(str(receipt.get("isolation", "full")))
    return verdict


def _signer(key: str, *, known: bool) -> str:
    whose = "a key this desk knows" if known else "a key this desk does NOT know: compare it with the area's"
    return f"signed with {whose}: {key}"


def _verify_seal(content: bytes, known: set[str], show: Console, *, must_be_known: bool) -> Any:
    from datetime import UTC, datetime

    from tre.desk import bundle
    from tre.rules import seal

    found = seal.read(content, today=datetime.now(UTC).date())
    mine = bundle.key_known(found.key, known, must_be_known=must_be_known, what="seal")
    s = found.statement
    level = f"level {s.level.value}" if s.level else "all that was checked"
    show.print(
        f"[bold green]good[/bold green]: {escape(s.dataset)} of {escape(s.area)}, version {s.version}: {level}, until {s.until}"
    )
    show.print(
        f"{len(s.passed)} of {len(s.checked)} checks passed; not assessed: {', '.join(s.not_assessed) or 'nothing'}"
    )
    show.print(_signer(found.key, known=mine))
    return {"seal": found, "key_known": mine}


@click.command("verify-head")
@click.argument("head", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--since", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="The head kept before.")
@json_option
def verify_head(head: Path, since: Path | None, show: Console) -> Any:
    """As a witness: check a signed head of an area's audit log, and that nothing before it was rewritten.

    Needs no network and no account. Compare the key with the one that the area told you.

    \b
    Example: tre verify-head today.json --since yesterday.json
    """
    from tre.rules import heads

    later = heads.read(head.read_bytes())
    if since is not None:
        heads.extends(later, heads.read(since.read_bytes()))
    whole = f"; it begins with all of {since}" if since else ""
    show.print(f"[bold green]good[/bold green]: {later.size:,} entries at {later.at}{whole}")
    show.print(f"signed with {later.key}")
    return later
