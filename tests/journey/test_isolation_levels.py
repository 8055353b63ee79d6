"""Areas of weaker isolation: for public data only, refused for any other at every step, and loud about it."""

import json
import os

import httpx
import pytest

from tests.journey.conftest import ASK, Area, notebook, policies, write_data, write_policies
from tre.errors import NotAllowed, PolicyError, SandboxError
from tre.rules.policy import Isolation, Policies
from tre.secure import policies as policy_files
from tre.secure.jobs import sandbox
from tre.secure.release.planning import need_isolation
from tre.secure.services import create, open_area

OUTPUT = "tre.output('table', toy.to_pandas().groupby('sex').size().rename('n').reset_index(), context='people by sex')"


def at(level, *, public=True):
    return {"area": {"sandbox": {"wall_seconds": 60, "isolation": level}}, "toy": {"public": public}}


@pytest.mark.slow
@pytest.mark.parametrize("level", ["reduced", "none"])
def test_a_journey_on_public_data_where_isolation_is_weaker(tmp_path, level):
    reason = sandbox.unavailable(Isolation(level))
    if reason:
        pytest.skip(reason)  # as root these are run again as an ordinary user
    area = Area(tmp_path, **at(level)).start()
    try:
        for path, code in (("/healthz", 200), ("/v1/me", 401), ("/nowhere", 404)):
            answer = httpx.get(area.url + path, trust_env=False)
            assert (answer.status_code, answer.headers["tre-isolation"]) == (code, level)
        _, warned = area.desk("datasets")
        assert f"Isolation of notebooks is {level}" in warned
        view = area.confirm(area.submit(notebook(ASK, OUTPUT)))
        area.approve(view.release)
        assert area.finish(view).stage == "released"
        area.desk("fetch", view.release, tmp_path / "results")
        receipt = json.loads((tmp_path / "results" / "receipt.json").read_text())
        assert receipt["statement"]["isolation"] == level
        found, warned = area.desk("verify", tmp_path / "results")
        assert found["receipt"]["isolation"] == level
        assert "public data only" in warned
    finally:
        area.stop()


@pytest.mark.slow
def test_full_isolation_is_said_too_and_warns_nobody(tmp_path):
    area = Area(tmp_path).start()
    try:
        assert httpx.get(f"{area.url}/healthz", trust_env=False).headers["tre-isolation"] == "full"
        assert area.desk("datasets")[1] == ""
    finally:
        area.stop()


@pytest.mark.parametrize("level", ["reduced", "none"])
def test_a_dataset_that_is_not_public_is_not_applied(tmp_path, level):
    services = create(tmp_path / "area")
    try:
        with pytest.raises(PolicyError, match="policy_invalid") as refused:
            services.apply(write_policies(tmp_path / "policies", policies(**at(level, public=False))), dry_run=False)
        assert "datasets/toy.yaml, line " in refused.value.message
        assert f"public: isolation is {level} (area.yaml)" in refused.value.message
        services.apply(write_policies(tmp_path / "policies", policies(**at(level))), dry_run=False)
        assert services.isolation() is Isolation(level)
    finally:
        services.close()


def test_isolation_is_not_weakened_around_rows_whose_dataset_was_taken_out(tmp_path):
    services = create(tmp_path / "area")
    try:
        services.apply(write_policies(tmp_path / "before", policies()), dry_run=False)
        services.ingest("other", [write_data(tmp_path / "other.csv")], drop_invalid=False)
        files = policies(**at("reduced"))
        del files["datasets/other.yaml"], files["projects/others.yaml"]
        with pytest.raises(PolicyError, match="policy_invalid") as refused:
            services.apply(write_policies(tmp_path / "after", files), dry_run=False)
        assert "the rows of other are in this area" in refused.value.message
        assert services.isolation() is Isolation.FULL
    finally:
        services.close()


def test_an_area_that_any_notebook_could_once_write_is_never_trusted_with_closed_data(tmp_path):
    """Whoever has its keys, or wrote a token into its database, has them still when isolation is full again."""
    services = create(tmp_path / "area")
    try:
        for level in ("full", "reduced", "none", "full"):
            services.apply(write_policies(tmp_path / "open", policies(**at(level))), dry_run=False)
        with pytest.raises(PolicyError, match="policy_invalid") as refused:
            services.apply(write_policies(tmp_path / "closed", policies()), dry_run=False)
        assert "datasets/toy.yaml, public: isolation has been none in this area" in refused.value.message
    finally:
        services.close()


def loaded(folder, level, *, public=True) -> Policies:
    full = policy_files.load(write_policies(folder / f"{level}-{public}", policies(toy={"public": public})))
    area = full.area.model_copy(
        update={"sandbox": full.area.sandbox.model_copy(update={"isolation": Isolation(level)})}
    )
    return full.model_copy(update={"area": area})


def test_nothing_is_put_into_a_sandbox_that_is_too_weak_for_it(tmp_path):
    full, reduced = loaded(tmp_path, "full"), loaded(tmp_path, "reduced")
    closed = loaded(tmp_path, "reduced", public=False)
    need_isolation(full, full, Isolation.FULL)
    need_isolation(reduced, reduced, Isolation.REDUCED)
    for now, then, started, code in (
        (closed, closed, Isolation.REDUCED, "isolation_too_weak"),
        (reduced, closed, Isolation.REDUCED, "isolation_too_weak"),
        (full, reduced, Isolation.FULL, "isolation_outdated"),
        (reduced, full, Isolation.REDUCED, "isolation_outdated"),
        (full, full, Isolation.REDUCED, "isolation_changed"),
        (reduced, reduced, Isolation.FULL, "isolation_changed"),
    ):
        with pytest.raises((NotAllowed, SandboxError), match=code):
            need_isolation(now, then, started)


def test_a_gateway_does_not_start_at_a_level_that_cannot_be_had(tmp_path, monkeypatch):
    services = create(tmp_path / "area")
    services.apply(write_policies(tmp_path / "policies", policies(**at("reduced"))), dry_run=False)
    services.close()
    monkeypatch.setattr(sandbox, "unavailable", lambda level: f"no {level}")
    services = open_area(tmp_path / "area")
    with pytest.raises(SandboxError, match="sandbox_unavailable") as refused:
        services.refuse_leaks()
    assert "no reduced" in refused.value.message
    services.close()
    assert os.environ.get("TRE_BAIT") is None
