"""Forks that enter a box: what a notebook finds there, and the guards seen failing. All attempts on the cage: test_isolation."""

import json
import sys
import threading

import pytest

from tests.journey.conftest import notebook
from tre.secure.jobs import box, running, sandbox, zygote
from tre.secure.jobs.box import Box, Limits
from tre.secure.jobs.engine import Attempt
from tre.secure.jobs.sandbox import Ended

LIMITS = Limits(wall_seconds=60, cpu_seconds=60, memory_mb=1024, outbox_mb=16)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    if sandbox.unavailable():
        pytest.skip("no box can be had here")
    with zygote.begun(tmp_path_factory.mktemp("zygote") / "own") as found:
        assert found.works()
        yield found


def entered(forks, folder, source):
    for name in ("in", "data", "out"):
        (folder / name).mkdir(parents=True)
    command = (sys.executable, "-c", source)
    made = Box(command=command, inputs=folder / "in", data=folder / "data", outbox=folder / "out", limits=LIMITS)
    return zygote.entered(made, forks)


def test_a_fork_has_a_new_box_nothing_of_ours_and_no_rights(forks, tmp_path):
    source = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
json.dump({
    "rights": [status[f"Cap{kind}"].strip() for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")],
    "alone": (status["NoNewPrivs"].strip(), status["Seccomp"].strip()),
    "files": sorted(os.listdir("/proc/self/fd")), "pids": sorted(p for p in os.listdir("/proc") if p.isdigit()),
    "root": os.listdir("/"), "environment": dict(os.environ), "begun with": open("/proc/self/environ").read(),
    "shared": [line for line in open("/proc/self/maps") if line.split()[1][1::2] == "ws"], "user": os.getuid(),
}, open("/outbox/seen.json", "w"))
open("/tmp/mark", "x"), open("/dev/shm/mark", "x"), open("/home/job/mark", "x")
"""
    for number in range(2):  # the marks of the first are not in the second's box
        assert entered(forks, tmp_path / str(number), source).ended is Ended.FINISHED
    seen = json.loads((tmp_path / "1" / "out" / "seen.json").read_text())
    assert set(seen["rights"]) == {"0" * 16}
    assert seen["alone"] == ["1", "2"]
    assert seen["files"] == ["0", "1", "2", "3"]  # the last is the one of looking
    assert seen["pids"] == ["1", "2", "3"]  # bubblewrap's, the holder's, its own
    assert seen["shared"] == []
    assert seen["user"] == 1000
    assert str(tmp_path) not in json.dumps(seen)
    assert set(seen["environment"]) == set(box.environment())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1"]


def test_how_it_ends_is_told_as_of_any_box(forks, tmp_path):
    assert entered(forks, tmp_path / "a", "raise SystemExit(7)").exit_code == 7
    assert entered(forks, tmp_path / "b", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)").exit_code == 137
    ended = entered(forks, tmp_path / "c", "print('words'); raise ValueError('why')")
    assert (ended.ended, ended.exit_code) == (Ended.FAILED, 126)
    assert "words" in ended.diagnostics
    assert "ValueError: why" in ended.diagnostics
    killed = "import os\nfor p in (2, 3):\n    os.kill(p, 9)\n"  # the holder, by which the box stands
    assert entered(forks, tmp_path / "d", killed).ended is Ended.FAILED
    assert entered(forks, tmp_path / "e", "").ended is Ended.FINISHED  # the zygote is as it was


def test_a_folder_that_two_blocks_can_write_to_is_caught_by_the_mark_of_the_first(forks, tmp_path, monkeypatch):
    """The planted fault: their home is one folder of the machine."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)

    class Weak(running.Layout):
        def __init__(self, *given):
            super().__init__(*given)
            at = self.arguments.index("--remount-ro")
            self.arguments[at:at] = ["--bind", self._near(shared), "/home/job"]

    monkeypatch.setattr(running, "Layout", Weak)
    ended = [entered(forks, tmp_path / str(n), "open('/home/job/mark', 'x')").ended for n in range(2)]
    assert ended == [Ended.FINISHED, Ended.FAILED]  # as the first test's second box would


def test_what_a_notebook_mentions_is_loaded_beforehand():
    assert zygote.mentioned(b"from sklearn.svm import SVC\nimport os") == ["sklearn"]
    assert zygote.mentioned(b"print(1)") == []


SOURCE = """import numpy, pandas, random, sklearn.ensemble, os
print(random.random(), numpy.random.rand())
%matplotlib inline
!echo from the shell
assert isinstance(a, int)"""


def test_a_notebook_runs_in_it_by_papermill_and_two_have_other_random_numbers(forks, tmp_path):
    engine, said = zygote.Forked(forks), []

    def fill(folder):
        (folder / "in" / "notebook.ipynb").write_text(notebook(SOURCE, parameters="a = 1"))
        (folder / "in" / "parameters.json").write_text('{"a": 2}')

    for number in range(2):
        attempt = Attempt(folder=tmp_path / str(number), fill=fill, limits=LIMITS)
        assert engine.run(attempt, threading.Event()).ended is Ended.FINISHED
        executed = json.loads((tmp_path / str(number) / "out" / "executed.ipynb").read_text())
        said.append("".join("".join(o.get("text", "")) for c in executed["cells"] for o in c["outputs"]))
        assert "from the shell" in said[-1]
    assert said[0] != said[1]


def test_memory_that_two_forks_could_write_to_is_refused(tmp_path, monkeypatch):
    """The planted fault: a library that maps shared memory when it is loaded."""
    right = zygote.json.dumps

    def with_fault(order, **more):
        if isinstance(order, dict) and order.get("arguments", [""])[0] == "-m":
            code = "import mmap; from tre.desk import zygote; zygote._load = lambda _: globals().update(held=mmap.mmap(-1, 9)); zygote.main()"
            order = {**order, "arguments": ["-c", code, order["arguments"][2]]}
        return right(order, **more)

    monkeypatch.setattr(zygote.json, "dumps", with_fault)
    with zygote.begun(tmp_path / "own") as found:
        assert not found.works()
