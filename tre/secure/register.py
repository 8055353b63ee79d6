"""The public register: which projects use what, why, and what it has cost and released; a folder of static files.

Guarantees: made of applied policies and of what the desk already sees as released, and of nothing else: no name of a
person, no pending job, no reservation; the page is escaped text (rules.page). Fields carry the names of HDR UK's data
use register (specification 2) where it has them.
Not done here: publishing it. Whoever runs the area puts the folder on a web server, and may read it first.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import tre
from tre.errors import Conflict
from tre.messages import Plan, Stage
from tre.rules import page
from tre.rules.accounting import epsilon_of
from tre.rules.ledger import Charge
from tre.rules.page import Look, Markup, Tag, element
from tre.rules.policy import Policies, Population
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.jobs.queue import Queue

FILES = ("index.html", "register.json")
ENDED = (Charge.RELEASED, Charge.LOST)
PROTECTION = (
    "Notebooks run on the real rows in a sandbox without a network. Statistics leave with differential privacy noise, paid "
    "from the population's budget; outputs without noise leave when two output checkers approved them."
)


def write(context: Context, queue: Queue, folder: Path) -> dict[str, Any]:
    """Writes the register into `folder`, new or made by this before; returns what register.json holds."""
    if folder.exists() and any(p.name not in FILES for p in folder.iterdir()):
        raise Conflict("folder_used", f"{folder} holds other files.", "Name an empty or new folder for the register.")
    content = _content(context, queue)
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    part.mkdir(parents=True)
    (part / "register.json").write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")
    (part / "index.html").write_text(_page(content), "utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    part.replace(folder)
    return content


def _content(context: Context, queue: Queue) -> dict[str, Any]:
    with context.database.read() as connection:
        policies = policy_files.current(connection)
        released = _released(connection, queue)
        projects = [_project(name, policies, released) for name in sorted(policies.projects)]
        told = _told(connection, queue)
        populations = [_population(connection, name, p, told) for name, p in policies.populations.items()]
        return {
            "title": policies.area.title, "controller": policies.area.controller, "made": context.now()[:10],
            "receipt_key": context.area.public_key, "made_by": f"tre {tre.__version__}",
            "populations": populations, "projects": projects,
        }  # fmt: skip


def _released(connection: sa.Connection, queue: Queue) -> list[dict[str, Any]]:
    """What the desk sees as released, oldest first."""
    r, found = tables.releases, []
    for row in connection.execute(sa.select(r).order_by(r.c.created_at, r.c.id)).all():
        stage, since = queue.visible(connection, str(row.job))
        if stage not in (Stage.RELEASED, Stage.REVOKED):
            continue
        plan = Plan.model_validate_json(queue.row(connection, str(row.job)).plan)
        found.append(
            {
                "release": row.id, "project": row.project, "date": _date(since), "revoked": stage is Stage.REVOKED, "receipt_sha256": row.bundle,
                "statistics_with_noise": len(plan.requests) + len(plan.estimates), "outputs_without_noise": len(plan.outputs),
                "datasets": sorted(plan.datasets),
            }
        )  # fmt: skip
    return found


def _told(connection: sa.Connection, queue: Queue) -> list[str]:
    """Releases whose end is told, well or badly: what they have spent is no secret any more."""
    r = tables.releases
    rows = connection.execute(sa.select(r.c.id, r.c.job)).all()
    return [
        str(row.id)
        for row in rows
        if queue.visible(connection, str(row.job))[0] in (Stage.RELEASED, Stage.REVOKED, Stage.FAILED)
    ]


def _date(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _project(name: str, policies: Policies, released: list[dict[str, Any]]) -> dict[str, Any]:
    project = policies.projects[name]
    mine = [{k: v for k, v in r.items() if k != "project"} for r in released if r["project"] == name]
    return {
        "project_id_text": name, "project_title": project.title, "lay_summary": project.lay_summary.strip(),
        "technical_summary": project.purpose, "public_benefit_statement": project.public_benefit,
        "legal_basis": project.legal_basis, "agreement": project.agreement,
        "organisation_name": policies.area.controller, "project_start_date": project.starts.isoformat(),
        "project_end_date": project.ends.isoformat(), "access_type": "TRE", "privacy_enhancements": PROTECTION,
        "datasets": [{"id": d, "title": policies.datasets[d].title} for d in sorted(project.datasets)],
        "allowances": {p: loss.model_dump() for p, loss in project.allowances.items()}, "releases": mine,
    }  # fmt: skip


def _population(connection: sa.Connection, name: str, policy: Population, told: list[str]) -> dict[str, Any]:
    """The promise, and what twins and releases have spent of it, those that failed with them."""
    e = tables.ledger
    public = e.c.release.in_(told) | e.c.release.is_(None)
    which = (e.c.population == name) & e.c.state.in_(ENDED) & public
    units = connection.execute(sa.select(sa.func.coalesce(sa.func.sum(e.c.rho_units), 0)).where(which)).scalar_one()
    return {
        "id": name, "title": policy.title, "measure": policy.measure.value, "lifetime": policy.lifetime.model_dump(),
        "spent_epsilon": round(epsilon_of(int(units), policy.lifetime.delta), 6),
    }  # fmt: skip


# The page


def _page(content: Mapping[str, Any]) -> str:
    parts = [
        element(Tag.HEADING, f"Register of data uses: {content['title']}"),
        element(Tag.PARAGRAPH, f"{content['controller']}. As of {content['made']}. {PROTECTION}"),
        element(Tag.PARAGRAPH, f"The key of its receipts: {content['receipt_key']}", look=Look.NOTE),
        element(Tag.SUBHEADING, "Whose data, and what may ever be learnt"),
        *(element(Tag.PARAGRAPH, _spent(p)) for p in content["populations"]),
        *(_section(p) for p in content["projects"]),
    ]
    return page.document(f"Register of data uses: {content['title']}", *parts)


def _spent(p: Mapping[str, Any]) -> str:
    limit = p["lifetime"]
    return (
        f"{p['title']} ({p['id']}): epsilon {p['spent_epsilon']:g} of {limit['epsilon']:g} spent, at delta "
        f"{limit['delta']:g}, over all projects and all time."
    )


def _section(p: Mapping[str, Any]) -> Markup:
    facts = [
        ("What for", p["lay_summary"]), ("Purpose", p["technical_summary"]), ("Public benefit", p["public_benefit_statement"]),
        ("Legal basis", p["legal_basis"]), ("From, to", f"{p['project_start_date']} to {p['project_end_date']}"),
        ("Data", ", ".join(f"{d['title']} ({d['id']})" for d in p["datasets"])),
    ]  # fmt: skip
    told = [element(Tag.PARAGRAPH, f"{name}: {text}") for name, text in facts]
    released = [element(Tag.PARAGRAPH, _release(r)) for r in p["releases"]]
    none = element(Tag.PARAGRAPH, "Nothing has been released yet.", look=Look.NOTE)
    head = element(Tag.SUBHEADING, f"{p['project_title']} ({p['project_id_text']})")
    return element(Tag.SECTION, head, *told, element(Tag.LABEL, "Released"), *(released or [none]))


def _release(r: Mapping[str, Any]) -> str:
    return (
        f"{r['date']}: {r['release']}{' REVOKED' if r['revoked'] else ''}, {r['statistics_with_noise']} statistics with noise, {r['outputs_without_noise']} "
        f"outputs without, from {', '.join(r['datasets'])}; receipt {r['receipt_sha256']}"
    )
