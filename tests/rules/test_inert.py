"""An executed notebook is read as claims: texts stay texts, a picture must be one, everything else is named, nothing is rendered."""

import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tre.rules import beside, inert
from tre.rules.beside import Match
from tre.rules.inert import Cell, Named, Picture, Raster, Text, Unreadable
from tre.rules.text import visible

from .test_page import Seen

IHDR = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def _png(width, height, *, length=200):
    return (IHDR + struct.pack(">II", width, height) + b"\x08\x02\0\0\0").ljust(length, b"\0")


def _jpeg(width, height, *, before=b""):
    return (
        b"\xff\xd8\xff\xe0\x00\x04xx" + before + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + bytes(12)
    )


def notebook(*cells):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}).encode()


def code(source="1", *outputs, tags=()):
    return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}, "outputs": list(outputs)}


def shown(data):
    return {"output_type": "display_data", "metadata": {}, "data": data}


def _only(output):
    (cell,) = inert.parse(notebook(code("1", output)))
    (item,) = cell.items
    return item


OUTPUTS = [
    ("a stream", {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]}, Text("stdout", "a\nb")),
    ("a stream of a name of its own", {"output_type": "stream", "name": "<b>", "text": "a"}, Text("stream", "a")),
    ("colours", {"output_type": "stream", "name": "stderr", "text": "\x1b[1;31mred\x1b[0m"}, Text("stderr", "red")),
    (
        "a terminal's link",
        {"output_type": "stream", "name": "stdout", "text": "\x1b]8;;http://a.example/\x1b\\here\x1b]8;;\x07."},
        Text("stdout", "here."),
    ),
    (
        "a link that never ends hides nothing",
        {"output_type": "stream", "name": "stdout", "text": "\x1b]8;;http://a.example/\nmore"},
        Text("stdout", "\x1b]8;;http://a.example/\nmore"),
    ),
    ("an error", {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[0mE", "v"]}, Text("error", "E\nv")),
    ("an error of three words", {"output_type": "error", "ename": "E", "evalue": "v"}, Text("error", "E\nv")),
    ("text", shown({"text/plain": "<b>"}), Text("text", "<b>")),
    ("HTML", shown({"text/html": "<b>"}), Text("text/html: its source, not rendered", "<b>")),
    ("Markdown", shown({"text/markdown": "![](u)"}), Text("text/markdown: its source, not rendered", "![](u)")),
    ("LaTeX", shown({"text/latex": "\\href{u}{x}"}), Text("text/latex: its source, not rendered", "\\href{u}{x}")),
    ("SVG", shown({"image/svg+xml": "<svg/>"}), Named("image/svg+xml", 6, "this kind is never shown")),
    ("a script", shown({"application/javascript": "1"}), Named("application/javascript", 1, "this kind is never shown")),
    ("a widget", shown({"application/vnd.jupyter.widget-view+json": {"a": 1}}), Named("application/vnd.jupyter.widget-view+json", 8, "this kind is never shown")),
    ("a type of its own", {"output_type": "x"}, Named("output of an unknown type", 20, "only known types are shown")),
    ("a stream that is none", {"output_type": "stream", "name": "stdout", "text": {"a": 1}}, Named("stdout", 8, "it is malformed")),
    ("no picture", shown({"image/png": "%%%"}), Named("image/png", 3, "it is no such picture, or of no sane size")),
    ("HTML as a picture", shown({"image/png": base64.b64encode(b"<script>").decode()}), Named("image/png", 12, "it is no such picture, or of no sane size")),
]  # fmt: skip


@pytest.mark.parametrize(("output", "item"), [o[1:] for o in OUTPUTS], ids=[o[0] for o in OUTPUTS])
def test_an_output_is_a_text_a_picture_or_a_name(output, item):
    assert _only(output) == item


def test_every_representation_is_shown_for_itself():
    (cell,) = inert.parse(notebook(code("1", shown({"text/plain": "harmless", "text/html": "<script>"}))))
    assert [i.content for i in cell.items] == ["harmless", "<script>"]


@pytest.mark.parametrize(
    ("kind", "content", "pixels"),
    [
        (Raster.PNG, _png(20, 30), 600),
        (Raster.PNG, _png(20_000, 20_000), None),
        (Raster.PNG, _png(2_000, 2_000), None),  # of a sane size, and 200 bytes cannot hold it
        (Raster.PNG, _png(2_000, 2_000, length=5_000), 4_000_000),
        (Raster.PNG, _png(0, 20), None),
        (Raster.PNG, _png(2**31, 1), None),
        (Raster.PNG, _png(17_000, 1, length=5_000), None),
        (Raster.PNG, b"\x89PNG\r\n\x1a\n<svg onload=alert(1)>".ljust(99), None),
        (Raster.PNG, _jpeg(20, 30), None),
        (Raster.PNG, b"", None),
        (Raster.JPEG, _jpeg(20, 30), 600),
        (Raster.JPEG, _jpeg(65_000, 65_000), None),
        (Raster.JPEG, _jpeg(20, 30, before=b"\xff\xe1\x00\x00"), None),
        (Raster.JPEG, _jpeg(20, 30, before=b"\xff\xda\x00\x04xx"), None),
        (Raster.JPEG, b"\xff\xd8<html>", None),
        (Raster.JPEG, b"\xff\xd8" + b"\xff\xe0\x00\x02" * 9, None),
        (Raster.JPEG, _png(20, 30), None),
    ],
)
def test_a_picture_is_what_its_header_says_and_of_a_sane_size(kind, content, pixels):
    assert inert.raster(kind, content) == pixels


def test_a_picture_comes_through_with_white_space_in_its_base64():
    content = _png(20, 30)
    lines = base64.encodebytes(content).decode().splitlines(keepends=True)
    assert _only(shown({"image/png": lines})) == Picture(Raster.PNG, content, 600)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"cells":[' + b"9" * 10_000 + b"]}", "not JSON"),
        (b"[]", "not a notebook"),
        (b"null", "not a notebook"),
        (b'{"cells":{}}', "not a notebook"),
        (b'{"cells":[1]}', "cell is malformed"),
        (b'{"cells":[{"cell_type":"code","source":1}]}', "cell is malformed"),
        (b'{"cells":[{"cell_type":"code","source":["a",1]}]}', "cell is malformed"),
        (b'{"cells":[{"cell_type":"<script>","source":""}]}', "cell is malformed"),
        (b'{"cells":[{"cell_type":"code","source":"","outputs":{}}]}', "outputs are malformed"),
        (b'{"cells":[{"cell_type":"code","source":"","outputs":[1]}]}', "output is malformed"),
        (notebook(code("1", {"output_type": "display_data", "data": []})), "output is malformed"),
        (notebook(*[code()] * (inert.MAX_CELLS + 1)), "cells"),
        (notebook(code("1", *[shown({"text/plain": "a"})] * (inert.MAX_ITEMS + 1))), "outputs"),
        (b"[" + b"{}," * inert.MAX_PARTS + b"{}]", "parts"),
        (b" " * (inert.MAX_BYTES + 1), "MiB"),
    ],
)  # fmt: skip
def test_what_is_no_notebook_or_too_much_is_refused_in_words_of_ours(content, why):
    with pytest.raises(Unreadable, match=why):
        inert.parse(content)


@pytest.mark.parametrize("depth", range(100, 1_500, 50))
def test_however_deep_it_is_nested_it_is_read_or_refused(depth):
    cell = b'{"cell_type":"code","source":"","attachments":{"x":' + b"[" * depth + b"]" * depth + b"}}"
    try:
        inert.parse(b'{"cells":[' + cell + b"]}")
    except Unreadable:
        assert depth > 400


def test_attachments_are_named_and_a_markdown_cell_has_no_outputs():
    cell = {
        "cell_type": "markdown",
        "source": "![](attachment:x)",
        "attachments": {"x": {"image/png": "AA"}},
        "outputs": 7,
    }
    ((item,),) = (c.items for c in inert.parse(notebook(cell)))
    assert (item.label, item.why) == ("attachments", "1 files inside a cell")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
KINDS = st.sampled_from(
    ["text/plain", "text/html", "image/png", "image/jpeg", "image/svg+xml", "application/json", "x"]
)
TEXT = st.text() | st.lists(st.text(), max_size=3) | JSON
OUTPUT = st.one_of(
    JSON,
    st.fixed_dictionaries({"output_type": st.just("stream"), "name": TEXT, "text": TEXT}),
    st.fixed_dictionaries({"output_type": st.just("error"), "ename": TEXT, "evalue": TEXT, "traceback": TEXT}),
    st.fixed_dictionaries(
        {"output_type": st.just("display_data"), "data": st.dictionaries(KINDS, TEXT, max_size=3) | JSON}
    ),
)
CELL = st.fixed_dictionaries(
    {"cell_type": st.sampled_from(["code", "markdown", "raw"]), "source": TEXT},
    optional={"outputs": st.lists(OUTPUT, max_size=4) | JSON, "attachments": JSON, "metadata": JSON},
)


@pytest.mark.slow
@given(st.lists(CELL, max_size=4) | JSON)
def test_any_json_is_read_as_claims_or_refused_and_its_page_holds_text_only(cells):
    content = json.dumps({"cells": cells}).encode()
    try:
        executed = inert.parse(content)
    except Unreadable as error:
        executed = str(error)
    made = beside.page(title="t", facts={"a": "b"}, submitted={"cells": []}, executed=executed, draw=lambda _: b"png")
    seen = Seen(made)
    assert set(seen.tags) <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "h3",
        "p",
        "pre",
        "section",
        "div",
        "img",
    }
    assert {v for t, n, v in seen.attributes if (t, n) == ("img", "src")} <= {"data:image/png;base64,cG5n"}
    assert "".join(seen.texts).encode()  # no lone surrogate is left
    assert visible(made) == made  # nothing that hides or acts is left


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    try:
        inert.parse(content)
    except Unreadable:
        pass


A, B, C = ("code", "a"), ("code", "b"), ("markdown", "c")


def _cells(*sources, tags=()):
    return [Cell(kind, source, frozenset(tags), ()) for kind, source in sources]


INJECTED = Cell("code", "# Parameters\nyear = 2", frozenset({"injected-parameters"}), ())


@pytest.mark.parametrize(
    ("executed", "matches"),
    [
        (_cells(A, B, C), [Match.SAME] * 3),
        ([*_cells(A), INJECTED, *_cells(B, C)], [Match.SAME, Match.ADDED, Match.SAME, Match.SAME]),
        (_cells(A, C), [Match.SAME, Match.MISSING, Match.SAME]),
        (_cells(A, B), [Match.SAME, Match.SAME, Match.MISSING]),
        (_cells(A, ("code", "all checks passed"), C), [Match.SAME, Match.STRANGE, Match.MISSING, Match.SAME]),
        (_cells(A, ("markdown", "b"), C), [Match.SAME, Match.STRANGE, Match.MISSING, Match.SAME]),
        (_cells(C, A, B), [Match.MISSING, Match.MISSING, Match.SAME, Match.STRANGE, Match.STRANGE]),
        (_cells(A, A, B, C), [Match.SAME, Match.STRANGE, Match.SAME, Match.SAME]),
        ([], [Match.MISSING] * 3),
    ],
)
def test_sources_are_compared_in_order_and_what_differs_warns(executed, matches):
    pairs = beside.compare([A, B, C], executed)
    assert [p.match for p in pairs] == matches
    assert [p.submitted for p in pairs if p.submitted is not None] == [A, B, C]  # all of it is shown, in its order


def test_many_equal_cells_are_compared_in_one_go():
    pairs = beside.compare([A] * 1000, _cells(*[A] * 999))
    assert [p.match for p in pairs] == [Match.SAME] * 999 + [Match.MISSING]


def _page(executed, source="a"):
    submitted = {"cells": [{"cell_type": "code", "source": source}]}
    return beside.page(title="t", facts={}, submitted=submitted, executed=executed, draw=lambda _: None)


def test_the_page_says_that_it_is_untrusted_and_warns_where_sources_differ():
    text = " ".join(Seen(_page(_cells(A))).texts)
    assert "UNTRUSTED" in text
    assert "WARNING" not in text
    text = " ".join(Seen(_page(_cells(("code", "forged")))).texts)
    assert "WARNING" in text
    assert "NOT WHAT WAS SUBMITTED" in text


def test_what_is_too_long_is_cut_and_the_cut_is_told():
    text = " ".join(Seen(_page(_cells(A), source="x" * (beside.MAX_TEXT + 7))).texts)
    assert "7 characters more are not shown" in text
    long = Cell("code", "a", frozenset(), tuple([Text("stdout", "y" * beside.MAX_TEXT)] * 300))
    assert len(_page([long])) < 2 * beside.MAX_SHOWN


@pytest.mark.parametrize(
    "trick",
    ["\u202e", "\u2066", "\x00", "\x1b", "\x08", "\u200b", "\u3164", "\u2800", "\ufe0f", "\ud800", "\U000e0041"],
)
def test_what_hides_or_reorders_is_written_out(trick):
    made = _page(_cells(("code", f"if access_level != 'user{trick}':")))
    assert trick not in made
    assert f"\\u{ord(trick):04x}" in made
