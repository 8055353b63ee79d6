"""The commands' manners: an error is one message with a code and a next step, and --json leaves stdout to JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent

WRONG = [
    ("login_missing", "tre", ["jobs"]),
    ("login_missing", "tre", ["submit", "there.ipynb", "--project", "p"]),
    ("gateway_unreachable", "tre", ["login", "http://127.0.0.1:1", "--token", "x"]),
    ("gateway_unreachable", "tre", ["login", "no address", "--token", "x"]),
    ("file_error", "tre", ["login", "http://127.0.0.1:1", "--token", "ÿ€"]),
    ("bundle_missing", "tre", ["verify", "nowhere", "--any-key"]),
    ("bundle_unreadable", "tre", ["verify", "there.ipynb", "--any-key"]),
    ("area_unnamed", "tre-admin", ["budget"]),
    ("area_missing", "tre-admin", ["--area", "nowhere", "budget"]),
    ("area_exists", "tre-admin", ["init", "."]),
    ("file_error", "tre-admin", ["init", "there.ipynb/area"]),
]


@pytest.mark.parametrize(("code", "program", "arguments"), WRONG, ids=[f"{p} {' '.join(a)}" for _, p, a in WRONG])
def test_what_is_done_in_the_wrong_order_or_place_is_told(tmp_path, code, program, arguments):
    (tmp_path / "there.ipynb").write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}')
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [str(BIN / program), *arguments, "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert f"error [{code}]" in done.stderr
    assert "next step:" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_all_that_stdout_holds(tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [str(BIN / "tre-admin"), "init", str(tmp_path / "area"), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["receipt_key"]


def test_without_the_secure_extra_the_admins_command_says_what_to_install():
    program = (
        "import sys; sys.modules['sqlalchemy'] = None; sys.argv = ['tre-admin', 'init', '/nonexistent/area']\n"
        "from tre.secure.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "[extra_missing]" in done.stderr
    assert 'pip install "tre[secure]"' in done.stderr
