"""Shared by all tests: Hypothesis without a clock (timings belong in bench/), and a PostgreSQL server where there is one."""

import fcntl
import os

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres

# A busy machine draws examples slowly: that is no failure of what is tested.
settings.register_profile("tre", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tre")


@pytest.fixture(scope="session")
def postgresql():
    """A server for the whole session; each test asks it for a database of its own."""
    reason = postgres.unavailable()
    if reason:
        pytest.skip(reason)
    with postgres.Server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request):
    """What `services.create` is to put an area's database on: None for its own file, or a server's address."""
    return request.getfixturevalue("postgresql").new() if request.param == "postgresql" else None


@pytest.fixture
def by_itself(tmp_path_factory):
    """No other test that asks for this runs meanwhile, in whichever process: their slots are a promise of processors."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (shared / "by-itself").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
