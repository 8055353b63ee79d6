"""What attempts are to reach: a false area, and the bystander with its sockets, objects, keys and memory.

Guaranteed: all of it belongs to the job's user and is closed to all others, so that an attempt in a box is stopped by
the box and not by a mode; nothing of it is of any worth; nothing of it stays.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tre.errors import SandboxError
from tre.secure.jobs import seccomp
from tre.secure.jobs.box import JOB_USER, as_root

_ATTEMPTS = Path(__file__).with_name("attempts")
_PACKAGE = Path(__file__).resolve().parents[2]
VARIABLE = "TRE_BAIT"
START = "import sys; sys.path.insert(0, sys.argv[1]); from attempts.{module} import main; main(sys.argv[2])"
PARTS = (
    "keys", "other", "jobs/other/in", "jobs/other/out", "outside/data/folder", "outside/in", "outside/scratch",
    "outside/runtime", "outside/library/tre", "outside/usr/bin", "outside/etc", "outside/top", "outside/dev",
    "inside",
)  # fmt: skip
SECRETS = (
    "secret", "keys/receipt.key", "other/rows.parquet", "gateway.log", "jobs/other/in/notebook.ipynb",
    "jobs/other/out/emitted.json",
)  # fmt: skip
PLAIN = (
    "jobs/other/out/spare.json", "locked", "outside/runtime/pyvenv.cfg", "outside/library/tre/errors.py",
    "outside/usr/bin/env", "outside/etc/passwd",
)  # fmt: skip
ROWS = ("rows.txt", "spare.txt", "named.txt")


@dataclass(frozen=True)
class Arm:
    """The directories of one arm, as the supervisor names them."""

    inputs: Path
    data: Path
    outbox: Path


@dataclass(frozen=True)
class Bait:
    place: Path
    mark: str
    token: str
    held: dict[str, Any]

    def arm(self, name: str) -> Arm:
        """Fresh directories for a box or for the control arm, with the attempts' code and rows of no worth."""
        home = self.place / ("outside" if name.startswith("outside") else "inside") / name
        arm = Arm(home / "in", home / "data", home / "out")
        for folder in (arm.inputs, arm.data / "folder", arm.outbox):
            folder.mkdir(parents=True)
        shutil.copytree(_ATTEMPTS, arm.inputs / "attempts", ignore=shutil.ignore_patterns("__pycache__"))
        (arm.inputs / "notebook.ipynb").write_text("{}")
        for row in ROWS:
            (arm.data / row).write_text("rows of no worth")
        (home / "secret").write_text(self.token)
        own(home)
        return arm

    def inside(self, runtime: str, library: str) -> dict[str, Any]:
        """Where an attempt in a box looks."""
        places = {"data": "/data", "inputs": "/in", "outbox": "/outbox", "scratch": "/tmp", "usr": "/usr"}
        places |= {"etc": "/etc", "top": "", "dev": "/dev", "runtime": runtime, "library": library}
        rooms = {"tmp": "/tmp", "shm": "/dev/shm", "home": "/home/job", "var": "/var"}
        packages = [library + "/tre", str(_PACKAGE)]
        return {**self._both(), **places, **rooms, "packages": packages, "outside": False}

    def bare(self, arm: Arm, runtime: str) -> dict[str, Any]:
        """Where it looks in a box without mounts: at the same, under the names that all of the machine uses."""
        own_places = {"data": str(arm.data), "inputs": str(arm.inputs), "outbox": str(arm.outbox)}
        own_places |= {"scratch": "$TMPDIR", "home": "$TMPDIR", "library": str(_PACKAGE.parent)}
        return {**self.inside(runtime, "$PYTHONPATH"), **own_places}

    def outside(self, arm: Arm) -> dict[str, Any]:
        """Where the same attempt looks in the control arm: at things of the bait that nothing protects."""
        false = self.place / "outside"
        places = {name: str(false / name) for name in ("scratch", "usr", "etc", "top", "dev", "runtime", "library")}
        rooms = dict.fromkeys(("tmp", "shm", "home", "var"), str(false / "scratch"))
        own_places = {"data": str(arm.data), "inputs": str(arm.inputs), "outbox": str(arm.outbox)}
        return {**self._both(), **places, **rooms, **own_places, "packages": [str(_PACKAGE)], "outside": True}

    def _both(self) -> dict[str, Any]:
        names = {name: str(self.place / name) for name in ("unix", "unix_datagram")}
        return {
            **self.held, **names, "area": str(self.place), "mark": self.mark, "token": self.token,
            "held_token": self.token, "abstract": self.mark, "queue": self.mark, "calls": calls(),
        }  # fmt: skip


def calls() -> dict[str, int | None]:
    """The number of each call that the filter knows, on this machine."""
    machine = seccomp.MACHINES.get(platform.machine())
    known = (*seccomp.REFUSED, *seccomp.ABSENT, seccomp.SOCKET, seccomp.CLONE)
    known += (seccomp.IOCTL, seccomp.FCNTL, seccomp.PRCTL)
    return {call.name: call.on(machine) if machine else None for call in known}


def user() -> int | None:
    """Whom a process of the control arm must become: the job's user, where we are root."""
    return JOB_USER if as_root() else None


def own(place: Path) -> None:
    """Give a tree that we made to the job's user, and close it to all others."""
    for folder, _, files, handle in os.fwalk(place):
        for name in files:
            os.chmod(name, 0o600, dir_fd=handle)
            if as_root():
                os.chown(name, JOB_USER, JOB_USER, dir_fd=handle, follow_symlinks=False)
        os.fchmod(handle, 0o700)
        if as_root():
            os.fchown(handle, JOB_USER, JOB_USER)
        del folder


@contextmanager
def placed() -> Iterator[Bait]:
    """The bait, laid out and held for as long as the attempts are made."""
    mark, token = f"tre-bait-{secrets.token_hex(6)}", f"tre-secret-{secrets.token_hex(12)}"
    with ExitStack() as cleanup:
        place = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix=f"{mark}-", ignore_cleanup_errors=True)))
        _lay_out(place, token)
        cleanup.callback(_remove_marks, mark)
        os.environ[VARIABLE] = token  # what of the supervisor's environment reaches a job?
        cleanup.callback(os.environ.pop, VARIABLE, None)
        held = os.open(place / "secret", os.O_RDONLY)
        cleanup.callback(os.close, held)
        os.set_inheritable(held, True)  # and what of its open files?
        yield Bait(place, mark, token, cleanup.enter_context(_bystander(place, mark, token)))


def _lay_out(place: Path, token: str) -> None:
    for part in PARTS:
        (place / part).mkdir(parents=True)
    for name in SECRETS:
        (place / name).write_text(token)
    for name in PLAIN:
        (place / name).write_text("of no worth")
    with sqlite3.connect(place / "area.db") as connection:
        connection.execute("CREATE TABLE tokens (token)")
        connection.execute("INSERT INTO tokens VALUES (?)", (token,))
    connection.close()
    shutil.copytree(_ATTEMPTS, place / "code" / "attempts", ignore=shutil.ignore_patterns("__pycache__"))
    own(place)


@contextmanager
def _bystander(place: Path, mark: str, token: str) -> Iterator[dict[str, Any]]:
    order = {
        "mark": mark, "token": token, "queue": mark, "become": user(), "unix": str(place / "unix"),
        "unix_datagram": str(place / "unix_datagram"), "locked": str(place / "locked"), "calls": calls(),
    }  # fmt: skip
    (place / "bystander.json").write_text(json.dumps(order))
    with subprocess.Popen(
        command("bystander", place / "code", place / "bystander.json"),
        env={VARIABLE: token}, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None  # noqa: S101  # asked for above
        try:
            yield {"lock_inode": -1, **json.loads(process.stdout.readline())}
        except ValueError:
            raise SandboxError(
                "bait_not_placed", "The bait of the isolation report cannot be placed.", "See that /tmp can be written."
            ) from None
        finally:
            process.communicate(timeout=20)


def command(module: str, code: Path, order: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-B", "-c", START.format(module=module), str(code), str(order)]


LEFT = {"left_tmp": "/tmp", "left_shm": "/dev/shm", "left_var_tmp": "/var/tmp"}


def _remove_marks(mark: str) -> None:
    for name, folder in LEFT.items():
        with suppress(FileNotFoundError):
            Path(folder, f"{mark}-{name}").unlink()
