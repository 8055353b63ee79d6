"""How `tre-admin budget` shows accounts, charges and forecasts to people: tables and small plots of plain characters."""

from __future__ import annotations

from datetime import date
from typing import Any

from rich.console import Console

from tre.rules.accounting import delta_of
from tre.rules.forecast import Point, left_over
from tre.terminal import table

WIDTH = 48
BARS = " ▁▂▃▄▅▆▇█"


def show(console: Console, found: list[dict[str, Any]]) -> None:
    for b in found:
        _accounts(console, b)
        for account in (b, *b["projects"]):
            _burn_down(console, account, date.fromisoformat(b["today"]))
        if b["history"]:
            _charges(console, b["history"])


def _accounts(console: Console, b: dict[str, Any]) -> None:
    rows = [
        (
            a["account"], a["kind"], f"{a['limit_epsilon']:.3f}", f"{a['used_epsilon']:.3f}", f"{a['left_epsilon']:.3f}",
            _keys(a),
        )
        for a in (b, *b["projects"], *b["this_year"])
    ]  # fmt: skip
    columns = ("account", "kind", "limit epsilon", "used", "still fits", "keys' delta used")
    console.print(table(f"{b['account']} (delta {b['delta']:g})", columns, rows))
    if b["delta"]:
        console.print("Losses add up in zCDP's rho, more slowly than epsilons do.")


def _keys(a: dict[str, Any]) -> str:
    limit = a["limit_delta_units"]
    return f"{delta_of(a['used_delta_units']):g} of {delta_of(limit):g}" if limit else "none allowed"


def _burn_down(console: Console, account: dict[str, Any], today: date) -> None:
    """A line of bars for what was left, and the days on which it would run out."""
    if account["forecast"] is None:
        console.print(f"{account['account']}: no charge yet")
        return
    shares = left_over(points(account), account["limit_units"], today, WIDTH)
    bars = "".join(BARS[round(s * (len(BARS) - 1))] for s in shares)
    console.print(f"{account['account']}: left from {account['burn_down'][0]['on']} to today |{bars}| {shares[-1]:.0%}")
    for name, pace in account["forecast"].items():
        day = "it does not run out" if pace["runs_out"] is None else f"it runs out on {pace['runs_out']}"
        which = f"the last {pace['days']} days" if name == "recent" else f"all {pace['days']} days"
        console.print(f"  at the pace of {which} ({pace['share_a_year']:.1%} of the limit a year) {day}")


def _charges(console: Console, history: list[dict[str, Any]]) -> None:
    rows = [
        (e["entry"], e["at"], e["purpose"], e["project"], e["release"], f"{e['epsilon_alone']:.4g}", e["state"])
        for e in history
    ]
    console.print(table("Charges", ("entry", "at", "for", "project", "release", "epsilon alone", "state"), rows))


def points(account: dict[str, Any]) -> list[Point]:
    return [Point(date.fromisoformat(p["on"]), p["used_units"]) for p in account["burn_down"]]


def plot(found: list[dict[str, Any]], path: str) -> None:
    """One panel a population: the share left of its budget and of each allowance, and the way it would go on."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 2.8 * max(1, len(found))), layout="constrained")
    panels = figure.subplots(max(1, len(found)), 1, squeeze=False)[:, 0]
    for panel, b in zip(panels, found, strict=False):
        for account in (b, *b["projects"]):
            _line(panel, account, date.fromisoformat(b["today"]))
        panel.set_ylim(0, 1.05)
        panel.set_ylabel("share left")
        panel.set_title(f"{b['account']}: epsilon {b['left_epsilon']:.3f} still fits", loc="left", fontsize=10)
        panel.grid(axis="y", color="#dddddd")
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _line(panel: Any, account: dict[str, Any], today: date) -> None:
    """Steps down to today, and from there dashed to the day it runs out at the pace of late, if that is near."""
    limit = max(1, account["limit_units"])
    left = [(p.on, max(0.0, 1 - p.used_units / limit)) for p in points(account)]
    days = [today, *(on for on, _ in left)] if not left else [left[0][0], *(on for on, _ in left), today]
    shares = [1.0] if not left else [1.0, *(s for _, s in left), left[-1][1]]
    (line,) = panel.step(days, shares, where="post", label=f"{account['account']} ({account['kind']})")
    ahead = account["forecast"] and account["forecast"]["recent"]["runs_out"]
    if ahead and (date.fromisoformat(ahead) - today).days <= 10 * 365:
        panel.plot([today, date.fromisoformat(ahead)], [shares[-1], 0], "--", color=line.get_color(), linewidth=1)
