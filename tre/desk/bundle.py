"""A fetched release on disk: read, verified, written. All the checking is rules.receipt's and archive's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tre import archive
from tre.errors import Conflict, NotFound, VerificationFailed
from tre.rules import receipt

MAX_SEAL = 10_000_000


def read(path: Path) -> dict[str, bytes]:
    """A bundle's folder or archive."""
    if path.is_file():
        if path.stat().st_size > 2 * archive.MAX_BYTES:
            raise _not_a_bundle()
        return archive.unpack(path.read_bytes())
    if not path.is_dir():
        raise NotFound("bundle_missing", f"There is nothing at {path}.", "Name a fetched release's folder or archive.")
    found = [p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()]
    if any(p.is_symlink() or not p.is_file() for p in found):
        raise _not_a_bundle()
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in found}


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Raises Conflict where something other than these very files is."""
    there = read(folder) if folder.is_dir() else {}
    if (folder.exists() and not folder.is_dir()) or any(files.get(name) != content for name, content in there.items()):
        raise Conflict("folder_not_empty", f"{folder} holds something else.", "Name a folder that is new or empty.")
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def write_archive(file: Path, name: str, files: dict[str, bytes]) -> None:
    """The release as one file. Raises Conflict where another file is."""
    content = archive.pack(name, files)
    if file.exists() and (not file.is_file() or file.read_bytes() != content):
        raise Conflict("file_exists", f"{file} is something else.", "Name a file that is not there yet.")
    file.write_bytes(content)


def verify(files: dict[str, bytes], known: set[str], *, must_be_known: bool = False) -> dict[str, Any]:
    """The receipt and whether its key is one of `known`. Raises VerificationFailed."""
    found = receipt.verify(files)
    return {"receipt": found, "key_known": key_known(found["key"], known, must_be_known=must_be_known, what="receipt")}


def key_known(key: str, known: set[str], *, must_be_known: bool, what: str) -> bool:
    """Raises VerificationFailed for a key that is not, where it must be, or where any is known."""
    if key not in known and (must_be_known or known):
        raise VerificationFailed(
            "key_unknown",
            f"The {what} is signed, but not with a key of an area that this desk knows.",
            "Get the area's key from its data controller: tre verify PATH --key KEY (or --any-key, for the bytes alone)",
        )
    return key in known


def sealed(path: Path) -> bytes | None:
    """The content of a seal's file, as which every JSON file counts; None for anything else."""
    if path.suffix != ".json" or not path.is_file() or path.stat().st_size > MAX_SEAL:
        return None
    return path.read_bytes()


def _not_a_bundle() -> VerificationFailed:
    return VerificationFailed("bundle_unreadable", "This is not a release's archive.", "Fetch the release again.")
