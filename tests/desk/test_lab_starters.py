"""The notebook to begin with beside a twin: it runs, whatever a dataset is called and however its bounds are written."""

import ast
import json

import pytest

from tests.journey.conftest import SCHEMA
from tre.desk.lab import starters
from tre.messages import DatasetInfo
from tre.rules.schema import TableSchema

COLUMNS = ("sex", "age", "visits")


def made(name="toy", *, most=50, title="Toy visits", columns=COLUMNS):
    fields = [
        f | {"constraints": {"minimum": 0, "maximum": most}} if f["name"] == "age" else f for f in SCHEMA["fields"]
    ]
    schema = {k: v for k, v in SCHEMA.items() if k in TableSchema.model_fields} | {"fields": fields}
    info = DatasetInfo(
        id=name, title=title, description="", source="", licence="", steward="", population="p", version="1", delta=1e-6,
        columns=columns, table=TableSchema.model_validate(schema).only(columns), twin=None,
    )  # fmt: skip
    return starters.notebook(info)


def code(notebook):
    return "\n".join(c["source"] for c in notebook["cells"] if c["cell_type"] == "code")


@pytest.mark.parametrize(
    "name", ["toy", "2020-visits", "class", "import", "tre", "df", "result", "none", "visits-of-2020"]
)
def test_it_is_python_and_its_dataset_takes_no_name_that_is_taken(name):
    tree = ast.parse(code(made(name)))
    stored = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    assert len(stored) == len(set(stored)) == 3
    assert "tre" not in stored
    assert f"tre.dataset({json.dumps(name)})" in code(made(name))


@pytest.mark.parametrize("most", [50, 1_234_567, 0.123456789])
def test_bounds_are_the_declared_ones_to_the_last_digit(most):
    (bounds,) = [
        ast.literal_eval(k.value) for n in ast.walk(ast.parse(code(made(most=most)))) if isinstance(n, ast.Call)
        for k in n.keywords if k.arg == "bounds"
    ]  # fmt: skip
    assert bounds == (0, most)


def test_without_a_column_for_it_people_are_counted_all_together():
    assert "group_by" not in code(made(columns=("visits",)))
    assert "count_people" in code(made(columns=("visits",)))
