"""A receipt's page: whatever a signed statement holds, a page comes of it, and all of it is text."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.test_page import ALLOWED, Seen
from tre.rules.canonical import canonical_json
from tre.rules.receipt_page import page_of

KEYS = st.sampled_from(
    ["release", "statistics", "outputs", "findings", "rule", "verdict", "datasets", "decided_by", "criteria", "rules", "noise", "key"]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from(["pass", "fail", "</p><script>x()</script>", ""])
)
SHAPES = st.recursive(LEAVES, lambda s: st.lists(s, max_size=3) | st.dictionaries(KEYS, s, max_size=4), max_leaves=30)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, SHAPES, max_size=8), SHAPES, st.booleans())
def test_whatever_shape_is_signed_gives_a_page_of_text(statement, record, known):
    files = {"receipt.json": b"", "disclosure-record.json": canonical_json(record), "plan.json": b"no json"}
    seen = Seen(page_of(files, statement, key_known=known))
    assert set(seen.tags) <= ALLOWED
    assert "script" not in seen.tags
    assert ("Anybody can sign" in "".join(seen.texts)) is not known
