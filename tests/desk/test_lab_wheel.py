"""The wheel brings JupyterLab's extension, without node: the very bytes that are in the repository, in their places."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tre/desk/lab/extension"
CONFIG, SHARED = "etc/jupyter/jupyter_server_config.d/tre.json", "share/jupyter/labextensions/@tre/lab"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy: building leaves files behind."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "tre", folder / "tre", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_it_is_in_the_wheel_and_in_an_editable_install_built_where_there_is_no_node(source, tmp_path, kind):
    build = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build], cwd=source, env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        placed = {
            n.split(".data/data/")[1]: archive.read(n)
            for n in archive.namelist()
            if ".data/data/" in n and n[-1] != "/"
        }
        assert not [n for n in archive.namelist() if n.startswith("tre/desk/lab/extension")]  # once, not twice
    expected = {f"{SHARED}/{p.relative_to(HERE)}": p.read_bytes() for p in HERE.rglob("*") if p.is_file()}
    expected[CONFIG] = expected.pop(f"{SHARED}/tre.json")
    assert placed == expected
