"""The gateway's HTTP API. Bearer tokens; problem details (RFC 9457); OpenAPI at /openapi.json.

Guarantees: no route but /healthz and /v1/receipt-key answers without a token; every answer is one of `messages`' shapes,
and says how notebooks are isolated (`tre-isolation`);
an error that is not ours is told as internal_error, without its text. The output checkers' pages, which have sessions
instead of tokens, are `pages`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

import tre
from tre.errors import NotAllowed, NotebookError, TreError
from tre.gateway.callers import Callers
from tre.gateway.pages import budgets, routes
from tre.gateway.pages.sessions import Sessions
from tre.messages import (
    Confirmation,
    DatasetInfo,
    JobView,
    Me,
    OutputKind,
    ProblemDetail,
    ReleaseInfo,
    ReviewInfo,
    Submission,
    TwinOffer,
    Vote,
)
from tre.rules import page
from tre.rules.balances import Balance
from tre.rules.notebook import MAX_BYTES
from tre.rules.notices import Notice, Seen
from tre.rules.policy import Isolation, Role
from tre.rules.replica import ReplicaInfo, ReplicaVote, ReplicaWaiting
from tre.rules.voting import Exceptional, Reason, Remark
from tre.secure.services import Services

log = logging.getLogger("tre.gateway")

# A notebook as a JSON string can be longer than its bytes; what is larger than this was never read.
MAX_BODY = 3 * MAX_BYTES
ISOLATION = "tre-isolation"
MEDIA = {
    OutputKind.TABLE: "text/csv",
    OutputKind.FIGURE: "image/png",
    OutputKind.TEXT: "text/plain; charset=utf-8",
    OutputKind.MODEL: "application/json",
}


def _person(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
) -> str:
    """The person whose token came with the request."""
    if credentials is None:
        raise NotAllowed("token_missing", "No token was sent.", "Sign in: tre login, or set TRE_TOKEN.")
    callers: Callers = request.app.state.callers
    return callers.who(credentials.credentials, changes=request.method not in ("GET", "HEAD"))


Person = Annotated[str, Depends(_person)]


def create_app(
    services: Services, *, isolation: Isolation = Isolation.FULL, ended: Callable[[], None] = lambda: None
) -> FastAPI:
    """`ended` is called once nothing is asked any more, and before the process ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(ended)

    app = FastAPI(title="tre gateway", version=tre.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.services, app.state.isolation = services, isolation
    app.state.callers = Callers(services, services.context.seconds)
    app.state.sessions = Sessions(services.context.seconds)
    _errors(app)
    app.middleware("http")(_guard)
    app.middleware("http")(_level)  # the last made is the outermost: the answers of the others too
    _routes(app, services)
    app.include_router(routes.router(services))
    return app


async def _level(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Every answer says how notebooks are isolated here."""
    response = await call_next(request)
    response.headers[ISOLATION] = request.app.state.isolation.value
    return response


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse by declared length before reading (a body without one as well); tell nothing of a fault of ours."""
    if request.method in ("POST", "PUT", "PATCH"):
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            return _problem(
                request,
                NotebookError(
                    "notebook_too_large", "The notebook is too large.", "Clear its outputs; keep data out of it."
                ),
            )
    try:
        response = await call_next(request)
    except Exception as error:  # told and logged by its type only: its text could quote a value
        log.error("unexpected: %s", type(error).__name__)
        return _problem(
            request, TreError("internal_error", "Something went wrong on our side.", "Try again; tell an admin."), 500
        )
    response.headers["cache-control"] = "no-store"
    response.headers["x-content-type-options"] = "nosniff"
    return response


def _routes(app: FastAPI, services: Services) -> None:  # noqa: C901  # one short function a route
    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok", "version": tre.__version__}

    @app.get("/v1/receipt-key")
    def receipt_key() -> dict[str, str]:
        return {"key": services.receipt_key}

    @app.get("/v1/me")
    def me(who: Person) -> Me:
        return services.me(who)

    @app.get("/v1/notices")
    def notices(who: Person) -> list[Notice]:
        """One's own, newest first."""
        return services.notices.of(services.me(who).person)

    @app.post("/v1/notices/read")
    def notices_read(who: Person, seen: Seen) -> dict[str, int]:
        """Mark these as read, so far as they are one's own; how many are unread after it."""
        return {"unread": services.notices.read(services.me(who).person, seen.notices)}

    @app.get("/v1/datasets")
    def datasets(who: Person) -> list[DatasetInfo]:
        return services.datasets(who)

    @app.get("/v1/datasets/{name}")
    def dataset(who: Person, name: str) -> DatasetInfo:
        return services.dataset(who, name)

    @app.get("/v1/datasets/{name}/twin")
    def twin(who: Person, name: str) -> Response:
        return Response(services.twin(who, name), media_type="application/vnd.apache.parquet")

    @app.get("/v1/twins")
    def twins(who: Person) -> list[TwinOffer]:
        """Synthetic twins that one may have: of one's projects' datasets, and public ones."""
        return services.twins.offers(services.knowing(who), who)

    @app.get("/v1/twins/{name}")
    def twin_package(who: Person, name: str, *, column: bool = False) -> Response:
        """A twin as it is published; `column`: with one in which every row says that it is synthetic."""
        content = services.twins.package(services.knowing(who), who, name, column=column)
        return Response(content, media_type="application/zip")

    @app.post("/v1/jobs", status_code=201)
    def submit(who: Person, submission: Submission) -> JobView:
        return services.submit(who, submission)

    @app.get("/v1/jobs")
    def jobs(who: Person) -> list[JobView]:
        return services.jobs(who)

    @app.get("/v1/jobs/{job}")
    def job(who: Person, job: str) -> JobView:
        return services.job(who, job)

    @app.post("/v1/jobs/{job}/confirm")
    def confirm(who: Person, job: str, confirmation: Confirmation) -> JobView:
        return services.confirm(who, job, confirmation)

    @app.post("/v1/jobs/{job}/withdraw")
    def withdraw(who: Person, job: str) -> JobView:
        return services.withdraw(who, job)

    @app.get("/v1/projects/{project}/budget")
    def budget(who: Person, project: str) -> list[Balance]:
        return services.budget(who, project)

    @app.get("/v1/budgets")
    def every_budget(who: Person) -> list[Balance]:
        """For admins: every population's budget, its projects' allowances, this year's caps."""
        services.need_admin(who)
        return [balance for population in services.budgets() for balance in budgets.balances(population)]

    @app.get("/v1/releases")
    def releases(who: Person) -> list[ReleaseInfo]:
        return services.releases(who)

    @app.get("/v1/releases/{release}/bundle")
    def bundle(who: Person, release: str) -> Response:
        return Response(services.bundle(who, release), media_type="application/zip")

    @app.post("/v1/releases/{release}/revoke")
    def revoke(who: Person, release: str, why: Reason) -> dict[str, str]:
        return {"state": services.reviews.revoke(services.checking(who, Role.ADMIN), who, release, why.reason).value}

    @app.get("/v1/exceptions")
    def exceptions(who: Person) -> tuple[Exceptional, ...]:
        services.checking(who)
        return services.reviews.precedents()

    @app.post("/v1/reviews/{release}/remarks", status_code=204)
    def remark(who: Person, release: str, said: Remark) -> None:
        services.reviews.remark(services.checking(who), who, release, said)

    @app.get("/v1/replicas")
    def replicas(who: Person) -> list[ReplicaWaiting]:
        return services.replicas.waiting(who)

    @app.get("/v1/replicas/{replica}")
    def replica(who: Person, replica: str) -> ReplicaInfo:
        return services.replicas.look(who, replica)

    @app.get("/v1/replicas/{replica}/rows")
    def replica_rows(who: Person, replica: str) -> Response:
        return Response(services.replicas.rows(who, replica), media_type="application/vnd.apache.parquet")

    @app.post("/v1/replicas/{replica}/vote")
    def replica_vote(who: Person, replica: str, vote: ReplicaVote) -> ReplicaInfo:
        return services.replicas.vote(who, replica, vote)

    @app.get("/v1/reviews")
    def reviews(who: Person) -> list[ReviewInfo]:
        return services.review_queue(who)

    @app.get("/v1/reviews/{release}")
    def review(who: Person, release: str) -> ReviewInfo:
        return services.review(who, release)

    @app.get("/v1/reviews/{release}/outputs/{name}")
    def review_output(who: Person, release: str, name: str) -> Response:
        kind, content = services.review_output(who, release, name)
        headers = {"content-disposition": "attachment", "content-security-policy": "default-src 'none'; sandbox"}
        return Response(content, media_type=MEDIA[kind], headers=headers)

    @app.get("/v1/reviews/{release}/notebook")
    def review_notebook(who: Person, release: str) -> Response:
        return Response(services.review_notebook(who, release), media_type=page.MEDIA_TYPE, headers=page.HEADERS)

    @app.post("/v1/reviews/{release}/vote")
    def vote(who: Person, release: str, vote: Vote) -> ReviewInfo:
        return services.vote(who, release, vote)


def _errors(app: FastAPI) -> None:
    @app.exception_handler(TreError)
    def ours(request: Request, error: TreError) -> Response:
        return _problem(request, error)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        return _problem(
            request, TreError("request_malformed", f"{place}: {first['msg']}.", "See /openapi.json for the shapes.")
        )

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        return _problem(
            request, TreError("http_error", str(error.detail), "See /openapi.json for the routes."), error.status_code
        )


def _problem(request: Request, error: TreError, status: int | None = None) -> Response:
    status = status or (401 if error.code.startswith("token_") else error.http_status)
    if request.url.path.startswith(f"{routes.ROOT}/"):
        return routes.problem(request, error, status)
    detail = ProblemDetail(
        type=f"urn:tre:error:{error.code}", title=type(error).__name__, status=status, detail=error.message,
        code=error.code, next_step=error.next_step,
    )  # fmt: skip
    return JSONResponse(detail.model_dump(), status, media_type="application/problem+json")
