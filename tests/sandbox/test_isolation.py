"""The isolation report, and its guards seen failing: a cage weakened on purpose is found out, each time by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox import ordinary
from tre.errors import SandboxError
from tre.rules.policy import Isolation
from tre.secure.isolation import bait, report, start, table
from tre.secure.isolation.attempts import ATTEMPTS, Attempt, Bait, Judge
from tre.secure.isolation.report import BAD, Verdict
from tre.secure.jobs import collect, running, sandbox
from tre.secure.jobs.box import JOB_USER

ROOT = os.geteuid() == 0
# What an ordinary user's machine can do and root's cannot: boxes without mounts need a Python that their user can read.
OTHERS = ("tests/sandbox/test_isolation.py", "tests/sandbox/test_bare.py", "tests/journey/test_isolation_levels.py")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"


@pytest.fixture(scope="session", autouse=True)
def isolation() -> None:
    reason = sandbox.unavailable()
    if reason:
        pytest.skip(reason)


def named(*names: str) -> list[Attempt]:
    return [ATTEMPTS[name] for name in names]


def told(found: report.Report) -> list[str]:
    """What a failed assertion is to show."""
    return [f"{f.attempt.name}: {f.verdict} ({f.cage}, outside {f.control})" for f in found.bad]


# The cage holds


@pytest.mark.slow
def test_every_attempt_is_stopped_by_the_cage_and_by_nothing_else() -> None:
    before = traces()
    found = report.report()
    assert not found.bad, told(found)
    assert len(found.found) >= 200
    shown = [f for f in found.found if f.verdict is Verdict.STOPPED]
    assert len(shown) >= 130, "attempts whose control arm does not succeed prove nothing"
    open_ones = [f.attempt for f in found.found if f.verdict is Verdict.OPEN]
    assert all(a.open or a.needs for a in open_ones)
    assert "tre-secret" not in json.dumps(table.document(found))
    assert traces() == before, "nothing of the bait stays"


@pytest.mark.slow
def test_every_attempt_is_stopped_where_a_fork_enters_the_box() -> None:
    before = traces()
    found = report.report(forked=True)
    assert not found.bad, told(found)
    assert len([f for f in found.found if f.verdict is Verdict.STOPPED]) >= 130
    assert traces() == before


def traces() -> set[str]:
    places = [Path(tempfile.gettempdir()), Path("/dev/shm"), Path("/var/tmp")]
    found = {str(p) for place in places if place.is_dir() for p in place.glob("tre-bait-*")}
    mine = str(JOB_USER if ROOT else os.getuid())
    for name, owner in (("shm", 7), ("msg", 7), ("sem", 4)):
        lines = [line.split() for line in Path("/proc/sysvipc", name).read_text().splitlines()[1:]]
        found |= {f"{name} {fields[1]}" for fields in lines if fields[owner] == mine}
    found |= {line for line in Path("/proc/keys").read_text().splitlines() if "tre-bait-" in line}
    return found | {str(len(os.listdir("/proc/self/fd"))), *(f"env {name}" for name in os.environ)}


@pytest.mark.slow
def test_every_attempt_is_stopped_where_an_ordinary_user_serves() -> None:
    reason = ordinary.unavailable()
    if reason:
        pytest.skip(reason)
    with ordinary.place() as place:
        done = place.run("-c", "from tre.secure.cli import main; main()", "isolation-report", "--json")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        found = json.loads(done.stdout)
        assert found["totals"]["stopped"] >= 130
        assert found["totals"]["leaked"] == found["totals"]["broken"] == 0
        if ROOT:  # the guards as well: this very file, but for the test that is running
            again = place.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *OTHERS, timeout=900)
            assert again.returncode == 0, again.stdout[-5000:]


def test_the_quick_set_is_stopped_and_lets_a_gateway_start() -> None:
    start.refuse_leaks()


def test_the_quick_set_has_an_attempt_of_every_subject_but_resources() -> None:
    assert {a.subject for a in ATTEMPTS.values() if a.quick} == set(table.SUBJECTS)
    assert not any(a.quick and a.judge is Judge.SUPERVISOR for a in ATTEMPTS.values())


# Planted faults: each weakens the cage in one way


Fault = Callable[[pytest.MonkeyPatch], None]


def arguments(change: Callable[[list[str]], list[str]]) -> Fault:
    """bubblewrap's arguments, changed at the last moment."""

    def planted(monkeypatch: pytest.MonkeyPatch) -> None:
        class Weak(running.Layout):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.arguments = change(self.arguments)

        monkeypatch.setattr(running, "Layout", Weak)

    return planted


def without(*dropped: str, values: int = 0) -> Fault:
    def change(given: list[str]) -> list[str]:
        kept, skip = [], 0
        for argument in given:
            if argument in dropped:
                skip = 1 + values
            if skip:
                skip -= 1
                continue
            kept.append(argument)
        return kept

    return arguments(change)


def also(*more: str) -> Fault:
    return arguments(
        lambda given: [*given[: given.index("--remount-ro")], *more, *given[given.index("--remount-ro") :]]
    )


def no_filter_and_nested(given: list[str]) -> list[str]:
    place = given.index("--seccomp")
    return [a for i, a in enumerate(given) if i not in (place, place + 1) and a != "--disable-userns"]


def hosts_processes(given: list[str]) -> list[str]:
    place = given.index("--proc")
    changed = [*given[:place], "--ro-bind", "/proc", "/proc", *given[place + 2 :]]
    return [a for a in changed if a != "--unshare-pid"]


def unmasked(given: list[str]) -> list[str]:
    place = given.index("/proc/keys")
    return [*given[: place - 2], *given[place + 1 :]]


def writable(target: str) -> Callable[[list[str]], list[str]]:
    def change(given: list[str]) -> list[str]:
        given[given.index(target) - 2] = "--bind"
        return given

    return change


def secret_in_the_environment(given: list[str]) -> list[str]:
    return [*given, "--setenv", bait.VARIABLE, os.environ.get(bait.VARIABLE, "none")]


def another_jobs_outbox(given: list[str]) -> list[str]:
    secrets = Path(tempfile.gettempdir()).glob("tre-bait-*/secret")
    places = [s.parent / "jobs/other/out" for s in secrets if s.read_text() == os.environ.get(bait.VARIABLE)]
    if not places:
        return given  # the first look, whether there can be a box at all
    place = places[0]
    return [*given[: given.index("--remount-ro")], "--bind", str(place), str(place), "--remount-ro", "/dev"]


HELD: list[tempfile.TemporaryDirectory[str]] = []


def launcher(old: str, new: str) -> Fault:
    def planted(monkeypatch: pytest.MonkeyPatch) -> None:
        source = Path(running._LAUNCHER).read_text()
        assert old in source
        folder = tempfile.TemporaryDirectory(prefix="launcher-")
        HELD.append(folder)  # removed when the tests end
        copy = Path(folder.name) / "launcher.py"
        copy.write_text(source.replace(old, new))
        monkeypatch.setattr(running, "_LAUNCHER", copy)

    return planted


def root_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher("if 0 in os.getresuid():", "if False:")(monkeypatch)
    for module in (sandbox, running, bait):
        monkeypatch.setattr(module, "JOB_USER", 0)


def inherited_file(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = subprocess.Popen

    def careless(*args: Any, pass_fds: tuple[int, ...] = (), **kwargs: Any) -> Any:
        held = [int(n) for n in os.listdir("/proc/self/fd") if target(n).endswith("/secret")]
        return plain(*args, pass_fds=(*pass_fds, *held), **kwargs)

    def target(number: str) -> str:
        try:
            return str(Path(f"/proc/self/fd/{number}").readlink())
        except OSError:
            return ""

    monkeypatch.setattr(running.subprocess, "Popen", careless)


def credulous_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def follows(outbox: Path, name: str, *, max_bytes: int) -> bytes | None:
        path = outbox / name
        return path.read_bytes()[:max_bytes] if path.is_file() else None

    monkeypatch.setattr(collect, "read", follows)


def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    class Groupless(sandbox.Groups):
        def __init__(self, limits: Any) -> None:
            super().__init__(limits)
            self.remove()
            self.paths = {}

    monkeypatch.setattr(sandbox, "Groups", Groupless)
    monkeypatch.setattr(running.Running, "limits", lambda *_: {})


def blind_to_the_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "fits", lambda *_, **__: True)


@dataclass(frozen=True)
class Planted:
    fault: Fault
    found_by: tuple[str, ...]
    root: bool = False  # only a supervisor that is root can make it
    refused: bool = True  # the quick set finds it too


PLANTED = {
    "the host's network": Planted(
        without("--unshare-net"), ("tcp_loopback", "udp_loopback", "unix_abstract", "interfaces", "listed_tcp")
    ),
    "no filter of system calls": Planted(
        without("--seccomp", values=1), ("no_filter", "io_uring", "lock", "watch", "trace_me", "attribute")
    ),
    "nested user namespaces": Planted(
        arguments(no_filter_and_nested), ("user_namespace", "user_namespace_by_clone", "user_namespace_by_clone3")
    ),
    "the host's processes": Planted(
        arguments(hosts_processes), ("seen", "signalled", "status_of_another", "session")
    ),
    "the host's shared memory": Planted(without("--unshare-ipc"), ("shm_listed",), refused=False),
    "the list of the user's keys": Planted(arguments(unmasked), ("keys_listed",), refused=False),
    "a directory of the host": Planted(
        also("--bind", tempfile.gettempdir(), tempfile.gettempdir()),
        ("area_secret", "area_rows", "area_database", "area_add", "unix_path", "by_walking"),
    ),
    "another job's outbox": Planted(arguments(another_jobs_outbox), ("area_add_outbox", "area_outbox")),
    "a dataset that can be written": Planted(arguments(writable("/data")), ("write_rows", "add_to_data", "map_rows")),
    "a secret in the environment": Planted(
        arguments(secret_in_the_environment), ("own_environment", "environments")
    ),
    "an open file of the supervisor": Planted(inherited_file, ("inherited",)),
    "capabilities": Planted(
        arguments(lambda given: ["--cap-add" if a == "--cap-drop" else a for a in given]), ("capabilities", "bounding")
    ),
    "root outside": Planted(root_outside, ("files_of_root", "kernel_settings"), root=True
    ),
    "core images": Planted(launcher('order["limits"].items()', '{}.items()'), ("core_image", "large_file")),
    "a reader that follows links": Planted(credulous_reader, ("link", "link_to_system")),
    "no limits": Planted(unlimited, ("memory", "address_space", "processes"), refused=False),
    "an outbox that nobody measures": Planted(
        blind_to_the_outbox, ("outbox", "many_entries", "deep"), refused=False
    ),
}  # fmt: skip


@pytest.fixture(params=PLANTED)
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Planted:
    found = PLANTED[request.param]
    if found.root and not ROOT:
        pytest.skip("only root can make this mistake")
    found.fault(monkeypatch)
    return found


@pytest.mark.slow
def test_a_planted_fault_is_found(planted: Planted) -> None:
    found = report.report(named(*planted.found_by), control=False)
    missing = report._missing_groups()  # what cannot be limited on this machine anyhow
    expected = {n: Verdict.OPEN if ATTEMPTS[n].needs in missing else Verdict.LEAKED for n in planted.found_by}
    assert {f.attempt.name: f.verdict for f in found.found} == expected
    assert Verdict.LEAKED in expected.values()


@pytest.mark.slow
def test_a_gateway_does_not_start_in_a_cage_with_a_planted_fault(planted: Planted) -> None:
    if not planted.refused:
        pytest.skip("found by the whole report only")
    with pytest.raises(SandboxError, match="isolation_leaks") as refused:
        start.refuse_leaks()
    assert "tre-admin isolation-report" in refused.value.next_step
    assert "tre-secret" not in str(refused.value)


def test_no_box_at_all_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "bubblewrap", lambda: "/usr/bin/false")
    with pytest.raises(SandboxError, match="sandbox_unavailable"):
        start.refuse_leaks()


# What does not count as stopped


def mistaken(_: Bait) -> None:
    raise NameError("a mistake of ours")


def test_an_attempt_that_fails_by_its_own_fault_is_not_told_as_stopped() -> None:
    made = report._found(ATTEMPTS["seen"], report.Result("broken", "NameError"), None, {})
    assert made.verdict is Verdict.BROKEN
    assert made.verdict in BAD
    from tre.secure.isolation.attempts import harness

    ATTEMPTS["mistaken"] = Attempt(name="mistaken", does="", subject="files", run=mistaken)
    try:
        assert harness._made("mistaken", Bait(outside=False)) == ("broken", "NameError")
    finally:
        del ATTEMPTS["mistaken"]


def test_a_box_that_ends_early_leaves_no_attempt_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bait, "START", "import sys; sys.argv = None")
    found = report._cage(tuple(named("seen", "memory")), _bait := fake_bait(), Isolation.FULL, sandbox.run)
    _bait.end()
    assert all(found.get(name, report.NONE).how == "broken" for name in ("seen", "memory"))


class fake_bait:  # noqa: N801  # stands for the real one, without its bystander
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        bait._lay_out(Path(self._folder.name), "x")
        held = {"pid": 1, "tcp": 1, "udp": 1, "lock_inode": 1, "address": 1}
        self._bait = bait.Bait(Path(self._folder.name), "m", "x", held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bait, name)

    def end(self) -> None:
        self._folder.cleanup()


def test_an_attempt_that_nothing_stops_outside_either_proves_nothing() -> None:
    stopped, reached = report.Result("stopped", "EPERM"), report.Result("reached", "-")
    judged = {
        (stopped, reached): Verdict.STOPPED,
        (stopped, stopped): Verdict.UNSHOWN,
        (stopped, report.NONE): Verdict.UNSHOWN,
        (reached, reached): Verdict.LEAKED,
        (reached, stopped): Verdict.LEAKED,
        (report.NONE, reached): Verdict.BROKEN,
    }
    for (cage, outside), verdict in judged.items():
        assert report._found(ATTEMPTS["seen"], cage, outside, {}).verdict is verdict
    assert report._found(ATTEMPTS["record_lock"], reached, reached, {}).verdict is Verdict.OPEN
    assert report._found(ATTEMPTS["memory"], reached, reached, {"memory": "no group"}).verdict is Verdict.OPEN
    assert report._found(ATTEMPTS["memory"], reached, reached, {}).verdict is Verdict.LEAKED


def test_what_a_box_says_of_an_attempt_is_told_in_words_of_ours_only(tmp_path: Path) -> None:
    arm = bait.Arm(tmp_path, tmp_path, tmp_path)
    lines = [["seen", "stopped", "a row of the data"], ["nobody", "stopped", "EPERM"], ["signalled", "fine", "-"], 7]
    (tmp_path / "results").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "{not json\n")
    assert report._results(arm) == {"seen": report.Result("stopped", "?")}


# The command and the page


@pytest.mark.slow
def test_the_command_tells_one_document_and_fails_when_something_got_through(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from tre.secure.cli import cli

    done = subprocess.run(
        [sys.executable, "-m", "tre.secure.cli", "isolation-report", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stopped"] is True
    some = report.report(named("seen", "load"))
    monkeypatch.setattr(report, "report", lambda **_: some)
    assert CliRunner().invoke(cli, ["isolation-report", "--all"]).exit_code == 0
    leaking = report.Report((report.Found(ATTEMPTS["seen"], Verdict.LEAKED, report.Result("reached", "-"), None),), 1.0)
    monkeypatch.setattr(report, "report", lambda **_: leaking)
    failed = CliRunner().invoke(cli, ["isolation-report", "--json"])
    assert isinstance(failed.exception, SandboxError)
    assert json.loads(failed.stdout)["totals"]["leaked"] == 1


def test_the_page_lists_the_attempts() -> None:
    page = PAGE.read_text()
    listed = page[page.index(table.START) : page.index(table.END) + len(table.END)]
    assert listed == table.markdown(), "write it anew: python -m tre.secure.isolation.table"
