"""A job's progress: the bar never goes back, and of a run on real rows it tells the coarse stage alone."""

import pytest

from tre.desk.follow import bar, place
from tre.messages import JobView, Progress, Stage

BASE = {"id": "job-1", "project": "p", "person": "ada", "submitted": "", "updated": ""}


def _view(stage, progress=None):
    return JobView(**BASE, stage=stage, progress=progress)


JOURNEY = [
    (_view(Stage.REHEARSING), "waiting for its rehearsal"),
    (_view(Stage.REHEARSING, Progress(done=0, of=4)), "0 of 4 cells"),
    (_view(Stage.REHEARSING, Progress(done=3, of=4)), "3 of 4 cells"),
    (_view(Stage.REHEARSING, Progress(done=4, of=4)), "4 of 4 cells"),
    (_view(Stage.PLANNED), "waits for your confirmation"),
    (_view(Stage.IN_PROGRESS), "in the secure area"),
    (_view(Stage.IN_REVIEW), "output checkers"),
    (_view(Stage.RELEASED), "released"),
]


def test_the_bar_goes_forwards_through_the_journey():
    places = [place(view) for view, _ in JOURNEY]
    assert [p for p, _ in places] == sorted(p for p, _ in places)
    assert places[-1][0] == 100
    for (_, sentence), (_, said) in zip(places, JOURNEY, strict=True):
        assert said in sentence


@pytest.mark.parametrize("stage", [s for s in Stage if s is not Stage.REHEARSING])
def test_no_other_stage_tells_of_cells(stage):
    assert place(_view(stage, Progress(done=1, of=2))) == place(_view(stage))


def test_a_sandboxs_claim_is_kept_within_the_bar():
    assert place(_view(Stage.REHEARSING, Progress(done=0, of=0)))[0] <= 50
    with pytest.raises(ValueError):
        Progress(done=-1, of=3)


def test_the_bar_in_a_notebook_has_neither_script_nor_style():
    text = bar(_view(Stage.PLANNED))
    assert "tre confirm job-1" in text
    assert "<script" not in text
    assert "style" not in text


def test_blocks_are_shown_as_the_share_of_their_time_that_has_passed():
    moments = {"begins": "2026-01-01T00:01:40Z", "due": "2026-01-01T00:05:00Z"}
    view = JobView(**BASE, **moments, stage=Stage.IN_PROGRESS)
    zero = 1767225600  # the beginning of that year
    shown = [place(view, zero + s) for s in (0, 100, 200, 300, 400)]
    assert [said.split("%")[0].split()[-1] for _, said in shown] == ["0", "0", "50", "100", "100"]
    assert [p for p, _ in shown] == [65, 65, 70, 75, 75]
    assert "wait for their time" in shown[0][1]
    assert all("until 2026-01-01T00:05:00Z" in said for _, said in shown)
    assert place(JobView(**BASE, **moments, stage=Stage.RELEASED))[0] == 100
