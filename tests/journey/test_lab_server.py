"""The desk's server extension in a real Jupyter server: what it answers, whom, and what it can never be made to do."""

import ast
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx
import pytest

from tests.browser.lab import TOKEN, Lab
from tre.client import Client
from tre.desk.lab import asking, routes
from tre.messages import DecisionKind, Vote

from .conftest import ASK, notebook, until

pytestmark = pytest.mark.slow

TABLE = 'tre.output("people-by-sex", toy.group_by("sex").table(n=tre.count_people()), context="People by sex")'
# What of the client a desk in JupyterLab may use. To decide is not among it.
USED = {
    "me", "url", "isolation", "notices", "read_notices", "datasets", "dataset", "twin", "jobs", "job", "submit", "confirm", "withdraw",
    "releases", "budget", "budgets", "reviews",
}  # fmt: skip


@pytest.fixture(scope="module")
def desks(area, tmp_path_factory):
    """A server for a researcher, a checker and somebody whose desk knows no gateway."""
    made = {p: Lab(tmp_path_factory.mktemp(f"lab-{p}"), area, p, lab="jupyter_server") for p in ("ada", "bo")}
    made["nobody"] = Lab(tmp_path_factory.mktemp("lab-nobody"), None, "nobody", lab="jupyter_server")
    yield made
    for lab in made.values():
        lab.stop()


@pytest.fixture(scope="module")
def waiting(area):
    """A request that waits for its checkers."""
    view = area.confirm(area.submit(notebook(ASK, TABLE)))
    checker = area.client("di")
    until(area.client("ada"), view.id, lambda v: any(r.release == v.release and r.ready for r in checker.reviews()))
    return view


@pytest.fixture
def astray(tmp_path):
    """A desk whose gateway is none: of itself it never says who one is, and to all else it answers a page."""
    over = threading.Event()
    asked = threading.Semaphore(0)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/v1/me":
                asked.release()
                over.wait(60)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"<html>{self.headers['authorization']}".encode())

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    area = SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", tokens={"lost": "tre_very-secret"})
    lab = Lab(tmp_path, area, "lost", lab="jupyter_server")
    yield SimpleNamespace(lab=lab, asked=asked, over=over, token="tre_very-secret")
    over.set()
    lab.stop()
    server.shutdown()
    server.server_close()


def attempts(release):
    """To vote, to revoke, and whatever else the gateway lets a checker or an admin do, through the desk's server."""
    for root in ("/tre", "/tre/v1", "/tre/jobs/job-00/../..", "/tre/jobs/job-00%2f..%2f..%2fv1", "/tre/twins/..%2f.."):
        for path in (
            f"reviews/{release}/vote", f"reviews/{release}/remarks", f"releases/{release}/revoke", f"review/requests/{release}/vote",
            "budgets", "policies", "raises", "apply", f"releases/{release}/approve", f"reviews/{release}",
        ):  # fmt: skip
            yield f"{root}/{path}"
    yield f"/tre/jobs/job-00%2f..%2f..%2freviews%2f{release}%2fvote%3f/confirm"
    yield f"/tre/jobs/job-00%3F/confirm/../../reviews/{release}/vote"
    yield f"/tre/releases/{release}%2frevoke"


def test_no_route_of_it_decides_whatever_is_sent_and_the_gateway_would_have_let_its_token(area, desks, waiting):
    bodies = {
        "decision": "approve",
        "comment": "-",
        "reason": "-",
        "plan": "0" * 64,
        "audience": "researcher",
        "text": "-",
    }
    for path in attempts(waiting.release):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = desks["bo"].ask(method, path, json=bodies)
            assert answer.status_code in (403, 404, 405), (method, path, answer.text)
    for method, path in routes.TABLE:
        filled = (
            path.replace(routes.JOB, waiting.id).replace(routes.RELEASE, waiting.release).replace(routes.DATASET, "toy")
        )
        answer = desks["bo"].ask(method, filled, **({"json": bodies | {"notices": []}} if method == "POST" else {}))
        assert answer.is_success == (filled in ("/tre/overview", "/tre/notices")), (filled, answer.text)
    info = area.client("di").review(waiting.release)
    assert (info.votes_cast, info.state, info.remarks) == (0, "in_review", ())
    assert area.client("ada").job(waiting.id).stage == "in_review"
    # the control: with the same token, at the gateway itself
    voter = Client(area.url, area.tokens["bo"])
    assert voter.vote(waiting.release, Vote(decision=DecisionKind.APPROVE)).votes_cast == 1
    voter.close()


def test_its_code_uses_nothing_of_the_client_by_which_one_decides():
    used = {
        n.attr
        for n in ast.walk(ast.parse(inspect.getsource(asking)))
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "client"
    }
    assert used == USED
    assert {name for name in vars(asking) if name in routes.TABLE.values()} == set(routes.TABLE.values())


def test_who_is_not_signed_in_to_jupyter_is_answered_nothing(desks, waiting):
    for method, path in routes.TABLE:
        filled = (
            path.replace(routes.JOB, waiting.id).replace(routes.RELEASE, waiting.release).replace(routes.DATASET, "toy")
        )
        assert desks["ada"].ask(method, filled, headers={}).status_code == 403


def test_a_page_of_elsewhere_cannot_send_with_the_persons_cookie(desks, waiting):
    lab = desks["ada"]
    with httpx.Client(base_url=lab.url, trust_env=False, timeout=30) as browser:
        browser.get("/login", params={"token": TOKEN}, follow_redirects=True)
        assert browser.get("/tre/overview").is_success  # the cookie is good
        refused = browser.post(f"/tre/jobs/{waiting.id}/withdraw", json={})
        assert (refused.status_code, "_xsrf" in refused.text) == (403, True)
        mark = browser.cookies.get("_xsrf")
        assert browser.post("/tre/notices", json={"notices": []}, headers={"x-xsrftoken": mark}).is_success


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/tre/rehearsals", [1], 422, "request_malformed"),
        ("POST", "/tre/rehearsals", {"project": "visits"}, 422, "request_malformed"),
        ("POST", "/tre/rehearsals", {"path": "broken.ipynb", "project": "visits"}, 422, "not_a_notebook"),
        ("POST", "/tre/rehearsals", {"path": "good.ipynb", "project": "others"}, 404, "project_unknown"),
        ("POST", "/tre/notices", {}, 422, "request_malformed"),
        ("POST", "/tre/notices", {"notices": ["x"]}, 422, "request_malformed"),
        ("GET", "/tre/jobs/job-00000000", None, 404, "job_unknown"),
        ("POST", "/tre/jobs/job-00000000/confirm", {"plan": "x"}, 422, "request_malformed"),
        ("POST", "/tre/twins/nothing", {}, 404, "dataset_unknown"),
        ("POST", "/tre/releases/rel-00000000", {}, 404, "release_unknown"),
    ],
)
def test_a_refusal_is_a_sentence_a_code_and_the_next_step(desks, method, path, body, status, code):
    (desks["ada"].files / "broken.ipynb").write_text("{}")
    (desks["ada"].files / "good.ipynb").write_text(notebook(ASK))
    answer = desks["ada"].ask(method, path, **({} if body is None else {"json": body}))
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.json()["message"]
    assert answer.json()["next_step"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["missing.ipynb", "../../etc/passwd", "/etc/passwd", ".hidden/x.ipynb"])
def test_only_a_notebook_that_jupyter_itself_would_show_is_read(desks, path):
    answer = desks["ada"].ask("POST", "/tre/rehearsals", json={"path": path, "project": "visits"})
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_a_desk_that_knows_no_gateway_says_what_to_do(desks):
    answer = desks["nobody"].ask("GET", "/tre/overview")
    assert (answer.status_code, answer.json()["code"]) == (503, "login_missing")
    assert "tre login" in answer.json()["next_step"]


def test_a_gateway_that_hangs_keeps_neither_jupyter_nor_other_questions_waiting_and_one_that_answers_nonsense_is_said(
    astray,
):
    confirm = ("POST", "/tre/jobs/job-00/confirm")
    with ThreadPoolExecutor(6) as tabs:
        looks = [tabs.submit(astray.lab.ask, "GET", "/tre/overview") for _ in range(6)]
        for _ in range(2):
            assert astray.asked.acquire(timeout=20)
        assert astray.lab.ask("GET", "/api/status").is_success
        answers = [astray.lab.ask(*confirm, json={"plan": "0" * 64})]
        assert not any(look.done() for look in looks)
        astray.over.set()
        answers += [look.result() for look in looks]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "gateway_unclear")
        assert answer.json()["next_step"] == "Check TRE_URL."
        assert astray.token not in answer.text
    assert astray.token not in astray.lab.log.read_text()


def test_each_role_is_told_its_own_things_and_no_token(area, desks, waiting):
    mine, checkers = (desks[p].ask("GET", "/tre/overview") for p in ("ada", "bo"))
    assert [d["id"] for d in mine.json()["datasets"]] == ["toy"]
    assert waiting.id in [j["id"] for j in mine.json()["jobs"]]
    assert "queue" not in mine.json()
    assert set(checkers.json()) == {"me", "pages", "notices", "queue", "isolation"}
    for person, answer in (("ada", mine), ("bo", checkers)):
        assert area.tokens[person] not in answer.text
    assert area.client("dee").budgets()[0].account == "toy-people"
    for person in ("ada", "bo"):
        with pytest.raises(Exception, match="role_missing"):
            area.client(person).budgets()
