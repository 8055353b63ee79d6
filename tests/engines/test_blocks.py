"""Blocks on a real Slurm cluster of two nodes: each node has its share, and one that dies takes nothing with it but time."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.engines import cluster as clusters
from tests.journey.conftest import Area, notebook
from tre.messages import Manifest, World
from tre.rules.policy import Sandbox, SlurmEngine
from tre.rules.slots import Schedule
from tre.secure.database import tables
from tre.secure.jobs import spread
from tre.secure.jobs.node import ORDER
from tre.secure.jobs.slurm import Cluster
from tre.secure.jobs.turns import Work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("by_itself"),
    pytest.mark.skipif(clusters.unavailable() is not None, reason=str(clusters.unavailable())),
]
POLICY = SlurmEngine(kind="slurm", block_jobs=2)


@pytest.fixture(scope="module")
def cluster():
    with clusters.Cluster() as made:
        yield made


class Spread:
    """A job of blocks on the cluster, without an area: what each block said, and by when; of which node, by its order."""

    def __init__(self, folder, source, *, blocks, slots, cancelled=None):
        self.folder, self.heard, self.cancelled = folder, {}, cancelled or threading.Event()
        for number in range(blocks):
            (folder / "rows" / str(number)).mkdir(parents=True, exist_ok=True)
        begins = int(time.time()) + 15  # for the libraries, on a busy machine
        self.work = Work(
            rows=folder / "rows", datasets=(), blocks=tuple(range(blocks)), done=(), lanes=2, parameters="{}",
            times=Schedule(begins=begins, seconds=5, slots=slots, due=begins + 5 * slots),
            manifest=Manifest(world=World.BLOCK, project="visits", datasets={}, released={}),
            limits=Sandbox(wall_seconds=4, cpu_seconds=4, memory_mb=1024, outbox_mb=1),
        )  # fmt: skip
        self.source = notebook(source).encode()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        spread.run(
            Cluster(POLICY), self.folder / "jobs", self.work, self.source, seconds=time.time, cancelled=self.cancelled,
            said=self.said,
        )  # fmt: skip

    def said(self, number, claimed):
        assert number not in self.heard, "heard twice"
        self.heard[number] = None if claimed is None else json.loads(claimed)["at"][0]

    def slots(self):
        """In which slot each block was, by its own clock."""
        return {n: (at - self.work.times.begins) // self.work.times.seconds for n, at in self.heard.items()}


NOW = 'import time, tre\ntre.estimate("at", time.time(), bounds=(0, 1e10), epsilon=1, aggregator="mean")'


def test_a_killed_launchers_blocks_are_run_by_another_job_and_all_others_keep_their_slots(cluster, tmp_path):
    cluster.wait_idle()
    job = Spread(tmp_path, NOW, blocks=6, slots=7)
    _until(lambda: {0, 2, 4} & job.heard.keys())  # the first share's
    first, second = (_share(tmp_path, number) for number in (0, 1))
    os.kill(_pilot(first), signal.SIGKILL)
    _until(lambda: not _pilot(first) and _share(tmp_path, 0) != first)
    job.thread.join()
    slots = job.slots()
    assert sorted(slots) == list(range(6))
    assert all(slot == n // 2 or slot > 2 for n, slot in slots.items())  # its own, or a spare one
    if slots[1] == 0:  # its libraries were loaded in time
        assert [slots[n] for n in (3, 5)] == [1, 2]
    assert _share(tmp_path, 1) == second
    _until(lambda: not _pilot(tmp_path))


def test_another_worker_ends_the_jobs_of_the_one_before_and_hears_what_they_said(cluster, tmp_path):
    cluster.wait_idle()
    job = Spread(tmp_path, NOW, blocks=6, slots=3)
    _until(lambda: len(job.heard) >= 2)
    found = {}
    spread.end_earlier(Cluster(POLICY), tmp_path / "jobs", found.__setitem__)
    assert found.keys() >= {0, 1}
    _until(lambda: not _pilot(tmp_path))
    job.cancelled.set()
    job.thread.join()


K = 8
BUDGET = {"epsilon": 100, "delta": 1e-6}
# How many rows a block has, to the next hundred: some 100 of the 800, and 500 where it said nothing.
COUNT = 'import tre\ntoy = tre.dataset("toy").to_pandas()\ntre.estimate("n", len(toy), bounds=(0, 1000), epsilon=50, grid=11)'


def test_a_node_that_dies_changes_neither_the_value_nor_its_moment_nor_the_charge(cluster, tmp_path):
    cluster.wait_idle()
    area = Area(
        tmp_path, visits={"allowances": {"toy-people": BUDGET}}, others={"allowances": {"toy-people": BUDGET}},
        population={"lifetime": BUDGET},
        area={
            "engine": {"kind": "slurm", "block_jobs": 2, "block_wait_seconds": 5}, "review": {"automatic_epsilon": 100},
            "blocks": {"seconds": 4, "lanes": 2, "twin": 0, "memory_mb": 1024},
        },
    ).start()  # fmt: skip
    try:
        path = tmp_path / "notebook.ipynb"
        path.write_text(notebook(COUNT))
        view = area.desk("submit", path, "--project", "visits", "--blocks", K, "--yes")[0]
        assert view["plan"]["blocks"]["lanes"] == 4
        jobs, kept = tmp_path / "area" / "jobs", {}
        _until(lambda: _kept(area, view, kept), 60)
        pilot = next(p for p in _pilots(jobs) if p[1] == "n1")
        cluster.kill("n1")
        for victim in (_parent(pilot[0]), pilot[0]):
            os.kill(victim, signal.SIGKILL)  # and with the launcher whatever it ran
        while area.client("ada").job(view["id"]).stage.value != "released":
            _kept(area, view, kept)
            time.sleep(0.2)
        assert sorted(kept) == list(range(K))
        assert {*(places["n"][0] for places in kept.values())} <= {0, 1, 2}  # the default is 5
        area.desk("fetch", view["release"], tmp_path / "results")
        (value,) = [json.loads(p.read_text()) for p in (tmp_path / "results").rglob("values.json")]
        assert [e["values"] for e in value["estimates"]] == [[100]]
        with area.services().context.database.read() as connection:
            charged = connection.exec_driver_sql("SELECT state FROM ledger WHERE purpose = 'estimate'").scalars().all()
        assert charged == ["released"]
        _until(lambda: not _pilots(jobs))
    finally:
        area.stop()
        if "n1" not in cluster.processes:
            cluster.start("n1")


def _kept(area, view, kept):
    c, services = tables.block_claims, area.services()
    with services.context.database.read() as connection:
        rows = connection.execute(sa.select(c.c.block, c.c.places).where(c.c.job == view["id"])).all()
    services.close()
    kept |= {block: json.loads(places) for block, places in rows}
    return kept


def _share(folder, number):
    """The folder of the newest of the cluster's jobs that has this block."""
    found = [p for p in folder.glob(f"jobs/*/{ORDER}") if number in json.loads(p.read_text())["blocks"]]
    return max(found, key=lambda p: p.stat().st_mtime_ns).parent


def _pilot(folder):
    return next((pid for pid, _ in _pilots(folder)), None)


def _pilots(folder):
    """The programs on nodes whose order is below a folder, and their nodes."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = dict(
                e.split("=", 1)
                for e in (place / "environ").read_bytes().decode(errors="replace").split("\0")
                if "=" in e
            )
        except OSError:
            continue
        if "tre.secure.jobs.node_blocks" in command and any(str(folder) in part for part in command):
            found.append((int(place.name), environment.get("SLURMD_NODENAME")))
    return found


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _until(done, seconds=60):
    """Polled: other processes' files and states."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)
