"""A real Slurm cluster on this machine: what comes back from it, and what is lost with it, comes back to the queue once."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.engines import cluster as clusters
from tests.journey.conftest import Area, notebook
from tre.messages import DecisionKind, Submission, Vote
from tre.rules.policy import SlurmEngine
from tre.secure.database import tables
from tre.secure.jobs import slurm
from tre.secure.jobs.box import Limits
from tre.secure.jobs.engine import Attempt, AttemptLost, NeverBegan
from tre.secure.jobs.node import MARK, OUTCOME
from tre.secure.jobs.running import Ended
from tre.secure.jobs.slurm import Cluster, Slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(clusters.unavailable() is not None, reason=str(clusters.unavailable())),
]
# Room for a kernel's start on a busy machine.
LIMITS = Limits(wall_seconds=90, cpu_seconds=60, memory_mb=1024, outbox_mb=16)
# How many go through the whole area: 50 is what the project promises; fewer in the ordinary suite, as each takes seconds.
JOBS = int(os.environ.get("TRE_SLURM_JOBS", "16"))


@pytest.fixture(scope="module")
def cluster():
    with clusters.Cluster() as made:
        yield made


@pytest.fixture
def engine(cluster):
    cluster.wait_idle()
    return Slurm(Cluster(SlurmEngine(kind="slurm")))


def _attempt(folder, *cells, limits=LIMITS):
    def fill(folder):
        (folder / "in" / "notebook.ipynb").write_text(notebook(*cells))
        (folder / "in" / "parameters.json").write_text("{}")

    return Attempt(folder=folder / "run-1", fill=fill, limits=limits)


class Background:
    """An engine's run in a thread of its own; `result()` gives or raises what it did."""

    def __init__(self, engine, attempt):
        self.cancelled, self.attempt = threading.Event(), attempt
        self._found = None
        self.thread = threading.Thread(target=self._run, args=(engine,))
        self.thread.start()

    def _run(self, engine):
        try:
            self._found = engine.run(self.attempt, self.cancelled)
        except Exception as error:
            self._found = error

    def result(self):
        self.thread.join(timeout=180)
        assert not self.thread.is_alive()
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    def started(self):
        """Once the notebook is at work on its node: it says so itself."""
        _until((self.attempt.folder / "out" / "here").exists)
        return self


HERE = "import time; open('/outbox/here', 'w').close()"


def test_states_and_exit_codes_come_back(engine, tmp_path):
    done = engine.run(_attempt(tmp_path / "a", "print(1)"), threading.Event())
    assert (done.ended, done.exit_code) == (Ended.FINISHED, 0)
    failed = engine.run(_attempt(tmp_path / "b", "raise ValueError"), threading.Event())
    assert (failed.ended, failed.exit_code) == (Ended.FAILED, 2)
    assert not (tmp_path / "a" / "run-1" / "out" / "outcome.json").exists()


def test_a_time_out_and_a_withdrawal_come_back(engine, tmp_path):
    limits = Limits(**{**vars(LIMITS), "wall_seconds": 12})
    slow = Background(engine, _attempt(tmp_path / "a", "import time; time.sleep(300)", limits=limits))
    withdrawn = Background(engine, _attempt(tmp_path / "b", HERE, "time.sleep(300)")).started()
    withdrawn.cancelled.set()
    assert withdrawn.result().ended is Ended.CANCELLED
    assert slow.result().ended is Ended.TIMED_OUT


def test_a_launcher_that_is_killed_loses_its_attempt_and_the_sandbox_with_it(engine, tmp_path):
    lost = Background(engine, _attempt(tmp_path / "a", HERE, "time.sleep(300)")).started()
    (supervisor,) = _supervisors(lost.attempt.folder)
    os.kill(supervisor, signal.SIGKILL)
    with pytest.raises(AttemptLost, match="without an outcome"):
        lost.result()
    _until(lambda: not _mounting(lost.attempt.folder))


def test_the_nodes_daemons_may_die_and_the_job_goes_on(cluster, engine, tmp_path):
    going = Background(engine, _attempt(tmp_path / "a", HERE, "time.sleep(5)")).started()
    for name in ("n1", "n2"):
        cluster.kill(name)
    for name in ("n1", "n2"):
        cluster.start(name)
    assert going.result().ended is Ended.FINISHED


def test_a_controller_that_dies_starts_no_second_sandbox(cluster, engine, tmp_path):
    """Killed before it saved what it had started, Slurm ends the job on its node and starts it again."""
    going = Background(engine, _attempt(tmp_path / "a", HERE, "time.sleep(5)")).started()
    cluster.kill("slurmctld")
    cluster.start("slurmctld")
    here = going.attempt.folder / "out" / "here"
    began = here.stat().st_mtime_ns
    try:
        assert going.result().ended is Ended.FINISHED
    except AttemptLost:
        pass
    assert here.stat().st_mtime_ns == began  # a second sandbox would have made it anew
    _until(lambda: not _mounting(going.attempt.folder))


def test_what_is_started_twice_runs_once(engine, tmp_path):
    """A scheduler that starts an attempt again finds its mark."""
    folder = tmp_path / "run-1"

    def fill(place):
        (place / MARK).touch()

    with pytest.raises(AttemptLost):
        Background(engine, Attempt(folder=folder, fill=fill, limits=LIMITS)).result()
    assert not (folder / OUTCOME).exists()


def test_a_cluster_that_takes_no_jobs_has_not_begun_the_attempt(tmp_path, engine, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none.conf"))
    monkeypatch.setattr(slurm, "CALL_SECONDS", 3.0)  # without a file Slurm's commands look for one by DNS, patiently
    with pytest.raises(NeverBegan, match="sbatch"):
        engine.run(_attempt(tmp_path / "a", "1"), threading.Event())


CELLS = (
    "which = 0",
    "import tre\ntoy = tre.dataset('toy')\ntoy.release('n', epsilon=0.01 + which / 10_000, n=tre.count())",
    "frame = toy.to_pandas().groupby('sex', as_index=False)['age'].mean()",
    "tre.output('ages', frame, context='mean ages')",
)


def test_jobs_with_daemons_killed_on_the_way_are_each_released_and_charged_once(cluster, tmp_path):
    """Killed while they run: a node's daemon, one that stands between it and a job, and a job's launcher."""
    cluster.wait_idle()
    area = Area(
        tmp_path, visits={"allowances": {"toy-people": {"epsilon": 30, "delta": 1e-6}}},
        area={
            "engine": {"kind": "slurm"}, "queue": {"runs": 6, "rehearsals": 2, "per_project": 50, "attempts": 5},
            "review": {"automatic_epsilon": 0}, "tick_seconds": 1, "sandbox": {"wall_seconds": 120, "memory_mb": 1024},
        },
    ).start()  # fmt: skip
    try:
        views = _confirmed(area)
        killer = threading.Thread(target=_kill_on_the_way, args=(cluster, area))
        killer.start()
        _voted(area, {v.release for v in views})
        killer.join()
        for view in views:
            assert area.finish(view).stage == "released"
        charges = area.ledger()
        assert [e["state"] for e in charges] == ["released"] * JOBS
        with area.services().context.database.read() as connection:
            j, a = tables.jobs, tables.audit
            assert connection.execute(sa.select(j.c.state, sa.func.count()).group_by(j.c.state)).all() == [
                ("finished", JOBS)
            ]
            events = sa.select(a.c.subject, sa.func.count()).where(a.c.event == "release.released")
            counted = connection.execute(events.group_by(a.c.subject)).all()
            assert sorted(n for _, n in counted) == [1] * JOBS
            finished = sa.select(a.c.subject, sa.func.count()).where(a.c.event == "job.finished").group_by(a.c.subject)
            assert {n for _, n in connection.execute(finished)} == {1}
    finally:
        area.stop()


def _confirmed(area):
    client = area.client("ada")
    source = notebook(*CELLS[1:], parameters=CELLS[0])
    views = [client.submit(Submission(project="visits", notebook=source, parameters={"which": i})) for i in range(JOBS)]
    confirmed = []
    for job in [v.id for v in views]:
        _until(lambda job=job: client.job(job).stage != "rehearsing", 300)
        view = client.job(job)
        assert view.failure is None, view.failure
        confirmed.append(client.confirm(view.id, view.plan_digest))
    return confirmed


def _kill_on_the_way(cluster, area):
    """Each once a run is at work, and started again as a cluster's operator would."""
    jobs = area.root / "area" / "jobs"
    _until(lambda: _supervisors(jobs), 300)
    cluster.kill("n1")
    time.sleep(3)  # a node that is away for a while, not an event
    cluster.start("n1")
    for find in (lambda: _supervisors(jobs), cluster.steppers):
        if _until_or_over(find, jobs):
            try:
                os.kill(find()[0], signal.SIGKILL)
            except (ProcessLookupError, IndexError):
                continue


def _until_or_over(find, jobs, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if find():
            return True
        time.sleep(0.05)
    return False


def _voted(area, releases):
    """Both checkers approve whatever comes to review, until all have been."""
    waiting, deadline = dict.fromkeys(releases, 0), time.monotonic() + 900
    while any(n < 2 for n in waiting.values()):
        assert time.monotonic() < deadline, f"{waiting}\n{area.log()[-3000:]}"
        for checker in ("bo", "cy"):
            for review in area.client(checker).reviews():
                if review.ready:
                    assert all(o.present for o in review.outputs)
                    area.client(checker).vote(review.release, Vote(decision=DecisionKind.APPROVE))
                    waiting[review.release] += 1
        time.sleep(0.2)


def _supervisors(folder):
    """The node programs of attempts below a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "tre.secure.jobs.node" in command and any(str(folder) in part for part in command):
            found.append(int(place.name))
    return found


def _mounting(folder):
    """Whether a process has the attempt's folder mounted, as its sandbox would."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (place / "mountinfo").read_text():
                return True
        except OSError:
            continue
    return False


def _until(done, seconds=90):
    """Polled: other processes' files and states."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)
