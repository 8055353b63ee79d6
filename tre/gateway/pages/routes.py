"""What is under /review: sign in, see what waits, look, vote; for admins, budgets. Each page asks the same services as the API does.

Guarantees: no page but the sign-in is given without a session, and a token sent in a header opens none; nothing changes
but by a form of this host that carries its session's mark. Rules, blindness and the record are the services'.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from tre.errors import NotAllowed, RequestError, TreError
from tre.gateway.callers import Callers
from tre.gateway.pages import budgets, hub_sign_in, render
from tre.gateway.pages.hub_sign_in import said
from tre.gateway.pages.sessions import HOURS, Session, Sessions
from tre.messages import ReviewInfo, Vote
from tre.rules import page
from tre.rules.disclosure.finding import Finding, Verdict, worst
from tre.rules.notices import Seen, words
from tre.rules.policy import Role
from tre.rules.schema import Closed
from tre.rules.voting import Reason, Remark
from tre.secure.services import Services

ROOT = "/review"
COOKIE = "tre_review"
MAX_FORM = 64 * 1024
SIGN_IN = f"{ROOT}/sign-in"


def _session(request: Request) -> Session:
    sessions: Sessions = request.app.state.sessions
    found = sessions.find(request.cookies.get(COOKIE, ""))
    callers: Callers = request.app.state.callers
    if found is None or not callers.still(found.token, found.person):
        raise NotAllowed("session_missing", "You are not signed in.", "Sign in with your token.")
    return found


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form of this host. A page elsewhere cannot send one: a browser says where a form comes from."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise NotAllowed("form_foreign", "This form comes from another place.", "Open the page here and send it again.")
    if request.headers.get("content-type", "").split(";")[0] != "application/x-www-form-urlencoded":
        raise RequestError("request_malformed", "This is no form.", "Use the page.")
    if int(request.headers["content-length"]) > MAX_FORM:  # that it is a number was seen to before
        raise RequestError("form_too_large", "The form is too large.", "Write a shorter comment.")
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=20, keep_blank_values=True)
    except ValueError:
        raise RequestError("request_malformed", "This form cannot be read.", "Use the page.") from None
    return {name: values[-1].replace("\r\n", "\n") for name, values in fields.items()}


Shape = TypeVar("Shape", bound=Closed)
Signed = Annotated[Session, Depends(_session)]
Form = Annotated[dict[str, str], Depends(_form)]


def _marked(session: Signed, form: Form) -> dict[str, str]:
    """The fields, where the form carries its session's mark."""
    if not session.marked(form.get("mark", "")):
        raise NotAllowed(
            "form_stale", "This form is not of your present session.", "Open the page again, then send it."
        )
    return form


Marked = Annotated[dict[str, str], Depends(_marked)]


def problem(request: Request, error: TreError, status: int) -> Response:
    """A refusal as a page; without a session, the way to the sign-in."""
    if error.code == "session_missing":
        return RedirectResponse(SIGN_IN, 303)
    values: dict[str, Any] = {"me": None, "mark": "", "unread": 0}
    sessions: Sessions = request.app.state.sessions
    session = sessions.find(request.cookies.get(COOKIE, ""))
    if session is not None:
        values |= {"me": {"name": session.person, "role": ""}, "mark": session.mark}
    return render.page("problem.html", status=status, problem=error, **values)


def router(services: Services) -> APIRouter:  # noqa: C901, PLR0915  # one short function a route
    pages = APIRouter(prefix=ROOT, include_in_schema=False, default_response_class=HTMLResponse)

    def common(session: Session) -> dict[str, Any]:
        unread = services.notices.unread(session.person)
        return {"me": services.me(session.person), "mark": session.mark, "unread": unread}

    def seat(request: Request, answer: Response, token: str) -> None:
        callers: Callers = request.app.state.callers
        person = callers.who(token, changes=True)
        services.checking(person, Role.ADMIN)
        services.reviews.arrived(person)
        answer.set_cookie(
            COOKIE, request.app.state.sessions.begin(person, callers.named(token)), max_age=HOURS * 3600, path=ROOT, httponly=True,
            secure=request.url.scheme == "https", samesite="strict",
        )  # fmt: skip

    @pages.get("")
    def bare() -> Response:
        return RedirectResponse(f"{ROOT}/", 303)

    @pages.get("/sign-in")
    def ask(request: Request) -> Response:
        return render.page("sign_in.html", me=None, problem=None, **said(request))

    @pages.post("/sign-in")
    def sign_in(request: Request, form: Form) -> Response:
        answer = RedirectResponse(f"{ROOT}/", 303)
        try:
            seat(request, answer, form.get("token", "").strip())
        except NotAllowed as error:
            return render.page("sign_in.html", status=401, me=None, problem=error, **said(request))
        return answer

    pages.include_router(hub_sign_in.router(ROOT, seat))

    @pages.post("/sign-out", dependencies=[Depends(_marked)])
    def sign_out(request: Request) -> Response:
        request.app.state.sessions.end(request.cookies[COOKIE])
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(COOKIE, path=ROOT, httponly=True, samesite="strict")
        return answer

    @pages.get("/")
    def queue(session: Signed) -> Response:
        if services.me(session.person).role == Role.ADMIN:
            return RedirectResponse(f"{ROOT}/budgets", 303)
        now = services.context.seconds()
        waiting = [
            {"info": i, "age": age(i.submitted, now), "verdict": _verdict(i)}
            for i in services.review_queue(session.person)
        ]
        return render.page("queue.html", requests=waiting, **common(session))

    @pages.get("/requests/{release}")
    def request(session: Signed, release: str) -> Response:
        info = services.review(session.person, release)
        contents = {
            o.name: services.review_output(session.person, release, o.name)[1] for o in info.outputs if o.present
        }
        return render.page("request.html", **_request(info, contents, services.context.seconds()), **common(session))

    @pages.get("/requests/{release}/notebook")
    def notebook(session: Signed, release: str) -> Response:
        return HTMLResponse(services.review_notebook(session.person, release), headers=page.HEADERS)

    @pages.get("/requests/{release}/earlier/{earlier}/{output}")
    def earlier(session: Signed, release: str, earlier: str, output: str) -> Response:
        policies = services.checking(session.person)
        found, content = services.reviews.earlier(policies, session.person, release, earlier, output)
        return render.page(
            "earlier.html", release=release, earlier=earlier, shown=render.shown(found, content), **common(session)
        )

    @pages.get("/budgets")
    def budget(session: Signed, population: str | None = None, epsilon: str | None = None) -> Response:
        services.need_admin(session.person)
        found = [
            (b, budgets.accounts(b), budgets.lines(b), budgets.wish(b, epsilon if b["account"] == population else None))
            for b in services.budgets()
        ]
        size = {"width": budgets.WIDTH, "height": budgets.HEIGHT}
        return render.page("budgets.html", found=found, **size, **common(session))

    @pages.get("/notices")
    def notices(session: Signed) -> Response:
        services.checking(session.person, Role.ADMIN)
        found = [(n, words(n.told, exception=n.exception)) for n in services.notices.of(session.person)]
        unread = [n.id for n, _ in found if not n.read]
        return render.page("notices.html", found=found, ids=unread, **common(session))

    @pages.post("/notices")
    def notices_read(session: Signed, form: Marked) -> Response:
        services.checking(session.person, Role.ADMIN)
        seen = _read(Seen, {"notices": form.get("notices", "").split()})
        services.notices.read(session.person, seen.notices)
        return RedirectResponse(f"{ROOT}/notices", 303)

    @pages.get("/exceptions")
    def exceptions(session: Signed) -> Response:
        services.checking(session.person)
        return render.page("exceptions.html", found=services.reviews.precedents(), **common(session))

    @pages.post("/requests/{release}/remarks")
    def remark(session: Signed, form: Marked, release: str) -> Response:
        said = _read(Remark, {"audience": form.get("audience"), "text": form.get("text")})
        services.reviews.remark(services.checking(session.person), session.person, release, said)
        return RedirectResponse(f"{ROOT}/requests/{release}#said", 303)

    @pages.post("/requests/{release}/revoke")
    def revoke(session: Signed, form: Marked, release: str) -> Response:
        why = _read(Reason, {"reason": form.get("reason")})
        services.reviews.revoke(services.checking(session.person), session.person, release, why.reason)
        return RedirectResponse(f"{ROOT}/requests/{release}#revoke", 303)

    @pages.post("/requests/{release}/vote")
    def vote(session: Signed, form: Marked, release: str) -> Response:
        cast = _read(Vote, {"decision": form.get("decision"), "comment": form.get("comment", "")})
        services.vote(session.person, release, cast)
        return RedirectResponse(f"{ROOT}/requests/{release}#vote", 303)

    return pages


def _read(shape: type[Shape], fields: Mapping[str, Any]) -> Shape:
    try:
        return shape.model_validate(fields)
    except ValidationError:
        raise RequestError("request_malformed", "The form is not complete.", "Fill it in, then send it.") from None


def _verdict(info: ReviewInfo) -> Verdict | None:
    """The worst finding; None where there is nothing to find any about."""
    return worst(f for o in info.outputs for f in o.findings) if info.outputs and info.ready else None


def _request(info: ReviewInfo, contents: Mapping[str, bytes], now: float) -> dict[str, Any]:
    """A request for its template: what was found, the worst first, each with its output's place on the page."""
    found = [(place, o, f) for place, o in enumerate(info.outputs, 1) for f in o.findings]
    told = sorted((x for x in found if x[2].verdict is not Verdict.PASS), key=lambda x: -x[2].verdict.rank)
    passed = [f for _, _, f in found if f.verdict is Verdict.PASS]
    return {
        "info": info, "age": age(info.submitted, now), "told": told, "passed": _rules(passed),
        "open": info.state == "in_review",
        "outputs": [render.shown(o, contents.get(o.name)) for o in info.outputs],
    }  # fmt: skip


def _rules(found: list[Finding]) -> list[str]:
    return list(dict.fromkeys(f.rule.value.replace("_", " ") for f in found))


def age(since: str, now: float) -> str:
    """In the largest unit that fits: "3 days"."""
    passed = max(0, int(now - datetime.fromisoformat(since).timestamp()))
    for seconds, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if passed >= seconds:
            count = passed // seconds
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a minute"
