"""Requests that need more than a single table, by the commands and the notebook of a researcher, against a real gateway."""

import json

import pytest

from .conftest import Area, notebook
from .test_journey import replay

pytestmark = pytest.mark.slow

ADAPTIVE = """import tre
toy = tre.dataset("toy")
first = toy.release("first", epsilon=2.0, p90=tre.quantile("visits", 0.9))
toy.group_by("sex", "year").release(
    "second", epsilon=1.0, rows=tre.count(margins=True), mean=tre.mean("visits", bounds=(0, first.value("p90")), by="sex"))"""
FOUND = """import tre
tre.dataset("toy").derive(band="CASE WHEN age < 40 THEN 'under 40' ELSE '40 plus' END").group_by(
    band=tre.found(1e-8)).release("by-band", epsilon=2.0, n=tre.count())"""


def _released(area, text, folder, expect=0):
    path = folder / "analysis.ipynb"
    path.write_text(notebook(text))
    job, error = area.desk("submit", path, "--project", "visits", "--yes", "--wait", expect=expect)
    if expect:
        return job, error, path
    area.desk("fetch", job["release"], folder / "release")
    area.desk("twin", "toy")
    values = json.loads((folder / "release" / "values.json").read_text())["released"]
    return job, {r["name"]: r["table"] for r in values}, path


def test_a_bound_that_is_an_earlier_released_value_is_the_released_one(area, tmp_path):
    _, tables, path = _released(area, ADAPTIVE, tmp_path)
    (p90,) = (c["value"] for c in tables["first"]["cells"] if c["statistic"] == "p90")
    (bounds,) = (m["bounds"] for m in tables["second"]["mechanisms"] if m["column"] == "visits" and m["bounds"])
    assert bounds == [[0.0, p90]]
    assert 5 <= p90 <= 9  # of the real rows; the twin's is another
    sums = {tuple(c["keys"]): c["value"] for c in tables["second"]["cells"] if c["statistic"] == "rows"}
    assert sums["f", 1] + sums["f", 2] + sums["m", 1] + sums["m", 2] == pytest.approx(sums[()])
    assert "RELEASED" in replay(path, area.root / "desk-ada", tmp_path)

    again, _ = area.desk("submit", path, "--project", "visits", "--yes", "--wait")
    assert [r["replayed"] for r in again["plan"]["requests"]] == [True, True]


def test_a_bound_that_no_earlier_release_has_is_refused_at_the_rehearsal(area, tmp_path):
    """As a sandbox that writes its own list could: a reference to nothing."""
    forged = ADAPTIVE.split("toy.group_by", maxsplit=1)[0].replace('first = toy.release("first"', 'first = toy.price(').replace(
        '"first", ', "").replace("price(,", "price(") + (
        'import pydantic\nfrom tre.statistics.kinds import Reference, Mean\n'
        'toy.release("second", epsilon=1.0, m=Mean(column="visits", bounds=(0, Reference(request="0" * 64, statistic="p90"))))'
    )  # fmt: skip
    path = tmp_path / "forged.ipynb"
    path.write_text(notebook(forged))
    _, error = area.desk("rehearse", path, "--project", "visits", expect=1)
    assert "reference_unknown" in error


def test_two_rehearsals_of_one_notebook_make_one_plan(area, tmp_path):
    path = tmp_path / "twice.ipynb"
    path.write_text(notebook(ADAPTIVE.replace("epsilon=1.0", "epsilon=0.3")))
    plans = [area.desk("rehearse", path, "--project", "visits")[0]["plan_digest"] for _ in range(2)]
    assert plans[0] == plans[1]


def test_keys_found_in_the_data_are_charged_their_delta_or_refused(area, tmp_path):
    before = area.ledger()
    _, error, _ = _released(area, FOUND, tmp_path, expect=1)
    assert "[keys_delta_exceeded]" in error
    assert area.ledger() == before

    loss = {"epsilon": 6, "delta": 1e-6, "keys_delta": 1.5e-8}
    given = {"allowances": {"toy-people": loss}}
    more = Area(
        tmp_path / "more", population={"lifetime": loss | {"epsilon": 40}}, visits=given, others=given
    ).start()  # fmt: skip
    try:
        _, tables, _ = _released(more, FOUND, tmp_path)
        assert {c["keys"][0] for c in tables["by-band"]["cells"]} == {"under 40", "40 plus"}
        _, error, _ = _released(more, FOUND.replace("2.0", "1.0"), tmp_path, expect=1)
        assert "[keys_delta_exceeded]" in error  # one fitted, two do not
    finally:
        more.stop()


def test_a_population_kept_in_pure_epsilon_gets_laplace_noise_for_it(tmp_path):
    pure = {"epsilon": 6, "delta": 0}
    given = {"allowances": {"toy-people": pure}}
    area = Area(
        tmp_path / "pure", population={"measure": "pure", "lifetime": pure | {"epsilon": 40}}, visits=given, others=given,
        toy={"twin": {"tier": "valid", "rows": 200}},
    ).start()  # fmt: skip
    try:
        ask = "import tre\ntre.dataset('toy').group_by('sex').release('n', epsilon=1.0, n=tre.count(), q=tre.median('age'))"
        job, tables, _ = _released(area, ask, tmp_path)
        assert job["plan"]["requests"][0]["measure"] == "pure"
        assert {m["mechanism"] for m in tables["n"]["mechanisms"]} == {"discrete laplace", "noisy minimum"}
        spent = area.desk("budget", "--project", "visits")[0][0]
        assert spent["used_units"] == 10**12
    finally:
        area.stop()


def test_two_datasets_of_one_person_are_linked_and_released(tmp_path):
    columns = ["year", "sex", "age", "visits"]
    area = Area(tmp_path / "linked", visits={"datasets": {"toy": columns, "other": columns}}).start()
    ask = """import tre
pairs = tre.dataset("toy").link(tre.dataset("other"))
print(pairs.to_pandas().shape)
pairs.group_by("sex").release("pairs", epsilon=3.0, n=tre.count(), both=tre.sum("other_visits"))"""
    try:
        job, tables, path = _released(area, ask, tmp_path)
        counts = [c for c in tables["pairs"]["cells"] if c["statistic"] == "n"]
        for cell in counts:  # 200 people of each sex, with two rows in both: four pairs
            assert abs(cell["value"] - 800) < 4 * cell["error"]
        area.desk("twin", "other")
        assert "RELEASED" in replay(path, area.root / "desk-ada", tmp_path)
        again, _ = area.desk("submit", path, "--project", "visits", "--yes", "--wait")
        assert [r["replayed"] for r in again["plan"]["requests"]] == [True]
        assert job["plan"]["datasets"].keys() == {"toy", "other"}
    finally:
        area.stop()
