"""A JupyterHub as an area's policies name it, and what it says of a token.

Off unless area.yaml has `hub`: whoever runs the Hub can be anyone whom people.yaml gives a name there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tre.rules.schema import Closed, Identifier

# In the clear on this machine alone: every question to the Hub carries a token.
_API = r"^(https://[^\s/@?#]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?)(/[^\s@?#]*)?/hub/api$"


class Hub(Closed):
    """`hub` of area.yaml."""

    api: Annotated[str, Field(pattern=_API, max_length=300)]
    # What the Hub calls this gateway: a token must be for it (`access:services!service=…`).
    service: Identifier = "tre-gateway"


@dataclass(frozen=True)
class Bearer:
    """Whose a token is, by the Hub's name, and what that token may do: all its scopes, expanded."""

    name: str
    scopes: frozenset[str]

    def is_for(self, service: str) -> bool:
        return not self.scopes.isdisjoint({"access:services", f"access:services!service={service}"})

    @property
    def of_a_server(self) -> bool:
        """A single-user server's own token, which code in its kernels can read: it opens that one server."""
        return any(s.startswith("access:servers!server=") for s in self.scopes)
