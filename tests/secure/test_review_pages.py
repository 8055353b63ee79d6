"""The output checkers' pages, asked in-process: who gets in, what a form must carry, what a page may do, what is recorded."""

import asyncio
import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import httpx
import pytest
import sqlalchemy as sa

from tests.browser.attacks import ATTACKS
from tests.journey.conftest import policies, write_policies
from tests.secure.test_executed import Case
from tre.gateway.app import create_app
from tre.gateway.pages import render
from tre.gateway.pages.routes import age
from tre.gateway.pages.sessions import MOST, PAUSE, SECONDS, Sessions
from tre.messages import OutputKind, ReviewOutput
from tre.rules.accounting import rho_of
from tre.rules.canonical import digest_bytes
from tre.rules.disclosure.finding import Earlier, Finding, Mitigation, Place, Rule, Verdict
from tre.rules.lifecycle import Release
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.database import tables
from tre.secure.services import create

SITE = "http://testserver"


@pytest.fixture
def area(tmp_path):
    made = create(tmp_path / "area")
    made.apply(
        write_policies(tmp_path / "policies", policies(area={"review": {"automatic_epsilon": 0}})), dry_run=False
    )
    yield made
    made.close()


@pytest.fixture
def app(area):
    return create_app(area)


class Http:
    """The application, asked without a network. Cookies are kept, redirects are not followed."""

    def __init__(self, app, site):
        self._app, self._site = app, site
        self.cookies, self.headers = httpx.Cookies(), {}

    def request(self, method, path, *, headers=None, **more):
        async def ask():
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self._site, cookies=self.cookies) as client:
                answer = await client.request(method, path, headers=self.headers | (headers or {}), **more)
                self.cookies = client.cookies
                return answer

        return asyncio.run(ask())

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, **more):
        return self.request("POST", path, **more)


class Checker:
    """A browser of one person's."""

    def __init__(self, services, app, person, *, https=False):
        self.token = services.make_token(person)
        site = SITE.replace("http:", "https:") if https else SITE
        self.http = Http(app, site)
        self.headers = {"origin": site}

    def sign_in(self, token=None):
        return self.http.post("/review/sign-in", data={"token": token or self.token}, headers=self.headers)

    def get(self, path):
        return self.http.get(f"/review/{path}")

    def mark(self):
        return re.search(r'name="mark" value="([^"]+)"', self.get("").text)[1]

    def post(self, path, headers=None, **fields):
        return self.http.post(f"/review/{path}", data=fields, headers=headers or self.headers)

    def vote(self, release, decision="approve", comment="", **more):
        fields = {"mark": self.mark(), "decision": decision, "comment": comment, **more}
        return self.post(f"requests/{release}/vote", **fields)


@pytest.fixture
def bo(area, app):
    made = Checker(area, app, "bo")
    assert made.sign_in().status_code == 303
    return made


@pytest.fixture
def case(area, tmp_path):
    return Case(area, tmp_path).end().in_review()


def _store(services, case, name, kind, content, *findings, context="c"):
    """An output as the check leaves it."""
    sha256 = digest_bytes(content)
    (services.context.area.folder("outputs") / sha256).write_bytes(content)
    row = {
        "release": case.release, "name": name, "position": 9, "kind": kind.value, "context": context, "sha256": sha256,
        "findings": json.dumps([f.model_dump(mode="json") for f in findings]),
    }  # fmt: skip
    with services.context.database.write() as connection:
        connection.execute(tables.outputs.insert(), [row])


def _events(services, *names):
    t = tables.audit
    with services.context.database.read() as connection:
        found = connection.execute(sa.select(t.c.person, t.c.event, t.c.subject).order_by(t.c.seq)).all()
    return [tuple(r) for r in found if r.event in names]


# Who gets in

PATHS = ("", "exceptions", "requests/{}", "requests/{}/notebook", "requests/{}/earlier/rel-1/t")


def test_without_a_session_there_is_nothing_but_the_way_to_the_sign_in(area, app, case):
    stranger = Checker(area, app, "bo")
    stranger.http.headers["authorization"] = f"Bearer {stranger.token}"  # a token sent along opens no page
    answers = [stranger.get(p.format(case.release)) for p in PATHS]
    answers += [
        stranger.post(p.format(case.release), mark="x", decision="approve")
        for p in ("requests/{}/vote", "requests/{}/remarks", "requests/{}/revoke", "sign-out")
    ]
    assert {(a.status_code, a.headers["location"]) for a in answers} == {(303, "/review/sign-in")}
    assert area.review("bo", case.release).my_vote is None


def test_an_admin_sees_budgets_and_no_request_and_a_checker_no_budgets(area, app, bo, case):
    dee = Checker(area, app, "dee")
    assert dee.sign_in().status_code == 303
    assert dee.get("").headers["location"] == "/review/budgets"
    page = dee.get("budgets")
    assert (page.status_code, "toy-people" in page.text, "40.000" in page.text) == (200, True, True)
    assert [dee.get(p.format(case.release)).status_code for p in PATHS[1:]] == [403] * len(PATHS[1:])
    assert bo.get("budgets").status_code == 403


def _charge(services, case, epsilon):
    wish = ledger.Reservation(
        population="toy-people", project="visits", purpose="release", request_digest="d" * 64, dataset_version="v",
        release=case.release, position=0, rho_units=rho_of(epsilon, 1e-6),
    )  # fmt: skip
    with services.context.database.write() as connection:
        ledger.reserve(connection, policy_files.current(connection), [wish], at=services.context.now())


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({}, "With epsilon 40 for all time, epsilon 39."),
        ({"population": "toy-people", "epsilon": "10"}, "at the mean price of the one request of the last 30 days"),
        ({"population": "toy-people", "epsilon": "2"}, "nothing more would fit"),
        ({"population": "others", "epsilon": "10"}, "With epsilon 40 for all time"),
    ],
)
def test_an_admin_sees_what_another_budget_would_change_and_changes_none(area, app, case, chosen, said):
    dee = Checker(area, app, "dee")
    dee.sign_in()
    assert "no request was charged within 30 days" in dee.get("budgets").text
    _charge(area, case, 5.0)
    before = area.budgets()
    page = dee.get(f"budgets?{urlencode(chosen)}")
    assert said in page.text
    assert '<input type="range"' in page.text
    assert "<script" not in page.text
    assert area.budgets() == before


@pytest.mark.parametrize("epsilon", ["", "nan", "inf", "-1", "0", "101", "<b>"])
def test_what_can_be_no_budget_is_refused_without_its_text(area, app, epsilon):
    dee = Checker(area, app, "dee")
    dee.sign_in()
    answer = dee.get(f"budgets?{urlencode({'population': 'toy-people', 'epsilon': epsilon})}")
    assert (answer.status_code, "That is no budget." in answer.text, "<b>" in answer.text) == (422, True, False)


def test_only_an_accredited_checkers_or_admins_token_begins_a_session(area, app):
    for person in ("ada", "eve"):
        answer = Checker(area, app, person).sign_in()
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
        assert "yours is researcher" in answer.text
    assert "not known here" in Checker(area, app, "bo").sign_in("tre_guessed").text
    assert _events(area, "review.signed_in") == []


def test_the_cookie_is_for_the_pages_of_this_host_alone_and_names_nothing_that_is_kept(area, app):
    for https in (False, True):
        checker = Checker(area, app, "bo", https=https)
        cookie = checker.sign_in().headers["set-cookie"]
        parts = {p.strip().lower() for p in cookie.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/review"} <= parts
        assert ("secure" in parts) == https
        assert cookie.split(";")[0].split("=")[1] not in str(app.state.sessions.__dict__)
    assert [e[0] for e in _events(area, "review.signed_in")] == ["bo", "bo"]


def test_a_session_ends_at_sign_out_after_a_pause_and_after_its_time():
    now = [1000.0]
    sessions = Sessions(lambda: now[0])
    first = sessions.begin("bo", "t")
    now[0] += PAUSE - 1
    assert sessions.find(first).person == "bo"
    now[0] += PAUSE
    assert sessions.find(first) is None
    long, begun = sessions.begin("bo", "t"), now[0]
    while now[0] + PAUSE / 2 < begun + SECONDS:
        assert sessions.find(long)
        now[0] += PAUSE / 2
    now[0] = begun + SECONDS
    assert sessions.find(long) is None
    many = [sessions.begin("bo", "t") for _ in range(MOST + 2)]
    assert [sessions.find(s) is None for s in many] == [True] * 2 + [False] * MOST
    sessions.end(many[-1])
    assert sessions.find(many[-1]) is None


def test_after_signing_out_the_cookie_opens_nothing(bo):
    kept = bo.http.cookies["tre_review"]
    assert bo.post("sign-out", mark=bo.mark()).headers["location"] == "/review/sign-in"
    bo.http.headers["cookie"] = f"tre_review={kept}"
    assert bo.get("").status_code == 303


def test_who_is_no_checker_any_more_sees_nothing_through_an_open_session(area, bo, case, tmp_path):
    assert bo.get(f"requests/{case.release}").status_code == 200
    files = policies(area={"review": {"automatic_epsilon": 0}})
    files["people.yaml"]["people"]["bo"]["role"] = "researcher"
    area.apply(write_policies(tmp_path / "later", files), dry_run=False)
    answer = bo.get(f"requests/{case.release}")
    assert (answer.status_code, "yours is researcher" in answer.text) == (403, True)


# Forms


def test_a_form_without_its_sessions_mark_or_from_elsewhere_changes_nothing(area, app, bo, case):
    cy = Checker(area, app, "cy")
    cy.sign_in()
    path = f"requests/{case.release}/vote"
    refused = [
        bo.post(path, decision="approve"),
        bo.post(path, decision="approve", mark="guessed"),
        bo.post(path, decision="approve", mark=cy.mark()),
        bo.post(path, {"origin": "http://evil.example"}, decision="approve", mark=bo.mark()),
        bo.post(path, {"origin": "null"}, decision="approve", mark=bo.mark()),
        bo.post("sign-in", {"origin": "http://evil.example"}, token=cy.token),
    ]
    assert [a.status_code for a in refused] == [403] * len(refused)
    assert "text/html" in refused[0].headers["content-type"]
    sent = bo.http.post(f"/review/{path}", json={"mark": bo.mark(), "decision": "approve"}, headers=bo.headers)
    assert sent.status_code == 422
    assert bo.vote(case.release, "approve", "x" * 70_000).status_code == 422
    assert bo.vote(case.release, "perhaps").status_code == 422
    assert bo.vote(case.release, "return", " ").status_code == 422  # as by the API: a comment is needed
    assert area.review("bo", case.release).my_vote is None


def test_a_vote_by_the_page_is_the_same_as_by_the_api_and_blind(area, app, bo, case):
    cy = Checker(area, app, "cy")
    cy.sign_in()
    assert bo.vote(case.release, comment="mine alone").headers["location"] == f"/review/requests/{case.release}#vote"
    assert "Your vote is recorded: approve" in bo.get(f"requests/{case.release}").text
    assert case.release not in bo.get("").text
    assert bo.vote(case.release).status_code == 409  # a vote stands
    seen = cy.get(f"requests/{case.release}").text
    assert "mine alone" not in seen
    assert "partially" not in seen
    cy.vote(case.release, "return", "small cells")
    assert "mine alone" in cy.get(f"requests/{case.release}").text
    assert area.review("di", case.release).state == Release.RETURNED


def test_remarks_exceptions_and_revocation_by_the_page_are_the_services_own(area, app, bo, case):
    path = f"requests/{case.release}"
    assert bo.post(f"{path}/remarks", mark=bo.mark(), audience="checkers", text="first <b>look</b>").status_code == 303
    assert bo.post(f"{path}/remarks", mark=bo.mark(), audience="everybody", text="x").status_code == 422
    assert bo.post(f"{path}/remarks", audience="checkers", text="x").status_code == 403
    assert [r.text for r in area.review("bo", case.release).remarks] == ["first <b>look</b>"]
    assert "first &lt;b&gt;look" in bo.get(path).text
    assert bo.post(f"{path}/revoke", mark=bo.mark(), reason="x").status_code == 409  # nothing was released yet
    assert "None." in bo.get("exceptions").text


def test_every_look_is_in_the_log_as_through_the_api(area, bo, case):
    _store(area, case, "t2", OutputKind.TEXT, b"words")
    bo.get(f"requests/{case.release}")
    bo.get(f"requests/{case.release}/notebook")
    found = _events(area, "release.viewed", "output.viewed", "notebook.viewed")
    assert found == [("bo", f"{w}.viewed", case.release) for w in ("release", "output", "notebook")]


# What a page may do


def test_every_answer_forbids_all_but_its_own_style_pictures_and_forms(bo, case):
    for path in ("", "sign-in", f"requests/{case.release}", "requests/none", "nowhere"):
        headers = bo.get(path).headers
        policy = dict(p.strip().split(" ", 1) for p in headers["content-security-policy"].split(";"))
        assert policy.pop("style-src").startswith("'sha256-")
        assert policy == {
            "default-src": "'none'", "img-src": "'self' data:", "form-action": "'self'", "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }  # fmt: skip
        assert headers["cache-control"] == "no-store"


def test_whatever_stands_in_an_output_or_a_finding_is_text(area, bo, case):
    """Each attack on the notebook's page, in every place of a request that a researcher writes to."""
    raws = [a.control("http://127.0.0.1:1") for a in ATTACKS]
    table = io.StringIO()
    csv.writer(table).writerows([["a", "b"], *([r, r] for r in raws)])
    said = " ".join(raws)[:3_900]
    finding = Finding(
        rule=Rule.THRESHOLD, verdict=Verdict.FAIL, message=said, cells=(Place(row=0, column=1),), count=1, people=3,
        earlier=(Earlier(release=None, output=said[:60], groups=(said[:90],)),),
        mitigations=(Mitigation(kind="suppress", call=said, epsilon=1.0, error=2.0),),
    )  # fmt: skip
    _store(area, case, "table", OutputKind.TABLE, table.getvalue().encode(), finding, context=said)
    _store(area, case, "words", OutputKind.TEXT, said.encode(), context=said)
    _store(area, case, "figure", OutputKind.FIGURE, b"not looked at here", context=said)
    text = bo.get(f"requests/{case.release}").text
    own = re.sub(r"<(/?)(?:!doctype|html|head|meta|link|title|style|body|a|header|p|nav|ul|li|form|input|button|main|h[123]|dl|dt|dd"
                 r"|span|code|section|table|thead|tbody|tr|t[hd]|small|img|pre|div|fieldset|legend|label|textarea)\b[^<>]*>", "", text)  # fmt: skip
    assert "<" not in own.replace(render.STYLE, "")
    for tag in re.findall(r"<[a-z][^<>]*>", text):
        assert not re.search(r"\son[a-z]+\s*=\s*[^&]", re.sub(r'"[^"]*"', '""', tag)), tag
    assert set(re.findall(r' (?:href|action|src)="([^"]*)"', text)) - {"data:,"} <= {
        "#main", "/review/", "/review/exceptions", "/review/notices", f"/review/requests/{case.release}/remarks",
        "/review/sign-out", f"/review/requests/{case.release}/notebook",
        f"/review/requests/{case.release}/vote", *(f"#output-{n}" for n in range(1, 5)),
        *re.findall(r"data:image/png;base64,[A-Za-z0-9+/=]*", text),
    }  # fmt: skip
    assert "<script" not in text


def test_hidden_characters_are_written_out():
    shown = render.shown(
        ReviewOutput(name="t", kind=OutputKind.TEXT, context="\u202ec", present=True, digest=None, findings=()),
        "a\u200bb".encode(),
    )
    text = render.page("earlier.html", release="r", earlier="e", shown=shown, me=None, mark="").body.decode()
    assert r"a\u200bb" in text
    assert r"\u202ec" in text


# What is on it


def test_the_cells_that_fail_are_marked_and_the_findings_come_worst_first(area, bo, case):
    found = (
        Finding(rule=Rule.CONTEXT, verdict=Verdict.PASS, message="fine"),
        Finding(rule=Rule.UNDERLYING, verdict=Verdict.REVIEW, message="look-here", cells=(Place(row=0, column=1),), count=1),
        Finding(rule=Rule.THRESHOLD, verdict=Verdict.FAIL, message="too-few", cells=(Place(row=1, column=1),), count=1, people=4),
    )  # fmt: skip
    _store(area, case, "counts", OutputKind.TABLE, b"sex,n\nf,60\nm,4\n", *found)
    text = bo.get(f"requests/{case.release}").text
    assert text.index("too-few") < text.index("look-here") < text.index("Passed: context")
    assert '<td class="said fail">4 <small>(fails)</small></td>' in text
    assert '<td class="said review">60 <small>(needs eyes)</small></td>' in text
    assert '<td class="said">m</td>' in text
    assert "Fewest people behind one cell: 4." in text


def test_an_earlier_release_is_shown_only_where_a_finding_names_it(area, app, bo, case, tmp_path):
    before = Case(area, tmp_path).end().in_review()
    _store(area, before, "old", OutputKind.TABLE, b"sex,n\nf,70\n", context="as it left")
    path = f"requests/{case.release}/earlier/{before.release}/old"
    assert bo.get(path).status_code == 404
    named = Finding(
        rule=Rule.DIFFERENCING, verdict=Verdict.FAIL, message="m", earlier=(Earlier(release=before.release, output="old"),)
    )  # fmt: skip
    _store(area, case, "new", OutputKind.TABLE, b"sex,n\nf,67\n", named)
    assert path in bo.get(f"requests/{case.release}").text
    page = bo.get(path)
    assert ("70" in page.text, "as it left" in page.text) == (True, True)
    assert _events(area, "earlier.viewed") == [("bo", "earlier.viewed", before.release)]


def test_an_age_is_told_in_the_largest_unit_that_fits():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    later = (timedelta(seconds=59), timedelta(minutes=1), timedelta(hours=5, minutes=59), timedelta(days=3))
    said = [age("2026-01-01T00:00:00Z", (at + d).timestamp()) for d in later]
    assert said == ["less than a minute", "1 minute", "5 hours", "3 days"]
