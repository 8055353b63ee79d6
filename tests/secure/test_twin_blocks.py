"""Blocks of the twin: as large as the real ones will be, told for what they are, and the number of blocks that is suggested."""

import json
import threading
from statistics import stdev

import pytest

from tests.secure.test_blocks import AGE, Area, K, area, clock, released, sandbox  # noqa: F401  # fixtures
from tre.errors import NotAllowed, RequestError
from tre.messages import BlockPlan, EmittedEstimate
from tre.rules.lifecycle import Actor, Release
from tre.secure.jobs import block_store, twin_blocks
from tre.secure.release import review
from tre.secure.release.planning import need_allowed
from tre.statistics import blocks_combine
from tre.statistics.blocks import parse


class Lane:
    engine, cancelled = None, threading.Event()


def cut(area, k, *, size=None, rows=1000):  # noqa: F811  # the fixture
    plan = BlockPlan(blocks=k, population="them", datasets=("toy",), seconds=1, memory_mb=512, lanes=1)
    with area.context.database.read() as connection:
        from tre.secure import policies as policy_files

        info = area.registry.info(connection, policy_files.current(connection), "visits", "toy")
    infos = {"toy": info.model_copy(update={"size": size})}
    return twin_blocks.number(plan, infos, {"toy": rows}, 16), plan, infos


def test_the_twins_blocks_have_as_many_rows_as_the_declared_size_gives_the_real_ones(area):  # noqa: F811
    assert cut(area, 200, size=20_000)[0] == (10, 10)  # 100 rows in each, of 1,000
    assert cut(area, 200, size=4_000)[0] == (50, 16)
    assert cut(area, 200, size=100_000)[0] == (2, 0)  # the twin is too small to say anything
    assert cut(area, 200)[0] == (200, 16)


def test_they_are_run_on_the_twin_alone_and_what_they_say_is_told_as_spread_and_bias(area, sandbox, tmp_path):  # noqa: F811
    _, plan, infos = cut(area, 8)
    sandbox.does = lambda n, out: (out / "claims.json").write_text(
        "junk" if n == 3 else json.dumps({"age": [40 + n], "bad": [1, 2]})
    )
    said = twin_blocks.run(
        tmp_path / "twin", plan=plan, project="visits", infos=infos, notebook=b"", parameters="{}", most=16, seconds=60,
        files={"toy": area.registry.twin_view("toy", infos["toy"].columns)}, lane=Lane(),
    )  # fmt: skip
    assert [number for number, *_ in sandbox.runs] == list(range(8))
    assert sum(rows["toy"] for *_, rows, _ in sandbox.runs) > 0
    assert twin_blocks.silent(said) == 1
    asked = tuple(EmittedEstimate(name=n, estimate=parse(AGE[1]), values=(44.0,)) for n in ("age", "bad"))
    found = twin_blocks.spreads(said, asked)
    assert found.keys() == {"age"}
    ((spread,), (bias,)) = found["age"]
    assert spread == pytest.approx(stdev([40, 41, 42, 44, 45, 46, 47]))
    assert bias == pytest.approx(43.57 - 44, abs=0.01)
    assert not (tmp_path / "twin").exists()


def test_the_plan_tells_the_error_to_expect_by_the_closed_form(area):  # noqa: F811
    area.submit()
    (told,) = area.plan(AGE, twin={"age": ((2.5,), (-0.4,))}).estimates
    one = blocks_combine.expected_error(told.estimate, K, told.rho_units, pure=False, spread=2.5)
    assert told.expected == (pytest.approx(1.96 * one, rel=1e-3),)
    assert (told.spread, told.bias) == ((2.5,), (-0.4,))
    assert area.plan(AGE).estimates[0].expected == ()


def test_auto_takes_what_the_neediest_estimate_needs_and_no_more_where_rows_are_few(area):  # noqa: F811
    area.submit()
    least = area.plan(AGE, k=100).estimates[0].least_blocks
    assert area.plan(AGE, k=block_store.AUTO).blocks.blocks == least
    needy = ("age", {**AGE[1], "epsilon": 0.05})
    with pytest.raises(RequestError, match="at most 1000 blocks"):
        area.plan(needy, k=block_store.AUTO)


def test_what_was_revoked_is_let_out_again_by_people_only(area, clock, sandbox):  # noqa: F811
    job, release = area.confirmed(AGE)
    clock.pass_(area.times(job).due - clock.time.timestamp())
    assert released(area, release) == Release.RELEASED
    before = area.plan(AGE)
    assert before.automatic
    with area.context.database.write() as connection:
        review.move(area.context, connection, release, Release.REVOKED, who=Actor.ADMIN, person="dee")
    again = area.plan(AGE)
    assert [e.replayed for e in again.estimates] == [True]
    assert not again.automatic
    with area.context.database.read() as connection, pytest.raises(NotAllowed, match="value_revoked"):
        need_allowed(connection, before)  # planned before it was revoked, and at the point of leaving
    assert area.plan(("other", AGE[1])).automatic
