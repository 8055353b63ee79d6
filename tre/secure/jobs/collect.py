"""The strict reader of an outbox: what a box leaves is untrusted, its names and kinds as much as its bytes.

Guaranteed: a file is read only if it is a plain file with a single name, directly in the outbox and no larger than
the cap, opened relative to the outbox's own descriptor without following a link; a FIFO, socket or device is never
waited for; at most `max_bytes` are held. No name or byte that the job chose enters a message: the caller asks by a
name it chose itself.
An outbox is measured (while its box still runs) by the same means: relative to descriptors, following no link.
Not done here: reading meaning into the bytes (they are claims), or listing names: whoever asks knows what should be
there.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tre.errors import SandboxError

MAX_ENTRIES, MAX_DEPTH = 10_000, 16


def read(outbox: Path, name: str, *, max_bytes: int) -> bytes | None:
    """The bytes of `name`, None if it is not there; SandboxError for anything but a plain file within the cap."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise _refused("was asked for by a path instead of a name")
    directory = _opened_directory(outbox)
    try:
        return _read(directory, name, max_bytes)
    finally:
        os.close(directory)


def fits(outbox: int, *, max_bytes: int) -> bool:
    """Whether an open outbox takes no more than this on disk and is of a shape that can be measured."""
    try:
        return _fits(outbox, _Left(max_bytes, MAX_ENTRIES), MAX_DEPTH)
    except OSError:
        return False  # a directory closed to us: as good as over


@dataclass
class _Left:
    size: int
    entries: int


def _fits(directory: int, left: _Left, depth: int) -> bool:
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
                left.size -= found.st_blocks * 512
                left.entries -= 1
                if left.size < 0 or left.entries < 0:
                    return False
                if stat.S_ISDIR(found.st_mode) and not _fits_below(directory, entry.name, left, depth - 1):
                    return False
            except FileNotFoundError:
                continue  # removed while we looked
    return True


def _fits_below(directory: int, name: str, left: _Left, depth: int) -> bool:
    if depth == 0:
        return False
    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        return _fits(below, left, depth)
    finally:
        os.close(below)


def _opened_directory(outbox: Path) -> int:
    try:
        return os.open(outbox, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise _refused("has no directory to be in") from None


def _read(directory: int, name: str, max_bytes: int) -> bytes | None:
    try:
        seen = os.stat(name, dir_fd=directory, follow_symlinks=False)
        _check(seen, max_bytes)  # before opening: to open a device can be an act
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError:
        raise _refused("cannot be opened as a plain file") from None
    try:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != (seen.st_dev, seen.st_ino):
            raise _refused("changed while it was read")
        _check(found, max_bytes)
        return _bytes(descriptor, max_bytes)
    finally:
        os.close(descriptor)


def _check(found: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _refused("is not a plain file")
    if found.st_nlink != 1:
        raise _refused("has more than one name")
    if found.st_size > max_bytes:
        raise _refused(f"is larger than {max_bytes} bytes")


def _bytes(descriptor: int, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = max_bytes + 1  # one more, to see a file that grew since it was measured
    while left and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise _refused(f"is larger than {max_bytes} bytes")
    return b"".join(parts)


def _refused(why: str) -> SandboxError:
    return SandboxError(
        "outbox_refused",
        f"What the job was to leave in its outbox {why}.",
        "Nothing of it was kept; look at the notebook before it is run again.",
    )
