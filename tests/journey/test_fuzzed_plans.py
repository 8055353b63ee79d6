"""What a sandbox claims it was asked for is planned or refused: no traceback, and no charge without a stored plan."""

import copy
import json
import random

import pytest
from pydantic import ValidationError

from tests.proof.test_fuzz import ODD, _places
from tre.errors import TreError
from tre.messages import Emitted
from tre.secure import policies as policy_files

from .conftest import Area

pytestmark = pytest.mark.slow

EMITTED = {
    "requests": [
        {"name": "first", "request": {"dataset": "toy", "statistics": {"p90": {"kind": "quantile", "column": "visits", "probability": 0.9}}, "epsilon": 0.5}},
        {"name": "second", "request": {"dataset": "toy", "group_by": [{"column": "sex"}], "where": ["age > 20"], "statistics": {"n": {"kind": "count"}, "m": {"kind": "mean", "column": "visits", "bounds": [0, 20]}}, "epsilon": 0.5}},
        {"name": "third", "request": {"dataset": "toy", "statistics": {"m": {"kind": "mean", "column": "age", "bounds": [0, {"request": "0" * 64, "statistic": "p90"}]}}, "epsilon": 0.5}},
    ],
    "outputs": [{"name": "table", "kind": "table", "context": "what it is", "file": "output-0.csv"}],
}  # fmt: skip


def test_two_hundred_mutated_claims_are_planned_or_refused_and_nothing_is_charged(tmp_path):
    area = Area(tmp_path)
    services = area.services()
    chance = random.Random(7)  # noqa: S311  # documents, no noise
    before, planned = area.ledger(), 0
    with services.context.database.read() as connection:
        policies = policy_files.current(connection)
        for _ in range(200):
            content = copy.deepcopy(EMITTED)
            if chance.random() < 0.9:
                del content["requests"][2]  # its reference leads nowhere
            for _ in range(chance.randint(0, 2)):
                *before_last, last = chance.choice([p for p in _places(content) if len(p) > 1])
                parent = content
                for step in before_last:
                    parent = parent[step]
                parent[last] = copy.deepcopy(chance.choice(ODD))
            try:
                claim = Emitted.model_validate_json(json.dumps(content, default=str))
                services.planner.plan(
                    connection,
                    policies,
                    project="visits",
                    person="ada",
                    notebook="0" * 64,
                    parameters={},
                    emitted=claim,
                )
                planned += 1
            except (TreError, ValidationError):
                pass  # the worker tells either as a rehearsal that failed
    assert 10 < planned < 190
    assert area.ledger() == before
    services.close()
