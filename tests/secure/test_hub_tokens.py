"""Tokens of a Hub at the gateway, asked in-process; the Hub is a small server that answers as one does. The real one: tests/hub."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from pydantic import ValidationError

from tests.journey.conftest import policies, write_policies
from tests.secure.test_executed import Case
from tests.secure.test_review_pages import Checker, Http
from tre.errors import NotAllowed, Unreachable
from tre.gateway.app import create_app
from tre.gateway.hub import AT_ONCE, LONGEST, MOST, MOST_BYTES, SECONDS, HubTokens
from tre.secure.services import create
from tre.secure.settings import HubSignIn

OURS = "access:services!service=tre-gateway"
BO = {"kind": "user", "name": "Bo", "scopes": [OURS, "custom:tre:outputs:review", "custom:tre:outputs:read"]}
READER = {**BO, "scopes": [OURS, "custom:tre:outputs:read"]}
TOKEN, READING = "a-token-that-bo-has-made", "a-token-that-only-reads"


class SmallHub:
    """Tells of the tokens that it has, and keeps what it was asked."""

    def __init__(self):
        self.tokens, self.codes, self.asked, self.body, self.status = {}, {}, [], None, None
        self.cookies, self.held, self.waiting = [], None, threading.Semaphore(0)
        self.dripped = lambda: None  # called between the pieces of a body
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                token = self.headers["authorization"].removeprefix("token ")
                outer.asked.append((self.path, token))
                outer.cookies.append(self.headers["cookie"])
                if outer.held is not None:
                    outer.waiting.release()
                    outer.held.wait()
                known = outer.tokens.get(token)
                body = outer.body or json.dumps(known or {"status": 403}).encode()
                self.send_response(200 if known else 403)
                self.send_header("content-length", str(len(body)))
                self.send_header("set-cookie", "whose=the-one-who-asked-before; Path=/")
                self.end_headers()
                self.wfile.write(body[:1])
                outer.dripped()
                self.wfile.write(body[1:])

            def do_POST(self):
                form = self.rfile.read(int(self.headers["content-length"])).decode()
                outer.asked.append((self.path, form))
                token = outer.codes.get(parse_qs(form)["code"][0])
                body = (
                    outer.body or json.dumps({"access_token": token} if token else {"error": "invalid_grant"}).encode()
                )
                self.send_response(outer.status or (200 if token else 400))
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.api = f"http://127.0.0.1:{self.server.server_port}/hub/api"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hub():
    made = SmallHub()
    made.tokens = {TOKEN: BO, READING: READER}
    yield made
    made.stop()


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def area(tmp_path, hub):
    made = create(tmp_path / "area")
    changed = policies(area={"hub": {"api": hub.api}, "review": {"automatic_epsilon": 0}}, people={"bo": {"hub": "Bo"}})
    made.apply(write_policies(tmp_path / "policies", changed), dry_run=False)
    yield made
    made.close()


@pytest.fixture
def app(area, clock):
    made = create_app(area)
    made.state.callers._hub._seconds = clock
    return made


def asked(app, token, method="GET", path="/v1/reviews", **more):
    return Http(app, "http://testserver").request(method, path, headers={"authorization": f"Bearer {token}"}, **more)


def test_what_a_hub_said_is_believed_for_half_a_minute_and_not_a_moment_longer(app, hub, clock):
    assert SECONDS <= 60
    assert asked(app, TOKEN).status_code == 200
    hub.tokens.clear()  # taken away at the Hub
    clock.now += SECONDS - 1
    assert asked(app, TOKEN).status_code == 200
    assert len(hub.asked) == 1
    clock.now += 1
    refused = asked(app, TOKEN)
    assert (refused.status_code, refused.json()["code"]) == (401, "token_unknown")
    hub.tokens[TOKEN] = BO  # a refusal is not kept
    assert asked(app, TOKEN).status_code == 200


def test_a_token_of_ours_never_goes_to_the_hub_and_a_word_that_is_no_token_goes_nowhere(app, area, hub):
    assert asked(app, area.make_token("bo")).status_code == 200
    for wrong in ("tre_unknown-unknown-unknown", "short", "with blanks in a token", "x" * 300):
        assert asked(app, wrong).status_code == 401
    assert hub.asked == []


def test_where_the_hub_does_not_answer_as_one_nobody_is_let_in(app, hub, clock):
    assert asked(app, TOKEN).status_code == 200
    clock.now += SECONDS
    for body in (b"<html>", b"{}", b'{"kind": "user", "name": "Bo"}'):
        hub.body = body
        refused = asked(app, TOKEN)
        assert (refused.status_code, refused.json()["code"]) == (503, "hub_unreachable")
    hub.body = None
    hub.tokens[TOKEN] = {**BO, "kind": "service"}
    assert asked(app, TOKEN).status_code == 401


def test_what_a_hub_says_without_end_or_too_slowly_lets_nobody_in(app, hub, clock):
    hub.body = b'{"kind": "user", "name": "Bo", "scopes": []' + b" " * MOST_BYTES + b"}"
    assert asked(app, TOKEN).json()["code"] == "hub_unreachable"
    hub.body = None

    def later():
        clock.now += LONGEST + 1

    hub.dripped = later
    assert asked(app, TOKEN).json()["code"] == "hub_unreachable"
    hub.dripped = lambda: None
    assert asked(app, TOKEN).status_code == 200


def test_what_a_hub_gave_with_one_answer_does_not_go_with_the_next_question(app, hub):
    assert asked(app, TOKEN).status_code == asked(app, READING).status_code == 200
    assert hub.cookies == [None, None]


def test_whoever_waits_for_a_hub_does_not_keep_those_from_it_who_need_none(app, area, hub, clock):
    tokens, hub.held = app.state.callers._hub, threading.Event()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asking = [pool.submit(tokens.bearer, hub.api, f"a-token-that-nobody-has-{i}") for i in range(AT_ONCE)]
        for _ in asking:
            hub.waiting.acquire()
        refused = asked(app, TOKEN)
        assert (refused.status_code, refused.json()["code"]) == (503, "hub_unreachable")
        assert len(hub.asked) == AT_ONCE
        assert asked(app, area.make_token("bo")).status_code == 200
        hub.held.set()
        assert all(isinstance(a.exception(), NotAllowed) for a in asking)
    assert asked(app, TOKEN).status_code == 200


def test_a_token_that_only_reads_changes_nothing_and_begins_no_session(app, area, tmp_path):
    case = Case(area, tmp_path).end().in_review()
    assert [r["release"] for r in asked(app, READING).json()] == [case.release]
    vote = asked(app, READING, "POST", f"/v1/reviews/{case.release}/vote", json={"decision": "approve"})
    assert (vote.status_code, vote.json()["code"]) == (403, "hub_scope_reads")
    assert Checker(area, app, "cy").sign_in(READING).status_code == 401
    assert (
        asked(app, TOKEN, "POST", f"/v1/reviews/{case.release}/vote", json={"decision": "approve"}).status_code == 200
    )


def test_a_session_begun_by_a_hubs_token_ends_with_it(app, area, hub, clock):
    bo = Checker(area, app, "bo")
    assert "JupyterHub" in bo.get("sign-in").text
    assert bo.sign_in(TOKEN).status_code == 303
    assert bo.get("").status_code == 200
    hub.tokens[TOKEN] = READER  # a scope less is enough
    clock.now += SECONDS
    assert bo.get("").headers["location"] == "/review/sign-in"


def test_a_session_does_not_outlive_the_policies_that_named_its_hub(app, area, tmp_path):
    bo = Checker(area, app, "bo")
    bo.sign_in(TOKEN)
    area.apply(write_policies(tmp_path / "without", policies(people={"bo": {"hub": "Bo"}})), dry_run=False)
    assert bo.get("").headers["location"] == "/review/sign-in"
    assert asked(app, TOKEN).status_code == 401


def test_what_is_kept_of_bearers_is_limited(hub, clock):
    tokens = HubTokens(clock)
    for i in range(MOST + 1):
        tokens._found[f"hub:{i}"] = ("t", None, clock())
    tokens.bearer(hub.api, TOKEN)
    assert len(tokens._found) == MOST
    with pytest.raises(NotAllowed, match="token_unknown"):
        tokens.again(hub.api, "hub:0")
    hub.stop = lambda: None
    hub.server.shutdown()
    hub.server.server_close()
    clock.now += SECONDS
    with pytest.raises(Unreachable, match="hub_unreachable"):
        tokens.bearer(hub.api, TOKEN)
    hub.thread.join()


# Signing in by the Hub's own page

ADDRESS, SECRET = "https://tre.example.org", "a-secret-of-sixteen-or-more"


@pytest.fixture
def oauth(area, app):
    """A browser at a gateway whose settings say how people sign in by the Hub."""
    settings = {"hub": {"address": ADDRESS, "secret": SECRET, "api": "https://seen.example.org/hub/api"}}
    (area.context.area.settings).write_text(yaml.safe_dump(settings))
    return Http(app, "https://testserver")


def begun(browser):
    """The address that the browser is sent to, and what it has to bring back."""
    answer = browser.get("/review/hub")
    assert answer.status_code == 303
    kept = answer.headers["set-cookie"]
    assert all(word in kept for word in ("HttpOnly", "SameSite=lax", "Secure", "Path=/review/hub"))
    there = urlsplit(answer.headers["location"])
    assert (there.netloc, there.path) == ("seen.example.org", "/hub/api/oauth2/authorize")
    query = parse_qs(there.query)
    assert query["redirect_uri"] == [f"{ADDRESS}/review/hub/back"]
    assert query["client_id"] == ["service-tre-gateway"]
    return query["state"][0]


def test_a_sign_in_by_the_hub_begins_a_session_of_whom_its_token_makes(oauth, hub):
    hub.codes["a-code"] = TOKEN
    arrived = oauth.get(f"/review/hub/back?code=a-code&state={begun(oauth)}")
    assert arrived.status_code == 200
    assert "SameSite=strict" in next(c for c in arrived.headers.get_list("set-cookie") if c.startswith("tre_review="))
    assert oauth.get("/review/").status_code == 200
    (path, form), *_ = hub.asked
    assert path == "/hub/api/oauth2/token"
    assert parse_qs(form)["client_secret"] == [SECRET]
    assert TOKEN not in arrived.text
    assert oauth.get("/review/hub/back?code=a-code&state=").status_code == 401  # what was begun is over


@pytest.mark.parametrize("state", ["", "another"])
def test_an_answer_that_was_not_asked_for_here_signs_nobody_in(oauth, hub, state):
    hub.codes["a-code"] = TOKEN
    assert oauth.get(f"/review/hub/back?code=a-code&state={state}").status_code == 401
    begun(oauth)
    assert oauth.get(f"/review/hub/back?code=a-code&state={state}").status_code == 401
    assert hub.asked == []
    assert oauth.get("/review/").headers["location"] == "/review/sign-in"


def test_where_the_hub_does_not_confirm_it_nobody_is_signed_in(oauth, hub):
    hub.codes["a-readers"] = READING
    for code, status, body, told in (
        ("unknown", None, None, 401), ("", None, None, 401), ("a-readers", None, None, 401),
        ("a-readers", 500, None, 503), ("a-readers", 200, b"<html>", 503),
    ):  # fmt: skip
        hub.status, hub.body = status, body
        assert oauth.get(f"/review/hub/back?code={code}&state={begun(oauth)}").status_code == told
        hub.status = hub.body = None
        assert "tre_hub_state" not in oauth.cookies  # what was begun is over, however it ended
        assert oauth.get("/review/").headers["location"] == "/review/sign-in"


def test_of_settings_that_are_wrong_visitors_hear_nothing_and_tokens_of_ours_still_sign_in(oauth, app, area, caplog):
    area.context.area.settings.write_text("hub: {secret: short}\n")
    page = oauth.get("/review/sign-in")
    assert page.status_code == 200
    assert "/review/hub" not in page.text
    assert oauth.get("/review/hub").status_code == 404
    assert "settings_invalid" in caplog.text
    assert Checker(area, app, "bo").sign_in().status_code == 303


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({}, True), ({"address": "http://127.0.0.1:8000"}, True), ({"api": "https://jupyter.example.org/hub/api"}, True),
        ({"address": "http://tre.example.org"}, False), ({"address": "https://tre.example.org/"}, False),
        ({"api": "http://jupyter.example.org/hub/api"}, False),
    ],
)  # fmt: skip
def test_people_are_not_sent_in_the_clear_with_what_signs_them_in(changed, good):
    kept = {"address": ADDRESS, "secret": SECRET, **changed}
    if good:
        assert HubSignIn(**kept).address == kept["address"]
        return
    with pytest.raises(ValidationError):
        HubSignIn(**kept)


def test_without_the_settings_the_hub_signs_nobody_in(app):
    browser = Http(app, "https://testserver")
    assert "/review/hub" not in browser.get("/review/sign-in").text
    assert browser.get("/review/hub").status_code == 404
    assert browser.get("/review/hub/back?code=a&state=").status_code == 401
