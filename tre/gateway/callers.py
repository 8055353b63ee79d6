"""Who calls: by a token of ours, or, where the policies name one, of a JupyterHub.

Guarantees: one of ours never goes to a Hub; for a Hub's the person is found anew from what the Hub last said and the policies in
force, at every call, also within a session that it began.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tre.errors import NotAllowed, PolicyError
from tre.gateway import hub
from tre.gateway.hub import HubClient, HubTokens
from tre.secure.services import Services

OURS = "tre_"
log = logging.getLogger("tre.gateway")


class Callers:
    def __init__(self, services: Services, seconds: Callable[[], float]) -> None:
        self._identity = services.identity
        self._hub = HubTokens(seconds)

    def who(self, token: str, *, changes: bool) -> str:
        """The person; `changes`: whether this is for more than to look. Raises NotAllowed, Unreachable."""
        api = self._api_for(token)
        if api is None:
            return self._identity.holder(token)
        return self._identity.at_hub(self._hub.bearer(api, token), changes=changes)

    def named(self, token: str) -> str:
        """What a session keeps of the token that began it."""
        api = self._api_for(token)
        return self._identity.named(token) if api is None else hub.named(api, token)

    def still(self, name: str, person: str) -> bool:
        """Whether the token of this name still opens a session for this person. Raises Unreachable."""
        if not name.startswith("hub:"):
            return self._identity.known(name)
        api = self._api()
        try:
            return api is not None and self._identity.at_hub(self._hub.again(api, name), changes=True) == person
        except NotAllowed:
            return False

    @property
    def hub_client(self) -> HubClient | None:
        """Where people may sign in by the Hub itself; None also where settings.yaml is wrong, of which visitors hear nothing."""
        try:
            named, kept = self._identity.hub, self._identity.hub_sign_in
        except PolicyError as error:
            log.error("%s: nobody signs in by the Hub", error)
            return None
        if named is None or kept is None:
            return None
        return HubClient(named.api, f"service-{named.service}", kept.secret, kept.address, kept.api or named.api)

    def exchanged(self, code: str, back: str) -> str:
        """A Hub's token for a code of its. Raises NotAllowed, Unreachable."""
        client = self.hub_client
        if client is None or not code:
            raise NotAllowed("token_missing", "The Hub let nobody in.", "Sign in with your token.")
        return self._hub.exchange(client, code, back)

    def _api_for(self, token: str) -> str | None:
        """Where to ask whose this is; None for one of ours, and where there is no Hub."""
        return None if token.startswith(OURS) else self._api()

    def _api(self) -> str | None:
        named = self._identity.hub
        return named.api if named else None

    @property
    def service(self) -> str | None:
        """What the Hub calls this gateway; None where there is no Hub."""
        named = self._identity.hub
        return named.service if named else None
