"""A declared table: filter, groups and statistics over one dataset, printed without noise by trusted code.

Guarantees: the statement is closed JSON, in the language of a request (statistics.request), so that whoever has the rows
can compute every cell anew, with who is behind it. Imports no library of numbers or rows: it crosses the wall (messages).
Not done here: what is computed of it and how it is printed (statistics.printing).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from tre.rules.disclosure.cells import What
from tre.rules.schema import Closed, Identifier, Name
from tre.statistics.kinds import Count, CountPeople, Mean, Quantile, Share, StandardDeviation, Sum
from tre.statistics.request import Derived, Grouping, Request, explain

TableStatistic = Annotated[
    Count | CountPeople | Sum | Mean | Share | StandardDeviation | Quantile, Field(discriminator="kind")
]


class Declared(Closed):
    """What the table is of. `suppress`: cells that a rule refuses, and what would tell them, are not printed.
    `round_to`: counts and sums to multiples of this."""

    version: Literal[1] = 1
    dataset: Identifier
    where: tuple[str, ...] = Field(default=(), max_length=20)
    derive: tuple[Derived, ...] = Field(default=(), max_length=50)
    group_by: tuple[Grouping, ...] = Field(default=(), max_length=4)
    statistics: dict[Name, TableStatistic] = Field(min_length=1, max_length=20)
    totals: bool = False
    suppress: bool = False
    round_to: int = Field(default=1, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _plain(self) -> Self:
        for statistic in self.statistics.values():
            if statistic.by is not None or getattr(statistic, "margins", False):
                raise ValueError("a table's statistics are by all of its groups; totals=True adds the rest")
            if getattr(statistic, "bounds", None) is not None or getattr(statistic, "bins", None) is not None:
                raise ValueError("bounds are for noise; a table without noise takes none")
        if any(g.found is not None for g in self.group_by):
            raise ValueError("the keys of a table are declared or given")
        return self

    @property
    def by(self) -> tuple[str, ...]:
        return tuple(g.column for g in self.group_by)

    @property
    def kinds(self) -> dict[str, What]:
        return {name: What(s.kind) for name, s in self.statistics.items()}

    def request(self, epsilon: float) -> Request:
        """The same with noise."""
        return Request(
            dataset=self.dataset, where=self.where, derive=self.derive, group_by=self.group_by,
            statistics=dict(self.statistics), epsilon=epsilon,
        )  # fmt: skip


def parse(content: object) -> Declared:
    """Raises RequestError."""
    try:
        return Declared.model_validate(content)
    except ValidationError as error:
        raise explain(error) from None
