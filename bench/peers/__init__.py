"""Other libraries for differential privacy, each in an environment of its own, made on demand and kept.

`NAME/requirements.txt` pins what is installed, `NAME/run.py` answers a task file as `protocol` describes, on that
environment's Python. Nothing of a peer is imported here. Environments lie under bench/results/environments, which git
ignores, and are made anew when their requirements change. A peer that cannot be installed is left out, with one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.measure import clean, say

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / "results" / "environments"
NAMES = ("opendp_context", "opendp_mbi", "smartnoise", "diffprivlib", "pipelinedp")


class Unavailable(Exception):
    """A peer that cannot be installed here, or that ended without an answer; says why in one line."""


def made(name: str) -> Path | None:
    """The Python that has this peer as it is to be, if it is there already."""
    mark = ENVIRONMENTS / name / "requirements.sha256"
    return ENVIRONMENTS / name / "bin" / "python" if mark.is_file() and mark.read_text() == _wanted(name) else None


def _wanted(name: str) -> str:
    return hashlib.sha256((HERE / name / "requirements.txt").read_bytes() + sys.version.encode()).hexdigest()


def environment(name: str) -> Path:
    """The Python that has this peer. Made with venv, filled by the project's uv or else by pip."""
    there = made(name)
    if there is not None:
        return there
    requirements, place = HERE / name / "requirements.txt", ENVIRONMENTS / name
    python = place / "bin" / "python"
    say(f"{name}: installing {requirements.relative_to(HERE.parents[1])}")
    shutil.rmtree(place, ignore_errors=True)
    _install("making its environment", sys.executable, "-m", "venv", str(place))
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    tool = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    _install("installing", *tool, "--quiet", "-r", str(requirements))
    (place / "requirements.sha256").write_text(_wanted(name))
    return python


def _install(what: str, *command: str) -> None:
    # The system's certificates, as in scripts/setup.sh.
    done = subprocess.run(command, env=clean() | {"UV_SYSTEM_CERTS": "1"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{what} failed: {_last_line(done.stderr)}")


def run(name: str, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The peer's answer to a task document. Raises Unavailable."""
    python = environment(name)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(task))
    # On its path: the protocol and the other peers' scripts, nothing of ours.
    alone = {"PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(python), "-W", "ignore", str(HERE / name / "run.py"), str(path)]
    done = subprocess.run(command, env=clean() | alone, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"ended with {done.returncode}: {_last_line(done.stderr)}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing said"


def path_of(name: str, script: str) -> str:
    return os.fspath(HERE / name / script)
