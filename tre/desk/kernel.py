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
from papermill.exceptions import PapermillExecutionError  # noqa: E402
from traitlets import default  # noqa: E402

__all__ = ["LocalKernelManager", "PapermillExecutionError", "execute"]


class LocalKernelManager(AsyncKernelManager):
    """A kernel on Unix sockets in a folder of its own: quicker, and nothing to listen in on."""

    @default("transport")
    def _local(self) -> str:
        return "ipc"

    @default("ip")
    def _sockets(self) -> str:
        # absolute: a relative one would be looked for in the notebook's working folder
        return str(Path(tempfile.mkdtemp(prefix="kernel-")) / "socket")


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
