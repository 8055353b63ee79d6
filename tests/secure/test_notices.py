"""Notices: who is told what and from when on, that nobody reads another's, and e-mail by a real SMTP server."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

import pytest
import sqlalchemy as sa
import yaml
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.journey.conftest import notebook, policies, write_policies
from tests.mail import Inbox, controller
from tests.secure.test_executed import Case
from tests.secure.test_review_pages import Checker, Http
from tre.errors import PolicyError
from tre.gateway.app import create_app
from tre.messages import DecisionKind, Stage, Vote
from tre.rules.notices import Told
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.post import FIRST_PAUSE, Post
from tre.secure.services import Services, create

TICK = 60
WHY = "a-reason-that-stays-inside"


class Clock:
    def __init__(self):
        self.now = datetime(2030, 1, 1, 12, 0, 30, tzinfo=UTC)

    def __call__(self):
        return self.now

    def wait(self, seconds=TICK):
        self.now += timedelta(seconds=seconds)


def _files():
    files = policies(area={"review": {"automatic_epsilon": 0}, "tick_seconds": TICK}, visits={"people": ["ada", "mo"]})
    people = files["people.yaml"]["people"]
    people["mo"] = {"name": "Mo", "role": "researcher", "accredited_until": "2099-12-31"}
    people["ex"] = {"name": "Ex", "role": "checker", "accredited_until": "2020-01-01"}
    for name in ("ada", "bo", "cy"):  # di has no address
        people[name]["email"] = f"{name}@example.org"
    return files


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def services(tmp_path, clock, database):
    made = create(tmp_path / "area", database=database)
    made.apply(write_policies(tmp_path / "policies", _files()), dry_run=False)
    yield Services(Context(area=made.context.area, database=made.context.database, clock=clock))
    made.close()


@pytest.fixture
def case(services, tmp_path):
    return Case(services, tmp_path, content=notebook("1").encode(), context="a-name-inside")


def _told(services, person):
    return [(n.told, n.about, n.read) for n in services.notices.of(person)]


def _vote(services, case, decision, *people):
    for person in people:
        services.vote(person, case.release, Vote(decision=decision, comment=WHY))


def test_a_researcher_is_told_with_the_job_itself_and_never_before(services, case, clock):
    assert _told(services, "ada") == [("planned", case.job, True)]  # read: it is confirmed
    case.end().in_review()
    _vote(services, case, DecisionKind.RETURN, "bo", "cy")
    assert services.job("ada", case.job).stage is Stage.IN_REVIEW
    assert len(services.notices.of("ada")) == 1
    clock.wait()
    assert services.job("ada", case.job).stage is Stage.RETURNED
    newest = services.notices.of("ada")[0]
    assert (newest.told, newest.about, newest.project, newest.read) == (Told.RETURNED, case.release, "visits", False)
    assert newest.at == services.job("ada", case.job).updated
    assert services.notices.unread("ada") == 1


def test_checkers_who_may_vote_are_told_at_a_tick_until_they_have_or_it_is_decided(services, case, clock):
    case.end().in_review()
    assert services.notices.of("bo") == []
    clock.wait()
    for person in ("bo", "cy", "di"):
        assert _told(services, person) == [("waits", case.release, False)]
    for person in ("mo", "ex", "dee", "eve"):
        assert services.notices.of(person) == []
    _vote(services, case, DecisionKind.APPROVE, "bo")
    assert [services.notices.unread(p) for p in ("bo", "cy", "di")] == [0, 1, 1]  # blind: the others see no vote in it
    _vote(services, case, DecisionKind.REJECT, "cy")
    assert [services.notices.unread(p) for p in ("bo", "cy", "di")] == [0, 0, 0]


def test_an_exceptions_decision_is_told_with_the_requests(services, case, clock):
    with services.context.database.write() as connection:
        row = {"release": case.release, "output": "t", "reason": WHY, "at": services.context.now()}
        connection.execute(tables.exceptions.insert(), [row])
    case.end().in_review()
    _vote(services, case, DecisionKind.REJECT, "bo", "cy")
    clock.wait()
    newest = services.notices.of("ada")[0]
    assert (newest.told, newest.exception) == (Told.REJECTED, True)
    assert WHY not in str(services.notices.of("ada"))


def test_identifiers_do_not_tell_what_happened_between_two_notices(services, tmp_path):
    """One that counted up would be a clock of what others were told, as of the end of a run on real rows."""
    for _ in range(4):
        Case(services, tmp_path)
    names = [n.id for n in services.notices.of("ada")]
    assert len({len(n) for n in names}) == 1
    assert len(set(names)) == 4
    assert all(isinstance(c.type, sa.String) for c in tables.notices.primary_key)


# By the gateway


def _api(app, services, person):
    http = Http(app, "http://testserver")
    http.headers["authorization"] = f"Bearer {services.make_token(person)}"
    return http


def test_each_person_reads_and_marks_their_own_alone(services, case, clock):
    case.end().in_review()
    clock.wait()
    app = create_app(services)
    ada, bo, cy = (_api(app, services, p) for p in ("ada", "bo", "cy"))
    (mine,) = bo.get("/v1/notices").json()
    assert (mine["told"], mine["about"], mine["read"]) == ("waits", case.release, False)
    assert case.release not in ada.get("/v1/notices").text
    for stranger in (ada, cy):
        stranger.post("/v1/notices/read", json={"notices": [mine["id"]]})
    assert not bo.get("/v1/notices").json()[0]["read"]
    assert bo.post("/v1/notices/read", json={"notices": [mine["id"]]}).json() == {"unread": 0}
    assert bo.get("/v1/notices").json()[0]["read"]
    assert bo.post("/v1/notices/read", json={"notices": ["1"]}).status_code == 400
    assert Http(app, "http://testserver").get("/v1/notices").status_code == 401


def test_a_page_lists_them_and_its_form_marks_them(services, case, clock):
    case.end().in_review()
    clock.wait()
    app = create_app(services)
    bo, cy = Checker(services, app, "bo"), Checker(services, app, "cy")
    bo.sign_in(), cy.sign_in()
    assert "Notices (1 unread)" in bo.get("").text
    page = bo.get("notices").text
    assert f'<a href="/review/requests/{case.release}">' in page
    assert "it waits for your vote" in page
    (name,) = [n.id for n in services.notices.of("bo")]
    assert bo.post("notices", notices=name, mark="guessed").status_code == 403
    cy.post("notices", notices=name, mark=cy.mark())
    assert services.notices.unread("bo") == 1
    assert bo.post("notices", notices=name, mark=bo.mark()).status_code == 303
    assert "unread)" not in bo.get("").text


# By e-mail


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def server(inbox):
    made = controller(inbox)
    yield made
    made.stop()


def _mail_by(services, server, **more):
    settings = {"host": "127.0.0.1", "port": server.port, "starttls": False, "from": "area@example.org"} | more
    path = services.context.area.settings
    kept = yaml.safe_load(path.read_text()) if path.is_file() else {}
    path.write_text(yaml.safe_dump({**kept, "mail": settings}))


def _outbox(services):
    with services.context.database.read() as connection:
        return connection.execute(sa.select(tables.mails)).all()


def test_mail_is_sent_at_the_tick_to_who_has_an_address_and_holds_a_name_and_a_state(
    services, tmp_path, clock, server, inbox
):
    _mail_by(services, server)
    post = Post(services.context)
    case = Case(services, tmp_path, content=notebook("1").encode(), context="a-name-inside").end().in_review()
    assert post.step() == 0  # not yet; and what was planned is confirmed
    assert len(_outbox(services)) == 3
    clock.wait()
    assert post.step() == 2
    assert sorted(to for to, _ in inbox.mails) == [["bo@example.org"], ["cy@example.org"]]
    assert _outbox(services) == []  # di has no address, and the page
    _vote(services, case, DecisionKind.RETURN, "bo", "cy")
    clock.wait()
    assert post.step() == 1
    to, text = inbox.mails[-1]
    assert to == ["ada@example.org"]
    assert f"Subject: {case.release}: returned" in text
    for kept in (WHY, "a-name-inside", "visits", "toy"):
        assert kept not in "".join(t for _, t in inbox.mails)
    assert post.step() == 0


def test_a_server_that_is_dead_loses_nothing_and_holds_nothing_up(services, tmp_path, clock, server, inbox):
    _mail_by(services, server, port=1)
    post = Post(services.context)
    case = Case(services, tmp_path, content=notebook("1").encode()).end().in_review()
    clock.wait()
    assert post.step() == 0
    assert services.notices.unread("bo") == 1
    _mail_by(services, server)
    assert post.step() == 0  # it pauses
    clock.wait(FIRST_PAUSE)
    assert post.step() == 2
    assert all(case.release in text for _, text in inbox.mails)


def test_two_workers_send_no_mail_twice(services, tmp_path, clock, server, inbox):
    _mail_by(services, server)
    Case(services, tmp_path, content=notebook("1").encode()).end().in_review()
    clock.wait()
    first, second = Post(services.context), Post(services.context)
    taken = first._take()
    assert len(taken) == 2
    assert second.step() == 0
    clock.wait(3600)  # the first is lost: its mails come again
    assert second.step() == 2
    assert len(inbox.mails) == 2


def test_what_is_refused_for_good_is_let_go_and_what_is_refused_for_now_is_tried_again(
    services, tmp_path, clock, server, inbox
):
    _mail_by(services, server)
    inbox.says = {"bo@example.org": "550 no such person", "cy@example.org": "451 later"}
    Case(services, tmp_path, content=notebook("1").encode()).end().in_review()
    clock.wait()
    post = Post(services.context)
    assert post.step() == 0
    assert [row.tries for row in _outbox(services)] == [1]
    inbox.says = {}
    clock.wait(FIRST_PAUSE)
    assert post.step() == 1
    assert [to for to, _ in inbox.mails] == [["cy@example.org"]]


def test_what_was_done_meanwhile_is_not_sent(services, tmp_path, clock, server, inbox):
    _mail_by(services, server)
    case = Case(services, tmp_path, content=notebook("1").encode()).end().in_review()
    _vote(services, case, DecisionKind.APPROVE, "bo")
    clock.wait()
    assert Post(services.context).step() == 1
    assert [to for to, _ in inbox.mails] == [["cy@example.org"]]


def test_a_server_that_offers_no_encryption_is_told_nothing_where_it_is_wanted(
    services, tmp_path, clock, server, inbox
):
    _mail_by(services, server, starttls=True)
    Case(services, tmp_path, content=notebook("1").encode()).end().in_review()
    clock.wait()
    assert Post(services.context).step() == 0
    assert len(_outbox(services)) == 2
    assert inbox.mails == []


@pytest.fixture
def certificate(tmp_path):
    """Of 127.0.0.1, by nobody but itself: (its file with the key, for a server)"""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "mail.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize(("trusted", "password", "sent"), [(True, "right", 2), (False, "right", 0), (True, "wrong", 0)])
def test_mail_goes_encrypted_to_a_server_that_is_who_it_says_and_lets_us_in(
    services, tmp_path, clock, inbox, certificate, monkeypatch, trusted, password, sent
):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)

    def asked(server, session, envelope, mechanism, login):
        return AuthResult(success=(login.login, login.password) == (b"tre", b"right"), handled=False)

    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    options = {"tls_context": tls, "require_starttls": True, "auth_required": True, "authenticator": asked}
    server = controller(inbox, **options)
    try:
        _mail_by(services, server, starttls=True, user="tre", password=password)
        Case(services, tmp_path, content=notebook("1").encode()).end().in_review()
        clock.wait()
        assert Post(services.context).step() == sent
        assert (len(inbox.mails), len(_outbox(services))) == (sent, 2 - sent)
    finally:
        server.stop()


def test_without_a_server_nothing_is_put_into_the_outbox(services, case, clock):
    case.end().in_review()
    clock.wait()
    assert _outbox(services) == []
    assert Post(services.context).step() == 0


@pytest.mark.parametrize(
    "wrong", [{"host": "secret-word here"}, {"from": "a\nBcc: secret-word"}, {"port": 0}, {"secret-word": 1}]
)
def test_settings_of_mail_that_are_wrong_are_refused_without_their_text(services, server, wrong):
    _mail_by(services, server, **wrong)
    with pytest.raises(PolicyError, match="settings_invalid") as refused:
        services.context.area.mail  # noqa: B018
    assert "secret-word" not in str(refused.value)
