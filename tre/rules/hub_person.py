"""Who somebody is here who comes with a JupyterHub's token: the person that people.yaml gives the Hub's name, in the one
role that both the token's scopes and people.yaml say.

Guarantees: nobody whom people.yaml does not name; no token with scopes of two roles; no more than a researcher for the token
of a single-user server, whatever scopes the Hub gave it, and for one that cannot be told from it; with reading scopes alone nothing is changed. A scope with a filter
(`custom:…!user=…`) counts as none.
"""

from __future__ import annotations

from tre.errors import NotAllowed
from tre.rules.hub import Bearer, Hub
from tre.rules.policy import Policies, Role

# (the role, whether it may change anything)
SCOPES = {
    "custom:tre:jobs:submit": (Role.RESEARCHER, True),
    "custom:tre:outputs:read": (Role.CHECKER, False),
    "custom:tre:outputs:review": (Role.CHECKER, True),
    "custom:tre:audit:read": (Role.ADMIN, False),
    "custom:tre:budget:set": (Role.ADMIN, True),
}


def person(policies: Policies, bearer: Bearer, *, changes: bool) -> str:
    """The person of people.yaml; `changes`: whether this is for more than to look. Raises NotAllowed."""
    hub = policies.area.hub
    if hub is None or not bearer.is_for(hub.service):
        raise NotAllowed(
            "hub_token_for_another",
            "This token is not for this gateway.",
            "Ask the Hub's admin for the role of your group.",
        )
    found = next((name for name, p in policies.people.items() if p.hub == bearer.name), None)
    if found is None:
        raise NotAllowed(
            "hub_person_unknown", "Nobody in the policies has this Hub's name.", "An admin adds `hub` to people.yaml."
        )
    role = _role(hub, bearer, changes=changes)
    if policies.people[found].role is not role:
        raise NotAllowed(
            "hub_role_differs", "The Hub's role is another one than that in the policies.",
            "An admin sets the Hub's group and people.yaml alike.",
        )  # fmt: skip
    return found


def _role(hub: Hub, bearer: Bearer, *, changes: bool) -> Role:
    held = [SCOPES[s] for s in bearer.scopes if s in SCOPES]
    roles = {role for role, _ in held}
    if len(roles) > 1:
        raise NotAllowed(
            "hub_roles_incompatible",
            "This token holds scopes of more than one role.",
            "One person has one role; ask the Hub's admin.",
        )
    if not roles:
        raise NotAllowed(
            "hub_scope_missing", "This token may do nothing here.",
            "In a kernel only researchers can act; else make a token of your own on the Hub's page, and use it elsewhere.",
        )  # fmt: skip
    (role,) = roles
    if bearer.of_a_server and role is not Role.RESEARCHER:
        raise NotAllowed(
            "hub_token_of_a_server", "This token can do what a server's can, so code in a kernel may have it: it decides nothing.",
            f"Sign in on the review pages by the Hub, or make a token with your role's scope and access:services!service={hub.service} alone.",
        )  # fmt: skip
    if changes and not any(may for _, may in held):
        raise NotAllowed(
            "hub_scope_reads", "This token may look, and change nothing.", "Use one with the role's whole scope."
        )
    return role
