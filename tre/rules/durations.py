"""How long things stay in their states: from what the audit log says and the table of transitions, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median, quantiles

from tre.rules.lifecycle import State, Transition


def stays(
    table: Iterable[Transition[State]],
    first: State,
    started: Mapping[str, float],
    events: Iterable[tuple[str, float, str]],
) -> dict[State, list[float]]:
    """Seconds by state, of every stay that has ended. `started`: when each subject came to be, in `first`; `events`:
    (subject, when, the log's event), in the log's order. Events of other subjects, or that move nothing, are passed over."""
    table = tuple(table)
    at = {subject: (first, when) for subject, when in started.items()}
    found: dict[State, list[float]] = {}
    for subject, when, event in events:
        if subject not in at:
            continue
        before, since = at[subject]
        after = next((t.after for t in table if t.before == before and t.event == event), None)
        if after is not None:
            found.setdefault(before, []).append(when - since)
            at[subject] = (after, when)
    return found


def summary(seconds: list[float]) -> dict[str, float]:
    """How many, the middle one, and what nine of ten do not exceed."""
    nine = quantiles(seconds, n=10, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return {"count": len(seconds), "median_seconds": median(seconds), "ninth_decile_seconds": nine}
