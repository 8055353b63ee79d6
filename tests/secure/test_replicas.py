"""A replica leaves when two output checkers approved these very rows, and in no other way."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tests.journey.conftest import policies, write_data, write_policies
from tre.errors import Conflict, NotAllowed, NotFound, PolicyError
from tre.rules import twin_label
from tre.rules.canonical import digest_bytes
from tre.rules.policy import Role
from tre.rules.replica import Choice, ReplicaState, ReplicaVote, state
from tre.rules.twin import Tier, TwinPolicy, problems
from tre.secure import audit
from tre.secure.cli import cli as admin
from tre.secure.database import tables
from tre.secure.services import create, restore

REASON = "to try record linkage"


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    """An area whose dataset may have replicas; 400 people."""
    root = tmp_path_factory.mktemp("replicas")
    services = create(root / "area")
    toy = {"twin": {"tier": "structural", "replica": True}}
    services.apply(write_policies(root / "policies", policies(toy=toy)), dry_run=False)
    services.ingest("toy", [write_data(root / "toy.csv")], drop_invalid=False)
    services.make_twin("toy")
    yield services, root
    services.close()


@pytest.fixture(scope="module")
def checkers(area):
    services, _ = area
    from tre.secure import policies as policy_files

    with services.context.database.read() as connection:
        people = policy_files.current(connection).people
    found = [name for name, p in people.items() if p.role is Role.CHECKER]
    assert len(found) >= 2
    return found[:2]


@pytest.fixture
def replica(area, monkeypatch):
    """Its name. SDV's part, which takes seconds, has its own tests."""
    from tre.secure.data import twin_replica

    monkeypatch.setattr(
        twin_replica, "copula", lambda table, *_, rows, **__: table.sample(rows, replace=True, ignore_index=True)
    )
    services, _ = area
    return services.replicas.propose("toy", person="dee", reason=REASON)["replica"]


def yes(info, **changes):
    return ReplicaVote(choice=Choice.APPROVE, sha256=info.sha256, **changes)


def approved(services, dataset, replica):
    with services.replicas.approved(dataset, replica):
        pass


def events(services, subject):
    with services.context.database.read() as connection:
        query = sa.select(tables.audit).where(tables.audit.c.subject == subject).order_by(tables.audit.c.seq)
        return [(r.event, r.person) for r in connection.execute(query)]


def test_two_checkers_look_and_approve_and_then_it_is_published_as_what_it_is(area, checkers, replica, tmp_path):
    services, _ = area
    one, two = checkers
    assert replica in [i.id for i in services.replicas.waiting(one)]
    info = services.replicas.look(one, replica)
    assert (info.reason, info.state, info.evidence.people) == (REASON, ReplicaState.IN_REVIEW, 400)
    rows = services.replicas.rows(one, replica)
    assert digest_bytes(rows) == info.sha256
    assert pd.read_parquet(io.BytesIO(rows)).attrs["tre"].startswith("SYNTHETIC")
    with pytest.raises(Conflict, match="replica_not_approved"):
        approved(services, "toy", replica)
    after = services.replicas.vote(one, replica, yes(info))
    assert (after.state, after.my_choice) == (ReplicaState.IN_REVIEW, Choice.APPROVE)
    with pytest.raises(Conflict, match="replica_not_approved"):
        approved(services, "toy", replica)
    assert services.replicas.vote(two, replica, yes(info)).state is ReplicaState.APPROVED

    out = tmp_path / "out"
    done = CliRunner().invoke(
        admin,
        [
            "twin",
            "toy",
            "--publish",
            str(out),
            "--replica",
            replica,
            "--reason",
            "asked for",
            "--area",
            str(area[1] / "area"),
        ],
    )
    assert done.exit_code == 0, done.output
    page = (out / "index.html").read_text()
    assert "no output of differential privacy" in page
    assert "need not be chance" in page
    described = (out / "datapackage.json").read_text()
    for never in ("cost nothing of anybody", "no row is of", "is chance", "looked at these very rows", "seed "):
        assert never not in page
        assert never not in described
    digests = {p.name: digest_bytes(p.read_bytes()) for p in out.iterdir() if p.name != twin_label.FILE}
    said = twin_label.verify((out / twin_label.FILE).read_bytes(), digests, whole=True)
    assert (said["label"]["tier"], said["label"]["epsilon"], said["label"]["seed"]) == ("replica", None, None)
    assert next(out.glob("*.SYNTHETIC.replica.*.parquet")).is_file()
    assert events(services, replica) == [
        ("replica.proposed", "dee"), ("replica.viewed", one), ("replica.rows_viewed", one), ("replica.voted", one),
        ("replica.voted", two),
    ]  # fmt: skip
    with services.context.database.read() as connection:
        query = sa.select(tables.audit.c.detail).where(tables.audit.c.event == "twin.published")
        assert [json.loads(d)["replica"] for d in connection.execute(query).scalars()] == [replica]


def test_one_no_is_a_no_and_the_other_vote_is_hidden_until_both_are_cast(area, checkers, replica):
    services, _ = area
    one, two = checkers
    info = services.replicas.look(one, replica)
    no = ReplicaVote(choice=Choice.REJECT, sha256=info.sha256, comment="rare people")
    assert services.replicas.vote(one, replica, no).comments == ("rare people",)
    assert next(r for r in services.replicas.all() if r["replica"] == replica)["comments"] == []  # from admins too
    seen = services.replicas.look(two, replica)
    assert (seen.my_choice, seen.comments, seen.state) == (None, (), ReplicaState.IN_REVIEW)
    assert services.replicas.vote(two, replica, yes(info)).comments == ("rare people",)
    told = next(r for r in services.replicas.all() if r["replica"] == replica)
    assert (told["state"], told["comments"]) == ("rejected", ["rare people"])
    for refused in (lambda: approved(services, "toy", replica), lambda: services.replicas.rows(one, replica)):
        with pytest.raises(Conflict):
            refused()


def test_a_vote_is_one_checkers_once_and_for_the_rows_that_were_made(area, checkers, replica):
    services, _ = area
    one, two = checkers
    info = services.replicas.look(one, replica)
    for person in ("ada", "dee"):  # a researcher, an admin
        for refused in (
            lambda p=person: services.replicas.look(p, replica),
            lambda p=person: services.replicas.rows(p, replica),
            lambda p=person: services.replicas.vote(p, replica, yes(info)),
            lambda p=person: services.replicas.waiting(p),
        ):
            with pytest.raises(NotAllowed):
                refused()
    with pytest.raises(Conflict, match="rows_changed"):
        services.replicas.vote(one, replica, ReplicaVote(choice=Choice.APPROVE, sha256="0" * 64))
    with pytest.raises(PolicyError, match="comment_missing"):
        services.replicas.vote(one, replica, ReplicaVote(choice=Choice.REJECT, sha256=info.sha256))
    services.replicas.vote(one, replica, yes(info))
    with pytest.raises(Conflict, match="already_voted"):
        services.replicas.vote(one, replica, yes(info))
    assert services.replicas.look(two, replica).state is ReplicaState.IN_REVIEW


def test_rows_that_were_changed_after_the_votes_do_not_leave(area, checkers, replica):
    services, _ = area
    info = services.replicas.look(checkers[0], replica)
    for person in checkers:
        services.replicas.vote(person, replica, yes(info))
    path = services.replicas._file("toy", replica)
    assert path.stat().st_mode & 0o077 == 0
    before = path.read_bytes()
    with services.replicas.approved("toy", replica) as copy:
        path.write_bytes(before[:-1] + b"x")  # also while it is being published
        assert digest_bytes(copy.read_bytes()) == info.sha256
        assert copy.parent.stat().st_mode & 0o077 == 0
    assert not copy.exists()
    for refused in (
        lambda: approved(services, "toy", replica),
        lambda: services.replicas.look(checkers[0], replica),
    ):
        with pytest.raises(Conflict, match="replica_changed"):
            refused()


def test_one_that_was_approved_for_one_dataset_is_not_anothers(area, checkers, replica):
    services, _ = area
    info = services.replicas.look(checkers[0], replica)
    for person in checkers:
        services.replicas.vote(person, replica, yes(info))
    with pytest.raises(Conflict, match="replica_not_approved"):
        approved(services, "other", replica)
    with pytest.raises(NotFound):
        approved(services, "toy", "rep-00000000")


def test_a_list_of_what_waits_tells_nothing_of_the_rows_as_it_is_no_recorded_look(area, checkers, replica):
    services, _ = area
    said = next(i for i in services.replicas.waiting(checkers[0]) if i.id == replica).model_dump()
    assert set(said) == {"id", "dataset", "title", "reason", "made"}
    assert events(services, replica) == [("replica.proposed", "dee")]


def test_what_the_policy_does_not_allow_any_more_does_not_leave_though_it_was_approved(area, checkers, replica):
    services, root = area
    info = services.replicas.look(checkers[0], replica)
    for person in checkers:
        services.replicas.vote(person, replica, yes(info))
    services.apply(write_policies(root / "without", policies(toy={"twin": {"tier": "structural"}})), dry_run=False)
    try:
        with pytest.raises(PolicyError, match="replica_not_allowed"):
            approved(services, "toy", replica)
    finally:
        services.apply(root / "policies", dry_run=False)
    approved(services, "toy", replica)


def test_of_all_who_vote_at_once_two_decide_and_nobody_counts_twice(tmp_path, database, monkeypatch):
    from tre.secure.data import twin_replica

    monkeypatch.setattr(twin_replica, "copula", lambda table, *_, **__: table)
    services = create(tmp_path / "area", database=database)
    content = policies(toy={"twin": {"tier": "structural", "replica": True}})
    services.apply(write_policies(tmp_path / "policies", content), dry_run=False)
    services.ingest("toy", [write_data(tmp_path / "toy.csv")], drop_invalid=False)
    name = services.replicas.propose("toy", person="dee", reason=REASON)["replica"]
    info = services.replicas.look("bo", name)
    together = threading.Barrier(6)

    def cast(person):
        together.wait()
        try:
            return services.replicas.vote(person, name, yes(info)).state
        except Conflict as refused:
            return refused.code

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(cast, ["bo", "bo", "bo", "cy", "cy", "di"]))
    assert sorted(s for s in said if s in ("in review", "approved")) == ["approved", "in review"]
    voted = [person for event, person in events(services, name) if event == "replica.voted"]
    assert len(voted) == len(set(voted)) == 2
    services.close()


def test_an_area_of_a_backup_lets_no_replica_out_before_that_is_answered_for(area, checkers, replica, tmp_path):
    services, _ = area
    info = services.replicas.look(checkers[0], replica)
    for person in checkers:
        services.replicas.vote(person, replica, yes(info))
    services.backup(tmp_path / "area.tar")
    again = restore(tmp_path / "area.tar", tmp_path / "new")
    with pytest.raises(Conflict, match="area_restored"):
        approved(again, "toy", replica)
    again.close()


def test_projects_never_see_one_and_rehearsals_never_run_on_one(area, replica):
    services, _ = area
    assert [o.tier for o in services.twins.offers(services.knowing("ada"), "ada")] == ["structural"]
    twin = services.registry.twin("toy")
    assert json.loads(json.dumps(str(twin))).endswith("toy.SYNTHETIC.parquet")
    assert replica not in {p.name.split(".")[0] for p in services.context.area.folder("twins").iterdir()}


@pytest.mark.parametrize(
    ("name", "person", "reason", "code"),
    [
        ("toy", "ada", REASON, "role_missing"),
        ("toy", "nobody", REASON, "person_unknown"),
        ("toy", "dee", "  ", "reason_missing"),
        ("none", "dee", REASON, "dataset_unknown"),
    ],
)
def test_none_is_made_without_an_admin_a_reason_and_a_dataset(area, name, person, reason, code):
    services, _ = area
    with pytest.raises((NotAllowed, PolicyError), match=code):
        services.replicas.propose(name, person=person, reason=reason)


def test_what_could_not_be_recorded_leaves_no_file(area, replica, monkeypatch):
    services, _ = area
    before = sorted(services.context.area.folder("data").rglob("*"))

    def fails(*_, **__):
        raise OSError("no room")

    monkeypatch.setattr(audit, "record", fails)
    with pytest.raises(OSError, match="no room"):
        services.replicas.propose("toy", person="dee", reason=REASON)
    assert sorted(services.context.area.folder("data").rglob("*")) == before


def test_none_is_made_unless_the_policy_allows_it(tmp_path):
    services = create(tmp_path / "area")
    services.apply(write_policies(tmp_path / "policies", policies()), dry_run=False)
    services.ingest("toy", [write_data(tmp_path / "toy.csv")], drop_invalid=False)
    with pytest.raises(PolicyError, match="replica_not_allowed"):
        services.replicas.propose("toy", person="dee", reason=REASON)
    services.close()


def test_no_dataset_has_a_replica_for_its_twin(area):
    services, _ = area
    table = services.knowing("dee").datasets["toy"].table
    assert [key for key, _ in problems(TwinPolicy(tier=Tier.REPLICA), table, pure=False)] == ["tier"]


@pytest.mark.parametrize(
    ("choices", "after"),
    [
        ([], "in review"), (["approve"], "in review"), (["reject"], "in review"), (["approve", "approve"], "approved"),
        (["approve", "reject"], "rejected"), (["reject", "approve"], "rejected"), (["reject", "reject"], "rejected"),
    ],
)  # fmt: skip
def test_two_votes_decide_and_one_no_is_a_no(choices, after):
    assert state(Choice(c) for c in choices) is ReplicaState(after)
