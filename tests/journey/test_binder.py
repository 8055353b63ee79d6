"""The public demonstration, by Binder's own two steps: a clean home, an environment of its own, an ordinary user. What it took is
printed; binder/README.md has the figures.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from tornado.httpclient import HTTPRequest

from tests.hub.running import executed
from tests.sandbox import ordinary

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "tre", "binder", "notebooks", "policies", "pyproject.toml", "setup.py", "README.md", "LICENSE", "requirements.lock", "requirements.build",
    "requirements.overrides",
)  # fmt: skip
TOKEN = "a-token-of-the-visitors"
# Of those who have less memory than this, mybinder.org says nothing; above it a kernel may be ended.
GUARANTEED = 1 << 30


class Binder:
    """What repo2docker makes, without the container."""

    def __init__(self, place):
        self.place, self.repository = place, place / "repository"
        place.chmod(0o755)
        self.repository.mkdir()
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, self.repository / part)
        self.python = place / "venv" / "bin" / "python"
        ordinary.environment(place / "venv")
        shutil.copy(Path(sys.prefix) / "bin" / "uv", self.python.with_name("uv"))
        (place / "home").mkdir()
        self.become = ()
        if os.geteuid() == 0:
            for folder in (
                place / "venv",
                self.repository,
                place / "home",
            ):  # files of the environment are shared: not those
                for path in (folder, *folder.rglob("*")):
                    if not path.is_symlink() and (path.is_dir() or folder == self.repository):
                        os.chown(path, ordinary.USER, ordinary.USER)
            self.become = ("setpriv", f"--reuid={ordinary.USER}", f"--regid={ordinary.USER}", "--clear-groups", "--")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.environment = {
            "PATH": f"{self.python.parent}:/usr/bin:/bin", "HOME": str(place / "home"), "LANG": "C.UTF-8",
            "TRE_PORT": str(self.port), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def command(self, *command):
        done = subprocess.run(
            [*self.become, *map(str, command)], cwd=self.repository, env=self.environment, capture_output=True, text=True,
            check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def play(self, person, *command):
        """As the visitor types it into a terminal."""
        return json.loads(self.command(self.repository / "binder/play", person, *command, "--json").stdout)


@pytest.fixture(scope="module")
def binder(tmp_path_factory):
    reason = ordinary.unavailable()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="binder-") as folder:  # pytest's own folders are closed to others
        made = Binder(Path(folder))
        began = time.monotonic()
        made.command("binder/postBuild")
        print(f"postBuild, its packages there: {time.monotonic() - began:.0f} s")
        yield made


@dataclass
class Lab:
    address: str
    process: int


@pytest.fixture(scope="module")
def lab(binder):
    """`start` with what Binder starts: a Jupyter server, and it alone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lab = [
        "python",
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--IdentityProvider.token={TOKEN}",
    ]
    began = time.monotonic()
    with (binder.place / "start.log").open("wb") as log:
        process = subprocess.Popen(
            [*binder.become, "binder/start", *lab], cwd=binder.repository, env=binder.environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        said = binder.place / "start.log"
        for what, url in (
            ("JupyterLab", f"http://127.0.0.1:{port}/api/status?token={TOKEN}"),
            ("the gateway", f"http://127.0.0.1:{binder.port}/healthz"),
        ):
            while not answers(url):
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < began + 120, said.read_text()
                time.sleep(0.1)
            print(f"start to {what}: {time.monotonic() - began:.0f} s")
        assert "THERE IS NO WALL HERE" in said.read_text()
        yield Lab(f"127.0.0.1:{port}", process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def answers(url):
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def in_kernel(lab, code):
    """What the code prints, in a kernel of its own."""
    headers = {"authorization": f"token {TOKEN}"}
    with httpx.Client(base_url=f"http://{lab}", headers=headers, trust_env=False, timeout=60) as http:
        kernel = f"/api/kernels/{http.post('/api/kernels', json={'name': 'python3'}).raise_for_status().json()['id']}"
        try:
            return asyncio.run(executed(HTTPRequest(f"ws://{lab}{kernel}/channels", headers=headers), code))
        finally:
            http.delete(kernel)


class Memory(threading.Thread):
    """The most that a process and all that it started had together, what they share counted once."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.top, self.most, self.done = psutil.Process(process), 0, threading.Event()

    def run(self):
        while not self.done.wait(0.3):
            now = 0
            for process in (self.top, *self.top.children(recursive=True)):
                with suppress(psutil.Error):  # it has ended meanwhile
                    now += process.memory_full_info().pss
            self.most = max(self.most, now)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()


# What the visitor runs in the notebook; `play` is for terminals.
AS_ADA = """
import json, subprocess
def tre(*command):
    done = subprocess.run(["tre", *command, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr
job, warned = tre("submit", "notebooks/01-first-analysis.ipynb", "--project", "visits", "--yes")
print(json.dumps({"job": job["id"], "release": job["release"], "warned": "public data only" in warned}))
"""


def test_a_stranger_makes_the_whole_journey_in_little_memory(binder, lab):
    with Memory(lab.process) as memory:
        asked = json.loads(in_kernel(lab.address, AS_ADA))
        assert asked["warned"]
        release = asked["release"]
        for checker in ("bo", "cy"):
            while release not in {r["release"] for r in binder.play(checker, "tre", "reviews")}:
                time.sleep(0.3)
            binder.play(checker, "tre", "review", release, "--approve")
        assert binder.play("ada", "tre", "job", asked["job"], "--wait")["stage"] == "released"
        results = binder.place / "home" / "results"
        binder.play("ada", "tre", "fetch", release, results)
        assert binder.play("ada", "tre", "verify", results)["receipt"]["isolation"] == "none"
        replayed = binder.place / "home" / "replayed.ipynb"
        binder.command(
            "binder/play",
            "ada",
            "python",
            "-m",
            "papermill",
            "--no-progress-bar",
            "notebooks/01-first-analysis.ipynb",
            replayed,
        )
        assert "RELEASED" in replayed.read_text()
        assert [b["account"] for b in binder.play("dee", "tre-admin", "budget")] == ["hie-participants"]
    print(f"at most {memory.most / (1 << 20):.0f} MB")
    assert memory.most < GUARANTEED


def test_the_first_page_says_where_one_is_and_runs(binder, lab):
    done = binder.place / "home" / "start-here.ipynb"
    binder.command(
        "binder/play", "ada", "python", "-m", "papermill", "--no-progress-bar", "binder/start-here.ipynb", done
    )
    assert "no wall" in done.read_text()
