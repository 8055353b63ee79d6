"""Who may do what: role, project, accreditation and independence. (When they may is rules.lifecycle.)

Each refusal has a reason and a code; a project that is not yours does not exist for you.
"""

from __future__ import annotations

from datetime import date

from tre.errors import Conflict, NotAllowed, NotFound
from tre.rules.policy import Person, Policies, Project, Role


def person(policies: Policies, who: str, today: date) -> Person:
    """The person, if known and accredited today."""
    found = policies.people.get(who)
    if found is None:
        raise NotAllowed(
            "person_unknown", f"The policies know no person {who[:64]!r}.", "An admin adds the person to people.yaml."
        )
    if found.accredited_until < today:
        raise NotAllowed(
            "accreditation_ended", "Your accreditation has ended.", "Renew it; an admin then changes people.yaml."
        )
    return found


def need_role(found: Person, *roles: Role) -> None:
    if found.role not in roles:
        raise NotAllowed(
            "role_missing",
            f"This needs the role {' or '.join(r.value for r in roles)}; yours is {found.role.value}.",
            "Leave it to a person with that role (people.yaml), or use that person's token.",
        )


def projects_of(policies: Policies, who: str) -> list[str]:
    return [name for name, project in policies.projects.items() if who in project.people]


def project(policies: Policies, who: str, name: str) -> Project:
    """The project, if `who` is in it; no difference is made between one that is not there and one that is another's."""
    found = policies.projects.get(name)
    if found is None or who not in found.people:
        raise NotFound(
            "project_unknown",
            f"You are in no project {name[:80]!r}.",
            f"Yours: {', '.join(projects_of(policies, who)) or 'none'}.",
        )
    return found


def need_running(found: Project, today: date) -> None:
    if not found.starts <= today <= found.ends:
        raise NotAllowed(
            "project_not_running",
            f"The project runs from {found.starts} to {found.ends}.",
            "An admin may change its dates in the project's policy.",
        )


def independent(policies: Policies, checker: str, submitter: str, project_name: str) -> bool:
    members = policies.projects[project_name].people if project_name in policies.projects else ()
    return checker != submitter and checker not in members


def need_independent(policies: Policies, checker: str, submitter: str, project_name: str) -> None:
    """A checker is neither the submitter nor in the submitter's project."""
    if not independent(policies, checker, submitter, project_name):
        raise NotAllowed(
            "not_independent", "Nobody reviews their own or their project's release.", "Leave it to another checker."
        )


def need_first_vote(checker: str, voted: list[str]) -> None:
    if checker in voted:
        raise Conflict(
            "already_voted", "You have voted on this release.", "A vote stands; the other checker decides with you."
        )
