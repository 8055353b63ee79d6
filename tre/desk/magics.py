"""`%load_ext tre`: the desk's commands inside a notebook, and completion of datasets and columns.

    %tre datasets                            any command of the desk, with its options (%tre --help)
    %tre submit --project visits             of this notebook, as it was last saved
    %%tre rehearse --project visits          the cell itself, as a notebook of one cell

Guarantees: a magic is the command, neither more nor less; commands that decide about others' requests or take a token are
not among them: what runs in a kernel, any code can type. `status` is `jobs`, `plan` is `rehearse`. An error is one line with
its code and the next step. Not here: saving the notebook, which is JupyterLab's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from tre.errors import TreError

ALSO = {"status": "jobs", "plan": "rehearse"}
OF_A_NOTEBOOK = ("rehearse", "submit")
REFUSED = ("login", "reviews", "review", "revoke")

# Inside the first text of a call: which dataset, or which column.
_DATASET = re.compile(r"""(?:tre\.dataset|\.link)\(\s*["']([a-z0-9-]*)$""")
_COLUMN = re.compile(
    r"""(?:\.(?:where|group_by)\(|tre\.(?:sum|mean|median|quantile|variance|std|histogram|share|top)\()"""
    r"""(?:[^()]*?,)?\s*["'](?:[^"']*?[^\w"'])?([a-z_]\w*|)$"""
)


@magics_class
class TreMagics(Magics):
    @line_cell_magic
    def tre(self, line: str, cell: str | None = None) -> None:
        """The command `tre`. Example: %tre submit --project visits"""
        words = shlex.split(line)
        if words:
            words[0] = ALSO.get(words[0], words[0])
        if words and words[0] in REFUSED:
            raise UsageError(
                f"`tre {words[0]}` is not for notebooks: any code in a kernel could type it. Use a terminal."
            )
        with tempfile.TemporaryDirectory() as folder:
            if cell is not None:
                words = _about(words, _cell(cell, Path(folder)), needed=True)
            elif words and words[0] in OF_A_NOTEBOOK and not _named(words):
                words = _about(words, _this(), needed=False)
            _run(words or ["--help"])


def load(shell: Any) -> None:
    shell.register_magics(TreMagics)
    shell.Completer.custom_matchers.append(_matcher(shell))


def _run(words: list[str]) -> None:
    from tre.desk.cli import cli

    try:
        cli.main(args=words, prog_name="%tre", standalone_mode=False)
    except TreError as error:
        raise UsageError(f"{error}") from None
    except click.ClickException as error:
        raise UsageError(error.format_message()) from None
    except (click.exceptions.Exit, click.Abort):
        return


def _named(words: list[str]) -> bool:
    return any(w.endswith(".ipynb") for w in words[1:]) or "--help" in words or "-h" in words


def _about(words: list[str], notebook: Path | None, *, needed: bool) -> list[str]:
    if needed and (not words or words[0] not in OF_A_NOTEBOOK):
        raise UsageError("A cell can be rehearsed or submitted: %%tre rehearse --project PROJECT")
    if notebook is None:
        raise UsageError("Which notebook? Its own name is not known to this kernel: name the file.")
    return [words[0], str(notebook), *words[1:]]


def _this() -> Path | None:
    """The notebook of this kernel, where Jupyter's server says so."""
    name = os.environ.get("JPY_SESSION_NAME", "")
    return Path(name) if name.endswith(".ipynb") and Path(name).is_file() else None


def _cell(source: str, folder: Path) -> Path:
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "cell",
        "source": source,
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    path = folder / "cell.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


# Completion


def _matcher(shell: Any) -> Any:
    @context_matcher()  # type: ignore[untyped-decorator]
    def names(context: CompletionContext) -> SimpleMatcherResult:
        """Datasets of this desk, and columns of the datasets that the notebook has."""
        until = context.line_with_cursor[: context.cursor_position]
        if found := _DATASET.search(until):
            return _result(_datasets(), found.group(1))
        if found := _COLUMN.search(until):
            return _result(_columns(shell.user_ns), found.group(1))
        return {"completions": []}

    return names


def _result(known: Iterable[str], begun: str) -> SimpleMatcherResult:
    return {
        "completions": [
            SimpleCompletion(text=name, type="dataset") for name in sorted(set(known)) if name.startswith(begun)
        ],
        "matched_fragment": begun,
        "suppress": True,
    }


def _datasets() -> list[str]:
    """As the gateway has them; else those whose twins are here."""
    from tre.desk.connect import configured
    from tre.desk.store import Store

    client = configured()
    if client is not None:
        try:
            return [d.id for d in client.datasets()]
        except TreError:
            pass  # no answer: what is here will do
        finally:
            client.close()
    return [info.id for info in Store.default().infos()]


def _columns(names: dict[str, Any]) -> list[str]:
    from tre.desk.dataset import Dataset

    return [c for value in list(names.values()) if isinstance(value, Dataset) for c in value.info.columns]
