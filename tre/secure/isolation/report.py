"""Makes all attempts in the cage and in the control arm, and says for each whether it was stopped.

Guaranteed: an attempt that got through, or that failed by its own fault, or that left no result, is never told as
stopped; one that does not succeed in the control arm is told as stopped without that proof. A box is made by the same
`sandbox.run` as a job's.
Not done here: deciding what follows (`refuse_leaks` in `start`, and the exit code of the command, do).
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tre.errors import SandboxError
from tre.rules.policy import Isolation
from tre.secure.isolation import bait as baits
from tre.secure.isolation.attempts import ATTEMPTS, Attempt, Judge
from tre.secure.isolation.attempts.harness import BROKEN, REACHED, STOPPED
from tre.secure.isolation.bait import Arm, Bait
from tre.secure.jobs import collect, sandbox, zygote
from tre.secure.jobs.box import JOB_USER, as_root
from tre.secure.jobs.groups import Groups
from tre.secure.jobs.sandbox import Box, Ended, Limits, Outcome

LIMITS = Limits(wall_seconds=120, cpu_seconds=60, memory_mb=512, outbox_mb=16)
ALONE = Limits(wall_seconds=60, cpu_seconds=60, memory_mb=256, outbox_mb=2)
SHORT = Limits(wall_seconds=1, cpu_seconds=60, memory_mb=256, outbox_mb=2)
READ_AT_MOST = 1 << 20
CONTROL_SECONDS = 180
_WORDS = {*errno.errorcode.values(), *(s.name for s in signal.Signals), "-", "RuntimeError", "MemoryError", "Stopped"}


class Verdict(StrEnum):
    STOPPED = "stopped"
    UNSHOWN = "not shown"  # stopped, and not shown by the control arm that it would succeed without a cage
    OPEN = "known"  # got through, as docs/security.md says that it may
    LEAKED = "got through"
    BROKEN = "broken"  # the attempt failed by its own fault, or left no result: not stopped


BAD = (Verdict.LEAKED, Verdict.BROKEN)


@dataclass(frozen=True)
class Result:
    """How an attempt ended in one arm: one of the harness's words, and a name of the system's for why."""

    how: str
    why: str


Starter = Callable[[Box], Outcome]
NONE = Result(BROKEN, "no result")


@dataclass(frozen=True)
class Found:
    attempt: Attempt
    verdict: Verdict
    cage: Result
    control: Result | None  # None where no control arm was made
    note: str = ""


@dataclass(frozen=True)
class Report:
    found: tuple[Found, ...]
    seconds: float

    @property
    def bad(self) -> tuple[Found, ...]:
        return tuple(f for f in self.found if f.verdict in BAD)

    def count(self, verdict: Verdict) -> int:
        return sum(f.verdict is verdict for f in self.found)


def report(
    attempts: Iterable[Attempt] = (),
    *,
    control: bool = True,
    isolation: Isolation = Isolation.FULL,
    forked: bool = False,
) -> Report:
    """All attempts, or these; without the control arm it is told of each that it was stopped, and not whether it works.

    `forked`: made by forks that enter their box, as those of blocks do. Raises SandboxError where there are none.
    """
    wanted = tuple(attempts) or tuple(ATTEMPTS.values())
    began = time.monotonic()
    with baits.placed() as bait, _starter(bait.place.parent, forked) as start:
        cage = _cage(wanted, bait, isolation, start)
        outside = _control(wanted, bait) if control else {}
        cage |= _witnessed(wanted, cage, bait)
        missing = _missing_groups()
        found = tuple(
            _found(a, cage.get(a.name, NONE), outside.get(a.name, NONE) if control else None, missing) for a in wanted
        )
    return Report(found, time.monotonic() - began)


def quick() -> Report:
    """Those that matter most, in the cage alone: at the start of a gateway."""
    return report((a for a in ATTEMPTS.values() if a.quick), control=False)


def _found(attempt: Attempt, cage: Result, control: Result | None, missing: Mapping[str, str]) -> Found:
    if cage.how == REACHED:
        note = attempt.open or missing.get(attempt.needs, "")
        return Found(attempt, Verdict.OPEN if note else Verdict.LEAKED, cage, control, note)
    if cage.how != STOPPED:
        return Found(attempt, Verdict.BROKEN, cage, control)
    shown = control is None or control.how == REACHED
    return Found(attempt, Verdict.STOPPED if shown else Verdict.UNSHOWN, cage, control)


def _missing_groups() -> dict[str, str]:
    """Limits that this machine does not let us set, and why what they would stop gets through."""
    groups = Groups(ALONE)
    try:
        return {
            name: f"no control group for {name} can be made here"
            for name in ("memory", "pids")
            # Without it, the number of processes is limited where the job has a user of its own.
            if name not in groups.paths and not (name == "pids" and as_root())
        }
    finally:
        groups.remove()


# In the cage


@contextmanager
def _starter(folder: Path, forked: bool) -> Iterator[Starter]:
    if not forked:
        yield sandbox.run
        return
    with tempfile.TemporaryDirectory(prefix="zygote-", dir=folder) as place, zygote.begun(Path(place, "own")) as found:
        if found is None or not found.works():
            raise SandboxError("sandbox_no_forks", "No fork can enter a box here.", "Blocks run without, more slowly.")
        yield functools.partial(zygote.entered, zygote=found)


def _cage(wanted: tuple[Attempt, ...], bait: Bait, isolation: Isolation, start: Starter) -> dict[str, Result]:
    alone = [a for a in wanted if a.judge is Judge.SUPERVISOR]
    together = [a for a in wanted if a.judge is not Judge.SUPERVISOR]
    # A box ends with the thread that started it: these last until all are done.
    with ThreadPoolExecutor(max_workers=3) as threads:
        batch = threads.submit(_together, together, bait, isolation, start)
        singles = [threads.submit(_alone, attempt, bait, isolation, start) for attempt in alone]
        found = batch.result()
        for attempt, single in zip(alone, singles, strict=True):
            found[attempt.name] = single.result()
    return found


def _together(attempts: list[Attempt], bait: Bait, isolation: Isolation, start: Starter) -> dict[str, Result]:
    if not attempts:
        return {}
    arm = bait.arm("inside")
    _boxed(bait, arm, [a.name for a in attempts], replace(LIMITS, isolation=isolation), start)
    found = _results(arm)
    for attempt in attempts:
        mine = found.get(attempt.name, NONE)
        if attempt.judge is Judge.COLLECTOR and mine.how == REACHED:
            found[attempt.name] = _collected(arm, attempt.name)
    return found


def _alone(attempt: Attempt, bait: Bait, isolation: Isolation, start: Starter) -> Result:
    arm = bait.arm(f"inside-{attempt.name}")
    limits = SHORT if attempt.name == "overtime" else ALONE
    outcome = _boxed(bait, arm, [attempt.name], replace(limits, isolation=isolation), start)
    found = _results(arm).get(attempt.name)
    if outcome.ended is Ended.TIMED_OUT and attempt.name == "overtime":
        return Result(STOPPED, "timed out")
    if outcome.ended is Ended.FAILED and "[box]" in outcome.diagnostics:
        return Result(STOPPED, "box ended")
    return found if found is not None and outcome.ended is Ended.FINISHED else NONE


def _boxed(bait: Bait, arm: Arm, names: list[str], limits: Limits, start: Starter) -> Outcome:
    if limits.isolation is Isolation.FULL:
        inside, results = bait.inside(sys.prefix, "/opt/tre/lib"), "/outbox/results"
    else:
        inside, results = bait.bare(arm, sys.prefix), str(arm.outbox / "results")
    order = {"bait": inside, "attempts": names, "results": results, "become": None}
    _write_order(arm, order)
    command = tuple(baits.command("harness", Path("/in"), Path("/in/order.json")))
    return start(Box(command=command, inputs=arm.inputs, data=arm.data, outbox=arm.outbox, limits=limits))


def _write_order(arm: Arm, order: object) -> None:
    path = arm.inputs / "order.json"
    path.write_text(json.dumps(order))
    baits.own(arm.inputs)


def _results(arm: Arm) -> dict[str, Result]:
    """The harness's lines; what is not of their form is as if it were not there."""
    try:
        content = collect.read(arm.outbox, "results", max_bytes=READ_AT_MOST) or b""
    except SandboxError:
        return {}
    found = {}
    for line in content.splitlines():
        with suppress(ValueError, TypeError):
            name, how, why = json.loads(line)
            if name in ATTEMPTS and how in (REACHED, STOPPED, BROKEN):
                plain = why in _WORDS or (how == BROKEN and re.fullmatch(r"[A-Za-z]{1,40}", str(why)))
                found[name] = Result(how, why if plain else "?")
    return found


def _collected(arm: Arm, name: str) -> Result:
    try:
        content = collect.read(arm.outbox, name, max_bytes=READ_AT_MOST)
    except SandboxError:
        return Result(STOPPED, "not collected")
    return Result(STOPPED, "not there") if content is None else Result(REACHED, "-")


# What was left, seen from outside, when every process of the boxes is gone


def _witnessed(wanted: tuple[Attempt, ...], cage: Mapping[str, Result], bait: Bait) -> dict[str, Result]:
    """Looked at after the control arm, which removed what it had left itself."""
    outbox = bait.place / "inside" / "inside" / "out"
    found = {}
    for attempt in wanted:
        mine = cage.get(attempt.name, NONE)
        if attempt.judge is Judge.WITNESS and mine.how == REACHED:
            there = _comes(attempt.name, bait, outbox, within=1.0 if attempt.name == "daemon" else 0, inside=True)
            found[attempt.name] = mine if there else Result(STOPPED, "not there")
    return found


def _comes(name: str, bait: Bait, outbox: Path, *, within: float, inside: bool) -> bool:
    """Looks until it is there or the time is over: a daemon's file comes later than its parent's end."""
    until = time.monotonic() + within
    while not (there := _there(name, bait, outbox, inside=inside)) and time.monotonic() < until:
        time.sleep(0.02)
    return there


def _there(name: str, bait: Bait, outbox: Path, *, inside: bool) -> bool:
    """Whether what the attempt left is found by whom it should not be."""
    if name in baits.LEFT:
        return _taken_away(Path(baits.LEFT[name], f"{bait.mark}-{name}"))
    if name == "key_left":
        return _key_there(bait)
    path = outbox / name
    if not path.exists():
        return False
    if name == "files_of_root":
        return path.stat().st_uid == 0 or not inside
    if name == "set_uid":
        return bool(path.stat().st_mode & stat.S_ISUID) and (_open_to_all(path, bait) or not inside)
    return True


def _open_to_all(path: Path, bait: Bait) -> bool:
    """Whether another user could get there from the bait's own folder on, which is closed as an area is."""
    folders = [p for p in path.parents if p.is_relative_to(bait.place)]
    return all(p.stat().st_mode & 0o001 for p in folders)


def _taken_away(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _key_there(bait: Bait) -> bool:
    """Whether the user's keyring holds what the attempt left there; asked as that user, and removed."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from attempts.system import *; import json; "
        "o = json.loads(sys.argv[2]); o['user'] is None or become(o['user']); "
        "k = call(o['keyctl'], 10, -4, b'user', o['key'].encode(), 0); call(o['keyctl'], 9, k, -4)"
    )
    order = {"user": baits.user(), "keyctl": baits.calls()["keyctl"], "key": f"{bait.mark}-key_left"}
    command = [sys.executable, "-I", "-S", "-B", "-c", code, str(bait.place / "code"), json.dumps(order)]
    return subprocess.run(command, capture_output=True, check=False, env={}, timeout=30).returncode == 0


# The control arm


def _control(wanted: tuple[Attempt, ...], bait: Bait) -> dict[str, Result]:
    alone = [a for a in wanted if a.judge is Judge.SUPERVISOR]
    together = [a for a in wanted if a.judge is not Judge.SUPERVISOR]
    found: dict[str, Result] = {}
    with ThreadPoolExecutor(max_workers=3) as threads:
        parts = [threads.submit(_outside, "outside", together, bait)]
        parts += [threads.submit(_outside, f"outside-{a.name}", [a], bait) for a in alone]
        for part in parts:
            found |= part.result()
    outbox = bait.place / "outside" / "outside" / "out"
    for attempt in together:
        left = attempt.judge is Judge.WITNESS and found.get(attempt.name, NONE).how == REACHED
        if left and not _comes(attempt.name, bait, outbox, within=10, inside=False):
            found[attempt.name] = Result(STOPPED, "not there")
    return found


def _outside(name: str, attempts: list[Attempt], bait: Bait) -> dict[str, Result]:
    """The harness as a process of its own, with all that a careless start would give it: environment, files, output."""
    if not attempts:
        return {}
    arm = bait.arm(name)
    order = {
        "bait": bait.outside(arm), "attempts": [a.name for a in attempts], "results": str(arm.outbox / "results"),
        "become": baits.user(),
    }  # fmt: skip
    _write_order(arm, order)
    output = os.open(arm.outbox.parent / "output", os.O_WRONLY | os.O_CREAT, 0o600)
    if as_root():
        os.fchown(output, JOB_USER, JOB_USER)
        (arm.outbox / "results").touch()
        os.chown(arm.outbox / "results", JOB_USER, JOB_USER)
    try:
        process = subprocess.Popen(
            baits.command("harness", arm.inputs, arm.inputs / "order.json"),
            env={baits.VARIABLE: bait.token}, cwd=arm.data, close_fds=False, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(output)
    try:
        process.wait(CONTROL_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return _results(arm)
