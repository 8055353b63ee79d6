"""How `tre-admin stats` shows an area's figures to people."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from tre.terminal import table

UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def show(console: Console, found: dict[str, Any]) -> None:
    for what in ("jobs", "releases"):
        states = dict.fromkeys([*found["times"][what], *found[what]])
        rows = [_state(s, found["times"][what].get(s), found[what].get(s, 0)) for s in states]
        console.print(table(what.capitalize(), ("state", "now", "ended", "median stay", "nine of ten within"), rows))
    review = found["review"]
    votes = ", ".join(f"{n} {decision}" for decision, n in review["votes"].items()) or "none"
    console.print(f"Votes: {votes}.")
    if review["pairs"]:
        console.print(f"Of {review['pairs']} releases with two votes, checkers agreed on {review['agreement']:.0%}.")
    rows = [(state, rule, str(n)) for state, rules in found["findings"].items() for rule, n in rules.items()]
    if rows:
        console.print(table("Outputs by finding", ("release is", "rule", "outputs"), rows))
    noise = found["noise"]
    if noise["numbers"]:
        console.print(
            f"{noise['numbers']:,} released numbers with noise; the middle error is {noise['median_relative_error']:.1%}."
        )
    accounts = [
        (b["account"], b["kind"], f"{b['used_epsilon']:.3f} of {b['limit_epsilon']:.3f}") for b in found["budgets"]
    ]
    console.print(table("Budgets", ("account", "kind", "epsilon used"), accounts))


def _state(state: str, times: dict[str, float] | None, now: int) -> tuple[str, ...]:
    if times is None:
        return (state, str(now), "", "", "")
    return (
        state,
        str(now),
        str(times["count"]),
        _shown(times["median_seconds"]),
        _shown(times["ninth_decile_seconds"]),
    )


def _shown(seconds: float) -> str:
    unit = next(((size, name) for size, name in UNITS if seconds >= size), None)
    return f"{seconds:.0f} s" if unit is None else f"{seconds / unit[0]:.1f} {unit[1]}"
