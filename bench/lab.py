"""What JupyterLab's extension weighs, and what it costs JupyterLab's start: with it and without it, by turns.

The page: from the navigation of a new browser context, with an empty cache, until JupyterLab says that it is restored. The server:
from its start to its first answer. No other extension is there, so that ours is the largest part that it can be. The desk knows no gateway:
ours asks for the first time when the page is restored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.measure import Comparison, Run, Timing, alternate, say
from tests.browser.lab import CHROMIUM, SOURCE, Lab, Tab

BASELINE, OURS = "without", "with the extension"


def run(folder: Path, *, quick: bool, repeats: int | None) -> list[Comparison]:
    from playwright.sync_api import sync_playwright

    rounds = repeats or (3 if quick else 15)
    kinds = {BASELINE: False, OURS: True}
    say(f"lab: {rounds} rounds of servers")
    servers = alternate({name: _server(folder, name, there) for name, there in kinds.items()}, min(rounds, 7))
    with ExitStack() as cleanup:
        browser = cleanup.enter_context(sync_playwright()).chromium.launch(
            executable_path="/usr/bin/chromium", args=list(CHROMIUM)
        )
        cleanup.callback(browser.close)
        labs = {name: Lab(folder / f"pages-{name}", None, "nobody", extension=there) for name, there in kinds.items()}
        for lab in labs.values():
            cleanup.callback(lab.stop)
        say(f"lab: {rounds} rounds of pages")
        pages = alternate({name: _page(browser, lab) for name, lab in labs.items()}, rounds)
    files = [p for p in SOURCE.rglob("*") if p.is_file()]
    weight = {"files": float(len(files)), "bytes": float(sum(p.stat().st_size for p in files))}
    return [
        Comparison(subject="lab", setting="page, to restored", baseline=BASELINE, timings=pages, notes=weight),
        Comparison(subject="lab", setting="server, to its first answer", baseline=BASELINE, timings=servers),
    ]


def _timed(step: Callable[[], Any]) -> tuple[Timing, Any]:
    before = time.perf_counter()
    made = step()
    return Timing(time.perf_counter() - before), made


def _server(folder: Path, name: str, there: bool) -> Run:
    def once(number: int) -> Timing:
        timing, lab = _timed(lambda: Lab(folder / f"{name}-{number}", None, "nobody", extension=there))
        lab.stop()
        return timing

    return once


def _page(browser: Any, lab: Lab) -> Run:
    def once(_: int) -> Timing:
        timing, tab = _timed(lambda: Tab(browser, lab))
        tab.close()
        return timing

    return once
