"""Random histories of the ledger, on a real database beside a model of a few lines: after every step they agree."""

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tre.errors import BudgetExceeded
from tre.rules.accounting import delta_limit, rho_of
from tre.rules.ledger import COUNTS, NEXT, Charge
from tre.rules.policy import Loss, Measure, Population
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.services import create

from .test_ledger import SHIPPED

NUMBERS = count()
SHIPPED_POLICIES = policy_files.load(SHIPPED)
LIMIT, ALLOWED = 1000, 600
KEYS, KEYS_ALLOWED = 50, 20
NOW = "2030-01-01T00:00:00Z"
HISTORIES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
PAIRS = settings(HISTORIES, max_examples=20)  # each example is two histories


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    made = create(tmp_path_factory.mktemp("histories") / "area")
    yield made
    made.close()


def _loss(units, keys):
    return Loss(epsilon=units / 10**12, delta=0, keys_delta=keys / 10**15)


def _people():
    """A population nobody has charged, kept in pure epsilon, where a unit is a unit; and a project allowed some of it."""
    name = f"people{next(NUMBERS)}"
    policies = SHIPPED_POLICIES
    lifetime, allowed = _loss(LIMIT, KEYS), _loss(ALLOWED, KEYS_ALLOWED)
    assert rho_of(lifetime.epsilon, 0) == LIMIT
    assert delta_limit(lifetime.keys_delta) == KEYS
    population = Population(title=name, measure=Measure.PURE, lifetime=lifetime)
    project = policies.projects["visits"].model_copy(update={"allowances": {name: allowed}})
    changed = {"populations": {name: population}, "projects": {"visits": project}}
    return name, policies.model_copy(update=changed)


def _reserve(area, policies, people, wish):
    """The new entry's number, or None where it was refused."""
    project, units, delta_units, version = wish
    reservation = ledger.Reservation(
        population=people, project=project, purpose="release", request_digest="d", dataset_version=version,
        release=None, position=0, rho_units=units, delta_units=delta_units, measure=Measure.PURE,
    )  # fmt: skip
    try:
        with area.context.database.write() as connection:
            return ledger.reserve(connection, policies, [reservation], at=NOW)[0]
    except BudgetExceeded:
        return None


def _accounts(area, policies, people):
    with area.context.database.read() as connection:
        return ledger.accounts(connection, policies, people, "visits", at=NOW)


MOVES = {
    Charge.SPENT: ledger.spend,
    Charge.RELEASED: lambda c, e, *, at: ledger.store(c, e, "{}", at=at),
    Charge.RETURNED: ledger.give_back,
    Charge.LOST: ledger.lose,
}
wishes = st.tuples(
    st.sampled_from(["visits", None]),
    st.integers(1, 400),
    st.sampled_from([0, 0, 0, 7, 30]),
    st.sampled_from(["v1", "v2"]),
)
steps = st.lists(st.one_of(wishes, st.tuples(st.integers(0, 9), st.sampled_from(list(MOVES)))), max_size=20)


@HISTORIES
@given(steps)
def test_after_every_step_what_counts_and_what_is_left_are_the_whole_budget(area, history):
    people, policies = _people()
    model = []  # [project, units, delta units, state, number]

    def counted(which, part):
        return sum(e[part] for e in model if e[3] in COUNTS and (which == "all" or e[0] == which))

    for step in history:
        if len(step) == 4:
            project, units, delta_units, _version = step
            fits = counted("all", 1) + units <= LIMIT and counted("all", 2) + delta_units <= KEYS
            if project:
                fits = fits and counted(project, 1) + units <= ALLOWED
                fits = fits and counted(project, 2) + delta_units <= KEYS_ALLOWED
            entry = _reserve(area, policies, people, step)
            assert (entry is not None) == fits
            if fits:
                model.append([project, units, delta_units, Charge.RESERVED, entry])
        elif model:
            charge, after = model[step[0] % len(model)], step[1]
            _move(area, charge, after)
        whole, mine = _accounts(area, policies, people)
        for account, which in ((whole, "all"), (mine, "visits")):
            assert account.used_units == counted(which, 1) <= account.limit_units
            assert account.used_units + account.left_units == account.limit_units
            assert account.used_delta_units == counted(which, 2) <= account.limit_delta_units
            assert account.used_delta_units + account.left_delta_units == account.limit_delta_units
    with area.context.database.read() as connection:
        rows = ledger.history(connection, people)
    assert [(r.project, r.rho_units, r.delta_units, r.state, r.id) for r in rows] == [tuple(e) for e in model]


def _move(area, charge, after):
    if after in NEXT[charge[3]]:
        with area.context.database.write() as connection:
            MOVES[after](connection, charge[4], at=NOW)
        charge[3] = after
    else:
        with pytest.raises(RuntimeError), area.context.database.write() as connection:
            MOVES[after](connection, charge[4], at=NOW)


@PAIRS
@given(st.lists(st.integers(1, ALLOWED // 6), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_charges_that_fit_together_fit_in_any_order(area, sizes, random):
    other = random.sample(sizes, len(sizes))
    ends = []
    for order in (sizes, other):
        people, policies = _people()
        assert all(_reserve(area, policies, people, ("visits", n, 0, "v1")) is not None for n in order)
        ends.append([(a.used_units, a.left_units) for a in _accounts(area, policies, people)])
    assert ends[0] == ends[1] == [(sum(sizes), LIMIT - sum(sizes)), (sum(sizes), ALLOWED - sum(sizes))]


@PAIRS
@given(st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_a_new_version_of_the_data_is_no_new_budget(area, sizes):
    """Each charge on a version of its own ends as if all were on one."""
    ends = []
    for fresh in (True, False):
        people, policies = _people()
        won = [_reserve(area, policies, people, ("visits", n, 0, f"v{i * fresh}")) for i, n in enumerate(sizes)]
        left = [a.left_units for a in _accounts(area, policies, people)]
        ends.append(([w is not None for w in won], left))
    assert ends[0] == ends[1]
