"""An ordinary user, for tests that root runs: a copy of the repository and of its packages which that user can read.

    with ordinary.place() as place: place.run("-m", "pytest", …)

As somebody else than root it is this very repository and its Python. As root it is a virtual environment of the
distribution's Python, as the present one may lie below a folder that is closed to others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USER = 64990  # no person's, no service's, and not the jobs'
PYTHON = "/usr/bin/python3"
COPIED = ("tre", "tests", "docs", "policies", "pyproject.toml", "README.md", "CHANGELOG.md")


@dataclass(frozen=True)
class Place:
    repository: Path
    python: str
    home: Path
    become: tuple[str, ...]

    def run(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Python with these arguments, as the ordinary user, in the repository."""
        environment = {"PATH": f"{Path(self.python).parent}:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        return subprocess.run(
            [*self.become, self.python, *arguments],
            cwd=self.repository, env=environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip


def unavailable() -> str | None:
    """Why there is none here; None if there is."""
    if os.geteuid() != 0:
        return None
    if shutil.which("setpriv") is None:
        return "there is no setpriv"
    ask = [PYTHON, "-c", "import sys, venv; print(*sys.version_info[:2])"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, check=False)
    except OSError:
        return "the distribution has no Python"
    if done.returncode != 0 or done.stdout.split() != [str(n) for n in sys.version_info[:2]]:
        return "the distribution's Python is of another version"
    return None


@contextmanager
def place() -> Iterator[Place]:
    if os.geteuid() != 0:
        with tempfile.TemporaryDirectory() as home:
            yield Place(ROOT, sys.executable, Path(home), ())
        return
    with tempfile.TemporaryDirectory(prefix="ordinary-") as name:
        top = Path(name)
        top.chmod(0o755)
        packages = environment(top / "venv")
        (packages / "repository.pth").write_text(f"{top / 'repository'}\n")
        for command, module in (("tre", "tre.desk.cli"), ("tre-admin", "tre.secure.cli")):
            script = top / "venv" / "bin" / command
            script.write_text(f"#!{top}/venv/bin/python\nfrom {module} import main\nmain()\n")
            script.chmod(0o755)
        (top / "repository").mkdir()
        for part in COPIED:
            source, target = ROOT / part, top / "repository" / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        (top / "home").mkdir()
        os.chown(top / "home", USER, USER)
        become = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--")
        yield Place(top / "repository", str(top / "venv" / "bin" / "python"), top / "home", become)


def environment(venv: Path) -> Path:
    """A virtual environment with the present one's packages: by hard links where they are on one disk."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", "--system-site-packages", str(venv)], check=True)
    (present,) = (Path(p) for p in sys.path if p.endswith("site-packages") and Path(p).is_relative_to(sys.prefix))
    (target,) = venv.glob("lib/python3*/site-packages")
    for source in present.iterdir():
        if source.name == "__pycache__" or "__editable__" in source.name or source.name.startswith("tre-"):
            continue
        if source.is_dir():
            shutil.copytree(source, target / source.name, copy_function=_link, symlinks=True)
        else:
            _link(str(source), str(target / source.name))
    return target


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
