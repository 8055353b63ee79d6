"""Following a job to its end, with a bar: in a terminal, and in a notebook with `tre.watch("job-…")`.

Guarantees: shows what the gateway tells and nothing else; of a run on real rows that is its coarse stage, on ticks; of
blocks, the share of their time that has passed by this desk's clock, whatever has become of them.
"""

from __future__ import annotations

import calendar
import html
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

from tre.desk.show import SENTENCE
from tre.messages import JobView, Stage

# How far along a job is at each stage, of a hundred. Rehearsing goes from its number to the next by cells.
PLACES = {
    Stage.REHEARSING: 5,
    Stage.PLANNED: 50,
    Stage.IN_PROGRESS: 65,
    Stage.IN_REVIEW: 75,
}


def place(view: JobView, now: float | None = None) -> tuple[int, str]:
    """(0 to 100, a sentence): 100 is the end, whichever it is. `now`: seconds since 1970, UTC; by default the clock's."""
    if view.stage is Stage.IN_PROGRESS and view.begins is not None and view.due is not None:
        return _passed(_seconds(view.begins), _seconds(view.due), view.due, time.time() if now is None else now)
    if view.stage is not Stage.REHEARSING:
        return PLACES.get(view.stage, 100), SENTENCE[view.stage]
    if view.progress is None:
        return 0, "waiting for its rehearsal"
    begin, end = PLACES[Stage.REHEARSING], PLACES[Stage.PLANNED]
    part = begin + (end - begin) * view.progress.done // max(view.progress.of, 1)
    return part, f"{SENTENCE[Stage.REHEARSING]}: {view.progress.done} of {view.progress.of} cells"


def _passed(begins: int, due: int, named: str, now: float) -> tuple[int, str]:
    """A function of the schedule alone."""
    begin, end = PLACES[Stage.IN_PROGRESS], PLACES[Stage.IN_REVIEW]
    share = min(max((now - begins) / max(due - begins, 1), 0.0), 1.0)
    waits = "its blocks wait for their time; " if now < begins else ""
    return begin + int((end - begin) * share), f"{waits}{share:.0%} of the time until {named} has passed"


def _seconds(moment: str) -> int:
    return calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))


def until(client: Any, job: str, done: Callable[[JobView], bool], show: Console) -> JobView:
    """In a terminal: a live line with a bar, until `done`. Returns the view that was."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=show, transient=True) as progress:
        task = progress.add_task("", total=100)
        for view in client.follow(job):
            completed, sentence = place(view)
            progress.update(task, completed=completed, description=sentence)
            if done(view):
                return view  # type: ignore[no-any-return]
    raise AssertionError("follow never ends by itself")


def watch(job: str) -> JobView:
    """In a notebook: a bar that moves until the job has ended or waits for you. Interrupt it at any time: nothing is lost.

    Raises Unreachable where this desk knows no gateway, NotFound for a job that is not yours.
    """
    from tre.desk.connect import needed

    client = needed()
    try:
        return _shown(client, job)
    finally:
        client.close()


def _shown(client: Any, job: str) -> JobView:
    from IPython.display import HTML, display

    handle = None
    for view in _changes(client, job):
        shown = HTML(bar(view))  # type: ignore[no-untyped-call]
        if handle is None:
            handle = display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(shown)
    return view


def _changes(client: Any, job: str) -> Iterator[JobView]:
    before = None
    for view in client.follow(job):
        now = place(view)
        if now != before:
            yield view
        before = now
        if view.stage.final or view.stage is Stage.PLANNED:
            return


def bar(view: JobView) -> str:
    """The bar as HTML, without styles or scripts: it is kept in the notebook."""
    completed, sentence = place(view)
    more = f" Confirm it: <code>tre confirm {html.escape(view.id)}</code>" if view.stage is Stage.PLANNED else ""
    label = f"<label>{html.escape(view.id)}: {html.escape(sentence)}.{more}</label>"
    return f'<div><progress max="100" value="{completed}"></progress> {label}</div>'
