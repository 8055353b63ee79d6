"""Running a notebook by papermill, with a kernel that is spoken to over local sockets instead of TCP.

Guarantees: no port is opened; nbformat's slow import is skipped. What papermill or the notebook say is not touched.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

# nbformat's validator builds a grammar for internationalised addresses at import: two seconds for a check of formats
# that notebooks do not use. jsonschema skips it when the module cannot be imported.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

from jupyter_client.manager import AsyncKernelManager  # noqa: E402  # after the line above, which is its point
from jupyter_core.utils import run_sync  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402
from traitlets import default  # noqa: E402

__all__ = ["LocalKernelManager", "PapermillExecutionError", "alive", "execute", "warm"]

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
