"""What people get wrong: each a clear error with a code and a next step, and no trace in ledger or queue."""

import json

import pytest

from tre.errors import TreError
from tre.messages import Submission

from .conftest import ASK, notebook

pytestmark = pytest.mark.slow

FILES = {
    "not_a_notebook": b"\x00\x01 this is no notebook",
    "notebook_has_outputs": json.dumps(
        {
            "nbformat": 4, "nbformat_minor": 5, "metadata": {},
            "cells": [{"cell_type": "code", "source": "1", "metadata": {}, "outputs": [{"output_type": "stream"}]}],
        }
    ).encode(),
    "notebook_too_large": b'{"nbformat": 4, "cells": [' + b" " * (100 * 2**20) + b"]}",
}  # fmt: skip


def _trace(area):
    """What a submission could leave behind: ledger entries, and jobs that wait or run."""
    import sqlalchemy as sa

    from tre.secure.database import tables

    services = area.services()
    with services.context.database.read() as connection:
        waiting = sa.select(sa.func.count()).where(
            tables.jobs.c.state.in_(["rehearsing", "planned", "queued", "running"])
        )
        found = (area.ledger(), connection.execute(waiting).scalar_one())
    services.close()
    return found


@pytest.mark.parametrize("code", FILES)
@pytest.mark.parametrize("way", ["command", "gateway"])
def test_a_file_that_is_no_acceptable_notebook(area, tmp_path, code, way):
    before = _trace(area)
    path = tmp_path / "it.ipynb"
    path.write_bytes(FILES[code])
    if way == "command":
        _, error = area.desk("submit", path, "--project", "visits", "--yes", expect=1)
        assert f"error [{code}]" in error
        assert "next step:" in error
        assert "Traceback" not in error
    else:
        with pytest.raises(TreError) as refused:
            area.client("ada").submit(Submission(project="visits", notebook=path.read_text("latin-1")))
        assert refused.value.code == code
    assert _trace(area) == before


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("notebook_missing", ["nowhere.ipynb", "--project", "visits"]),
        ("project_unknown", ["it.ipynb", "--project", "nobodys"]),
        ("project_unknown", ["it.ipynb", "--project", "../../etc"]),
        ("project_unknown", ["it.ipynb", "--project", "others"]),
        ("parameter_name", ["it.ipynb", "--project", "visits", "-p", "x=1; import os; os.system('id'); y", "2"]),
        ("parameter_unknown", ["it.ipynb", "--project", "visits", "-p", "month", "2"]),
    ],
)
def test_what_was_typed_wrong(area, tmp_path, code, arguments):
    before = _trace(area)
    (tmp_path / "it.ipynb").write_text(notebook(ASK, parameters="year = 1"))
    _, error = area.desk("submit", tmp_path / arguments[0], *arguments[1:], "--yes", expect=1)
    assert f"error [{code}]" in error
    assert "next step:" in error
    assert _trace(area) == before


REQUESTS = [
    ("dataset_unknown", "tre.dataset('nothing')"),
    ("column_unknown", "toy.where('wage > 1').release('r', epsilon=1, n=tre.count())"),
    ("column_unknown", "toy.release('r', epsilon=1, n=tre.mean('person', bounds=(0, 1)))"),
    ("bounds_invalid", "toy.release('r', epsilon=1, n=tre.mean('visits', bounds=(50, 0)))"),
    ("bounds_invalid", "toy.release('r', epsilon=1, n=tre.mean('visits', bounds=(0, 5000)))"),
    ("epsilon_invalid", "toy.release('r', epsilon=0, n=tre.count())"),
    ("epsilon_invalid", "toy.release('r', epsilon=-1, n=tre.count())"),
    ("epsilon_invalid", "toy.release('r', epsilon=float('nan'), n=tre.count())"),
    ("epsilon_invalid", "toy.release('r', epsilon=1e300, n=tre.count())"),
    ("name_invalid", "toy.release('../r', epsilon=1, n=tre.count())"),
    ("name_taken", "for e in (1, 2): toy.release('r', epsilon=e, n=tre.count())"),
    ("expression_refused", "toy.where('visits > (SELECT 1)').release('r', epsilon=1, n=tre.count())"),
    ("context_missing", "tre.output('o', 'text', context=' ')"),
    ("output_kind", "tre.output('o', object(), context='what')"),
    ("plan_empty", "1 + 1"),
    ("notebook_failed", "1 / 0"),
]


def test_what_a_notebook_asks_wrong_is_told_by_the_rehearsal(area, tmp_path):
    """One job a mistake, all submitted first: the queue works through them."""
    before = area.ledger()
    client = area.client("ada")
    sources = [notebook(f"import tre\ntoy = tre.dataset('toy')\n{text}") for _, text in REQUESTS]
    jobs = [client.submit(Submission(project="visits", notebook=s)).id for s in sources]
    from .conftest import until

    for (code, text), job in zip(REQUESTS, jobs, strict=True):
        view = until(client, job, lambda v: v.stage != "rehearsing", seconds=300)
        assert view.stage == "rehearsal_failed", text
        assert view.failure.code == code, (text, view.failure)
        assert view.failure.next_step
    assert area.ledger() == before
    assert _trace(area)[1] == 0

    path = tmp_path / "zero.ipynb"
    path.write_text(sources[5])
    _, error = area.desk("submit", path, "--project", "visits", "--yes", expect=1)
    assert "error [epsilon_invalid]" in error


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/jobs/..%2f..%2fetc", None, 404),
        ("GET", "/v1/jobs/job-00000000", None, 404),
        ("POST", "/v1/jobs", {"project": "visits"}, 400),
        ("POST", "/v1/jobs", {"project": "visits", "notebook": "{}", "epsilon": 9}, 400),
        ("POST", "/v1/jobs", [1, 2], 400),
        ("POST", "/v1/jobs/job-00000000/confirm", {"plan": "x"}, 400),
        ("PUT", "/v1/jobs", None, 405),
        ("GET", "/v1/nothing", None, 404),
    ],
)
def test_the_gateway_answers_nonsense_with_a_problem_detail(area, method, path, body, status):
    response = area.client("ada")._http.request(method, path, json=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.json()) == {"type", "title", "status", "detail", "code", "next_step"}


def test_without_a_token_only_health_and_the_receipt_key_answer(area):
    import httpx

    routes = httpx.get(f"{area.url}/openapi.json", trust_env=False).json()["paths"]
    assert len(routes) > 12
    for path, methods in routes.items():
        for method in methods:
            url = area.url + path.replace("{", "").replace("}", "")
            answer = httpx.request(method, url, json={}, trust_env=False)
            expected = 200 if path in ("/healthz", "/v1/receipt-key") else 401
            assert answer.status_code == expected, path
