"""The audit log as it grows to a million entries: an append, a head with its proof, a first head, the whole check.

The entries are made by the log's own code in one transaction a size, as a million durable ones would measure the disk. At
each size: how long one more append takes, how long a signed head with a consistency proof about an earlier one takes and how
many hashes the proof has, how long a head without an earlier one takes (it reads all hashes), and how long the
whole log's verification. The first two must not grow with the log, or hardly.

Then proofs of the largest log, about heads of many lengths, few of them a round number: that an entry anywhere is in a head
(inclusion), and that a head begins with an earlier one, anywhere (consistency). How many hashes they have, and how long it takes to
make one from what is stored. Both must grow with the logarithm. Each proof is checked.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console

from bench import report
from bench.measure import ROOT, say
from tre.rules import merkle
from tre.rules.audit import entry_hash
from tre.rules.canonical import canonical_json
from tre.rules.heads import as_json
from tre.secure import audit, tree
from tre.secure.database import tables
from tre.secure.services import Services, create
from tre.terminal import table

SIZES, QUICK = (1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000)
AT = "2030-01-01T00:00:00Z"
CHUNK = 50_000
# Heads whose proofs are measured, and how many proofs of each kind about one.
HEADS, PROOFS, SEED = 60, 20, 20261126


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    """Writes JSON and a plot beside the results of the other subjects."""
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 130)
    before = report.machine()
    services = create(folder / "audit")
    services.apply(ROOT / "policies", dry_run=False)
    found = [_at(services, size, repeats or 5) for size in (QUICK if quick else SIZES)]
    proofs = _proofs(services)
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
    shown = [proofs[i] for i in range(0, len(proofs), max(1, len(proofs) // 12))]
    kinds = ("inclusion", "consistency")
    console.print(
        table(
            f"Proofs, the largest and the median time of {PROOFS} about each head",
            ("entries", "log2", *(f"{k} {what}" for k in kinds for what in ("hashes", "ms"))),
            [
                (f"{p['entries']:,}", f"{math.log2(p['entries']):.1f}", *(f"{p[k][what]:.3g}" for k in kinds for what in ("hashes", "ms")))
                for p in shown
            ],
        )
    )  # fmt: skip
    path.write_text(
        json.dumps({"at": at, "subject": "audit", "machine": before, "results": found, "proofs": proofs}, indent=1)
        + "\n"
    )
    drawn = (path.with_suffix(".png"), path.with_name(f"{path.stem}-proofs.png"))
    _plot(found, drawn[0])
    _plot_proofs(proofs, drawn[1])
    console.print("\n".join(map(str, (path, *drawn))))


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


def _proofs(services: Services) -> list[dict[str, Any]]:
    """Of heads of about evenly spread logarithms, up to the log as it is."""
    chance = random.Random(SEED)  # noqa: S311  # which proofs are measured, and no secret
    with services.context.database.write() as connection:
        whole = tree.extend(connection)
        say(f"audit: proofs about heads of up to {whole:,} entries")
        spread = (round(10 * (whole / 10) ** (i / (HEADS - 1))) for i in range(HEADS))
        return [_of_head(tree.getter(connection), size, chance) for size in sorted(set(spread))]


def _of_head(get: merkle.Get, size: int, chance: random.Random) -> dict[str, Any]:
    root = merkle.root(size, get)
    of: dict[str, list[tuple[int, float]]] = {"inclusion": [], "consistency": []}
    for _ in range(PROOFS):
        index, old = chance.randrange(size), chance.randrange(1, size)
        path, took = _best(lambda index=index: merkle.inclusion(index, size, get))
        of["inclusion"].append((len(path), took))
        proof, took = _best(lambda old=old: merkle.consistency(old, size, get))
        of["consistency"].append((len(proof), took))
        if not (
            merkle.includes(get(0, index), index, size, path, root)
            and merkle.consistent(old, merkle.root(old, get), size, root, proof)
        ):
            raise SystemExit(f"a proof about the head of {size} entries does not hold")
    return {"entries": size} | {
        kind: {"hashes": max(h for h, _ in found), "ms": 1e3 * sorted(t for _, t in found)[len(found) // 2]}
        for kind, found in of.items()
    }


def _best(make: Callable[[], list[bytes]]) -> tuple[list[bytes], float]:
    """A proof, and the least processor time of three: what else the machine does is not its subject."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        proof = make()
        times.append(time.thread_time() - began)
    return proof, min(times)


def _plot_proofs(proofs: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    sizes = [p["entries"] for p in proofs]
    panels = (("hashes", "hashes in the longest proof"), ("ms", "making one, ms of a processor (median)"))
    for panel, (what, label) in zip(figure.subplots(1, 2), panels, strict=True):
        for kind, mark in (("inclusion", "o"), ("consistency", "s")):
            panel.plot(sizes, [p[kind][what] for p in proofs], mark, markersize=3, label=kind)
        if what == "hashes":
            panel.plot(
                sizes, [math.log2(s) for s in sizes], "--", color="#6b6b6b", linewidth=1, label="log2 of the entries"
            )
        panel.set(xscale="log", xlabel="entries of the log", title=label, ylim=(0, None))
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=100, metadata={"Software": None})


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
