"""Two projects with different datasets at work at the same time: neither finds a trace of the other."""

import json
import re
import threading
import time

import pytest
import sqlalchemy as sa

from tre.secure.database import tables

from .conftest import Area, notebook

pytestmark = pytest.mark.slow

# Leaves marks wherever it can, waits until the other has left its own, and writes down all that it can see.
PROBE = """
import json, os, socket, subprocess, sys, time, tre
frame = tre.dataset(DATASET).to_pandas()
mark = "mark-of-" + DATASET
kept = []
for place in ("/tmp", "/dev/shm", "/var", "/home/job", "/outbox"):
    try:
        kept.append(open(f"{place}/{mark}", "w"))
    except OSError:
        pass
for name in (f"\\0{mark}", f"/tmp/{mark}.socket"):
    try:
        kept.append(socket.socket(socket.AF_UNIX))
        kept[-1].bind(name)
        kept[-1].listen()
    except OSError:
        pass
kept.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", mark]))
time.sleep(6)
seen = []
for top, folders, files in os.walk("/"):
    if top == "/":
        folders[:] = [f for f in folders if f not in ("usr", "proc", "sys", *RUNTIME)]
    seen += [os.path.join(top, f) for f in (*folders, *files)]
for place in [f"/proc/{p}/{f}" for p in os.listdir("/proc") if p.isdigit() for f in ("cmdline", "environ", "mountinfo", "cgroup")] + [
    "/proc/net/unix", "/proc/net/tcp", "/proc/sysvipc/shm", "/proc/keys", "/proc/mounts", "/proc/locks"]:
    try:
        seen.append(open(place).read().replace("\\0", " "))
    except OSError:
        pass
seen += [socket.gethostname(), *map(str, os.environ.items())]
tre.output("seen", json.dumps(seen), context="what could be seen")
"""


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    files = {"review": {"automatic_epsilon": 0}, "tick_seconds": 1, "queue": {"runs": 2, "rehearsals": 2}}
    made = Area(tmp_path_factory.mktemp("neighbours"), area=files).start()
    yield made
    made.stop()


def _source(dataset):
    import sys
    from pathlib import Path

    runtime = sorted({Path(p).resolve().parts[1] for p in (sys.prefix, sys.base_prefix)})
    return notebook(f"DATASET = {dataset!r}\nRUNTIME = {runtime!r}", PROBE)


def _states(area, jobs):
    services = area.services()
    with services.context.database.read() as connection:
        j = tables.jobs
        found = dict(connection.execute(sa.select(j.c.id, j.c.state).where(j.c.id.in_(jobs))).all())
    services.close()
    return [found[job] for job in jobs]


def test_neither_finds_a_trace_of_the_other(area):
    views, asked = {}, {"ada": ("visits", "toy"), "eve": ("others", "other")}

    def submit(person):
        project, dataset = asked[person]
        view = area.submit(_source(dataset), person=person, project=project)
        assert view.failure is None, view.failure
        views[person] = view

    threads = [threading.Thread(target=submit, args=(p,)) for p in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    views = {p: area.confirm(v, person=p) for p, v in views.items()}
    jobs = [v.id for v in views.values()]
    deadline = time.monotonic() + 120
    while _states(area, jobs) != ["running", "running"]:  # at the same time, or this test shows nothing
        assert time.monotonic() < deadline, _states(area, jobs)
        time.sleep(0.05)
    while any(s in ("queued", "running") for s in _states(area, jobs)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert _states(area, jobs) == ["finished", "finished"]
    for person, (_, dataset) in asked.items():
        seen = _output(area, views[person].release)
        other = next(p for p in asked if p != person)
        theirs = views[other]
        # The control: what is one's own is found, so the words are the right ones.
        assert f"mark-of-{dataset}" in seen
        assert f"/data/{dataset}.parquet" in seen
        words = [
            f"mark-of-{asked[other][1]}", f"{asked[other][1]}.parquet", theirs.id, theirs.release, theirs.person,
            asked[other][0], "area.db",
        ]  # fmt: skip
        # As words: three letters of somebody's name are in many a digest.
        assert [w for w in words if re.search(rf"\b{re.escape(w)}\b", _without_runtime(seen))] == []


def _output(area, release):
    services = area.services()
    o = tables.outputs
    with services.context.database.read() as connection:
        sha256 = connection.execute(sa.select(o.c.sha256).where(o.c.release == release)).scalar_one()
    text = (services.context.area.folder("outputs") / sha256).read_text()
    services.close()
    return text


def _without_runtime(seen):
    """Host paths of the runtime's own mounts stand in the mount table; the area's folder must not, beyond its random names."""
    lines = "\n".join(line for part in json.loads(seen) for line in part.splitlines())
    return lines.replace(
        "loadavg", ""
    )  # which stands in the mount table, as it is masked, and has a person's name in it
