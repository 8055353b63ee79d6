"""Blocks on a node of a cluster: started by the scheduler, it runs each in its slot and writes down what it handed out.

    python -m tre.secure.jobs.node_blocks FOLDER TOKEN

Guarantees: as `node` does, of all that the scheduler starts for one order one process alone runs sandboxes. Each block's
words are written whole or not at all, outside what any sandbox can reach. It ends, and its sandboxes with it, when the order
is called over, its folder is gone, its last slot is over, or the scheduler says so. It needs neither the area's database nor its keys.
Not guaranteed: that the node's clock is the worker's. A node whose clock is wrong runs its blocks at the wrong moments.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from tre.secure.jobs import zygote
from tre.secure.jobs.node import ORDER, OUTCOME, marked, wait_for_the_first
from tre.secure.jobs.turns import Turns, Work, engines

NOTEBOOK, SAID, OVER, BEAT = "notebook.ipynb", "said", "over", "beat"
LOOK_SECONDS = 1.0


class Order(Work):
    token: str


def main() -> int:
    folder, token = Path(sys.argv[1]), sys.argv[2]
    order = Order.model_validate_json((folder / ORDER).read_bytes())
    if order.token != token:
        return 3
    mark = marked(folder)
    if mark is None:  # the scheduler started it again
        return wait_for_the_first(folder)
    cancelled = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: cancelled.set())
    threading.Thread(target=_watch, args=(folder, cancelled), daemon=True).start()
    notebook = (folder / NOTEBOOK).read_bytes()
    with zygote.begun(folder / "zygote", notebook) as loading:
        Turns(
            folder, order, notebook, engine=engines(loading, folder), seconds=time.time, cancelled=cancelled,
            said=lambda number, claimed: _write(folder / SAID / str(number), claimed or b""),
        ).run()  # fmt: skip
    if cancelled.is_set():
        return 1
    _write(folder / OUTCOME, token.encode())
    return 0


def _watch(folder: Path, cancelled: threading.Event) -> None:
    """And say that this node lives, and which it is."""
    (folder / BEAT).write_text(os.environ.get("SLURMD_NODENAME", ""))
    while not cancelled.wait(LOOK_SECONDS):
        (folder / BEAT).touch()
        if (folder / OVER).exists() or not (folder / ORDER).exists():
            cancelled.set()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
