"""A PostgreSQL server for tests and benchmarks: the distribution's programs, a temporary folder, a Unix socket only.

It refuses to run as root, so root starts it as an ordinary user. Durable as shipped: fsync and synchronous_commit stay on.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg


def programs():
    """The folder of initdb and pg_ctl: on the path, or where Debian keeps them; None where there are none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return places[-1].parent if places else None


def unavailable():
    """Why there can be no server here, or None."""
    if programs() is None:
        return "PostgreSQL's server is not installed (Debian: the package postgresql)"
    if os.getuid() == 0 and shutil.which("runuser") is None:
        return (
            "PostgreSQL refuses root, and there is no runuser to become somebody else (Debian: the package util-linux)"
        )
    return None


class Server:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tre-pg-", dir="/tmp"))
        self.databases = 0
        self.user = []
        if os.getuid() == 0:
            names = {p.pw_name for p in pwd.getpwall()}
            name = "postgres" if "postgres" in names else "nobody"
            self.user = ["runuser", "-u", name, "--"]
            shutil.chown(self.folder, name)

    def __enter__(self):
        self._run("initdb", "--auth=trust", "--username=tre", "--encoding=UTF8", "--locale=C", "--no-sync")
        options = f"-k {self.folder} -c listen_addresses=''"
        self._run("pg_ctl", "-o", options, "-l", str(self.folder / "log"), "--wait", "--timeout=60", "start")
        return self

    def __exit__(self, *_):
        try:
            self._run("pg_ctl", "--mode=immediate", "--wait", "stop")
        finally:
            shutil.rmtree(self.folder)

    def new(self):
        """The address of a new, empty database."""
        self.databases += 1
        name = f"area{self.databases}"
        with psycopg.connect(host=str(self.folder), user="tre", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://tre@/{name}?host={self.folder}"

    def _run(self, program, *arguments):
        command = [*self.user, str(programs() / program), "-D", str(self.folder / "data"), *arguments]
        done = subprocess.run(
            command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
