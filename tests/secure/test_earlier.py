"""What checkers are shown of the request before: of the same project and notebook, and of nothing they may not look at."""

import json

import pytest
import sqlalchemy as sa

from tests.journey.conftest import notebook, policies, write_policies
from tests.secure.test_executed import Case
from tests.secure.test_review_pages import Checker
from tre.gateway.app import create_app
from tre.messages import DecisionKind, Vote
from tre.rules.changes import Kind
from tre.secure.database import tables
from tre.secure.services import create

FIRST = notebook("print('one')", parameters="year = 1").encode()
SECOND = notebook("print('<script>two</script>')", parameters="year = 1").encode()


def _files():
    files = policies(area={"review": {"automatic_epsilon": 0}}, visits={"people": ["ada", "mo"]})
    files["people.yaml"]["people"]["mo"] = {"name": "Mo", "role": "researcher", "accredited_until": "2099-12-31"}
    return files


@pytest.fixture
def services(tmp_path):
    made = create(tmp_path / "area")
    made.apply(write_policies(tmp_path / "policies", _files()), dry_run=False)
    yield made
    made.close()


def _returned(services, tmp_path, **more):
    case = Case(services, tmp_path, **({"content": FIRST, "name": "visits.ipynb"} | more)).end().in_review()
    for person, comment in (("bo", "which year?"), ("cy", "-")):
        services.vote(person, case.release, Vote(decision=DecisionKind.RETURN, comment=comment))
    return case


def _again(services, tmp_path, **more):
    given = {"content": SECOND, "name": "visits.ipynb", "parameters": {"year": 2}, "context": "c, of year 2"}
    return Case(services, tmp_path, **(given | more)).end().in_review()


def test_what_is_new_in_a_resubmission_is_told_by_name_and_line(services, tmp_path):
    first = _returned(services, tmp_path)
    again = _again(services, tmp_path)
    found = services.review("bo", again.release).changes
    assert (found.earlier, found.state, found.said) == (first.release, "returned", ("which year?", "-"))
    assert [(c.kind, c.name, c.parts) for c in found.outputs] == [(Kind.CHANGED, "t", ("context",))]
    assert [(c.kind, c.name) for c in found.parameters] == [(Kind.ADDED, "year")]
    assert found.statistics == found.data == ()
    changed = [line for line in found.source.split("\n") if line[:1] in "+-"]
    assert changed == ["-print('one')", "+print('<script>two</script>')"]
    t = tables.audit
    with services.context.database.read() as connection:
        query = sa.select(t.c.detail).where(t.c.event == "release.viewed", t.c.subject == again.release)
        assert [json.loads(d) for d in connection.execute(query).scalars()] == [{"beside": first.release}]


def test_the_page_says_so_and_its_words_do_nothing(services, tmp_path):
    first = _returned(services, tmp_path)
    again = _again(services, tmp_path)
    bo = Checker(services, create_app(services), "bo")
    bo.sign_in()
    text = bo.get(f"requests/{again.release}").text
    assert f"What changed since {first.release}" in text
    assert "+print(&#39;&lt;script&gt;two&lt;/script&gt;&#39;)" in text
    assert "<script" not in text
    assert "What changed since" not in bo.get(f"requests/{first.release}").text


@pytest.mark.parametrize("more", [{"name": "other.ipynb"}, {"name": None}])
def test_another_notebook_has_nothing_before_it(services, tmp_path, more):
    _returned(services, tmp_path)
    assert services.review("bo", _again(services, tmp_path, **more).release).changes is None


def test_what_is_under_way_is_nobodys_earlier_request(services, tmp_path):
    Case(services, tmp_path, content=FIRST, name="visits.ipynb").end().in_review()
    assert services.review("bo", _again(services, tmp_path).release).changes is None


def test_who_may_not_look_at_the_earlier_request_is_told_nothing_of_it(services, tmp_path):
    """mo was in the project then, and is an output checker now."""
    first = _returned(services, tmp_path)
    files = _files()
    files["projects/visits.yaml"]["people"] = ["ada"]
    files["people.yaml"]["people"]["mo"]["role"] = "checker"
    services.apply(write_policies(tmp_path / "later", files), dry_run=False)
    again = _again(services, tmp_path)
    assert services.review("mo", again.release).changes is None
    assert services.review("bo", again.release).changes.earlier == first.release
