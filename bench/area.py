"""A secure area for one benchmark: temporary, from the demonstration's policies and data, its gateway a real process.

Set up by the commands of the documentation. Differs from the demonstration in four numbers: ticks are as short as they
can be, budgets as large, whatever has noise alone is released without people, and `run` is what is asked for.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from bench.measure import ROOT, clean, command

BIN = Path(sys.executable).parent
DATASET, PROJECT, RESEARCHER, POPULATION = "hie", "visits", "ada", "hie-participants"
LARGE = {"epsilon": 100.0, "delta": 1.0e-6}


def one_cell(source: str) -> str:
    """A notebook with one code cell, as JSON."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
    metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]})


class Area:
    def __init__(self, folder: Path, *, run: str) -> None:
        self.folder = folder
        self.place = folder / "area"
        self._gateway: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._policies(folder / "policies", run)
        self._admin("init", str(self.place))
        self._admin("apply", str(folder / "policies"))
        for name in (DATASET, f"{DATASET}-people"):
            self._admin("ingest", name, str(ROOT / "tre" / "demo" / f"{name.replace('-', '_')}.parquet"))
            self._admin("twin", name)
        self.token = self._admin("token", RESEARCHER)["token"]

    def _policies(self, folder: Path, run: str) -> None:
        changes: dict[str, dict[str, Any]] = {
            "area.yaml": {"run": run, "tick_seconds": 1, "review": {"automatic_epsilon": 1.0}},
            "populations.yaml": {"populations": {POPULATION: {"title": "Bench", "lifetime": LARGE}}},
            f"projects/{PROJECT}.yaml": {"allowances": {POPULATION: LARGE}},
        }
        source = ROOT / "policies"
        for path in sorted(source.rglob("*.yaml")):
            name = path.relative_to(source)
            content = yaml.safe_load(path.read_text()) | changes.get(name.as_posix(), {})
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(yaml.safe_dump(content))

    def _admin(self, *arguments: str) -> Any:
        program = str(BIN / "tre-admin")
        return json.loads(command(program, *arguments, "--json", environment={"TRE_AREA": str(self.place)})[1])

    def serve(self) -> None:
        """Start the gateway; it says where it is once it answers."""
        address = self.place / "gateway.url"
        arguments = [str(BIN / "tre-admin"), "serve", "--port", "0", "--area", str(self.place)]
        log_path = self.folder / "gateway.log"
        with log_path.open("wb") as log:
            self._gateway = subprocess.Popen(arguments, stdout=log, stderr=log, env=clean())
        while not address.is_file():
            if self._gateway.poll() is not None:
                raise SystemExit(f"the gateway ended:\n{log_path.read_text()}")
            time.sleep(0.05)
        self.url = address.read_text()

    def stop(self) -> None:
        if self._gateway is not None:
            self._gateway.terminate()
            self._gateway.wait()

    def desk(self, name: str) -> dict[str, str]:
        """The environment of a desk of its own for the researcher."""
        return {"TRE_URL": self.url, "TRE_TOKEN": self.token, "TRE_HOME": str(self.folder / f"desk-{name}")}

    def settle(self) -> None:
        """Wait until no notebook runs on real rows, where the desk cannot see it: it would slow down what comes next."""
        until = time.monotonic() + 120
        while self._runs() and time.monotonic() < until:
            time.sleep(0.05)

    def _runs(self) -> int:
        connection = sqlite3.connect(f"file:{self.place / 'area.db'}?mode=ro", uri=True)
        try:
            query = "SELECT count(*) FROM jobs WHERE state IN ('rehearsing', 'queued', 'running')"
            return int(connection.execute(query).fetchone()[0])
        finally:
            connection.close()
