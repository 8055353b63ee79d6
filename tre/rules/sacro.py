"""SACRO's package: ACRO's `results.json` with its checksums and configuration, written and read; bytes in, bytes out.

Guarantees: what is written is what SACRO-Viewer's loading code asks for (version, results, files, checksums, cells by
position), with our findings in ACRO's words. What is read is a claim: a notebook's own process wrote it, and it is told to
people beside what our rules say, never in their place.
Positions: ACRO counts columns after the first, which it takes for the row's label; ours count all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tre.rules.canonical import canonical_json
from tre.rules.disclosure.finding import VOCABULARY, Finding, Mitigate, Statbarn, Verdict, worst
from tre.rules.policy import Disclosure

# Of the format: the ACRO whose files these are like.
FORMAT = "1.0.2"
RESULTS, CONFIG = "results.json", "config.json"
MAX_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class Item:
    """An output to be packed. `file`: its name; `made`: when, ISO 8601; `command`: what asked for it."""

    name: str
    kind: str
    file: str
    content: bytes
    context: str
    command: str
    made: str
    findings: tuple[Finding, ...]


def package(items: Sequence[Item], limits: Disclosure) -> dict[str, bytes]:
    """All files of the package, by path."""
    files = {i.file: i.content for i in items}
    taken = {RESULTS, CONFIG, "outputs.json"} & set(files)
    if taken or len(files) < len(items):
        raise ValueError("an output's file has a name that the package needs")
    files |= {
        f"checksums/{name}.txt": hashlib.sha256(content).hexdigest().encode() for name, content in list(files.items())
    }
    results = {"version": FORMAT, "tool": "tre", "results": {i.name: _result(i) for i in items}}
    return files | {RESULTS: canonical_json(results), CONFIG: canonical_json(_config(limits))}


def _result(item: Item) -> dict[str, Any]:
    bad = [f for f in item.findings if f.verdict is not Verdict.PASS]
    terms = list(dict.fromkeys(f.statbarn for f in item.findings if f.statbarn is not None))
    return {
        "uid": item.name,
        "status": worst(item.findings).value,
        "type": {"table": "table", "model": "regression", "figure": "plot"}.get(item.kind, "custom"),
        "properties": {"method": item.kind},
        "files": [{"name": item.file, "sdc": _sdc(bad)}],
        "outcome": {},
        "command": item.command,
        "summary": "; ".join(f"{f.verdict.value}: {f.rule.value}: {f.message}" for f in bad) or "pass",
        "timestamp": item.made,
        "comments": [item.context],
        "exception": "",
        "fair": _fair(item.findings, terms),
    }


def _sdc(bad: Sequence[Finding]) -> dict[str, Any]:
    cells: dict[str, list[list[int]]] = {}
    for f in bad:
        cells.setdefault(f.rule.value, []).extend([p.row, p.column - 1] for p in f.cells)
    return {"summary": {"suppressed": False} | {f.rule.value: f.count for f in bad}, "cells": cells}


def _fair(findings: Sequence[Finding], terms: Sequence[Statbarn]) -> dict[str, Any]:
    return {
        "context": VOCABULARY,
        "statbarn": [t.uri for t in terms],
        "risks": sorted({VOCABULARY + f.risk for f in findings if f.risk is not None}),
        "checks_needed": sorted({f.rule.value for f in findings}),
        "check_status": {f.rule.value: f.verdict.value for f in sorted(findings, key=lambda f: f.verdict.rank)},
        "common_mitigations": sorted({m.kind.value for f in findings for m in f.mitigations} & set(_KNOWN)),
    }


_KNOWN = (Mitigate.SUPPRESS.value, Mitigate.ROUND.value, Mitigate.NOISE.value)


def _config(limits: Disclosure) -> dict[str, Any]:
    """The thresholds by ACRO's names."""
    return {
        "safe_threshold": limits.threshold,
        "safe_dof_threshold": limits.degrees_of_freedom,
        "safe_nk_n": limits.dominance_n,
        "safe_nk_k": limits.dominance_k,
        "safe_pratio_p": limits.p_percent,
        "check_missing_values": limits.missing,
        "zeros_are_disclosive": limits.zeros.value != "allow",
        "safe_round_base": limits.round_to,
    }


# Reading


class _Open(BaseModel):
    """A shape of which only these fields are read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _File(_Open):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_. -]{0,127}$")]


class _Result(_Open):
    status: Literal["pass", "review", "fail"]
    summary: str = Field(default="", max_length=10_000)
    command: str = Field(default="", max_length=100_000)
    comments: tuple[str, ...] = ()
    exception: str | None = None
    files: tuple[_File, ...] = Field(min_length=1, max_length=50)


class _Results(_Open):
    version: str
    results: dict[str, _Result] = Field(max_length=500)


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """What ACRO wrote in a notebook's process about one output."""

    status: Verdict
    files: tuple[str, ...]
    summary: str
    comments: tuple[str, ...]
    exception: str

    def said(self) -> str:
        """For the checkers, beside the context."""
        why = f", and asks for an exception: {self.exception}" if self.exception else ""
        return f"ACRO, in the notebook's own process, says {self.status.value} ({self.summary or 'no summary'}){why}."


def read(content: bytes) -> Mapping[str, Claimed]:
    """The outputs of a `results.json`. Raises ValueError for what is none."""
    if len(content) > MAX_BYTES:
        raise ValueError("it is too large")
    try:
        found = _Results.model_validate(json.loads(content))
    except (ValidationError, UnicodeDecodeError, RecursionError, json.JSONDecodeError):
        raise ValueError("it is not a results.json of ACRO") from None
    return {
        name: Claimed(
            status=Verdict(r.status), files=tuple(f.name for f in r.files), summary=r.summary[:500],
            comments=r.comments, exception=(r.exception or "")[:500],
        )
        for name, r in found.results.items()
    }  # fmt: skip
