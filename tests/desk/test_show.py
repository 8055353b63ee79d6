"""What a checker reads in a terminal: nothing that a notebook's author wrote can hide or change what stands beside it."""

import io

import pytest
from rich.console import Console

from tre.desk import show
from tre.messages import Plan, ReviewInfo
from tre.rules.text import visible

TRICKS = ["\x1b[8mhidden\x1b[0m", "\x1b[2K\x1b[1A", "\u202eesrever", "a\rb", "\x07", "\u200b", "\x9b31m"]


def _info(**changes):
    plan = Plan(
        project="visits", person="ada", notebook="0" * 64, parameters={"query": "age == 25"}, datasets={}, policy="0" * 64,
        requests=(), outputs=(), costs={}, automatic=False, run=True,
    )  # fmt: skip
    fields = {
        "release": "rel-1", "project": "visits", "person": "ada", "state": "in_review", "submitted": "today", "ready": True,
        "plan": plan, "notebook_source": "1 + 1", "outputs": (), "my_vote": None, "votes_cast": 0, "comments": (),
    }  # fmt: skip
    return ReviewInfo(**(fields | changes))


def _shown(info):
    out = io.StringIO()
    show.review(Console(file=out, width=200, force_terminal=False), info)
    return out.getvalue()


@pytest.mark.parametrize("trick", TRICKS)
def test_no_character_acts_on_the_terminal(trick):
    text = _shown(_info(notebook_source=f"before {trick} after", comments=(trick,)))
    assert trick not in text
    assert "before" in text
    assert visible(trick).count("\\u") == sum(not c.isprintable() for c in trick)


def test_markup_is_shown_as_it_is_written():
    assert "[red]x[/red]" in _shown(_info(notebook_source="[red]x[/red]"))


def test_the_parameters_given_are_shown_before_the_code_they_change():
    text = _shown(_info())
    assert text.index("query = 'age == 25'") < text.index("1 + 1")


def test_a_request_is_shown_with_the_kind_of_every_statistic():
    from tre.messages import PlannedRequest
    from tre.statistics.request import parse

    request = parse({"dataset": "toy", "statistics": {"rows": {"kind": "count"}}, "epsilon": 1.0})
    planned = PlannedRequest(
        name="all", request=request, digest=request.digest, population="toy-people", dataset_version="v", rho_units=1,
        replayed=False, expected_error={"rows": 3},
    )  # fmt: skip
    plan = _info().plan.model_copy(update={"requests": (planned,)})
    assert '"rows":{"kind":"count"}' in _shown(_info(plan=plan))


def test_what_is_to_be_decided_on_is_on_the_screen():
    from tre.messages import OutputKind, ReviewOutput

    output = ReviewOutput(name="t", kind=OutputKind.TABLE, context="c", present=True, digest="0" * 64, findings=())
    out = io.StringIO()
    show.review(Console(file=out, width=200), _info(outputs=(output,)), {"t": b"site,n\nA\x1b[8m,12\n"})
    assert "12" in out.getvalue()
    assert "\x1b[8m" not in out.getvalue()


@pytest.mark.parametrize("trick", [*TRICKS, "[red]x[/red]"])
def test_what_changed_is_told_before_the_outputs_and_acts_on_nothing(trick):
    from tre.rules.changes import Change, Changes, Kind

    changed = Change(kind=Kind.CHANGED, name=f"t{trick}", parts=("context",))
    found = Changes(
        earlier="rel-0", state="returned", submitted="yesterday", said=(f"which year? {trick}",), source=f"-1{trick}\n+2",
        parameters=(changed,), data=(), statistics=(), outputs=(changed,),
    )  # fmt: skip
    text = _shown(_info(changes=found))
    assert text.index("since rel-0 (yesterday, returned)") < text.index("The submitted notebook")
    assert text.count("changed: t") == 2
    assert f"-1{visible(trick)}\n+2" in text
    assert trick in text if trick == "[red]x[/red]" else trick not in text


@pytest.mark.parametrize(("source", "said"), [("", "the notebook is the same"), (None, "too many lines")])
def test_sources_that_are_the_same_or_too_long_are_said_to_be(source, said):
    from tre.rules.changes import Changes

    none = dict.fromkeys(("parameters", "data", "statistics", "outputs", "said"), ())
    changes = Changes(earlier="rel-0", state="released", submitted="yesterday", source=source, **none)
    assert said in _shown(_info(changes=changes))
