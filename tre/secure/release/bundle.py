"""The bundle of a release: values, outputs, what they came from, and the signed receipt.

Guarantees: everything in it is a function of stored, released values, approved outputs and public facts; the receipt
names every file by SHA-256 and is bound to dataset versions, notebook, plan, policy, ledger entries and the audit log's
head. People are named by identifiers that only the area can resolve.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import secrets
import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import tre
from tre.errors import VerificationFailed
from tre.messages import OutputKind, Plan, PlannedEstimate, Released, ReleasedEstimate, ReleasedOutput, World
from tre.rules import crate
from tre.rules import receipt as receipts
from tre.rules.accounting import epsilon_of
from tre.rules.canonical import canonical_json, digest, digest_bytes
from tre.rules.disclosure import record as records
from tre.rules.ledger import Charge
from tre.rules.policy import Policies
from tre.secure import audit, ledger, ticks
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.jobs import block_store, ended
from tre.secure.jobs.leases import Hold
from tre.secure.release import outputs
from tre.secure.release.planning import Planner
from tre.secure.settings import AreaFolder
from tre.statistics.noise import OPENDP
from tre.statistics.table import Table


class Bundler:
    def __init__(self, context: Context, planner: Planner) -> None:
        self.context = context
        self.planner = planner

    def build(self, release: str, plan: Plan, policies: Policies, *, hold: Hold) -> str:
        """Write the bundle's folder, whole or not at all; returns the receipt's digest. Safe to call again.

        It gets its name in a transaction that `hold` is asked in: what was published is never written again.
        """
        with self.context.database.read() as connection:
            files, statement = self._content(connection, release, plan, policies)
        statement["files"] = receipts.file_digests(files)
        signature = self.context.area.sign(receipts.signed_bytes(statement))
        receipt = {"statement": statement, "key": self.context.area.public_key, "signature": signature}
        files[receipts.RECEIPT] = canonical_json(receipt)
        part = _write(self.folder(release), files)
        try:
            with self.context.database.write() as connection:
                hold(connection)
                shutil.rmtree(self.folder(release), ignore_errors=True)
                part.rename(self.folder(release))
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return digest(receipt)

    def files(self, release: str) -> dict[str, bytes]:
        """What was published, by name."""
        folder = self.folder(release)
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def changed(self, release: str, published: str) -> str | None:
        """What of a release is not as it was published, in words; None if all is. `published`: its receipt's digest."""
        files = self.files(release)
        try:
            receipts.verify(files)
        except VerificationFailed as failed:
            return f"{release}: {failed.message}"
        same = digest_bytes(files[receipts.RECEIPT]) == published
        return None if same else f"{release}: {receipts.RECEIPT} is not the one that was published."

    def commitment(self, release: str) -> str:
        """What a published receipt says of the audit log."""
        receipt = json.loads((self.folder(release) / receipts.RECEIPT).read_bytes())
        return str(receipt["statement"]["audit"])

    def folder(self, release: str) -> Path:
        return self.context.area.folder("releases") / release

    def _content(
        self, connection: sa.Connection, release: str, plan: Plan, policies: Policies
    ) -> tuple[dict[str, bytes], dict[str, Any]]:
        values = [self._value(connection, plan, r.dataset_version, r.digest) for r in plan.requests]
        estimated = [self._estimate(connection, plan, e.digest) for e in plan.estimates]
        entries = {int(e.position): e for e in ledger.entries(connection, release)}
        approved = [o for o in outputs.stored(connection, release) if o.sha256]
        files = self._files(connection, plan, policies, values, approved, estimated)
        votes = connection.execute(
            sa.select(tables.votes.c.person).where(tables.votes.c.release == release).order_by(tables.votes.c.person)
        )
        deciders = [self.context.area.identifier("person", v.person) for v in votes]
        seq, head = audit.head(connection)
        statement: dict[str, Any] = {
            "version": 1,
            "release": release,
            "released": ticks.moment(self.context, connection),
            "area": policies.area.title,
            "controller": policies.area.controller,
            "project": plan.project,
            "researcher": self.context.area.identifier("person", plan.person),
            "notebook": plan.notebook,
            "plan": digest(plan.model_dump(mode="json")),
            "datasets": plan.datasets,
            "policy": plan.policy,
            "isolation": policies.area.sandbox.isolation.value,
            "software": {"tre": tre.__version__, "opendp": OPENDP, "python": platform.python_version()},
            "decision": "automatic, by policy" if plan.automatic else "two output checkers",
            "decided_by": deciders,
            "statistics": [_statistic(self.context.area, r, values[i], entries.get(i), policies) for i, r in enumerate(plan.requests)],
            "outputs": [
                {"name": o.name, "kind": o.kind, "sha256": o.sha256, "findings": records.told(outputs.findings(o)),
                 "guarantee": "none: an output without noise, approved by two people"}
                for o in approved
            ],
            "audit": self.context.area.commitment(seq, head),
        }  # fmt: skip
        job = connection.execute(sa.select(tables.releases.c.job).where(tables.releases.c.id == release)).scalar_one()
        run = ended.for_receipt(connection, policies, job, plan)
        if run is not None:
            statement["run"] = run.value
        if plan.blocks is not None:
            statement["blocks"] = plan.blocks.model_dump(mode="json")
            statement["estimates"] = [
                _estimated(self.context.area, plan, e, estimated[i], entries.get(len(plan.requests) + i), policies)
                for i, e in enumerate(plan.estimates)
            ]
        record = records.record(statement, policies, outputs.thresholds(policies, plan.project), _applied(plan))
        files[records.NAME] = canonical_json(record)
        sizes = {name: len(content) for name, content in files.items()}
        files[crate.NAME] = canonical_json(crate.metadata(statement, policies, sizes, plan.parameters))
        return files, statement

    def _estimate(self, connection: sa.Connection, plan: Plan, name: str) -> ReleasedEstimate | None:
        row = ledger.stored(connection, project=plan.project, version=block_store.version(plan), digest=name)
        return ReleasedEstimate.model_validate_json(str(row.value)) if row is not None else None

    def _value(self, connection: sa.Connection, plan: Plan, version: str, request: str) -> Released | None:
        row = ledger.stored(connection, project=plan.project, version=version, digest=request)
        return Released.model_validate_json(str(row.value)) if row is not None else None

    def _files(
        self,
        connection: sa.Connection,
        plan: Plan,
        policies: Policies,
        values: list[Released | None],
        approved: list[sa.Row[Any]],
        estimated: list[ReleasedEstimate | None],
    ) -> dict[str, bytes]:
        there = [v for v in values if v is not None]
        over_blocks = [v for v in estimated if v is not None]
        area = self.context.area
        files = {
            "values.json": canonical_json(
                {
                    "released": [v.model_dump(mode="json") for v in there],
                    "estimates": [v.model_dump(mode="json") for v in over_blocks],
                }
            ),
            "plan.json": canonical_json(plan.model_dump(mode="json")),
            "notebook.ipynb": (area.folder("notebooks") / f"{plan.notebook}.ipynb").read_bytes(),
        }
        for planned, value in zip(plan.requests, values, strict=True):
            if value is not None:
                files[f"values/{planned.name}.csv"] = _csv(value.table)
        files |= {f"values/{v.name}.csv": _estimate_csv(v) for v in over_blocks}
        public = []
        for o in approved:
            name = f"outputs/{o.name}.{OutputKind(o.kind).suffix}"
            files[name] = outputs.content(self.context, o.sha256)
            item = ReleasedOutput(name=o.name, kind=OutputKind(o.kind), context=o.context, file=name)
            public.append(item.model_dump(mode="json"))
        files["outputs.json"] = canonical_json({"outputs": public})
        infos = self.planner.manifest(connection, policies, plan.project, World.DESK, versions=plan.datasets).datasets
        for name in {r.request.dataset for r in plan.requests} | set(plan.blocks.datasets if plan.blocks else ()):
            files[f"datasets/{name}.json"] = canonical_json(infos[name].model_dump(mode="json"))
        return files


def _applied(plan: Plan) -> dict[str, dict[str, Any]]:
    """What trusted code did to declared tables, as the plan says; nothing is known to have been done to others."""
    return {
        o.name: {"computed_by": "trusted code", "suppressed": o.declared.suppress, "rounded_to": o.declared.round_to}
        for o in plan.outputs
        if o.declared is not None
    }


def _statistic(
    area: AreaFolder, planned: Any, value: Released | None, entry: sa.Row[Any] | None, policies: Policies
) -> dict[str, Any]:
    delta = policies.populations[planned.population].lifetime.delta
    charged = entry is not None and entry.state in (Charge.RELEASED, Charge.LOST)
    return {
        "name": planned.name,
        "request": planned.digest,
        "dataset": planned.request.dataset,
        "dataset_version": planned.dataset_version,
        "population": planned.population,
        "state": "released" if value is not None else "lost: charged and drawn, interrupted before it was stored",
        "first_released_in": value.release if value is not None else None,
        "charged_rho": f"{planned.rho_units if charged else 0}e-12",
        "charged_epsilon": round(epsilon_of(planned.rho_units, delta), 6) if charged else 0,
        "delta": delta,
        "ledger_entry": area.identifier("ledger", str(entry.id)) if charged and entry is not None else None,
        "guarantee": "differential privacy: zCDP by OpenDP's discrete Gaussian, neighbours differ by one person",
        "mechanisms": [m.model_dump(mode="json") for m in value.table.mechanisms] if value is not None else [],
        "table": value.table.digest if value is not None else None,
    }


def _estimated(
    area: AreaFolder,
    plan: Plan,
    planned: PlannedEstimate,
    value: ReleasedEstimate | None,
    entry: sa.Row[Any] | None,
    policies: Policies,
) -> dict[str, Any]:
    if plan.blocks is None:
        raise RuntimeError("a plan with estimates has blocks")
    delta = policies.populations[plan.blocks.population].lifetime.delta
    charged = entry is not None and entry.state in (Charge.RELEASED, Charge.LOST)
    return {
        "name": planned.name,
        "estimate": planned.digest,
        "population": plan.blocks.population,
        "state": "released" if value is not None else "lost: charged and drawn, interrupted before it was stored",
        "first_released_in": value.release if value is not None else None,
        "charged_rho": f"{planned.rho_units if charged else 0}e-12",
        "charged_epsilon": round(epsilon_of(planned.rho_units, delta), 6) if charged else 0,
        "delta": delta,
        "ledger_entry": area.identifier("ledger", str(entry.id)) if charged and entry is not None else None,
        "guarantee": "differential privacy: the notebook ran on disjoint blocks of people, each in a sandbox of its own; one "
        "person changes one block's numbers, combined with OpenDP's noise",
        "value": digest(value.model_dump(mode="json")) if value is not None else None,
    }


def _estimate_csv(found: ReleasedEstimate) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["estimate", "number", "value", "low", "high"])
    for i, (value, low, high) in enumerate(zip(found.values, found.low, found.high, strict=True)):
        writer.writerow([found.name, i, value, *("" if end is None else end for end in (low, high))])
    return buffer.getvalue().encode()


def _csv(table: Table) -> bytes:
    """Plot-ready: a row a number."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*table.columns, "statistic", "bin_low", "bin_high", "value", "error", "low", "high"])
    for c in table.cells:
        low, high = c.bin or ("", "")
        keys = ["(missing)" if k is None else k for k in c.keys]
        numbers = ["" if v is None else v for v in (c.value, c.error, c.low, c.high)]
        writer.writerow([*keys, c.statistic, low, high, *numbers])
    return buffer.getvalue().encode()


def _write(target: Path, files: dict[str, bytes]) -> Path:
    """Beside it, by a name of its own, which is returned."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    for name, content in files.items():
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return part
