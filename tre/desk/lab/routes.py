"""What JupyterLab's page may ask of the desk's server: a closed table, behind Jupyter's own sign-in.

Guarantees: a path or method that is not in TABLE is not answered; what is answered is asked of the gateway with the desk's
token, which never reaches the browser; no entry votes, revokes, or changes a policy or a budget. A request that changes
anything needs Jupyter's token or its XSRF cookie. Refusals are our own sentence, code and next step; anything else is told
as internal_error, without its text. The gateway is waited for in threads, never on the server's loop.
Not here: keeping code that runs at this desk from asking. A kernel holds what its server holds, and may do what its person may.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from tre.errors import RequestError, TreError

JOB, RELEASE, DATASET = (
    r"(?P<job>job-[0-9a-f]+)",
    r"(?P<release>rel-[0-9a-f]+)",
    r"(?P<dataset>[a-z0-9][a-z0-9-]{0,62})",
)

# Method and path, and the function of `asking` that answers it.
TABLE = {
    ("GET", "/tre/overview"): "overview",
    ("POST", "/tre/rehearsals"): "rehearse",
    ("GET", f"/tre/jobs/{JOB}"): "job",
    ("POST", f"/tre/jobs/{JOB}/confirm"): "confirm",
    ("POST", f"/tre/jobs/{JOB}/withdraw"): "withdraw",
    ("POST", f"/tre/twins/{DATASET}"): "twin",
    ("POST", f"/tre/releases/{RELEASE}"): "release",
    ("POST", "/tre/notices"): "read_notices",
}


def add(app: Any) -> None:
    """Into a Jupyter server's application."""
    base = app.settings["base_url"]
    paths = {path: {m: name for (m, p), name in TABLE.items() if p == path} for _, path in TABLE}
    found = [
        (url_path_join(base, path), Asked, {"calls": calls, "threads": _threads()}) for path, calls in paths.items()
    ]
    app.add_handlers(".*$", found)


def _threads() -> ThreadPoolExecutor:
    """Of one path: what waits for a gateway that does not answer keeps no other question waiting."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="tre")


class Asked(APIHandler):
    auth_resource = "tre"

    def initialize(self, calls: dict[str, str], threads: ThreadPoolExecutor) -> None:
        self.calls, self.threads = calls, threads

    @web.authenticated
    @authorized
    async def get(self, **parts: str) -> None:
        # The page looks by itself, again and again: that is no sign of somebody at work, for whom a Hub would keep the server.
        self._track_activity = False
        await self._answer("GET", parts)

    @web.authenticated
    @authorized
    async def post(self, **parts: str) -> None:
        await self._answer("POST", parts)

    async def _answer(self, method: str, parts: dict[str, str]) -> None:
        if method not in self.calls:
            raise web.HTTPError(405)
        try:
            asked: dict[str, Any] = dict(parts)
            if method == "POST":
                asked["body"] = await self._body()
            function = functools.partial(_ask, self.calls[method], asked)
            told = json.dumps(await asyncio.get_running_loop().run_in_executor(self.threads, function))
        except TreError as error:
            self._refuse(error, error.http_status)
        except web.HTTPError:
            raise
        except Exception as error:  # its text could quote what it was about
            self.log.error("tre: unexpected: %s", type(error).__name__)
            ours = TreError(
                "internal_error", "Something went wrong at this desk.", "Try again; or use a terminal: tre --help"
            )
            self._refuse(ours, 500)
        else:
            self.finish(told)

    async def _body(self) -> dict[str, Any]:
        """What was sent; where it names a notebook, with that file as it was last saved."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise RequestError("request_malformed", "That is no JSON object.", "Send one.")
        if isinstance(path := body.get("path"), str):
            saved: Any = self.contents_manager
            model = await ensure_async(saved.get(path, content=True, type="file", format="text"))
            body["content"] = model["content"]
        return body

    def _refuse(self, error: TreError, status: int) -> None:
        self.set_status(status)
        self.finish(json.dumps({"code": error.code, "message": error.message, "next_step": error.next_step}))


def _ask(name: str, parts: dict[str, Any]) -> Any:
    """In a thread. The imports are here: they take longer than a server's start should."""
    from tre.desk.connect import needed
    from tre.desk.lab import asking

    function: Callable[..., Any] = getattr(asking, name)
    with closing(needed()) as client:
        return function(client, **parts)
