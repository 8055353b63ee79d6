"""Notebooks that abuse the machine: each ends in its coarse state within its limits, others do not notice, nothing remains."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.journey.conftest import ASK, Area, notebook, until
from tre.messages import Submission
from tre.secure.jobs.groups import Groups
from tre.secure.jobs.sandbox import Limits

pytestmark = pytest.mark.slow
MARK = "abuse-7f3a"
# Known from outside by their name, which what they fork inherits.
NAMED = f"import ctypes, os, sys, time; ctypes.CDLL(None).prctl(15, b'{MARK}', 0, 0, 0)"
# Ten times what a well-behaved notebook takes on a quiet machine: it has to live beside an abusive one on a busy one.
LIMITS = {"wall_seconds": 45, "cpu_seconds": 15, "memory_mb": 1024, "outbox_mb": 8}


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    made = Area(tmp_path_factory.mktemp("area"), area={"sandbox": LIMITS, "queue": {"rehearsals": 2}}).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def groups():
    """The control groups that can be made here."""
    made = Groups(Limits(**LIMITS))
    yield set(made.paths)
    made.remove()


DEAF = """import signal
for n in range(1, 65):
    try:
        signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    time.sleep(10**6)"""
ABUSE = {
    # name: what it does, how its rehearsal ends, and the control group without which it may end otherwise
    "a memory bomb": (
        "kept = []\nwhile True:\n    kept.append(bytearray(b'x' * 2**26))",
        {"notebook_failed", "rehearsal_stopped"}, "memory",
    ),
    "a memory bomb of many processes": (
        "for _ in range(8):\n    if os.fork() == 0:\n        kept = bytearray(b'x' * 2**28)\n        time.sleep(600)\nos.wait()\nraise MemoryError",
        {"notebook_failed", "rehearsal_stopped", "rehearsal_timed_out"}, "memory",
    ),
    "a fork bomb": (
        "while True:\n    if os.fork() == 0:\n        time.sleep(600)",
        {"notebook_failed", "rehearsal_stopped"}, "pids",
    ),
    "a filler of disks": (
        "with open('/tmp/full', 'wb') as f:\n    while True:\n        f.write(b'x' * 2**20)",
        {"notebook_failed", "rehearsal_stopped"}, None,
    ),
    "a filler of the outbox": (
        "n = 0\nwhile True:\n    n += 1\n    open(f'/outbox/{n}', 'wb').write(b'x' * 2**20)",
        {"rehearsal_stopped"}, None,
    ),
    "a flood of output": (
        "while True:\n    print('x' * 2**20)",
        {"notebook_failed", "rehearsal_stopped", "rehearsal_timed_out"}, None,
    ),
    "a flood of errors": (
        "while True:\n    os.write(2, b'x' * 2**20)",
        {"notebook_failed", "rehearsal_stopped", "rehearsal_timed_out"}, None,
    ),
    "an endless sleep that hears no signal": (
        DEAF,
        {"rehearsal_timed_out"}, None,
    ),
    "an endless loop": ("while True:\n    pass", {"notebook_failed", "rehearsal_stopped", "rehearsal_timed_out"}, None),
    "a notebook that kills its own kernel": ("os.kill(os.getpid(), 9)", {"notebook_failed"}, None),
    "a notebook that kills whatever it may": (
        "os.kill(-1, 9)", {"notebook_failed", "rehearsal_stopped"}, None,
    ),
}  # fmt: skip
DAEMON = """if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for n in range(3, 256):
            try:
                os.close(n)
            except OSError:
                pass
        time.sleep(600)
    os._exit(0)
"""


def remains(area, *, mounts):
    """What a job left on this machine."""
    found = []
    for name in Path("/proc").glob("[0-9]*/comm"):
        try:
            if name.read_text().strip() == MARK:
                found.append(f"process {name.parent.name}")
        except OSError:
            continue
    if Path("/proc/self/mountinfo").read_text().count("\n") > mounts:
        found.append("mounts")
    jobs = area.root / "area" / "jobs"
    found += [f"rows in {p.parent.name}" for p in jobs.glob("*/*/data") if any(p.iterdir()) and "warm" not in str(p)]
    return found


def empty(area, *, mounts):
    """Nothing is left, a moment later: what is killed takes one to be gone."""
    deadline = time.monotonic() + 20
    while (found := remains(area, mounts=mounts)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not found


@pytest.mark.parametrize("name", ABUSE)
def test_abuse_ends_in_its_state_and_leaves_nothing(area, groups, name):
    code, states, needs = ABUSE[name]
    if needs and needs not in groups and not (needs == "pids" and os.geteuid() == 0):
        pytest.skip(f"no control group for {needs} can be made here")
    mounts = Path("/proc/self/mountinfo").read_text().count("\n")
    client, began = area.client("ada"), time.monotonic()
    bad = client.submit(Submission(project="visits", notebook=notebook(NAMED, code)))
    good = client.submit(Submission(project="visits", notebook=notebook(ASK)))
    ended = until(client, bad.id, lambda v: v.stage != "rehearsing")
    assert ended.stage == "rehearsal_failed"
    assert ended.failure.code in states, ended.failure
    assert time.monotonic() - began < 110, "a stuck job, not a slow machine: the limit is 45 s"
    other = until(client, good.id, lambda v: v.stage != "rehearsing")
    assert other.stage == "planned", other.failure  # another job noticed
    assert empty(area, mounts=mounts), remains(area, mounts=mounts)


def test_what_is_looked_for_is_seen_while_it_is_there_and_ends_when_its_job_is_withdrawn(area):
    mounts = Path("/proc/self/mountinfo").read_text().count("\n")
    client = area.client("ada")
    view = client.submit(Submission(project="visits", notebook=notebook(NAMED, "time.sleep(10**6)")))
    deadline = time.monotonic() + 60
    while not any(f.startswith("process") for f in remains(area, mounts=mounts)):
        assert time.monotonic() < deadline, "the guard sees nothing"
        time.sleep(0.05)
    assert client.withdraw(view.id).stage == "withdrawn"
    assert empty(area, mounts=mounts), remains(area, mounts=mounts)


def test_a_daemon_ends_with_its_notebook(area):
    mounts = Path("/proc/self/mountinfo").read_text().count("\n")
    assert area.submit(notebook(NAMED, DAEMON, ASK)).stage == "planned"
    assert empty(area, mounts=mounts), remains(area, mounts=mounts)


def test_abuse_of_a_run_on_real_rows_is_told_to_the_operator_alone(area):
    """The rehearsal goes through, the run does not: the researcher sees what they would have seen anyhow."""
    only_in_the_run = "import json\nif json.load(open('/data/manifest.json'))['world'] == 'run':\n    time.sleep(10**6)"
    output = "tre.output('note', 'a text', context='a text')"
    mounts = Path("/proc/self/mountinfo").read_text().count("\n")
    view = area.confirm(area.submit(notebook(NAMED, ASK.replace("by-sex", "abuse"), output, only_in_the_run)))
    area.approve(view.release)
    ended = area.finish(view)
    assert ended.stage == "released"
    assert ended.failure is None
    services = area.services()
    try:
        with services.context.database.read() as connection:
            assert services.queue.row(connection, view.id).state == "timed_out"
    finally:
        services.close()
    assert "timed_out" not in json.dumps(ended.model_dump(mode="json"))
    assert empty(area, mounts=mounts), remains(area, mounts=mounts)


def test_when_the_gateway_ends_no_control_group_of_its_boxes_remains(tmp_path):
    area = Area(tmp_path, area={"sandbox": LIMITS}).start()
    assert area.submit(notebook(ASK)).stage == "planned"
    tree = below(area.process.pid)
    area.stop()
    left = [g for pid in tree for g in Path("/sys/fs/cgroup").rglob(f"tre-box-{pid}-*")]
    assert not left


def below(pid):
    found, look = [], [pid]
    while look:
        for children in Path(f"/proc/{look.pop()}/task").glob("*/children"):
            mine = [int(n) for n in children.read_text().split()]
            found += mine
            look += mine
    return found
