"""Runs the gateway: one process for an area, which a lock on the area's folder makes sure of, and its worker beside it."""

from __future__ import annotations

import fcntl
import logging
import socket
from collections.abc import Callable

import uvicorn

from tre.errors import Conflict
from tre.gateway.app import create_app
from tre.gateway.workers import Workers
from tre.rules.policy import Isolation
from tre.secure.services import Services


def serve(
    services: Services, isolation: Isolation, host: str, port: int, workers: int, ready: Callable[[str], None]
) -> None:
    """Blocks until stopped; so many workers are started, and started again when they end. Raises Conflict when another process serves this area, or the port is taken."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for told_too_much in ("alembic", "httpx"):
        logging.getLogger(told_too_much).setLevel(logging.WARNING)
    lock = (services.context.area.root / "serve.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Conflict(
            "already_served", "This area is already being served.", "Stop the other process first."
        ) from None
    listening = _listen(host, port)
    # The address the system chose, for whoever waits for it: `--port 0` is for tests and demonstrations.
    address = f"http://{host}:{listening.getsockname()[1]}"
    url_file = services.context.area.root / "gateway.url"
    crew = Workers(services.context.area.root, workers, checked=isolation)
    services.wake = crew.wake

    def ended() -> None:
        url_file.unlink(missing_ok=True)  # a signal ends this process before the block below
        crew.stop()

    app = create_app(services, isolation=isolation, ended=ended)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on")
    crew.start()
    part = url_file.with_suffix(".part")
    part.write_text(address)
    part.replace(url_file)  # whoever waits for it never reads half of it
    ready(address)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        crew.stop()
        url_file.unlink(missing_ok=True)
        lock.close()


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # from here on a caller waits instead of being refused
    except OSError:
        raise Conflict("port_taken", f"Port {port} on {host} cannot be used.", "Choose another: --port") from None
    return listening
