"""How the extension looks at its server, in a browser and before a server that misbehaves: JupyterLab itself is not needed for it."""

from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from .chromium import unavailable
from .lab import CHROMIUM

pytestmark = pytest.mark.slow

STATIC = Path(__file__).resolve().parents[2] / "tre/desk/lab/extension/static"
# A gateway of which each look is answered by `next`, with the browser's own fetch in place of JupyterLab's.
MADE = """async () => {
  const { Gateway } = await import('/gateway.js');
  const ServerConnection = { makeSettings: () => ({ baseUrl: '/' }), makeRequest: (url, init) => fetch(url, init) };
  window.gateway = new Gateway({ ServerConnection });
  window.drawn = 0;
  window.gateway.listeners.add(() => { throw new Error('one part cannot show it'); });
  window.gateway.listeners.add(() => { window.drawn += 1; });
}"""


@pytest.fixture(scope="module")
def browser():
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM))
        yield made
        made.close()


@pytest.fixture
def page(browser):
    """With `page.answers`: what the looks are answered by, in turn; None waits for `page.held`."""
    made = browser.new_page()
    made.answers, made.held = [], []

    def answer(route):
        if not route.request.url.endswith("/tre/overview"):
            name = route.request.url.rsplit("/", 1)[1]
            return route.fulfill(path=STATIC / name) if name else route.fulfill(body="", content_type="text/html")
        told = made.answers.pop(0)
        return made.held.append(route) if told is None else route.fulfill(**told)

    made.route("http://desk.test/**", answer)
    made.goto("http://desk.test/")
    made.evaluate(MADE)
    yield made
    made.close()


# What notifications it would show, by JupyterLab's own name for the calls.
NOTIFYING = """async () => {
  const { notify } = await import('/notices.js');
  window.said = [];
  const Notification = { emit: m => said.push(m), info: m => said.push(m) };
  const trans = { __: (text, ...given) => text.replace(/%(\\d)/g, (_, n) => given[n - 1]) };
  notify({ apputils: { Notification } }, gateway, { busy: new Set() }, trans, null, () => ({ notifications: true }));
}"""


def overview(**more):
    return {"json": {"me": {"role": "researcher"}, **more}}


def refused(page):
    return page.evaluate("gateway.refused && [gateway.refused.code, gateway.refused.nextStep]")


def test_a_page_in_place_of_an_answer_is_no_answer(page):
    page.answers = [{"body": "<h1>Sign in</h1>", "content_type": "text/html"}]
    page.evaluate("gateway.look()")
    assert page.evaluate("gateway.overview") is None
    assert refused(page) == ["server_unclear", "Load this page anew: a sign-in may have run out."]


@pytest.mark.parametrize(("status", "said"), [(403, "Sign in to JupyterLab again."), (502, "Try again")])
def test_only_who_is_not_signed_in_is_told_to_sign_in(page, status, said):
    page.answers = [{"status": status, "body": "<html>"}]
    page.evaluate("gateway.look()")
    code, step = refused(page)
    assert code == f"http_{status}"
    assert step.startswith(said)


def test_a_part_that_cannot_show_an_answer_keeps_no_other_from_it(page):
    page.answers = [overview()]
    page.evaluate("gateway.look()")
    assert page.evaluate("window.drawn") == 1


def test_an_answer_that_was_overtaken_is_not_shown(page):
    page.answers = [None, overview(jobs=["new"])]
    page.evaluate("window.first = gateway.look(); gateway.look()")
    page.held[0].fulfill(**overview(jobs=["old"]))
    page.evaluate("first")
    assert page.evaluate("gateway.overview.jobs") == ["new"]


def test_while_nobody_answers_it_looks_ever_more_seldom_and_at_once_as_before_when_somebody_does(page):
    page.answers = [{"status": 502, "body": ""}] * 8 + [overview()]
    waits = [page.evaluate("gateway.look().then(() => gateway.wait())") for _ in range(9)]
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300, 10]


def test_each_notice_is_told_once_and_many_are_not_told_one_by_one(page):
    def notices(*ids):
        return overview(notices=[{"id": i, "about": f"job-{i}", "told": "planned", "words": "waits"} for i in ids])

    page.evaluate(NOTIFYING)
    page.answers = [notices(*range(20)), notices(*range(21)), notices(*range(21))]
    for _ in range(3):
        page.evaluate("gateway.look()")
    assert page.evaluate("said") == ["20 notices are unread.", "job-20: waits."]
