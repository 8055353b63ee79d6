"""Two output checkers decide on a replica from where they sit, by commands alone."""

import subprocess

import pandas as pd
import pytest

from .conftest import BIN, Area

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    made = Area(tmp_path_factory.mktemp("area"), toy={"twin": {"tier": "structural", "replica": True}}).start()
    yield made
    made.stop()


def admin(area, *command):
    return subprocess.run(
        [BIN / "tre-admin", *command, "--area", area.root / "area"], capture_output=True, text=True, check=False
    )


def test_it_is_proposed_looked_at_approved_published_and_verified(area, tmp_path):
    done = admin(area, "replica", "toy", "--as", "dee", "--reason", "to try record linkage", "--json")
    assert done.returncode == 0, done.stderr
    (waiting,), _ = area.desk("replicas", person="bo")
    name = waiting["id"]
    _, error = area.desk("replica", name, person="ada", expect=1)
    assert "[role_missing]" in error
    rows = tmp_path / "rows.parquet"
    info, _ = area.desk("replica", name, "--save", rows, person="bo")
    assert rows.stat().st_mode & 0o077 == 0
    seen = pd.read_parquet(rows)
    assert len(seen) == info["rows"]
    assert seen.attrs["tre"].startswith("SYNTHETIC")
    refused = admin(area, "twin", "toy", "--publish", tmp_path / "early", "--replica", name, "--reason", "x")
    assert "[replica_not_approved]" in refused.stderr
    for checker in ("bo", "cy"):
        area.desk("replica", name, "--approve", "--sha256", info["sha256"], person=checker)
    assert area.desk("replicas", person="di")[0] == []
    out = tmp_path / "published"
    done = admin(area, "twin", "toy", "--publish", out, "--replica", name, "--reason", "asked for")
    assert done.returncode == 0, done.stderr
    told, _ = area.desk("verify", out, "--any-key")
    assert told["statement"]["label"]["tier"] == "replica"
    listed = admin(area, "replicas")
    assert "approved" in listed.stdout
    assert str(info["evidence"]["people"]) not in listed.stdout
