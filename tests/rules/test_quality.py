"""Scores, levels, statements and seals as values: nothing unassessed counts, a statement takes no measurement, a seal no change."""

import inspect
import json
from datetime import date

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from tests.data.test_quality import DATASET
from tests.rules.test_page import Seen
from tre.errors import Conflict, VerificationFailed
from tre.rules import quality_statement, seal
from tre.rules.canonical import canonical_json
from tre.rules.policy import Area, Dataset, Policies, Population, check
from tre.rules.quality import Check, Counted, Dimension, Level, QualityPolicy, Report, Rule, level_of, score
from tre.rules.quality_statement import BY_INGEST, INSIDE, SINCE_CHANGED, Noised

RULE = {
    Dimension.COMPLETENESS: Rule.REQUIRED, Dimension.UNIQUENESS: Rule.UNIQUE, Dimension.CONSISTENCY: Rule.ROW_RULE,
    Dimension.TIMELINESS: Rule.PERIOD, Dimension.VALIDITY: Rule.ENUM, Dimension.ACCURACY: Rule.TOTAL,
}  # fmt: skip


def report(**broken):
    """One check of a hundred rows for each dimension that is named."""
    counts = tuple(
        Counted(check=Check(dimension=d, rule=RULE[d], subject=d.value, says="-"), broken=broken[d.value], of=100)
        for d in Dimension
        if d.value in broken
    )
    return Report(dataset="toy", version="1" * 16, schema_digest="0" * 64, rows=100, counts=counts)


LEVELS = {
    Level.BRONZE: {Dimension.VALIDITY: 0.9},
    Level.SILVER: {Dimension.VALIDITY: 0.95, Dimension.UNIQUENESS: 1.0},
    Level.GOLD: {Dimension.VALIDITY: 1.0, Dimension.ACCURACY: 1.0},
}


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (report(validity=0, uniqueness=0, accuracy=0), Level.GOLD),
        (report(validity=0, uniqueness=0), Level.SILVER),  # accuracy was not assessed
        (report(validity=0, uniqueness=0, accuracy=None), Level.SILVER),
        (report(validity=5, uniqueness=1), Level.BRONZE),
        (report(validity=0, uniqueness=1, accuracy=0), Level.BRONZE),  # what gold asks for, and not what silver does
        (report(validity=11, uniqueness=0, accuracy=0), None),
        (report(), None),
    ],
)
def test_a_level_is_reached_by_what_was_assessed_alone(found, level):
    assert level_of(found, LEVELS) is level


def test_a_score_is_that_of_the_worst_check():
    one, other = report(validity=0).counts[0], report(validity=40).counts[0]
    assert score([one] * 50 + [other]) == 0.6
    assert score([]) is None


@pytest.mark.parametrize(
    ("found", "levels", "level"),
    [
        (report(validity=5), LEVELS, Level.BRONZE),
        (report(validity=11), LEVELS, "refused"),
        (report(validity=0, accuracy=None), {}, None),
        (report(validity=1), {}, "refused"),
        (report(accuracy=None), {}, "refused"),
        (report(), {}, "refused"),
    ],
)
def test_a_seal_is_earned_or_refused(found, levels, level):
    policy = QualityPolicy(levels=levels)
    if level != "refused":
        assert seal.earned(found, policy) is level
        return
    with pytest.raises(Conflict) as caught:
        seal.earned(found, policy)
    assert caught.value.code == "seal_unearned"


def policies(**quality):
    declared = Dataset.model_validate({**DATASET, "quality": {**DATASET["quality"], **quality}})
    register = Dataset.model_validate(
        {
            **DATASET, "quality": {}, "primary_key": [],
            "fields": [{"name": "id", "type": "string", "constraints": {"required": True}}],
            "unit": {"field": "id", "max_rows": 1},
        }
    )  # fmt: skip
    return Policies(
        area=Area(title="Toy", controller="Tests"),
        populations={"p": Population(title="-", lifetime={"epsilon": 1, "delta": 1e-6})},
        datasets={"toy": declared, "register": register}, projects={}, people={},
    )  # fmt: skip


def told(noised=None, *, as_ingested=True, **quality):
    return quality_statement.statement(
        "toy", policies(**quality), version="1" * 16, came=date(2026, 1, 2), schema_digest="0" * 64, as_ingested=as_ingested,
        made=date(2026, 2, 3), noised=noised,
    )  # fmt: skip


def results(content):
    return {f"{c['of']}:{c['rule']}": c["result"] for found in content["dimensions"].values() for c in found}


def test_a_statement_is_no_function_of_a_measurement():
    functions = [f for _, f in inspect.getmembers(quality_statement, inspect.isfunction)]
    assert not [
        f.__name__ for f in functions if "Report" in str(inspect.signature(f)) or "Counted" in str(inspect.signature(f))
    ]
    assert not {"Report", "Counted"} & set(vars(quality_statement))


def test_without_noise_a_statement_has_no_number_of_rows():
    found = results(told())
    assert {r for n, r in found.items() if not n.startswith("version")} == {BY_INGEST, INSIDE}
    assert found["site:enum"] == BY_INGEST
    assert found["score:present"] == found["smokers-score:row_rule"] == found["rows:total"] == INSIDE
    assert found["version:refreshed"] == "this version came on 2026-01-02; the next is due by 2026-02-02"
    assert told()["noise"] is None


def test_what_was_declared_after_a_version_came_is_not_said_of_it():
    assert results(told(as_ingested=False))["site:enum"] == SINCE_CHANGED


def test_noisy_numbers_are_shown_with_their_error_and_never_below_nothing():
    noised = Noised(
        epsilon=0.5, delta=1e-6, units=1, sigma=10.0, z=1.96, rows=1000, most=3,
        counts={"score:present": -7, "smokers-score:row_rule": 250},
    )  # fmt: skip
    content = told(noised)
    assert results(content)["score:present"] == "about 0 of 1,000 rows (0.0%) without one, give or take 20"
    assert (
        results(content)["smokers-score:row_rule"]
        == "about 250 of 1,000 rows (25.0%) that do not keep it, give or take 20"
    )
    assert results(content)["rows:total"] == INSIDE
    seen = Seen(quality_statement.page_of(content))
    assert "epsilon 0.5" in " ".join(seen.texts)
    assert "Not assessed" not in " ".join(seen.texts)


def test_only_counts_of_a_persons_own_rows_are_noised():
    there = {"register"}
    names = {c.id for c in quality_statement.noisy_checks("toy", policies(), there)}
    assert {"smokers-score:row_rule", "seen:period", "person>register:foreign_key", "score:present"} <= names
    assert not [
        n for n in names if n.partition(":")[2] in ("primary_key", "unique", "total", "enum", "type", "refreshed")
    ]
    # Not ingested; of other people; or not by the person: then not.
    assert "person>register:foreign_key" not in {c.id for c in quality_statement.noisy_checks("toy", policies(), ())}
    other = policies(foreign_keys=[{"fields": ["code"], "dataset": "register", "references": ["id"]}])
    assert not [c for c in quality_statement.noisy_checks("toy", other, there) if c.rule is Rule.FOREIGN_KEY]
    moved = policies()
    register = moved.datasets["register"].model_copy(update={"population": "others"})
    moved = moved.model_copy(update={"datasets": {**moved.datasets, "register": register}})
    assert not [c for c in quality_statement.noisy_checks("toy", moved, there) if c.rule is Rule.FOREIGN_KEY]


@pytest.mark.parametrize(
    ("quality", "path"),
    [
        ({"foreign_keys": [{"fields": ["person"], "dataset": "gone", "references": ["id"]}]}, "foreign_keys"),
        ({"foreign_keys": [{"fields": ["person"], "dataset": "register", "references": ["name"]}]}, "foreign_keys"),
        ({"foreign_keys": [{"fields": ["visit"], "dataset": "register", "references": ["id"]}]}, "foreign_keys"),
        ({"period": {"field": "score", "first": 1, "last": 2}}, "period"),
        ({"period": {"field": "seen", "first": 1, "last": 2}}, "period"),
        ({"period": {"field": "visit", "first": 2, "last": 1}}, "period"),
    ],
)
def test_a_policy_that_leads_nowhere_is_refused(quality, path):
    assert [p.path[:2] for p in check(policies(**quality)) if "quality" in p.path] == [("quality", path)]


@pytest.mark.parametrize(
    "quality",
    [
        {"foreign_keys": [{"fields": ["a", "b"], "dataset": "x", "references": ["a"]}]},
        {"totals": [{"name": "t", "expected": 1}]},
        {"totals": [{"name": "t", "of": "rows", "sum": "1", "expected": 1}]},
        {"rules": [{"name": "t", "holds": "1"}], "totals": [{"name": "t", "of": "rows", "expected": 1}]},
        {"levels": {"platinum": {}}},
        {"levels": {"gold": {"speed": 1}}},
        {"epsilon": 0},
    ],
)
def test_a_policy_of_another_shape_is_refused(quality):
    with pytest.raises(ValidationError):
        QualityPolicy.model_validate(quality)


def signed(**changes):
    key = Ed25519PrivateKey.generate()
    content = {
        "seal": 1, "area": "Toy", "controller": "Tests", "dataset": "toy", "title": "-", "version": "1" * 16,
        "schema_digest": "0" * 64, "policy": "0" * 64, "issued": "2026-01-01", "until": "2026-12-31", "issued_by": "a" * 16,
        "level": "gold", "thresholds": {}, "checked": ["a:type"], "passed": ["a:type"], "not_assessed": [], **changes,
    }  # fmt: skip
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    return {"statement": content, "key": public, "signature": key.sign(seal.signed_bytes(content)).hex()}


def test_a_seal_is_good_until_its_last_day():
    content = canonical_json(signed())
    assert seal.read(content, today=date(2026, 12, 31)).statement.level is Level.GOLD
    with pytest.raises(VerificationFailed) as caught:
        seal.read(content, today=date(2027, 1, 1))
    assert caught.value.code == "seal_over"


def test_every_changed_byte_of_a_seal_is_found():
    content = canonical_json(signed())
    for place in range(len(content)):
        for other in {content[place] ^ 1, ord("0"), ord("}")} - {content[place]}:
            changed = content[:place] + bytes([other]) + content[place + 1 :]
            with pytest.raises(VerificationFailed):
                seal.read(changed, today=date(2026, 6, 1))


@pytest.mark.parametrize(
    "form",
    [lambda d: json.dumps(d).encode(), lambda d: b"", lambda d: b"[1]", lambda d: canonical_json({**d, "more": 1})],
)
def test_a_seal_of_another_form_is_none(form):
    with pytest.raises(VerificationFailed) as caught:
        seal.read(form(signed()), today=date(2026, 6, 1))
    assert caught.value.code == "seal_malformed"


def test_no_other_signature_of_the_area_passes_for_a_seal():
    from tre.rules import receipt

    key = Ed25519PrivateKey.generate()
    content = signed()["statement"]
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    borrowed = {"statement": content, "key": public, "signature": key.sign(receipt.signed_bytes(content)).hex()}
    with pytest.raises(VerificationFailed) as caught:
        seal.read(canonical_json(borrowed), today=date(2026, 6, 1))
    assert caught.value.code == "signature_wrong"
