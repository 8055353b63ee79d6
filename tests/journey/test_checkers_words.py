"""What checkers and researchers say to each other, by the commands they type: an exception asked for, discussed, granted and
listed, and the release taken back in the end; and what they are told of it."""

import subprocess
import time

import pytest
import yaml

from tests.mail import Inbox, controller

from .conftest import BIN, notebook, policies, until, write_policies

pytestmark = pytest.mark.slow

WHY = "the zeros are structural: nobody is of both groups"
TEXT = notebook(
    "import tre\ntoy = tre.dataset('toy')\ntre.output('note', 'nobody is of both groups', context='A note')"
)


def test_an_exception_is_asked_for_discussed_granted_listed_and_its_release_taken_back(area, tmp_path):
    job = area.submit(TEXT).id
    _, refused = area.desk("confirm", job, "--exception", "table-9=because", expect=1)
    assert "[exception_unclear]" in refused
    confirmed, _ = area.desk("confirm", job, "--exception", f"note={WHY}")
    release = confirmed["release"]

    _until(lambda: release in {r.release for r in area.client("bo").reviews()})
    area.desk("review", release, "--remark", "structural indeed", "--private", person="bo")
    said = ("--remark", "say so in the caption", "--approve")
    area.desk("review", release, *said, person="bo")
    before = area.client("cy").review(release)
    assert (before.remarks, before.comments, before.votes_cast) == ((), (), 0)
    after, _ = area.desk("review", release, "--approve", "--comment", "as in May", person="cy")
    assert [o["exception"] for o in after["outputs"]] == [WHY]
    assert [(r["person"], r["audience"]) for r in after["remarks"]] == [("bo", "checkers"), ("bo", "researcher")]

    done = until(area.client("ada"), job, lambda v: v.stage.final)
    assert done.stage == "released"
    assert set(done.comments) == {"as in May", "say so in the caption"}
    decided, _ = area.desk("reviews", "--exceptions", person="di")
    (mine,) = [e for e in decided if e["release"] == release]
    assert (mine["output"], mine["reason"], mine["decision"]) == ("note", WHY, "approved")

    _, refused = area.desk("revoke", release, "--reason", "mine", expect=1)
    assert "[role_missing]" in refused
    asked, _ = area.desk("revoke", release, "--reason", "it names a place", person="bo")
    assert asked["state"] == "released"  # one checker's word alone
    taken, _ = area.desk("revoke", release, "--reason", "so it does", person="cy")
    assert taken["state"] == "revoked"
    _until(lambda: {r.stage for r in area.client("ada").releases() if r.id == release} == {"revoked"})
    _, refused = area.desk("fetch", release, tmp_path / "again", expect=1)
    assert "[release_revoked]" in refused
    assert not (tmp_path / "again").exists()
    assert [e.decision for e in area.client("di").exceptions() if e.release == release] == ["revoked"]


def test_an_admin_alone_takes_a_release_back_with_a_reason(area):
    ask = "import tre\ntre.dataset('toy').release('people', epsilon=0.1, n=tre.count_people())"
    job = area.finish(area.confirm(area.submit(notebook(ask))))
    _, refused = area.desk("revoke", job.release, "--reason", "  ", person="dee", expect=1)
    assert "[request_malformed]" in refused
    taken, _ = area.desk("revoke", job.release, "--reason", "of the wrong year", person="dee")
    assert taken["state"] == "revoked"
    _until(lambda: "of the wrong year" in area.client("ada").job(job.id).comments)
    environment = {
        "PATH": "/usr/bin:/bin",
        "TRE_URL": area.url,
        "TRE_TOKEN": area.tokens["ada"],
        "TRE_HOME": str(area.root),
    }
    shown = subprocess.run([BIN / "tre", "jobs"], env=environment, capture_output=True, text=True, check=True).stdout
    assert "unread notices: tre notices" in shown
    notices, _ = area.desk("notices", "--read")
    assert [n["told"] for n in notices if n["about"] == job.release] == ["revoked", "released"]
    assert all(n.read for n in area.client("ada").notices())


def test_the_areas_own_worker_sends_the_mail(area, tmp_path):
    files = policies()
    files["people.yaml"]["people"]["ada"]["email"] = "ada@example.org"
    inbox = Inbox()
    server = controller(inbox)
    try:
        services = area.services()
        services.apply(write_policies(tmp_path / "policies", files), dry_run=False)
        services.close()
        mail = {"host": "127.0.0.1", "port": server.port, "starttls": False, "from": "area@example.org"}
        (area.root / "area" / "settings.yaml").write_text(yaml.safe_dump({"mail": mail}))
        ask = "import tre\ntre.dataset('toy').release('mailed', epsilon=0.1, n=tre.count())"
        job = area.finish(area.confirm(area.submit(notebook(ask))))
        _until(lambda: any(f"Subject: {job.release}: released" in text for _, text in inbox.mails))
        assert {address for to, _ in inbox.mails for address in to} == {"ada@example.org"}
    finally:
        (area.root / "area" / "settings.yaml").unlink()
        server.stop()


def test_an_exception_without_a_reason_is_not_sent():
    command = [BIN / "tre", "confirm", "job-1", "--exception", "note="]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "OUTPUT=REASON" in done.stderr


def _until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
