"""A Hub from the shipped configuration, four people, their servers and kernels, and the real gateway: who may what, by the
token they made themselves and by the one that any code in their kernels finds.
"""

import json
import time

import httpx
import pytest
import yaml

from tests.journey.conftest import ASK, Area, notebook, until
from tre.client import Client

from . import running

pytestmark = pytest.mark.slow

NAMES = {"ada": "ada.moreno", "bo": "bo.lindqvist", "cy": "cy.okafor", "dee": "dee.whitfield"}
# What a kernel holds, whom that makes it here, and what it gets when it asks the Hub for more.
FOUND = """
import json, os, httpx
from tre.desk.connect import needed
from tre.errors import TreError
token = os.environ["JUPYTERHUB_API_TOKEN"]
try:
    me = needed().me().person
except TreError as error:
    me = error.code
url = os.environ["JUPYTERHUB_API_URL"] + "/users/" + os.environ["JUPYTERHUB_USER"] + "/tokens"
more = httpx.post(url, json={}, headers={"authorization": "token " + token}, trust_env=False).status_code
print(json.dumps({"token": token, "me": me, "more": more}))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(the area, the Hub), each knowing the other."""
    reason = running.unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hub")
    hub = running.JupyterHub(folder, careless=NAMES["cy"])
    area = Area(
        tmp_path_factory.mktemp("area"),
        area={"hub": {"api": hub.api}, "review": {"automatic_epsilon": 0}},
        people={person: {"hub": name} for person, name in NAMES.items()},
    ).start()
    settings = {"hub": {"address": area.url, "secret": running.SECRET}}
    (area.root / "area" / "settings.yaml").write_text(yaml.safe_dump(settings))
    try:
        yield area, hub.start(area.url)
    finally:
        hub.stop()
        area.stop()


@pytest.mark.parametrize(
    ("person", "first"),
    [("bo", "Nothing waits"), ("dee", "Budgets"), ("ada", None)],
    ids=["checker", "admin", "researcher"],
)
def test_people_sign_in_to_the_pages_by_the_hub(both, person, first):
    area, hub = both
    with hub.browser(NAMES[person]) as browser:
        assert 'href="/review/hub"' in browser.get(f"{area.url}/review/sign-in").text
        arrived = browser.get(f"{area.url}/review/hub")
        assert arrived.url.path == "/review/hub/back"
        assert arrived.status_code == (401 if first is None else 200)
        assert ("tre_review" in browser.cookies) == (first is not None)
        again = browser.get(arrived.url)  # the same answer once more
        assert again.status_code == 401
        page = browser.get(f"{area.url}/review/")
        assert (page.url.path == "/review/sign-in") if first is None else (first in page.text), page.text


OURS = "access:services!service=tre-gateway"
SCOPES = {"ada": "jobs:submit", "bo": "outputs:review", "cy": "outputs:review", "dee": "budget:set"}


def asked(area, token, release):
    """The statuses of: submitting, seeing what waits, deciding, revoking as an admin, signing in where people decide."""
    with httpx.Client(base_url=area.url, headers={"authorization": f"Bearer {token}"}, trust_env=False) as http:
        submit = http.post("/v1/jobs", json={"project": "visits", "notebook": notebook(ASK.replace("by-sex", "more"))})
        see = http.get("/v1/reviews")
        decide = http.post(f"/v1/reviews/{release}/vote", json={"decision": "approve"})
        budgets = http.post("/review/sign-in", data={"token": token}, headers={"origin": area.url})
        where = http.get("/review/").headers.get("location", "queue") if budgets.status_code == 303 else None
        return submit.status_code, see.status_code, decide.status_code, budgets.status_code, where


def waits(area, release):
    """Until checkers see it."""
    deadline = time.monotonic() + 60
    while release not in {r.release for r in area.client("di").reviews()}:
        assert time.monotonic() < deadline, "never came to review"
        time.sleep(0.1)


def test_the_matrix_of_roles_holds_also_for_tokens_that_kernels_find(both):
    area, hub = both
    wide = {person: hub.own_token(name) for person, name in NAMES.items()}
    own = {person: hub.own_token(NAMES[person], OURS, f"custom:tre:{scope}") for person, scope in SCOPES.items()}
    spare = hub.own_token(NAMES["ada"])
    hub.servers({NAMES[p]: wide[p] for p in NAMES})
    found = {p: json.loads(hub.kernel(NAMES[p], wide[p], FOUND)) for p in NAMES}
    assert {p: (f["me"], f["more"]) for p, f in found.items()} == {
        "ada": ("ada", 403), "bo": ("hub_scope_missing", 403), "dee": ("hub_scope_missing", 403),
        "cy": ("hub_token_of_a_server", 403),  # the Hub would let it decide
    }  # fmt: skip

    # A researcher's kernel can submit: that is what it is for.
    ada = area.clients["ada, in a kernel"] = Client(area.url, found["ada"]["token"])
    view = until(ada, area.submit(notebook(ASK)).id, lambda v: v.stage != "rehearsing")
    release = ada.confirm(view.id, view.plan_digest).release
    waits(area, release)
    forbidden = (403, 403, 403, 401, None)
    assert asked(area, found["bo"]["token"], release) == forbidden
    assert asked(area, found["dee"]["token"], release) == forbidden
    assert asked(area, found["cy"]["token"], release) == forbidden
    assert asked(area, found["ada"]["token"], release) == (201, 403, 403, 401, None)
    # Nor does one of a person's own that could be a server's.
    assert asked(area, wide["bo"], release) == asked(area, wide["dee"], release) == forbidden
    assert asked(area, wide["ada"], release) == (201, 403, 403, 401, None)
    assert asked(area, own["ada"], release) == (201, 403, 403, 401, None)
    assert asked(area, own["dee"], release) == (403, 403, 403, 303, "/review/budgets")
    assert asked(area, own["bo"], release) == (403, 200, 200, 303, "queue")
    # Two people, as ever: bo's second vote is refused, cy's decides.
    assert asked(area, own["bo"], release)[2] == 409
    assert asked(area, own["cy"], release)[2] == 200
    assert until(ada, view.id, lambda v: v.stage.final).stage == "released"

    # Nobody is let in on a Hub's word that cannot be had.
    hub.stop()
    answer = httpx.get(f"{area.url}/v1/me", headers={"authorization": f"Bearer {spare}"}, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (503, "hub_unreachable")
    assert area.client("ada").me().person == "ada"  # a token of ours needs no Hub
    said = area.log()
    assert not [
        token
        for token in (*own.values(), *wide.values(), spare, *(f["token"] for f in found.values()))
        if token in said
    ]
