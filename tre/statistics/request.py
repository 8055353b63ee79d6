"""The request: what one `.release(...)` asks for, as closed, versioned JSON.

Guarantees: strict shapes (an unknown key, NaN or a wrong type is refused with a code), no code, and a digest that names
the request: the label a researcher gives a release is not part of it, so renaming is no new release.
"""

from __future__ import annotations

import json
import math
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from tre.errors import RequestError
from tre.rules.canonical import digest
from tre.rules.schema import RESERVED_PREFIX, Closed, Identifier, Name
from tre.rules.text import visible, writable
from tre.statistics.kinds import UNWRITABLE, Statistic

MAX_EPSILON = 100.0


class Derived(Closed):
    """A new column for this request: one SQL scalar expression."""

    name: Name
    expression: str

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        # A column called like one of ours would take the place of the person that people are counted by.
        if self.name.startswith(RESERVED_PREFIX):
            raise ValueError(f"names beginning with {RESERVED_PREFIX!r} are reserved")
        return self


class Grouping(Closed):
    """A column to group by, and its keys where the schema or the expression does not already say them."""

    column: Name
    keys: tuple[int | str | bool, ...] | None = Field(default=None, min_length=1, max_length=10_000)
    # The probability, charged on top, that a key is told which only one person has; then keys are found in the data.
    found: float | None = Field(default=None, gt=0, le=1e-4)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if any(isinstance(k, str) and not writable(k) for k in self.keys or ()):
            raise ValueError(UNWRITABLE)
        if self.found is not None and self.keys is not None:
            raise ValueError("keys are either given or found, not both")
        return self


class Request(Closed):
    """One release: where, derive, group, statistics, and the epsilon that all of it together may cost."""

    version: Literal[2] = 2
    dataset: Identifier
    # A second dataset about the same people: the request is then of pairs of one person's rows.
    link: Identifier | None = None
    where: tuple[str, ...] = Field(default=(), max_length=20)
    derive: tuple[Derived, ...] = Field(default=(), max_length=50)
    group_by: tuple[Grouping, ...] = Field(default=(), max_length=4)
    statistics: dict[Name, Statistic] = Field(min_length=1, max_length=50)
    epsilon: float

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if not (math.isfinite(self.epsilon) and 0 < self.epsilon <= MAX_EPSILON):
            raise ValueError(f"epsilon must be above 0 and at most {MAX_EPSILON:g}")
        if self.link == self.dataset:
            raise ValueError("a dataset cannot be linked with itself")
        if sum(g.found is not None for g in self.group_by) > 1:
            raise ValueError("the keys of one column at most can be found in the data")
        return self

    @property
    def finding(self) -> Grouping | None:
        """The group whose keys are found in the data, if there is one."""
        return next((g for g in self.group_by if g.found is not None), None)

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))

    def brief(self) -> str:
        """For people: JSON without what is not said, but with every statistic's kind."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        kinds = {label: {"kind": s.kind} for label, s in self.statistics.items()}
        content["statistics"] = {label: kinds[label] | s for label, s in content["statistics"].items()}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def parse(content: Any) -> Request:
    """A request from JSON values or keyword dictionaries. Raises RequestError: request_invalid or epsilon_invalid."""
    try:
        return Request.model_validate(content)
    except ValidationError as error:
        raise explain(error) from None
    except RecursionError:
        raise RequestError("request_invalid", "The request is nested too deeply.", "Write it flat.") from None


def explain(error: ValidationError) -> RequestError:
    """The first thing wrong with a request; positions and rules, and of the input only what pydantic names as keys."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Names are the writer's own, and may be of any length; a tag's value is not a name.
    place = visible(".".join(str(p)[:40] for p in first["loc"][:6]))
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        reason = "there is no such kind of statistic"
    if place == "statistics" and first["type"] == "too_short":
        reason = "it asks for nothing; add at least one statistic, for instance n=tre.count()"
    code = "request_invalid"
    if "epsilon" in place or reason.startswith("epsilon"):
        code = "epsilon_invalid"
    elif reason.startswith("bounds"):
        code = "bounds_invalid"
    return RequestError(
        code,
        f"This release cannot be made{f' ({place})' if place else ''}: {reason[:300]}.",
        "See help(tre) for the calls and docs/reference/statistics.md for what each statistic takes.",
    )
