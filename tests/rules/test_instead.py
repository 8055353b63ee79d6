"""An estimate that looks like a declared statistic is said to; one that does not is left alone."""

import pytest

from tests.journey.conftest import notebook
from tre.rules.instead import CALLS, MODELS, hints
from tre.statistics import kinds

CASES = {
    'tre.estimate("m", df["age"].mean(), bounds=(0, 1), epsilon=1)': "mean",
    'tre.estimate(name="m", value=np.median(df["age"]), bounds=(0, 1), epsilon=1)': "quantile",
    'x = float(df["age"].sum())\ntre.estimate("m", df["age"].sum(), bounds=(0, 1), epsilon=1)': "sum",
    'fit = sm.OLS(y, x).fit()\nb = fit.params["age"]\ntre.estimate("m", b, bounds=(0, 1), epsilon=1)': "linear_model",
    'tre.estimate("m", smf.logit("a ~ b", df).fit().params["b"], bounds=(0, 1), epsilon=1)': "logistic_model",
    'k = KaplanMeierFitter().fit(t, e)\ntre.estimate("m", k.predict(5), bounds=(0, 1), epsilon=1)': "survival",
    'm = df["a"].mean()\ntre.estimate("m", m, bounds=(0, 1), epsilon=1)': "mean",
    'm = df["a"].mean()\ntre.estimate("m", m / df["b"].median(), bounds=(0, 1), epsilon=1)': None,
    'tre.estimate("m", gini(df), bounds=(0, 1), epsilon=1)': None,
    'x = x\ntre.estimate("m", x, bounds=(0, 1), epsilon=1)': None,
    'tre.estimate("m")': None,
    "%matplotlib inline": None,
}


@pytest.mark.parametrize("source", CASES)
def test_what_is_said_of_a_cell(source):
    said = hints(notebook(source).encode())
    assert len(said) == (CASES[source] is not None)
    assert all(f"'m' looks like the declared statistic {CASES[source]}:" in s for s in said)


def test_what_is_named_exists():
    models = [m for m in vars(kinds).values() if isinstance(m, type) and "kind" in getattr(m, "model_fields", {})]
    assert {*CALLS.values(), *MODELS.values()} <= {m.model_fields["kind"].default for m in models}
