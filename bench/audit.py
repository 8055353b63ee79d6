"""The audit log as it grows to a million entries: an append, a head with its proof, a first head, the whole check.

The entries are made by the log's own code in one transaction a size, as a million durable ones would measure the disk. At
each size: how long one more append takes, how long a signed head with a consistency proof about an earlier one takes and how
many hashes the proof has, how long a head without an earlier one takes (it reads all hashes), and how long the
whole log's verification. The first two must not grow with the log, or hardly.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console

from bench import report
from bench.measure import ROOT, say
from tre.rules.audit import entry_hash
from tre.rules.canonical import canonical_json
from tre.rules.heads import as_json
from tre.secure import audit
from tre.secure.database import tables
from tre.secure.services import Services, create
from tre.terminal import table

SIZES, QUICK = (1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000)
AT = "2030-01-01T00:00:00Z"
CHUNK = 50_000


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    """Writes JSON and a plot beside the results of the other subjects."""
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 130)
    before = report.machine()
    services = create(folder / "audit")
    services.apply(ROOT / "policies", dry_run=False)
    found = [_at(services, size, repeats or 5) for size in (QUICK if quick else SIZES)]
    services.close()
    columns = (
        "entries",
        "append ms",
        "head and proof ms",
        "hashes in it",
        "first head s",
        "verify s",
        "entries/s verified",
    )
    rows = [
        (f"{f['entries']:,}", f"{f['append_ms']:.2f}", f"{f['head_ms']:.1f}", f["hashes"], f"{f['first_head_s']:.2f}", f"{f['verify_s']:.2f}", f"{f['entries'] / f['verify_s']:,.0f}")
        for f in found
    ]  # fmt: skip
    console.print(table("The audit log", columns, rows))
    at = datetime.now(UTC).isoformat(timespec="seconds")
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"audit-{at.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(json.dumps({"at": at, "subject": "audit", "machine": before, "results": found}, indent=1) + "\n")
    _plot(found, path.with_suffix(".png"))
    console.print(f"{path}\n{path.with_suffix('.png')}")


def _at(services: Services, size: int, repeats: int) -> dict[str, Any]:
    say(f"audit: {size:,} entries")
    _fill(services, size)
    services.audit_head()  # the tree is stored up to here
    began = time.perf_counter()
    earlier = as_json(services.audit_head()).encode()
    first = time.perf_counter() - began
    appends, heads, hashes = [], [], 0
    for i in range(repeats):
        began = time.perf_counter()
        with services.context.database.write() as connection:
            audit.record(connection, at=AT, person="bench", event="bench.more", subject=f"more-{i}")
        appends.append(time.perf_counter() - began)
        began = time.perf_counter()
        hashes = len(services.audit_head(earlier)["since"]["proof"])
        heads.append(time.perf_counter() - began)
    began = time.perf_counter()
    verdict = services.verify_audit({"earlier": earlier})
    took = time.perf_counter() - began
    if verdict["first_broken"] is not None or verdict["does_not_fit"] is not None:
        raise SystemExit(f"the log does not fit: {verdict}")
    median = sorted(appends)[len(appends) // 2], sorted(heads)[len(heads) // 2]
    return {
        "entries": size,
        "append_ms": 1e3 * median[0],
        "head_ms": 1e3 * median[1],
        "hashes": hashes,
        "first_head_s": first,
        "verify_s": took,
    }


def _fill(services: Services, size: int) -> None:
    """Up to `size` entries, hashed as `audit.record` does."""
    with services.context.database.write() as connection:
        seq, previous = audit.head(connection)
        while seq < size:
            rows = []
            for _ in range(min(CHUNK, size - seq)):
                seq += 1
                entry = (seq, AT, "bench", "bench.entry", f"subject-{seq}", {})
                new = entry_hash(*entry, previous)
                names = ("seq", "at", "person", "event", "subject")
                detail = {"detail": canonical_json({}).decode(), "previous": previous, "hash": new}
                rows.append(dict(zip(names, entry[:5], strict=True)) | detail)
                previous = new
            connection.execute(sa.insert(tables.audit), rows)


def _plot(found: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    sizes = [f["entries"] for f in found]
    panels = (
        ("append_ms", "one append, ms"), ("hashes", "hashes in a proof"), ("head_ms", "head with its proof, ms"),
        ("verify_s", "whole check, s"),
    )  # fmt: skip
    for panel, (name, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        panel.plot(sizes, [f[name] for f in found], "o-")
        panel.set(xscale="log", xlabel="entries", title=label, ylim=(0, None))
    figure.savefig(path, dpi=110)
