"""The wall is in the folders: the import contracts hold, and each is seen to fail on a planted violation."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

PLANTED = [
    ("tre/desk/store.py", "from tre.secure.settings import AreaFolder", "the desk's side never imports"),
    ("tre/client.py", "import tre.gateway.app", "the desk's side never imports"),
    ("tre/messages.py", "from tre.secure import ledger", "the desk's side never imports"),
    ("tre/gateway/app.py", "from tre.secure.database import tables", "the gateway reaches the secure area through"),
    ("tre/rules/policy.py", "import time", "rules are pure"),
    ("tre/rules/audit.py", "import random", "rules are pure"),
    ("tre/statistics/request.py", "import httpx", "statistics touch no network"),
    ("tre/secure/release/check.py", "from opendp.measurements import make_laplace", "noise has one owner"),
    ("tre/desk/dataset.py", "import sqlalchemy", "the database has one owner"),
    ("tre/secure/jobs/work.py", "import subprocess", "inside the area, only the sandbox starts"),
    ("tre/secure/data/registry.py", "import sdv", "SDV has one owner"),
    ("tre/secure/data/twin_replica.py", "import rdt", "SDV has one owner"),
    ("tre/secure/notices.py", "import smtplib", "mail has one owner"),
    ("tre/statistics/noise.py", "import tre.client", "layers"),
    ("tre/newfolder/__init__.py", "", "layers"),
]


def _lint(root):
    command = [str(BIN / "lint-imports"), "--config", str(root / "pyproject.toml"), "--no-cache"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(root)})
    return done.returncode, " ".join(done.stdout.split())


def test_the_contracts_hold():
    code, said = _lint(ROOT)
    assert code == 0, said
    assert "0 broken" in said


@pytest.mark.slow
@pytest.mark.parametrize(("file", "line", "contract"), PLANTED, ids=[f"{f}: {line or 'new'}" for f, line, _ in PLANTED])
def test_a_planted_violation_breaks_its_contract(tmp_path, file, line, contract):
    shutil.copytree(ROOT / "tre", tmp_path / "tre", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    text = path.read_text() if path.exists() else ""
    head = "from __future__ import annotations\n"
    path.write_text(text.replace(head, f"{head}{line}\n", 1) if head in text else f"{line}\n{text}")
    code, said = _lint(tmp_path)
    assert code != 0
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (name,) = [c["name"] for c in config["contracts"] if contract in c["name"]]
    assert f"{name} BROKEN" in said


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("tre/desk/store.py", "import pickle"),
        ("tre/rules/audit.py", "import importlib"),
        ("tre/secure/jobs/collect.py", "from marshal import loads"),
        ("tre/statistics/result.py", "import numpy.random"),
    ],
)
def test_what_contracts_cannot_see_is_a_banned_import(file, line):
    source = (ROOT / file).read_text().replace("import annotations\n", f"import annotations\n{line}\n", 1)
    command = [str(BIN / "ruff"), "check", "--select", "TID251", "--stdin-filename", str(ROOT / file), "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode != 0
    assert "TID251" in done.stdout
    clean = subprocess.run(
        command, input=(ROOT / file).read_text(), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert clean.returncode == 0


# What only the extras bring. A desk has none of it.
EXTRAS = (
    "fastapi",
    "starlette",
    "uvicorn",
    "sqlalchemy",
    "alembic",
    "psycopg",
    "polars",
    "sdv",
    "torch",
    "rdt",
    "copulas",
)

BLOCKED = """
import sys
for name in {names}: sys.modules[name] = None
import pkgutil
import tre, tre.client, tre.messages, tre.errors, tre.terminal
for package in ("desk", "rules", "statistics"):
    top = __import__(f"tre.{{package}}", fromlist=["x"])
    for found in pkgutil.iter_modules(top.__path__):
        __import__(f"tre.{{package}}.{{found.name}}")
tre.dataset, tre.output
print("loaded", sorted(m for m in sys.modules if m.startswith(("tre.secure", "tre.gateway"))))
"""


@pytest.mark.slow
def test_every_module_of_the_desk_loads_where_none_of_the_extras_is_installed():
    """(PyYAML is not among them: papermill, which a desk has, brings it.)"""
    program = BLOCKED.format(names=EXTRAS)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "loaded []"
    # the guard itself: with the same packages blocked, the secure side does not load
    program = BLOCKED.format(names=EXTRAS) + "\nimport tre.secure.services"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode != 0


def test_the_desks_requirements_hold_neither_sdv_nor_a_database():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {d.split(">")[0].split("<")[0].split("=")[0].strip() for d in project["dependencies"]}
    assert not names & set(EXTRAS)
    assert {"jupyterlab", "pandas", "opendp", "papermill", "ipywidgets"} <= names


def test_the_lock_installs_no_torch_and_names_no_index():
    lock = (ROOT / "requirements.lock").read_text()
    torch = [line for line in lock.splitlines() if line.startswith(("torch==", "nvidia-", "triton=="))]
    assert all("sys_platform == 'never'" in line for line in torch)
    assert "http" not in lock.replace("httpx", "").replace("httpcore", "").replace("aiohttp", "").replace(
        "httptools", ""
    )


def test_no_module_has_grown_too_large():
    large = {p.name: n for p in (ROOT / "tre").rglob("*.py") if (n := len(p.read_text().splitlines())) > 450}
    assert not large
