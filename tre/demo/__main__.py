"""`python -m tre.demo [FOLDER]`: the whole journey, headless, by the commands of the documentation alone.

It starts a gateway in a process of its own, plays four people by their tokens, and leaves the area, the release and the
replayed notebook in FOLDER. `--lab` then opens JupyterLab for the researcher. Run again, it starts from an empty area.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from tre.demo import unwalled

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
NOTEBOOK = ROOT / "notebooks" / "01-first-analysis.ipynb"
# What no statistic gives, over blocks of people: few of them, so a mean within narrow bounds.
BLOCKS = 24
OVER_BLOCKS = """import numpy as np
import tre
visits = np.sort(tre.dataset("hie").to_pandas()["mdvis"].to_numpy())[::-1]
tenth = visits[: max(1, len(visits) // 10)].sum() / max(visits.sum(), 1)
tre.estimate("share-of-top-tenth", tenth, bounds=(0.2, 0.8), epsilon=1.0, aggregator="mean")"""
# JupyterLab asks nobody about its news, and looks for no newer version, on the first page that a newcomer sees.
QUIET = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
PEOPLE = {"ada": "researcher", "bo": "output checker", "cy": "output checker", "dee": "admin"}

console = Console(highlight=False, soft_wrap=True)


class Demo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.area = folder / "area"
        self.gateway: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.tokens: dict[str, str] = {}
        self.started = time.monotonic()

    # Speaking as somebody

    def run(self, *command: str, person: str | None = None, **more: str) -> Any:
        """A command of ours with --json, as a person at their desk or as the admin of the area."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRE_")} | more
        if person is None:
            environment["TRE_AREA"] = str(self.area)
        else:
            environment |= self.desk(person)
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:], "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def desk(self, person: str) -> dict[str, str]:
        return {"TRE_URL": self.url, "TRE_TOKEN": self.tokens[person], "TRE_HOME": str(self.folder / "desks" / person)}

    def step(self, text: str) -> None:
        console.print(f"[dim]{time.monotonic() - self.started:5.1f} s[/dim]  {text}")

    # The journey

    def empty(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def set_up(self, policies: Path = ROOT / "policies") -> None:
        self.step("a secure area, and the policies a data controller has written")
        self.run("tre-admin", "init", str(self.area))
        self.run("tre-admin", "apply", str(policies))
        self.step("real data: the RAND Health Insurance Experiment, treated as if it were sensitive")
        for name in ("hie", "hie-people"):
            done = self.run("tre-admin", "ingest", name, str(DATA / f"{name.replace('-', '_')}.parquet"))
            self.step(
                f"  {name}: {done['rows']:,} rows of {done['people']:,} people, checked against the declared schema"
            )
        for name in ("hie", "hie-people"):
            made = self.run("tre-admin", "twin", name)
            cost = f"charged epsilon {made['epsilon']:g}" if made["epsilon"] else "cost nothing"
            self.step(f"  the synthetic twin of {name}: {made['tier']}, {made['rows']:,} rows, {cost}")
        self.tokens = {person: self.run("tre-admin", "token", person)["token"] for person in PEOPLE}
        (self.folder / "tokens.json").write_text(json.dumps(self.tokens))
        (self.folder / "tokens.json").chmod(0o600)
        self.step("four people: " + ", ".join(f"{p} ({role})" for p, role in PEOPLE.items()))

    def serve(self) -> None:
        """Start the gateway and wait until it says where it is."""
        log = (self.folder / "gateway.log").open("wb")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRE_")}
        self.gateway = subprocess.Popen(
            [str(BIN / "tre-admin"), "serve", "--port", "0", "--area", str(self.area)],
            env=environment,
            stdout=log,
            stderr=log,
        )
        address = self.area / "gateway.url"
        while not (address.is_file() and self._answers(address.read_text())):
            if self.gateway.poll() is not None:
                raise SystemExit(f"the gateway ended:\n{(self.folder / 'gateway.log').read_text()}")
            time.sleep(0.1)
        self.url = address.read_text()
        self.step(f"the gateway answers at {self.url}")

    def _answers(self, url: str) -> bool:
        import httpx

        try:
            return httpx.get(f"{url}/healthz", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def over_blocks(self) -> dict[str, Any]:
        """Submitted and confirmed; it comes at the moment that was fixed then."""
        notebook = self.folder / "over-blocks.ipynb"
        cell: dict[str, Any] = {
            "cell_type": "code",
            "id": "a",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": OVER_BLOCKS,
        }
        metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
        notebook.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]}))
        job = self.run(
            "tre", "submit", str(notebook), "--project", "visits", "--blocks", str(BLOCKS), "--yes", person="ada"
        )
        self.step(
            f"ada submits another, for a number that no statistic gives, over {BLOCKS} blocks: due at {job['due']}"
        )
        return dict(job)

    def estimated(self, job: dict[str, Any]) -> None:
        done = self.run("tre", "job", job["id"], "--wait", person="ada")
        if done["stage"] != "released":
            raise SystemExit(f"the job over blocks ended as {done['stage']}; see {self.folder / 'gateway.log'}")
        results = self.folder / "release-over-blocks"
        self.run("tre", "fetch", job["release"], str(results), person="ada")
        (told,) = json.loads((results / "values.json").read_bytes())["estimates"]
        self.step(
            f"  the tenth with most visits has {told['values'][0]:.0%} of them ({told['low'][0]:.0%} to {told['high'][0]:.0%}, "
            "for the noise), at epsilon 1: one person was in one block, whatever the notebook does"
        )

    def journey(self) -> dict[str, Any]:
        self.step("ada submits a notebook: it is rehearsed on the twin, which fixes what will leave")
        job = self.run("tre", "submit", str(NOTEBOOK), "--project", "visits", "--yes", person="ada")
        for c in job["plan"]["requests"]:
            errors = ", ".join(f"{k} ± {v:.3g}" for k, v in c["expected_error"].items() if v is not None)
            self.step(f"  planned: {c['name']}, epsilon {c['request']['epsilon']:g}; to expect: {errors}")
        for o in job["plan"]["outputs"]:
            self.step(f"  planned: {o['name']}, an output without noise, for two people to decide")
        self.step(
            "ada confirms; the cost is reserved; papermill runs the notebook on the real rows, in a sandbox without network"
        )
        release = job["release"]
        for checker in ("bo", "cy"):
            while not any(r["release"] == release for r in self.run("tre", "reviews", person=checker)):
                time.sleep(0.5)
            findings = [f for o in self.run("tre", "review", release, person=checker)["outputs"] for f in o["findings"]]
            self.run("tre", "review", release, "--approve", person=checker)
            passed = sum(f["verdict"] == "pass" for f in findings)
            self.step(
                f"{checker} reads the code, the output and the rules' findings ({passed} of {len(findings)} pass), and approves"
            )
        done = self.run("tre", "job", job["id"], "--wait", person="ada")
        if done["stage"] != "released":
            raise SystemExit(f"the job ended as {done['stage']}; see {self.folder / 'gateway.log'}")
        self.step("the check charged the ledger, drew OpenDP's noise once, and signed a receipt")
        return dict(done)

    def afterwards(self, job: dict[str, Any], over_blocks: dict[str, Any]) -> None:
        release, results = job["release"], self.folder / "release"
        self.run("tre", "fetch", release, str(results), person="ada")
        self.run("tre", "verify", str(results), person="ada")
        self.step(f"ada fetches {release} and verifies every byte of it, offline")
        html = self.replay()
        self.run("tre-admin", "audit", "verify")
        self.step("the same notebook, run again at ada's desk, now shows the released values")
        self.estimated(over_blocks)
        self.report(html)

    def replay(self) -> Path:
        """The notebook at the desk, executed by papermill and rendered; it finds the release by itself."""
        os.environ |= self.desk("ada")
        from tre.desk.kernel import execute

        executed = self.folder / "replayed.ipynb"
        execute(NOTEBOOK, executed)
        import nbformat
        from nbconvert import HTMLExporter

        exporter = HTMLExporter()  # type: ignore[no-untyped-call]
        body, _ = exporter.from_notebook_node(nbformat.read(executed, as_version=4))  # type: ignore[no-untyped-call]
        executed.with_suffix(".html").write_text(body)
        return executed.with_suffix(".html")

    def report(self, html: Path) -> None:
        """What was released, with intervals, beside what it cost."""
        import tre.desk.release as shown
        from tre.messages import Released

        values = json.loads((self.folder / "release" / "values.json").read_bytes())["released"]
        info = self.run("tre", "datasets", person="ada")
        from tre.messages import DatasetInfo

        infos = {i["id"]: DatasetInfo.model_validate(i) for i in info}
        for item in map(Released.model_validate, values):
            origin = shown.Origin.RELEASED
            console.print()
            console.print(
                repr(
                    shown.Release(
                        item.name, item.request, item.table, origin, infos[item.request.dataset], item.release
                    )
                ),
                markup=False,
            )
        console.print("\n[bold]Released without noise[/bold], approved by two people:")
        console.print((self.folder / "release" / "outputs" / "any-visit-by-coinsurance.csv").read_text(), markup=False)
        for b in self.run("tre", "budget", "--project", "visits", person="ada"):
            console.print(
                f"[bold]{b['kind']} {b['account']}[/bold]: spent epsilon {b['used_epsilon']:.3f} of {b['limit_epsilon']:.1f} "
                f"(delta {b['delta']:g}); epsilon {b['left_epsilon']:.3f} still fits."
            )
        from tre.desk.show import ADDING_UP

        console.print(ADDING_UP)
        console.print(
            "\nEach ± holds the true value on the real rows in 95 of 100 releases. What anyone can learn about one person from "
            "all of it together is bounded by the epsilon spent; the output without noise is outside that promise, and its "
            "receipt says so.\n"
        )
        console.print("[bold]Look at it[/bold]")
        console.print(f"  the replayed notebook, with plots   {html}")
        console.print(f"  values, plot-ready, and the receipt {self.folder / 'release'}")
        console.print("  JupyterLab as ada                   make lab")
        console.print(f"\nThe whole journey took {time.monotonic() - self.started:.0f} s.")

    def lab(self) -> None:
        """JupyterLab for ada, beside a running gateway, until stopped."""
        self.tokens = json.loads((self.folder / "tokens.json").read_text())
        self.serve()
        home = self.folder / "lab"
        home.mkdir(exist_ok=True)
        for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
            if not (home / notebook.name).exists():
                shutil.copy(notebook, home / notebook.name)
        settings = self.folder / "lab-config" / "labconfig"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "default_setting_overrides.json").write_text(json.dumps(QUIET))
        config = os.pathsep.join(filter(None, (str(settings.parent), os.environ.get("JUPYTER_CONFIG_PATH"))))
        console.print(f"JupyterLab for ada, in {home}; the gateway is at {self.url}. Stop with Ctrl-C.")
        subprocess.run(
            [sys.executable, "-m", "jupyterlab", f"--notebook-dir={home}", *_as_root()],
            # the commands are at hand in JupyterLab's terminals, too
            env=os.environ
            | self.desk("ada")
            | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "JUPYTER_CONFIG_PATH": config},
            check=False,
        )

    def stop(self) -> None:
        if self.gateway is not None:
            self.gateway.terminate()
            self.gateway.wait()


def _as_root() -> list[str]:
    return ["--allow-root"] if os.geteuid() == 0 else []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tre.demo", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / ".demo")
    parser.add_argument("--lab", action="store_true", help="open JupyterLab for the demonstration's researcher")
    parser.add_argument("--without-wall", action="store_true", help="only set up, where nothing isolates (Binder)")
    arguments = parser.parse_args()
    demo = Demo(arguments.folder.resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the gateway is stopped too
    try:
        if arguments.without_wall:
            demo.empty()
            demo.set_up(unwalled.policies(ROOT / "policies", demo.folder))
            return
        if arguments.lab:
            if not (demo.folder / "tokens.json").is_file():
                raise SystemExit("There is no demonstration yet: run `make demo` first.")
            demo.lab()
            return
        demo.empty()
        demo.set_up()
        demo.serve()
        over_blocks = demo.over_blocks()
        demo.afterwards(demo.journey(), over_blocks)
    finally:
        demo.stop()


if __name__ == "__main__":
    main()
