"""`tre.output` at a desk: what may be proposed, what is refused at once, and what the rules say of it on the twin."""

import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars
import pytest

from tests.statistics.conftest import SCHEMA, write_rows
from tests.statistics.test_declared import ROWS
from tre.errors import RequestError
from tre.messages import DatasetInfo, OutputKind
from tre.rules.disclosure.finding import Rule, Verdict
from tre.rules.policy import Disclosure
from tre.rules.schema import SyntheticLabel

CONTEXT = "Adults of the toy study by sex, to compare men and women"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A desk whose twin of `toy` is the statistics' own table."""
    import tre
    from tre.desk import workspace
    from tre.desk.store import Store

    label = SyntheticLabel(tier="valid", made="today", generator="-", epsilon=None, delta=None, learnt="nothing")
    info = DatasetInfo(
        id="toy", title="Toy", description="", source="", licence="", steward="", population="toys", version="1",
        delta=1e-6, columns=("sex", "site", "age", "cost", "free"), table=SCHEMA, twin=label,
        disclosure=Disclosure(threshold=12, round_to=5),
    )  # fmt: skip
    monkeypatch.setenv("TRE_HOME", str(tmp_path / "desk"))
    monkeypatch.delenv("TRE_URL", raising=False)
    Store(tmp_path / "desk").save_twin(info, write_rows(tmp_path / "rows.parquet", ROWS).read_bytes())
    workspace.current.cache_clear()
    yield tre.dataset("toy")
    workspace.current.cache_clear()


def _bad(output):
    return {f.rule: f.verdict for f in output.findings if f.verdict is not Verdict.PASS}


def test_a_declared_table_shows_what_would_be_returned_and_one_call_mends_it(toy):
    import tre

    table = toy.where("age >= 70").group_by("sex", "site").table(n=tre.count_people(), totals=True)
    shown = tre.output("t", table, context=CONTEXT)
    assert _bad(shown)[Rule.THRESHOLD] is Verdict.FAIL
    assert _bad(shown)[Rule.ROUNDING] is Verdict.FAIL
    assert "SYNTHETIC" in repr(shown)
    assert ".suppress()" in shown._repr_html_()
    mended = tre.output("t2", table.suppress().round(), context=CONTEXT)
    assert not {Rule.THRESHOLD, Rule.ROUNDING} & set(_bad(mended))
    assert "suppressed" in mended.content.decode()
    noisy = toy.group_by("sex").table(n=tre.count_people()).noise("t3", epsilon=1.0)
    assert "SYNTHETIC" in repr(noisy)


def test_frames_of_pandas_and_polars_and_models_and_texts_are_proposed(toy):
    import statsmodels.api as sm

    import tre

    frame = pd.DataFrame({"sex": ["f", "m"], "n": [200, 205]})
    for thing in (frame, polars.DataFrame(frame.to_dict("list")), frame.set_index("sex")["n"]):
        assert set(_bad(tre.output("t", thing, context=CONTEXT))) == {Rule.UNCHECKED}
    x = np.arange(50.0)
    fitted = sm.OLS(x + np.sin(x), sm.add_constant(pd.DataFrame({"age": x}))).fit()
    model = tre.output("m", fitted, context=CONTEXT)
    assert (model.kind, set(_bad(model))) == (OutputKind.MODEL, {Rule.UNCHECKED})
    assert {t["name"] for t in json.loads(model.content)["terms"]} == {"const", "age"}
    logit = sm.Logit((x % 3 > 1).astype(float), sm.add_constant(pd.DataFrame({"age": x}))).fit(disp=0)
    assert json.loads(tre.output("l", logit, context=CONTEXT).content)["residual_degrees"] == 48
    text = tre.output("w", "We asked 4 patients.", context=CONTEXT)
    assert _bad(text)[Rule.THRESHOLD] is Verdict.FAIL


def test_a_picture_without_its_numbers_is_told_so(toy):
    import tre

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.plot([1, 2])
    assert Rule.UNDERLYING in _bad(tre.output("p", figure, context=CONTEXT))
    assert Rule.UNDERLYING not in _bad(tre.output("p", axes, context=CONTEXT, data="t"))
    plt.close(figure)


@pytest.mark.parametrize(
    ("thing", "code"),
    [
        (pd.DataFrame({"person": [1, 2], "n": [20, 30]}), "output_identifier"),
        (pd.DataFrame({"sex": list("fm") * 50, "age": [30, 40] * 50, "cost": [1.5] * 100}), "output_rows"),
        (pd.DataFrame({"band": [f"b{i}" for i in range(600)], "n": [50] * 600}), "output_rows"),
        (b"bytes", "output_kind"),
        ({"a": 1}, "output_kind"),
    ],
)
def test_identifiers_rows_and_what_is_no_output_are_refused_at_once(toy, thing, code):
    import tre

    with pytest.raises(RequestError) as refused:
        tre.output("t", thing, context=CONTEXT)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("t.csv", b"PK\x03\x04 a workbook", "output_kind"),
        ("t.csv", b"\x89PNG\r\n\x1a\n", "output_kind"),
        ("t.png", b"sex,n\nf,200\n", "output_kind"),
        ("t.txt", b"a\0b", "output_kind"),
        ("t.xlsx", b"PK", "output_kind"),
        ("gone.csv", None, "output_missing"),
    ],
)
def test_a_file_is_what_its_first_bytes_say(toy, tmp_path, name, content, code):
    import tre

    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError) as refused:
        tre.output("t", tmp_path / name, context=CONTEXT)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("context", "verdict"),
    [("t", Verdict.FAIL), ("TODO", Verdict.FAIL), ("some numbers", Verdict.REVIEW), (CONTEXT, Verdict.PASS)],
)
def test_a_context_that_says_nothing_is_told_so_before_people_must(toy, context, verdict):
    import tre

    shown = tre.output("t", "All is well.", context=context)
    assert next(f.verdict for f in shown.findings if f.rule is Rule.CONTEXT) is verdict


def test_what_an_acro_session_left_is_proposed_file_by_file_with_its_word_as_a_claim(toy, tmp_path):
    import tre

    result = {
        "uid": "output_0", "status": "pass", "files": [{"name": "output_0_0.csv"}], "comments": ["visits"],
        "summary": "pass", "command": "-", "exception": None,
    }  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps({"version": "1.0.2", "results": {"output_0": result}}))
    (tmp_path / "output_0_0.csv").write_text("sex,n\nf,200\nm,3\n")
    (one,) = tre.acro_outputs(tmp_path, context=CONTEXT)
    assert one.name == "output_0"
    assert _bad(one)[Rule.THRESHOLD] is Verdict.FAIL  # whatever ACRO's file says
    with pytest.raises(RequestError) as refused:
        tre.acro_outputs(tmp_path / "nowhere", context=CONTEXT)
    assert refused.value.code == "acro_missing"
