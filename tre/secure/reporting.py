"""`tre-admin twin-report`: where the report of a twin may be written, and that it was made is recorded.

Guarantees: the form with figures of real rows is written into the area's own folder, for its owner alone, and nowhere else;
neither its caller nor the record is told one of them. The publishable form is made first, by functions that are given no
real row. What is compared is the version of the data that the twin was made of, or, where it learnt nothing, the current one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tre.errors import NotFound, PolicyError
from tre.secure import audit
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry


def write(
    context: Context, registry: Registry, name: str, *, out: Path | None, publishable: Path | None
) -> dict[str, Any]:
    """Raises PolicyError where it would leave the area."""
    from tre.secure.data import twin_attack, twin_fidelity, twin_report
    from tre.secure.data.twin_file import read_label

    root = context.area.root.resolve()
    target = (out if out is not None else root / "reports" / f"{name}.html").resolve()
    if not target.is_relative_to(root):
        raise PolicyError(
            "report_stays_inside",
            "This report is of real rows without noise: it stays in the area's folder.",
            "Leave --out away; --publishable writes what may leave.",
        )
    with context.database.read() as connection:
        policies = policy_files.current(connection)
        if name not in policies.datasets:
            raise PolicyError("dataset_unknown", f"No policy declares {name[:80]!r}.", "See policies/datasets.")
        dataset, twin = policies.datasets[name], registry.twin(name)
        label = read_label(twin) if twin.is_file() else None
        if label is None:
            raise NotFound("twin_missing", f"{name!r} has no twin yet.", f"tre-admin twin {name}")
        version = label.version or registry.version(connection, name)
        learnt = registry.learnt_before(connection, dataset, label)
    # 1. What needs no real row.
    found = twin_report.checks(name, dataset, twin, label)
    figures = None if learnt is None else twin_fidelity.open_figures(twin, dataset.table, dataset.twin, learnt)
    if publishable is not None:
        publishable.write_text(twin_report.open_page(name, label, figures, found), "utf-8")
    # 2. What does.
    rows = registry.rows(name, version)
    real = twin_fidelity.inside(rows, twin, dataset.table)
    scores = twin_report.scores(rows, twin, dataset)
    attack = None
    if label.tier == dataset.twin.tier.value:
        scratch, seed = context.area.folder("scratch"), label.seed or 0
        units = label.rho_units
        attack = twin_attack.tried(rows, dataset.table, dataset.twin, rho_units=units, seed=seed, scratch=scratch)
    _write(target, twin_report.inside_page(name, label, figures, real, scores, attack, found))
    with context.database.write() as connection:
        detail = {"publishable": publishable is not None}
        audit.record(connection, at=context.now(), person="admin", event="twin.reported", subject=name, detail=detail)
    return {"dataset": name, "inside": str(target), "publishable": None if publishable is None else str(publishable)}


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    target.unlink(missing_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
