"""Who comes with a Hub's token: one person, in the one role that both sides say, and with no more than the token's scopes."""

import pytest

from tests.journey.conftest import policies, write_policies
from tre.errors import NotAllowed, PolicyError
from tre.rules.hub import Bearer
from tre.rules.hub_person import person
from tre.secure.policies import load

OURS = "access:services!service=tre-gateway"
SUBMIT, REVIEW, READ = "custom:tre:jobs:submit", "custom:tre:outputs:review", "custom:tre:outputs:read"
BUDGET, AUDIT = "custom:tre:budget:set", "custom:tre:audit:read"
# As a Hub tells them: of a token that a person made, and of a single-user server's own.
# WIDE: of one that a person made without saying what for, or of a careless Hub's server ("inherit").
MADE, SERVER = {"read:users:name!user=x"}, {"access:servers!server=x/", "users:activity!user=x"}
WIDE = {"access:servers!user=x", "tokens!user=x", "users:activity!user=x"}


def files(folder, hub="https://hub.example.org/hub/api", **people):
    named = {name: {"hub": called} for name, called in {"ada": "Ada", "bo": "Bo", "dee": "Dee", **people}.items()}
    return write_policies(folder, policies(area={"hub": {"api": hub}}, people=named))


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    return load(files(tmp_path_factory.mktemp("policies")))


@pytest.mark.parametrize(
    ("name", "scopes", "changes", "who"),
    [
        ("Ada", {OURS, SUBMIT, *MADE}, True, "ada"),
        ("Ada", {OURS, SUBMIT, *SERVER}, True, "ada"),
        ("Ada", {"access:services", SUBMIT}, True, "ada"),
        ("Bo", {OURS, REVIEW, READ, *MADE}, True, "bo"),
        ("Bo", {OURS, READ}, False, "bo"),
        ("Bo", {OURS, READ}, True, "hub_scope_reads"),
        ("Bo", {OURS, REVIEW, READ, *SERVER}, False, "hub_token_of_a_server"),
        ("Bo", {OURS, REVIEW, READ, "users:activity!user=x"}, False, "hub_token_of_a_server"),
        ("Bo", {OURS, REVIEW, READ, "users:activity"}, False, "hub_token_of_a_server"),
        ("Bo", {OURS, REVIEW, READ, *WIDE}, True, "hub_token_of_a_server"),
        ("Ada", {OURS, SUBMIT, *WIDE}, True, "ada"),
        ("Bo", {OURS, *SERVER}, False, "hub_scope_missing"),
        ("Bo", {OURS, SUBMIT, *SERVER}, True, "hub_role_differs"),
        ("Bo", {OURS, SUBMIT, REVIEW, READ}, True, "hub_roles_incompatible"),
        ("Bo", {OURS, f"{REVIEW}!user=Bo"}, True, "hub_scope_missing"),
        ("Dee", {OURS, BUDGET, AUDIT, *MADE}, True, "dee"),
        ("Dee", {OURS, AUDIT}, True, "hub_scope_reads"),
        ("Dee", {OURS, BUDGET, *SERVER}, True, "hub_token_of_a_server"),
        ("Dee", {OURS, "admin:users", "admin:groups", "tokens"}, True, "hub_scope_missing"),
        ("Ada", {SUBMIT, *MADE}, True, "hub_token_for_another"),
        ("Ada", {SUBMIT, "access:services!service=another"}, True, "hub_token_for_another"),
        ("ada", {OURS, SUBMIT}, True, "hub_person_unknown"),
        ("Mallory", {OURS, SUBMIT}, True, "hub_person_unknown"),
    ],
)
def test_whom_a_token_of_a_hub_makes(area, name, scopes, changes, who):
    bearer = Bearer(name, frozenset(scopes))
    if who in area.people:
        assert person(area, bearer, changes=changes) == who
        return
    with pytest.raises(NotAllowed) as refused:
        person(area, bearer, changes=changes)
    assert refused.value.code == who


def test_without_a_hub_in_the_policies_no_token_of_one_is_anybodys(tmp_path):
    without = load(write_policies(tmp_path, policies(people={"ada": {"hub": "Ada"}})))
    with pytest.raises(NotAllowed, match="hub_token_for_another"):
        person(without, Bearer("Ada", frozenset({OURS, SUBMIT})), changes=False)


def test_a_hubs_name_is_one_persons(tmp_path):
    with pytest.raises(PolicyError, match="policy_invalid") as refused:
        load(files(tmp_path, cy="Bo"))
    assert "this is bo already" in refused.value.message


@pytest.mark.parametrize(
    ("api", "good"),
    [
        ("https://hub.example.org/hub/api", True), ("https://example.org:8443/jupyter/hub/api", True),
        ("http://127.0.0.1:8081/hub/api", True), ("http://localhost:8081/hub/api", True),
        ("http://hub.example.org/hub/api", False), ("http://127.0.0.1.example.org/hub/api", False),
        ("https://user:secret@hub.example.org/hub/api", False), ("https://hub.example.org/", False),
        ("https://hub.example.org/hub/api?x=", False), ("file:///hub/api", False),
    ],
)  # fmt: skip
def test_a_hub_is_asked_in_the_clear_on_this_machine_alone(tmp_path, api, good):
    if good:
        assert load(files(tmp_path, api)).area.hub.api == api
        return
    with pytest.raises(PolicyError):
        load(files(tmp_path, api))
