"""The public register: made of policies and of what was released, and of nothing that is still under way."""

import json
import subprocess

import pytest

from tre.messages import DecisionKind

from .conftest import ASK, BIN, Area, notebook

pytestmark = pytest.mark.slow
TITLE = "<script>alert(1)</script> of the toy project"


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    made = Area(tmp_path_factory.mktemp("register"), visits={"title": TITLE}).start()
    yield made
    made.stop()


def _register(area, folder):
    command = [str(BIN / "tre-admin"), "register", str(folder), "--area", str(area.root / "area"), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_what_was_released_is_told_and_what_is_under_way_is_not(area, tmp_path):
    done = area.finish(area.confirm(area.submit(notebook(ASK))))
    held = area.confirm(
        area.submit(
            notebook(ASK.replace("by-sex", "held").replace("1.0", "0.9"), "tre.output('t', 'text', context='c')")
        )
    )
    found = _register(area, tmp_path / "site")
    assert _register(area, tmp_path / "site") == found  # again, over its own
    (visits,) = [p for p in found["projects"] if p["project_id_text"] == "visits"]
    assert [r["release"] for r in visits["releases"]] == [done.release]
    assert visits["releases"][0]["statistics_with_noise"] == 1
    (population,) = found["populations"]
    spent = population["spent_epsilon"]
    assert 1.0 < spent < 2.0  # the twin's and the release's, not what is reserved
    page = (tmp_path / "site" / "index.html").read_text()
    content = page + (tmp_path / "site" / "register.json").read_text()
    assert done.release in page
    assert held.release not in content
    for person in ("ada", "Ada", "eve", "bo"):
        assert f"{person}" not in [w.strip('",.()') for w in content.split()]
    assert "<script" not in page
    assert json.loads((tmp_path / "site" / "register.json").read_text()) == found


def test_the_figures_tell_how_the_area_was_used(area):
    for decision in (DecisionKind.APPROVE, DecisionKind.RETURN):
        held = area.confirm(area.submit(notebook(f"import tre; tre.output('t', 'text', context='{decision.value}')")))
        area.approve(held.release, decision=decision)
        area.finish(held)
    command = [str(BIN / "tre-admin"), "stats", "--area", str(area.root / "area")]
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert (found["releases"]["released"], found["releases"]["returned"]) == (2, 1)
    assert found["review"] == {"votes": {"approve": 2, "return": 2}, "pairs": 2, "agreed": 2, "agreement": 1.0}
    assert found["times"]["releases"]["in_review"]["count"] == 2
    assert found["times"]["jobs"]["rehearsing"]["count"] == 4
    assert found["noise"]["numbers"] == 4
    assert 0 < found["noise"]["median_relative_error"] < 1
    assert {b["account"] for b in found["budgets"]} == {"toy-people"}
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "checkers agreed on 100%" in shown
    for person in ("ada", "bo", "cy"):
        assert person not in shown.split()


def test_a_folder_with_other_files_is_left_alone(area, tmp_path):
    (tmp_path / "precious").write_text("x")
    command = [str(BIN / "tre-admin"), "register", str(tmp_path), "--area", str(area.root / "area")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "[folder_used]" in done.stderr
    assert (tmp_path / "precious").read_text() == "x"
