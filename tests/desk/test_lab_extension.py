"""What the browser loads for JupyterLab, read as text: nothing is built, so this is what runs."""

import json
import re
import tomllib
from pathlib import Path

import jupyterlab
import pytest

import tre

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tre/desk/lab/extension"
SCRIPTS = sorted(HERE.glob("static/*.js"))
SCHEMA = json.loads((HERE / "schemas/@tre/lab/plugin.json").read_text())
# By which text could become markup or code, or by which the page could reach elsewhere.
NEVER = (
    r"innerHTML", r"outerHTML", r"insertAdjacentHTML", r"document\.write", r"createContextualFragment", r"DOMParser", r"srcdoc",
    r"\beval\(", r"new Function", r"XMLHttpRequest", r"\bfetch\(", r"WebSocket", r"sendBeacon", r"localStorage",
)  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_no_script_reads_text_as_markup_or_asks_anybody_but_the_desks_server(script):
    source = script.read_text()
    assert [n for n in NEVER if re.search(n, source)] == []
    assert set(re.findall(r"https?://[^\s'\"]+", source)) <= {"http://www.w3.org/2000/svg"}
    assert len(source.splitlines()) <= 250


def test_its_version_is_the_packages_everywhere():
    package = json.loads((HERE / "package.json").read_text())
    assert package["version"] == tre.__version__
    assert (HERE / package["jupyterlab"]["_build"]["load"]).is_file()
    assert (HERE / "schemas/@tre/lab/package.json.orig").read_text() == (HERE / "package.json").read_text()
    assert [p.name for p in SCRIPTS if p.name.startswith("remoteEntry")] == [f"remoteEntry.{tre.__version__}.js"]


def test_what_toolbars_menus_and_shortcuts_point_at_is_a_command():
    made = set(re.findall(r"add\('(tre:[a-z-]+)'", (HERE / "static/index.js").read_text()))
    pointed = set(re.findall(r'"command": "(tre:[a-z-]+)"', json.dumps(SCHEMA)))
    assert pointed <= made
    assert made == {
        "tre:run-in-secure-area", "tre:show-what-would-leave", "tre:open-twin", "tre:open-released", "tre:show-jobs",
        "tre:show-datasets", "tre:show-budget", "tre:show-notices", "tre:open-review",
    }  # fmt: skip
    (button,) = SCHEMA["jupyter.lab.toolbars"]["Notebook"]
    assert button["rank"] == 47


def test_no_shortcut_is_taken_from_jupyterlab():
    folder = Path(jupyterlab.__file__).resolve().parents[4] / "share/jupyter/lab/schemas"
    taken = {
        tuple(s["keys"])
        for path in folder.rglob("*.json")
        for s in json.loads(path.read_text()).get("jupyter.lab.shortcuts", [])
    }
    assert len(taken) > 50  # they were found
    assert not taken & {tuple(s["keys"]) for s in SCHEMA["jupyter.lab.shortcuts"]}


def test_every_file_has_its_place_in_the_wheel():
    places = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    placed = {found.resolve() for patterns in places.values() for pattern in patterns for found in ROOT.glob(pattern)}
    assert placed == {p.resolve() for p in HERE.rglob("*") if p.is_file()}


def test_the_oldest_jupyterlab_that_is_tested_is_the_oldest_that_is_promised():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = (ROOT / "bench/peers/jupyterlab_oldest/requirements.txt").read_text().splitlines()
    oldest = [d.replace(">=", "==") + ".0" if d.startswith("jupyterlab>=") else d for d in wanted]
    assert sorted(line for line in lines if not line.startswith("#")) == sorted(oldest)
