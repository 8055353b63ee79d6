"""Outputs are written again by our own hand: what does not parse, or hides beside the content, does not come along."""

import io

import pytest
from PIL import Image, PngImagePlugin

from tre.messages import OutputKind
from tre.secure.release.outputs import rewrite


def _png(size=(20, 20), mode="RGBA", colour=(10, 20, 30, 255), note=None):
    info = PngImagePlugin.PngInfo()
    if note:
        info.add_text("comment", note)
        info.add_itxt("more", note)
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_a_pictures_metadata_and_what_follows_its_end_stay_behind():
    raw = _png(note="person 7 has 50 visits") + b"person 7 has 50 visits"
    assert raw.count(b"person 7") >= 2
    clean = rewrite(OutputKind.FIGURE, raw)
    assert b"person 7" not in clean
    assert Image.open(io.BytesIO(clean)).getpixel((0, 0)) == (10, 20, 30)


def test_what_hides_under_transparency_stays_behind():
    hidden = rewrite(OutputKind.FIGURE, _png(colour=(200, 0, 0, 0)))
    assert Image.open(io.BytesIO(hidden)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (OutputKind.FIGURE, b"<svg onload=alert(1)>"),
        (OutputKind.FIGURE, b"GIF89a"),
        (OutputKind.FIGURE, _png()[:40]),
        (OutputKind.FIGURE, _png(size=(6000, 6000), mode="1", colour=0)),
        (OutputKind.TABLE, b"a,b\n1\n"),
        (OutputKind.TABLE, b""),
        (OutputKind.TABLE, b"\xff\xfe"),
        (OutputKind.TABLE, b"a\n" * 300_000),
        (OutputKind.TEXT, b"\xff"),
    ],
)
def test_what_is_not_of_its_kind_is_refused(kind, raw):
    with pytest.raises((ValueError, OSError, SyntaxError, Warning)):
        rewrite(kind, raw)
