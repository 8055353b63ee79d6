"""A JupyterHub as an area's policies name it, and what it says of a token.

Off unless area.yaml has `hub`: whoever runs the Hub can be anyone whom people.yaml gives a name there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tre.rules.schema import Closed, Identifier

# In the clear on this machine alone: every question to the Hub carries a token, and what a browser brings back a code for one.
_PLACE = r"^(https://[^\s/@?#]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?)"
ADDRESS, API = f"{_PLACE}$", rf"{_PLACE}(/[^\s@?#]*)?/hub/api$"


class Hub(Closed):
    """`hub` of area.yaml."""

    api: Annotated[str, Field(pattern=API, max_length=300)]
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
        """Whether it may be a single-user server's own, which code in its kernels can read.

        A Hub gives every one of them leave to report activity, whatever else it was told to give; it need not give leave to open
        the server. A token of a person's own that can do all that they can has both, and is not told from a server's.
        """
        return any(s.startswith(("access:servers!server=", "users:activity")) for s in self.scopes)
