"""The journey with the area's database on a PostgreSQL server: planned, charged, drawn, reviewed, released, replayed."""

import pytest

from .conftest import Area, notebook

ASK = "import tre\ntre.dataset('toy').group_by('sex').release('by-sex', epsilon=0.5, n=tre.count())"
SHOW = "tre.output('note', 'nothing to see', context='a note for the checkers')"


@pytest.fixture(scope="module")
def area(tmp_path_factory, postgresql):
    made = Area(tmp_path_factory.mktemp("journey-postgresql"), database=postgresql.new()).start()
    yield made
    made.stop()


@pytest.mark.slow
def test_a_release_goes_its_way_and_is_not_paid_twice(area):
    view = area.confirm(area.submit(notebook(ASK, SHOW)))
    area.approve(view.release)
    assert area.finish(view).stage == "released"
    (entry,) = area.ledger()
    assert entry["state"] == "released"
    again = area.submit(notebook(ASK))
    assert [r.replayed for r in again.plan.requests] == [True]
    services = area.services()
    assert services.verify_audit()["first_broken"] is None
    assert services.verify_audit()["receipts_that_do_not_fit"] == []
    services.close()
