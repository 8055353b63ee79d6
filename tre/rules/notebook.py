"""What may be submitted: a Jupyter notebook in Python, without outputs, and parameters that are only values.

Guarantees: pure checks on bytes, the same at the desk and at the gateway; a parameter's name is a Python identifier that
the notebook's parameters cell assigns (papermill writes names into code unchecked), its value a number, text, boolean or
None. Not done here: running anything, or full schema validation (papermill does, inside the sandbox).
"""

from __future__ import annotations

import ast
import json
import keyword
import math
from collections.abc import Mapping
from typing import Any

from tre.errors import NotebookError
from tre.rules.canonical import digest_bytes

MAX_BYTES = 10 * 2**20
MAX_PARAMETER_TEXT = 10_000


def check(content: bytes) -> dict[str, Any]:
    """The notebook as JSON. Raises NotebookError with a code and the next step."""
    if len(content) > MAX_BYTES:
        raise NotebookError(
            "notebook_too_large",
            f"The notebook has {len(content) / 2**20:.0f} MiB; the limit is {MAX_BYTES // 2**20}.",
            "Clear its outputs, and keep data out of it.",
        )
    notebook = _parsed(content)
    for number, cell in enumerate(notebook["cells"], 1):
        _check_cell(cell, number)
    language = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
    if language != "python":
        raise NotebookError("notebook_language", "The notebook is not in Python.", "Only Python notebooks run here.")
    return notebook


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        notebook = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _not_a_notebook("it is not JSON in UTF-8") from None
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4 or not isinstance(notebook.get("cells"), list):
        raise _not_a_notebook("it is not of notebook format 4")
    metadata = notebook.get("metadata", {})
    if not isinstance(metadata, dict) or not isinstance(metadata.get("kernelspec", {}), dict):
        raise _not_a_notebook("its metadata are malformed")
    return notebook


def _not_a_notebook(why: str) -> NotebookError:
    return NotebookError(
        "not_a_notebook", f"This is not a Jupyter notebook: {why}.", "Submit the .ipynb file that JupyterLab saves."
    )


def _check_cell(cell: Any, number: int) -> None:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        raise _not_a_notebook(f"cell {number} is malformed")
    source(cell)
    if cell["cell_type"] == "code" and cell.get("outputs"):
        raise NotebookError(
            "notebook_has_outputs",
            f"Cell {number} holds outputs; they would travel with the notebook.",
            "Submit with --strip, or clear all outputs in JupyterLab and save.",
        )
    if "skip-execution" in tags(cell):
        raise NotebookError(
            "cell_skipped", f"Cell {number} is tagged skip-execution.", "Remove the tag or the cell: all cells run."
        )


def tags(cell: Mapping[str, Any]) -> list[str]:
    metadata = cell.get("metadata", {})
    found = metadata.get("tags", []) if isinstance(metadata, dict) else []
    return [t for t in found if isinstance(t, str)] if isinstance(found, list) else []


def source(cell: Mapping[str, Any]) -> str:
    text = cell.get("source", "")
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        return "".join(text)
    if isinstance(text, str):
        return text
    raise _not_a_notebook("a cell's source is malformed")


def strip(content: bytes) -> bytes:
    """The notebook without outputs, execution counts and what papermill and widgets leave in its metadata."""
    notebook = _parsed(content)
    for cell in notebook["cells"]:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            cell["outputs"], cell["execution_count"] = [], None
            metadata = cell.get("metadata", {})
            if isinstance(metadata, dict):
                metadata.pop("papermill", None), metadata.pop("execution", None)
    for left in ("papermill", "widgets"):
        notebook.get("metadata", {}).pop(left, None)
    return json.dumps(notebook, indent=1, ensure_ascii=False).encode() + b"\n"


def notebook_digest(content: bytes) -> str:
    return digest_bytes(content)


def listing(notebook: Mapping[str, Any]) -> str:
    """The notebook as text for people who review: each cell's source, nothing rendered."""
    return "\n\n".join(f"# [{i}] {c['cell_type']}\n{source(c)}" for i, c in enumerate(notebook["cells"], 1))


def check_parameters(notebook: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raises NotebookError: parameter_name, parameter_unknown or parameter_value."""
    known = _assigned(notebook)
    for name, value in parameters.items():
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
            raise NotebookError(
                "parameter_name", "A parameter's name is not a Python name.", "Use the names of the parameters cell."
            )
        if name not in known:
            raise NotebookError(
                "parameter_unknown",
                f"The notebook has no parameter {name[:80]!r}.",
                f"Its parameters cell assigns: {', '.join(sorted(known)) or 'nothing (tag a cell `parameters`)'}.",
            )
        plain = (
            value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
        )
        if not plain or (isinstance(value, str) and len(value) > MAX_PARAMETER_TEXT):
            raise NotebookError(
                "parameter_value",
                f"The value of {name!r} is not a plain value.",
                "Give a number, text, boolean or null.",
            )


def _assigned(notebook: Mapping[str, Any]) -> set[str]:
    """The names that cells tagged `parameters` assign at their top level."""
    names: set[str] = set()
    for cell in notebook["cells"]:
        if "parameters" in tags(cell):
            try:
                body = ast.parse(source(cell)).body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            targets = [t for s in body if isinstance(s, ast.Assign) for t in s.targets]
            targets += [s.target for s in body if isinstance(s, ast.AnnAssign)]
            names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return names
