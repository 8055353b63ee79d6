"""A backup of an area in one file, and an area made of it again.

Guarantees: the database is copied as of one moment while the area is at work (SQLite's own backup), and the files that
it names with it, as they are only ever added to; the archive is made whole or not at all, 0600, every file with its
SHA-256, and nothing is unpacked that does not fit. A restored area charges nothing: what was charged and released after
the backup is forgotten by it, and would be paid for twice. An admin says, with a reason that is recorded, that there was
nothing, or that the loss is borne, before the area charges again (`accept`); what was under way then counts as spent.
Not guaranteed: secrecy. The file holds the rows and the keys: keep it as you keep the area, encrypted.
Not done here: an area on PostgreSQL, whose server has its own backups.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, DataError, NotFound, PolicyError
from tre.secure import audit, ledger
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.settings import AreaFolder

MANIFEST, DATABASE = "backup.json", "area.db"
# What the database names. What is not among them is scratch, or made again: views, attempts of jobs, workers.
KEPT = ("data", "twins", "notebooks", "outputs", "releases", "keys")
VERSION = 1
t = tables.restored


def create(context: Context, file: Path) -> dict[str, Any]:
    """Raises Conflict where `file` exists, PolicyError for an area on a server."""
    area = context.area
    if not isinstance(area.database, Path):
        raise PolicyError(
            "backup_of_server", "This area's database is on a server.",
            "Back the server up with pg_dump, and the area's folder with it, the database first.",
        )  # fmt: skip
    if file.exists():
        raise Conflict("file_exists", f"{file} exists.", "Name a new file; a backup is never overwritten.")
    part = file.with_name(f".{file.name}.part")
    with tempfile.TemporaryDirectory(dir=area.folder("scratch")) as scratch:
        copy = Path(scratch) / DATABASE
        # Before the files: whatever this copy names is there, and stays there.
        _copy_database(area.database, copy)
        files = {DATABASE: copy, **_held(_files(area), Path(scratch))}
        digests = {name: _sha256(path) for name, path in files.items()}
        manifest = {"version": VERSION, "made": context.now(), "files": digests}
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w", dereference=True) as archive:
            content = json.dumps(manifest).encode()
            entry = tarfile.TarInfo(MANIFEST)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
            for name, path in files.items():
                archive.add(path, name, recursive=False)
            stream.flush()
            os.fsync(stream.fileno())
    part.replace(file)
    return {"file": str(file), "files": len(files), "bytes": file.stat().st_size, "made": manifest["made"]}


def restore(file: Path, root: Path, mark: Callable[[Path], None]) -> None:
    """A new area at `root`, which must be empty. Raises DataError for a file that is not a whole backup.

    `mark` is called with the area's folder before it has its name: no area is there that does not know what it is.
    """
    if root.exists() and any(root.iterdir()):
        raise Conflict("area_exists", f"{root} is not empty.", "Choose a new folder; an area is never overwritten.")
    part = root.with_name(f".{root.name}.part")
    if part.exists():
        raise Conflict("restore_unfinished", f"{part} is left of a restore that did not end.", f"Remove {part}.")
    part.mkdir(mode=0o700, parents=True)
    AreaFolder(part).make_folders()
    try:
        with tarfile.open(file, "r:") as archive:
            _unpack(archive, part)
    except (tarfile.TarError, OSError, ValueError, LookupError, TypeError):
        shutil.rmtree(part)  # rows, that nobody would look for there
        raise _broken(file) from None
    mark(part)
    if root.exists():
        root.rmdir()
    part.replace(root)


def mark(context: Context, made: str) -> None:
    """Recorded in the restored area itself: from here on it charges nothing until `accept`."""
    with context.database.write() as connection:
        connection.execute(t.insert().values(made=made, restored_at=context.now()))
        connection.execute(tables.mails.delete())  # sent since, by the area that it was made of
        detail = {"backup_of": made}
        audit.record(connection, at=context.now(), person="admin", event="area.restored", subject="area", detail=detail)


def accept(context: Context, *, reason: str) -> None:
    """An admin answers for what may have been charged after the backup. Raises NotFound where nothing waits for that."""
    if not reason.strip():
        raise PolicyError("reason_needed", "A reason is recorded with this.", 'Say it: --reason "…"')
    with context.database.write() as connection:
        waiting = connection.execute(sa.select(t.c.id).where(t.c.accepted_at.is_(None))).scalars().all()
        if not waiting:
            raise NotFound("nothing_restored", "This area does not wait for anything.", "Nothing is to be done.")
        connection.execute(t.update().where(t.c.id.in_(waiting)).values(accepted_at=context.now(), reason=reason))
        detail = {"reason": reason.strip()[:1000], "written_off": ledger.write_off(connection, at=context.now())}
        audit.record(
            connection, at=context.now(), person="admin", event="area.restore_accepted", subject="area", detail=detail
        )


def made(file: Path) -> str:
    """When a backup was made. Raises DataError."""
    try:
        with tarfile.open(file, "r:") as archive:
            return str(_manifest(archive)["made"])
    except (tarfile.TarError, OSError, ValueError, LookupError, TypeError):
        raise _broken(file) from None


def _copy_database(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as ours, sqlite3.connect(target) as theirs:
        ours.backup(theirs)
    ours.close()
    theirs.close()


def _files(area: AreaFolder) -> dict[str, Path]:
    found = {}
    for name in KEPT:
        for path in sorted(area.folder(name).rglob("*")):
            if path.is_file() and not path.is_symlink() and not path.name.endswith(".part"):
                found[path.relative_to(area.root).as_posix()] = path
    return found


def _held(files: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The same files by names of our own: what is put in the place of one meanwhile does not change the copy."""
    found = {}
    for i, (name, path) in enumerate(files.items()):
        try:
            os.link(path, folder / str(i))
        except FileNotFoundError:
            continue  # gone since: nothing that the database names goes
        except OSError:  # on another file system
            found[name] = path
        else:
            found[name] = folder / str(i)
    return found


def _manifest(archive: tarfile.TarFile) -> dict[str, Any]:
    first = archive.next()
    stream = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
    if stream is None:
        raise ValueError("no manifest")
    found: dict[str, Any] = json.load(stream)
    if found["version"] != VERSION:
        raise ValueError("of another version")
    return found


def _unpack(archive: tarfile.TarFile, root: Path) -> None:
    """Only what the manifest names, each a plain file below a folder of the area, and each as its digest says."""
    digests = dict(_manifest(archive)["files"])
    while (entry := archive.next()) is not None:
        place = PurePosixPath(entry.name)
        inside = entry.name == DATABASE or (place.parts[0] in KEPT and ".." not in place.parts)
        stream = archive.extractfile(entry) if entry.isfile() and inside else None
        if stream is None:
            raise ValueError("not a plain file of an area")
        wanted = digests.pop(entry.name)
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _mode(place)), "wb") as out:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != wanted:
            raise ValueError("a file is not as it was")
    if digests:
        raise ValueError("a file is missing")


def _mode(place: PurePosixPath) -> int:
    return 0o600 if place.parts[0] in ("keys", DATABASE) else 0o644


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _broken(file: Path) -> DataError:
    return DataError(
        "backup_broken", f"{file} is not a whole backup of an area.", "Use another one; nothing was restored."
    )
