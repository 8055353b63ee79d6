"""SIGKILL at random moments, to everything that can be killed: each job ends, each is released once, the books agree.

Moments are drawn from a fixed seed, over the time that a job takes. How many: TRE_KILLS for each kind (30 is what the
project promises; a few in the ordinary suite, as each takes seconds).
"""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from tre.messages import DecisionKind, Submission, Vote
from tre.rules.ledger import Charge
from tre.rules.lifecycle import FINAL_JOBS, Job
from tre.secure.database import tables

from .conftest import Area, notebook

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("TRE_KILLS", "4"))
CELLS = (
    "which = 0",
    "import tre\ntoy = tre.dataset('toy')\ntoy.release('n', epsilon=0.01 + which / 10_000, n=tre.count())",
    "tre.output('text', 'a text', context='a text')\nimport time; time.sleep(0.4)",
)
# Longer than a job takes from its submission to the end of its run, on a machine with nothing else to do.
SPAN = 4.0


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    files = {
        "area": {
            "review": {"automatic_epsilon": 0}, "tick_seconds": 1, "sandbox": {"wall_seconds": 60},
            "queue": {"attempts": 10, "lease_seconds": 5, "per_project": 4},
        },
        "visits": {"allowances": {"toy-people": {"epsilon": 35, "delta": 1e-6}}},
    }  # fmt: skip
    made = Area(tmp_path_factory.mktemp("kills"), **files).start()
    yield made
    made.stop()


def _processes(area, what):
    """The pids of an area's processes of one kind, by their command lines."""
    found = []
    mine = str(area.root / "area")
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if _is(what, command) and mine in (command if what == "worker" else (place / "mountinfo").read_text()):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def _is(what, command):
    return {"worker": "work", "kernel": "ipykernel_launcher", "papermill": "tre.desk.boxed"}[what] in command


def _kill_gateway(area):
    area.process.send_signal(signal.SIGKILL)
    area.process.wait()
    area.start()
    # Made by the other thread for the address before; what it asks just now fails, and is asked again.
    for client in list(area.clients.values()):
        client.close()
    area.clients.clear()


def _kill(area, what):
    """One process of this kind, if there is one at this moment; a gateway is started again by its operator."""
    if what == "gateway":
        _kill_gateway(area)
        return True
    pids = _processes(area, what)
    for pid in pids[:1]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(pids)


@pytest.mark.parametrize("what", ["worker", "gateway", "kernel", "papermill"])
def test_whatever_is_killed_every_job_ends_and_is_released_once(area, what):
    moments, hit = random.Random(what), 0  # noqa: S311  # a seed, so that a failure comes again
    jobs = []
    base = {"worker": 0, "gateway": 1, "kernel": 2, "papermill": 3}[what] * 100
    for i in range(KILLS):
        job = _submitted(area, base + i)
        jobs.append(job)
        voter = threading.Thread(target=_bring_to_review, args=(area, job, what))
        voter.start()
        time.sleep(moments.uniform(0, SPAN))  # the moment is the test's subject
        hit += _kill(area, what)
        voter.join(timeout=240)
        assert not voter.is_alive(), f"{job}\n{area.log()[-4000:]}"
    assert hit > 0
    _all_released(area, jobs)
    _books_agree(area)


def _submitted(area, which):
    source = notebook(*CELLS[1:], parameters=CELLS[0])
    return area.client("ada").submit(Submission(project="visits", notebook=source, parameters={"which": which})).id


def _again(call, *, seconds=240):
    """While a gateway is being started again it does not answer; whoever asks asks again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _bring_to_review(area, job, what):
    """The researcher confirms, and both checkers approve; a rehearsal that was killed from inside is submitted anew."""

    def stage():
        return area.client("ada").job(job)

    view = _until(lambda: _again(stage), lambda v: v.stage != "rehearsing")
    if view.stage == "rehearsal_failed":
        assert what in ("kernel", "papermill"), view.failure
        return
    view = _until(lambda: _again(lambda: _confirm(area, job)), lambda v: v.release is not None)
    for checker in ("bo", "cy"):
        _until(lambda checker=checker: _again(lambda: _vote(area, checker, view.release)), bool)


def _confirm(area, job):
    view = area.client("ada").job(job)
    return view if view.release else area.client("ada").confirm(job, view.plan_digest)


def _vote(area, checker, release):
    """True once this checker's vote is cast, also where the answer to it was lost."""
    review = area.client(checker).review(release)
    if review.my_vote is not None or review.state not in ("checking", "in_review"):
        return True
    if review.ready:
        area.client(checker).vote(release, Vote(decision=DecisionKind.APPROVE))
    return False


def _until(look, done, seconds=240):
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if done(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def _all_released(area, jobs):
    client = area.client("ada")
    for job in jobs:
        view = _until(lambda job=job: client.job(job), lambda v: v.stage.final)
        assert view.stage in ("released", "rehearsal_failed")


def _books_agree(area):
    """Every job is final, every release was released once, every charge has a value, and there is no lease left over."""
    services = area.services()
    j, r, a, e = tables.jobs, tables.releases, tables.audit, tables.ledger
    with services.context.database.read() as connection:
        assert {Job(s) for s in connection.execute(sa.select(j.c.state).distinct()).scalars()} <= FINAL_JOBS
        releases = set(connection.execute(sa.select(r.c.id)).scalars())
        released = connection.execute(sa.select(a.c.subject).where(a.c.event == "release.released")).scalars().all()
        assert sorted(released) == sorted(releases)
        charges = connection.execute(
            sa.select(e.c.state, e.c.release, sa.func.count())
            .where(e.c.purpose == "release")
            .group_by(e.c.state, e.c.release)
        ).all()
        assert {c.release for c in charges} == releases
        # A worker that died between a charge and its value: paid, and told as lost.
        assert {c.state for c in charges} <= {Charge.RELEASED, Charge.LOST}
        assert {c[2] for c in charges} <= {1}
    # What the desk sees first is the state; the lease goes a moment after it.
    _until(lambda: _leases(services), lambda found: found == [])
    assert services.verify_audit()["first_broken"] is None
    services.close()


def _leases(services):
    with services.context.database.read() as connection:
        return connection.execute(sa.select(tables.leases)).all()
