"""Notebooks over blocks that are hostile where planted people are: nobody at the desk sees that they are there.

Two areas differ in ten people, who have as many visits as nobody else; in the one area each brings a behaviour of HOSTILE
about, in their block alone, and in the other none. Blocks look for whatever another may have left (`TRACES`): no block
finds any. All that the researcher can see is the same in both, but for noise, names and times, whatever machine this is.
"""

import calendar
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tre.archive import unpack
from tre.secure.database import tables

from .conftest import Area, notebook
from .test_estimates import BUDGET, followed, masked

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("by_itself")]

# What a block does in which one of these people is, by visits; before it hands out anything, or instead.
HOSTILE = {
    "leaves files": "for place in PLACES: write(place)",
    "leaves its environment": "os.environ[MARK] = '1'; os.system('export %s=1' % MARK)",
    "leaves shared memory": "kept.append(shared_memory.SharedMemory(MARK, create=True, size=9))\n"
    "kept.append(listening('\\0' + MARK)); libc.shmget(777, 4096, 0o1666)",
    "leaves a cache": "joblib.Memory('/home/job/cache', verbose=0).cache(len)(MARK)\n"
    "for place in (matplotlib.get_cachedir(), os.path.dirname(numpy.__file__)): write(place)",
    "leaves processes that burn time": "for _ in range(3): kept.append(subprocess.Popen([sys.executable, '-c', 'while 1: pass', MARK]))\n"
    "time.sleep(2)",
    "crashes": "claim({'seen': [0], 'age': [200]}); os.kill(os.getppid(), 9); os.kill(os.getpid(), 9)",
    "sleeps": "claim({'seen': [0], 'age': [200]}); time.sleep(1000)",
    "floods": "claim({'seen': [0], 'age': [200]})\n"
    "for _ in range(6): subprocess.Popen(['sh', '-c', 'yes & yes'])\n"
    "open('/outbox/large', 'wb').write(bytes(2**25)); kept.append(bytearray(2**40))",
    "hands out exotic values": "claim('{\"seen\": [NaN], \"age\": [' + '9' * 5000 + '], \"\\\\u0000\": ' + '[' * 900 + ']' * 900 + '}', end=True)",
    "forges a result": "write('/outbox', 'emitted.json', '{\"estimates\": [{\"name\": \"more\"}]}')\n"
    "claim({'seen': [0], 'age': [[1, 2]], 'more': [7], 'blocks': 1, 'epsilon': 1e9}, end=True)",
}  # fmt: skip
PLANTED = {7 + 11 * i: 41 + i for i in range(len(HOSTILE))}

SET_UP = """import ctypes, glob, json, os, socket, subprocess, sys, time
from multiprocessing import resource_tracker, shared_memory
import joblib, matplotlib, numpy, pandas
import tre
MARK, kept, libc = "mark-of-a-block", [], ctypes.CDLL(None, use_errno=True)
PLACES = ("/tmp", "/dev/shm", "/home/job", "/var", "/var/tmp", "/outbox", "/in", "/data", "/opt/tre/lib", sys.prefix)

def write(place, name=MARK, text=MARK):
    try:
        open(os.path.join(place, name), "w").write(text)
    except OSError:
        pass

def listening(name):
    made = socket.socket(socket.AF_UNIX)
    made.bind(name)
    made.listen()
    return made

def claim(content, end=False):
    write("/outbox", "claims.json", content if isinstance(content, str) else json.dumps(content))
    if end:
        os._exit(0)

block = '"world":"block"' in open("/data/manifest.json").read()
df = tre.dataset("toy").to_pandas()"""
# How many traces of another block are found: files, variables, memory, sockets, processes; and rows of other people.
TRACES = """seen = sum(os.path.exists(os.path.join(p, MARK)) for p in PLACES) + (MARK in os.environ)
seen += os.path.exists("/home/job/cache") + len(glob.glob("/tmp/**/" + MARK, recursive=True))
seen += MARK in open("/proc/net/unix").read() or libc.shmget(777, 4096, 0) >= 0
seen += sum(MARK in open(p, errors="replace").read() for p in glob.glob("/proc/[0-9]*/cmdline"))
tops = [top for top in os.listdir("/") if top not in ("usr", "lib", "lib64", "bin", "sbin", "proc", sys.prefix.split("/")[1])]
rows = [os.path.join(at, f) for top in tops for at, _, files in os.walk("/" + top) for f in files if f.endswith(".parquet")]
seen += len([p for p in rows if p != "/data/toy.parquet"])
seen = int(min(seen, 1))
"""
ACT = "who = int(df['visits'].max())\nacts = {acts!r}\nif block and who > 40: exec(acts[who - 41])"
ASK = """tre.estimate("seen", seen, bounds=(0, 2), epsilon=30, grid=3, default=2, aggregator="mean")
tre.estimate("age", df["age"].mean(), bounds=(0, 200), epsilon=30, grid=21)"""
NOTEBOOK = notebook(SET_UP, TRACES, ACT.format(acts=list(HOSTILE.values())), ASK)
BLOCKS = 12
CHANGES = {
    "population": {"lifetime": BUDGET}, "visits": {"allowances": {"toy-people": BUDGET}},
    "others": {"allowances": {"toy-people": BUDGET}},
    "area": {"tick_seconds": 6, "review": {"automatic_epsilon": 100}, "sandbox": {"wall_seconds": 120}, "blocks": {"seconds": 9, "lanes": 6, "twin": 0, "memory_mb": 1024}},
}  # fmt: skip


def submitted(area):
    path = area.root / "notebook.ipynb"
    path.write_text(NOTEBOOK)
    return area.desk("submit", path, "--project", "visits", "--blocks", str(BLOCKS), "--yes")[0]


def visible(area, view):
    """What the researcher's token can fetch besides, and the files of the release."""
    client, found = area.client("ada"), {}
    for path in (
        "/v1/me", "/v1/datasets", "/v1/jobs", "/v1/projects/visits/budget", "/v1/releases", "/v1/reviews",
        f"/v1/releases/{view['release']}/bundle",
    ):  # fmt: skip
        answer = client._http.get(path)
        name = path.replace(view["release"], "RELEASE")
        if path.endswith("bundle"):
            files = unpack(answer.content)
            found[name] = {
                n: masked(json.loads(c)) for n, c in files.items() if n.endswith(".json") and n != "manifest.json"
            }
            found[name] |= {"files": sorted(files)}
        else:
            found[name] = [answer.status_code, masked(answer.json())]
    return found


def kept(area, job, until):
    """The places of each block, as the secure side alone has them: the most that was there before they were drawn."""
    services, most = area.services(), {}
    c = tables.block_claims
    while time.time() < until:
        with services.context.database.read() as connection:
            rows = connection.execute(sa.select(c.c.block, c.c.places).where(c.c.job == job)).all()
        most |= {block: json.loads(places) for block, places in rows}
        time.sleep(0.2)
    services.close()
    return most


def late(area, view):
    """Seconds between the moment that was fixed and the one at which each stage is shown."""
    services, p, b = area.services(), tables.published, tables.block_jobs
    with services.context.database.read() as connection:
        due = connection.execute(sa.select(b.c.due).where(b.c.job == view["id"])).scalar_one()
        stages = connection.execute(sa.select(p.c.stage, p.c.visible_from).where(p.c.job == view["id"])).all()
    services.close()
    return [(stage, at - due) for stage, at in stages if stage == "released"]


def test_hostile_blocks_reach_no_other_and_nothing_shows_that_they_were_there(tmp_path):
    areas = []
    try:
        for planted in ({}, PLANTED):
            root = tmp_path / str(len(planted))
            root.mkdir()
            areas.append(Area(root, secret=planted, **CHANGES).start())
        with ThreadPoolExecutor() as pool:
            views = list(pool.map(submitted, areas))
            due = [calendar.timegm(time.strptime(v["due"], "%Y-%m-%dT%H:%M:%SZ")) for v in views]
            inside = [pool.submit(kept, a, v["id"], d) for a, v, d in zip(areas, views, due, strict=True)]
            seen = followed(areas, views)
            inside = [i.result() for i in inside]
        assert seen[0] == seen[1]
        found = [visible(a, v) for a, v in zip(areas, views, strict=True)]
        for path in found[0]:
            assert found[0][path] == found[1][path], path
        assert late(areas[0], views[0]) == late(areas[1], views[1])
        # No block found a trace of another: it says 0, or, where it ended badly or late, it is the default.
        for blocks in inside:
            assert {b["seen"][0] for b in blocks.values()} <= {0, 2}
        assert any(b["seen"] == [0] for blocks in inside for b in blocks.values())  # there were blocks that looked
    finally:
        for area in areas:
            area.stop()
