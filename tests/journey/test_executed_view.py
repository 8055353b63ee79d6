"""What a real run leaves, and how it ends, as its output checkers and its researcher see it: a real gateway and sandbox."""

import json
import stat

import pytest

from tests.rules.test_inert import Seen
from tre.secure.jobs.groups import Groups
from tre.secure.jobs.sandbox import Limits

from .conftest import Area, notebook

pytestmark = pytest.mark.slow

MARK = "only-the-run-on-real-rows-says-this"
START = """import os, signal, tre
from IPython.display import HTML, display
real = '"world":"run"' in open("/data/manifest.json").read()
frame = tre.dataset("toy").to_pandas()
tre.output("t", "a text", context="a text")"""
ENDS = {
    "fails": f"""if real:
    print("{MARK}")
    display(HTML('<img src="http://127.0.0.1:1/x">'))
    raise ValueError("a value of a row")""",
    "forges": f"""if real:
    import json
    os.kill(os.getppid(), signal.SIGSTOP)  # papermill, which would write over it
    cell = {{"cell_type": "code", "source": "all_checks_passed()  # {MARK}", "outputs": [], "metadata": {{}}}}
    with open("/outbox/executed.ipynb", "w") as file:
        json.dump({{"nbformat": 4, "nbformat_minor": 5, "metadata": {{}}, "cells": [cell]}}, file)
    os.kill(os.getppid(), signal.SIGKILL)""",
    "fills the memory": "kept = [bytearray(b'x' * 2**26) for _ in range(64 if real else 0)]",
}


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    rules = {"failure_told": "after review", "review": {"automatic_epsilon": 0}, "tick_seconds": 1}
    rules["sandbox"] = {"wall_seconds": 120, "memory_mb": 1024}
    made = Area(tmp_path_factory.mktemp("executed"), area=rules).start()
    yield made
    made.stop()


def _in_review(area, name):
    view = area.confirm(area.submit(notebook(START, ENDS[name])))
    area.approve(view.release, checkers=["bo"])  # waits for the review to be there
    return view


def _page(area, view, tmp_path):
    file = tmp_path / "page.html"
    info, _ = area.desk("review", view.release, "--notebook", file, person="cy")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return info, file.read_text("utf-8"), Seen(file.read_text("utf-8"))


def test_what_a_failed_run_left_is_shown_inert_and_its_end_told_with_the_release(area, tmp_path):
    view = _in_review(area, "fails")
    info, text, seen = _page(area, view, tmp_path)
    assert info["run"] == "failed"
    assert MARK in text
    assert "ValueError" in text
    assert "&lt;img src=&quot;http://127.0.0.1:1/x" in text
    assert "img" not in seen.tags
    assert "WARNING" not in text  # papermill's own additions aside, the sources are those submitted

    _, said = area.desk("review", view.release, "--notebook", tmp_path / "mine.html", expect=1)
    assert "role_missing" in said
    assert not (tmp_path / "mine.html").exists()
    assert area.client("ada").job(view.id).run is None
    area.approve(view.release, checkers=["cy"])
    done = area.finish(view)
    assert (done.stage, done.run) == ("released", "failed")
    folder = tmp_path / "release"
    area.desk("fetch", view.release, folder)
    assert json.loads((folder / "receipt.json").read_text())["statement"]["run"] == "failed"
    assert MARK not in "".join(p.read_text("utf-8") for p in folder.rglob("*") if p.suffix == ".json")


def test_a_notebook_that_forges_its_own_record_is_shown_with_a_warning(area, tmp_path):
    view = _in_review(area, "forges")
    _, text, _ = _page(area, view, tmp_path)
    assert "WARNING" in text
    assert "all_checks_passed()" in text
    assert "os.kill(os.getppid()" in text  # beside it, what was submitted


def test_a_run_that_fills_its_memory_is_told_as_such_where_it_can_be_known(area, tmp_path):
    groups = Groups(Limits(wall_seconds=9, cpu_seconds=9, memory_mb=1024, outbox_mb=16))
    known = "memory" in groups.paths
    groups.remove()
    view = _in_review(area, "fills the memory")
    info, _, _ = _page(area, view, tmp_path)
    assert info["run"] == ("out_of_memory" if known else "failed")
