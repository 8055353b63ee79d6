"""How both commands speak: tables for people, one JSON document for machines, errors with a code and a next step.

Guarantees: with --json, stdout holds one JSON document and nothing else; an error goes to stderr and sets the exit code of
its kind; a person's interrupt is exit 130 and loses nothing that was submitted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table

from tre.errors import TreError

# What the extra `secure` brings.
EXTRA = {"alembic", "fastapi", "polars", "sqlalchemy", "uvicorn", "yaml"}


@dataclass(frozen=True)
class Told:
    """A document that is printed in full although its command then fails, which is what it reports."""

    document: Any
    failure: TreError | None


def say() -> Console:
    return Console(highlight=False, soft_wrap=False)


@contextmanager
def bar(show: Console, what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar while work goes on, to be told how much is done, of about how much."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=show, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def told(done: int, of: int) -> None:
            progress.update(task, completed=done, total=max(of, done), description=f"{what}: {done:,} {unit}")

        yield told


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json: the command returns what is printed as JSON; without it, prints for people itself."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
    @wraps(function)
    def command(*args: Any, as_json: bool, **kwargs: Any) -> None:
        show = Console(file=sys.stderr, quiet=True) if as_json else say()
        result = function(*args, show=show, **kwargs)
        document, failure = (result.document, result.failure) if isinstance(result, Told) else (result, None)
        if as_json:
            click.echo(json.dumps(plain(document), ensure_ascii=False))
        if failure is not None:
            raise failure

    return command


def plain(value: Any) -> Any:
    """JSON types of whatever a command returns."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(v) for v in value]
    return value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    made = Table(title=title, title_justify="left", header_style="bold", title_style="bold")
    for name in columns:
        # what one copies stays in one piece
        made.add_column(
            name, overflow="fold", no_wrap=name in ("id", "release", "account", "entry", "attempt", "verdict")
        )
    for row in rows:
        made.add_row(*("" if v is None else str(v) for v in row))
    return made


def run(group: click.Group) -> None:
    """The entry point of a command: our errors become one message and an exit code, never a stack."""
    try:
        group(standalone_mode=False)
    except TreError as error:
        click.echo(f"error [{error.code}]: {error.message}", err=True)
        click.echo(f"next step: {error.next_step}", err=True)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        click.echo(f"error [extra_missing]: {error.name} is not installed: this needs the secure side", err=True)
        click.echo('next step: pip install "tre[secure]"', err=True)
        sys.exit(1)
    except ValidationError as error:  # what was typed does not fit the shape that is sent: its value is not repeated
        first = error.errors()[0]
        click.echo(f"error [request_malformed]: {'.'.join(map(str, first['loc']))}: {first['msg']}", err=True)
        click.echo("next step: see --help", err=True)
        sys.exit(3)
    except (OSError, UnicodeError, json.JSONDecodeError) as error:
        place = getattr(error, "filename", None)
        what = (
            error.strerror
            if isinstance(error, OSError) and error.strerror
            else "something that was read or given is malformed"
        )
        click.echo(f"error [file_error]: {what}{f': {place}' if place else ''}", err=True)
        click.echo("next step: check the path, its permissions and its content", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; what was submitted goes on (tre jobs)", err=True)
        sys.exit(130)
