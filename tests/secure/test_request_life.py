"""The request's life: every state × person × action through the real services, against the one table; and a machine that
tries, in any order, whatever anybody may call, and never gets a release that the policy did not let out.
"""

import itertools

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.journey.conftest import policies, write_policies
from tests.secure.test_executed import Case, _release
from tre.errors import Conflict, TreError
from tre.messages import DecisionKind, Vote
from tre.rules.canonical import digest_bytes
from tre.rules.lifecycle import RELEASE, Actor, Release
from tre.rules.policy import Role
from tre.rules.voting import Audience, Remark
from tre.secure import audit
from tre.secure.database import tables
from tre.secure.jobs.local import Local
from tre.secure.jobs.work import Lane
from tre.secure.release import review
from tre.secure.services import create

# Who: the submitter, somebody of the same project, somebody of none of it; three checkers who have nothing to do with it,
# one who was in the project when it was submitted, one whose accreditation has ended; an admin; nobody.
PEOPLE = ("ada", "al", "eve", "bo", "cy", "di", "mo", "ex", "dee", "nobody")
INDEPENDENT = ("bo", "cy", "di")
ACTIONS = ("look", "notebook", "remark", "vote", "revoke", "withdraw", "job", "precedents")
MACHINES = 25
CHANGING = ("remark", "vote", "revoke", "withdraw")


def _files(*, later=False):
    """`later`: mo has left the project, and checks outputs."""
    members = ["ada", "al"] if later else ["ada", "al", "mo"]
    files = policies(area={"review": {"automatic_epsilon": 0}}, visits={"people": members})
    people = files["people.yaml"]["people"]
    until = {"accredited_until": "2099-12-31"}
    people["al"] = {"name": "Al", "role": "researcher", **until}
    people["mo"] = {"name": "Mo", "role": "checker" if later else "researcher", **until}
    people["ex"] = {"name": "Ex", "role": "checker", "accredited_until": "2020-01-01"}
    return files


def _area(root, database=None):
    made = create(root / "area", database=database)
    made.apply(write_policies(root / "policies", _files()), dry_run=False)
    return made


def _act(services, case, person, action):
    match action:
        case "look":
            return services.review(person, case.release)
        case "notebook":
            return services.review_notebook(person, case.release)
        case "remark":
            said = Remark(audience=Audience.CHECKERS, text="look at the zeros")
            return services.reviews.remark(services.checking(person), person, case.release, said)
        case "vote":
            return services.vote(person, case.release, Vote(decision=DecisionKind.APPROVE))
        case "revoke":
            return services.reviews.revoke(services.checking(person, Role.ADMIN), person, case.release, "a reason")
        case "withdraw":
            return services.withdraw(person, case.job)
        case "job":
            return services.job(person, case.job)
        case _:
            services.checking(person)
            return services.reviews.precedents()


def _steps(state, who):
    return {t.after for t in RELEASE if t.before is state and t.who is who}


def _expected(state, person, action):
    """The state after it, by the table; None where it is refused."""
    votes = _steps(state, Actor.CHECKER) - {Release.REVOKED}
    independent = person in INDEPENDENT
    match action:
        case "look":
            return state if independent else None
        case "notebook" | "remark":
            return state if independent and votes & {Release.PARTIALLY_REVIEWED, Release.REVIEWED} else None
        case "vote":
            if not (independent and votes) or (person == "di" and state is Release.PARTIALLY_REVIEWED):
                return None  # di has voted
            return Release.APPROVED if votes == {Release.REVIEWED} else Release.PARTIALLY_REVIEWED
        case "revoke":
            if person == "dee":
                return next(iter(_steps(state, Actor.ADMIN)), None)
            return state if independent and _steps(state, Actor.CHECKER) == {Release.REVOKED} else None
        case "withdraw":
            return next(iter(_steps(state, Actor.RESEARCHER)), None) if person == "ada" else None
        case "job":
            return state if person == "ada" else None
        case _:
            return state if person in (*INDEPENDENT, "mo") else None


def _path(state):
    """The shortest way there from a request's beginning."""
    ways = {Release.CHECKING: ()}
    while state not in ways:
        ways |= {
            t.after: (*way, t)
            for before, way in list(ways.items())
            for t in RELEASE
            if t.before is before and t.after not in ways
        }
    return ways[state]


def _walked(services, tmp_path, state):
    case = Case(services, tmp_path)
    for step in _path(state):
        if step.event == "release.first_vote":
            services.vote("di", case.release, Vote(decision=DecisionKind.APPROVE))
        elif step.event == "release.withdrawn":
            services.withdraw("ada", case.job)
        else:
            with services.context.database.write() as connection:
                review.move(services.context, connection, case.release, step.after, who=step.who)
    return case


def _standing(services, case):
    """All that a call about a request may change."""
    with services.context.database.read() as connection:
        found = {"state": review.row(connection, case.release).state}
        for name in ("votes", "remarks", "revocations"):
            t = getattr(tables, name)
            found[name] = [tuple(r) for r in connection.execute(sa.select(t).where(t.c.release == case.release))]
        a = tables.audit
        found["log"] = connection.execute(sa.select(sa.func.count()).select_from(a)).scalar_one()
        p = tables.published
        found["told"] = [r.stage for r in connection.execute(sa.select(p).where(p.c.job == case.job))]
    return found


@pytest.mark.slow
def test_every_state_person_and_action_is_allowed_or_refused_as_the_table_says(tmp_path):
    services = _area(tmp_path)
    every = [(s, p, a) for s, p, a in itertools.product(Release, PEOPLE, ACTIONS)]
    changing = {(s, p, a) for s, p, a in every if a in CHANGING and _expected(s, p, a) is not None}
    # A case for each call that changes something, and one of each state for all others.
    cases = {key: _walked(services, tmp_path, key[0]) for key in sorted(changing)}
    shared = {state: _walked(services, tmp_path, state) for state in Release}
    services.apply(write_policies(tmp_path / "later", _files(later=True)), dry_run=False)
    for state, person, action in every:
        case, after = cases.get((state, person, action), shared[state]), _expected(state, person, action)
        before = _standing(services, case)
        assert before["state"] == state
        if after is None:
            with pytest.raises(TreError):
                _act(services, case, person, action)
            assert _standing(services, case) == before, (state, person, action)
        else:
            _act(services, case, person, action)
            assert _standing(services, case)["state"] == after, (state, person, action)
    assert len(every) == 13 * 10 * 8
    assert {s for s, _, a in changing if a == "vote"} == {Release.IN_REVIEW, Release.PARTIALLY_REVIEWED}
    with services.context.database.read() as connection:
        assert audit.first_broken(connection) is None
    services.close()


# In any order

OUT = (Release.APPROVED, Release.RELEASING, Release.RELEASED, Release.REVOKED)


class Life(RuleBasedStateMachine):
    """One request, and everybody who may call something about it, in whatever order; the worker is the real one."""

    services = folder = worker = lane = None

    @initialize(automatic=st.sampled_from((False, False, False, True)))
    def begin(self, automatic):
        self.services.apply(write_policies(self.folder / "first", _files()), dry_run=False)
        self.case = Case(self.services, self.folder, run=not automatic, automatic=automatic)
        self.automatic, self.ended, self.cast, self.withdrawn = automatic, automatic, {}, False
        self.left = False

    @precondition(lambda self: not self.ended)
    @rule()
    def the_run_ends(self):
        self.ended = True
        if not self.withdrawn:
            self.case.end()

    @rule()
    def the_worker_works(self):
        while self.worker.releases.step(self.lane):
            pass

    @precondition(lambda self: not self.left)
    @rule()
    def somebody_leaves_the_project_and_becomes_a_checker(self):
        self.left = True
        self.services.apply(write_policies(self.folder / "later", _files(later=True)), dry_run=False)

    @rule(
        person=st.sampled_from((*INDEPENDENT * 4, *PEOPLE)),
        kind=st.sampled_from((DecisionKind.APPROVE,) * 4 + tuple(DecisionKind)),
    )
    def votes(self, person, kind):
        try:
            self.services.vote(person, self.case.release, Vote(decision=kind, comment="-"))
        except TreError:
            return
        assert person not in self.cast
        self.cast[person] = kind

    @rule(person=st.sampled_from(PEOPLE), action=st.sampled_from(("look", "remark", "revoke", "revoke", "withdraw")))
    def does(self, person, action):
        try:
            _act(self.services, self.case, person, action)
        except TreError:
            return
        self.withdrawn |= action == "withdraw"

    @invariant()
    def nothing_is_let_out_but_by_two_independent_approvals_or_the_policy(self):
        state = _state(self.services, self.case)
        if state in OUT:
            approvals = {p for p, kind in self.cast.items() if kind is DecisionKind.APPROVE}
            assert self.automatic or (len(approvals) == 2 and approvals <= set(INDEPENDENT))
        assert set(self.cast) <= set(INDEPENDENT)
        assert len(self.cast) <= 2
        assert not self.withdrawn or state == Release.WITHDRAWN


@pytest.fixture
def machine(tmp_path):
    """The machine over an area of its own."""
    services = _area(tmp_path)
    worker = services.worker()

    class Here(Life):
        def teardown(self):
            if not self.ended and not self.withdrawn:  # the next one's run is the only one that waits
                services.queue.withdraw(person="ada", job=self.case.job)

    Here.services, Here.folder, Here.worker = services, tmp_path, worker
    engine = Local(services.context.area.folder("jobs"))
    Here.lane = Lane("release", engine, worker.releases.step, lambda _: None, lambda: None)
    yield Here
    worker.presence.end()
    services.close()


@pytest.mark.slow
def test_no_order_of_calls_leads_to_a_release_that_the_policy_does_not_let_out(machine):
    run_state_machine_as_test(machine, settings=settings(max_examples=MACHINES, stateful_step_count=14))


def _by_hand(machine, second):
    """One path of it: two votes, of which the second is this."""
    life = machine()
    life.begin(False)
    life.the_run_ends()
    life.the_worker_works()
    life.votes("bo", DecisionKind.APPROVE)
    life.votes("cy", second)
    life.the_worker_works()
    return life


def test_control_the_machine_can_get_a_release_and_sees_a_rule_that_is_broken(machine, monkeypatch):
    good = _by_hand(machine, DecisionKind.APPROVE)
    good.nothing_is_let_out_but_by_two_independent_approvals_or_the_policy()
    assert _state(good.services, good.case) == Release.RELEASED
    monkeypatch.setattr(review, "decision", lambda _: Release.APPROVED)
    bad = _by_hand(machine, DecisionKind.RETURN)
    with pytest.raises(AssertionError):
        bad.nothing_is_let_out_but_by_two_independent_approvals_or_the_policy()


# Revoked


def _released(services, tmp_path):
    case = Case(services, tmp_path).end().in_review()
    for person in ("bo", "cy"):
        services.vote(person, case.release, Vote(decision=DecisionKind.APPROVE))
    _release(services)
    return case


def _state(services, case):
    return _standing(services, case)["state"]


def _revoke(services, case, person, reason="cells of four people"):
    return services.reviews.revoke(services.checking(person, Role.ADMIN), person, case.release, reason)


def _tell(services, case):
    """What the desk has been told since, without waiting for the tick."""
    p = tables.published
    with services.context.database.write() as connection:
        connection.execute(p.update().where(p.c.job == case.job).values(visible_from=0))


def test_two_checkers_revoke_and_the_desk_is_told_why_and_given_it_no_more(tmp_path, database):
    services = _area(tmp_path, database)
    case = _released(services, tmp_path)
    _tell(services, case)
    assert services.bundle("ada", case.release)
    assert _revoke(services, case, "di") is Release.RELEASED
    with pytest.raises(Conflict, match="already_called"):
        _revoke(services, case, "di")
    assert services.job("ada", case.job).stage == "released"
    assert _revoke(services, case, "bo", "and of three") is Release.REVOKED
    _tell(services, case)
    view = services.job("ada", case.job)
    assert (view.stage, view.comments) == ("revoked", ("cells of four people", "and of three"))
    assert [(r.id, r.stage) for r in services.releases("ada")] == [(case.release, "revoked")]
    with pytest.raises(Conflict, match="release_revoked"):
        services.bundle("ada", case.release)
    assert services.verify_audit()["receipts_that_do_not_fit"] == []  # it is still a true record
    register = services.register(tmp_path / "register")
    assert [r["revoked"] for p in register["projects"] for r in p["releases"]] == [True]
    services.close()


def test_an_admin_revokes_alone_and_nothing_twice_or_without_a_reason(tmp_path):
    services = _area(tmp_path)
    case = _released(services, tmp_path)
    with pytest.raises(TreError, match="reason_missing"):
        _revoke(services, case, "dee", " ")
    assert _revoke(services, case, "dee") is Release.REVOKED
    with pytest.raises(Conflict, match="not_released"):
        _revoke(services, case, "dee")
    services.close()


# Remarks and exceptions


def test_a_remark_is_as_blind_as_a_vote_and_a_private_one_never_reaches_the_researcher(tmp_path, database):
    services = _area(tmp_path, database)
    case = Case(services, tmp_path).end().in_review()
    for person, audience, text in (
        ("bo", "checkers", "private"),
        ("bo", "researcher", "public"),
        ("cy", "checkers", "other"),
    ):
        services.reviews.remark(services.checking(person), person, case.release, Remark(audience=audience, text=text))
    assert [r.text for r in services.review("bo", case.release).remarks] == ["private", "public"]
    assert services.review("di", case.release).remarks == ()
    assert services.job("ada", case.job).comments == ()
    services.vote("bo", case.release, Vote(decision=DecisionKind.APPROVE))
    assert [r.text for r in services.review("cy", case.release).remarks] == ["other"]
    services.vote("cy", case.release, Vote(decision=DecisionKind.RETURN, comment="no"))
    _tell(services, case)
    assert [r.text for r in services.review("cy", case.release).remarks] == ["private", "public", "other"]
    assert services.job("ada", case.job).comments == ("no", "public")
    services.close()


def test_an_exception_is_asked_for_of_a_planned_output_and_listed_once_it_is_decided(tmp_path, monkeypatch):
    services = _area(tmp_path)
    confirm = services.queue.confirm
    wanted = {"t": "the zeros are structural"}
    monkeypatch.setattr(services.queue, "confirm", lambda **more: confirm(**more, exceptions=wanted))
    case = Case(services, tmp_path).end().in_review()
    assert services.review("bo", case.release).outputs[0].exception == wanted["t"]
    assert services.reviews.precedents() == ()
    for person in ("bo", "cy"):
        services.vote(person, case.release, Vote(decision=DecisionKind.REJECT, comment="no"))
    (found,) = services.reviews.precedents()
    assert (found.output, found.reason, found.decision) == ("t", wanted["t"], "rejected")
    assert found.rules == ("context", "presence")  # those that it failed
    wanted = {"another": "-"}
    with pytest.raises(TreError, match="exception_unclear"):
        Case(services, tmp_path)
    services.close()


# Frozen


def test_what_two_people_approved_is_what_leaves_or_nothing_does(tmp_path):
    """A stored output that somebody changed in the area's folder is neither shown nor released."""
    services = _area(tmp_path)
    case = Case(services, tmp_path).end().in_review()
    content, name = b"words", "t"
    digest = digest_bytes(content)
    o = tables.outputs
    (services.context.area.folder("outputs") / digest).write_bytes(content)
    with services.context.database.write() as connection:
        connection.execute(o.update().where(o.c.release == case.release).values(sha256=digest))
    assert services.review_output("bo", case.release, name)[1] == content
    for person in ("bo", "cy"):
        services.vote(person, case.release, Vote(decision=DecisionKind.APPROVE))
    (services.context.area.folder("outputs") / digest).write_bytes(b"other")
    with pytest.raises(TreError, match="output_changed"):
        services.review_output("bo", case.release, name)
    _release(services)
    assert _state(services, case) == Release.FAILED
    services.close()
