"""Who may see an executed notebook, and when; and that any bytes give a page. What a page may hold is tests/rules/test_inert.py's."""

import base64
import io
import json
import os
import struct
import zlib

import pytest
import sqlalchemy as sa
from PIL import Image, PngImagePlugin

from tests.journey.conftest import policies, write_policies
from tests.rules.test_inert import Seen, code, shown
from tests.rules.test_inert import notebook as executed_notebook
from tre.errors import Conflict, NotAllowed, NotFound
from tre.messages import DecisionKind, OutputKind, Plan, PlannedOutput, Vote
from tre.rules import page
from tre.rules.canonical import digest_bytes
from tre.rules.lifecycle import Release
from tre.rules.told import RunEnd
from tre.secure import policies as policy_files
from tre.secure.database import tables
from tre.secure.jobs import ended, leases
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.local import Local
from tre.secure.jobs.runner import Ran
from tre.secure.jobs.sandbox import Ended
from tre.secure.jobs.work import Lane
from tre.secure.release import outputs, review
from tre.secure.services import create

SOURCE = "print('submitted')"
SUBMITTED = executed_notebook(code(SOURCE))
MARK = "only-in-the-executed-notebook"
EXECUTED = executed_notebook(code(SOURCE, {"output_type": "stream", "name": "stdout", "text": MARK}))


@pytest.fixture
def services(tmp_path):
    made = create(tmp_path / "area")
    files = write_policies(tmp_path / "policies", policies(area={"review": {"automatic_epsilon": 0}}))
    made.apply(files, dry_run=False)
    yield made
    made.close()


class Case:
    """One job, walked to a state by the real steps; its sandbox is what the test says it left."""

    def __init__(
        self,
        services,
        tmp_path,
        *,
        run=True,
        automatic=False,
        parameters=None,
        content=SUBMITTED,
        name=None,
        context="c",
    ):
        self.services, self.queue = services, services.queue
        self.claims = Claims(services.context, services.queue, "worker")
        self.outbox = tmp_path / "outbox"
        self.outbox.mkdir(exist_ok=True)
        with services.context.database.read() as connection:
            self.policies = policy_files.current(connection)
        self.job = self.queue.submit(
            person="ada", project="visits", content=content, parameters=parameters or {}, name=name
        )
        self.plan = Plan(
            project="visits", person="ada", notebook=self._notebook(), parameters=parameters or {}, datasets={},
            policy=policy_files.policy_digest(self.policies), requests=(), costs={}, automatic=automatic, run=run,
            outputs=(PlannedOutput(name="t", kind=OutputKind.TEXT, context=context),) if run else (),
        )  # fmt: skip
        _, lease = self.claims.rehearsal()
        self.queue.planned(lease, self.plan)
        self._drop(lease)
        with services.context.database.read() as connection:
            digest = self.queue.row(connection, self.job).plan_digest
        self.release = self.queue.confirm(person="ada", job=self.job, plan_digest=digest)

    def _notebook(self):
        with self.services.context.database.read() as connection:
            return self.queue.row(connection, self.job).notebook

    def leave(self, content):
        (self.outbox / "executed.ipynb").write_bytes(content)
        return self

    def end(self, how=Ended.FINISHED, *, memory_ran_out=False):
        """The run ends, and what it left is collected."""
        row, lease = self.claims.run()
        assert row.id == self.job
        ran = Ran(
            ended=how, memory_ran_out=memory_ran_out, diagnostics="", emitted=None, failure=None, outbox=self.outbox
        )
        outputs.collect(
            self.services.context,
            self.services.registry,
            ran,
            self.release,
            self.plan,
            self.policies,
            hold=lambda c: leases.need(c, lease),
        )
        with self.services.context.database.write() as connection:
            ended.close(self.queue, connection, self.job, ran.how, "")
        self._drop(lease)
        return self

    def _drop(self, lease):
        with self.services.context.database.write() as connection:
            leases.drop(connection, lease)

    def to(self, *states):
        for state in states:
            with self.services.context.database.write() as connection:
                review.move(self.services.context, connection, self.release, state)
        return self

    def in_review(self):
        return self.to(Release.IN_REVIEW)

    def look(self, person="bo"):
        return self.services.review_notebook(person, self.release)


def _case(services, tmp_path, **more):
    return Case(services, tmp_path, **more).leave(EXECUTED).end()


def _text(made):
    return " ".join(Seen(made).texts)


def test_a_checker_sees_it_while_the_release_is_in_review_and_every_look_is_recorded(services, tmp_path):
    case = _case(services, tmp_path).in_review()
    for person in ("bo", "cy", "bo"):
        assert MARK in _text(case.look(person))
    t = tables.audit
    with services.context.database.read() as connection:
        found = connection.execute(sa.select(t.c.person, t.c.subject).where(t.c.event == "notebook.viewed")).all()
    assert [tuple(r) for r in found] == [(p, case.release) for p in ("bo", "cy", "bo")]
    assert services.verify_audit()["first_broken"] is None


@pytest.mark.parametrize("person", ["ada", "eve", "dee"])
def test_nobody_but_an_output_checker_sees_it(services, tmp_path, person):
    case = _case(services, tmp_path).in_review()
    with pytest.raises(NotAllowed, match="role_missing"):
        case.look(person)


def test_no_checker_of_the_releases_own_project_sees_it(services, tmp_path):
    """A member who was made a checker after the plan."""
    case = _case(services, tmp_path).in_review()
    files = policies(area={"review": {"automatic_epsilon": 0}}, visits={"people": ["eve"]})
    files["projects/others.yaml"]["people"] = ["eve"]
    files["people.yaml"]["people"]["ada"]["role"] = "checker"
    services.apply(write_policies(tmp_path / "later", files), dry_run=False)
    with pytest.raises(NotAllowed, match="not_independent"):
        case.look("ada")
    assert MARK in case.look("bo")


def test_it_is_seen_in_review_only(services, tmp_path):
    case = _case(services, tmp_path)
    with pytest.raises(Conflict, match="not_in_review"):
        case.look()
    case.in_review()
    services.vote("bo", case.release, Vote(decision=DecisionKind.APPROVE))
    assert MARK in case.look("bo")
    services.vote("cy", case.release, Vote(decision=DecisionKind.RETURN, comment="-"))
    for person in ("bo", "cy", "di"):
        with pytest.raises(Conflict, match="not_in_review"):
            case.look(person)
    with pytest.raises(NotFound):
        services.review_notebook("bo", "rel-00000000")


def test_a_release_without_a_run_has_none_and_one_that_nobody_reviews_keeps_none(services, tmp_path):
    case = Case(services, tmp_path, run=False).in_review()
    with pytest.raises(NotFound, match="notebook_none"):
        case.look()
    _case(services, tmp_path, automatic=True)
    assert not list(services.context.area.folder("outputs").glob("*.ipynb"))


def test_it_is_what_lay_there_when_the_run_ended(services, tmp_path):
    case = _case(services, tmp_path).in_review()
    before = case.look()
    case.leave(executed_notebook(code("changed later")))
    assert case.look() == before


def test_a_forged_notebook_stands_beside_what_was_submitted_with_a_warning(services, tmp_path):
    forged = executed_notebook(code("all_checks_passed()"), code("pass", tags=("injected-parameters",)))
    case = Case(services, tmp_path).leave(forged).end().in_review()
    text = _text(case.look())
    assert "WARNING" in text
    assert "NOT WHAT WAS SUBMITTED" in text
    assert "MISSING from the executed notebook" in text
    assert "not submitted: added by the run, by its tag" in text
    assert SOURCE in text
    assert "all_checks_passed()" in text
    assert case.plan.notebook in text
    assert "WARNING" not in _text(_case(services, tmp_path).in_review().look())


MALFORMED = [b"", b"\x00" * 99, b"{", b"[]", b"[" * 100_000, b'{"cells": 1}', os.urandom(999), b"{}," * 2_000_000]


@pytest.mark.parametrize("content", MALFORMED, ids=[str(i) for i in range(len(MALFORMED))])
def test_malformed_bytes_give_a_page_with_the_submitted_source(services, tmp_path, content):
    text = _text(Case(services, tmp_path).leave(content).end().in_review().look())
    assert "The executed notebook cannot be shown" in text
    assert SOURCE in text


def test_one_that_is_too_large_a_link_or_absent_is_not_kept(services, tmp_path, monkeypatch):
    from tre.rules import inert

    monkeypatch.setattr(inert, "MAX_BYTES", 1_000)
    secret = tmp_path / "secret.ipynb"
    secret.write_bytes(EXECUTED)
    for make in (
        lambda f: f.write_bytes(b" " * 1_001),
        lambda f: f.symlink_to(secret),
        lambda f: f.hardlink_to(secret),
        os.mkfifo,
        lambda _: None,
    ):
        case = Case(services, tmp_path)
        file = case.outbox / "executed.ipynb"
        file.unlink(missing_ok=True)
        make(file)
        text = _text(case.end().in_review().look())
        assert "left no executed notebook that can be read" in text
        assert MARK not in text
        assert SOURCE in text
    assert not list(services.context.area.folder("outputs").glob("*.ipynb"))


def test_a_later_attempt_that_leaves_nothing_leaves_nothing_of_the_first(services, tmp_path):
    case = _case(services, tmp_path)
    outputs.collect(
        services.context, services.registry, None, case.release, case.plan, case.policies, hold=lambda _: None
    )
    assert MARK not in case.in_review().look()


def test_a_worker_that_was_overtaken_changes_nothing_that_people_look_at(services, tmp_path):
    """It was held up just before it wrote; meanwhile another one finished, and checkers read what that one left."""
    case = Case(services, tmp_path).leave(EXECUTED)
    _, lease = case.claims.run()
    late = Ran(
        ended=Ended.FINISHED, memory_ran_out=False, diagnostics="", emitted=None, failure=None, outbox=tmp_path / "none"
    )
    collect = (services.context, services.registry, late, case.release, case.plan, case.policies)
    case._drop(lease)
    case.claims.recover()
    case.end().in_review()
    with services.context.database.read() as connection:
        before = outputs.stored(connection, case.release)
    with pytest.raises(Conflict, match="lease_lost"):
        outputs.collect(*collect, hold=lambda c: leases.need(c, lease))
    assert MARK in _text(case.look())
    with services.context.database.read() as connection:
        assert outputs.stored(connection, case.release) == before
    assert not list(services.context.area.folder("outputs").glob("*.part"))


def test_a_worker_that_was_overtaken_writes_no_bundle_over_one_that_was_published(services, tmp_path):
    case = _case(services, tmp_path)
    digest = services.bundler.build(case.release, case.plan, case.policies, hold=lambda _: None)
    folder = services.bundler.folder(case.release)
    receipt = (folder / "receipt.json").read_bytes()
    assert digest_bytes(receipt) == digest
    case.in_review()  # the log has gone on: a receipt made now is another one

    def lost(_):
        raise Conflict("lease_lost", "-", "-")

    with pytest.raises(Conflict, match="lease_lost"):
        services.bundler.build(case.release, case.plan, case.policies, hold=lost)
    assert (folder / "receipt.json").read_bytes() == receipt
    assert [p.name for p in folder.parent.iterdir()] == [case.release]


def test_what_policy_approves_is_not_withdrawn_however_long_it_waits(services, tmp_path):
    """Its turn comes when the release before it is done: how long that took depends on rows, and no answer may tell it."""
    with pytest.raises(Conflict, match="too late"):
        services.queue.withdraw(person="ada", job=Case(services, tmp_path, automatic=True).job)
    services.queue.withdraw(person="ada", job=Case(services, tmp_path).job)


def _encoded(image, kind="PNG", **more):
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def _pictures(services, tmp_path, *contents, kind="image/png"):
    """The pictures of the page of a notebook that holds these."""
    data = [shown({kind: base64.b64encode(c).decode()}) for c in contents]
    case = Case(services, tmp_path).leave(executed_notebook(code(SOURCE, *data))).end().in_review()
    seen = Seen(case.look())
    found = [v for t, n, v in seen.attributes if (t, n) == ("img", "src")]
    return [base64.b64decode(v.removeprefix("data:image/png;base64,"), validate=True) for v in found], " ".join(
        seen.texts
    )


def test_a_picture_is_drawn_anew_and_nothing_hides_in_it(services, tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "person 7")
    raw = _encoded(Image.new("RGBA", (20, 20), (10, 20, 30, 255)), pnginfo=info) + b"person 7<script>"
    frames = _encoded(Image.new("RGB", (9, 9)), save_all=True, append_images=[Image.new("RGB", (9, 9), "red")])
    (first, second), _ = _pictures(services, tmp_path, raw, frames)
    assert b"person 7" not in first
    assert Image.open(io.BytesIO(first)).getpixel((0, 0)) == (10, 20, 30)
    with Image.open(io.BytesIO(second)) as image:
        assert getattr(image, "n_frames", 1) == 1
    hidden = _encoded(Image.new("RGBA", (20, 20), (200, 0, 0, 0)))
    ((clean,), _) = _pictures(services, tmp_path, hidden)
    assert Image.open(io.BytesIO(clean)).getpixel((0, 0)) == (255, 255, 255)


def test_a_jpeg_becomes_a_png(services, tmp_path):
    raw = _encoded(Image.new("RGB", (20, 30), "blue"), "JPEG")
    (made,), _ = _pictures(services, tmp_path, raw, kind="image/jpeg")
    assert Image.open(io.BytesIO(made)).size == (20, 30)
    assert made.startswith(b"\x89PNG")


def _claims(width, height, *, first=b""):
    """A whole PNG but for its header, which claims another size; `first` comes before it."""
    raw = bytearray(_encoded(Image.new("L", (20, 20))))
    raw[16:24] = struct.pack(">II", width, height)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    return bytes(raw[:8] + first + raw[8:])


@pytest.mark.parametrize(
    "content",
    [
        _claims(20_000, 20_000),
        _claims(30, 3_000),
        _claims(9_000, 9_000, first=_encoded(Image.new("L", (20, 20)))[8:33]),
        _encoded(Image.new("1", (6_000, 6_000))),
        _encoded(Image.new("L", (20, 20)))[:50],
        _encoded(Image.new("L", (20, 20)), "GIF"),
        _encoded(Image.new("L", (20, 20)), "JPEG"),
        b"<svg onload=alert(1)>",
    ],
    ids=["claims 400 million pixels", "claims more than it holds", "claims two sizes", "is too large", "is cut", "is a GIF", "is a JPEG", "is no picture"],
)  # fmt: skip
def test_what_is_no_sane_picture_is_named_only(services, tmp_path, content):
    found, text = _pictures(services, tmp_path, content)
    assert found == []
    assert "not shown: image/png" in text


def test_many_large_pictures_are_drawn_up_to_a_budget(services, tmp_path, monkeypatch):
    from tre.secure.release import executed

    raw = _encoded(Image.new("1", (1_000, 1_000)))
    monkeypatch.setattr(executed, "MAX_PIXELS", 3_500_000)
    found, text = _pictures(services, tmp_path, *[raw] * 5)
    assert len(found) == 3
    assert text.count("too many") == 2
    monkeypatch.setattr(executed, "MAX_DRAWN", len(found[0]) + 1)
    assert len(_pictures(services, tmp_path, *[raw] * 3)[0]) == 1


@pytest.fixture
def gateway(services):
    """Ask as a person: the application itself, in this process, with no worker."""
    import asyncio

    import httpx

    from tre.gateway.app import create_app

    tokens = {p: services.make_token(p) for p in ("ada", "eve", "bo", "dee")}
    transport = httpx.ASGITransport(create_app(services))

    def ask(person, path):
        async def once():
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.get(path, headers={"authorization": f"Bearer {tokens[person]}"})

        return asyncio.run(once())

    return ask


def test_the_gateway_serves_it_with_a_policy_under_which_nothing_fires(services, tmp_path, gateway):
    case = _case(services, tmp_path).in_review()
    answer = gateway("bo", f"/v1/reviews/{case.release}/notebook")
    assert answer.status_code == 200
    assert MARK in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert {k: answer.headers[k] for k in page.HEADERS} == page.HEADERS


def test_no_answer_to_a_researcher_holds_any_of_it(services, tmp_path, gateway):
    case = _case(services, tmp_path).in_review()
    paths = [
        "/v1/me", "/v1/jobs", f"/v1/jobs/{case.job}", "/v1/releases", f"/v1/releases/{case.release}/bundle", "/v1/reviews",
        f"/v1/reviews/{case.release}", f"/v1/reviews/{case.release}/notebook", f"/v1/reviews/{case.release}/outputs/t",
    ]  # fmt: skip
    for person in ("ada", "eve", "dee"):
        answers = {path: gateway(person, path) for path in paths}
        assert not [path for path, answer in answers.items() if MARK in answer.text]
        assert all(answers[path].status_code == 403 for path in paths if path.startswith("/v1/reviews"))
    assert gateway("bo", "/v1/reviews/rel-1/notebook").status_code == 404


# What the desk is told of a run's end

ENDS = [
    (Ended.FINISHED, False, RunEnd.FINISHED),
    (Ended.FAILED, False, RunEnd.FAILED),
    (Ended.FAILED, True, RunEnd.OUT_OF_MEMORY),
    (Ended.TIMED_OUT, False, RunEnd.TIMED_OUT),
]


def _ruled(tmp_path, name, rule, *, project=None):
    made = create(tmp_path / name)
    area = {"review": {"automatic_epsilon": 0}, "tick_seconds": 1}
    area |= {"failure_told": rule} if rule else {}
    visits = {"failure_told": project} if project else {}
    made.apply(write_policies(tmp_path / f"{name}-policies", policies(area=area, visits=visits)), dry_run=False)
    return made


class _Later:
    """The area's clock, ahead."""

    def __init__(self, services, seconds):
        from dataclasses import replace
        from datetime import timedelta

        clock = services.context.clock
        later = replace(services.context, clock=lambda: clock() + timedelta(seconds=seconds))
        self.owners = (services, services.queue)
        self.before = services.context
        for owner in self.owners:
            owner.context = later

    def back(self):
        for owner in self.owners:
            owner.context = self.before


def _release(services):
    """All that a worker does once people have decided."""
    worker = services.worker()
    lane = Lane(
        "release", Local(services.context.area.folder("jobs")), worker.releases.step, lambda _: None, lambda: None
    )
    assert worker.releases.step(lane)
    while worker.releases.step(lane):
        pass
    worker.presence.end()


def _all_ends(tmp_path, rule, look):
    services = _ruled(tmp_path, "area", rule)
    found = {}
    for number, (how, memory, told) in enumerate(ENDS):
        (tmp_path / str(number)).mkdir()
        case = Case(services, tmp_path / str(number)).leave(EXECUTED).end(how, memory_ran_out=memory).in_review()
        found[told] = look(services, case)
    services.close()
    return found


def _frozen(services, case):
    """The transcript of this job alone, hours later, without its own times."""
    import re

    later = _Later(services, 7_200)
    try:
        view = services.job("ada", case.job)
    finally:
        later.back()
    text = json.dumps(view.model_dump(mode="json"), sort_keys=True)
    text = text.replace(case.job, "JOB").replace(case.release, "RELEASE")
    return re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)


@pytest.mark.parametrize("rule", [None, "never", "after review"])
def test_before_the_release_the_desk_sees_the_same_whichever_way_the_run_ended(tmp_path, rule):
    assert len(set(_all_ends(tmp_path, rule, _frozen).values())) == 1


def test_control_under_coarse_each_end_is_told_as_its_class(tmp_path):
    found = _all_ends(tmp_path, "coarse", _frozen)
    assert len(set(found.values())) == len(ENDS)
    assert all(f'"run": "{told.value}"' in text for told, text in found.items())


def test_coarse_is_told_on_the_tick_after_the_end_and_not_before(tmp_path):
    from dataclasses import replace
    from datetime import UTC, datetime, timedelta

    services = _ruled(tmp_path, "area", "coarse")
    moment = [datetime(2030, 1, 1, 12, 0, 0, 400_000, tzinfo=UTC)]
    services.context = services.queue.context = replace(services.context, clock=lambda: moment[0])
    case = Case(services, tmp_path).end(Ended.TIMED_OUT)
    assert services.job("ada", case.job).run is None
    moment[0] += timedelta(seconds=0.6)
    assert services.job("ada", case.job).run is RunEnd.TIMED_OUT
    services.close()


def test_after_review_it_is_told_with_the_release_that_two_people_approved(tmp_path):
    services = _ruled(tmp_path, "area", "after review")
    case = Case(services, tmp_path).end(Ended.TIMED_OUT).in_review()
    assert services.review("bo", case.release).run is RunEnd.TIMED_OUT
    for person in ("bo", "cy"):
        services.vote(person, case.release, Vote(decision=DecisionKind.APPROVE))
    assert services.job("ada", case.job).run is None
    _release(services)  # seen from the next tick on
    later = _Later(services, 5)
    view = services.job("ada", case.job)
    later.back()
    assert (view.stage, view.run) == ("released", RunEnd.TIMED_OUT)
    receipt = json.loads((services.bundler.folder(case.release) / "receipt.json").read_text())
    assert receipt["statement"]["run"] == "timed_out"
    services.close()


@pytest.mark.parametrize(("decision", "stage"), [(DecisionKind.RETURN, "returned"), (DecisionKind.REJECT, "rejected")])
def test_after_review_nothing_is_told_of_what_was_not_approved(tmp_path, decision, stage):
    services = _ruled(tmp_path, "area", "after review")
    case = Case(services, tmp_path).end(Ended.FAILED).in_review()
    for person in ("bo", "cy"):
        services.vote(person, case.release, Vote(decision=decision, comment="-"))
    later = _Later(services, 5)
    view = services.job("ada", case.job)
    later.back()
    assert (view.stage, view.run) == (stage, None)
    services.close()


@pytest.mark.parametrize("before", ["never", "after review"])
def test_never_says_nothing_in_the_receipt_either(tmp_path, before):
    services = _ruled(tmp_path, "area", before)
    case = Case(services, tmp_path).end(Ended.FAILED).in_review()
    files = policies(area={"review": {"automatic_epsilon": 0}, "tick_seconds": 1, "failure_told": "never"})
    services.apply(write_policies(tmp_path / "never", files), dry_run=False)
    for person in ("bo", "cy"):
        services.vote(person, case.release, Vote(decision=DecisionKind.APPROVE))
    _release(services)
    statement = json.loads((services.bundler.folder(case.release) / "receipt.json").read_text())["statement"]
    assert "run" not in statement
    services.close()


def test_a_project_may_be_stricter_and_the_stricter_of_then_and_now_holds(tmp_path):
    from tre.errors import PolicyError

    services = _ruled(tmp_path, "area", "coarse", project="never")
    case = Case(services, tmp_path).end(Ended.FAILED)

    def told():
        later = _Later(services, 5)
        try:
            return services.job("ada", case.job).run
        finally:
            later.back()

    def apply(name, area, **visits):
        more = {"review": {"automatic_epsilon": 0}, "tick_seconds": 1, "failure_told": area}
        services.apply(write_policies(tmp_path / name, policies(area=more, visits=visits)), dry_run=False)

    assert told() is None
    apply("laxer", "coarse")  # of what was confirmed under `never`, nothing is told later
    assert told() is None
    (tmp_path / "second").mkdir()
    case = Case(services, tmp_path / "second").end(Ended.FAILED)
    assert told() is RunEnd.FAILED
    apply("stricter", "never")
    assert told() is None
    with pytest.raises(PolicyError, match="failure_told: laxer than the area's rule"):
        apply("wrong", "never", failure_told="coarse")
    services.close()
