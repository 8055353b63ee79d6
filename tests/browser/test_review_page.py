"""The review page in a real browser: two checkers, each with a profile of their own, take a request from the queue to its
release by keyboard alone, with scripts off. TRE_SCREENSHOTS=1 writes the pictures of docs/how-to/review.md anew.
"""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.journey.conftest import Area, notebook, until

from . import accessible
from .chromium import Browser, unavailable

pytestmark = pytest.mark.slow

PICTURES = Path(__file__).resolve().parents[2] / "docs/how-to/review"
WHY = "ages above 70 are public by the register of residents"
CELLS = (
    """import tre
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
toy = tre.dataset("toy")
toy.group_by("sex").release("visits-by-sex", epsilon=1.0, n=tre.count(), mean=tre.mean("visits", bounds=(0, 20)))""",
    """old = toy.where("age >= 70").group_by(age=[70, 71, 72, 73, 74, 75, 76, 77])
tre.output("people-by-age", old.table(n=tre.count_people()), context="People of 70 and more by year of age, for the appendix")
by_sex = toy.group_by("sex").table(n=tre.count_people())
tre.output("people-by-sex", by_sex, context="People by sex, the denominators of table 2")""",
    """frame = toy.to_pandas()
figure, axes = plt.subplots(figsize=(4, 2.4))
frame.groupby("sex").visits.mean().plot.bar(ax=axes)
tre.output("visits-figure", figure, data="people-by-sex", context="Mean number of visits by sex, figure 1")""",
)


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    made = Area(tmp_path_factory.mktemp("reviewed"), area={"sandbox": {"wall_seconds": 120}}).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def waiting(area):
    """A request that waits for its checkers."""
    view = area.submit(notebook(*CELLS))
    assert view.failure is None, view.failure
    area.client("ada").confirm(view.id, view.plan_digest, {"people-by-age": WHY})
    view = area.client("ada").job(view.id)
    checker = area.client("di")
    until(area.client("ada"), view.id, lambda _: any(r.ready and r.release == view.release for r in checker.reviews()))
    return view


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    return accessible.axe(tmp_path_factory.mktemp("axe"))


@pytest.fixture
def browsers(tmp_path):
    """One for each checker."""
    made = []
    for name in ("bo", "cy"):
        folder = tmp_path / name
        folder.mkdir()
        made.append(Browser(folder))
    yield made
    for browser in made:
        browser.close()


def _picture(page, name, height):
    if os.environ.get("TRE_SCREENSHOTS"):
        PICTURES.mkdir(exist_ok=True)
        with Image.open(io.BytesIO(page.picture(height))) as image:
            small = image.convert("RGB").quantize(48)
        small.save(PICTURES / f"{name}.png", optimize=True)


def _arrive(browser, area, person):
    page = browser.open(f"{area.url}/review")
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.tab_to("#token")
    page.type(area.tokens[person])
    page.turn(lambda: page.press("Enter"))
    return page


def _enter(page, selector):
    page.tab_to(selector)
    page.turn(lambda: page.press("Enter"))


def _vote(page, comment):
    page.tab_to("input[name=decision]")
    page.press("Space")
    page.tab_to("textarea")
    page.type(comment)
    _enter(page, "form[action$=vote] button")


def test_two_checkers_take_a_request_from_the_queue_to_its_release_by_keyboard(area, waiting, browsers, axe):
    pages = [_arrive(browser, area, person) for browser, person in zip(browsers, ("bo", "cy"), strict=True)]
    link = f'a[href="/review/requests/{waiting.release}"]'
    for turn, (page, comment) in enumerate(zip(pages, ("The small ages may stay", "Agreed"), strict=True)):
        assert page.title().startswith("Waiting")
        if turn == 0:
            _check(page, axe)
            _picture(page, "queue", 260)
        _enter(page, link)
        assert page.title().startswith(waiting.release)
        assert page.find("td.fail"), "no cell is marked"
        assert page.ask("document.querySelector('.findings > li').className") == "fail"  # what fails comes first
        assert WHY in page.ask("document.querySelector('main').textContent")
        assert page.find('img[src^="data:image/png;base64,"]')
        assert "tre.output" in page.ask("document.querySelector('[role=region] pre').textContent")
        assert "Epsilon 1." in page.ask("document.querySelector('main').textContent")
        if turn == 0:
            _check(page, axe)
            _picture(page, "request", 1500)
            page.tab_to("#remark")
            page.type("Ask the controller about the register")
            _enter(page, "form[action$=remarks] button")
            assert "for checkers only: Ask the controller" in page.ask("document.querySelector('main').textContent")
        _vote(page, comment)
        said = page.ask("document.querySelector('#vote ~ p[role=status]').textContent")
        assert "Your vote is recorded: approve" in said
        assert ("Both have voted" in said) == (turn == 1)
        _enter(page, 'nav a[href="/review/"]')
        assert not page.find(link)
    assert area.finish(waiting).stage == "released"
    for page in pages:
        _enter(page, 'nav a[href="/review/exceptions"]')
        assert WHY in page.ask("document.querySelector('td ~ td ~ td ~ td ~ td').parentElement.textContent")
    _check(page, axe)
    for page in pages:  # and take it back
        page.turn(lambda page=page: page.call("Page.navigate", url=f"{area.url}/review/requests/{waiting.release}"))
        page.tab_to("#reason")
        page.type("The register is not public after all")
        _enter(page, "form[action$=revoke] button")
    until(area.client("ada"), waiting.id, lambda v: v.stage == "revoked")
    again = area.submit(notebook(CELLS[0]))
    assert again.plan.requests[0].replayed  # noise is never drawn anew: the same values, at no cost, by a new request
    assert [e["state"] for e in area.ledger()] == ["released"]  # what was revoked stays charged
    for page in pages:
        _enter(page, "header button")
        assert page.title().startswith("Sign in")
        assert {u.split("/")[2] for u in page.requested() if not u.startswith("data:")} == {area.url.split("/")[2]}


def _check(page, axe):
    assert accessible.wrong(page) == []
    if axe is not None:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
        assert accessible.serious(page, axe) == []
        page.call("Emulation.setScriptExecutionDisabled", value=True)


def test_an_admin_reads_the_budgets(area, waiting, browsers, axe):
    page = _arrive(browsers[0], area, "dee")
    assert page.title().startswith("Budgets")
    assert page.find("svg polyline")
    assert "is left, first charged on" in page.ask("document.querySelector('main').textContent")
    _check(page, axe)
    _picture(page, "budgets", 1060)
    page.tab_to("input[type=range]")
    page.press("ArrowDown")
    page.tab_to("main form button")
    page.turn(lambda: page.press("Enter"))
    assert "With epsilon 38 for all time" in page.ask("document.querySelector('main').textContent")
    page.close()


def test_where_the_focus_is_can_be_seen_and_the_first_key_leads_past_the_head(area, browsers):
    page = _arrive(browsers[0], area, "bo")
    page.press("Tab")
    assert page.ask("document.activeElement.className") == "skip"
    page.press("Enter")
    page.tab_to("nav a")
    assert page.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.close()


def test_control_the_checks_find_what_is_wrong(area, browsers, axe):
    page = browsers[0].open(f"{area.url}/review/sign-in")
    page.ask("""document.querySelector("label").remove(); document.querySelector("h1").outerHTML = "<h3>x</h3>";
      document.querySelector("main p").style.color = "#bbb"; document.documentElement.removeAttribute("lang"); true""")
    found = " ".join(accessible.wrong(page))
    assert all(said in found for said in ("no label", "not one h1", "skipped", "contrast 1.", "no language"))
    if axe is not None:
        assert {"label", "html-has-lang", "color-contrast"} <= {f.split(":")[0] for f in accessible.serious(page, axe)}
    page.close()
