"""Tokens that are taken back: whoever holds one is nobody from then on."""

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tests.journey.conftest import policies, write_policies
from tests.secure.test_review_pages import Checker
from tre.errors import NotAllowed, NotFound
from tre.gateway.app import create_app
from tre.secure.cli import cli
from tre.secure.database import tables
from tre.secure.services import create


@pytest.fixture
def area(tmp_path):
    made = create(tmp_path / "area")
    made.apply(write_policies(tmp_path / "policies", policies()), dry_run=False)
    yield made
    made.close()


@pytest.fixture
def app(area):
    return create_app(area)


def test_a_withdrawn_token_opens_nothing_and_ends_what_it_began(area, app):
    bo, other = Checker(area, app, "bo"), area.make_token("cy")
    bo.sign_in()
    assert bo.get("").status_code == 200
    assert area.withdraw_tokens("bo") == 1
    with pytest.raises(NotAllowed, match="token_unknown"):
        area.identity.holder(bo.token)
    assert bo.get("").headers["location"] == "/review/sign-in"
    assert area.identity.holder(other) == "cy"
    with pytest.raises(NotFound, match="token_none"):
        area.withdraw_tokens("bo")
    t = tables.audit
    with area.context.database.read() as connection:
        found = connection.execute(sa.select(t.c.event, t.c.detail).where(t.c.subject == "bo")).all()
    assert ("token.withdrawn", '{"tokens":1}') in [tuple(r) for r in found]
    assert area.verify_audit()["first_broken"] is None


def test_the_command_withdraws_them_and_says_how_many(area, tmp_path):
    area.make_token("bo"), area.make_token("bo")
    command = ["--area", str(tmp_path / "area"), "tokens", "withdraw", "bo", "--json"]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.stdout == '{"person": "bo", "withdrawn": 2}\n'
