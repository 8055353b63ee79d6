"""Blocks: each in its slot, whatever the others do; what one hands out is places on a grid or the default; charged, drawn,
stored, once. The sandbox is a stand-in here that writes what a hostile one could; the real one is in the journey's test."""

import json
import math
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from tests.journey.conftest import notebook, policies, write_data, write_policies
from tre.errors import RequestError
from tre.messages import Emitted, EmittedEstimate, Manifest, World
from tre.rules.ledger import AccountKind, Charge
from tre.rules.lifecycle import Job, Release
from tre.rules.policy import Sandbox
from tre.rules.slots import schedule, turn
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.data.partition import block_of
from tre.secure.data.registry import Registry
from tre.secure.database import tables
from tre.secure.jobs import block_store, blocks, leases, runner, turns
from tre.secure.jobs.blocks import Blocks
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.releasing import Releases
from tre.secure.jobs.sandbox import Ended
from tre.secure.jobs.spread import shares
from tre.secure.jobs.turns import Work
from tre.secure.release import estimates
from tre.secure.release.bundle import Bundler
from tre.secure.release.check import Check
from tre.secure.release.planning import Planner
from tre.secure.services import create
from tre.statistics.blocks import parse

K, SECONDS, LANES = 6, 10, 2
BUDGET = {"epsilon": 100, "delta": 1e-6}


class Clock:
    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.time

    def pass_(self, seconds):
        self.time += timedelta(seconds=seconds)


class Lane:
    """A lane whose waiting moves the clock on."""

    def __init__(self, clock):
        self.clock, self.draining, self.over = clock, False, False
        self.cancelled = self

    def is_set(self):
        return self.over

    def wait(self, seconds):
        self.clock.pass_(seconds)

    @contextmanager
    def holding(self, _lease):
        yield


class Area:
    """The secure side's parts for one worker, with one job of blocks."""

    def __init__(self, context, clock):
        self.context, self.clock = context, clock
        self.queue, self.registry = Queue(context), Registry(context)
        self.planner = Planner(self.registry)
        self.claims = Claims(context, self.queue, "worker")
        self.blocks = Blocks(context, self.queue, self.registry, self.planner, self.claims)
        self.reports = []
        self.check = Check(context, self.registry, lambda *said: self.reports.append(said))
        self.releases = Releases(
            context, self.queue, self.registry, self.check, Bundler(context, self.planner), self.claims
        )

    def plan(self, *asked, k=K, outputs=(), opened=("toy",), twin=None):
        emitted = Emitted(
            estimates=tuple(EmittedEstimate(name=n, estimate=parse(e)) for n, e in asked),
            outputs=outputs,
            opened=opened,
        )
        with self.context.database.read() as connection:
            return self.planner.plan(
                connection, policy_files.current(connection), project="visits", person="ada", notebook=self.notebook,
                parameters={}, emitted=emitted, blocks=k, twin=twin,
            )  # fmt: skip

    def submit(self, k=K):
        job = self.queue.submit(person="ada", project="visits", content=notebook("1").encode(), parameters={}, blocks=k)
        with self.context.database.read() as connection:
            self.notebook = str(self.queue.row(connection, job).notebook)
        return job

    def confirmed(self, *asked, k=K):
        """A job whose plan is confirmed: (job, release)."""
        job = self.submit(k)
        _, lease = self.claims.rehearsal()
        self.queue.planned(lease, self.plan(*asked, k=k))
        with self.context.database.write() as connection:
            leases.drop(connection, lease)
        with self.context.database.read() as connection:
            digest = self.queue.row(connection, job).plan_digest
        return job, self.queue.confirm(person="ada", job=job, plan_digest=digest)

    def times(self, job):
        with self.context.database.read() as connection:
            return block_store.schedule_of(connection, job)

    def state(self, job):
        with self.context.database.read() as connection:
            return self.queue.row(connection, job).state

    def entries(self, release):
        with self.context.database.read() as connection:
            return ledger.entries(connection, release)

    def places(self, job, name):
        with self.context.database.read() as connection:
            plan = runner_plan(self.queue.row(connection, job))
            return block_store.of_all(connection, job, plan, name)


def runner_plan(row):
    from tre.messages import Plan

    return Plan.model_validate_json(row.plan)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def area(tmp_path, clock):
    yield from made(tmp_path, clock, None)


@pytest.fixture
def on_each_database(tmp_path, clock, database):
    yield from made(tmp_path, clock, database)


def made(tmp_path, clock, database):
    services = create(tmp_path / "area", database=database)
    changes = policies(
        population={"lifetime": BUDGET}, visits={"allowances": {"toy-people": BUDGET}}, toy={"twin": {"tier": "plausible", "epsilon": 1}},
        others={"allowances": {"toy-people": BUDGET}},
        area={"blocks": {"seconds": SECONDS, "lanes": LANES}, "review": {"automatic_epsilon": 100}, "tick_seconds": 60},
    )  # fmt: skip
    services.apply(write_policies(tmp_path / "policies", changes), dry_run=False)
    services.ingest("toy", [write_data(tmp_path / "toy.csv", people=60)], drop_invalid=False)
    services.make_twin("toy")
    yield Area(replace(services.context, clock=clock), clock)
    services.close()


@pytest.fixture
def sandbox(monkeypatch, clock):
    """In the place of a sandbox: `does` is called with the block's number and its outbox. What began when is in `runs`."""

    class Sandbox:
        def __init__(self):
            self.runs, self.does = [], lambda _number, outbox: claim(outbox, {"age": [40 + _number]})

        def run(self, folder, *, manifest, files, limits, **_):
            number = int((folder.parent if folder.name == "box" else folder).name.removeprefix("run-"))
            rows = {name: pq.read_table(path).num_rows for name, path in files.items()}
            self.runs.append((number, clock.time.timestamp(), manifest, rows, limits))
            (folder / "out").mkdir(parents=True)
            ended = self.does(number, folder / "out")
            return runner.Ran(
                ended=ended if isinstance(ended, Ended) else Ended.FINISHED,
                memory_ran_out=False,
                diagnostics="",
                emitted=None,
                failure=None,
                outbox=folder / "out",
            )

    made = Sandbox()
    monkeypatch.setattr(turns.runner, "run", made.run)
    monkeypatch.setattr(blocks.zygote, "begun", lambda *_: nullcontext())
    return made


def claim(outbox, content):
    (outbox / "claims.json").write_text(content if isinstance(content, str) else json.dumps(content))


AGE = ("age", {"bounds": (0, 100), "epsilon": 30.0, "default": 7.0, "grid": 101})


def test_every_block_begins_with_its_slot_whatever_the_ones_before_did(area, clock, sandbox):
    job, _ = area.confirmed(AGE)
    times = area.times(job)
    clock.pass_(1)

    def does(number, outbox):
        claim(outbox, {"age": [number]})
        if number % LANES == 0:
            clock.pass_({0: 0, 2: SECONDS, 4: 3}[number])  # one ends at once, one is killed when its time is up

    sandbox.does = does
    assert area.blocks.step(Lane(clock))
    began = {number: at for number, at, *_ in sandbox.runs}
    assert {n: began[n] for n in (0, 2, 4)} == {0: times.begin(0), 2: times.begin(1), 4: times.begin(2)}
    assert sorted(began) == list(range(K))
    assert area.state(job) == Job.FINISHED
    assert clock.time.timestamp() >= times.due  # the lane is free at that moment, and not before
    assert [p for (p,) in area.places(job, "age")] == list(range(K))


def test_a_block_is_told_nothing_of_the_whole(area, clock, sandbox):
    area.confirmed(AGE)
    area.blocks.step(Lane(clock))
    told = {manifest.model_dump_json() for _, _, manifest, _, _ in sandbox.runs}
    assert len(told) == 1
    manifest = sandbox.runs[0][2]
    assert manifest.world is World.BLOCK
    toy = manifest.datasets["toy"]
    assert (toy.version, toy.twin.version, toy.seal) == ("block", None, None)
    assert manifest.released == {}
    with area.context.database.read() as connection:
        version = area.registry.version(connection, "toy")
    assert version not in told.pop()
    key = area.context.area.derived_key("blocks")
    expected = dict.fromkeys(range(K), 0)
    for person in range(60):
        expected[block_of(key, "toy-people", K, str(person))] += 2
    assert {number: rows["toy"] for number, _, _, rows, _ in sandbox.runs} == expected
    assert {limits.wall_seconds for *_, limits in sandbox.runs} == {SECONDS}
    assert not list(area.context.area.folder("jobs").glob("*/blocks"))


FORGED = [
    '{"age": [NaN]}', '{"age": [1e308]}', '{"age": ["40"]}', '{"age": 40}', '{"age": [40, 41]}', '{"age": [true]}',
    '{"age": [[40]]}', "[" * 100_000, '{"age": [' + "9" * 5_000 + "]}", "not JSON", '[{"age": [40]}]', '{"other": [40]}',
    '{"age": [-Infinity]}', '{"age": [-0.001]}', "\x00", " " * (turns.MAX_CLAIMS + 1),
]  # fmt: skip


def test_what_a_block_forges_is_the_default(area, clock, sandbox):
    """All forgeries at once, each by a block of its own, among blocks that are honest."""
    job, _ = area.confirmed(AGE, k=2 * len(FORGED))
    sandbox.does = lambda n, outbox: claim(outbox, FORGED[n // 2] if n % 2 else {"age": [40], "more": [1]})
    area.blocks.step(Lane(clock))
    assert area.places(job, "age") == [(40,), (7,)] * len(FORGED)


def test_a_block_that_fails_says_nothing_or_leaves_a_link_is_the_default(area, clock, sandbox):
    job, _ = area.confirmed(AGE)

    def does(number, outbox):
        if number == 1:
            raise OSError("the disk is full")
        if number == 4:
            (outbox / "claims.json").symlink_to("/etc/passwd")
        if number in (0, 2, 3):
            claim(outbox, {"age": [41]})

    sandbox.does = does
    area.blocks.step(Lane(clock))
    assert area.places(job, "age") == [(41,), (7,), (41,), (41,), (7,), (7,)]


def test_a_block_that_did_not_finish_is_the_default_whatever_it_wrote(area, clock, sandbox):
    job, _ = area.confirmed(AGE)
    ends = (Ended.FINISHED, Ended.TIMED_OUT, Ended.FAILED)

    def does(number, outbox):
        claim(outbox, {"age": [41]})
        return ends[number % 3]

    sandbox.does = does
    area.blocks.step(Lane(clock))
    assert area.places(job, "age") == [(41,), (7,), (7,)] * 2


def test_interrupted_work_goes_on_with_the_blocks_that_are_left(area, clock, sandbox):
    job, _ = area.confirmed(AGE)
    lane = Lane(clock)

    def does(number, outbox):
        claim(outbox, {"age": [number]})
        if number == 2:
            lane.over = lane.draining = True

    sandbox.does = does
    area.blocks.step(lane)
    assert area.state(job) == Job.QUEUED
    with area.context.database.read() as connection:
        done = block_store.done(connection, job)
    assert {0, 1} <= done < set(range(K))  # what was under way does not count
    sandbox.runs.clear()
    area.blocks.step(Lane(clock))
    assert {number for number, *_ in sandbox.runs} == set(range(K)) - done
    assert area.places(job, "age") == [(n,) for n in range(K)]


def test_a_worker_that_was_away_too_long_ends_at_the_same_moment_with_defaults(area, clock, sandbox):
    job, _ = area.confirmed(AGE)
    times = area.times(job)
    clock.pass_(times.begin(times.slots - 1) - clock.time.timestamp() - 1)
    area.blocks.step(Lane(clock))
    assert sorted(number for number, *_ in sandbox.runs) == [0, 1]  # the slot that was left
    assert times.due <= clock.time.timestamp() < times.due + 1
    assert [p for (p,) in area.places(job, "age")] == [40, 41, 7, 7, 7, 7]


def test_slots_of_jobs_follow_each_other_in_the_order_of_confirmation(area, clock, sandbox):
    first, _ = area.confirmed(AGE)
    second, _ = area.confirmed(("other", AGE[1]))
    third, _ = area.confirmed(("third", AGE[1]))
    times = [area.times(j) for j in (first, second, third)]
    assert times[1].begins >= times[0].due
    assert times[2].begins >= times[1].due
    lane = Lane(clock)
    for job in (first, second, third):
        assert area.state(job) == Job.QUEUED
        area.blocks.step(lane)
        assert area.state(job) == Job.FINISHED


def test_a_run_of_all_rows_is_never_made_of_a_job_of_blocks(area, clock, sandbox):
    job, _ = area.confirmed(AGE)
    assert area.claims.run() is None
    found, lease = area.claims.blocks()
    assert found.id == job
    assert area.claims.run() is None
    area.claims.recover()
    assert area.state(job) == Job.RUNNING  # its lease is live
    with area.context.database.write() as connection:
        leases.drop(connection, lease)
    area.claims.recover()
    assert area.state(job) == Job.QUEUED


@pytest.mark.parametrize(("k", "lanes", "jobs"), [(120, 8, 2), (7, 6, 3), (2, 12, 4), (1000, 64, 7)])
def test_on_a_cluster_every_block_is_of_one_share_and_all_shares_fit_the_slots(k, lanes, jobs):
    times = schedule(now=0, busy_until=0, blocks=k, lanes=lanes, seconds=9, tick=1, wait=30)
    work = Work(
        rows=Path(), datasets=(), blocks=tuple(range(k)), done=(), lanes=lanes, times=times, parameters="{}",
        manifest=Manifest(world=World.BLOCK, project="visits", datasets={}, released={}), limits=Sandbox(),
    )  # fmt: skip
    found = shares(work, jobs)
    assert sorted(b for share in found for b in share.blocks) == list(range(k))
    assert 0 < len(found) <= jobs
    own = math.ceil(k / lanes)
    for share in found:
        assert {b for slot in range(own) for b in turn(slot, share.blocks, (), share.lanes)} == set(share.blocks)


def released(area, release):
    lane = Lane(area.clock)
    for _ in range(4):
        area.releases.step(lane)
    with area.context.database.read() as connection:
        return connection.execute(sa.select(tables.releases.c.state).where(tables.releases.c.id == release)).scalar()


def test_the_value_is_charged_drawn_and_stored_at_its_moment_and_not_before(on_each_database, clock, sandbox):
    area = on_each_database
    job, release = area.confirmed(AGE)
    times, stood = area.times(job), clock.time
    area.blocks.step(Lane(clock))
    clock.time = stood
    assert released(area, release) == Release.CHECKING
    clock.pass_(times.due - clock.time.timestamp() - 1)
    assert released(area, release) == Release.CHECKING
    assert [e.state for e in area.entries(release)] == [Charge.RESERVED]
    clock.pass_(1)
    assert released(area, release) == Release.RELEASED
    (entry,) = area.entries(release)
    assert (entry.state, entry.purpose) == (Charge.RELEASED, "estimate")
    value = json.loads(entry.value)
    assert 40 <= value["values"][0] <= 45
    with area.context.database.read() as connection:
        assert block_store.done(connection, job) == set()
        (seen,) = connection.execute(
            sa.select(tables.published.c.visible_from).where(tables.published.c.stage == "released")
        ).scalars()
    assert seen == times.due + 60


def test_without_a_single_block_the_release_comes_all_the_same(area, clock):
    job, release = area.confirmed(AGE)
    clock.pass_(area.times(job).due - clock.time.timestamp())
    assert released(area, release) == Release.RELEASED
    assert json.loads(area.entries(release)[0].value)["values"] == [7.0]


def test_a_draw_that_fails_or_was_interrupted_is_lost_and_never_repeated(area, clock, sandbox, monkeypatch):
    _, release = area.confirmed(AGE, ("second", AGE[1]))
    area.blocks.step(Lane(clock))
    with area.context.database.write() as connection:  # as if the process had died between the spending and the storing
        ledger.spend(connection, int(area.entries(release)[0].id), at=area.context.now())

    def fails(*_, **__):
        raise MemoryError

    monkeypatch.setattr(estimates.combining, "combine", fails)
    assert released(area, release) == Release.RELEASED
    assert [e.state for e in area.entries(release)] == [Charge.LOST, Charge.LOST]
    assert area.reports == [("check.failed", f"{release} second: MemoryError")]
    bundle = area.context.area.folder("releases") / release
    statement = json.loads((bundle / "receipt.json").read_text())["statement"]
    assert [e["state"][:4] for e in statement["estimates"]] == ["lost", "lost"]


def test_the_same_estimate_is_the_same_release_and_another_notebook_or_k_is_another(area, clock, sandbox):
    _, release = area.confirmed(AGE)
    area.blocks.step(Lane(clock))
    released(area, release)
    again = area.plan(AGE)
    assert [e.replayed for e in again.estimates] == [True]
    assert again.costs == {}
    assert not again.in_blocks
    assert [e.replayed for e in area.plan(AGE, k=K + 1).estimates] == [False]
    assert [e.replayed for e in area.plan((AGE[0], {**AGE[1], "default": 8})).estimates] == [False]
    area.notebook = "0" * 64
    assert [e.replayed for e in area.plan(AGE).estimates] == [False]


def test_a_charge_that_was_not_needed_counts_until_the_next_tick(area, clock, sandbox):
    """Else a desk that asks for its budget again and again would see when, to the second, the work on real rows was done."""
    first, second = (area.confirmed(AGE) for _ in range(2))

    def used(at):
        with area.context.database.read() as connection:
            return ledger.used(connection, AccountKind.PROJECT, "toy-people", "visits", at=at)[0]

    both = used(area.context.now())
    for job, release in (first, second):
        clock.time = max(clock.time, datetime.fromtimestamp(area.times(job).due + 1, UTC))
        assert released(area, release) == Release.RELEASED
    assert [e.state for e in area.entries(second[1])] == [Charge.RETURNED]
    assert used(area.context.now()) == both
    clock.pass_(58)
    assert used(area.context.now()) == both
    clock.pass_(1)
    assert used(area.context.now()) == both // 2


def test_a_job_that_is_withdrawn_gives_back_its_charge_and_forgets_its_blocks(area, clock, sandbox):
    job, release = area.confirmed(AGE)
    stood = clock.time
    area.blocks.step(Lane(clock))
    clock.time = stood
    area.queue.withdraw(person="ada", job=job)
    assert [e.state for e in area.entries(release)] == [Charge.RETURNED]
    with area.context.database.read() as connection:
        assert block_store.done(connection, job) == set()


def test_rows_that_a_killed_worker_left_are_removed_when_the_job_is_over_and_a_worker_starts(area):
    jobs = area.context.area.folder("jobs")
    gone, going = (area.confirmed(AGE if n else ("other", AGE[1]))[0] for n in range(2))
    for job in (gone, going):
        (jobs / job / "blocks" / "rows").mkdir(parents=True)
    area.queue.withdraw(person="ada", job=gone)
    area.blocks.sweep()
    assert [job for job in (gone, going) if (jobs / job / "blocks").exists()] == [going]


def test_a_plan_that_blocks_cannot_answer_is_refused_with_what_would_do(area):
    area.submit()
    small = ("age", {**AGE[1], "epsilon": 1.0})
    with pytest.raises(RequestError, match="needs at least") as refused:
        area.plan(small)
    least = int(refused.value.next_step.split("--blocks ")[1].split()[0])
    epsilon = float(refused.value.next_step.split("epsilon ")[1].rstrip("."))
    assert area.plan(small, k=least).estimates[0].least_blocks == least
    with pytest.raises(RequestError, match="needs at least"):
        area.plan(small, k=least - 1)
    assert area.plan(("age", {**AGE[1], "epsilon": epsilon}))
    with pytest.raises(RequestError, match="needs at least"):
        area.plan(("age", {**AGE[1], "epsilon": round(epsilon - 0.02, 2)}))


def test_blocks_and_estimates_need_each_other_and_one_population(area):
    area.submit()
    with pytest.raises(RequestError, match="into how many"):
        area.plan(AGE, k=None)
    with pytest.raises(RequestError, match="asks for nothing"):
        area.plan()
    with pytest.raises(RequestError, match="several populations, or none"):
        area.plan(AGE, opened=())
    with pytest.raises(RequestError, match="same name"):
        area.plan(AGE, AGE)
    with pytest.raises(RequestError, match="at most 1000 blocks"):
        area.plan(AGE, k=1001)
