"""Row expressions: a table of what is in the language against DuckDB's own answer, and a table of what is not."""

import math

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.errors import RequestError
from tre.statistics.expression import Kind, compile_expression

SCOPE = {"age": Kind.NUMBER, "n": Kind.NUMBER, "sex": Kind.TEXT, "ill": Kind.BOOLEAN, "born": Kind.DATE}
ROWS = """(VALUES
    (1, 17.5::DOUBLE, 0::BIGINT, 'f', TRUE, DATE '1980-02-29'),
    (2, 40, 3, 'm', FALSE, DATE '2001-12-31'),
    (3, NULL, NULL, NULL, NULL, NULL),
    (4, -1, 9007199254740992, '', TRUE, DATE '1999-01-01'),
    (5, 'NaN'::DOUBLE, -7, 'it''s', FALSE, DATE '0001-01-01')
) t(i, age, n, sex, ill, born)"""

# expression → the five answers
LANGUAGE = [
    ("age >= 18", [False, True, None, False, None]),
    ("age >= 18 AND sex = 'm'", [False, True, None, False, False]),
    ("age > 18 OR ill", [True, True, None, True, None]),
    ("NOT ill", [False, True, None, False, True]),
    ("sex IN ('f', 'm')", [True, True, None, False, False]),
    ("sex NOT IN ('f', 'm')", [False, False, None, True, True]),
    ("n IN (-7, 3)", [False, True, None, False, True]),
    ("n BETWEEN 0 AND 5", [True, True, None, False, False]),
    ("sex LIKE 'i%'", [False, False, None, False, True]),
    ("sex NOT LIKE 'i%'", [True, True, None, True, False]),
    ("n NOT BETWEEN 0 AND 5", [False, False, None, True, True]),
    ("LOG(n)", [None, math.log10(3), None, math.log10(2**53), None]),
    ("sex IS NULL", [False, False, True, False, False]),
    ("sex IS NOT NULL", [True, True, False, True, True]),
    ("age IS NULL", [False, False, True, False, True]),  # NaN is a missing value
    ("born >= '1999-01-01'", [False, True, None, True, False]),
    ("YEAR(born)", [1980, 2001, None, 1999, 1]),
    ("EXTRACT(month FROM born)", [2, 12, None, 1, 1]),
    ("n + 1", [1, 4, None, 9007199254740992, -6]),
    ("n * 2 - 1", [-1, 5, None, 18014398509481984, -15]),
    ("10 / n", [None, 10 / 3, None, 10 / 9007199254740992, 10 / -7]),
    ("n % 2", [0, 1, None, 0, -1]),
    ("-n", [0, -3, None, -9007199254740992, 7]),
    ("ABS(n)", [0, 3, None, 9007199254740992, 7]),
    ("ROUND(age)", [18, 40, None, -1, None]),
    ("ROUND(10 / n, 2)", [None, 3.33, None, 0, -1.43]),
    ("FLOOR(age)", [17, 40, None, -1, None]),
    ("CEIL(age)", [18, 40, None, -1, None]),
    ("LEAST(n, 5)", [0, 3, 5, 5, -7]),
    ("GREATEST(n, 0)", [0, 3, 0, 9007199254740992, 0]),
    ("LN(n)", [None, math.log(3), None, math.log(2**53), None]),
    ("SQRT(n)", [0, math.sqrt(3), None, 2**26.5, None]),
    ("POWER(n, 200)", [0, 3.0**200, None, None, 7.0**200]),
    ("EXP(n)", [1, math.exp(3), None, None, math.exp(-7)]),
    ("COALESCE(n, 0)", [0, 3, 0, 9007199254740992, -7]),
    ("NULLIF(n, 3)", [0, None, None, 9007199254740992, -7]),
    ("COALESCE(sex, 'unknown')", ["f", "m", "unknown", "", "it's"]),
    ("UPPER(sex)", ["F", "M", None, "", "IT'S"]),
    ("LENGTH(sex)", [1, 1, None, 0, 4]),
    ("CAST(sex AS INTEGER)", [None, None, None, None, None]),
    ("TRY_CAST(n AS TEXT)", ["0", "3", None, "9007199254740992", "-7"]),
    ("CAST(age AS INTEGER)", [17, 40, None, -1, None]),
    ("CASE WHEN age < 40 THEN 'under' ELSE 'over' END", ["under", "over", "over", "under", "over"]),
    ("CASE WHEN n = 0 THEN 1 WHEN n > 0 THEN 10 / n END", [1, 10 / 3, None, 10 / 2**53, None]),
    ("CASE sex WHEN 'f' THEN 1 WHEN '' THEN 2 END", [1, None, None, 2, None]),
    ("TRIM(sex)", ["f", "m", None, "", "it's"]),
    ("SUBSTR(sex, 1, 2)", ["f", "m", None, "", "it"]),
    ("CONCAT(sex, '-', sex)", ["f-f", "m-m", "-", "-", "it's-it's"]),
    ("sex || '!'", ["f!", "m!", None, "!", "it's!"]),
    ("DATE_DIFF('year', born, '2020-06-30')", [40, 19, None, 21, 2019]),
    ("DATE_DIFF('day', '1999-01-01', born)", [-6881, 1095, None, 0, -729754]),
    ("sex = 'it''s'", [False, False, None, False, True]),
]

REFUSED = [
    "COUNT(*)", "SUM(age)", "age > (SELECT 1)", "ROW_NUMBER() OVER ()", "RANDOM() > 0.5", "age; DROP TABLE rows",
    "read_text('/etc/passwd')", "sex || pg_read_file('x')", "age IN (SELECT age FROM rows)", "t.age > 1", "rows.age",
    "CASE sex WHEN 1 THEN 1 END", "SUBSTR(sex, n, 1)", "SUBSTR(sex, 1, 99999999)", "DATE_DIFF('second', born, born)", "TRIM(BOTH 'x' FROM sex)", "sex + 1", "age = 'f'", "ill + 1", "age LIKE '1%'", "sex LIKE sex", "now()",
    "CURRENT_DATE", "age::BLOB", "getenv('HOME')", "[1, 2]", "{'a': 1}", "x -> x + 1", "age IS TRUE", "$1", "?",
    "SELECT 1", "1e999", "", "age >", "'" * 3, "age" + " + age" * 300, "(" * 60 + "age" + ")" * 60, "NOT " * 60 + "ill",
    "n BETWEEN SYMMETRIC 5 AND 0", "FLOOR(n, 2)", "ROUND(n, 1, 2)", "LENGTH(sex, 'x')", "CAST(n AS DECIMAL(3, 1))",
    "sex LIKE 'a' ESCAPE '!'", "sex ILIKE 'a'", "n <> ALL (1)", "ABS(DISTINCT n)", "n IS DISTINCT FROM 1", "0x1F",
    "sex = E'a'", "n // 2", "CAST(sex AS INTEGER FORMAT 'x')", "COALESCE(n IGNORE NULLS, 1)", "LOG(2, n)",
    "regexp_matches(sex, '(a+)+$')", "LIST(age)", "ANY_VALUE(age)", "age COLLATE nocase", "*", "hash(sex)",
]  # fmt: skip


def _evaluate(text):
    compiled = compile_expression(text, SCOPE)
    return [r[0] for r in duckdb.connect().execute(f"SELECT {compiled.sql} FROM {ROWS} ORDER BY i").fetchall()]


@pytest.mark.parametrize(("text", "expected"), LANGUAGE, ids=[t for t, _ in LANGUAGE])
def test_what_is_in_the_language_means_this(text, expected):
    for found, wanted in zip(_evaluate(text), expected, strict=True):
        assert found == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_in_the_language_is_refused_with_a_code(text):
    with pytest.raises(RequestError) as refused:
        compile_expression(text, SCOPE)
    assert refused.value.code in ("expression_refused", "column_unknown")


def test_a_nested_expression_is_compiled_once():
    """Thirty NOTs take thirty steps, not two to the power of thirty."""
    assert compile_expression("NOT " * 30 + "ill", SCOPE).sql.count("NOT") == 30


def test_a_short_expression_does_not_grow_without_end():
    """Each comparison names its sides twice; twenty inside each other would be a million of them."""
    text = "age"
    for _ in range(20):
        text = f"abs(CASE WHEN {text} > 1 THEN 1 ELSE 2 END)"
    with pytest.raises(RequestError, match="nested too deeply"):
        compile_expression(text, SCOPE)
    text = "age"
    for _ in range(18):
        text = f"(CASE {text} WHEN 1 THEN 2 WHEN 2 THEN 3 WHEN 3 THEN 1 END)"
    with pytest.raises(RequestError, match="nested too deeply"):
        compile_expression(text, SCOPE)


def test_an_unknown_column_is_named_beside_those_there_are():
    with pytest.raises(RequestError, match="'wage'.*age, born, ill, n, sex"):
        compile_expression("wage > 1", SCOPE)


numbers = st.sampled_from(["age", "n", "0", "1", "2.5", "1e300", "-3"])
arithmetic = st.recursive(
    numbers,
    lambda x: (
        st.builds("({} {} {})".format, x, st.sampled_from("+-*/%"), x)
        | st.builds("{}({})".format, st.sampled_from(["SQRT", "LN", "LOG", "EXP", "ABS", "FLOOR", "ROUND"]), x)
        | st.builds("POWER({}, {})".format, x, x)
        | st.builds("CASE WHEN {} > {} THEN {} END".format, x, x, x)
    ),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(arithmetic)
def test_no_expression_can_fail_on_a_value_and_none_gives_nan(text):
    assert all(v is None or math.isfinite(v) for v in _evaluate(text))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_at_all_does_anything_but_compile_or_be_refused(text):
    try:
        compile_expression(text, SCOPE)
    except RequestError:
        pass
