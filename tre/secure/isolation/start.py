"""The start of a gateway: real rows are refused on a machine whose cage does not hold.

Guaranteed: for full isolation, `refuse_leaks` returns only where a box can be made and each attempt of the quick set was stopped in one.
Anything else, a fault of an attempt or a result that is missing as well, is a SandboxError that names it.
"""

from __future__ import annotations

from tre.errors import SandboxError
from tre.rules.policy import Isolation
from tre.secure.isolation.report import Report, quick
from tre.secure.jobs import sandbox

NAMED = 5


def refuse_leaks(isolation: Isolation = Isolation.FULL) -> None:
    """A second or two. SandboxError where notebooks cannot be isolated so, or something gets out of the full cage.

    Below full isolation the cage is known not to hold, and the area to have public data only.
    """
    reason = sandbox.unavailable(isolation)
    if reason is not None:
        step = "Install bubblewrap; where namespaces are forbidden, an area of public data may say isolation: reduced."
        raise SandboxError("sandbox_unavailable", f"Notebooks cannot be isolated here: {reason}.", step)
    if isolation is not Isolation.FULL:
        return
    failure = leaks(quick())
    if failure is not None:
        raise failure


def leaks(report: Report) -> SandboxError | None:
    """What a report of attempts means for a machine: None where all were stopped."""
    if not report.bad:
        return None
    names = [f"{f.attempt.name} ({f.attempt.does})" for f in report.bad]
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return SandboxError(
        "isolation_leaks",
        f"The cage does not hold: {len(names)} of {len(report.found)} attempts got through or gave no answer: "
        f"{', '.join(names[:NAMED])}{more}.",
        "Serve no real rows here. See all with: tre-admin isolation-report --all",
    )
