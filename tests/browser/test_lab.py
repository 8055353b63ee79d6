"""JupyterLab with its extension in a real browser, before a real gateway: each role's way, by mouse and by keyboard alone.

TRE_SCREENSHOTS=1 writes the pictures of docs/how-to/in-jupyter.md anew.
"""

import io
import os
import re
import sys
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from bench import peers
from tests.journey.conftest import Area, notebook

from .chromium import unavailable
from .lab import CHROMIUM, Lab, Tab

pytestmark = pytest.mark.slow

PICTURES = Path(__file__).resolve().parents[2] / "docs/how-to/in-jupyter"
SIDE, NOW, DIALOG = "#tre-side-bar", "#tre-this-notebook", ".tre-modal"
HOSTILE = "<img src=x onerror='window.hostile=1'>"
SMALL = """import tre
toy = tre.dataset("toy")
ages = toy.where("age >= 70").group_by(age=[70, 71, 72, 73, 74, 75, 76, 77])
tre.output("people-by-age", ages.table(n=tre.count_people()), context={!r})"""
READY = "window.jupyterapp.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status === 'idle'"
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    """People decide about every statistic here, so that all roles have something to do."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    made = Area(tmp_path_factory.mktemp("area"), area={"review": {"automatic_epsilon": 0.0}}).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def labs(area, tmp_path_factory):
    """A person's server, started when it is asked for."""
    made = {}

    def of(person, python=sys.executable):
        if (person, python) not in made:
            folder = tmp_path_factory.mktemp(f"lab-{person}")
            made[person, python] = Lab(folder, area if person != "nobody" else None, person, python=python)
        return made[person, python]

    yield of
    for lab in made.values():
        lab.stop()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM))
        yield made
        made.close()


@pytest.fixture
def tab(browser, labs):
    """A page as somebody; at its end nothing was asked of another machine, and nothing of ours complained."""
    made = []

    def of(person, **which):
        made.append(Tab(browser, labs(person, **which)))
        return made[-1]

    yield of
    for one in made:
        found = one.elsewhere(), one.complaints
        one.close()
        assert found == ([], [])


def accessible(page, *parts):
    for part in parts:
        found = Axe().run(page, context={"include": [[part]]}).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found] == [], part


def picture(page, name, lab="newest"):
    if lab == "newest" and os.environ.get("TRE_SCREENSHOTS"):
        PICTURES.mkdir(exist_ok=True)
        with Image.open(io.BytesIO(page.screenshot())) as image:
            small = image.convert("RGB").quantize(64)
        small.save(PICTURES / f"{name}.png", optimize=True)


def decided(area, person, page):
    """Both checkers approve what the person's only moving job became."""
    row = page.locator(f"{SIDE} li").filter(has=page.get_by_role("button", name=re.compile("^Take .* back$")))
    job = row.locator(".tre-small").first.inner_text().split(" ")[0]
    area.approve(area.client(person).job(job).release)


@pytest.mark.parametrize("lab", ["newest", "oldest"])
def test_a_newcomer_comes_from_the_launcher_to_a_released_figure_without_typing_a_command(area, tab, lab):
    person, python = ("ada", sys.executable) if lab == "newest" else ("eve", peers.made("jupyterlab_oldest"))
    if python is None:
        pytest.skip("no oldest JupyterLab here: scripts/setup.sh --for-tests makes it")
    page = (desk := tab(person, python=python)).page
    page.locator(".jp-LauncherCard").filter(has_text="Explore a synthetic twin").click()
    page.locator(".jp-RenderedMarkdown").get_by_text("a guide, not a result").wait_for()
    page.get_by_role("tab", name="Secure area").first.click()
    expect(page.locator(SIDE)).to_contain_text("Nothing was sent yet")  # what is empty says what to do
    accessible(page, SIDE)
    expect(page.locator(".tre-status")).to_contain_text(re.compile(r"epsilon 6\.00 left \((visits|others)\)"))
    picture(page, "explore", lab)

    page.locator('[data-jp-item-name="tre-run"]').click()
    dialog = page.locator(DIALOG)
    expect(dialog).to_contain_text("Cost for toy-people: epsilon 0.5")
    expect(dialog).to_contain_text("two output checkers decide")
    expect(dialog.locator("button").last).to_have_text("Run in secure area")
    assert dialog.locator("button").first.inner_text() == "Cancel"
    assert page.evaluate("document.activeElement.textContent") == "Cancel"  # no price is accepted by a stray Enter
    accessible(page, ".jp-Dialog-content")
    picture(page, "plan", lab)
    before = area.ledger()
    dialog.get_by_role("button", name="Run in secure area", exact=True).click()
    expect(page.locator(SIDE)).to_contain_text("in the secure area and with its output checkers")
    picture(page, "jobs", lab)

    decided(area, person, page)
    toast = page.locator(".Toastify__toast").filter(has_text="it was released")
    toast.get_by_role("button", name="Open").click()
    page.get_by_role("button", name="Run it here").click()
    figure = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output img")
    figure.scroll_into_view_if_needed()
    expect(page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")).to_contain_text("RELEASED")
    expect(figure).to_be_visible()
    picture(page, "released", lab)
    assert len(area.ledger()) == len(before) + 1
    desk.run("apputils:change-theme", theme="JupyterLab Dark")
    page.locator('body[data-jp-theme-light="false"]').wait_for(state="attached")
    accessible(page, SIDE, ".tre-status")
    desk.run("apputils:change-theme", theme="JupyterLab Light")
    page.locator('body[data-jp-theme-light="true"]').wait_for(state="attached")


def test_what_would_leave_and_why_it_would_come_back_is_said_beside_the_notebook_and_nobodys_text_is_markup(
    area, labs, tab
):
    page = (ada := tab("ada")).page
    here = page.locator(NOW)
    hostile = f"{HOSTILE.replace('/', '')}.ipynb"
    for name, said in (("ages.ipynb", "People by year of age, for the appendix"), (hostile, HOSTILE)):
        (labs("ada").files / name).write_text(notebook(SMALL.format(said)))
        ada.run("docmanager:open", path=name)
        page.locator(f"{NOW} h2").filter(has_text=name).wait_for(state="attached")
        ada.run("tre:show-what-would-leave")
        expect(here).to_contain_text("Would be returned: people-by-age")
        expect(here).to_contain_text(said)
        expect(here).to_contain_text("threshold")
        if name != hostile:
            accessible(page, NOW)
            picture(page, "would-leave")
    ada.run("tre:run-in-secure-area")
    page.locator(DIALOG).locator(".tre-table").wait_for()
    page.locator(DIALOG).get_by_role("button", name="Cancel").click()
    expect(page.locator(".Toastify__toast").filter(has_text="was taken back")).to_contain_text("<img src=x")
    assert page.evaluate("[window.hostile, document.querySelectorAll('.tre-side img, .tre-dialog img').length]") == [
        None,
        0,
    ]
    expect(page.locator(f"{SIDE} .tre-list").get_by_text("waits for your confirmation")).to_have_count(
        0
    )  # nothing is left of it


def test_everything_is_reached_by_keyboard_alone(area, labs, tab):
    (labs("ada").files / "keys.ipynb").write_text(
        notebook('import tre\ntre.dataset("toy").release("by-keys", epsilon=0.1, n=tre.count())')
    )
    page = tab("ada").page
    keys = page.keyboard

    def focused(text, most=60):
        for _ in range(most):
            if text in page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
            ):
                return
            keys.press("Tab")
        raise AssertionError(f"no way to {text!r}")

    def command(words):
        keys.press("Control+Shift+C")
        page.locator("#modal-command-palette input:focus").wait_for()
        keys.insert_text(words)
        page.locator(".lm-CommandPalette-item.lm-mod-active").filter(has_text=words).wait_for()
        keys.press("Enter")

    command("Open from Path")
    page.locator(".jp-Dialog input").wait_for()
    keys.insert_text("keys.ipynb")
    keys.press("Enter")
    page.wait_for_function(READY)  # it takes the focus until then
    command("Run in secure area…")
    page.locator(f"{DIALOG} .tre-table").wait_for()
    focused("Cancel", most=1)
    keys.press("Tab")
    focused("Run in secure area", most=3)
    keys.press("Enter")
    page.locator(f"{SIDE} .tre-in_review").wait_for()
    command("My secure jobs")
    page.wait_for_function("document.activeElement.id === 'tre-jobs'")
    focused("Take keys.ipynb back")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    before = len(area.ledger())
    keys.press("Enter")
    page.locator(f"{SIDE} .tre-in_review").wait_for(state="detached")
    assert len(area.ledger()) <= before
    command("Privacy budget")
    page.wait_for_function("document.activeElement.id === 'tre-budgets'")


def test_the_shortcut_and_the_menus_point_at_the_same_commands(labs, tab):
    (labs("ada").files / "short.ipynb").write_text(notebook("import tre"))
    page = (ada := tab("ada")).page
    page.get_by_text("Secure area", exact=True).first.click()
    menu = page.locator(".lm-Menu")
    for label in (
        "What would leave?",
        "Explore a synthetic twin",
        "Open what was released…",
        "My secure jobs",
        "Privacy budget",
    ):
        expect(menu).to_contain_text(label)
    page.keyboard.press("Escape")
    page.locator(".jp-DirListing-item").filter(has_text="short.ipynb").click(button="right")
    page.locator(".lm-Menu").get_by_text("Run in secure area…").click()
    expect(page.locator(DIALOG)).to_contain_text("The notebook asks for nothing")
    page.keyboard.press("Escape")
    page.locator(DIALOG).wait_for(state="detached")
    ada.run("docmanager:open", path="short.ipynb")
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Control+Shift+Enter")
    expect(page.locator(DIALOG)).to_contain_text("The notebook asks for nothing")
    page.locator(DIALOG).get_by_role("button", name="Close").click()
    page.locator(DIALOG).wait_for(state="detached")


def test_what_does_not_fit_cannot_be_confirmed_and_a_notebook_that_fails_says_why(area, labs, tab):
    page = (ada := tab("ada")).page
    before, dialog = area.ledger(), page.locator(DIALOG)
    dear = 'import tre\ntre.dataset("toy").release("dear", epsilon=9, n=tre.count())'
    for name, source, said in (
        ("dear", dear, "That is more than is left: it cannot be confirmed"),
        ("broken", "raise ValueError('<b>oops</b>')", "ValueError: <b>oops</b>"),
    ):
        (labs("ada").files / f"{name}.ipynb").write_text(notebook(source))
        ada.run("docmanager:open", path=f"{name}.ipynb")
        page.locator(f"{NOW} h2").filter(has_text=name).wait_for(state="attached")
        ada.run("tre:run-in-secure-area")
        expect(dialog).to_contain_text(said)
        expect(dialog.locator("button")).to_have_count(1)
        accessible(page, ".jp-Dialog-content")
        dialog.locator("button").click()
        dialog.wait_for(state="detached")
    expect(page.locator(f"{SIDE}")).not_to_contain_text("dear.ipynb")  # it was taken back
    assert area.ledger() == before


def test_nothing_is_taken_back_by_looking_at_it_or_once_it_was_confirmed_elsewhere(area, labs, tab):
    page = (ada := tab("ada")).page
    dialog, stage = page.locator(DIALOG), lambda job: area.client("ada").job(job).stage
    cell = 'import tre\ntre.dataset("toy").release("two-tabs-{}", epsilon=0.05, n=tre.count())'
    waits = area.submit(notebook(cell.format("a")))
    ada.run("tre:show-jobs")
    look = page.get_by_role("button", name="Look at the plan of")
    look.click()
    dialog.get_by_role("button", name="Not now").click()
    dialog.wait_for(state="detached")
    assert stage(waits.id) == "planned"
    look.click()
    dialog.locator(".tre-table").wait_for()
    area.client("ada").withdraw(waits.id)
    page.locator(f"{SIDE} .tre-planned").wait_for(state="detached")
    dialog.get_by_role("button", name="Run in secure area", exact=True).click()
    expect(page.locator(".jp-Dialog")).to_contain_text("That could not be done")
    page.locator(".jp-Dialog button").click()

    (labs("ada").files / "tabs.ipynb").write_text(notebook(cell.format("b")))
    before = {j.id for j in area.client("ada").jobs()}
    ada.run("docmanager:open", path="tabs.ipynb")
    page.wait_for_function(READY)
    page.evaluate("for (const _ of [1, 2]) window.jupyterapp.commands.execute('tre:run-in-secure-area'); true")
    dialog.locator(".tre-table").wait_for()
    (made,) = [j for j in area.client("ada").jobs() if j.id not in before]  # two clicks are one job
    area.client("ada").confirm(made.id, made.plan_digest)
    dialog.get_by_role("button", name="Cancel").click()
    dialog.wait_for(state="detached")
    page.locator(f"{SIDE} .tre-in_review").filter(has_text="output checkers").wait_for()
    assert stage(made.id) == "in_review"
    page.get_by_role("button", name="Take tabs.ipynb back").click()
    page.locator(f"{SIDE} .tre-in_review").wait_for(state="detached")
    ada.complaints.clear()  # of the refusal


def test_a_checker_sees_what_waits_and_decides_on_the_gateways_own_page(area, tab):
    view = area.confirm(area.submit(notebook(SMALL.format("By age"))))
    page = (bo := tab("bo")).page
    bo.run("tre:show-jobs")
    expect(page.locator(SIDE)).to_contain_text(view.release)
    expect(page.locator(SIDE)).to_contain_text("code that runs in JupyterLab cannot")
    expect(page.locator(".tre-status")).to_be_hidden()
    tiles = page.locator(".jp-LauncherCard")
    expect(tiles.filter(has_text="Review page (new tab)")).to_be_visible()
    expect(tiles.filter(has_text="Explore a synthetic twin")).to_have_count(0)
    accessible(page, SIDE)
    picture(page, "queue")
    with bo.context.expect_page() as found:
        page.locator(SIDE).get_by_role("link", name=f"Review {view.release}").click()
    opened = found.value
    opened.wait_for_load_state()
    assert opened.url == f"{area.url}/review/sign-in"  # with a sign-in of its own
    assert opened.evaluate("window.opener") is None


def test_an_admin_sees_the_budgets_and_the_way_to_their_page(area, tab):
    page = (dee := tab("dee")).page
    dee.run("tre:show-budget")
    side = page.locator(SIDE)
    for said in ("toy-people", "visits", "others", "of 40.000 still fits (delta 1e-06)", "nothing here changes one"):
        expect(side).to_contain_text(said)
    assert side.get_by_role("link", name="The page of budgets").get_attribute("href") == f"{area.url}/review/budgets"
    accessible(page, SIDE)
    picture(page, "budgets")


def test_a_desk_that_knows_no_gateway_says_so_and_what_to_do(tab):
    page = (nobody := tab("nobody")).page
    nobody.run("tre:show-jobs")
    expect(page.locator(SIDE)).to_contain_text("tre login URL")
    accessible(page, SIDE)
    nobody.run("tre:open-twin")
    expect(page.locator(".jp-Dialog")).to_contain_text("Next step: Set TRE_URL and TRE_TOKEN")
    nobody.complaints.clear()  # the browser itself complains of each answer that is no success


def test_control_what_would_be_wrong_is_found(browser, labs):
    tab = Tab(browser, labs("nobody"))
    tab.run("tre:show-jobs")
    tab.page.locator(f"{SIDE} button").first.wait_for()
    tab.page.evaluate("""document.querySelector("#tre-side-bar").append(document.createElement("button"));
      console.error("ours"); new Image().src = "http://192.0.2.1/x"; true""")
    with pytest.raises(AssertionError, match="button-name"):
        accessible(tab.page, SIDE)
    assert "ours" in tab.complaints
    assert tab.elsewhere() == ["http://192.0.2.1/x"]
    tab.close()
