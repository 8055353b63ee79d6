"""One archive for one set of files: the same bytes always, and no other bytes taken for it."""

import hashlib
import io
import random
import zipfile

import pytest

from tre.archive import pack, unpack
from tre.errors import VerificationFailed

FILES = {"receipt.json": b'{"a":1}', "values.json": b"[]", "outputs/t.csv": b"x,y\n1,2\n", "empty.txt": b""}


def test_the_same_files_give_the_same_bytes_whatever_their_order():
    archive = pack("rel-1", FILES)
    assert pack("rel-1", dict(reversed(FILES.items()))) == archive
    assert unpack(archive) == FILES
    # Known on another machine or in another year: a change of these bytes would make kept archives fail.
    assert hashlib.sha256(archive).hexdigest() == "6eec3adf8b8e8f0eb95e69664e0e1841cecd7d0513d4c41ee46acdd64bd1b4c2"


def test_it_is_a_bag_that_anybody_can_check():
    with zipfile.ZipFile(io.BytesIO(pack("rel-1", FILES))) as found:
        bag = {n.removeprefix("rel-1/"): found.read(n) for n in found.namelist()}
    assert bag["bagit.txt"].startswith(b"BagIt-Version: 1.0\n")
    listed = dict(reversed(line.split("  ")) for line in bag["manifest-sha512.txt"].decode().splitlines())
    assert listed == {n: hashlib.sha512(c).hexdigest() for n, c in bag.items() if n.startswith("data/")}
    assert b"External-Identifier: urn:uuid:" in bag["bag-info.txt"]


def _zip(entries, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK", _zip([]), _zip([("../x", b"")]), _zip([("/x/y", b"")]), _zip([("a/data/x", b""), ("b/data/x", b"")]),
        _zip([("a/data/x", b"x" * 9)]), _zip([("a/data/x", b"0" * 10_000)], zipfile.ZIP_DEFLATED), _zip([("a", b"")]),
        pack("rel-1", FILES) + b"more", b"more" + pack("rel-1", FILES), pack("rel-1", FILES)[:-1],
    ],
    ids=[
        "nothing", "two letters", "no file", "above", "from the root", "two releases", "another size", "squeezed", "no folder",
        "more behind", "more before", "cut short",
    ],
)  # fmt: skip
def test_whatever_else_is_refused(content):
    with pytest.raises(VerificationFailed):
        unpack(content)


def test_any_changed_byte_is_found_and_its_entry_named():
    archive = pack("rel-1", FILES)
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        starts = [(i.header_offset, i.filename) for i in found.infolist()]
        directory = found.start_dir
    for place in range(len(archive)):
        changed = bytearray(archive)
        changed[place] ^= 1 << random.Random(place).randrange(8)  # noqa: S311  # a seed, so that a failure comes again
        with pytest.raises(VerificationFailed) as failed:
            unpack(bytes(changed))
        entry = [name for start, name in starts if start <= place][-1]
        if place < directory:
            assert (failed.value.code, failed.value.message.split(" ")[0]) == ("archive_changed", entry), place
        else:  # of the directory, which names each entry once more
            assert failed.value.code in ("archive_changed", "bundle_unreadable"), place
            assert any(w in failed.value.message for w in ("directory", "rel-1/", "in the archive")), place
