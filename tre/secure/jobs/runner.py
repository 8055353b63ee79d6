"""One notebook in one sandbox: lays out what it may see, runs it, and reads what it wrote as a claim.

Guarantees: a sandbox finds the manifest, the project's columns of the project's datasets (twins or real), the notebook's
submitted bytes and its parameters, and nothing else. What comes back is parsed strictly; anything malformed is as if it
had not been said.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tre.errors import SandboxError
from tre.messages import Emitted, EmittedOutput, Failure, Manifest, Progress, World
from tre.rules import policy
from tre.rules.told import RunEnd
from tre.secure.jobs import collect
from tre.secure.jobs.engine import Attempt, Engine
from tre.secure.jobs.sandbox import Ended, Limits

MAX_EMITTED = 4 * 2**20
MAX_OUTPUT = 20 * 2**20


@dataclass(frozen=True, kw_only=True)
class Ran:
    """`emitted` and `failure` are the sandbox's claims; `ended` and `diagnostics` the supervisor's own words."""

    ended: Ended
    memory_ran_out: bool
    diagnostics: str
    emitted: Emitted | None
    failure: Failure | None
    outbox: Path

    @property
    def how(self) -> RunEnd:
        """The class of its end, by the supervisor."""
        if self.ended is Ended.FAILED and self.memory_ran_out:
            return RunEnd.OUT_OF_MEMORY
        return {Ended.FINISHED: RunEnd.FINISHED, Ended.TIMED_OUT: RunEnd.TIMED_OUT}.get(self.ended, RunEnd.FAILED)

    def output(self, item: EmittedOutput) -> bytes | None:
        try:
            return collect.read(self.outbox, item.file, max_bytes=MAX_OUTPUT)
        except SandboxError:
            return None


def run(
    folder: Path,
    *,
    manifest: Manifest,
    files: dict[str, Path],
    notebook: bytes,
    parameters: str,
    limits: policy.Sandbox,
    engine: Engine,
    cancelled: threading.Event,
) -> Ran:
    """Have `folder` (new) laid out, run the notebook in it, read the outbox. Blocks until the sandbox has ended.

    Raises what the engine raises: AttemptLost, SandboxError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    # Of attempts whose worker was killed: nobody hears them, and no rows stay behind for them.
    for left in folder.parent.glob("*/data"):
        shutil.rmtree(left, ignore_errors=True)

    def fill(folder: Path) -> None:
        (folder / "in" / "notebook.ipynb").write_bytes(notebook)
        (folder / "in" / "parameters.json").write_text(parameters)
        (folder / "data" / "manifest.json").write_text(manifest.model_dump_json())
        for name, source in files.items():
            os.link(source, folder / "data" / f"{name}.parquet")

    outbox = folder / "out"
    try:
        outcome = engine.run(Attempt(folder=folder, fill=fill, limits=limits_of(limits)), cancelled)
    finally:
        shutil.rmtree(folder / "data", ignore_errors=True)
    return Ran(
        ended=outcome.ended,
        memory_ran_out=outcome.memory_ran_out,
        diagnostics=outcome.diagnostics,
        emitted=_emitted(outbox),
        failure=_failure(outbox, outcome.ended) if manifest.world is World.REHEARSAL else None,
        outbox=outbox,
    )


def rehearsal_folder(jobs: Path, job: Any) -> Path:
    return jobs / str(job.id) / f"rehearsal-{job.attempt}"


def progress(jobs: Path, job: Any) -> Progress | None:
    """How far the rehearsal of this row is, by its sandbox's own claim; it saw the twin alone."""
    content = _read(rehearsal_folder(jobs, job) / "out", "progress.json")
    try:
        return None if content is None else Progress.model_validate_json(content)
    except ValidationError:
        return None


def limits_of(limits: policy.Sandbox) -> Limits:
    return Limits(
        wall_seconds=limits.wall_seconds,
        cpu_seconds=limits.cpu_seconds,
        memory_mb=limits.memory_mb,
        outbox_mb=limits.outbox_mb,
        isolation=limits.isolation,
    )


def _emitted(outbox: Path) -> Emitted | None:
    content = _read(outbox, "emitted.json")
    if content is None:
        return Emitted()
    try:
        return Emitted.model_validate_json(content)
    except ValidationError:
        return None


def _failure(outbox: Path, ended: Ended) -> Failure | None:
    """Why a rehearsal did not finish, in the notebook's own words where there are any."""
    if ended is Ended.FINISHED:
        return None
    content = _read(outbox, "failure.json")
    try:
        if content is not None:
            return Failure(**{k: str(v) for k, v in json.loads(content).items()})
    except (ValueError, TypeError, AttributeError, ValidationError):
        pass
    if ended is Ended.TIMED_OUT:
        return Failure(
            code="rehearsal_timed_out",
            message="The rehearsal took longer than the area allows, or used more processor time.",
            next_step="Make the notebook quicker on the twin; an admin sets the limits in area.yaml.",
        )
    return Failure(
        code="rehearsal_stopped",
        message="The rehearsal was stopped: out of memory, too much written, or killed by the notebook itself.",
        next_step="Try the notebook at the desk and watch its memory; an admin sets the limits in area.yaml.",
    )


def _read(outbox: Path, name: str) -> bytes | None:
    try:
        return collect.read(outbox, name, max_bytes=MAX_EMITTED)
    except (SandboxError, FileNotFoundError):
        return None
