"""Estimates over blocks through the whole journey: an honest value, at its moment and not before, whatever a block does."""

import calendar
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import Area, notebook
from .test_journey import replay

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("by_itself")]

# Person 7 has 50 visits where the secret bit is set, none where not; nobody else has more than 8. In her block alone, the
# notebook sleeps through its time, having written whatever it could.
SLEEPS = """import time
import tre
toy = tre.dataset("toy")
df = toy.to_pandas()
if df["visits"].max() == 50 and len(df) < 700:
    open("/outbox/claims.json", "w").write('{"mean-age": [199], "both": [1, 1], "more": [7]}')
    print("she is here")
    time.sleep(1000)
tre.estimate("both", [df["age"].median(), 150], bounds=(0, 200), epsilon=10, grid=101, aggregator="mean")
tre.estimate("mean-age", df["age"].mean(), bounds=(0, 200), epsilon=80, grid=5)"""
BUDGET = {"epsilon": 100, "delta": 1e-6}
CHANGES = {
    "population": {"lifetime": BUDGET}, "visits": {"allowances": {"toy-people": BUDGET}},
    "others": {"allowances": {"toy-people": BUDGET}},
    "area": {"review": {"automatic_epsilon": 100}, "blocks": {"seconds": 28, "lanes": 2, "twin": 4}},
}  # fmt: skip
DIFFER = re.compile(r"\b(job|rel)-[0-9a-f]+\b|\b[0-9a-f]{16,}\b|\b\d{4}-\d\d-\d\dT[\d:]+Z")


def masked(value):
    """What is left when names, digests and times are the same for all, and of the noisy numbers (and of what was learnt on
    the twin, which is noisy too) only which there are."""
    if isinstance(value, dict):
        noisy = {"values", "low", "high", "spread", "bias", "expected"}
        # A file of noisy numbers has its size; a twin's seed was drawn for each area, before any rows were looked at.
        value = {k: v for k, v in value.items() if k not in ("contentSize", "seed")}
        return {k: [n is None for n in v] if k in noisy else masked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [masked(v) for v in value]
    return DIFFER.sub("*", value) if isinstance(value, str) else value


def followed(areas, views):
    """For each, the views that differ from the one before, masked; nothing of a release is seen before its moment."""
    deadline, seen = time.monotonic() + 300, [[] for _ in areas]
    due = [calendar.timegm(time.strptime(v["due"], "%Y-%m-%dT%H:%M:%SZ")) for v in views]
    going = set(range(len(areas)))
    while going:
        assert time.monotonic() < deadline, areas[0].log()
        for i in sorted(going):
            found = areas[i].client("ada").job(views[i]["id"])
            shown = masked(found.model_dump(mode="json"))
            if not seen[i] or shown != seen[i][-1]:
                seen[i].append(shown)
            if found.stage.final:
                assert time.time() >= due[i]
                going.remove(i)
        time.sleep(0.1)
    return seen


def submitted(area):
    path = area.root / "notebook.ipynb"
    path.write_text(notebook(SLEEPS))
    return area.desk("submit", path, "--project", "visits", "--blocks", "4", "--yes")[0]


def test_estimates_come_at_their_moment_and_a_hostile_block_changes_only_their_noise(tmp_path):
    areas, files = [], []
    try:
        for secret in (0, 1):
            (tmp_path / str(secret)).mkdir()
            areas.append(Area(tmp_path / str(secret), secret=secret, **CHANGES).start())
        with ThreadPoolExecutor() as pool:
            views = list(pool.map(submitted, areas))
        for view in views:  # four blocks of the twin told beforehand how much blocks differ; the grid's step is in it
            (error,) = view["plan"]["estimates"][1]["expected"]
            assert 1.96 * 50 / 12**0.5 < error < 40
        seen = followed(areas, views)
        for area, view in zip(areas, views, strict=True):
            area.desk("fetch", view["release"], area.root / "results")
            files.append({p.name: p.read_text() for p in (area.root / "results").rglob("*.json")})

        assert seen[0] == seen[1]
        assert files[0].keys() == files[1].keys()
        for name in files[0].keys() - {"manifest.json"}:
            assert masked(json.loads(files[0][name])) == masked(json.loads(files[1][name])), name

        for area, found in zip(areas, files, strict=True):
            mean_age = json.loads(found["values.json"])["estimates"][1]
            assert mean_age["name"] == "mean-age"
            # Each point of the grid but this one is drawn with a chance of some 2e-4 where one block has the default's, 100.
            assert mean_age["values"] == [50]
            _nothing_is_left(area)

        _replayed(areas[1], json.loads(files[1]["values.json"])["estimates"][1]["values"][0], tmp_path)
    finally:
        for area in areas:
            area.stop()


def _nothing_is_left(area):
    services = area.services()
    with services.context.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM block_claims").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM leases").scalar() == 0
        assert set(connection.exec_driver_sql("SELECT state FROM jobs").scalars()) == {"finished"}
        assert set(connection.exec_driver_sql("SELECT state FROM ledger WHERE project = 'visits'").scalars()) == {
            "released"
        }
    services.close()
    assert not list((area.root / "area" / "jobs").glob("*/blocks"))


def _replayed(area, value, folder):
    """The same notebook at the desk shows the released number; submitted again, it costs nothing and runs nowhere."""
    path = area.root / "notebook.ipynb"
    area.desk("verify", area.root / "results")
    area.desk("twin", "toy")
    shown = replay(path, area.root / "desk-ada", folder)
    assert "RELEASED" in shown
    assert f"{value:.6g}" in shown
    again, _ = area.desk("submit", path, "--project", "visits", "--blocks", "4", "--yes", "--wait")
    assert again["stage"] == "released"
    assert again["plan"]["costs"] == {}
    assert again["due"] is None
