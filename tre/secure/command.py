"""What the admin's commands share: the area that is meant, opened once and closed when the command ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tre.errors import NotFound


def services(area: Path | None) -> Any:
    from tre.secure.services import open_area

    if area is None:
        raise NotFound(
            "area_unnamed",
            "No area was named.",
            "Set TRE_AREA, or give --area FOLDER. There is none yet? tre-admin init FOLDER makes one.",
        )
    made = open_area(area)
    click.get_current_context().call_on_close(made.close)  # a server's connections do not end by themselves
    return made


def area_option(function: Any) -> Any:
    """Lets --area stand after the command too."""

    def chosen(context: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
        found: Path | None = value if value is not None else context.obj
        return found

    return click.option(
        "--area", type=click.Path(path_type=Path), callback=chosen, help="The area's folder; else TRE_AREA."
    )(function)
