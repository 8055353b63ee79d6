"""The check of outputs: declared tables are computed here and compared with all that has left; claims say that they are claims."""

import json

import pytest

from tests.journey.conftest import policies, write_data, write_policies
from tre.errors import RequestError
from tre.messages import Emitted, EmittedOutput, OutputKind, PlannedOutput
from tre.rules.disclosure.finding import Rule, Verdict, worst
from tre.rules.policy import Disclosure
from tre.secure import policies as policy_files
from tre.secure.release import judging, outputs
from tre.secure.release.judging import Earlier, judge
from tre.secure.services import create
from tre.statistics.declared import parse

CONTEXT = "People of the toy study by sex, to compare men and women"


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    root = tmp_path_factory.mktemp("area")
    services = create(root / "area")
    services.apply(write_policies(root / "policies", policies()), dry_run=False)
    services.ingest("toy", [write_data(root / "toy.csv")], drop_invalid=False)
    services.make_twin("toy")
    with services.context.database.read() as connection:
        found = policy_files.current(connection)
        infos = services.planner.manifest(connection, found, "visits", "rehearsal").datasets
    yield services, infos
    services.close()


def _statement(where=(), by=("sex",), **changes):
    statistics = changes.pop("statistics", {"n": {"kind": "count"}, "people": {"kind": "count_people"}})
    content = {"dataset": "toy", "where": where, "group_by": [{"column": c} for c in by], "statistics": statistics}
    return parse(content | changes)


def _planned(name="t", declared=None, kind=OutputKind.TABLE, **more):
    return PlannedOutput(name=name, kind=kind, context=CONTEXT, declared=declared, **more)


def _judge(area, items, claimed=None, before=(), limits=None):
    services, infos = area
    with services.context.database.read() as connection:
        version = services.registry.version(connection, "toy")
    return judge(
        items, claimed or {}, infos, lambda n: services.registry.rows(n, version), before, limits or Disclosure()
    )


def _bad(judged):
    return {f.rule: f for f in judged.findings if f.verdict is not Verdict.PASS}


def _earlier(area, name, declared, release="rel-1"):
    _, infos = area
    content = _judge(area, [_planned(name, declared)])[name].content
    versions = {n: i.version for n, i in infos.items()}
    return Earlier(release=release, output=_planned(name, declared), datasets=versions, content=content)


def test_a_declared_table_is_what_the_registered_rows_give_whatever_the_notebook_said(area):
    judged = _judge(area, [_planned(declared=_statement())], {"t": b"sex,n\nf,1\n"})["t"]
    assert judged.content == b"sex,n,people\nf,400,200\nm,400,200\n"
    assert not _bad(judged)


def test_rows_of_few_people_are_few_people(area):
    judged = _judge(area, [_planned(declared=_statement(["age = 20"], by=()))])["t"]
    assert _bad(judged)[Rule.THRESHOLD].people == 7  # of fourteen rows
    noise = [m for m in _bad(judged)[Rule.THRESHOLD].mitigations if m.epsilon]
    assert noise[0].error > 0


def test_the_same_table_less_a_few_people_is_found_by_which_earlier_release_and_how_few(area):
    before = [_earlier(area, "adults", _statement(["age >= 18"], by=()))]
    judged = _judge(area, [_planned(declared=_statement(["age >= 19"], by=()))], before=before)["t"]
    found = _bad(judged)[Rule.DIFFERENCING]
    assert (found.verdict, found.people) == (Verdict.FAIL, 7)
    assert [(e.release, e.output) for e in found.earlier] == [("rel-1", "adults")]


def test_three_releases_together_are_found(area):
    before = [
        _earlier(area, "all", _statement(by=()), "rel-1"),
        _earlier(area, "women", _statement(["sex = 'f'"], by=()), "rel-2"),
    ]
    judged = _judge(area, [_planned(declared=_statement(["sex = 'm'", "age <> 19"], by=()))], before=before)["t"]
    found = _bad(judged)[Rule.DIFFERENCING]
    assert found.people == 7
    assert {e.release for e in found.earlier} == {"rel-1", "rel-2"}


def test_people_who_have_rows_of_one_year_only_follow_from_two_counts_of_people(area, tmp_path):
    """By rows the years are apart; by people one count is nearly the other."""
    services, infos = area
    rows = tmp_path / "rows.parquet"
    import duckdb

    with services.context.database.read() as connection:
        version = services.registry.version(connection, "toy")
    source = services.registry.rows("toy", version)
    duckdb.sql(f"COPY (SELECT * FROM read_parquet('{source}') WHERE NOT (year = 2 AND person < 4)) TO '{rows}'")
    people = {"people": {"kind": "count_people"}}
    items = [
        _planned("both", _statement(by=(), statistics=people)),
        _planned("second", _statement(["year = 2"], by=(), statistics=people)),
    ]
    judged = judge(items, {}, infos, lambda _: rows, (), Disclosure())
    assert _bad(judged["both"])[Rule.LINKED].people == 4


def test_totals_of_a_suppressed_table_tell_nothing_and_an_unsuppressed_one_is_refused(area):
    by_age = {"by": ("old", "sex"), "derive": [{"name": "old", "expression": "CASE WHEN age = 20 AND sex = 'f' THEN 'a' WHEN age < 60 THEN 'b' ELSE 'c' END"}]}  # fmt: skip
    plain = _judge(area, [_planned(declared=_statement(**by_age, totals=True))])["t"]
    assert _bad(plain)[Rule.THRESHOLD].verdict is Verdict.FAIL
    done = _judge(area, [_planned(declared=_statement(**by_age, totals=True, suppress=True))])["t"]
    assert worst(f for f in done.findings if f.rule is not Rule.ZEROS) is Verdict.PASS
    assert b"suppressed" in done.content


def test_what_is_no_declared_table_says_that_it_needs_eyes(area):
    items = [
        _planned("frame"),
        _planned("words", kind=OutputKind.TEXT),
        _planned("plot", kind=OutputKind.FIGURE, data="frame"),
        _planned("gone"),
    ]
    claimed = {"frame": b"sex,n\nf,400\nm,400\n", "words": b"All is well.", "plot": b"\x89PNG", "gone": None}
    judged = _judge(area, items, claimed)
    for name in ("frame", "words", "plot"):
        assert set(_bad(judged[name])) == {Rule.UNCHECKED}
    assert _bad(judged["gone"])[Rule.PRESENCE].verdict is Verdict.FAIL


def test_a_model_is_judged_by_its_degrees_of_freedom(area):
    def summary(n, residual):
        content = {
            "model": "OLS", "outcome": "visits", "observations": n, "residual_degrees": residual, "r_squared": 0.1,
            "log_likelihood": -1.0,
            "terms": [{"name": f"x{i}", "estimate": 1, "error": 1, "low": 0, "high": 2, "p": 0.1} for i in range(3)],
        }  # fmt: skip
        return outputs.rewrite(OutputKind.MODEL, json.dumps(content).encode())

    model = _planned("m", kind=OutputKind.MODEL)
    assert set(_bad(_judge(area, [model], {"m": summary(100, 97)})["m"])) == {Rule.UNCHECKED}
    assert Rule.DEGREES_OF_FREEDOM in _bad(_judge(area, [model], {"m": summary(9, 6)})["m"])
    assert Rule.CLAIM in _bad(_judge(area, [model], {"m": summary(9, 97)})["m"])


def test_a_rule_that_breaks_passes_nothing(area, monkeypatch):
    items = [_planned(declared=_statement(suppress=True)), _planned("frame")]
    monkeypatch.setattr(judging, "open_rows", lambda _: 1 / 0)
    monkeypatch.setattr(judging.claims, "table", lambda *_, **__: 1 / 0)
    judged = _judge(area, items, {"frame": b"sex,n\nf,400\n"})
    assert judged["t"].content is None
    assert worst(judged["t"].findings) is Verdict.FAIL
    assert worst(judged["frame"].findings) is Verdict.REVIEW


def _plan(area, *emitted, contents=None):
    services, _ = area
    with services.context.database.read() as connection:
        return services.planner.plan(
            connection, policy_files.current(connection), project="visits", person="ada", notebook="0" * 64,
            parameters={}, emitted=Emitted(outputs=emitted), contents=contents or {},
        )  # fmt: skip


def _emitted(name="t", kind=OutputKind.TABLE, **more):
    return EmittedOutput(name=name, kind=kind, context=CONTEXT, file=f"output-0.{kind.suffix}", **more)


def test_a_plan_says_on_the_twin_what_would_be_returned_and_needs_no_run_for_declared_tables(area):
    plan = _plan(area, _emitted(declared=_statement(["age = 20"], by=())))
    assert (plan.run, plan.automatic) == (False, False)
    assert {Rule.THRESHOLD, Rule.DIFFERENCING, Rule.CONTEXT} <= {f.rule for f in plan.outputs[0].findings}
    assert _plan(area, _emitted(), contents={"t": b"sex,n\nf,400\n"}).run


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"person,n\n1,400\n2,300\n", "output_identifier"),
        (b"sex,age,visits\n" + b"".join(b"f,%d,3\n" % (i % 40) for i in range(60)), "output_rows"),
        (b"band,n\n" + b"".join(b"b%d,40\n" % i for i in range(600)), "output_rows"),
    ],
)
def test_identifiers_and_lists_of_rows_are_never_planned(area, content, code):
    with pytest.raises(RequestError) as refused:
        _plan(area, _emitted(), contents={"t": content})
    assert refused.value.code == code


def test_a_statement_outside_the_language_and_numbers_that_are_nowhere_are_refused(area):
    with pytest.raises(RequestError) as refused:
        _plan(area, _emitted(declared=_statement(by=("nothing",))))
    assert refused.value.code == "column_unknown"
    with pytest.raises(RequestError) as refused:
        _plan(area, _emitted("plot", OutputKind.FIGURE, data="t"), contents={"plot": b""})
    assert refused.value.code == "data_unknown"
