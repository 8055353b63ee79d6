"""Where an estimate over blocks looks like a declared statistic, which would be better at the same price.

Guarantees: reads the submitted text and nothing else, so it tells nothing of rows; a hint, for people, that decides nothing.
It looks at the value in a call `tre.estimate("name", value, …)`, and follows a plain name to its last assignment in the
notebook. It cannot see intent, nor through functions of the notebook's own: no hint means nothing.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

# What the value's outermost call may be, without the module: the declared statistic of that name.
CALLS = {
    "mean": "mean", "nanmean": "mean", "average": "mean", "median": "quantile", "nanmedian": "quantile",
    "quantile": "quantile", "percentile": "quantile", "sum": "sum", "count": "count", "var": "variance", "std": "std",
    "corr": "correlation", "nunique": "count_people",
}  # fmt: skip
# What may be anywhere in it.
MODELS = {
    "OLS": "linear_model", "ols": "linear_model", "LinearRegression": "linear_model", "Logit": "logistic_model",
    "logit": "logistic_model", "LogisticRegression": "logistic_model", "KaplanMeierFitter": "survival",
    "SurvfuncRight": "survival",
}  # fmt: skip


def hints(notebook: bytes) -> tuple[str, ...]:
    """A sentence for each estimate that looks like a declared statistic, in the notebook's order."""
    calls, assigned = [], {}
    for tree in _cells(notebook):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                assigned[node.targets[0].id] = node.value
            elif isinstance(node, ast.Call) and _name(node.func) == "estimate":
                calls.append(node)
    return tuple(said for call in calls if (said := _hint(call, assigned)) is not None)


def _hint(call: ast.Call, assigned: dict[str, ast.expr]) -> str | None:
    arguments = {word.arg: word.value for word in call.keywords} | dict(zip(("name", "value"), call.args, strict=False))
    name, value = arguments.get("name"), arguments.get("value")
    if not isinstance(name, ast.Constant) or value is None:
        return None
    found = _statistic(value, dict(assigned))
    if found is None:
        return None
    return (
        f"{str(name.value)[:64]!r} looks like the declared statistic {found}: at the same epsilon that has the noise of all "
        "people, not of blocks, and no bias of small blocks"
    )


def _statistic(value: ast.expr, assigned: dict[str, ast.expr]) -> str | None:
    """Takes out of `assigned` what it has looked at: each name is followed once."""
    while isinstance(value, ast.Name) and (made := assigned.pop(value.id, None)) is not None:
        value = made
    waiting = [value]
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Call) and (model := MODELS.get(_name(node.func))) is not None:
                return model
            if isinstance(node, ast.Name) and (made := assigned.pop(node.id, None)) is not None:
                waiting.append(made)
    return CALLS.get(_name(value.func)) if isinstance(value, ast.Call) else None


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _cells(notebook: bytes) -> Iterator[ast.Module]:
    """Those that are plain Python; a cell with magic is passed over."""
    for cell in json.loads(notebook)["cells"]:
        if cell["cell_type"] == "code":
            try:
                yield ast.parse("".join(cell["source"]))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
