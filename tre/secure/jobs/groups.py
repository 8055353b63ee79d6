"""The control groups of one box: total memory and number of processes, in version 2 or 1 of the kernel's interface.

Guaranteed: what `Groups.paths` names was made and limited, and can be joined; `remove` kills whatever is left inside
before the group goes. Groups that a killed supervisor left behind are removed when the next box is made.
Not guaranteed: that there is any. Where this process may make none, `paths` lacks the controller, and `running` sets
the weaker limits of single processes in its place. Joining is the launcher's.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from tre.secure.jobs.box import PATIENCE, Limits

PROCESSES = 512  # threads count, and every engine starts one for each core


class Groups:
    """The control groups of one box, as far as this process may make them, in either version of the interface."""

    LEAF = "tre-supervisor"  # version 2 wants no process beside a group's children: with systemd, DelegateSubgroup=

    def __init__(self, limits: Limits) -> None:
        size = str(limits.memory_mb << 20)
        # The first file of each must be there, the others where the kernel has them.
        one = {"memory": {"memory.limit_in_bytes": size, "memory.memsw.limit_in_bytes": size}}
        two = {"memory": {"memory.max": size, "memory.swap.max": "0", "memory.oom.group": "1"}}
        self._name = f"tre-box-{os.getpid()}-{secrets.token_hex(4)}"
        self.paths: dict[str, Path] = {}  # by controller
        for controller in ("memory", "pids"):
            pids = {"pids.max": str(PROCESSES)}
            for home, table in ((_home_two(controller), two), (_home_one(controller), one)):
                if home and controller not in self.paths and self._made(home, table.get(controller, pids)):
                    self.paths[controller] = home / self._name

    def _made(self, home: Path, files: Mapping[str, str]) -> bool:
        group = home / self._name
        try:
            _sweep(home)
            group.mkdir(exist_ok=True)
            for place, (name, value) in enumerate(files.items()):
                if place == 0 or (group / name).exists():
                    (group / name).write_text(value)
            os.close(os.open(group / "cgroup.procs", os.O_WRONLY))
            return True
        except OSError:
            if group not in self.paths.values():
                _remove_if_empty(group)
            return False

    def memory_ran_out(self) -> bool:
        for name in ("memory.events", "memory.oom_control"):
            try:
                if re.search(r"^oom_kill [1-9]", (self.paths["memory"] / name).read_text(), re.MULTILINE):
                    return True
            except (KeyError, OSError):
                continue
        return False

    def remove(self) -> None:
        for group in set(self.paths.values()):
            until = time.monotonic() + PATIENCE
            while group.exists() and time.monotonic() < until:
                for line in (group / "cgroup.procs").read_text().split():
                    _signal(int(line))
                _remove_if_empty(group)
                time.sleep(0.005 if group.exists() else 0)  # there is no event for the last process's leaving


def _sweep(home: Path) -> None:
    """Remove the empty groups of supervisors that were killed."""
    for old in home.glob("tre-box-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            _remove_if_empty(old)


def _remove_if_empty(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:
        return


def _mounted(kind: str, controller: str) -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        found, _, options = right.split(" ", 2)
        if found == kind and (kind == "cgroup2" or controller in options.split(",")):
            return Path(left.split()[4])
    return None


def _own(mount: Path, controller: str) -> Path | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and (mount / path.lstrip("/")).is_dir():
            return mount / path.lstrip("/")
    return None


def _home_one(controller: str) -> Path | None:
    mount = _mounted("cgroup", controller)
    return mount and _own(mount, controller)


def _home_two(controller: str) -> Path | None:
    """Our group if its children may have the controller, after we stepped into a leaf of it if we were alone there."""
    mount = _mounted("cgroup2", controller)
    own = mount and _own(mount, "")
    if own is None:
        return None
    home = own.parent if own.name == Groups.LEAF else own
    try:
        if controller not in (home / "cgroup.controllers").read_text().split():
            return None
        switch = home / "cgroup.subtree_control"
        if controller not in switch.read_text().split():
            if (home / "cgroup.procs").read_text().split() == [str(os.getpid())]:
                (home / Groups.LEAF).mkdir(exist_ok=True)
                (home / Groups.LEAF / "cgroup.procs").write_text(str(os.getpid()))
            switch.write_text(f"+{controller}")
    except OSError:
        return None
    return home


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
