"""HTTP to the gateway: each call one method, each answer one of `messages`' shapes, each refusal one of our errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx
from pydantic import TypeAdapter, ValidationError

from tre.errors import Conflict, NotAllowed, NotFound, RequestError, TreError, Unreachable
from tre.messages import (
    Confirmation,
    DatasetInfo,
    JobView,
    Me,
    ProblemDetail,
    ReleaseInfo,
    ReviewInfo,
    Submission,
    TwinOffer,
    Vote,
)
from tre.rules.balances import Balance
from tre.rules.lifecycle import Release
from tre.rules.notices import Notice, Seen
from tre.rules.replica import ReplicaInfo, ReplicaVote, ReplicaWaiting
from tre.rules.voting import Exceptional, Reason, Remark

_BY_STATUS = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict, 422: RequestError}


class Client:
    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.isolation = ""  # how the gateway said, last, that it isolates notebooks
        self._http = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {token}"}, timeout=60, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    def me(self) -> Me:
        return Me.model_validate(self._json("GET", "/v1/me"))

    def receipt_key(self) -> str:
        return str(self._json("GET", "/v1/receipt-key")["key"])

    def notices(self) -> list[Notice]:
        """One's own, newest first."""
        return TypeAdapter(list[Notice]).validate_python(self._json("GET", "/v1/notices"))

    def read_notices(self, names: Iterable[str]) -> int:
        """Mark them as read; returns how many are unread after it."""
        body = Seen(notices=tuple(names)).model_dump(mode="json")
        return int(self._json("POST", "/v1/notices/read", body)["unread"])

    def datasets(self) -> list[DatasetInfo]:
        return TypeAdapter(list[DatasetInfo]).validate_python(self._json("GET", "/v1/datasets"))

    def dataset(self, name: str) -> DatasetInfo:
        return DatasetInfo.model_validate(self._json("GET", f"/v1/datasets/{_part(name)}"))

    def twin(self, name: str) -> bytes:
        return self._call("GET", f"/v1/datasets/{_part(name)}/twin").content

    def twins(self) -> list[TwinOffer]:
        return TypeAdapter(list[TwinOffer]).validate_python(self._json("GET", "/v1/twins"))

    def twin_package(self, name: str, *, column: bool = False) -> bytes:
        """As it is published: a ZIP archive."""
        return self._call("GET", f"/v1/twins/{_part(name)}{'?column=true' if column else ''}").content

    def submit(self, submission: Submission) -> JobView:
        return JobView.model_validate(self._json("POST", "/v1/jobs", submission.model_dump(mode="json")))

    def confirm(self, job: str, plan: str, exceptions: Mapping[str, str] | None = None) -> JobView:
        """`exceptions`: reasons, by the output's name."""
        body = Confirmation(plan=plan, exceptions=dict(exceptions or {})).model_dump()
        return JobView.model_validate(self._json("POST", f"/v1/jobs/{_part(job)}/confirm", body))

    def withdraw(self, job: str) -> JobView:
        return JobView.model_validate(self._json("POST", f"/v1/jobs/{_part(job)}/withdraw", {}))

    def jobs(self) -> list[JobView]:
        return TypeAdapter(list[JobView]).validate_python(self._json("GET", "/v1/jobs"))

    def job(self, job: str) -> JobView:
        return JobView.model_validate(self._json("GET", f"/v1/jobs/{_part(job)}"))

    def budget(self, project: str) -> list[Balance]:
        return TypeAdapter(list[Balance]).validate_python(self._json("GET", f"/v1/projects/{_part(project)}/budget"))

    def budgets(self) -> list[Balance]:
        """For admins: all there are."""
        return TypeAdapter(list[Balance]).validate_python(self._json("GET", "/v1/budgets"))

    def releases(self) -> list[ReleaseInfo]:
        return TypeAdapter(list[ReleaseInfo]).validate_python(self._json("GET", "/v1/releases"))

    def bundle(self, release: str) -> bytes:
        return self._call("GET", f"/v1/releases/{_part(release)}/bundle").content

    def reviews(self) -> list[ReviewInfo]:
        return TypeAdapter(list[ReviewInfo]).validate_python(self._json("GET", "/v1/reviews"))

    def review(self, release: str) -> ReviewInfo:
        return ReviewInfo.model_validate(self._json("GET", f"/v1/reviews/{_part(release)}"))

    def review_output(self, release: str, name: str) -> bytes:
        return self._call("GET", f"/v1/reviews/{_part(release)}/outputs/{_part(name)}").content

    def review_notebook(self, release: str) -> bytes:
        """An HTML page."""
        return self._call("GET", f"/v1/reviews/{_part(release)}/notebook").content

    def vote(self, release: str, vote: Vote) -> ReviewInfo:
        return ReviewInfo.model_validate(
            self._json("POST", f"/v1/reviews/{_part(release)}/vote", vote.model_dump(mode="json"))
        )

    def remark(self, release: str, said: Remark) -> None:
        self._call("POST", f"/v1/reviews/{_part(release)}/remarks", said.model_dump(mode="json"))

    def replicas(self) -> list[ReplicaWaiting]:
        return TypeAdapter(list[ReplicaWaiting]).validate_python(self._json("GET", "/v1/replicas"))

    def replica(self, replica: str) -> ReplicaInfo:
        return ReplicaInfo.model_validate(self._json("GET", f"/v1/replicas/{_part(replica)}"))

    def replica_rows(self, replica: str) -> bytes:
        """A Parquet file."""
        return self._call("GET", f"/v1/replicas/{_part(replica)}/rows").content

    def replica_vote(self, replica: str, vote: ReplicaVote) -> ReplicaInfo:
        body = vote.model_dump(mode="json")
        return ReplicaInfo.model_validate(self._json("POST", f"/v1/replicas/{_part(replica)}/vote", body))

    def exceptions(self) -> list[Exceptional]:
        return TypeAdapter(list[Exceptional]).validate_python(self._json("GET", "/v1/exceptions"))

    def revoke(self, release: str, reason: str) -> Release:
        """The state after it: of two checkers, the first one's word changes nothing yet."""
        body = Reason(reason=reason).model_dump()
        return Release(self._json("POST", f"/v1/releases/{_part(release)}/revoke", body)["state"])

    def follow(self, job: str, *, every: float = 0.5) -> Iterator[JobView]:
        """The job again and again until the caller stops asking."""
        import time

        while True:
            yield self.job(job)
            time.sleep(every)

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        response = self._call(method, path, body)
        try:
            return response.json()
        except ValueError:
            raise _unclear(response) from None

    def _call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            response = self._http.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL):
            raise Unreachable(
                "gateway_unreachable", f"The gateway at {self.url} does not answer.", "Check TRE_URL, or ask an admin."
            ) from None
        self.isolation = response.headers.get("tre-isolation", "")
        if response.is_success:
            return response
        raise _refusal(response)


def _part(name: str) -> str:
    """One path segment, whatever was typed."""
    from urllib.parse import quote

    return quote(name, safe="")


def _refusal(response: httpx.Response) -> TreError:
    try:
        problem = ProblemDetail.model_validate_json(response.content)
    except ValidationError:
        return _unclear(response)
    kind = _BY_STATUS.get(problem.status, TreError)
    return kind(problem.code, problem.detail, problem.next_step)


def _unclear(response: httpx.Response) -> TreError:
    return Unreachable("gateway_unclear", f"The gateway answered {response.status_code}.", "Check TRE_URL.")
