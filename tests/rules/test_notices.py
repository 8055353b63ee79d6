"""The words of notices: of every kind some, and of an e-mail no more than a request and its state."""

import pytest

from tre.messages import Stage
from tre.rules.notices import Told, mail, where, words


@pytest.mark.parametrize("told", Told)
def test_every_notice_has_words_and_a_next_step(told):
    assert words(told, exception=False)
    assert where(told, "rel-1a2b3c4d")


def test_what_a_researcher_is_told_of_is_a_stage_of_the_desk():
    assert {t.value for t in Told} - {s.value for s in Stage} == {"waits"}
    assert {s for s in Stage if s.final} - {Stage(t) for t in Told if t != "waits"} == {Stage.WITHDRAWN}


@pytest.mark.parametrize(
    ("told", "said"), [(Told.RELEASED, "granted"), (Told.RETURNED, "not granted"), (Told.REJECTED, "refused")]
)
def test_a_decision_says_what_became_of_the_exception(told, said):
    assert said in words(told, exception=True)
    assert "exception" not in words(told, exception=False)


def test_a_mail_holds_a_request_and_its_state_alone():
    assert mail(Told.REHEARSAL_FAILED, "job-1a2b3c4d") == (
        "job-1a2b3c4d: rehearsal failed",
        "job-1a2b3c4d: rehearsal failed.\n\nLook at it in the research environment. Nothing else is told by e-mail.\n",
    )
