"""What runs inside a sandbox: papermill executes the notebook, and what went wrong is written down.

    python -m tre.desk.boxed /in /outbox [--warm | --fork]

With `--warm` it starts the kernel and what notebooks mostly import, says `[warm]`, and waits for a line before it looks
into /in: the time that this takes has then passed before there was work. With `--fork` the kernel is a fork of this
process, which was loaded already (`zygote`), and it is not waited for at the end.

Guarantees: nothing. This process shares its sandbox with the notebook, so whatever it writes is a claim: the executed
notebook stays inside, and the failure text is shown to the researcher only after a rehearsal, which saw only the twin.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

ANSI = re.compile(r"\x1b\[[0-9;]*m")
# How our own errors appear in a traceback: see TreError._render_traceback_.
OURS = re.compile(r"\w+ \[(?P<code>[a-z_]+)\]: (?P<message>.*)\nNext step: (?P<next>.*)")


def main() -> int:
    source, outbox = Path(sys.argv[1]), Path(sys.argv[2])
    from tre.desk.kernel import PapermillExecutionError, alive, execute, forked, warm

    # The sandbox's own, empty and gone afterwards.
    folder = os.environ.get("TMPDIR", "/tmp")  # noqa: S108
    kernel: dict[str, object] = {"cwd": folder}
    if sys.argv[3:] == ["--warm"]:
        manager = warm(folder)
        print("[warm]", flush=True)  # noqa: T201
        sys.stdin.readline()
        if alive(manager):  # else papermill starts one of its own
            kernel |= {"km": manager}
    elif sys.argv[3:] == ["--fork"]:
        kernel |= {"km": forked(folder), "shutdown_kernel": "immediate"}
    parameters = json.loads((source / "parameters.json").read_text())
    kernel |= {"on_cell_executed": _progress(source, outbox, parameters)}
    try:
        execute(source / "notebook.ipynb", outbox / "executed.ipynb", parameters=parameters, **kernel)
    except PapermillExecutionError as error:
        _write(outbox, error.ename, error.evalue, ANSI.sub("", "\n".join(error.traceback)))
        return 2
    except Exception as error:  # any other fault of the run is told the same way
        _write(outbox, type(error).__name__, str(error), "")
        return 3
    return 0


def _progress(source: Path, outbox: Path, parameters: dict[str, object]) -> Callable[..., None]:
    """Writes down after each code cell how many there were, and are. Read of rehearsals only."""
    cells = json.loads((source / "notebook.ipynb").read_text())["cells"]
    of = sum(c["cell_type"] == "code" and bool("".join(c["source"]).strip()) for c in cells) + bool(parameters)
    done = 0

    def executed(**_: object) -> None:
        nonlocal done
        done += 1
        part = outbox / "progress.part"
        part.write_text(json.dumps({"done": min(done, of), "of": of}))
        part.replace(outbox / "progress.json")

    return executed


def _write(outbox: Path, name: str, value: str, traceback: str) -> None:
    """The failure as `messages.Failure`: our own errors by their code, all others as notebook_failed."""
    ours = OURS.search(traceback)
    if ours:
        failure = {"code": ours["code"], "message": ours["message"], "next_step": ours["next"]}
    else:
        failure = {
            "code": "notebook_failed",
            "message": f"{name}: {value}"[:2_000],
            "next_step": "Run the notebook at your desk on the twin until it goes through, then submit it again.",
        }
    failure["traceback"] = traceback[-20_000:]
    (outbox / "failure.json").write_text(json.dumps(failure))


if __name__ == "__main__":
    sys.exit(main())
