"""The gateway's answers as JupyterLab's page shows them: words and short lists, the same words as the commands'.

Guarantees: somebody's text comes with every invisible character written out; the page adds no meaning of its own.
"""

from __future__ import annotations

from typing import Any

from tre.desk import show
from tre.desk.follow import place
from tre.messages import DatasetInfo, JobView, Plan, ReleaseInfo, ReviewInfo
from tre.rules.balances import Balance
from tre.rules.disclosure.finding import Finding, Verdict, worst
from tre.rules.notices import Notice, words
from tre.rules.text import visible


def brief(view: JobView) -> dict[str, Any]:
    """A job in a list."""
    completed, sentence = place(view)
    return {
        "id": view.id, "name": visible(view.name or view.id), "project": view.project, "stage": view.stage.value,
        "place": completed, "sentence": sentence, "final": view.stage.final, "release": view.release,
        "submitted": view.submitted, "updated": view.updated, "comments": [visible(c) for c in view.comments],
    }  # fmt: skip


def whole(view: JobView) -> dict[str, Any]:
    """A job by itself, with its plan or why there is none."""
    failed = view.failure
    return brief(view) | {
        "plan": None if view.plan is None else _plan(view, view.plan),
        "failure": failed
        and {
            "code": failed.code, "message": visible(failed.message), "next_step": visible(failed.next_step),
            "traceback": visible(failed.traceback[-3_000:]),
        },
    }  # fmt: skip


def _plan(view: JobView, plan: Plan) -> dict[str, Any]:
    """What `tre submit` shows before it asks."""
    return {
        "digest": view.plan_digest,
        "statistics": [list(map(visible, row)) for row in show.requests(plan)],
        "estimates": [list(map(visible, row)) for row in show.estimates(plan)],
        "outputs": [
            {
                "name": o.name, "kind": "declared table" if o.declared else o.kind.value, "context": visible(o.context),
                "verdict": worst(o.findings).value, "findings": [_finding(f) for f in o.findings if f.verdict is not Verdict.PASS],
            }
            for o in plan.outputs
        ],
        "notes": [visible(hint) for hint in plan.advice],
        "costs": [{"said": show.cost(c), "affordable": c.affordable, "left": c.left_epsilon} for c in view.costs],
        "affordable": all(c.affordable for c in view.costs),
        "then": show.then(plan),
        "returned": show.failing(plan),
    }  # fmt: skip


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "verdict": found.verdict.value, "rule": found.rule.value.replace("_", " "), "message": visible(found.message),
        "help": [f"{m.kind.value}: {visible(m.call)}" for m in found.mitigations],
    }  # fmt: skip


def dataset(info: DatasetInfo) -> dict[str, Any]:
    twin = info.twin
    return {
        "id": info.id, "title": visible(info.title), "columns": len(info.columns),
        "tier": twin.tier if twin is not None else None, "says": visible(twin.says(info.id)) if twin is not None else None,
    }  # fmt: skip


def release(info: ReleaseInfo) -> dict[str, Any]:
    return {
        "id": info.id, "project": info.project, "stage": info.stage.value, "since": info.updated,
        "statistics": info.statistics, "outputs": info.outputs,
    }  # fmt: skip


def balance(found: Balance, project: str | None = None) -> dict[str, Any]:
    """An account: epsilon with its delta, and the share that is used, for a bar."""
    return {
        "account": found.account, "kind": found.kind.value.replace("_", " "), "project": project, "delta": f"{found.delta:g}",
        "limit": found.limit_epsilon, "used": found.used_epsilon, "left": found.left_epsilon,
        "share": found.used_units / found.limit_units if found.limit_units else 1.0,
    }  # fmt: skip


def waiting(info: ReviewInfo) -> dict[str, Any]:
    """A request in a checker's queue: which, and nothing of what is in it."""
    return {
        "release": info.release, "project": info.project, "person": info.person, "submitted": info.submitted,
        "statistics": len(info.plan.requests) + len(info.plan.estimates), "outputs": len(info.outputs),
        "voted": info.my_vote is not None,
    }  # fmt: skip


def notice(found: Notice) -> dict[str, Any]:
    return {
        "id": found.id, "at": found.at, "told": found.told.value, "about": found.about, "project": found.project,
        "words": words(found.told, exception=found.exception),
    }  # fmt: skip
