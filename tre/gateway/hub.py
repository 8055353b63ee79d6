"""Asks a JupyterHub whose a token is.

Guarantees: what it said is believed for `SECONDS`, then asked anew, so a person or scope taken away there is gone here by then;
where it does not answer, or not as a Hub does, nobody is let in, and whoever waits for it does not keep those from being served
who need no Hub; a token goes to the Hub that the policies name and nowhere else,
and into no log; nothing that the Hub sent with one answer (a cookie) goes with another question. What was refused is not kept.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from tre.errors import NotAllowed, Unreachable
from tre.rules.hub import Bearer

SECONDS = 30.0
# Bearers kept at once; beyond it the one that was asked about longest ago is asked about again.
MOST = 1000
# So many questions at once, each so many seconds and bytes long at most; who finds all taken waits a second.
AT_ONCE, LONGEST, MOST_BYTES = 16, 5.0, 1_000_000
_TOKEN = re.compile(r"^[A-Za-z0-9._~-]{16,256}$")


class _User(BaseModel):
    """`GET /user`: of it, what is needed."""

    kind: str
    name: str
    scopes: frozenset[str]


class _Granted(BaseModel):
    """`POST /oauth2/token`: of it, what is needed."""

    access_token: str


@dataclass(frozen=True)
class HubClient:
    """This gateway, as the Hub's OAuth knows it: its name, its secret, and the address that people have it by.

    `api` is the Hub's as the gateway reaches it, `seen` as browsers do.
    """

    api: str
    name: str
    secret: str = field(repr=False)
    address: str
    seen: str


class HubTokens:
    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._found: dict[
            str, tuple[str, Bearer, float]
        ] = {}  # by the token's name: the token, whose, when it was said
        self._guard, self._places = threading.Lock(), threading.BoundedSemaphore(AT_ONCE)

    @cached_property
    def _http(self) -> httpx.Client:
        # The system's certificates: public bodies have authorities of their own.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        return httpx.Client(
            verify=ssl.create_default_context(), timeout=LONGEST, trust_env=False, follow_redirects=False,
            cookies=no_cookies,
        )  # fmt: skip

    def bearer(self, api: str, token: str) -> Bearer:
        """Raises NotAllowed for what is no token there, Unreachable where that cannot be known."""
        name = named(api, token)
        with self._guard:
            before = self._found.get(name)
        if before is not None and self._seconds() < before[2] + SECONDS:
            return before[1]
        asked = self._seconds()  # what is said counts from the question on
        try:
            found = self._ask(api, token)
        except (NotAllowed, Unreachable):
            with self._guard:
                self._found.pop(name, None)
            raise
        with self._guard:
            self._found.pop(name, None)
            self._found[name] = (token, found, asked)
            while len(self._found) > MOST:
                del self._found[next(iter(self._found))]
        return found

    def again(self, api: str, name: str) -> Bearer:
        """The bearer of a token that was asked about before, by its name. Raises as `bearer` does."""
        with self._guard:
            before = self._found.get(name)
        if before is None or named(api, before[0]) != name:
            raise NotAllowed("token_unknown", "This token is not known here any more.", "Sign in again.")
        return self.bearer(api, before[0])

    def exchange(self, client: HubClient, code: str, back: str) -> str:
        """The token for which the Hub has given this code. Raises NotAllowed, Unreachable."""
        form = {
            "client_id": client.name, "client_secret": client.secret, "grant_type": "authorization_code", "code": code,
            "redirect_uri": client.address + back,
        }  # fmt: skip
        status, body = self._answer("POST", f"{client.api}/oauth2/token", data=form)
        if 400 <= status < 500:
            raise NotAllowed("token_unknown", "The Hub did not confirm this sign-in.", "Begin it again.")
        try:
            granted = _Granted.model_validate_json(body) if status == 200 else None
        except ValidationError:
            granted = None
        if granted is None:
            raise _silent()
        return granted.access_token

    def _ask(self, api: str, token: str) -> Bearer:
        if not _TOKEN.fullmatch(token):
            raise _unknown()
        status, body = self._answer("GET", f"{api}/user", headers={"authorization": f"token {token}"})
        if status in (401, 403):
            raise _unknown()
        try:
            user = _User.model_validate_json(body) if status == 200 else None
        except ValidationError:
            user = None
        if user is None:
            raise _silent()
        if user.kind != "user":
            raise _unknown()
        return Bearer(user.name, user.scopes)

    def _answer(self, method: str, url: str, **more: Any) -> tuple[int, bytes]:
        """Its status and body. Raises Unreachable."""
        if not self._places.acquire(timeout=1):
            raise _silent()
        try:
            body, until = b"", self._seconds() + LONGEST
            with self._http.stream(method, url, **more) as answer:
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > MOST_BYTES or self._seconds() > until:
                        raise _silent()
                return answer.status_code, body
        except (httpx.HTTPError, httpx.InvalidURL):
            raise _silent() from None
        finally:
            self._places.release()


def named(api: str, token: str) -> str:
    """What a Hub's token is kept by: tells nothing of it, and is none of ours."""
    return "hub:" + hashlib.sha256(f"{api}\n{token}".encode()).hexdigest()


def _unknown() -> NotAllowed:
    return NotAllowed("token_unknown", "This token is not known here, nor at the Hub.", "Make one on the Hub's page.")


def _silent() -> Unreachable:
    return Unreachable("hub_unreachable", "The Hub cannot say whose token this is.", "Try again; tell an admin.")
