"""Work, one step at a time and in this process: withdrawn at every state, put back by a worker that stops, lost, warm."""

import threading

import pytest
import sqlalchemy as sa

from tre.errors import Conflict
from tre.messages import DecisionKind, Submission, Vote
from tre.rules.lifecycle import Job, Release
from tre.secure.database import tables
from tre.secure.jobs import runs
from tre.secure.jobs.engine import AttemptLost, NeverBegan
from tre.secure.jobs.local import Local
from tre.secure.jobs.runner import limits_of
from tre.secure.jobs.work import Lane

from .conftest import Area, notebook

pytestmark = pytest.mark.slow

ASK = "import tre\ntre.dataset('toy').release('n', epsilon=0.01, n=tre.count())"
OUTPUT = "tre.output('text', 'a text', context='a text')"
WAITS = "import time\nif '\"world\":\"run\"' in open('/data/manifest.json').read(): time.sleep(60)"


class Hand:
    """A worker whose lanes do a step when they are told to."""

    def __init__(self, services):
        self.services = services
        self.worker = services.worker()
        self.lane = Lane("hand", Local(services.context.area.folder("jobs")), None, None, None)

    def rehearse(self):
        assert self.worker.rehearsals.step(self.lane)

    def run(self):
        return self.worker.runs.step(self.lane)

    def advance(self):
        return self.worker.releases.step(self.lane)

    def end(self):
        self.lane.engine.close()
        self.worker.presence.end()

    def submit(self, *cells):
        return self.services.submit("ada", Submission(project="visits", notebook=notebook(*cells)))

    def confirmed(self, *cells):
        view = self.submit(*cells)
        self.rehearse()
        view = self.services.job("ada", view.id)
        assert view.failure is None, view.failure
        self.services.queue.confirm(person="ada", job=view.id, plan_digest=view.plan_digest)
        return self.services.job("ada", view.id)

    def states(self, job):
        with self.services.context.database.read() as connection:
            j, r = tables.jobs, tables.releases
            query = sa.select(j.c.state, r.c.state, j.c.attempt).outerjoin_from(j, r, r.c.job == j.c.id)
            return tuple(connection.execute(query.where(j.c.id == job)).one())


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    files = {"area": {"review": {"automatic_epsilon": 0}, "queue": {"attempts": 2, "warm": False}}}
    return Area(tmp_path_factory.mktemp("queue"), **files)


@pytest.fixture
def hand(area):
    services = area.services()
    made = Hand(services)
    yield made
    made.end()
    services.close()


def _to(hand, state):
    """A job brought to this state: (its id, who undoes it is ada)."""
    if state == "rehearsing":
        return hand.submit(ASK).id
    if state == "planned":
        job = hand.submit(ASK).id
        hand.rehearse()
        return job
    view = hand.confirmed(ASK, OUTPUT)
    if state in ("in review", "partially reviewed"):
        hand.run()
        assert hand.advance()
    if state == "partially reviewed":
        hand.services.vote("bo", view.release, Vote(decision=DecisionKind.APPROVE))
    return view.id


@pytest.mark.parametrize("state", ["rehearsing", "planned", "queued", "in review", "partially reviewed"])
def test_a_job_is_withdrawn_at_every_state_and_what_it_reserved_is_free_again(area, hand, state):
    before = [e["state"] for e in area.ledger()].count("reserved")
    job = _to(hand, state)
    assert hand.services.withdraw("ada", job).stage == "withdrawn"
    assert [e["state"] for e in area.ledger()].count("reserved") == before
    assert not hand.run()
    assert not hand.advance()
    with pytest.raises(Conflict):
        hand.services.withdraw("ada", job)


def test_a_running_notebook_is_ended_by_withdrawing_it(hand):
    """The worker's pulse sees that the lease is gone, and ends the sandbox long before the notebook would."""
    view = hand.confirmed(ASK, WAITS, OUTPUT)
    hand.worker._pulse.start()
    hand.worker._lanes.append(hand.lane)
    running = threading.Thread(target=hand.run)
    running.start()
    _until(lambda: hand.states(view.id)[0] == Job.RUNNING)
    hand.services.withdraw("ada", view.id)
    running.join(timeout=50)
    assert not running.is_alive()
    assert hand.states(view.id)[:2] == (Job.CANCELLED, Release.WITHDRAWN)
    assert not list((hand.services.context.area.folder("jobs") / view.id).glob("run-*"))
    hand.worker._lanes.clear()
    hand.worker._stop.set()
    hand.worker._pulse.join()


def test_what_was_approved_is_not_withdrawn_any_more_and_the_answer_tells_no_state(hand):
    view = hand.confirmed(ASK)
    assert hand.advance()
    for checker in ("bo", "cy"):
        hand.services.vote(checker, view.release, Vote(decision=DecisionKind.APPROVE))
    with pytest.raises(Conflict, match="too late") as refused:
        hand.services.withdraw("ada", view.id)
    assert "approved" not in str(refused.value)
    while hand.advance():
        pass
    assert hand.states(view.id)[1] == Release.RELEASED


def test_a_worker_that_is_stopped_puts_back_what_takes_too_long_as_if_it_had_not_begun(hand):
    view = hand.confirmed(ASK, WAITS, OUTPUT)
    running = threading.Thread(target=hand.run)
    running.start()
    _until(lambda: hand.states(view.id)[0] == Job.RUNNING)
    hand.lane.drain()
    running.join(timeout=50)
    assert not running.is_alive()
    assert hand.states(view.id) == (Job.QUEUED, Release.CHECKING, 0)
    hand.services.withdraw("ada", view.id)


class Away:
    """An engine whose scheduler does not answer, but for the last time."""

    def __init__(self, local):
        self.local, self.attempts = local, 0

    def run(self, attempt, cancelled):
        self.attempts += 1
        if self.attempts < 5:
            raise NeverBegan("no answer")
        return self.local.run(attempt, cancelled)

    def close(self):
        self.local.close()


def test_a_run_that_could_not_begin_is_tried_until_it_can(hand, monkeypatch):
    """More often than attempts that are lost: nothing has been lost."""
    monkeypatch.setattr(runs, "PAUSE_SECONDS", 0.0)
    view = hand.confirmed(ASK, OUTPUT)
    hand.lane.engine = Away(hand.lane.engine)
    while hand.states(view.id)[0] in (Job.QUEUED, Job.RUNNING):
        assert hand.run()
    assert hand.lane.engine.attempts == 5
    assert hand.states(view.id)[0] == Job.FINISHED
    hand.services.withdraw("ada", view.id)


def test_a_release_that_cannot_be_taken_on_holds_up_no_other(hand, monkeypatch):
    first, second = hand.confirmed(ASK), hand.confirmed(ASK.replace("0.01", "0.02"))
    advance = hand.worker.releases._advance

    def broken(release, lease):
        if release.id == first.release:
            raise RuntimeError("unreadable")
        advance(release, lease)

    monkeypatch.setattr(hand.worker.releases, "_advance", broken)
    while hand.advance():
        pass
    assert hand.states(first.id)[1] == Release.CHECKING
    assert hand.states(second.id)[1] == Release.IN_REVIEW
    for view in (first, second):
        hand.services.withdraw("ada", view.id)


class Lost:
    """An engine whose machines are lost under every attempt."""

    def __init__(self):
        self.attempts = 0

    def run(self, *_):
        self.attempts += 1
        raise AttemptLost("the node")

    def close(self):
        pass


def test_a_run_that_is_lost_each_time_fails_and_is_reviewed_without_outputs(hand):
    view = hand.confirmed(ASK, OUTPUT)
    local, hand.lane.engine = hand.lane.engine, Lost()
    while hand.states(view.id)[0] in (Job.QUEUED, Job.RUNNING):
        assert hand.run()
    assert hand.lane.engine.attempts == 2
    hand.lane.engine = local
    assert hand.states(view.id)[0] == Job.FAILED
    assert hand.advance()
    review = hand.services.review("bo", view.release)
    assert review.ready
    assert [o.present for o in review.outputs] == [False]
    hand.services.withdraw("ada", view.id)


def test_a_warm_sandbox_becomes_the_attempts_own_and_is_used_once(hand):
    with hand.services.context.database.read() as connection:
        from tre.secure import policies as policy_files

        limits = limits_of(policy_files.current(connection).area.sandbox)
    jobs = hand.services.context.area.folder("jobs")
    hand.lane.engine.prepare(limits)
    (warm,) = jobs.glob("warm-*")
    inode = warm.stat().st_ino
    view = hand.submit(ASK)
    hand.rehearse()
    assert hand.services.job("ada", view.id).stage == "planned"
    assert not list(jobs.glob("warm-*"))
    assert (jobs / view.id / "rehearsal-1").stat().st_ino == inode
    # with other limits than are asked for, it is not used
    hand.lane.engine.prepare(limits.__class__(**{**vars(limits), "memory_mb": 600}))
    view = hand.submit(ASK)
    hand.rehearse()
    assert hand.services.job("ada", view.id).stage == "planned"
    assert not list(jobs.glob("warm-*"))


def test_a_warm_sandbox_that_died_is_not_used(hand):
    import os
    import signal

    hand.lane.engine.prepare(limits_of(_sandbox(hand)))
    os.kill(hand.lane.engine._warm[2]._running.process.pid, signal.SIGKILL)
    view = hand.submit(ASK)
    hand.rehearse()
    assert hand.services.job("ada", view.id).stage == "planned"


def _sandbox(hand):
    from tre.secure import policies as policy_files

    with hand.services.context.database.read() as connection:
        return policy_files.current(connection).area.sandbox


def _until(done):
    """Polled: the moment is another thread's, in a database."""
    import time

    deadline = time.monotonic() + 180
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_rows_stay_behind_for_an_attempt_that_was_lost(hand):
    """Its worker was killed before it could remove them; the next attempt does."""
    view = hand.submit(ASK)
    left = hand.services.context.area.folder("jobs") / view.id / "rehearsal-0" / "data"
    left.mkdir(parents=True)
    (left / "toy.parquet").write_text("rows")
    hand.rehearse()
    assert not left.exists()
