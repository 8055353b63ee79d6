"""Raises of budgets: where new policies let more be learnt, or learn it faster, than those before them allowed.

Guarantees: each limit is compared with what it was when it was last there, so that taking a project or a yearly cap out
and putting it back larger is seen as the raise it is. Lowering the number of admins that a raise needs counts as one.
Not done here: asking for a reason, the second admin and the record (secure.applying).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tre.rules.ledger import AccountKind
from tre.rules.policy import Loss, Policies

Key = tuple[AccountKind, str, str | None]


@dataclass(frozen=True, kw_only=True)
class Raise:
    """One limit that would rise. `after` is None where a yearly cap would be taken away."""

    kind: AccountKind
    population: str
    project: str | None
    before: Loss
    after: Loss | None

    @property
    def account(self) -> str:
        return self.project or self.population


def raises(history: Sequence[Policies], new: Policies) -> list[Raise]:
    """`history` is everything ever applied, newest last."""
    before: dict[Key, Loss | None] = {}
    for policies in history:
        before |= limits(policies)
    return [
        Raise(kind=key[0], population=key[1], project=key[2], before=old, after=after)
        for key, after in limits(new).items()
        if (old := before.get(key)) is not None and _larger(old, after)
    ]


def needed(now: Policies, new: Policies, found: Sequence[Raise]) -> int:
    """How many admins the change needs, by the rule in force; 0 where it raises nothing."""
    return now.area.raises_need if found or new.area.raises_need < now.area.raises_need else 0


def limits(policies: Policies) -> dict[Key, Loss | None]:
    """Every limit that there is, or, for yearly caps, might be."""
    found: dict[Key, Loss | None] = {}
    for name, population in policies.populations.items():
        found[AccountKind.POPULATION, name, None] = population.lifetime
        found[AccountKind.POPULATION_YEAR, name, None] = population.yearly
    for name, project in policies.projects.items():
        for of, allowed in project.allowances.items():
            found[AccountKind.PROJECT, of, name] = allowed
            found[AccountKind.PROJECT_YEAR, of, name] = project.yearly.get(of)
    return found


def _larger(before: Loss, after: Loss | None) -> bool:
    return after is None or after.epsilon > before.epsilon or after.keys_delta > before.keys_delta


def sentences(found: Raise, spent_epsilon: float) -> list[str]:
    """What the raise is, and what it means for the people in the data."""
    before, after, delta = found.before, found.after, found.before.delta
    yearly = " a year" if found.kind.yearly else ""
    to = "no limit" if after is None else f"epsilon {after.epsilon:g}"
    first = f"{found.account} ({found.kind}): from epsilon {before.epsilon:g}{yearly} to {to}{yearly if after else ''}"
    if after is not None and after.keys_delta != before.keys_delta:
        first += f", keys_delta from {before.keys_delta:g} to {after.keys_delta:g}"
    return [f"{first} (delta {delta:g}); spent so far: epsilon {spent_epsilon:.3f}.", _meaning(found)]


def _meaning(found: Raise) -> str:
    if found.kind is AccountKind.POPULATION and found.after is not None:
        old, new = (_odds(loss.epsilon) for loss in (found.before, found.after))
        return (
            f"For each of these people: all releases together, for good, may let somebody who suspects something of them "
            f"see its odds grow {new}-fold, where the limit they were promised was {old}-fold (save for a chance of "
            f"about {found.after.delta + found.after.keys_delta:g}). What is spent of it is never taken back."
        )
    if found.kind is AccountKind.PROJECT:
        return "The lifetime budget of its people stays as it is; this project may spend more of it."
    return "The lifetime budget of the people stays as it is; it may be spent sooner."


def _odds(epsilon: float) -> str:
    times = math.exp(epsilon)
    return f"{times:,.0f}" if 100 <= times < 1e7 else f"{times:.3g}"
