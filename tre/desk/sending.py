"""From a notebook to a job: what is sent, its rehearsal, and its way to an end. What the command, the magics and papermill share.

Guarantees: a notebook is checked here as the gateway will check it; nothing is confirmed that its caller did not confirm; an
interrupt leaves what was submitted as it is. Not here: asking people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from tre.desk.follow import until
from tre.errors import NotebookError, NotFound, RequestError, TreError
from tre.messages import JobView, Stage, Submission


def read(notebook: Path, project: str, parameters: Mapping[str, str], *, strip: bool, blocks: str | None) -> Submission:
    """A file's submission, with parameters as text."""
    from tre.rules import notebook as rules

    try:
        if notebook.stat().st_size > 20 * rules.MAX_BYTES:
            raise NotebookError("notebook_too_large", "The notebook is too large.", "Keep data and outputs out of it.")
        content = notebook.read_bytes()
    except OSError:
        raise NotFound("notebook_missing", f"{notebook} cannot be read.", "Name a file that is there.") from None
    given = {name: _value(text) for name, text in parameters.items()}
    return submission(content, notebook.name, project, given, strip=strip, blocks=_blocks(blocks))


def submission(
    content: bytes, name: str, project: str, parameters: Mapping[str, Any], *, strip: bool, blocks: Any = None
) -> Submission:
    """What is sent. Raises NotebookError for what the gateway would refuse."""
    from tre.rules import notebook as rules

    content = rules.strip(content) if strip else content
    rules.check_parameters(rules.check(content), parameters)
    try:
        return Submission(
            project=project, notebook=content.decode(), name=name[-200:], parameters=dict(parameters), blocks=blocks
        )
    except ValueError:
        raise NotFound("project_unknown", "That is no project's name.", "Yours are in: tre login, tre budget") from None


def project(client: Any, named: str | None) -> str:
    """The project that was named, or the person's only one. Raises RequestError: project_missing."""
    if named:
        return named
    projects = client.me().projects
    if len(projects) != 1:
        raise RequestError(
            "project_missing",
            f"For which project? Yours: {', '.join(projects) or 'none'}.",
            "Set TRE_PROJECT, or pass project= to papermill.execute_notebook.",
        )
    return str(projects[0])


def _value(text: str) -> Any:
    """As papermill does: numbers, booleans and None are recognised, everything else is text."""
    try:
        value = json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except ValueError:
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _blocks(text: str | None) -> Any:
    if text is None or text == "auto":
        return text
    if not (text.isascii() and text.isdigit() and 2 <= int(text) <= 10_000):
        raise RequestError("blocks_invalid", "That is no number of blocks.", "Say --blocks 200, or --blocks auto.")
    return int(text)


def rehearsed(client: Any, sent: Submission, show: Console) -> JobView:
    """The job with its plan, shown. Raises what its rehearsal failed with."""
    from tre.desk import show as shows

    view = client.submit(sent)
    view = until(client, view.id, lambda v: v.stage is not Stage.REHEARSING, show)
    if view.failure is not None:
        if view.failure.code == "notebook_failed":
            show.print(view.failure.traceback[-3_000:], markup=False)
        raise TreError(view.failure.code, view.failure.message, view.failure.next_step)
    shows.plan(show, view)
    return view


def confirmed(
    client: Any, view: JobView, show: Console, *, wait: bool, exceptions: dict[str, str] | None = None
) -> JobView:
    """The job after its confirmation, or at its end, shown."""
    from tre.desk import show as shows

    view = client.confirm(view.id, view.plan_digest, exceptions)
    if wait:
        view = until(client, view.id, lambda v: v.stage.final, show)
    shows.job(show, view)
    return view
