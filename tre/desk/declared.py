"""A declared table in a notebook: what it shows here, what the rules say of it here, and what could be done about it.

Guarantees: it is immutable (`suppress`, `round` give another); its numbers are of this world's rows, at the desk the
twin's; findings are the same rules that the secure side applies to the real rows. Differencing is looked at there alone.
"""

from __future__ import annotations

import html
import io
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from tre.rules.disclosure.counts import single
from tre.rules.disclosure.finding import Finding, Mitigation, Verdict
from tre.rules.policy import Disclosure
from tre.statistics import contributors, declared, printing
from tre.statistics.declared import Declared

if TYPE_CHECKING:
    from tre.desk.dataset import Dataset
    from tre.desk.release import Release


class Table:
    """`dataset.group_by(…).table(…)`: give it to `tre.output`."""

    def __init__(self, dataset: Dataset, statement: Declared) -> None:
        self._dataset, self.statement = dataset, statement
        self._scope = printing.scope(statement, dataset.info.table)

    @property
    def _limits(self) -> Disclosure:
        return self._dataset.info.disclosure

    @cached_property
    def _printed(self) -> tuple[bytes, tuple[Finding, ...]]:
        info = self._dataset.info
        with self._dataset._open() as connection:
            found = contributors.cells(connection, self.statement, self._scope)
        found = printing.finished(found, self.statement, self._limits)
        findings = printing.priced(
            single(found, self._limits), self.statement, info.table, delta=info.delta, size=info.size
        )
        return printing.as_csv(found), tuple(findings)

    @property
    def content(self) -> bytes:
        """As CSV."""
        return self._printed[0]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the rules that look at one table say, on the rows of this world."""
        return self._printed[1]

    def to_pandas(self) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(self.content))

    def suppress(self) -> Table:
        """Without the cells that a rule refuses, and without what would tell them."""
        return Table(self._dataset, self.statement.model_copy(update={"suppress": True}))

    def round(self, base: int | None = None) -> Table:
        """Counts and sums to multiples of `base`, by default of what the policy asks for, or 5."""
        wanted = base or (self._limits.round_to if self._limits.round_to > 1 else 5)
        return Table(self._dataset, declared.parse(self.statement.model_dump() | {"round_to": wanted}))

    def noise(self, name: str, *, epsilon: float | None = None, error: float | None = None) -> Release:
        """The same statistics as a release with noise in its place: charged, and nobody needs to look at cells."""
        return self._dataset.release(name, epsilon=epsilon, error=error, **dict(self.statement.statistics))

    def __repr__(self) -> str:
        bad = [f for f in self.findings if f.verdict is not Verdict.PASS]
        said = "".join(f"\n  {f.verdict.value} {f.rule.value}: {f.message}" for f in bad)
        return f"<a table of {self.statement.dataset}, not yet proposed>\n{self.to_pandas()}{said}"

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html(index=False, border=0)) + findings_html(self.findings)


def findings_html(findings: tuple[Finding, ...]) -> str:
    """What is not a pass, as a list."""
    bad = [f for f in findings if f.verdict is not Verdict.PASS]
    items = "".join(
        f"<li><b>{f.verdict.value}</b> {html.escape(f.rule.value)}: {html.escape(f.message)}"
        + "".join(f"<br><small>{html.escape(_offer(m))}</small>" for m in f.mitigations)
        + "</li>"
        for f in bad
    )
    return f"<ul>{items}</ul>" if items else ""


def _offer(m: Mitigation) -> str:
    price = f" (epsilon {m.epsilon:g}" if m.epsilon is not None else ""
    price += f", error about ± {m.error:.3g})" if m.error is not None else ")" if price else ""
    return f"{m.kind.value}: {m.call}{price}"
