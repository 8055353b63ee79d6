"""A plan warns where conditions leave few rows of the twin, and says what that does not mean."""

import re

import pytest

from tests.journey.conftest import SCHEMA, policies, write_data, write_policies
from tre.messages import Emitted, EmittedOutput, EmittedRequest, OutputKind
from tre.secure import policies as policy_files
from tre.secure.services import create
from tre.statistics import declared
from tre.statistics.request import parse

NOBODY = "age = 119 AND age = 118"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """What is planned for a release with these conditions, and a declared table with those."""
    root = tmp_path_factory.mktemp("area")
    services = create(root / "area")
    twin = {"tier": "structural", "rows": 400, "edge_cases": [{"age": 120, "visits": 50}]}
    services.apply(write_policies(root / "policies", policies(toy={**SCHEMA, "twin": twin})), dry_run=False)
    services.ingest("toy", [write_data(root / "toy.csv")], drop_invalid=False)
    services.make_twin("toy")
    count = {"statistics": {"n": {"kind": "count"}}, "dataset": "toy"}

    def planned(*where, keys=None, table=()):
        by = [{"column": "age", "found": 1e-9}] if keys else []
        asked = parse({**count, "where": where, "group_by": by, "epsilon": 1.0})
        output = EmittedOutput(
            name="t", kind=OutputKind.TABLE, context="-", file="output-0.csv",
            declared=declared.parse({**count, "where": table, "group_by": [{"column": "sex"}]}),
        )  # fmt: skip
        emitted = Emitted(requests=(EmittedRequest(name="n", request=asked),), outputs=(output,), opened=("toy",))
        with services.context.database.read() as connection:
            return services.planner.plan(
                connection, policy_files.current(connection), project="visits", person="ada", notebook="0" * 64,
                parameters={}, emitted=emitted,
            ).advice  # fmt: skip

    yield planned
    services.close()


def test_few_rows_of_the_twin_are_said_of_the_release_or_table_that_has_them(plan):
    (said,) = plan(NOBODY)
    assert said.startswith("'n' keeps 0 of the twin's 400 rows")
    for words in ("says little of the real rows", "many of these or none", "edge case"):
        assert words in said
    assert [s[:4] for s in plan(NOBODY, table=("age = 118",))] == ["'n' ", "'t' "]


def test_enough_rows_or_no_conditions_are_not_worth_a_word(plan):
    assert plan() == ()
    assert plan("age >= 18", table=("sex = 'f'",)) == ()


def test_an_edge_case_is_the_one_row_that_a_rare_filter_finds(plan):
    (said,) = plan("age = 120 AND visits = 50")
    assert re.match("'n' keeps [1-9] of", said)  # at least the declared one
