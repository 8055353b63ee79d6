"""A release or a published twin as one file: a ZIP archive that holds a BagIt bag, as Five Safes crates are passed on.

Guarantees: the same files give the same bytes, on any machine at any time (stored, sorted, dated 1980, nothing of the
machine); `unpack` takes these very bytes and no others, and names the entry in which the first other byte is. So no byte
of an archive can be changed unseen, be it in a header that unpacking would ignore.
Not done here: who signed (rules.receipt). Source of the bag: RFC 8493.
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from tre.errors import VerificationFailed
from tre.rules import twin_label
from tre.rules.canonical import digest_bytes
from tre.rules.receipt import RECEIPT
from tre.rules.text import visible

MAX_BYTES = 500 * 2**20
MAX_FILES = 2_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DIRECTORY = "the archive's directory"


def pack(name: str, files: Mapping[str, bytes]) -> bytes:
    """The archive of a release: a bag called `name` with the files as its payload."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in sorted(_bag(files).items()):
            info = zipfile.ZipInfo(f"{name}/{path}")
            info.create_system, info.external_attr = 3, 0o644 << 16  # whatever the machine
            archive.writestr(info, content)
    return buffer.getvalue()


def _bag(files: Mapping[str, bytes]) -> dict[str, bytes]:
    payload = {f"data/{path}": content for path, content in files.items()}
    identifier = uuid.uuid5(uuid.NAMESPACE_OID, digest_bytes(files.get(RECEIPT) or files.get(twin_label.FILE, b"")))
    size = sum(map(len, payload.values()))
    tags = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": f"External-Identifier: urn:uuid:{identifier}\nPayload-Oxum: {size}.{len(payload)}\n".encode(),
        "manifest-sha512.txt": _manifest(payload),
    }
    return payload | tags | {"tagmanifest-sha512.txt": _manifest(tags)}


def _manifest(files: Mapping[str, bytes]) -> bytes:
    lines = [f"{hashlib.sha512(content).hexdigest()}  {path}\n" for path, content in sorted(files.items())]
    return "".join(lines).encode()


def unpack(archive: bytes) -> dict[str, bytes]:
    """The release's files by name. Raises VerificationFailed: bundle_unreadable or archive_changed."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as found:
            # 1. It is small enough, and its names are plain ones of one bag.
            name = _checked(found.infolist())
            # 2. Each entry can be read.
            entries = {i.filename: _read(found, i) for i in found.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, EOFError):
        raise _failed("bundle_unreadable", "This is not a release's archive, or its directory was changed.") from None
    # 3. It is the one archive of these files.
    start = f"{name}/data/"
    files = {path.removeprefix(start): content for path, content in entries.items() if path.startswith(start)}
    right = pack(name, files)
    if right != archive:
        raise _changed(_where(right, archive))
    return files


def _checked(infos: list[zipfile.ZipInfo]) -> str:
    names = [i.filename for i in infos]
    if not infos or len(infos) > MAX_FILES or sum(i.file_size for i in infos) > MAX_BYTES:
        raise ValueError("too much, or nothing")
    if len(set(names)) != len(names) or not all(map(_plain, names)):
        raise ValueError("not plain names")
    roots = {n.partition("/")[0] for n in names}
    (name,) = roots if len(roots) == 1 else ("",)
    if not NAME.fullmatch(name):
        raise ValueError("not one bag")
    return name


def _read(found: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise _changed(info.filename)
    try:
        return found.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError):
        raise _changed(info.filename) from None


def _where(right: bytes, archive: bytes) -> str:
    """The entry of the right archive in which the other one is first different."""
    at = _common(right, archive)
    with zipfile.ZipFile(io.BytesIO(right)) as found:
        before = [i for i in found.infolist() if i.header_offset <= at < found.start_dir]
    return before[-1].filename if before else DIRECTORY


def _common(a: bytes, b: bytes) -> int:
    """How many bytes both begin with, by halves."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return low


def _plain(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and not name.endswith("/")
    )


def _changed(where: str) -> VerificationFailed:
    return _failed("archive_changed", f"{visible(where)} was changed in the archive.")


def _failed(code: str, message: str) -> VerificationFailed:
    return VerificationFailed(code, message, "Do not rely on this copy; fetch the release again and compare.")
