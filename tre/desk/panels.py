"""`tre.panel()`: what one looks up while working, as widgets in a notebook: datasets, one's jobs, and, for statistics, which
epsilon buys which error.

Guarantees: nothing here is sent on, confirmed or decided (what a kernel can click, any code in it can); everything that a gateway
or a policy wrote is escaped. Without ipywidgets, and wherever widgets are not shown, the same stands as plain text. Prices are the
ones of `dataset.price`; asking for them reads and charges nothing.
"""

from __future__ import annotations

import asyncio
import html
import math
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cached_property
from typing import Any, ClassVar

from tre.desk import connect, follow
from tre.desk.dataset import Dataset, columns_table
from tre.desk.pricing import Quote
from tre.desk.store import Store
from tre.errors import TreError
from tre.messages import DatasetInfo, JobView, Stage
from tre.statistics.kinds import Statistic

# The slider's ends, as powers of ten: epsilon 0.01 to 10, and as far as the epsilon that was asked for.
LEAST, MOST, STEP = -2.0, 1.0, 0.05
EVERY_SECONDS, JOBS = 2.0, 20


def panel(dataset: Dataset | None = None, *, epsilon: float = 0.5, **statistics: Statistic) -> Panel:
    """Datasets and jobs; and, for a dataset with statistics, a planner: slide epsilon, see the errors of *your* statistics.

    tre.panel()
    tre.panel(visits.group_by("sex"), people=tre.count_people())

    Raises what `dataset.price` raises.
    """
    planner = Planner(dataset, statistics, epsilon) if dataset is not None and statistics else None
    return Panel(Browser(), Monitor(), planner)


class Planner:
    """Of one request: its price and errors, at an epsilon that can be moved."""

    title = "Plan"

    def __init__(self, dataset: Dataset, statistics: dict[str, Statistic], epsilon: float) -> None:
        self._dataset, self._statistics = dataset, statistics
        self.quote: Quote = dataset.price(
            epsilon=epsilon, error=None, **statistics
        )  # with what is left, asked for once

    def at(self, epsilon: float) -> Quote:
        """The same at another epsilon."""
        found = self._dataset.priced(epsilon, self._statistics)
        self.quote = Quote(found, self.quote.info, self.quote.balances)
        return self.quote

    @property
    def call(self) -> str:
        return f'.release("…", epsilon={self.quote.epsilon:g}, {", ".join(f"{name}=…" for name in self._statistics)})'

    def __repr__(self) -> str:
        return f"{self.quote!r}\n{self.call}"

    @cached_property
    def widget(self) -> Any:
        import ipywidgets

        wished = math.log10(self.quote.epsilon)
        self.epsilon = ipywidgets.FloatLogSlider(
            value=self.quote.epsilon, base=10, min=min(LEAST, wished), max=max(MOST, wished), step=STEP, description="epsilon",
            readout_format=".3g", continuous_update=False, layout={"width": "60%"},
        )  # fmt: skip
        self.shown = _page(ipywidgets)
        self.epsilon.observe(lambda change: self._show(float(f"{change['new']:.4g}")), names="value")
        self._show(self.quote.epsilon)
        return ipywidgets.VBox([self.epsilon, self.shown])

    def _show(self, epsilon: float) -> None:
        try:
            self.shown.value = self.at(epsilon)._repr_html_() + f"<code>{html.escape(self.call)}</code>"
        except TreError as error:
            self.shown.value = html.escape(str(error))


class Browser:
    """Datasets of one's projects, as the gateway has them; else those whose twins are here."""

    title = "Datasets"

    def __init__(self) -> None:
        self.said, self.infos = _asked(lambda client: client.datasets(), Store.default().infos())

    def __repr__(self) -> str:
        lines = [
            f"{i.id}: {i.title} ({len(i.columns)} columns; twin {i.twin.tier if i.twin else 'none'})"
            for i in self.infos
        ]
        return "\n".join([*self.said, *lines]) or "No dataset is known here. Ask an admin to put one into your project."

    @cached_property
    def widget(self) -> Any:
        import ipywidgets

        if not self.infos:
            return ipywidgets.HTML(f"<p>{html.escape(repr(self))}</p>")
        self.chosen = ipywidgets.Dropdown(
            options=[(f"{i.id}: {i.title}", i.id) for i in self.infos], description="dataset"
        )
        self.shown = _page(ipywidgets)
        self.chosen.observe(lambda change: self._show(change["new"]), names="value")
        self._show(self.chosen.value)
        return ipywidgets.VBox([self.chosen, self.shown])

    def _show(self, name: str) -> None:
        self.shown.value = described(next(i for i in self.infos if i.id == name))


class Monitor:
    """One's jobs with their stages, newest first; in a notebook they are asked for again as long as any goes on by itself."""

    title = "Jobs"
    # The one that is kept up to date: whoever runs a cell ten times has not ten that ask.
    shown_last: ClassVar[Callable[[], Monitor | None]] = lambda: None

    def __init__(self) -> None:
        self.said: list[str] = []
        self.jobs: list[JobView] = []
        self.ask()

    def ask(self) -> None:
        self.said, self.jobs = _asked(lambda client: client.jobs(), [])

    @property
    def going_on(self) -> bool:
        """By itself: a plan that waits for its person waits for days."""
        return any(not j.stage.final and j.stage is not Stage.PLANNED for j in self.jobs)

    def __repr__(self) -> str:
        lines = [f"{j.id} in {j.project}: {follow.place(j)[1]}" for j in self.jobs[:JOBS]]
        return "\n".join([*self.said, *lines]) or "No job yet. Submit a notebook: tre submit NOTEBOOK --project PROJECT"

    @cached_property
    def widget(self) -> Any:
        import ipywidgets

        self.again = ipywidgets.Button(description="Ask again", tooltip="Ask the gateway for your jobs")
        self.again.on_click(lambda _: self.refresh())
        self.shown = _page(ipywidgets)
        self._show()
        Monitor.shown_last = weakref.ref(self)
        with suppress(RuntimeError):  # no notebook: then the button is what there is
            self.following = asyncio.get_running_loop().create_task(self._follow())
        return ipywidgets.VBox([self.again, self.shown])

    def refresh(self) -> None:
        self.ask()
        self._show()

    async def _follow(self) -> None:
        """The kernel stays free meanwhile. Ends when nothing goes on any more, nobody answers, or another panel was shown."""
        while self.going_on and not self.said and Monitor.shown_last() is self:
            await asyncio.sleep(EVERY_SECONDS)
            await asyncio.to_thread(self.ask)
            self._show()

    def _show(self) -> None:
        bars = "".join(follow.bar(j) for j in self.jobs[:JOBS])
        said = "".join(f"<p>{html.escape(s)}</p>" for s in self.said)
        self.shown.value = said + (bars or ("" if said else f"<p>{html.escape(repr(self))}</p>"))


class Panel:
    """Shown as tabs where there are widgets, as text elsewhere. Its parts are `browser`, `monitor` and `planner`."""

    def __init__(self, browser: Browser, monitor: Monitor, planner: Planner | None) -> None:
        self.browser, self.monitor, self.planner = browser, monitor, planner

    @property
    def parts(self) -> list[Planner | Browser | Monitor]:
        return [*([self.planner] if self.planner else []), self.browser, self.monitor]

    def __repr__(self) -> str:
        return "\n\n".join(f"{part.title}\n{part!r}" for part in self.parts)

    @cached_property
    def widget(self) -> Any:
        """Raises ImportError without ipywidgets."""
        import ipywidgets

        return ipywidgets.Tab(children=[part.widget for part in self.parts], titles=[part.title for part in self.parts])

    def _repr_mimebundle_(self, **how: Any) -> dict[str, Any]:
        text = {"text/plain": repr(self)}
        try:
            shown = self.widget._repr_mimebundle_(**how)
        except ImportError:
            return text
        return dict(shown) | text


def _page(ipywidgets: Any) -> Any:
    """Where HTML stands, in JupyterLab's own look."""
    made = ipywidgets.HTML()
    made.add_class("jp-RenderedHTMLCommon")
    return made


def described(info: DatasetInfo) -> str:
    """A dataset as HTML: what the policy says of it, its columns, and the call that opens it."""
    said = [
        info.description,
        f"Steward: {info.steward}" if info.steward else "",
        f"Licence: {info.licence}" if info.licence else "",
    ]
    size = f"About {info.size:,} rows." if info.size is not None else ""
    twin = f"Its synthetic twin is {info.twin.tier}." if info.twin else "It has no synthetic twin yet."
    text = "".join(f"<p>{html.escape(s)}</p>" for s in (*said, f"{size} {twin}".strip()) if s)
    call = html.escape(f'tre.dataset("{info.id}")')
    return f"<b>{html.escape(info.title)}</b>{text}{columns_table(info)}<code>{call}</code>"


def _asked(ask: Callable[[Any], list[Any]], otherwise: list[Any]) -> tuple[list[str], list[Any]]:
    """(what there is to say, what the gateway answers); what is here instead where none does."""
    client = connect.configured()
    if client is None:
        return [], otherwise
    with closing(client):
        try:
            return [], ask(client)
        except TreError as error:
            return [str(error)], otherwise
