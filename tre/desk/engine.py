"""`papermill in.ipynb out.ipynb --engine tre`: the notebook runs in the secure area, and comes back with what was released.

    TRE_PROJECT=visits papermill analysis.ipynb results.ipynb -p year 2 --engine tre

The notebook and its parameters are submitted as `tre submit` does it, followed to the end of the job, fetched and verified;
then papermill's own engine runs the same notebook at this desk, where its calls show the released values.
Guarantees: nothing is confirmed unasked. In a terminal you are; elsewhere TRE_CONFIRM=yes (or `confirm=True` of
`papermill.execute_notebook`) says it beforehand, and without it the job waits with its plan. What stops papermill stops the
waiting, not the job: started again, the same notebook is answered by what is released, at no further cost.
Not here: real rows, and how the secure area runs papermill (desk.kernel).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tre.errors import Conflict

INJECTED = "injected-parameters"


class TreEngine:
    """What papermill loads by its entry point, with every import of papermill: so everything is imported later, and
    papermill itself most of all, which may be half loaded."""

    @classmethod
    def execute_notebook(
        cls, nb: Any, kernel_name: str, *, project: str | None = None, confirm: bool | None = None, **options: Any
    ) -> Any:
        """The executed notebook. Raises a TreError, or the notebook's own error from its run at the desk."""
        from papermill.engines import NBClientEngine

        _released(nb, project, confirm)
        return NBClientEngine.execute_notebook(nb, kernel_name, **options)

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> Any:
        from papermill.engines import NBClientEngine

        return NBClientEngine.nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> Any:
        from papermill.engines import NBClientEngine

        return NBClientEngine.nb_language(nb, language)


def _released(notebook: Any, project: str | None, confirm: bool | None) -> None:
    """The job of this notebook at its end, and its release in this desk's store."""
    from rich.console import Console

    from tre.desk import sending
    from tre.desk.checking import fetched
    from tre.desk.connect import needed
    from tre.messages import Stage

    client, show = needed(), Console(stderr=True, highlight=False)
    made = notebook.metadata.get("papermill", {})
    name = Path(str(made.get("input_path") or "notebook.ipynb")).name
    sent = sending.submission(
        _original(notebook),
        name,
        sending.project(client, project or os.environ.get("TRE_PROJECT")),
        dict(made.get("parameters", {})),
        strip=True,
    )
    view = sending.rehearsed(client, sent, show)
    if not _confirmed(confirm):
        raise Conflict(
            "not_confirmed",
            f"The plan of {view.id} waits for you; nothing was charged.",
            f"Confirm it with: tre confirm {view.id}; or set TRE_CONFIRM=yes for papermill.",
        )
    view = sending.confirmed(client, view, show, wait=True)
    if view.stage is not Stage.RELEASED or view.release is None:
        raise Conflict("not_released", f"{view.id} ended as {view.stage.value}.", f"Why: tre job {view.id}")
    fetched(client, view.release)


def _original(notebook: Any) -> bytes:
    """As it was before papermill put its parameters in: the secure area puts them in itself."""
    cells = [c for c in notebook.cells if INJECTED not in c.metadata.get("tags", [])]
    return json.dumps({**notebook, "cells": cells}).encode()


def _confirmed(said: bool | None) -> bool:
    if said is not None:
        return said
    if os.environ.get("TRE_CONFIRM"):
        return os.environ["TRE_CONFIRM"].lower() in ("yes", "y", "true", "1")
    if not sys.stdin.isatty():
        return False
    import click

    return click.confirm("Confirm this plan? Its cost will be reserved.", err=True)
