"""JupyterLab's part of the desk: a server extension under /tre, and the extension of the page, which shows what that tells.

    routes    what may be asked at all: a closed table
    asking    each question, put to the gateway with the desk's own token
    told      the gateway's answers in words
    starters  the notebook that a newcomer gets beside a twin
    extension/  what the browser loads: plain JavaScript, as it stands here

Guarantees: nothing here decides about others' requests, or about budgets: that is done on the gateway's own pages.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "tre.desk.lab"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from tre.desk.lab.routes import add

    add(server.web_app)
