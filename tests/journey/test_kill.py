"""The worker's process is killed with SIGKILL at the worst moments: nothing is drawn twice, no charge is lost, jobs end.

The process is the real command with one function replaced, so that it dies at a known place: between charge and draw,
between draw and storing, between storing and release, during a run on real rows.
"""

import json
import sys
from textwrap import dedent

import pytest

from .conftest import Area, notebook

pytestmark = pytest.mark.slow

PROGRAM = """
import os, signal, sys
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
{plant}
from tre.secure.cli import main
sys.argv[0] = "tre-admin"
main()
"""
PLANTS = {
    "between charge and draw": "import tre.secure.release.check as m; m.evaluate = die",
    "between draw and storing": "import tre.secure.ledger as m; m.store = die",
    "between storing and release": "import tre.secure.release.bundle as m; m.Bundler.build = die",
    "between bundle and release": dedent(
        """
        import tre.secure.release.bundle as m
        build = m.Bundler.build
        m.Bundler.build = lambda *a, **k: (build(*a, **k), die())
        """
    ),
}


@pytest.fixture
def area(tmp_path):
    made = Area(tmp_path, area={"sandbox": {"wall_seconds": 60}})
    yield made
    made.stop()


def _request(name, epsilon):
    return f"import tre\ntre.dataset('toy').release('{name}', epsilon={epsilon}, n=tre.count())"


@pytest.mark.parametrize("plant", PLANTS)
def test_after_a_kill_every_charge_stands_and_nothing_is_drawn_twice(area, plant):
    area.start()
    source = notebook(_request("first", 0.5), _request("second", 0.6))
    view = area.submit(source)
    area.stop()

    area.start(worker=(sys.executable, "-c", PROGRAM.format(plant=PLANTS[plant])))
    confirmed = area.client("ada").confirm(view.id, view.plan_digest)
    assert confirmed.release
    assert area.worker.wait(timeout=240) == -9  # it died where it was to die
    area.stop()
    before = area.ledger()
    values = _values(area)

    area.start()
    done = area.finish(confirmed)
    after = area.ledger()
    assert done.stage == "released"
    assert [e["rho_units"] for e in after] == [e["rho_units"] for e in before]
    assert all(e["state"] in ("released", "lost") for e in after)
    # what was spent without a value is lost; what had a value has the same one still
    for was, now in zip(before, after, strict=True):
        assert (was["state"], now["state"]) in {
            ("reserved", "released"), ("spent", "lost"), ("released", "released"),
        }  # fmt: skip
    assert {k: v for k, v in _values(area).items() if k in values} == values
    lost = [e for e in after if e["state"] == "lost"]
    assert len(lost) == (1 if plant in ("between charge and draw", "between draw and storing") else 0)
    receipt = _receipt(area, done.release)
    assert sum(s["state"].startswith("lost") for s in receipt["statistics"]) == len(lost)
    assert all(s["charged_epsilon"] > 0 for s in receipt["statistics"])

    # submitting again pays only for what was lost, as a new charge
    again = area.submit(source)
    assert sum(not r.replayed for r in again.plan.requests) == len(lost)


def _values(area):
    import sqlalchemy as sa

    from tre.secure.database import tables

    services = area.services()
    with services.context.database.read() as connection:
        t = tables.ledger
        query = sa.select(t.c.id, t.c.value).where(t.c.value.is_not(None), t.c.purpose == "release")
        found = {r.id: r.value for r in connection.execute(query)}
    services.close()
    return found


def _receipt(area, release):
    from tre.archive import unpack

    return json.loads(unpack(area.client("ada").bundle(release))["receipt.json"])["statement"]


def test_a_rehearsal_and_a_run_that_were_killed_are_done_again(area):
    area.start()
    slow = notebook(
        "import tre, time\ntoy = tre.dataset('toy')\ntime.sleep(2)\n"
        "tre.output('ages', toy.to_pandas().groupby('sex', as_index=False)['age'].mean(), context='mean ages')"
    )
    from tre.messages import Submission

    view = area.client("ada").submit(Submission(project="visits", notebook=slow))
    area.stop(9)  # in the rehearsal
    area.start()
    from .conftest import until

    view = until(area.client("ada"), view.id, lambda v: v.stage != "rehearsing")
    view = area.confirm(view)
    _until_running(area, view.id)
    area.stop(9)  # in the run
    area.start()
    area.approve(view.release)
    assert area.finish(view).stage == "released"


def _until_running(area, job):
    import time

    import sqlalchemy as sa

    from tre.secure.database import tables

    services = area.services()
    while True:
        with services.context.database.read() as connection:
            t = tables.jobs
            if connection.execute(sa.select(t.c.state).where(t.c.id == job)).scalar_one() == "running":
                break
        time.sleep(0.05)
    services.close()


def test_only_one_process_serves_an_area(area):
    import subprocess

    from .conftest import BIN

    area.start()
    command = [str(BIN / "tre-admin"), "serve", "--port", "0", "--area", str(area.root / "area")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "[already_served]" in done.stderr
    assert area.client("ada").me().person == "ada"
