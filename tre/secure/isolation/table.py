"""The attempts as tables: for people at a terminal, as JSON, and as the page of docs/security.md.

python -m tre.secure.isolation.table        prints the page's part
"""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

from tre import terminal
from tre.secure.isolation.attempts import ATTEMPTS, Control, Judge
from tre.secure.isolation.levels import REDUCED
from tre.secure.isolation.report import BAD, Found, Report, Verdict

SUBJECTS = {
    "network": "Reaching the network",
    "files": "Reaching files",
    "processes": "Reaching processes",
    "messages": "Reaching what the kernel keeps for everybody",
    "privileges": "Rising by privileges",
    "kernel": "Rising by the kernel's doors",
    "resources": "Taking more than its share",
    "outbox": "Misleading who reads the outbox",
    "covert": "Covert channels",
}
COLOURS = {Verdict.STOPPED: "green", Verdict.UNSHOWN: "cyan", Verdict.OPEN: "yellow"}
MEANINGS = {
    Verdict.UNSHOWN: "stopped, but outside the cage they fail on this machine too",
    Verdict.OPEN: "they get through, for the reasons in docs/security.md",
}
START, END = "<!-- attempts -->", "<!-- end of attempts -->"


def document(report: Report) -> dict[str, Any]:
    return {
        "stopped": not report.bad,
        "totals": {verdict.name.lower(): report.count(verdict) for verdict in Verdict},
        "seconds": round(report.seconds, 1),
        "attempts": [
            {
                "name": f.attempt.name, "subject": f.attempt.subject, "does": f.attempt.does,
                "verdict": f.verdict.name.lower(), "cage": f"{f.cage.how}: {f.cage.why}",
                "control": f"{f.control.how}: {f.control.why}" if f.control else None, "note": f.note,
            }
            for f in report.found
        ],
    }  # fmt: skip


def show(console: Console, report: Report, *, everything: bool) -> None:
    """What got through, or everything; the totals by subject; and what they do not say."""
    shown = [f for f in report.found if everything or f.verdict in BAD]
    rows = [(f.attempt.name, _coloured(f), escape(f.attempt.does), f.cage.why, _control(f)) for f in shown]
    if rows:
        console.print(terminal.table("Attempts", ("attempt", "verdict", "what it does", "cage", "control"), rows))
    totals = [(SUBJECTS[s], *(_count(report, s, v) for v in Verdict)) for s in SUBJECTS]
    totals.append(("all", *(str(report.count(v)) for v in Verdict)))
    console.print(terminal.table("Totals", ("subject", *(v.value for v in Verdict)), totals))
    for verdict, meaning in MEANINGS.items():
        names = [f.attempt.name for f in report.found if f.verdict is verdict]
        if names:
            console.print(f"{verdict.value}: {meaning}: {', '.join(names)}")


def _coloured(found: Found) -> str:
    colour = "bold red" if found.verdict in BAD else COLOURS[found.verdict]
    return f"[{colour}]{found.verdict.value}[/]"


def _control(found: Found) -> str:
    if found.control is None:
        return "not made"
    return "succeeds" if found.control.how == "reached" else found.control.why


def _count(report: Report, subject: str, verdict: Verdict) -> str:
    return str(sum(f.attempt.subject == subject and f.verdict is verdict for f in report.found) or "")


def markdown() -> str:
    """The part of docs/security.md that lists the attempts."""
    lines = [START]
    for subject, title in SUBJECTS.items():
        mine = [a for a in ATTEMPTS.values() if a.subject == subject]
        lines += ["", f"### {title} ({len(mine)})", "", "| attempt | what it does | |", "| --- | --- | --- |"]
        for attempt in mine:
            notes = ["at every start"] if attempt.quick else []
            notes += [f"outside as {attempt.control.value}"] if attempt.control is Control.NAMESPACE else []
            notes += [f"judged by {attempt.judge.value}"] if attempt.judge is not Judge.ITSELF else []
            notes += [f"needs a control group for {attempt.needs}"] if attempt.needs else []
            notes += [f"**known to get through**: {attempt.open}"] if attempt.open else []
            notes += ["*gets through at* reduced"] if attempt.name in REDUCED else []
            lines.append(f"| `{attempt.name}` | {attempt.does} | {'; '.join(notes)} |")
    return "\n".join([*lines, "", END])


if __name__ == "__main__":
    sys.stdout.write(f"{markdown()}\n")
