"""Running a notebook by papermill, with a kernel that is spoken to over local sockets instead of TCP.

Guarantees: no port is opened; nbformat's slow import is skipped. What papermill or the notebook say is not touched.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn, cast

# nbformat's validator builds a grammar for internationalised addresses at import: two seconds for a check of formats
# that notebooks do not use. jsonschema skips it when the module cannot be imported.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

from jupyter_client.manager import AsyncKernelManager  # noqa: E402  # after the line above, which is its point
from jupyter_client.provisioning.local_provisioner import LocalProvisioner  # noqa: E402
from jupyter_core.utils import run_sync  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402
from traitlets import default  # noqa: E402

__all__ = ["LocalKernelManager", "PapermillExecutionError", "alive", "execute", "forked", "get_ready", "warm"]

# What most notebooks import. Nothing of it reads data or the notebook; in a kernel's history it leaves no trace.
IMPORTS = "import numpy, pandas, pyarrow.parquet, matplotlib.pyplot, tre, tre.desk.dataset, tre.desk.output"


class LocalKernelManager(AsyncKernelManager):
    """A kernel on Unix sockets in a folder of its own: quicker, and nothing to listen in on."""

    @default("transport")
    def _local(self) -> str:
        return "ipc"

    @default("ip")
    def _sockets(self) -> str:
        # absolute: a relative one would be looked for in the notebook's working folder
        return str(Path(tempfile.mkdtemp(prefix="kernel-")) / "socket")


def warm(folder: str) -> LocalKernelManager:
    """A kernel that was started in `folder` and has imported IMPORTS; to be given to `execute` as `km`."""
    import papermill.execute  # noqa: F401  # loaded here, so that `execute` need not

    manager = LocalKernelManager(kernel_name="python3")
    run_sync(manager.start_kernel)(cwd=folder)
    client = manager.client()
    client.start_channels()
    run_sync(client.wait_for_ready)(timeout=60)
    # Where it fails, the notebook's own imports say why.
    run_sync(client.execute_interactive)(IMPORTS, silent=True, store_history=False, allow_stdin=False)
    client.stop_channels()
    return manager


def get_ready() -> None:
    """Have the validator of notebooks built, which `execute` would do each time."""
    import nbformat

    nbformat.validate({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []})


def forked(folder: str) -> LocalKernelManager:
    """A kernel that is a fork of this process, with whatever this has loaded; to be given to `execute` as `km`.

    This process must have one thread, and no ZeroMQ context.
    """
    manager = LocalKernelManager(kernel_name="python3")
    manager.write_connection_file()
    pid = os.fork()
    if pid == 0:
        _kernel(folder, manager.connection_file)
    provisioner = LocalProvisioner(parent=manager)
    provisioner.process, provisioner.pid = cast("Any", _Forked(pid)), pid
    manager.provisioner = provisioner
    return manager


def _kernel(folder: str, connection_file: str) -> NoReturn:
    """What `python -m ipykernel_launcher` does. Its random numbers are its own, and not those of every fork."""
    try:
        os.chdir(folder)
        random.seed()
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()
        from ipykernel.kernelapp import IPKernelApp

        sys.argv = ["ipykernel_launcher"]
        sys.modules["__main__"].__dict__.pop("__file__", None)
        IPKernelApp.launch_instance(["-f", connection_file])
    finally:
        os._exit(1)


class _Forked:
    """A fork, as jupyter_client's provisioner asks for one: like a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:  # noqa: ARG002  # it has ended by then
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def alive(manager: LocalKernelManager) -> bool:
    """Whether the kernel's process is there still."""
    return bool(run_sync(manager.is_alive)())


def execute(source: Path, target: Path, **options: Any) -> None:
    """Run `source` and write `target`. Raises papermill's PapermillExecutionError when a cell fails."""
    import papermill

    logging.getLogger("papermill").setLevel(logging.WARNING)
    papermill.execute_notebook(
        str(source),
        str(target),
        kernel_name="python3",
        kernel_manager_class=LocalKernelManager,
        progress_bar=False,
        **options,
    )
