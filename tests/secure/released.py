"""A release of a noisy statistic and two declared tables, walked to its end by the real steps; none of them needs a sandbox."""

from dataclasses import replace
from datetime import timedelta

from tests.journey.conftest import ASK, Area, notebook
from tre.messages import DecisionKind, Emitted, EmittedOutput, EmittedRequest, OutputKind, Submission, Vote
from tre.rules.lifecycle import Release
from tre.secure import policies as policy_files
from tre.secure.jobs import leases
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.local import Local
from tre.secure.jobs.work import Lane
from tre.secure.release import review
from tre.statistics.declared import parse
from tre.statistics.request import Request

ADULTS = "Adults of the toy study by sex, to describe who is in it"
SMALL = "People of the toy study by age, with a <script>title</script> & more"


def area(root):
    """Its services, in this process; people approve everything."""
    return Area(root, area={"review": {"automatic_epsilon": 0}}).services()


def release(services):
    """The release's id, once its bundle is there."""
    context = services.context
    view = services.submit("ada", Submission(project="visits", notebook=notebook(ASK)))
    claims = Claims(context, services.queue, "worker")
    job, lease = claims.rehearsal()
    with context.database.read() as connection:
        plan = services.planner.plan(
            connection, policy_files.current(connection), project="visits", person="ada", notebook=str(job.notebook),
            parameters={}, emitted=_emitted(),
        )  # fmt: skip
    services.queue.planned(lease, plan)
    with context.database.write() as connection:
        leases.drop(connection, lease)
    view = services.job("ada", view.id)
    name = services.queue.confirm(person="ada", job=view.id, plan_digest=view.plan_digest)
    worker = services.worker()
    lane = Lane("hand", Local(context.area.folder("jobs")), None, None, None)
    assert worker.releases.step(lane)
    for person in ("bo", "cy"):
        services.vote(person, name, Vote(decision=DecisionKind.APPROVE, comment="fine"))
    while worker.releases.step(lane):
        pass
    lane.engine.close()
    worker.presence.end()
    with context.database.read() as connection:
        assert review.row(connection, name).state == Release.RELEASED
    # Seen from the next tick on, which is soon.
    services.context = services.queue.context = replace(context, clock=lambda: context.clock() + timedelta(seconds=5))
    return name


def _emitted():
    asked = {
        "dataset": "toy", "group_by": [{"column": "sex"}], "epsilon": 1.0,
        "statistics": {"n": {"kind": "count"}, "mean": {"kind": "mean", "column": "visits", "bounds": [0, 20]}},
    }  # fmt: skip
    return Emitted(
        requests=(EmittedRequest(name="by-sex", request=Request.model_validate(asked)),),
        outputs=(_table(0, "adults", ADULTS, column="sex"), _table(1, "by-age", SMALL, column="age", keys=[20, 21])),
        opened=("toy",),
    )


def _table(i, name, context, **group):
    declared = parse(
        {"dataset": "toy", "group_by": [group], "statistics": {"n": {"kind": "count"}}, "where": ["year = 1"]}
        | {"suppress": name == "adults"}
    )
    return EmittedOutput(name=name, kind=OutputKind.TABLE, context=context, file=f"output-{i}.csv", declared=declared)
