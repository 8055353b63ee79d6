"""The desk as people have it in Jupyter: `papermill --engine tre`, the magics, and completion in a kernel."""

import json
import os
import subprocess
import sys

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import tre
from tre.desk import workspace
from tre.desk.dataset import Dataset

from .conftest import notebook

pytestmark = pytest.mark.slow

ASK = """import tre
toy = tre.dataset("toy")
toy.where(f"age >= {from_age}").release("grown", epsilon=1.0, n=tre.count())"""


def papermill(area, source, out, *more, **environment):
    """Papermill as ada types it; returns what it ended with."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TRE_")}
    mine = {"TRE_URL": area.url, "TRE_TOKEN": area.tokens["ada"], "TRE_HOME": str(area.root / "desk-ada")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "papermill", str(source), str(out), "--no-progress-bar", *more],
        env=clean | mine | environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def shown(path):
    return "\n".join(
        "".join(o.get("text", "")) + "".join(o.get("data", {}).get("text/plain", ""))
        for cell in json.loads(path.read_text())["cells"]
        for o in cell.get("outputs", [])
    )


def test_papermill_runs_a_notebook_in_the_secure_area_and_brings_back_what_was_released(area, tmp_path):
    source, out = tmp_path / "grown.ipynb", tmp_path / "out.ipynb"
    source.write_text(notebook(ASK, parameters="from_age = 18"))
    engine = ("-p", "from_age", "30", "--engine", "tre")
    area.desk("twin", "toy")

    waits = papermill(area, source, out, *engine)  # nobody is at a terminal, and nothing was said beforehand
    assert waits.returncode != 0
    assert "waits for you; nothing was charged" in waits.stderr
    assert area.ledger() == []

    done = papermill(area, source, out, *engine, TRE_CONFIRM="yes")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "RELEASED" in shown(out)
    (charged,) = area.ledger()
    (job,) = [area.client("ada").job(j.id) for j in area.client("ada").jobs() if j.release is not None]
    assert "age >= 30" in job.plan.model_dump_json()

    again = papermill(area, source, out, *engine, TRE_CONFIRM="yes")
    assert again.returncode == 0, again.stderr[-2000:]
    assert area.ledger() == [charged]  # what is released is shown again, at no further cost


def test_papermill_says_what_is_missing(area, tmp_path):
    source, out = tmp_path / "grown.ipynb", tmp_path / "out.ipynb"
    source.write_text(notebook(ASK, parameters="from_age = 18"))
    nowhere = papermill(area, source, out, "--engine", "tre", TRE_URL="", TRE_TOKEN="", TRE_HOME=str(tmp_path))
    assert "tre login" in nowhere.stderr
    other = papermill(area, source, out, "--engine", "tre", TRE_PROJECT="others")
    assert other.returncode != 0
    assert "project_unknown" in other.stderr


@pytest.fixture
def shell(area, monkeypatch):
    monkeypatch.setenv("TRE_URL", area.url)
    monkeypatch.setenv("TRE_TOKEN", area.tokens["ada"])
    monkeypatch.setenv("TRE_HOME", str(area.root / "desk-ada"))
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "tre")
    yield made
    InteractiveShell.clear_instance()


def test_a_magic_is_the_command(shell, area, tmp_path, monkeypatch, capsys):
    shell.run_line_magic("tre", "datasets")
    assert "Toy visits" in capsys.readouterr().out
    shell.run_line_magic("tre", "status --json")
    assert isinstance(json.loads(capsys.readouterr().out), list)
    with pytest.raises(UsageError, match=r"No such command|no such command"):
        shell.run_line_magic("tre", "nonsense")

    source = "import tre\ntre.dataset('toy').release('in-a-cell', epsilon=0.1, n=tre.count())"
    shell.run_cell_magic("tre", "plan --project visits", source)
    assert "in-a-cell" in capsys.readouterr().out
    with pytest.raises(UsageError, match="can be rehearsed or submitted"):
        shell.run_cell_magic("tre", "jobs", source)

    with pytest.raises(UsageError, match="name the file"):
        shell.run_line_magic("tre", "plan --project visits")
    path = tmp_path / "mine.ipynb"
    path.write_text(notebook(source))
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))  # as Jupyter's server sets it
    shell.run_line_magic("tre", "plan --project visits")
    assert "in-a-cell" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["login", "review rel-1a2b3c4d --approve", "reviews", "revoke rel-1a2b3c4d"])
def test_what_decides_about_others_or_takes_a_token_is_not_for_kernels(shell, command):
    with pytest.raises(UsageError, match="not for notebooks"):
        shell.run_line_magic("tre", command)


def test_datasets_and_columns_are_completed_where_they_stand(shell, area):
    area.desk("twin", "toy")
    shell.user_ns["toy"] = tre.dataset("toy")
    assert isinstance(shell.user_ns["toy"], Dataset)

    def completed(text):
        with provisionalcompleter():
            return {c.text for c in shell.Completer.completions(text, len(text))}

    shell.Completer.use_jedi = False
    assert "toy" in completed('tre.dataset("t')
    assert "visits" in completed('toy.release("x", epsilon=1, m=tre.mean("vi')
    assert completed('toy.where("age > 3 AND se') >= {"sex"}
    assert completed('toy.group_by("year", "se') >= {"sex"}
    assert "visits" not in completed('print("vi')


def test_a_panel_tells_what_is_left_and_what_goes_on(area, monkeypatch, tmp_path):
    monkeypatch.setenv("TRE_URL", area.url)
    monkeypatch.setenv("TRE_TOKEN", area.tokens["ada"])
    monkeypatch.setenv("TRE_HOME", str(tmp_path))
    workspace.current.cache_clear()
    toy = tre.dataset("toy")
    shown = tre.panel(toy.group_by("sex"), n=tre.count())
    assert "project visits" in repr(shown.planner)
    view = area.submit(notebook(ASK, parameters="from_age = 18"))
    assert shown.monitor.widget is not None
    shown.monitor.again.click()
    assert view.id in shown.monitor.shown.value
    assert "waits for your confirmation" in shown.monitor.shown.value
    assert f"tre confirm {view.id}" in shown.monitor.shown.value
    workspace.current.cache_clear()
