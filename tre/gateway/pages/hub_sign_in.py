"""Signing in to the pages by a JupyterHub: its OAuth, with this gateway as one of its services.

Guarantees: only where both the policies and settings.yaml name the Hub; an answer of the Hub's counts in the browser that asked
for it, within five minutes, once; the code that it carries is exchanged with our own secret, and the token that comes back is one
like any other: whom it makes, the policies say. No token stands in a page or an address.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from tre.errors import NotAllowed, NotFound, Unreachable
from tre.gateway.callers import Callers
from tre.gateway.pages import render

PATH, BACK = "/hub", "/hub/back"
COOKIE = "tre_hub_state"
SECONDS = 300


def router(root: str, seat: Callable[[Request, Response, str], None]) -> APIRouter:
    """`seat`: begins the session of a token's person and sets its cookie. Raises NotAllowed for nobody of ours."""
    pages = APIRouter(default_response_class=HTMLResponse)

    @pages.get(PATH)
    def ask(request: Request) -> Response:
        client = _callers(request).hub_client
        if client is None:
            raise NotFound("hub_none", "No Hub signs in here.", "Sign in with your token.")
        state = secrets.token_urlsafe(32)
        query = urlencode(
            {
                "client_id": client.name,
                "redirect_uri": client.address + root + BACK,
                "response_type": "code",
                "state": state,
            }
        )
        answer = RedirectResponse(f"{client.seen}/oauth2/authorize?{query}", 303)
        # Lax: the answer comes by a link from the Hub.
        answer.set_cookie(
            COOKIE,
            state,
            max_age=SECONDS,
            path=root + PATH,
            httponly=True,
            secure=request.url.scheme == "https",
            samesite="lax",
        )
        return answer

    @pages.get(BACK)
    def back(request: Request, code: str = "", state: str = "") -> Response:
        expected = request.cookies.get(COOKIE, "")
        try:
            if not expected or not secrets.compare_digest(expected.encode(), state.encode()):
                raise NotAllowed("form_foreign", "This sign-in was not begun here.", "Begin it on this page.")
            token = _callers(request).exchanged(code, root + BACK)
            # A page and no redirect: a browser sends a strict cookie only where one of our own pages leads on.
            answer: Response = render.page("arrived.html", me=None)
            seat(request, answer, token)
        except (NotAllowed, Unreachable) as error:
            status = 401 if isinstance(error, NotAllowed) else error.http_status
            answer = render.page("sign_in.html", status=status, me=None, problem=error, **said(request))
        answer.delete_cookie(COOKIE, path=root + PATH, httponly=True, samesite="lax")
        return answer

    return pages


def said(request: Request) -> dict[str, Any]:
    """What the page of the sign-in says of a Hub."""
    callers = _callers(request)
    return {"hub": callers.service, "hub_signs_in": callers.hub_client is not None}


def _callers(request: Request) -> Callers:
    found: Callers = request.app.state.callers
    return found
