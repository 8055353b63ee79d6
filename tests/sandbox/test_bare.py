"""Boxes without namespaces: what they still keep, and how they end. As root these are run again as an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.test_sandbox import Pulse
from tre.errors import SandboxError
from tre.rules.policy import Isolation
from tre.secure.isolation import report, start
from tre.secure.isolation.levels import REDUCED
from tre.secure.isolation.report import Verdict
from tre.secure.jobs import bare, sandbox, seccomp
from tre.secure.jobs.sandbox import Box, Ended, Limits, Outcome

BELOW_FULL = [Isolation.REDUCED, Isolation.NONE]


@pytest.fixture(params=BELOW_FULL)
def level(request: pytest.FixtureRequest) -> Isolation:
    found: Isolation = request.param
    reason = sandbox.unavailable(found)
    if reason:
        pytest.skip(f"{found}: {reason}")
    return found


class Area:
    def __init__(self, place: Path, level: Isolation) -> None:
        self.place, self.level = place, level
        for name in ("inputs", "data"):
            (place / name).mkdir()

    def box(self, *command: str, wall: float = 30, outbox_mb: int = 16) -> Box:
        outbox = Path(tempfile.mkdtemp(dir=self.place))
        limits = Limits(
            wall_seconds=wall, cpu_seconds=30, memory_mb=1024, outbox_mb=outbox_mb, isolation=self.level
        )  # fmt: skip
        inputs, data = self.place / "inputs", self.place / "data"
        return Box(command=command, inputs=inputs, data=data, outbox=outbox, limits=limits)

    def run(self, *command: str, wall: float = 30) -> Outcome:
        return sandbox.run(self.box(*command, wall=wall))


@pytest.fixture
def area(level: Isolation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Area]:
    place = tempfile.TemporaryDirectory(prefix="bare-")
    Path(place.name).chmod(0o711)  # without mounts the job's user comes to it by its name
    made = Area(Path(place.name), level)
    # What tells that a job lives: the FIFO in its inputs, which it could not write to otherwise.
    monkeypatch.setattr(bare, "_DEVICES", (*bare._DEVICES, f"{made.place}/inputs/alive"))
    yield made
    place.cleanup()


@pytest.mark.skipif(os.geteuid() != 0, reason="what root may enter and the job's user may not")
def test_a_closed_folder_is_told_as_the_reason(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed" / "python").touch()
    with pytest.raises(SandboxError, match="bare_unreachable") as refused:
        bare._need_reachable(tmp_path / "closed" / "python")
    assert "ordinary user" in refused.value.next_step
    bare._need_reachable(Path("/usr/bin/env"))


def alive(area: Area) -> str:
    return f"exec 9>{area.place}/inputs/alive; echo alive >&9; "


@pytest.mark.slow
def test_what_gets_through_where_isolation_is_reduced_is_known(level: Isolation) -> None:
    found = report.report(isolation=level)
    assert not [f.attempt.name for f in found.found if f.verdict is Verdict.BROKEN]
    leaked = {f.attempt.name for f in found.found if f.verdict is Verdict.LEAKED}
    if level is Isolation.REDUCED:
        assert leaked <= set(REDUCED)
        assert found.count(Verdict.STOPPED) >= 130
    else:
        assert len(leaked) > 100, "the attempts work where nothing stops them"
    for name in (
        "daemon",
        "overtime",
        "outbox",
        "many_entries",
        "link",
        "own_environment",
        "inherited",
        "address_space",
    ):
        assert name not in leaked


def test_a_gateway_of_public_data_starts_where_the_full_cage_is_impossible(level: Isolation) -> None:
    start.refuse_leaks(level)


def test_directories_are_known_by_their_own_names(area: Area) -> None:
    (area.place / "data" / "rows").write_text("rows")
    found = area.run("/bin/sh", "-c", 'cat "$1" && echo x > "$2"', "sh", "/data/rows", "/outbox/x")
    assert found == Outcome(Ended.FINISHED, 0, "rows")


def test_an_exit_code_and_the_end_of_the_output_come_back(area: Area) -> None:
    assert area.run("/bin/sh", "-c", "echo said; exit 7") == Outcome(Ended.FAILED, 7, "said\n")
    assert area.run("/bin/sh", "-c", "kill -9 $$").exit_code == 128 + 9


def test_a_command_that_cannot_be_started_is_no_failure_of_the_job(area: Area) -> None:
    with pytest.raises(SandboxError, match="sandbox_not_made"):
        area.run("/nonexistent")


@pytest.mark.parametrize("trap", ["", "trap '' TERM INT HUP; "])
def test_the_wall_limit_ends_all_of_it(area: Area, trap: str) -> None:
    pulse = Pulse(area)  # type: ignore[arg-type]
    daemon = "setsid sh -c 'while :; do sleep 600; done' </dev/null >/dev/null 2>&1 &"
    found = area.run("/bin/sh", "-c", f"{trap}{alive(area)}{daemon} while :; do sleep 600; done", wall=1)
    assert found.ended is Ended.TIMED_OUT
    pulse.await_life()
    assert pulse.is_dead()


def test_a_daemon_dies_with_its_job(area: Area) -> None:
    pulse = Pulse(area)  # type: ignore[arg-type]
    daemon = "setsid setsid sh -c 'while :; do sleep 600; done' </dev/null >/dev/null 2>&1 &"
    assert area.run("/bin/sh", "-c", f"{alive(area)}{daemon} exit 0").ended is Ended.FINISHED
    pulse.await_life()
    assert pulse.is_dead()


def test_cancelling_ends_it(area: Area) -> None:
    pulse, cancelled, found = Pulse(area), threading.Event(), list[Outcome]()  # type: ignore[arg-type]
    box = area.box("/bin/sh", "-c", f"{alive(area)}sleep 600")
    thread = threading.Thread(target=lambda: found.append(sandbox.run(box, cancelled=cancelled)))
    thread.start()
    pulse.await_life()
    cancelled.set()
    thread.join(20)
    assert [f.ended for f in found] == [Ended.CANCELLED]
    assert pulse.is_dead()


def test_killing_the_supervisor_kills_it(area: Area) -> None:
    pulse, box = Pulse(area), area.box("/bin/sh", "-c", f"{alive(area)}setsid sleep 600 & sleep 600")  # type: ignore[arg-type]
    code = f"""
        from pathlib import Path, PosixPath
        from tre.rules.policy import Isolation
        from tre.secure.jobs import bare
        from tre.secure.jobs.sandbox import Box, Limits, run
        bare._DEVICES = {bare._DEVICES!r}
        run({box!r})
    """.replace(repr(area.level), str(area.level.__class__.__name__) + "." + area.level.name)
    place = Path(sandbox.__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=place) as supervisor:
        pulse.await_life()
        supervisor.kill()
    assert pulse.is_dead(within=20)


def test_nothing_stays_of_it(area: Area) -> None:
    area.run("/bin/true")
    before = set(os.listdir("/proc/self/fd"))
    folders = set(Path(tempfile.gettempdir()).glob("job-*"))
    area.run("/bin/sh", "-c", "echo x > $TMPDIR/x; exit 3")
    assert set(os.listdir("/proc/self/fd")) == before
    assert not {f for f in Path(tempfile.gettempdir()).glob("job-*") if os.access(f, os.W_OK)} - folders


def test_an_old_kernel_is_no_reduced_isolation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "launcher.py"
    source = Path(bare._LAUNCHER).read_text()
    copy.write_text(source.replace("OLDEST_LANDLOCK = 1", "OLDEST_LANDLOCK = 1000"))
    tmp_path.chmod(0o755)
    monkeypatch.setattr(bare, "_LAUNCHER", copy)
    monkeypatch.setattr(bare, "_need_reachable", lambda *_: None)
    assert "this kernel has no Landlock" in (sandbox.unavailable(Isolation.REDUCED) or "None")


def test_the_filter_of_a_bare_box_makes_no_socket_to_other_machines() -> None:
    from tests.sandbox.test_sandbox import verdict

    program, machine = seccomp.program("x86_64", bare=True), seccomp.MACHINES["x86_64"]
    refused = seccomp.ERRNO | 97
    assert {verdict(program, machine, 41, family) for family in (2, 10, 40)} == {refused}
    assert verdict(program, machine, 41, 1) == seccomp.ALLOW
    assert verdict(program, machine, 302, 0) == seccomp.ALLOW  # prlimit64 of the caller itself
    assert verdict(program, machine, 302, 1) == seccomp.ERRNO | 1
    assert verdict(program, machine, 141, 0, 0) == seccomp.ALLOW  # setpriority
    assert verdict(program, machine, 141, 0, 1) == seccomp.ERRNO | 1


DOCKER = """
import ctypes, platform, struct
from tre.rules.policy import Isolation
from tre.secure.jobs import sandbox, seccomp
from tre.secure.jobs.seccomp import _LOAD, _NUMBER, _end, _step, _when, _without_bits

machine = seccomp.MACHINES[platform.machine()]
forbidden = {c.name: c for c in (*seccomp.REFUSED, *seccomp.ABSENT)}
code = [_step(_LOAD, _NUMBER)]
for name in ("unshare", "mount", "setns", "pivot_root"):
    code += _when(forbidden[name].on(machine), [_end(seccomp.ERRNO | 1)])
code += _when(forbidden["clone3"].on(machine), [_end(seccomp.ERRNO | 38)])
code += _when(seccomp.CLONE.on(machine), _without_bits(0, seccomp.NEW_NAMESPACE))
program = b"".join([*code, _end(seccomp.ALLOW)])
held = ctypes.create_string_buffer(program, len(program))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(held)), 0, 0) == 0
print(*(sandbox.unavailable(level) is None for level in Isolation))
"""


def test_where_namespaces_are_forbidden_as_in_a_container_the_weaker_levels_are_to_be_had(level: Isolation) -> None:
    """Under a filter like that of Docker's default: no namespaces, no mounts."""
    done = subprocess.run(
        [sys.executable, "-c", DOCKER],
        cwd=Path(sandbox.__file__).parents[3], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "True", "True"], (level, done.stdout, done.stderr)


def test_a_level_that_came_as_a_word_is_the_level_it_names() -> None:
    assert Limits(wall_seconds=1, cpu_seconds=1, memory_mb=1, outbox_mb=1, isolation="full").isolation is Isolation.FULL  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fulll"):
        Limits(wall_seconds=1, cpu_seconds=1, memory_mb=1, outbox_mb=1, isolation="fulll")  # type: ignore[arg-type]
