"""Whether an RO-Crate validator accepts a release's bundle. Not a figure, but a peer's word.

The environment variable RO_CRATE_CONTEXT names RO-Crate 1.2's `context.jsonld` where there is no network; without it the
validator asks for it itself. A requirement that is not met ends the subject; recommendations are listed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from bench import peers
from bench.measure import say
from tests.secure import released

PROFILES = ("ro-crate-1.2",)


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:  # noqa: ARG001  # nothing here is by chance
    services = released.area(folder / "crate")
    name = released.release(services)
    shutil.copytree(services.bundler.folder(name), folder / name)
    services.close()
    task = {
        "crate": str(folder / name), "context": os.environ.get("RO_CRATE_CONTEXT"), "profiles": PROFILES,
        "severity": "RECOMMENDED",
    }  # fmt: skip
    try:
        found = peers.run("rocrate", task, folder)
    except peers.Unavailable as why:
        say(f"crate is left out: {why}")
        return
    results.mkdir(parents=True, exist_ok=True)
    (results / "crate.json").write_text(json.dumps(found, indent=1) + "\n")
    issues = [(p, i) for p, answer in found["profiles"].items() for i in answer["issues"]]
    for profile, issue in issues:
        say(f"{profile}: {issue['severity'].lower()}: {issue['check']}: {issue['entity']}: {issue['message']}")
    for profile, answer in found["profiles"].items():
        say(f"roc-validator {found['validator']}, {profile}: {answer['checks']} checks, {len(answer['issues'])} issues")
    failed = sorted({i["check"] for _, i in issues if i["severity"] == "REQUIRED"})
    if failed:
        raise SystemExit(f"the crate does not meet {', '.join(failed)}")
