"""`tre datasets`, `tre twin`, and the check of a twin that somebody hands you.

Guarantees: nothing is written of a package that does not fit its signed label; `check` needs no network and no account. A twin
is ours and unchanged if its label is signed with a key that this desk knows and the file's bytes are those that it names:
a twin without its label, whatever it says of itself inside, is said to be nobody's. Imports are lazy, as in cli.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tre.errors import Conflict, NotFound, VerificationFailed
from tre.terminal import json_option, table

# A twin's file alone, beside its label.
ALONE = (".parquet", ".csv")


@click.command()
@click.option("--twins", is_flag=True, help="The twins that you may have: of your projects' datasets, and public ones.")
@json_option
def datasets(twins: bool, show: Console) -> Any:
    """The datasets of your projects, and what their twins are.

    \b
    Example: tre datasets --json
    """
    from tre.desk.connect import of_command

    client = of_command()
    if twins:
        offers = client.twins()
        rows = [
            (o.id, o.title, len(o.columns), o.tier, o.made, "public" if o.public else "your projects'") for o in offers
        ]
        show.print(table("Synthetic twins", ("id", "title", "columns", "tier", "made", "for"), rows))
        if offers:
            show.print(f"To keep or pass on, signed and described: tre twin {offers[0].id} --out {offers[0].id}-twin")
        return offers
    found = client.datasets()
    mine = [
        (
            d.id,
            d.title,
            len(d.columns),
            d.twin.tier if d.twin else "no twin yet",
            d.population,
            d.seal.said if d.seal else "",
        )
        for d in found
    ]
    show.print(table("Datasets", ("id", "title", "columns", "twin", "population", "seal of quality"), mine))
    show.print("Twins to keep or pass on, public ones too: tre datasets --twins")
    return found


@click.command()
@click.argument("dataset")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write the twin's Parquet file alone here.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write it as it is published, into a new folder or FILE.zip."
)
@click.option("--column", is_flag=True, help="With --out: a column in which every row says that it is synthetic.")
@json_option
def twin(dataset: str, output: Path | None, out: Path | None, column: bool, show: Console) -> Any:
    """Fetch a dataset's synthetic twin, for `tre.dataset(...)` in notebooks; or, with --out, to keep or pass on.

    \b
    Example: tre twin hie
      tre twin hie --out hie-twin
    """
    from tre.desk.connect import of_command
    from tre.desk.store import Store

    client = of_command()
    if out is not None:
        return _published(client, dataset, out, show, column=column)
    info, content = client.dataset(dataset), client.twin(dataset)
    path = Store.default().save_twin(info, content)
    if output is not None:
        output.write_bytes(content)
    label = info.twin
    show.print(f"{label.says(dataset) if label is not None else 'SYNTHETIC'}.\n{path}")
    return {"dataset": dataset, "path": str(path), "twin": label}


def _published(client: Any, dataset: str, out: Path, show: Console, *, column: bool) -> Any:
    from tre.archive import unpack
    from tre.desk import bundle
    from tre.desk.store import Store

    store = Store.default()
    store.pin_key(client.url, client.receipt_key())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Conflict("folder_not_empty", f"{out} holds something else.", "Name a folder or file that is new.")
    content = client.twin_package(dataset, column=column)
    files = unpack(content)
    found = _accepted(_digests(files), files.get(_label_file()), store.known_keys(), whole=True, any_key=False)
    if out.suffix == ".zip":
        out.write_bytes(content)
    else:
        bundle.write(out, files)
    label = found["statement"]["label"]
    show.print(
        f"SYNTHETIC {label['tier']} twin of {dataset}: verified, in {out} (read index.html). Learnt {label['learnt']}."
    )
    return {"dataset": dataset, "out": str(out), "files": sorted(files), "twin": label}


# The check


def is_twin(path: Path) -> bool:
    """Whether it is to be checked as a twin: it has a twin's label, or the ending of a table."""
    if path.is_dir():
        synthetic = any(".SYNTHETIC." in p.name for p in path.iterdir())
        return (path / _label_file()).is_file() or (synthetic and not (path / "receipt.json").is_file())
    if path.suffix in ALONE:
        return True
    if not path.is_file():
        return False
    import zipfile

    try:
        with zipfile.ZipFile(path) as found:
            return any(name.endswith(f"/data/{_label_file()}") for name in found.namelist())
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False


def check(path: Path, known: set[str], *, any_key: bool, show: Console) -> dict[str, Any]:
    """A folder, an archive, or one table beside its label. Raises VerificationFailed unless it is ours and unchanged."""
    label, digests, whole = _read(path)
    found = _accepted(digests, label, known, whole=whole, any_key=any_key)
    from tre.desk.show import escape

    # Whoever signed it may have signed anything: a word of another kind, or none.
    said = found["statement"]["label"]
    tier, dataset, made, learnt = (escape(str(said.get(k, "not said"))) for k in ("tier", "dataset", "made", "learnt"))
    whose = "knows" if found["key_known"] else "does NOT know: compare it with the area's"
    ours = "ours and unchanged" if found["key_known"] else "unchanged"
    show.print(
        f"[bold green]good[/bold green]: {ours}, a SYNTHETIC {tier} twin of {dataset}, made {made}; learnt {learnt}"
    )
    show.print(f"signed with a key this desk {whose}: {found['statement']['key']}")
    return found


def _read(path: Path) -> tuple[bytes | None, dict[str, str], bool]:
    from tre.rules.canonical import digest_stream

    if path.is_dir():
        found = [p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()]
        if any(p.is_symlink() or not p.is_file() for p in found):
            raise VerificationFailed("label_malformed", "This is no twin's folder.", "Fetch the twin again.")
        label = path / _label_file()
        digests = {}
        for p in found:
            if p != label:
                with p.open("rb") as stream:
                    digests[p.relative_to(path).as_posix()] = digest_stream(stream)
        return (label.read_bytes() if label.is_file() else None), digests, True
    if not path.is_file():
        raise NotFound("twin_missing", f"There is nothing at {path}.", "Name a twin's folder, archive or file.")
    if path.suffix in ALONE:
        beside = path.parent / _label_file()
        with path.open("rb") as stream:
            return (beside.read_bytes() if beside.is_file() else None), {path.name: digest_stream(stream)}, False
    from tre.archive import unpack

    files = unpack(path.read_bytes())
    return files.get(_label_file()), _digests(files), True


def _digests(files: dict[str, bytes]) -> dict[str, str]:
    from tre.rules.canonical import digest_bytes

    return {name: digest_bytes(content) for name, content in files.items() if name != _label_file()}


def _accepted(
    digests: dict[str, str], label: bytes | None, known: set[str], *, whole: bool, any_key: bool
) -> dict[str, Any]:
    from tre.rules import twin_label

    found = twin_label.verify(label, digests, whole=whole)
    if found["key"] not in known and not any_key:
        raise VerificationFailed(
            "key_unknown",
            "The twin's label is signed, but not with a key of an area that this desk knows.",
            "Get the area's key from its data controller: tre verify PATH --key KEY (or --any-key, for the bytes alone)",
        )
    return {"statement": found, "key_known": found["key"] in known}


def _label_file() -> str:
    from tre.rules.twin_label import FILE

    return FILE
