"""Each thing that JupyterLab's page may ask, put to the gateway: the same calls as the commands of the desk.

Guarantees: of the client only what a researcher does for themselves, and lists; a plan is confirmed by its digest, so that it
is the one which was shown; what is fetched is verified and lies where `tre fetch` and `tre twin` put it.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import Any

from tre.desk import sending
from tre.desk.lab import starters, told
from tre.errors import RequestError

# Of jobs and notices: more is for the terminal.
MOST = 30


def overview(client: Any) -> dict[str, Any]:
    """All that the side bar and the status bar show of the person's things, by their role."""
    me = client.me()
    found: dict[str, Any] = {"me": me.model_dump(mode="json"), "pages": {"review": f"{client.url}/review"}}
    found["notices"] = [told.notice(n) for n in client.notices() if not n.read][:MOST]
    if me.role == "researcher":
        found["datasets"] = [told.dataset(d) for d in client.datasets()]
        found["jobs"] = [told.brief(j) for j in client.jobs() if j.stage != "withdrawn"][:MOST]
        found["releases"] = [told.release(r) for r in client.releases()]
        found["budgets"] = [told.balance(b, project=p) for p in me.projects for b in client.budget(p)]
    elif me.role == "checker":
        found["queue"] = [told.waiting(r) for r in client.reviews()]
    else:
        found["budgets"] = [told.balance(b) for b in client.budgets()]
        found["pages"]["budgets"] = f"{client.url}/review/budgets"
    found["isolation"] = client.isolation
    return found


def rehearse(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Begin a notebook's rehearsal: nothing is charged by it."""
    content = _text(body, "content")
    name = PurePosixPath(_text(body, "path")).name
    project = sending.project(client, body.get("project") or None)
    return told.brief(client.submit(sending.submission(content.encode(), name, project, {}, strip=True)))


def job(client: Any, job: str) -> dict[str, Any]:
    return told.whole(client.job(job))


def confirm(client: Any, job: str, body: dict[str, Any]) -> dict[str, Any]:
    plan = _text(body, "plan")
    if not re.fullmatch("[0-9a-f]{64}", plan):
        raise RequestError("request_malformed", "That is no plan's digest.", "Send the one that was shown.")
    return told.brief(client.confirm(job, plan))


def withdraw(client: Any, job: str, body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001  # nothing is sent with it
    return told.brief(client.withdraw(job))


def twin(client: Any, dataset: str, body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Fetch a twin to this desk; a notebook to begin with."""
    from tre.desk.store import Store

    info = client.dataset(dataset)
    Store.default().save_twin(info, client.twin(dataset))
    return {"name": f"explore-{dataset}.ipynb", "notebook": starters.notebook(info)}


def release(client: Any, release: str, body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Fetch a release to this desk, verified; its notebook, which shows the released values when it is run here."""
    from tre.desk.checking import fetched

    files, verdict = fetched(client, release)
    return {
        "name": f"{release}.ipynb", "notebook": json.loads(files["notebook.ipynb"]), "files": sorted(files),
        "released": verdict["receipt"]["released"],
    }  # fmt: skip


def read_notices(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    names = body.get("notices")
    if not isinstance(names, list) or not all(re.fullmatch("[0-9a-f]{16}", str(n)) for n in names[:500]):
        raise RequestError("request_malformed", "Which notices?", "Send their names.")
    return {"unread": client.read_notices(map(str, names[:500]))}


def _text(body: dict[str, Any], name: str) -> str:
    found = body.get(name)
    if not isinstance(found, str):
        raise RequestError("request_malformed", f"Nothing says {name!r}.", "Send it as text.")
    return found
