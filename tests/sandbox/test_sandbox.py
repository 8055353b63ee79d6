"""The box, attacked: each probe runs in an ordinary process, where it must succeed, and in a box, where it must not.

A probe that fails in both places would prove nothing; the control arm shows that it is the box that stops it.
"""

# Probes are sent as source and speak to the system as plainly as an attacker would: open() and bare paths are meant.
# ruff: noqa: PTH123, PTH207, SIM115

from __future__ import annotations

import inspect
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tre.errors import SandboxError
from tre.secure.jobs import collect, groups, running, sandbox, seccomp
from tre.secure.jobs.box import JOB_USER, bubblewrap, runtime_roots
from tre.secure.jobs.groups import Groups
from tre.secure.jobs.sandbox import Box, Ended, Limits, Outcome

ROOT = os.geteuid() == 0
MARK = "mark-7f3a"


@pytest.fixture(scope="session", autouse=True)
def isolation() -> None:
    """Skip where no box can be had by anyone; where bubblewrap alone works, a box that does not is our fault."""
    reason = sandbox.unavailable()
    plain = ["bwrap", "--unshare-user", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    if reason and (shutil.which("bwrap") is None or subprocess.run(plain, capture_output=True, check=False).returncode):
        pytest.skip(reason)
    assert reason is None


@dataclass
class Area:
    """A closed area, as a gateway would keep it, and a short way to run boxes on its data."""

    place: Path

    def __post_init__(self) -> None:
        self.place.chmod(0o700)
        for name in ("inputs", "data", "other"):
            (self.place / name).mkdir(mode=0o700)
        for name in ("data/rows.txt", "other/rows.txt"):
            (self.place / name).write_text("rows")
            (self.place / name).chmod(0o600)
        for name, mode in (("area.db", 0o644), ("closed.db", 0o600), ("key", 0o600), ("open.key", 0o644)):
            (self.place / name).write_text("secret")
            (self.place / name).chmod(mode)

    def box(self, *command: str, wall: float = 30, memory_mb: int = 1024, outbox_mb: int = 16, **env: str) -> Box:
        outbox = Path(tempfile.mkdtemp(dir=self.place))
        limits = Limits(wall_seconds=wall, cpu_seconds=30, memory_mb=memory_mb, outbox_mb=outbox_mb)
        inputs, data = self.place / "inputs", self.place / "data"
        return Box(command=command, inputs=inputs, data=data, outbox=outbox, limits=limits, environment=env)

    def run(self, *command: str, **how: Any) -> Outcome:
        return sandbox.run(self.box(*command, **how))

    def python(self, code: str, **how: Any) -> Outcome:
        return self.run(sys.executable, "-c", textwrap.dedent(code), **how)


@pytest.fixture
def area(tmp_path: Path) -> Area:
    return Area(tmp_path)


# Probes: each raises when it is stopped. Their source is sent to either side, so they import what they need.


def reads(path: str) -> None:
    assert open(path).read()


def writes(path: str) -> None:
    open(path, "w").write("x")


def opens_for_writing(path: str) -> None:
    import os

    os.close(os.open(path, os.O_WRONLY))  # nothing is written, should it succeed


def connects(family: int, address: Any) -> None:
    import socket

    with socket.socket(family) as client:
        client.settimeout(5)
        client.connect(tuple(address) if isinstance(address, list) else address)


def makes_socket(family: int) -> None:
    import socket

    socket.socket(family, socket.SOCK_STREAM).close()


def sees_the_bystander() -> None:
    import os

    seen = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()]
    assert any(b"by-" + b"stander" in open(f"/proc/{pid}/cmdline", "rb").read() for pid in seen)


def signals(pid: int) -> None:
    import os
    import signal

    os.kill(pid, signal.SIGCONT)


def finds_in_an_environment(mark: str) -> None:
    import glob

    found = b""
    for name in glob.glob("/proc/[0-9]*/environ"):
        try:
            found += open(name, "rb").read()
        except OSError:
            continue
    assert mark.encode() in found


def makes_a_user_namespace() -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x10000000) == 0, ctypes.get_errno()


def becomes_root() -> None:
    import os

    os.setuid(0)
    assert open("/proc/sys/kernel/core_pattern", "r+")  # root by name only is no root


def lets_itself_be_traced() -> None:
    import ctypes

    assert ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0) == 0


def outlives_its_parent() -> None:
    import ctypes

    assert ctypes.CDLL(None, use_errno=True).prctl(1, 0, 0, 0, 0) == 0


def locks(path: str) -> None:
    import fcntl

    fcntl.flock(open(path), fcntl.LOCK_SH)


def watches(path: str) -> None:
    import ctypes

    assert ctypes.CDLL(None, use_errno=True).inotify_init1(0) >= 0


def makes_a_fifo(path: str) -> None:
    import os

    os.mkfifo(path)


Probe = Callable[..., None]


def script(probe: Probe, arguments: dict[str, Any]) -> str:
    call = f"{probe.__name__}(**json.loads({json.dumps(json.dumps(arguments))}))"
    return f"import json\nfrom typing import Any\n{inspect.getsource(probe)}\n{call}\nprint('PASSED')\n"


def outside(probe: Probe, **arguments: Any) -> str:
    command = [sys.executable, "-c", script(probe, arguments)]
    done = subprocess.run(command, env={"MARK": MARK}, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def assert_stopped(area: Area, probe: Probe, **arguments: Any) -> None:
    found = area.python(script(probe, arguments))
    assert "PASSED" not in found.diagnostics
    assert found.ended is Ended.FAILED, found
    # Stopped by the system, not by a mistake in the probe.
    assert any(name in found.diagnostics for name in ("Error", "assert")), found
    assert not any(name in found.diagnostics for name in ("SyntaxError", "NameError", "TypeError")), found


def assert_only_outside(area: Area, probe: Probe, *, inside: dict[str, Any] | None = None, **arguments: Any) -> None:
    assert "PASSED" in outside(probe, **arguments)
    assert_stopped(area, probe, **(inside or arguments))


# Stories


@pytest.mark.parametrize("name", ["area.db", "closed.db", "key", "open.key", "other/rows.txt"])
def test_nothing_else_of_the_area_is_there(area: Area, name: str) -> None:
    assert_only_outside(area, reads, path=str(area.place / name))


@pytest.mark.parametrize(
    "name", ["/data/new", "/data/rows.txt", "/in/new", "/usr/new", "/new", "/etc/passwd", "/dev/new"]
)
def test_what_it_is_given_cannot_be_written(area: Area, name: str) -> None:
    for path in (area.place / "data", area.place / "inputs", area.place / "data/rows.txt"):
        path.chmod(0o777)  # it is the mount that forbids it, not the modes
    assert_only_outside(area, writes, path=str(area.place / "data/new"), inside={"path": name})


def test_the_runtime_cannot_be_written(area: Area) -> None:
    inside = {"path": str(Path(sys.prefix, "lib", "new.pth"))}
    assert_only_outside(area, writes, path=str(area.place / "new"), inside=inside)


def test_no_listener_of_the_host_is_reached(area: Area) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert_only_outside(area, connects, family=socket.AF_INET, address=list(server.getsockname()))


@pytest.mark.parametrize("kind", ["abstract", "path"])
def test_no_unix_socket_of_the_host_is_reached(area: Area, kind: str) -> None:
    with socket.socket(socket.AF_UNIX) as server, tempfile.TemporaryDirectory() as short:
        address = f"\0{short}" if kind == "abstract" else f"{short}/socket"
        server.bind(address)
        server.listen()
        assert_only_outside(area, connects, family=socket.AF_UNIX, address=address)


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_ALG", "AF_BLUETOOTH"])
def test_no_family_of_sockets_that_namespaces_do_not_cover(area: Area, family: str) -> None:
    number = getattr(socket, family, None)
    if number is None:
        pytest.skip("this Python does not know it")
    assert_stopped(area, makes_socket, family=number)
    if "PASSED" not in outside(makes_socket, family=number):
        pytest.skip("this kernel has none outside either")


def test_other_families_of_sockets_work(area: Area) -> None:
    for family in seccomp.FAMILIES[:3]:
        assert area.python(script(makes_socket, {"family": family})).ended is Ended.FINISHED


@pytest.fixture
def bystander() -> Iterator[int]:
    with subprocess.Popen(["/bin/sh", "-c", "read line # by-stander"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def test_no_process_of_the_host_is_seen_or_signalled(area: Area, bystander: int) -> None:
    assert_only_outside(area, sees_the_bystander)
    assert_only_outside(area, signals, pid=bystander)


def test_the_supervisors_environment_is_not_there(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARK", MARK)
    found = area.python("import glob; print(b''.join(open(n, 'rb').read() for n in glob.glob('/proc/[0-9]*/environ')))")
    assert "HOME=/home/job" in found.diagnostics, "the probe must see environments at all"
    assert MARK not in found.diagnostics
    assert "PASSED" in outside(finds_in_an_environment, mark=MARK)


def test_the_arguments_of_the_box_are_not_there(area: Area) -> None:
    found = area.python("print(open('/proc/1/cmdline').read())")
    assert "--args" in found.diagnostics
    assert str(area.place) not in found.diagnostics


def test_no_open_file_is_inherited(area: Area) -> None:
    with open(area.place / "area.db") as held:
        os.set_inheritable(held.fileno(), True)
        found = area.run("/bin/ls", "/proc/self/fd")
    assert found.diagnostics.split() == ["0", "1", "2", "3"]  # 3 is the listing's own


@pytest.mark.parametrize(
    ("probe", "arguments"),
    [(makes_a_user_namespace, {}), (lets_itself_be_traced, {})]
    + [(outlives_its_parent, {})]
    + [(probe, {"path": "/usr/bin/env"}) for probe in (locks, watches)],
)
def test_calls_the_filter_refuses(area: Area, probe: Probe, arguments: dict[str, Any]) -> None:
    if probe is makes_a_user_namespace and "PASSED" not in outside(probe):
        pytest.skip("this user has none outside either")
    assert_only_outside(area, probe, **arguments)


def test_no_fifo_is_left_in_the_outbox(area: Area) -> None:
    assert_only_outside(area, makes_a_fifo, path=str(area.place / "fifo"), inside={"path": "/outbox/fifo"})


def test_nobody_becomes_root(area: Area) -> None:
    assert_stopped(area, becomes_root)


@pytest.mark.parametrize("name", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"])
def test_the_kernels_settings_are_closed(area: Area, name: str) -> None:
    assert_stopped(area, opens_for_writing, path=name)


def test_what_the_machine_counts_of_all_its_work_is_not_told(area: Area) -> None:
    """By load, pressure or counters a box would hear when another is at work."""
    code = """
    import ctypes, os
    def read(name):
        try:
            return len(open("/proc/" + name, "rb").read())
        except OSError:
            return 0
    names = "loadavg stat vmstat meminfo uptime pressure/cpu sys/fs/inode-state diskstats interrupts".split()
    print({name: read(name) for name in names})
    print("told", sum(map(read, names)) + (ctypes.CDLL(None).sysinfo(ctypes.create_string_buffer(512)) == 0))
    """
    assert area.python(code).diagnostics.endswith("told 0\n")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert int(done.stdout.rsplit(" ", 1)[1]) > 1000  # outside, all this is there


def test_the_foreign_calling_convention_is_deadly(area: Area) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("x32 is of x86_64")
    found = area.python(f"import ctypes; ctypes.CDLL(None).syscall({0x40000000 + 39}); print('PASSED')")
    assert (found.exit_code, found.diagnostics) == (128 + 31, "")


def test_it_is_no_root_outside(area: Area) -> None:
    box = area.box("/usr/bin/touch", "/outbox/file")
    assert sandbox.run(box).ended is Ended.FINISHED
    assert (box.outbox / "file").stat().st_uid == (JOB_USER if ROOT else os.getuid())
    assert box.outbox.stat().st_uid == os.getuid(), "the outbox is the supervisor's again"
    assert box.outbox.stat().st_mode & 0o777 == 0o700


def test_the_secure_side_is_not_in_the_box(area: Area) -> None:
    found = area.python(
        """
        import importlib.util, tre, tre.rules.policy
        for name in ("tre.secure", "tre.gateway", "tre.demo"):
            assert importlib.util.find_spec(name) is None, name
        print(tre.__file__)
        """
    )
    assert found == Outcome(Ended.FINISHED, 0, "/opt/tre/lib/tre/__init__.py\n")


def test_an_installed_package_is_seen_without_its_secure_side(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    package = area.place / "python" / "tre"
    for part in ("rules", "secure", "gateway"):
        (package / part).mkdir(parents=True)
        (package / part / "marker.py").touch()
    (package / "__init__.py").touch()
    roots = [*runtime_roots(), package.parent]
    monkeypatch.setattr("tre.secure.jobs.box.runtime_roots", lambda: roots)
    monkeypatch.setattr("tre.secure.jobs.box._PACKAGE", package)
    (area.place / "python").chmod(0o755)
    found = area.run("/usr/bin/find", str(package), "/opt/tre/lib/tre", "-name", "*.py")
    names = [line.removeprefix(str(package)) for line in found.diagnostics.split()]
    assert set(names) == {"/__init__.py", "/rules/marker.py", *(f"/opt/tre/lib/tre{n}" for n in ("/__init__.py",))} | {
        "/opt/tre/lib/tre/rules/marker.py"
    }


@pytest.mark.parametrize("root", ["/", str(Path.home())])
def test_a_runtime_that_is_half_the_machine_is_refused(area: Area, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    monkeypatch.setattr(sys, "prefix", root)
    with pytest.raises(SandboxError, match="sandbox_runtime_too_wide"):
        area.run("/usr/bin/true")


def test_an_area_inside_the_runtime_is_refused(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(area.place))
    with pytest.raises(SandboxError, match="sandbox_area_in_runtime"):
        area.run("/usr/bin/true")


def test_an_outbox_with_something_in_it_is_refused(area: Area) -> None:
    box = area.box("/usr/bin/true")
    (box.outbox / "old").touch()
    with pytest.raises(SandboxError, match="sandbox_outbox_not_empty"):
        sandbox.run(box)


def test_a_box_that_cannot_be_made_is_no_failure_of_the_job(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "bubblewrap", lambda: "/usr/bin/false")
    with pytest.raises(SandboxError, match="sandbox_not_made"):
        area.run("/usr/bin/true")
    assert "sandbox_not_made" not in (sandbox.unavailable() or "None")


@pytest.mark.parametrize("version", ["bubblewrap 0.7.1", "bubblewrap 0.6"])
def test_an_old_bubblewrap_is_named_as_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    old = tmp_path / "bwrap"
    old.write_text(f"#!/bin/sh\necho {version}\n")
    old.chmod(0o755)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("shutil.which", lambda _: str(old))
    bubblewrap.cache_clear()
    try:
        assert "older than 0.8" in (sandbox.unavailable() or "")
    finally:
        bubblewrap.cache_clear()


# How a box ends. A FIFO in /in that the box holds open tells that it lives and, by its end, that all of it is dead.

ALIVE = "exec 9>/in/alive; echo alive >&9; "


class Pulse:
    def __init__(self, area: Area) -> None:
        path = area.place / "inputs" / "alive"
        os.mkfifo(path)
        path.chmod(0o666)
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)

    def await_life(self) -> None:
        assert self._poll.poll(20_000), "the box never began"
        assert os.read(self._pipe, 100)

    def is_dead(self, *, within: float = 0) -> bool:
        """Whether no process holds the other end. Without a time: is it so now."""
        return bool(self._poll.poll(within * 1000)) and self._poll.poll(0)[0][1] == select.POLLHUP


@pytest.mark.parametrize("trap", ["", "trap '' TERM INT HUP; "])
def test_the_wall_limit_ends_sleepers(area: Area, trap: str) -> None:
    pulse = Pulse(area)
    before = time.monotonic()
    found = area.run("/bin/sh", "-c", f"{trap}{ALIVE}echo before; while :; do sleep 600; done", wall=1)
    assert found == Outcome(Ended.TIMED_OUT, None, "before\n")
    assert time.monotonic() - before < 5
    pulse.await_life()
    assert pulse.is_dead()


def test_a_daemon_dies_with_its_box(area: Area) -> None:
    pulse = Pulse(area)
    daemon = "setsid sh -c 'while :; do echo x >> /outbox/growing; done' </dev/null >/dev/null 2>&1 &"
    box = area.box("/bin/sh", "-c", f"{ALIVE}{daemon} exit 7")
    found = sandbox.run(box)
    assert (found.ended, found.exit_code) == (Ended.FAILED, 7)
    pulse.await_life()
    assert pulse.is_dead()


def test_cancelling_ends_the_box(area: Area) -> None:
    pulse, cancelled, found = Pulse(area), threading.Event(), list[Outcome]()
    box = area.box("/bin/sh", "-c", f"{ALIVE}sleep 600")
    thread = threading.Thread(target=lambda: found.append(sandbox.run(box, cancelled=cancelled)))
    thread.start()
    pulse.await_life()
    cancelled.set()
    thread.join(10)
    assert found == [Outcome(Ended.CANCELLED, None, "")]
    assert pulse.is_dead()


def test_a_cancelled_box_is_not_begun(area: Area) -> None:
    cancelled = threading.Event()
    cancelled.set()
    box = area.box("/usr/bin/touch", "/outbox/begun")
    assert sandbox.run(box, cancelled=cancelled).ended is Ended.CANCELLED
    assert not list(box.outbox.iterdir())


def test_killing_the_supervisor_kills_the_box(area: Area) -> None:
    pulse, box = Pulse(area), area.box("/bin/sh", "-c", f"{ALIVE}sleep 600")
    code = f"""
        from pathlib import Path, PosixPath
        from tre.rules.policy import Isolation
        from tre.secure.jobs.sandbox import Box, Limits, run
        run({box!r})
    """.replace(repr(box.limits.isolation), "Isolation.FULL")
    place = Path(sandbox.__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=place) as supervisor:
        pulse.await_life()
        assert not pulse.is_dead()
        supervisor.kill()
    assert pulse.is_dead(within=10)


def test_memory_is_bounded(area: Area) -> None:
    found = area.python("kept = [bytearray(b'x' * 2**26) for _ in range(64)]; print('PASSED')", memory_mb=256)
    assert found.ended is Ended.FAILED
    assert "PASSED" not in found.diagnostics


def test_version_two_groups_are_made_beside_a_leaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a picture of the kernel's files: this step was not run on a real version 2 hierarchy by whoever lacks one."""
    for name, text in (("controllers", "cpu memory pids"), ("subtree_control", ""), ("procs", f"{os.getpid()}\n")):
        (tmp_path / f"cgroup.{name}").write_text(text)
    monkeypatch.setattr(groups, "_mounted", lambda *_: tmp_path)
    monkeypatch.setattr(groups, "_own", lambda mount, _: mount)
    (tmp_path / Groups.LEAF).mkdir()
    assert groups._home_two("memory") == tmp_path
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert (tmp_path / Groups.LEAF / "cgroup.procs").read_text() == str(os.getpid())
    monkeypatch.setattr(groups, "_own", lambda mount, _: mount / Groups.LEAF)
    assert groups._home_two("pids") == tmp_path
    assert groups._home_two("io") is None


def test_boxes_run_side_by_side(area: Area) -> None:
    boxes = [area.box("/bin/sh", "-c", f"echo {n} | tee /outbox/n") for n in range(8)]
    found: dict[int, Outcome] = {}

    def one(n: int) -> None:
        found[n] = sandbox.run(boxes[n])

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {n: Outcome(Ended.FINISHED, 0, f"{n}\n") for n in range(8)}
    assert [collect.read(box.outbox, "n", max_bytes=9) for box in boxes] == [f"{n}\n".encode() for n in range(8)]


def test_processes_are_bounded(area: Area) -> None:
    if not ROOT and "pids" not in Groups(area.box("x").limits).paths:
        pytest.skip("no control group, and a user that has other processes")
    found = area.python(
        """
        import os, signal
        begun = 0
        try:
            while begun < 2000:
                if os.fork() == 0:
                    signal.pause()
                begun += 1
        except BlockingIOError:
            print(begun)
        """
    )
    assert found.ended is Ended.FINISHED
    assert 10 < int(found.diagnostics) <= groups.PROCESSES


def test_only_the_end_of_a_flood_is_kept(area: Area) -> None:
    found = area.run("/bin/sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' y; echo the end >&2")
    assert found.ended is Ended.FINISHED
    assert len(found.diagnostics) == running.DIAGNOSTICS_BYTES
    assert found.diagnostics.endswith("yythe end\n")


def test_an_outbox_over_its_size_ends_the_box(area: Area) -> None:
    code = "for i in $(seq 2000); do head -c 1000000 /dev/zero > /outbox/$i; done; sleep 600"
    box = area.box("/bin/sh", "-c", code, outbox_mb=4)
    found = sandbox.run(box)
    assert (found.ended, found.exit_code) == (Ended.FAILED, None)
    assert "the outbox is over 4 MB" in found.diagnostics


def test_an_outbox_filled_at_the_last_moment_is_seen(area: Area) -> None:
    found = area.run("/bin/sh", "-c", "for i in 1 2 3; do head -c 1000000 /dev/zero > /outbox/$i; done", outbox_mb=2)
    assert (found.ended, found.exit_code) == (Ended.FAILED, None)


def test_no_file_is_larger_than_the_outbox(area: Area) -> None:
    box = area.box(sys.executable, "-c", "open('/outbox/big', 'wb').truncate(2**40)")
    assert "File too large" in sandbox.run(box).diagnostics


def test_nothing_stays_of_a_box(area: Area) -> None:
    area.run("/usr/bin/true")
    before = set(os.listdir("/proc/self/fd"))
    made = Groups(area.box("x").limits)
    homes = {path.parent for path in made.paths.values()}
    made.remove()
    for ending in ("true", "exit 3"):
        area.run("/bin/sh", "-c", ending)
    assert set(os.listdir("/proc/self/fd")) == before
    assert not [old for home in homes for old in home.glob(f"tre-box-{os.getpid()}-*")]


@pytest.mark.slow
def test_a_notebook_runs(area: Area) -> None:
    import nbformat

    cells = [
        "import pandas, duckdb, polars, sqlite3",
        "frame = pandas.DataFrame({'a': [1, 2, 3]})",
        "assert duckdb.sql('select sum(a) from frame').fetchall() == [(6,)]",
        "assert polars.from_pandas(frame)['a'].sum() == 6\npolars.from_pandas(frame).write_parquet('/tmp/a.parquet')",
        "db = sqlite3.connect('/tmp/a.db'); db.execute('create table t (a)'); db.commit()",
        "import multiprocessing\nprint(open('/data/rows.txt').read(), multiprocessing.Pool(2).map(abs, [-1, -2]))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    (area.place / "inputs" / "nb.ipynb").write_text(nbformat.writes(notebook))
    box = area.box(
        sys.executable, "-m", "papermill", "-k", "python3", "/in/nb.ipynb", "/outbox/out.ipynb", wall=80, memory_mb=2048
    )
    found = sandbox.run(box)
    assert found.ended is Ended.FINISHED, found.diagnostics
    content = collect.read(box.outbox, "out.ipynb", max_bytes=10**6)
    assert content is not None
    assert "rows [1, 2]" in nbformat.reads(content.decode(), as_version=4).cells[-1].outputs[0].text


# The strict reader


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert collect.read(tmp_path, "file", max_bytes=5) == b"12345"
    assert collect.read(tmp_path, "none", max_bytes=5) is None


@pytest.fixture
def leavings(tmp_path: Path) -> Path:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    (tmp_path / "secret").write_text("secret")
    (outbox / "link").symlink_to(tmp_path / "secret")
    (outbox / "nowhere").symlink_to("nothing")
    (outbox / "hard").write_text("x")
    (outbox / "harder").hardlink_to(outbox / "hard")
    os.mkfifo(outbox / "fifo")
    (outbox / "directory").mkdir()
    (outbox / "directory" / "file").write_text("x")
    (outbox / "large").write_bytes(b"x" * 101)
    with (outbox / "sparse").open("wb") as sparse:
        sparse.truncate(2**40)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(outbox / "socket"))
    return outbox


@pytest.mark.parametrize(
    "name",
    [
        *("link", "nowhere", "hard", "fifo", "directory", "large", "sparse", "socket", "directory/file"),
        *("../secret", "/etc/passwd", ".", ".."),
        "",
        "a\0b",
    ],
)
def test_anything_but_a_plain_file_is_refused(leavings: Path, name: str) -> None:
    with pytest.raises(SandboxError, match="outbox_refused") as refused:
        collect.read(leavings, name, max_bytes=100)
    assert "secret" not in refused.value.message


def test_an_outbox_that_is_a_link_is_refused(leavings: Path) -> None:
    (leavings.parent / "alias").symlink_to(leavings)
    with pytest.raises(SandboxError, match="outbox_refused"):
        collect.read(leavings.parent / "alias", "large", max_bytes=1000)


def fits(outbox: Path, max_bytes: int) -> bool:
    handle = os.open(outbox, os.O_RDONLY)
    try:
        return collect.fits(handle, max_bytes=max_bytes)
    finally:
        os.close(handle)


def test_an_outbox_is_measured_without_following_links(leavings: Path) -> None:
    assert fits(leavings, 2**20)  # the sparse file takes nothing on disk
    (leavings / "huge").symlink_to("/usr")
    assert fits(leavings, 2**20)
    (leavings / "directory" / "big").write_bytes(b"x" * 2**20)
    assert not fits(leavings, 2**20)


def test_an_outbox_that_is_too_deep_or_too_full_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path.joinpath(*"a" * collect.MAX_DEPTH)
    deep.parent.mkdir(parents=True)
    assert fits(tmp_path, 2**20)
    deep.mkdir()
    assert not fits(tmp_path, 2**20)
    monkeypatch.setattr(collect, "MAX_ENTRIES", 3)
    assert not fits(tmp_path, 2**20)


# The filter, for both machines, in a simulator of the kernel's


def verdict(program: bytes, machine: int, number: int, *arguments: int) -> int:
    """What classic BPF says to a call; see `struct seccomp_data`."""
    data = struct.pack("<IIQ6Q", number, machine, 0, *(*arguments, *[0] * 6)[:6])
    code, at, loaded = list(struct.iter_unpack("<HBBI", program)), 0, 0
    while True:
        operation, yes, no, value = code[at]
        match operation:
            case 0x20:
                loaded, step = struct.unpack_from("<I", data, value)[0], 0
            case 0x15:
                step = yes if loaded == value else no
            case 0x35:
                step = yes if loaded >= value else no
            case 0x45:
                step = yes if loaded & value else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(operation)
        at += 1 + step


EPERM, ENOSYS, EAFNOSUPPORT = (seccomp.ERRNO | number for number in (1, 38, 97))
NAMES = {**{c.name: c for c in seccomp.REFUSED + seccomp.ABSENT}} | {
    c.name: c for c in (seccomp.CLONE, seccomp.SOCKET, seccomp.SOCKETPAIR, seccomp.IOCTL, seccomp.FCNTL, seccomp.PRCTL)
}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("mount", (), EPERM),
        ("file_setattr", (), EPERM),
        ("flock", (), EPERM),
        ("clone3", (), ENOSYS),
        ("socket", (socket.AF_UNIX,), seccomp.ALLOW),
        ("socket", (socket.AF_NETLINK,), seccomp.ALLOW),
        ("socket", (40,), EAFNOSUPPORT),
        ("socketpair", (30,), EAFNOSUPPORT),
        ("clone", (0x3D0F00,), seccomp.ALLOW),  # a thread
        ("clone", (0x10000000 | 17,), EPERM),
        ("clone", (0x00020000 | 17,), EPERM),
        ("ioctl", (1, 0x5412), EPERM),
        ("ioctl", (1, 1 << 32 | 0x5412), EPERM),  # the kernel ignores the upper half
        ("ioctl", (1, 0x5413), seccomp.ALLOW),
        ("fcntl", (3, 1024), EPERM),
        ("fcntl", (3, 6), seccomp.ALLOW),  # F_SETLK
        ("prctl", (1,), EPERM),
        ("prctl", (15,), seccomp.ALLOW),  # PR_SET_NAME
    ],
)
def test_the_filter(machine: str, name: str, arguments: tuple[int, ...], expected: int) -> None:
    number = NAMES[name].on(seccomp.MACHINES[machine])
    assert number is not None
    assert verdict(seccomp.program(machine), seccomp.MACHINES[machine], number, *arguments) == expected


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_kills_what_is_not_of_its_machine(machine: str) -> None:
    program, own = seccomp.program(machine), seccomp.MACHINES[machine]
    foreign = [other for other in (*seccomp.Machine, 0x40000003, 0x40000028) if other != own]
    assert {verdict(program, other, 1) for other in foreign} == {seccomp.KILL}
    assert verdict(program, own, 1) == seccomp.ALLOW
    assert len(program) // 8 < 4096  # BPF_MAXINSNS
    if machine == "x86_64":
        assert verdict(program, own, 0x40000000 | 1) == seccomp.KILL


def test_a_machine_without_a_table_is_refused() -> None:
    with pytest.raises(SandboxError, match="sandbox_machine"):
        seccomp.program("riscv64")
