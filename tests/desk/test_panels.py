"""`tre.panel()`: what moves when a slider does, what stands where widgets are not, and that nothing in it decides."""

import asyncio
import sys

import pytest

import tre
from tests.journey.conftest import SCHEMA
from tre.desk import panels, workspace
from tre.desk.dataset import Dataset
from tre.desk.store import Store
from tre.messages import DatasetInfo, JobView, Stage
from tre.rules.schema import TableSchema

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture
def toy(tmp_path, monkeypatch):
    for name in ("TRE_URL", "TRE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRE_HOME", str(tmp_path))
    table = TableSchema.model_validate({k: v for k, v in SCHEMA.items() if k in TableSchema.model_fields})
    columns = ("year", "sex", "age", "visits")
    info = DatasetInfo(
        id="toy", title="Toy visits", description=f"Made up {HOSTILE}", source="", licence="CC0", steward="Tests", population="p",
        version="1", delta=1e-6, size=1000, columns=columns, table=table.only(columns), twin=None,
    )  # fmt: skip
    Store(tmp_path).save_twin(info, b"")
    workspace.current.cache_clear()
    yield Dataset(workspace.current(), info)
    workspace.current.cache_clear()


def test_the_slider_tells_the_price_and_the_errors_of_ones_own_statistics(toy):
    shown = tre.panel(toy.group_by("sex"), people=tre.count_people(), mean=tre.mean("visits", bounds=(0, 20)))
    planner = shown.planner
    errors = []
    assert planner.widget is not None
    for epsilon in (0.1, 1.0, 10.0):
        planner.epsilon.value = epsilon
        assert planner.quote.epsilon == pytest.approx(epsilon)
        assert planner.quote.price.errors() == toy.group_by("sex").price(
            epsilon=planner.quote.epsilon, people=tre.count_people(), mean=tre.mean("visits", bounds=(0, 20))
        ).price.errors()  # fmt: skip
        assert f"epsilon={planner.quote.epsilon:g}" in planner.shown.value
        errors.append(planner.quote.price.errors()["people"])
    assert errors == sorted(errors, reverse=True)
    assert shown.widget.titles == ("Plan", "Datasets", "Jobs")


def test_what_cannot_be_asked_for_is_refused_as_a_price_is(toy):
    with pytest.raises(tre.TreError, match="column_unknown|not a column|no column"):
        tre.panel(toy, m=tre.mean("salary", bounds=(0, 1)))


def test_datasets_are_described_as_the_policy_does_and_nothing_in_it_is_markup(toy):
    shown = tre.panel()
    shown.browser.widget.children[0].value = "toy"
    told = shown.browser.shown.value
    for word in (
        "Toy visits",
        "About 1,000 rows",
        "<code>visits</code>",
        "Steward: Tests",
        "tre.dataset(&quot;toy&quot;)",
    ):
        assert word in told
    assert HOSTILE not in told
    assert shown.widget.titles == ("Datasets", "Jobs")


def test_without_widgets_the_same_stands_as_text(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    shown = tre.panel(toy, n=tre.count())
    bundle = shown._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    for word in ("epsilon 0.5", "toy: Toy visits", "No job yet"):
        assert word in bundle["text/plain"]


def test_with_widgets_the_text_is_there_too(toy):
    bundle = tre.panel()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "toy: Toy visits" in bundle["text/plain"]


def test_an_unreachable_gateway_is_said_once_and_what_is_here_is_shown(toy, monkeypatch):
    monkeypatch.setenv("TRE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TRE_TOKEN", "x")
    shown = tre.panel()
    assert shown.widget is not None
    assert "toy: Toy visits" in repr(shown.browser)
    assert "gateway_unreachable" in shown.monitor.shown.value


def test_a_monitor_follows_by_itself_until_nothing_goes_on(toy, monkeypatch):
    def job(stage):
        moment = "2026-01-01T00:00:00Z"
        return JobView(id="job-1", project=HOSTILE, person="ada", stage=stage, submitted=moment, updated=moment)

    stages = [Stage.REHEARSING, Stage.IN_PROGRESS, Stage.RELEASED]
    monkeypatch.setattr(panels, "EVERY_SECONDS", 0)
    monkeypatch.setattr(panels, "_asked", lambda ask, otherwise: ([], [job(stages.pop(0))]))

    async def in_a_kernel():
        monitor = panels.Monitor()
        assert "waiting for its rehearsal" in monitor.widget.children[1].value
        await asyncio.wait_for(monitor.following, 10)
        return monitor

    monitor = asyncio.run(in_a_kernel())
    assert stages == []
    assert "released" in monitor.shown.value
    assert HOSTILE not in monitor.shown.value


def test_only_the_panel_that_was_shown_last_goes_on_asking_and_none_for_what_waits_for_its_person(toy, monkeypatch):
    moment = "2026-01-01T00:00:00Z"
    jobs = [JobView(id="job-1", project="p", person="ada", stage=Stage.IN_PROGRESS, submitted=moment, updated=moment)]
    monkeypatch.setattr(panels, "EVERY_SECONDS", 0)
    monkeypatch.setattr(panels, "_asked", lambda ask, otherwise: ([], jobs))

    async def in_a_kernel():
        first, second = panels.Monitor(), panels.Monitor()
        assert first.widget is not None
        assert second.widget is not None
        await asyncio.wait_for(first.following, 10)
        assert not second.following.done()
        jobs[0] = jobs[0].model_copy(update={"stage": Stage.PLANNED})
        await asyncio.wait_for(second.following, 10)

    asyncio.run(in_a_kernel())


@pytest.mark.parametrize("epsilon", [0.002, 30.0])
def test_the_slider_begins_at_the_epsilon_that_was_asked_for_and_moves_to_what_is_small(toy, epsilon):
    planner = tre.panel(toy, epsilon=epsilon, n=tre.count()).planner
    assert planner.widget is not None
    assert planner.epsilon.value == pytest.approx(epsilon) == planner.quote.epsilon
    planner.epsilon.value = 0.012345
    assert planner.quote.epsilon == pytest.approx(0.01234, rel=1e-3)


def test_no_button_decides(toy):
    """The one button asks again."""
    monitor = tre.panel().monitor
    assert [w.description for w in monitor.widget.children if hasattr(w, "on_click")] == ["Ask again"]
