"""A notebook to begin with: a dataset's twin, one question that its declared schema allows, and the way on.

Guarantees: made from what is declared of the dataset alone.
"""

from __future__ import annotations

import json
import keyword
from typing import Any

from tre.messages import DatasetInfo
from tre.rules.schema import FieldType, SchemaField
from tre.rules.text import visible

MOST_GROUPS = 12
# What the notebook calls other things.
TAKEN = ("tre", "df", "result")


def notebook(info: DatasetInfo) -> dict[str, Any]:
    name = info.id.replace("-", "_")
    if not name.isidentifier() or keyword.iskeyword(name) or name in TAKEN:
        name = f"data_{name}"
    cells = [
        _text(
            f"# {visible(info.title)}\n\nAt your desk this runs on a **synthetic twin**: rows that look like the real ones and belong "
            "to nobody. What is declared below is computed on the real rows, with noise, when you choose *Run in secure area…*."
        ),
        _code(f"import tre\n\n{name} = tre.dataset({json.dumps(info.id)})\n{name}"),
        _text("From here on it is pandas. What the twin shows is a guide, not a result."),
        _code(f"df = {name}.to_pandas()\ndf.head()"),
        _text(
            "One question: what should leave, at which price. `price` shows the errors to expect and charges nothing."
        ),
        _code(_release(info, name)),
        _code("result.plot()"),
    ]
    for place, cell in enumerate(cells):
        cell["id"] = f"start-{place}"
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}


def _release(info: DatasetInfo, name: str) -> str:
    """People by the first column with few categories, in words if there is one, and the mean of the first with bounds."""
    fields = [f for f in info.table.fields if f.name in info.columns]
    few = [f for f in fields if 1 < len(f.constraints.enum or ()) <= MOST_GROUPS]
    by = next((f for f in few if f.type is FieldType.STRING), few[0] if few else None)
    grouped = f".group_by({json.dumps(by.name)})" if by else ""
    asks = ["    people=tre.count_people(),"]
    measured = next((f for f in fields if f.bounds and not f.constraints.enum), None)
    if measured is not None:
        asks.append(f"    mean=tre.mean({json.dumps(measured.name)}, bounds={_bounds(measured)}),")
    label = f"people-by-{by.name}".replace("_", "-") if by else "people"
    return "\n".join(
        [f"result = {name}{grouped}.release(", f"    {json.dumps(label)},", "    epsilon=0.5,", *asks, ")", "result"]
    )


def _bounds(field: SchemaField) -> str:
    low, high = field.bounds or (0.0, 1.0)
    return f"({_number(low)}, {_number(high)})"


def _number(value: float) -> str:
    """With every digit, and no point where none is needed."""
    return repr(int(value)) if float(value).is_integer() else repr(value)


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _code(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
