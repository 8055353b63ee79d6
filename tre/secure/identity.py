"""Whose a token is: one of ours, or what a JupyterHub said of its own.

Guarantees: a token that was withdrawn is nobody's at once; what a Hub says counts only where the policies in force name one.
The Hub is asked by the gateway (`tre.gateway.hub`), not here.
"""

from __future__ import annotations

from tre.rules import hub_person, permissions
from tre.rules.hub import Bearer, Hub
from tre.secure import policies as policy_files
from tre.secure import tokens
from tre.secure.context import Context
from tre.secure.settings import HubSignIn


class Identity:
    def __init__(self, context: Context) -> None:
        self._context = context

    def holder(self, token: str) -> str:
        """The person of one of our tokens. Raises NotAllowed."""
        return tokens.holder(self._context, token)

    def named(self, token: str) -> str:
        """What it is kept by: tells nothing of it."""
        return tokens.named(token)

    def known(self, name: str) -> bool:
        """Whether the token of this name is one of ours still."""
        return tokens.known(self._context, name)

    @property
    def hub(self) -> Hub | None:
        with self._context.database.read() as connection:
            policies = policy_files.latest(connection)
        return policies.area.hub if policies else None

    @property
    def hub_sign_in(self) -> HubSignIn | None:
        """What settings.yaml keeps for signing in by the Hub. Raises PolicyError where it is wrong."""
        return self._context.area.hub

    def at_hub(self, bearer: Bearer, *, changes: bool) -> str:
        """The person, known and accredited today. Raises NotAllowed."""
        with self._context.database.read() as connection:
            policies = policy_files.current(connection)
        found = hub_person.person(policies, bearer, changes=changes)
        permissions.person(policies, found, self._context.today())
        return found
