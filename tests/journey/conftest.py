"""A whole small area per test module, its gateway a real process, its people real tokens."""

import copy
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tre.client import Client
from tre.messages import DecisionKind, Submission, Vote
from tre.secure.services import create, open_area

BIN = Path(sys.executable).parent
SCHEMA = {
    "title": "Toy visits",
    "steward": "Tests",
    "population": "toy-people",
    "unit": {"field": "person", "max_rows": 2},
    "primary_key": ["person", "year"],
    "fields": [
        {"name": "person", "type": "integer", "constraints": {"required": True}},
        {"name": "year", "type": "integer", "constraints": {"required": True, "enum": [1, 2]}},
        {"name": "sex", "type": "string", "constraints": {"required": True, "enum": ["f", "m"]}},
        {"name": "age", "type": "integer", "constraints": {"required": True, "minimum": 0, "maximum": 120}},
        {"name": "visits", "type": "integer", "constraints": {"minimum": 0, "maximum": 50}},
    ],
    "twin": {"tier": "plausible", "epsilon": 1.0},
}
PROJECT = {
    "title": "Toy project", "lay_summary": "-", "purpose": "-", "public_benefit": "-", "legal_basis": "-",
    "starts": "2020-01-01", "ends": "2099-12-31", "people": ["ada"],
    "datasets": {"toy": ["year", "sex", "age", "visits"]},
    "allowances": {"toy-people": {"epsilon": 6, "delta": 1e-6}},
}  # fmt: skip


def policies(**changes):
    """The policy files by name; `changes` replaces parts: area={…}, visits={…}, toy={…}."""
    people = {
        name: {
            "name": name.title(), "role": role, "accredited_until": "2099-12-31", **changes.get("people", {}).get(name, {}),
        }
        for name, role in (
            ("ada", "researcher"), ("eve", "researcher"), ("bo", "checker"), ("cy", "checker"), ("di", "checker"), ("dee", "admin"),
        )
    }  # fmt: skip
    area = {
        "title": "Toy area", "controller": "Tests", "review": {"automatic_epsilon": 5.0}, "tick_seconds": 1,
        "sandbox": {"wall_seconds": 60},
    }  # fmt: skip
    other = {
        **PROJECT,
        **changes.get("others", {}),
        "people": ["eve"],
        "datasets": {"other": ["year", "sex", "age", "visits"]},
    }
    return {
        "area.yaml": {**area, **changes.get("area", {})},
        "populations.yaml": {
            "populations": {
                "toy-people": {
                    "title": "Toy",
                    "lifetime": {"epsilon": 40, "delta": 1e-6},
                    **changes.get("population", {}),
                }
            }
        },
        "people.yaml": {"people": people},
        "datasets/toy.yaml": copy.deepcopy({**SCHEMA, **changes.get("toy", {})}),
        "datasets/other.yaml": copy.deepcopy({**SCHEMA, **changes.get("toy", {})}),
        "projects/visits.yaml": {**PROJECT, **changes.get("visits", {})},
        "projects/others.yaml": other,
    }


def write_policies(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(content))
    return folder


def write_data(path, *, people=400, secret=0):
    """Person 7 carries the secret bit: 50 visits when it is set, none when not. Or `secret` has visits by person."""
    planted = secret if isinstance(secret, dict) else {7: 50 if secret else 0}
    with path.open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["person", "year", "sex", "age", "visits"])
        for p in range(people):
            for year in (1, 2):
                visits = planted.get(p, (p * year) % 9)
                out.writerow([p, year, "fm"[p % 2], 18 + p % 60, visits])
    return path


class Area:
    """An area on disk with its gateway's process and its people's clients."""

    def __init__(self, root, *, secret=0, database=None, **changes):
        self.root = root
        self.process = self.worker = None
        self.clients = {}
        services = create(root / "area", database=database)
        services.apply(write_policies(root / "policies", policies(**changes)), dry_run=False)
        for name in ("toy", "other"):
            services.ingest(name, [write_data(root / f"{name}.csv", secret=secret)], drop_invalid=False)
            services.make_twin(name)
        self.tokens = {p: services.make_token(p) for p in ("ada", "eve", "bo", "cy", "di", "dee")}
        services.close()

    def start(self, *, workers=1, worker=None):
        """Serve, in a process of its own; `worker`: a program in the place of tre-admin for the one worker (that is to die)."""
        address = self.root / "area" / "gateway.url"
        address.unlink(missing_ok=True)
        self.process = self._spawn(
            str(BIN / "tre-admin"), "serve", "--port", "0", "--workers", str(0 if worker else workers)
        )
        if worker is not None:
            self.worker = self._spawn(*worker, "work")
        while not address.is_file():
            assert self.process.poll() is None, self.log()
            time.sleep(0.05)
        self.url = address.read_text()
        return self

    def _spawn(self, *command):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRE_")}
        with (self.root / "gateway.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--area", str(self.root / "area")], stdout=log, stderr=log, env=environment
            )

    def log(self):
        return (self.root / "gateway.log").read_text()

    def stop(self, how=signal.SIGTERM):
        """The gateway, and with it, as its pipe is closed, its workers."""
        for client in self.clients.values():
            client.close()
        self.clients = {}
        for process in (self.process, self.worker):
            if process is not None and process.poll() is None:
                process.send_signal(how)
        for process in (self.process, self.worker):
            if process is not None:
                process.wait()
        self.process = self.worker = None

    def client(self, person):
        if person not in self.clients:
            self.clients[person] = Client(self.url, self.tokens[person])
        return self.clients[person]

    def services(self):
        """The secure side in this process, for looking at what no desk may see."""
        return open_area(self.root / "area")

    def ledger(self):
        services = self.services()
        try:
            return [e for b in services.budgets() for e in b["history"] if e["purpose"] == "release"]
        finally:
            services.close()

    # Steps of the journey

    def submit(self, notebook, *, person="ada", project="visits", parameters=None):
        client = self.client(person)
        view = client.submit(Submission(project=project, notebook=notebook, parameters=parameters or {}))
        return until(client, view.id, lambda v: v.stage != "rehearsing")

    def confirm(self, view, *, person="ada"):
        assert view.failure is None, view.failure
        return self.client(person).confirm(view.id, view.plan_digest)

    def finish(self, view, *, person="ada"):
        return until(self.client(person), view.id, lambda v: v.stage.final)

    def approve(self, release, checkers=("bo", "cy"), decision=DecisionKind.APPROVE, comment="-"):
        for checker in checkers:
            client = self.client(checker)
            deadline = time.monotonic() + 90
            while release not in {r.release for r in client.reviews()}:
                assert time.monotonic() < deadline, "never came to review"
                time.sleep(0.1)
            client.vote(release, Vote(decision=decision, comment=comment))

    def desk(self, *command, person="ada", home=None, expect=0):
        """A command of `tre` as a person at a terminal; returns (JSON, stderr)."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRE_")} | {
            "TRE_URL": self.url, "TRE_TOKEN": self.tokens[person], "TRE_HOME": str(home or self.root / f"desk-{person}"),
        }  # fmt: skip
        done = subprocess.run(
            [str(BIN / "tre"), *map(str, command), "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == (expect == 0), done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout else None, done.stderr


def until(client, job, done, seconds=120):
    deadline = time.monotonic() + seconds
    for view in client.follow(job, every=0.1):
        if done(view):
            return view
        assert time.monotonic() < deadline, f"{job} stayed {view.stage}"
    raise AssertionError


def notebook(*cells, parameters=None):
    """A notebook's JSON text from code cells."""
    made = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for i, source in enumerate(cells)
    ]
    if parameters is not None:
        made.insert(0, {**made[0], "id": "p", "source": parameters, "metadata": {"tags": ["parameters"]}})
    metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": made})


ASK = """import tre
toy = tre.dataset("toy")
toy.group_by("sex").release("by-sex", epsilon=1.0, n=tre.count(), mean=tre.mean("visits", bounds=(0, 20)))"""


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    made = Area(tmp_path_factory.mktemp("area")).start()
    yield made
    made.stop()
