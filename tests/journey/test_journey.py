"""The journey by the commands a researcher and two output checkers type, against a real gateway and sandbox."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ASK, BIN, notebook, until

pytestmark = pytest.mark.slow

WITH_OUTPUT = notebook(
    ASK,
    "df = toy.to_pandas()\n"
    "tre.output('visits-by-sex', df.groupby('sex', as_index=False)['visits'].sum(), context='Visits by sex')",
)


def test_from_the_desk_to_a_replayed_release(area, tmp_path):
    """Submit, two approvals, release, fetch, verify, replay; then once more for nothing, then extended."""
    path = tmp_path / "analysis.ipynb"
    path.write_text(WITH_OUTPUT)

    job, _ = area.desk("submit", path, "--project", "visits", "--yes")
    assert job["stage"] == "in_review"
    assert job["plan"]["run"]
    assert not job["plan"]["automatic"]

    area.approve(job["release"])
    job, _ = area.desk("job", job["id"], "--wait")
    assert job["stage"] == "released"

    folder = tmp_path / "release"
    one = tmp_path / "release.zip"
    area.desk("fetch", job["release"], folder, "--archive", one)
    for fetched in (folder, one):
        verdict, _ = area.desk("verify", fetched)
        assert verdict["key_known"]
    values = json.loads((folder / "values.json").read_text())["released"][0]["table"]
    exact = {("f", "n"): 400, ("m", "n"): 400}
    for cell in values["cells"]:
        if cell["statistic"] == "n":
            assert abs(cell["value"] - exact[cell["keys"][0], "n"]) < 20 * cell["error"]
    assert "sex,visits\nf," in (folder / "outputs" / "visits-by-sex.csv").read_text()

    area.desk("twin", "toy")
    shown = replay(path, area.root / "desk-ada", tmp_path)
    assert "RELEASED" in shown
    first = values["cells"][0]
    assert f"{first['value']:,} ± {first['error']:,}" in shown
    assert "approved by two output checkers" in shown

    spent = area.desk("budget", "--project", "visits")[0]
    again, _ = area.desk("submit", path, "--project", "visits", "--yes")
    assert [r["replayed"] for r in again["plan"]["requests"]] == [True]
    assert again["plan"]["costs"] == {}
    area.approve(again["release"])
    area.desk("job", again["id"], "--wait")
    assert area.desk("budget", "--project", "visits")[0] == spent
    second = tmp_path / "second"
    area.desk("fetch", again["release"], second)
    assert json.loads((second / "values.json").read_text())["released"][0]["table"] == values

    path.write_text(notebook(ASK, "toy.release('all', epsilon=0.5, people=tre.count_people())"))
    more, _ = area.desk("submit", path, "--project", "visits", "--yes", "--wait")
    assert more["stage"] == "released"  # statistics alone, within the automatic epsilon: no people
    assert [r["replayed"] for r in more["plan"]["requests"]] == [True, False]
    assert more["plan"]["costs"] == {"toy-people": more["plan"]["requests"][1]["rho_units"]}


def replay(path, home, folder):
    """The notebook run at the desk by papermill; its outputs as text."""
    out = folder / "replayed.ipynb"
    environment = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "TRE_HOME": str(home),
        "HOME": str(folder),
        "IPYTHONDIR": str(folder),
    }
    twin = home / "twins"
    assert not twin.exists() or twin.is_dir()
    command = [sys.executable, "-W", "ignore", "-m", "papermill", str(path), str(out), "--no-progress-bar"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    cells = json.loads(out.read_text())["cells"]
    return "\n".join(
        "".join(o.get("data", {}).get("text/plain", "")) + "".join(o.get("data", {}).get("text/html", ""))
        for c in cells
        for o in c.get("outputs", [])
    )


def test_over_budget_is_refused_at_confirmation_with_what_would_fit(area, tmp_path):
    path = tmp_path / "greedy.ipynb"
    path.write_text(notebook("import tre\ntre.dataset('toy').release('greedy', epsilon=15, n=tre.count())"))
    before = area.ledger()
    _, error = area.desk("submit", path, "--project", "visits", "--yes", expect=1)
    assert "[budget_exceeded]" in error
    left = float(re.search(r"at most epsilon ([0-9.]+) in all would fit", error)[1])
    assert 0 < left <= 6
    assert area.ledger() == before
    jobs, _ = area.desk("jobs")
    assert jobs[0]["stage"] == "planned"  # still there to be withdrawn; nothing was run
    assert jobs[0]["release"] is None


def test_two_people_decide_blind_and_never_on_their_own(area):
    from tre.errors import Conflict, NotAllowed, NotFound, TreError
    from tre.messages import DecisionKind, Vote

    view = area.confirm(area.submit(WITH_OUTPUT))
    release = view.release
    approve = Vote(decision=DecisionKind.APPROVE)
    with pytest.raises(NotAllowed, match="researcher"):
        area.client("ada").vote(release, approve)
    with pytest.raises(TreError, match="comment"):
        area.client("bo").vote(release, Vote(decision=DecisionKind.REJECT))
    area.approve(release, ["bo"], DecisionKind.APPROVE, "looks fine")
    with pytest.raises(Conflict, match="already_voted"):
        area.client("bo").vote(release, approve)
    seen = area.client("cy").review(release)
    assert (seen.votes_cast, seen.comments, seen.my_vote, seen.state) == (0, (), None, "in_review")
    with pytest.raises(NotFound):
        area.client("ada").bundle(release)
    area.approve(release, ["cy"], DecisionKind.RETURN, "which year is it?")
    done = area.finish(view)
    assert done.stage == "returned"
    assert set(done.comments) == {"looks fine", "which year is it?"}
    assert all(e["state"] in ("released", "returned") for e in area.ledger())


def test_another_projects_things_do_not_exist(area):
    from tre.errors import NotFound

    view = area.submit(notebook(ASK))
    eve = area.client("eve")
    for ask in (
        lambda: eve.job(view.id),
        lambda: eve.confirm(view.id, view.plan_digest),
        lambda: eve.budget("visits"),
        lambda: eve.twin("toy"),
        lambda: area.submit(notebook(ASK), person="eve", project="visits"),
    ):
        with pytest.raises(NotFound):
            ask()
    failed = area.submit(notebook("import tre\ntre.dataset('toy')"), person="eve", project="others")
    assert failed.failure.code == "dataset_unknown"


def test_a_release_is_one_file_tree_whose_every_byte_is_covered(area, tmp_path):
    view = area.finish(area.confirm(area.submit(notebook(ASK))))
    folder = tmp_path / "r"
    area.desk("fetch", view.release, folder)
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        area.desk("verify", folder, expect=1)
        path.write_bytes(content)
    area.desk("verify", folder)
    # offline, and without an account
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    key = area.client("ada").receipt_key()
    command = [str(BIN / "tre"), "verify", str(folder), "--key"]
    assert subprocess.run([*command, key], env=environment, capture_output=True, check=False).returncode == 0
    assert subprocess.run([*command, "0" * 64], env=environment, capture_output=True, check=False).returncode != 0


def test_the_audit_log_is_whole_and_an_edit_is_found(area):
    import sqlite3

    services = area.services()
    assert services.verify_audit()["first_broken"] is None
    services.close()
    copy = area.root / "copy.db"
    with sqlite3.connect(area.root / "area" / "area.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
    with sqlite3.connect(copy) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            connection.execute("UPDATE audit SET person = 'nobody' WHERE seq = 3")
        connection.execute("DROP TRIGGER audit_fixed")
        connection.execute("UPDATE audit SET person = 'nobody' WHERE seq = 3")
    connection.close()
    from tre.secure import audit
    from tre.secure.database import Database

    database = Database(copy)
    with database.read() as connection:
        assert audit.first_broken(connection) == 3
    database.close()


def test_help_has_an_example_everywhere():
    for program, names in (
        (
            "tre",
            "login datasets twin rehearse submit confirm withdraw jobs job budget releases fetch verify reviews review revoke notices",
        ),
        ("tre-admin", "init apply ingest twin token budget serve"),
    ):
        for name in names.split():
            done = subprocess.run([str(BIN / program), name, "--help"], capture_output=True, text=True, check=False)
            assert done.returncode == 0
            assert "Example" in done.stdout
            assert "--json" in done.stdout
    assert Path(BIN / "tre").is_file()


def test_policies_that_change_after_the_confirmation_change_nothing_of_the_plan(area):
    """What was confirmed is computed under the policies it was confirmed under; what was only planned is planned again."""
    from tre.errors import Conflict

    from .conftest import policies, write_policies

    confirmed = area.confirm(area.submit(WITH_OUTPUT))
    planned = area.submit(notebook("import tre\ntre.dataset('toy').release('later', epsilon=0.1, n=tre.count())"))
    files = policies(visits={"title": "Toy project, renamed"})
    files["datasets/toy.yaml"]["fields"][-1]["constraints"]["maximum"] = 10  # the confirmed request has bounds up to 20
    services = area.services()
    assert services.apply(write_policies(area.root / "changed", files), dry_run=False).applied
    services.close()
    with pytest.raises(Conflict, match="plan_outdated"):
        area.confirm(planned)
    area.approve(confirmed.release)
    assert area.finish(confirmed).stage == "released"
    services = area.services()
    services.apply(area.root / "policies", dry_run=False)
    services.close()


def test_a_log_rewritten_after_a_release_no_longer_fits_its_receipt(area, tmp_path):
    import shutil
    import sqlite3

    from tre.rules.audit import FIRST, entry_hash
    from tre.secure.services import open_area

    copy = tmp_path / "area"
    shutil.copytree(area.root / "area", copy, ignore=shutil.ignore_patterns("jobs", "serve.lock"))
    services = open_area(copy)
    assert services.verify_audit()["receipts_that_do_not_fit"] == []
    services.close()
    connection = sqlite3.connect(copy / "area.db")
    connection.execute("DROP TRIGGER audit_fixed")
    previous = FIRST
    for seq, at, person, event, subject, detail in connection.execute(
        "SELECT seq, at, person, event, subject, detail FROM audit ORDER BY seq"
    ).fetchall():
        who = "nobody" if seq == 3 else person  # an administrator who rewrites one entry and all hashes after it
        content = (seq, at, who, event, subject, json.loads(detail), previous)
        new = entry_hash(*content)
        connection.execute(
            "UPDATE audit SET person = ?, previous = ?, hash = ? WHERE seq = ?", (who, previous, new, seq)
        )
        previous = new
    connection.commit()
    connection.close()
    services = open_area(copy)
    found = services.verify_audit()
    assert found["first_broken"] is None
    assert found["receipts_that_do_not_fit"]
    services.close()


def test_a_bundle_that_was_changed_is_never_replayed(area, tmp_path):
    from tre.desk.store import Store
    from tre.statistics.request import parse

    view = area.finish(area.confirm(area.submit(notebook(ASK))))
    folder = tmp_path / "bundle"
    area.desk("fetch", view.release, folder)
    request = view.plan.requests[0].request
    store = Store(tmp_path / "home", (folder,))
    value, key_known = store.released(request)
    assert value.table.cells
    assert not key_known  # this desk has never met the area: shown as UNVERIFIED
    store.pin_key(area.url, area.client("ada").receipt_key())
    assert Store(tmp_path / "home", (folder,)).released(request)[1]
    values = folder / "values.json"
    values.write_bytes(values.read_bytes().replace(b'"value":', b'"value":1', 1))
    with pytest.warns(UserWarning, match=r"not replayed: values.json was changed"):
        assert Store(tmp_path / "home", (folder,)).released(parse(request.model_dump())) is None


def test_a_gateway_that_shows_another_key_is_refused(area, tmp_path):
    from tre.desk.store import Store
    from tre.errors import VerificationFailed

    store = Store(tmp_path)
    store.pin_key(area.url, area.client("ada").receipt_key())
    store.pin_key(area.url, area.client("ada").receipt_key())
    with pytest.raises(VerificationFailed, match="key_changed"):
        store.pin_key(area.url, "0" * 64)


def test_a_folder_takes_one_release_only(area, tmp_path):
    first = area.finish(area.confirm(area.submit(notebook(ASK))))
    second = area.finish(area.confirm(area.submit(notebook(ASK.replace("by-sex", "again")))))
    folder = tmp_path / "results"
    area.desk("fetch", first.release, folder)
    area.desk("fetch", first.release, folder)
    _, error = area.desk("fetch", second.release, folder, expect=1)
    assert "[folder_not_empty]" in error
    (folder / "link").symlink_to("/etc/passwd")
    _, error = area.desk("verify", folder, expect=1)
    assert "[bundle_unreadable]" in error


def test_the_twin_that_a_desk_gets_carries_its_label(area, tmp_path):
    import pandas as pd

    from tre.secure.data.twin_file import read_label

    area.desk("twin", "toy", "-o", tmp_path / "twin.parquet")
    assert read_label(tmp_path / "twin.parquet").tier == "plausible"
    frame = pd.read_parquet(tmp_path / "twin.parquet")
    assert "SYNTHETIC" in frame.attrs["tre"]
    assert "person" not in frame.columns


def test_a_confirmation_counts_once(area):
    from tre.errors import Conflict

    view = area.submit(notebook(ASK.replace("epsilon=1.0", "epsilon=0.11")))
    area.confirm(view)
    before = area.ledger()
    with pytest.raises(Conflict, match="state_changed"):
        area.confirm(view)
    assert len(area.ledger()) == len(before)


FORGED = """import json
emitted = json.loads(open("/outbox/emitted.json").read())
emitted[WHICH] = emitted[WHICH] * 2
open("/outbox/emitted.json", "w").write(json.dumps(emitted))"""


@pytest.mark.parametrize("which", ["requests", "outputs"])
def test_a_forged_list_of_what_was_asked_is_refused(area, which):
    source = notebook(ASK, "tre.output('t', 'text', context='a text')", f"WHICH = {which!r}", FORGED)
    view = area.submit(source)
    assert view.stage == "rehearsal_failed"
    assert view.failure.code == "name_taken"


def test_a_rehearsal_tells_its_cells_and_a_notebook_watches_it(area, monkeypatch):
    """The third cell waits until it was seen that two are done; then `tre.watch` follows the job to its plan."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    import tre
    from tre.messages import Submission

    source = notebook(ASK, "seen = 1", "import time; time.sleep(4)", "")
    client = area.client("ada")
    view = client.submit(Submission(project="visits", notebook=source))
    view = until(client, view.id, lambda v: v.progress is not None and v.progress.done == 2)
    assert view.progress.of == 3
    monkeypatch.setenv("TRE_URL", area.url)
    monkeypatch.setenv("TRE_TOKEN", area.tokens["ada"])
    InteractiveShell.instance()
    with capture_output() as shown:
        view = tre.watch(view.id)
    InteractiveShell.clear_instance()
    assert view.stage == "planned"
    assert view.progress is None
    assert "2 of 3 cells" in shown.outputs[0].data["text/html"]


def test_a_rehearsal_can_be_withdrawn(area):
    from tre.messages import Submission

    client = area.client("ada")
    view = client.submit(Submission(project="visits", notebook=notebook("import time; time.sleep(3)", ASK)))
    assert client.withdraw(view.id).stage == "withdrawn"
    other = area.submit(notebook(ASK))  # the worker goes on
    assert other.stage == "planned"
    assert client.job(view.id).stage == "withdrawn"


def test_who_was_in_the_project_stays_dependent_and_what_was_taken_away_is_not_computed(area, tmp_path):
    """Policies change while a release is in review: a member is made a checker; then the project loses its dataset."""
    from tre.errors import NotAllowed
    from tre.messages import DecisionKind, Vote

    from .conftest import policies, write_policies

    services = area.services()

    def apply(files, name):
        services.apply(write_policies(tmp_path / name, files), dry_run=False)

    together = policies(visits={"people": ["ada", "eve"]})
    together["projects/others.yaml"]["people"] = ["ada"]
    apply(together, "together")
    view = area.confirm(area.submit(WITH_OUTPUT.replace("by-sex", "shared").replace("epsilon=1.0", "epsilon=0.12")))

    apart = policies()
    apart["projects/others.yaml"]["people"] = ["ada"]
    apart["people.yaml"]["people"]["eve"]["role"] = "checker"
    apply(apart, "apart")
    with pytest.raises(NotAllowed, match="not_independent"):
        area.client("eve").vote(view.release, Vote(decision=DecisionKind.APPROVE))
    assert view.release not in {r.release for r in area.client("eve").reviews()}

    gone = policies(visits={"datasets": {"toy": ["year"]}})
    apply(gone, "gone")
    area.approve(view.release)
    assert area.finish(view).stage == "failed"
    (entry,) = [e for e in area.ledger() if e["release"] == view.release]
    assert entry["state"] == "returned"
    apply(policies(), "back")
    services.close()


def test_a_declared_table_leaves_as_trusted_code_computed_it_and_what_would_be_returned_is_told_before(area, tmp_path):
    """No notebook is run on real rows for it; a table of few people is refused by `--check`, and nothing is sent on."""
    people = "import tre\ntoy = tre.dataset('toy')\n"
    said = "context='Adults of the toy study, to describe who is in it'"
    path = tmp_path / "tables.ipynb"
    path.write_text(
        notebook(
            people
            + f"t = toy.group_by('sex').table(n=tre.count(), mean=tre.mean('age'))\ntre.output('table', t, {said})"
        )
    )
    checked, _ = area.desk("submit", path, "--project", "visits", "--check")
    assert (checked["stage"], checked["plan"]["run"]) == ("withdrawn", False)
    job, _ = area.desk("submit", path, "--project", "visits", "--yes")
    area.approve(job["release"], ["bo"])
    area.desk("review", job["release"], "--sacro", tmp_path / "sacro", person="cy")
    packed = json.loads((tmp_path / "sacro" / "results.json").read_bytes())["results"]["table"]
    assert packed["status"] == "pass"
    area.approve(job["release"], ["cy"])
    job, _ = area.desk("job", job["id"], "--wait")
    assert job["stage"] == "released"
    area.desk("fetch", job["release"], tmp_path / "release")
    assert (tmp_path / "release" / "outputs" / "table.csv").read_text().startswith("sex,n,mean\nf,400,")
    statement = json.loads((tmp_path / "release" / "receipt.json").read_bytes())["statement"]
    assert {
        "rule": "threshold",
        "verdict": "pass",
        "statbarn": "https://w3id.org/statbarnsdc#Frequencies",
    } in statement["outputs"][0]["findings"]
    assert all(set(f) <= {"rule", "verdict", "statbarn"} for f in statement["outputs"][0]["findings"])

    few = f"t = toy.where('age > 120').group_by('sex').table(n=tre.count())\ntre.output('few', t, {said})"
    path.write_text(notebook(people + few + f"\ntre.output('words', 'Only 3 patients', {said})"))
    _, error = area.desk("submit", path, "--project", "visits", "--check", expect=1)
    assert "[would_be_returned]" in error
    assert "words" in error
