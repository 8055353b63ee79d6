"""A worker as a process: works until it is told to stop, by a signal or by the end of the pipe that it is woken through."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from tre.secure.jobs.worker import Worker


def work(worker: Worker, *, piped: bool) -> None:
    """Blocks. With `piped`, each byte on standard input says that there is work, and its end that there will be none."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    worker.start()
    if piped:
        threading.Thread(target=_listen, args=(worker, ended), name="tre-pipe", daemon=True).start()
    ended.wait()
    worker.stop()


def _listen(worker: Worker, ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        worker.wake()
    ended.set()
