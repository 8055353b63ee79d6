"""What may be submitted, and what may not, each with its code."""

import json

import pytest

from tre.errors import NotebookError
from tre.rules import notebook as rules


def _notebook(*cells, **more):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **more}).encode()


def _code(source, tags=(), outputs=()):
    return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}, "outputs": list(outputs)}


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("not_a_notebook", b"\x89PNG"),
        ("not_a_notebook", "{}".encode("utf-16")),
        ("not_a_notebook", b"\xef\xbb\xbf{}"),
        ("not_a_notebook", b"[]"),
        ("not_a_notebook", b'{"nbformat": 3, "worksheets": []}'),
        ("not_a_notebook", b"[" * 100_000),
        ("not_a_notebook", _notebook({"cell_type": "code", "source": 5})),
        ("not_a_notebook", _notebook("cell")),
        ("notebook_has_outputs", _notebook(_code("1", outputs=[{"output_type": "stream", "text": "secret"}]))),
        ("cell_skipped", _notebook(_code("1", tags=["skip-execution"]))),
        ("notebook_language", _notebook(metadata={"kernelspec": {"language": "R"}})),
        ("notebook_too_large", b" " * (rules.MAX_BYTES + 1)),
    ],
)
def test_what_is_not_an_acceptable_notebook_is_refused(code, content):
    with pytest.raises(NotebookError) as refused:
        rules.check(content)
    assert refused.value.code == code
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        ("parameter_name", "x=1; import os; os.system('id'); y", 2),
        ("parameter_name", "class", 2),
        ("parameter_name", "a b", 2),
        ("parameter_name", "ｙear", 2),
        ("parameter_unknown", "month", 2),
        ("parameter_value", "year", [1]),
        ("parameter_value", "year", float("nan")),
        ("parameter_value", "year", "x" * 20_000),
    ],
)
def test_parameters_are_names_that_the_notebook_has_and_plain_values(code, name, value):
    notebook = rules.check(_notebook(_code("year = 1\nlabel: str = 'a'", tags=["parameters"]), _code("month = 2")))
    rules.check_parameters(notebook, {"year": 2, "label": None})
    with pytest.raises(NotebookError) as refused:
        rules.check_parameters(notebook, {name: value})
    assert refused.value.code == code


def test_stripping_removes_what_would_travel_and_changes_no_source():
    content = _notebook(
        _code("print(1)", outputs=[{"output_type": "stream", "text": "secret"}]), metadata={"papermill": {"a": 1}}
    )
    stripped = rules.strip(content)
    assert b"secret" not in stripped
    assert b"papermill" not in stripped
    assert rules.source(rules.check(stripped)["cells"][0]) == "print(1)"
