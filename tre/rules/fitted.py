"""The summary of a fitted model, closed: coefficients and what they rest on; no residuals, no fitted values, no data."""

from __future__ import annotations

from typing import Annotated, TypedDict

from pydantic import Field

from tre.rules.schema import Closed


class ModelFacts(TypedDict):
    observations: int
    parameters: int
    residual: float


class ModelTerm(Closed):
    """One coefficient."""

    name: Annotated[str, Field(max_length=200)]
    estimate: float | None
    error: float | None
    low: float | None
    high: float | None
    p: float | None


class ModelSummary(Closed):
    """A fitted model as it may be an output."""

    model: Annotated[str, Field(max_length=100)]
    outcome: Annotated[str, Field(max_length=200)]
    observations: int = Field(ge=0)
    residual_degrees: float
    r_squared: float | None = None
    log_likelihood: float | None = None
    terms: tuple[ModelTerm, ...] = Field(max_length=500)

    @property
    def facts(self) -> ModelFacts:
        """What the rules ask."""
        return {
            "observations": self.observations, "parameters": len(self.terms), "residual": self.residual_degrees,
        }  # fmt: skip
