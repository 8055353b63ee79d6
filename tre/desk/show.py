"""What the researcher's and checker's commands print: plans, jobs, budgets, reviews, in words."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

from rich import markup
from rich.console import Console

from tre.messages import Failure, JobView, OutputKind, Plan, ReviewInfo, ReviewOutput, Stage
from tre.rules.accounting import delta_of
from tre.rules.balances import Balance, Cost
from tre.rules.changes import Changes
from tre.rules.disclosure.finding import Finding, Verdict, worst
from tre.rules.text import visible
from tre.terminal import table


def escape(text: str) -> str:
    """Somebody's words, as they may be shown: neither markup nor the terminal obeys them."""
    return markup.escape(visible(text))


ADDING_UP = (
    "Losses add up in zCDP's rho, more slowly than epsilons do: two releases at 0.5 cost less than 1, and used and "
    "still-fitting epsilon do not sum to the limit."
)


def isolation(level: str) -> None:
    """On stderr, beside whatever a command tells: an area that does not fully isolate notebooks is no place for secrets."""
    if level not in ("", "full"):
        Console(stderr=True).print(
            f"[bold red]Isolation of notebooks is {escape(level)} in this area[/bold red]: it may hold public data only."
        )


SENTENCE = {
    Stage.REHEARSING: "being rehearsed on the synthetic twin",
    Stage.REHEARSAL_FAILED: "the rehearsal failed; nothing was charged",
    Stage.PLANNED: "planned: waits for your confirmation",
    Stage.WITHDRAWN: "withdrawn; nothing was charged",
    Stage.IN_PROGRESS: "in the secure area: charged, computed, noised",
    Stage.IN_REVIEW: "in the secure area and with its output checkers",
    Stage.RELEASED: "released",
    Stage.RETURNED: "returned by the output checkers",
    Stage.REJECTED: "rejected by the output checkers",
    Stage.FAILED: "failed",
    Stage.REVOKED: "released, and revoked since: use it no more",
}


def plan(console: Console, view: JobView) -> None:
    """What will leave, what it costs, and what to expect."""
    if view.plan is None:
        return
    console.print(f"\n[bold]The plan[/bold] {(view.plan_digest or '')[:12]}", "— what will leave, and nothing else\n")
    if view.plan.requests:
        console.print(
            table(
                "Statistics, with noise",
                ("release", "dataset", "asks for", "epsilon", "expected error (95 %)"),
                requests(view.plan),
            )
        )
    _blocks(console, view.plan)
    if view.plan.outputs:
        rows = [
            (o.name, "declared table" if o.declared else o.kind.value, escape(o.context), worst(o.findings).value)
            for o in view.plan.outputs
        ]
        columns = ("output", "kind", "context", "on the twin")
        console.print(table("Outputs without noise: two people decide", columns, rows))
        for o in view.plan.outputs:
            findings(console, o.name, o.findings)
    for hint in view.plan.advice:
        console.print(f"[yellow]Note:[/yellow] {escape(hint)}.")
    for c in view.costs:
        verdict = "" if c.affordable else "  [bold red]— more than is left[/bold red]"
        first, *more = cost(c)
        console.print(f"{escape(first)}{verdict}")
        for said in more:
            console.print(escape(said))
    console.print(f"{then(view.plan)}\n")


def cost(c: Cost) -> list[str]:
    """What a plan costs one population, beside what is left: sentences."""
    keys = f" and delta {c.keys_delta:g} for keys found in the data" if c.keys_delta else ""
    said = [
        f"Cost for {c.population}: epsilon {c.epsilon:.4g} (delta {c.delta:g}){keys}; left before it: {c.left_epsilon:.4g}"
    ]
    if c.affordable and c.share_of_left is not None and c.fits_times is not None:
        more = "" if c.delta == 0 else ", as losses add up more slowly than epsilons"
        said.append(
            f"That is {c.share_of_left:.1%} of what is left; {c.fits_times} plans of this price would fit{more}."
        )
    return said


def then(found: Plan) -> str:
    """Who lets it out, and what is run for it."""
    who = "no people: the policy lets it out automatically" if found.automatic else "two output checkers decide"
    run = "; your notebook will also be run on the real rows, in the sandbox" if found.run else ""
    return f"Then: {who}{run}."


def findings(console: Console, name: str, found: Sequence[Finding]) -> None:
    """What is no pass, and what would help."""
    for f in found:
        if f.verdict is Verdict.PASS:
            continue
        colour = "red" if f.verdict is Verdict.FAIL else "yellow"
        console.print(f"  [{colour}]{f.verdict.value}[/{colour}] {escape(name)}, {f.rule.value}: {escape(f.message)}")
        for m in f.mitigations:
            price = "" if m.epsilon is None else f" — epsilon {m.epsilon:g}"
            price += "" if m.error is None else f", error about ± {m.error:.3g}"
            console.print(f"      {m.kind.value}: {escape(m.call)}{price}")


def failing(plan: Plan) -> list[str]:
    """The outputs that a rule fails on the twin."""
    return [o.name for o in plan.outputs if worst(o.findings) is Verdict.FAIL]


def returned(console: Console, plan: Plan) -> list[str]:
    """For `--check`: the outputs that would be sent back, and why. Returns their names."""
    names = failing(plan)
    if names:
        console.print(f"[bold red]Would be returned:[/bold red] {escape(', '.join(names))}. The reasons are above.")
    else:
        console.print("No rule would send an output back. What needs eyes is for the output checkers.")
    return names


def requests(found: Plan) -> list[tuple[str, ...]]:
    """Of each statistic with noise: name, dataset, what it asks for, epsilon, the error to expect."""
    rows: list[tuple[str, ...]] = []
    for r in found.requests:
        errors = ", ".join(f"{k} ± {v:.4g}" if v is not None else f"{k}: drowned" for k, v in r.expected_error.items())
        by = f" by {', '.join(g.column for g in r.request.group_by)}" if r.request.group_by else ""
        cost = "0 (released before)" if r.replayed else f"{r.request.epsilon:g}"
        rows.append((r.name, r.request.dataset, ", ".join(r.request.statistics) + by, cost, errors))
    return rows


def estimates(found: Plan) -> list[tuple[str, ...]]:
    """Of each estimate over blocks: name, how, numbers, epsilon, blocks needed, the error to expect, interval."""
    rows: list[tuple[str, ...]] = []
    for e in found.estimates:
        cost = "0 (released before)" if e.replayed else f"{e.estimate.epsilon:g}"
        noise = "" if e.ranks is None or found.blocks is None else f"{e.ranks:.3g} of {found.blocks.blocks} ranks"
        noise = noise if e.error is None else f"± {e.error:.4g}"
        if e.expected:
            noise = ", ".join(f"± {x:.3g}" for x in e.expected[:5]) + (", …" if len(e.expected) > 5 else "")
            noise += f"; bias {', '.join(f'{x:+.2g}' for x in e.bias[:5])}"
        low, high = e.estimate.bounds
        how = f"{e.estimate.aggregator.value}, {low:g} to {high:g}, default {e.estimate.default:g}"
        rows.append((e.name, how, str(e.estimate.size), cost, str(e.least_blocks), noise, e.interval))
    return rows


def _blocks(console: Console, found: Plan) -> None:
    """The estimates over blocks, and how they are made."""
    if found.blocks is None:
        return
    columns = ("estimate", "how", "numbers", "epsilon", "blocks needed", "expected error (95 %)", "interval")
    console.print(table("Estimates over blocks, with noise", columns, estimates(found)))
    b = found.blocks
    console.print(
        f"{b.blocks} blocks of people of {escape(b.population)} ({escape(', '.join(b.datasets))}), {b.seconds} seconds and "
        f"{b.memory_mb} MB for each, {b.lanes} at once. The result comes at a moment fixed when you confirm."
    )
    for advice in b.advice:
        console.print(f"Note: {escape(advice)}.")


def failure(console: Console, found: Failure) -> None:
    console.print(f"[bold red]The rehearsal failed[/bold red] \\[{found.code}]: {escape(found.message)}")
    if found.traceback and found.code == "notebook_failed":
        console.print(escape(found.traceback[-3_000:]))
    console.print(f"Next step: {escape(found.next_step)}")


def job(console: Console, view: JobView) -> None:
    console.print(f"[bold]{view.id}[/bold] in {escape(view.project)}: {SENTENCE[view.stage]} (since {view.updated})")
    if view.failure is not None:
        failure(console, view.failure)
    if view.run is not None:
        console.print(f"Its run on real rows: {view.run.value}")
    if view.due is not None and not view.stage.final:
        console.print(f"Its estimates over blocks are due at {view.due}, not before and not for any reason later.")
    if view.release is not None:
        label = "Release" if view.stage is Stage.RELEASED else "Release request"
        console.print(f"{label}: {view.release}")
        if not view.stage.final:
            console.print(f"Follow it: tre job {view.id} --wait")
    for comment in view.comments:
        console.print(f"A checker wrote: {escape(comment)}")
    if view.stage is Stage.RELEASED:
        console.print(f"Fetch it: tre fetch {view.release} DIR — then run the notebook again at your desk.")


def balances(console: Console, found: list[Balance]) -> None:
    wide = console.width >= 100
    rows = [
        (
            b.account,
            b.kind,
            f"{b.limit_epsilon:.3f}",
            f"{b.used_epsilon:.3f}",
            f"{b.left_epsilon:.3f}",
            f"{b.delta:g}",
            *((_bar(b),) if wide else ()),
        )
        for b in found
    ]
    columns = ("account", "kind", "limit epsilon", "used", "still fits", "delta", *(("",) if wide else ()))
    console.print(table("Privacy budget", columns, rows))
    if any(b.delta for b in found):
        console.print(ADDING_UP)
    for b in found:
        if b.limit_delta_units:
            left, limit = delta_of(b.left_delta_units), delta_of(b.limit_delta_units)
            console.print(f"{escape(b.account)}: delta {left:g} of {limit:g} is left for group keys found in data.")


def _bar(b: Balance) -> str:
    filled = round(20 * b.used_units / b.limit_units) if b.limit_units else 20
    return "█" * filled + "░" * (20 - filled)


def _content(console: Console, kind: OutputKind, content: bytes) -> None:
    """What is to be decided on, as far as a terminal can show it."""
    if kind is OutputKind.FIGURE:
        console.print("  a picture: see it with --save FOLDER")
        return
    lines = content.decode().splitlines()
    if kind is OutputKind.TABLE:
        header, *rows = list(csv.reader(lines))
        console.print(table("", [escape(h) for h in header], [[escape(v) for v in row] for row in rows[:30]]))
    else:
        console.print(escape("\n".join(lines[:60])), soft_wrap=True)
    more = len(lines) - 31 if kind is OutputKind.TABLE else len(lines) - 60
    if more > 0:
        console.print(f"  and {more} lines more: see them with --save FOLDER")


def _reviewed(console: Console, o: ReviewOutput, content: bytes | None) -> None:
    """An output with what was found about it."""
    console.print(f"\n[bold]{o.name}[/bold] ({o.kind.value}) — {escape(o.context)}")
    if o.exception is not None:
        console.print(f"  [bold]an exception is asked for:[/bold] {escape(o.exception)}")
    if not o.present:
        console.print("  [red]the run did not produce it[/red]")
    if content is not None:
        _content(console, o.kind, content)
    for f in o.findings:
        colour = {Verdict.PASS: "green", Verdict.REVIEW: "yellow"}.get(f.verdict, "red")
        console.print(f"  [{colour}]{f.verdict.value}[/{colour}] {f.rule.value}: {escape(f.message)}")
        for e in f.earlier:
            groups = f" ({', '.join(e.groups)})" if e.groups else ""
            console.print(f"      with {escape(e.release or 'this request')}: {escape(e.output + groups)}")


def _changes(console: Console, found: Changes) -> None:
    """Since the notebook of this name was submitted before."""
    console.print(f"\n[bold]What changed[/bold] since {found.earlier} ({found.submitted}, {found.state})")
    for text in found.said:
        console.print(f"  its researcher was told: {escape(text)}")
    parts = {
        "without noise": found.outputs,
        "with noise": found.statistics,
        "parameter": found.parameters,
        "data": found.data,
    }
    for what, changed in parts.items():
        for c in changed:
            how = f" ({', '.join(c.parts)})" if c.parts else ""
            console.print(f"  {what}, {c.kind.value}: {escape(c.name)}{escape(how)}")
    lines = "  the notebooks differ in too many lines to show how" if found.source is None else found.source
    console.print(escape(lines or "  the notebook is the same"), soft_wrap=True)


def review(console: Console, info: ReviewInfo, contents: Mapping[str, bytes] | None = None) -> None:
    console.print(
        f"[bold]{info.release}[/bold] from {escape(info.person)}, project {escape(info.project)}, {info.submitted}: {info.state}"
    )
    if info.run is not None:
        console.print(f"The run on real rows: {info.run.value}")
    if info.changes is not None:
        _changes(console, info.changes)
    for o in info.outputs:
        _reviewed(console, o, (contents or {}).get(o.name))
    if info.plan.requests:
        console.print()
        console.print(
            table(
                "Statistics (computed only after approval)",
                ("release", "dataset", "asks for", "epsilon", "expected error"),
                requests(info.plan),
            )
        )
    for r in info.plan.requests:
        console.print(escape(r.request.brief()), soft_wrap=True)
    _blocks(console, info.plan)
    if info.plan.parameters:
        console.print(
            "\n[bold]Parameters[/bold] given at submission: they take the place of what the notebook's own cell says"
        )
        for name, value in info.plan.parameters.items():
            console.print(f"  {escape(name)} = {escape(repr(value))}")
    console.print(
        f"\n[bold]The submitted notebook[/bold] {info.plan.notebook}\n{escape(info.notebook_source)}\n", soft_wrap=True
    )
    for comment in info.comments:
        console.print(f"Comment: {escape(comment)}")
    for said in info.remarks:
        console.print(f"Remark of {escape(said.person)}, for {said.audience.value}: {escape(said.text)}")
