"""The page of an executed notebook, opened in a real browser: it asks for nothing, runs nothing, and holds nothing to click.

The control arm puts the same contents raw into a page, where they reach the canary.
"""

import pytest

from tre.rules import inert, page
from tre.secure.release import executed

from . import attacks, servers
from .attacks import ATTACKS
from .chromium import Browser, unavailable

pytestmark = pytest.mark.slow

ACTING = "a, area, audio, base, button, embed, form, frame, iframe, input, link, object, script, svg, template, textarea, video"
SECONDS = 60


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.fixture
def canary():
    with servers.canary() as found:
        yield found


def _shown(address):
    """The page as a checker gets it, of a notebook that holds every attack."""
    submitted = b'{"nbformat": 4, "metadata": {}, "cells": []}'
    made = executed.page("rel-1", submitted, attacks.notebook(address), {"parameters": f'<img src="{address}/fact">'})
    assert "cannot be shown" not in made
    assert all(f"{address}/{a.name}" in made for a in ATTACKS if a.raw != "{}")  # as text: it is there to be read
    return made


def _fence(browser, seen, address):
    """What was asked for before this has come before it."""
    last = browser.open(f"{address}/fence")
    assert seen.came("fence", SECONDS)
    last.close()


def _bare(text):
    """The same page without its own policy: what holds is that it is made of text."""
    head, _, rest = text.partition('<meta http-equiv="Content-Security-Policy"')
    assert rest
    return head + rest.partition(">")[2]


@pytest.mark.parametrize("how", ["as the gateway serves it", "as a file", "with no policy at all"])
def test_the_page_asks_for_nothing_runs_nothing_and_holds_nothing_to_click(browser, canary, tmp_path, how):
    seen, address = canary
    text = _shown(address)
    file = tmp_path / "notebook.html"
    file.write_text(text, "utf-8")
    plain = {"content-type": page.MEDIA_TYPE}
    served = {"/served": (text.encode(), plain | page.HEADERS), "/bare": (_bare(text).encode(), plain)}
    with servers.pages(served) as site:
        url = {"as the gateway serves it": f"{site}/served", "as a file": file.as_uri()}.get(how, f"{site}/bare")
        shown = browser.open(url)
        assert shown.find(ACTING) == []
        assert len(shown.find("pre")) > 4 * len(ATTACKS)
        for node in [*shown.find("pre")[:40], *shown.find("img")]:
            shown.click(node)
        assert shown.title() == "Executed notebook of rel-1"
        assert shown.dialogs() == []
        asked = {u for u in shown.requested() if not u.startswith("data:image/png;base64,")}
        assert asked - {f"{site}/favicon.ico"} == {url}  # Chromium's own question, which a policy stops
        _fence(browser, seen, address)
        shown.close()
    assert [p for p in seen.paths if p not in ("/fence", "/favicon.ico")] == []


def test_its_style_is_applied_so_the_policy_fits_it(browser):
    text = executed.page("rel-1", b'{"cells": []}', b"", {})
    with servers.pages({"/": (text.encode(), {"content-type": page.MEDIA_TYPE} | page.HEADERS)}) as site:
        shown = browser.open(f"{site}/")
        shown.call("CSS.enable")
        (node,) = shown.find(".warning:first-of-type")
        styles = shown.call("CSS.getComputedStyleForNode", nodeId=node)["computedStyle"]
        assert {s["name"]: s["value"] for s in styles}["border-top-width"] == "3px"
        shown.close()


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.fires], ids=lambda a: a.name)
def test_control_the_same_content_put_raw_into_a_page_reaches_the_canary(browser, canary, attack):
    seen, address = canary
    raw = f'<!doctype html><meta charset="utf-8"><body>{attack.control(address)}'
    with servers.pages({"/": (raw.encode(), {"content-type": "text/html; charset=utf-8"})}) as site:
        opened = browser.open(f"{site}/")
        if attack.click:
            (node, *_) = opened.find("a, button, input[type=submit]")
            opened.click(node)
        assert seen.came(attack.name, SECONDS)
        opened.close()


def test_control_the_policy_alone_stops_all_that_fires_by_itself(browser, canary):
    """The second lock: raw contents under the page's headers. (A link that is clicked is stopped by not being one.)"""
    seen, address = canary
    raw = "<!doctype html><body>" + "\n".join(a.control(address) for a in ATTACKS if not a.click)
    headers = {"content-type": "text/html; charset=utf-8"}
    with servers.pages({"/": (raw.encode(), headers | page.HEADERS)}) as site:
        opened = browser.open(f"{site}/")
        _fence(browser, seen, address)
        opened.close()
    assert [p for p in seen.paths if p not in ("/fence", "/favicon.ico")] == []


def test_there_are_enough_attacks_and_each_has_a_name_of_its_own():
    assert len({a.name for a in ATTACKS}) == len(ATTACKS)
    assert sum(a.fires for a in ATTACKS) >= 50
    assert len(inert.parse(attacks.notebook("http://127.0.0.1:1"))) == 4 * len(ATTACKS)
