"""The disclosure record of a release: by which rules and thresholds it was checked, what they said, who decided, for what.

Guarantees: made of policies in force and of what the signed receipt says already; a finding is told as `Finding.told`
tells it, each once, so that no value, place or number of findings of real rows is in it. People are the receipt's keyed
identifiers. When a checker voted is not told: it would tell when a run on real rows had ended; the release's moment is.
Source: SATRE, statement 3.3.09 (a machine-readable record of the criteria, bound to the package and retained).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tre.rules.disclosure.finding import VOCABULARY, Finding, Rule, Verdict
from tre.rules.policy import Disclosure, Policies

NAME = "disclosure-record.json"
NOISE, AS_IS = "differential privacy", "rules and two output checkers"

# What each rule looks for, and by which thresholds of the policy.
LOOKED_FOR: Mapping[Rule, tuple[str, tuple[str, ...]]] = {
    Rule.THRESHOLD: ("cells of too few people", ("threshold",)),
    Rule.DOMINANCE: ("cells that a few people make up nearly alone", ("dominance_n", "dominance_k")),
    Rule.P_PERCENT: ("cells whose largest part can be told closely from the rest", ("p_percent",)),
    Rule.DEGREES_OF_FREEDOM: ("models and spreads of too few observations", ("degrees_of_freedom",)),
    Rule.ZEROS: ("cells of nobody", ("zeros",)),
    Rule.CLASS: ("groups that are all in one class", ()),
    Rule.MISSING: ("a few people without a value", ("missing", "threshold")),
    Rule.ROUNDING: ("counts that are not rounded", ("round_to",)),
    Rule.EXTREME: ("minima, maxima and exact quantiles", ()),
    Rule.TOTALS: ("totals that tell what is not shown", ("threshold",)),
    Rule.LINKED: ("differences of tables of one request", ("threshold",)),
    Rule.DIFFERENCING: ("differences with all that was released before from the same dataset", ("threshold",)),
    Rule.IDENTIFIER: ("identifiers", ()),
    Rule.ROWS: ("lists of people", ()),
    Rule.SIZE: ("tables that are too long", ("max_rows",)),
    Rule.HIDDEN: ("what a reader would not see", ()),
    Rule.CONTEXT: ("words that say what an output is", ()),
    Rule.UNDERLYING: ("the numbers behind pictures, means and shares", ("threshold",)),
    Rule.CLAIM: ("numbers of a model that do not fit together", ()),
    Rule.UNCHECKED: ("what no rule can judge", ()),
    Rule.KIND: ("kinds of output", ()),
    Rule.PRESENCE: ("outputs that are not there", ()),
}


def told(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """As a receipt says them: each rule, term and verdict once. How often a rule spoke is learnt from rows."""
    said = {tuple(sorted(f.told().items())) for f in findings}
    return [dict(s) for s in sorted(said)]


def record(
    statement: Mapping[str, Any], policies: Policies, limits: Disclosure, applied: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Of a receipt's statement. `limits`: of area and project, the stricter; `applied`: what was suppressed or rounded, by output."""
    project = policies.projects[statement["project"]]
    return {
        "version": 1,
        "release": statement["release"],
        "decided": statement["released"],
        "purpose": {
            "project": statement["project"], "title": project.title, "purpose": project.purpose,
            "public_benefit": project.public_benefit, "legal_basis": project.legal_basis, "agreement": project.agreement,
        },
        "criteria": {
            "policy": statement["policy"],
            "thresholds": limits.model_dump(mode="json"),
            "rules": [_rule(rule, limits) for rule in Rule],
            "vocabulary": VOCABULARY,
            "people": _people(policies, statement),
            "noise": _noise(policies, statement),
        },
        "tools": dict(statement["software"]),
        "outputs": [_output(o, applied.get(o["name"], {})) for o in statement["outputs"]],
        "statistics": [_statistic(s) for s in (*statement["statistics"], *statement.get("estimates", ()))],
        "decision": {"how": statement["decision"], "by": list(statement["decided_by"])},
    }  # fmt: skip


def _rule(rule: Rule, limits: Disclosure) -> dict[str, Any]:
    words, names = LOOKED_FOR[rule]
    values = limits.model_dump(mode="json")
    return {"rule": rule.value, "looks_for": words, "thresholds": {name: values[name] for name in names}}


def _people(policies: Policies, statement: Mapping[str, Any]) -> dict[str, Any]:
    mine = policies.projects[statement["project"]].automatic_epsilon
    return {
        "checkers": policies.area.review.checkers,
        "automatic_epsilon": policies.area.review.automatic_epsilon if mine is None else mine,
    }


def _noise(policies: Policies, statement: Mapping[str, Any]) -> dict[str, Any]:
    """The risk that is accepted of each population concerned: over all time, and by this project."""
    names = sorted({s["population"] for s in (*statement["statistics"], *statement.get("estimates", ()))})
    allowances = policies.projects[statement["project"]].allowances
    return {
        name: {
            "measure": policies.populations[name].measure.value,
            "lifetime": policies.populations[name].lifetime.model_dump(),
            "project": allowances[name].model_dump() if name in allowances else None,
        }
        for name in names
    }


def _output(output: Mapping[str, Any], applied: Mapping[str, Any]) -> dict[str, Any]:
    findings: Sequence[Mapping[str, str]] = output["findings"]
    verdicts = [Verdict(f["verdict"]) for f in findings]
    return {
        "name": output["name"],
        "kind": output["kind"],
        "sha256": output["sha256"],
        "protected_by": AS_IS,
        "applied": dict(applied),
        "verdict": max(verdicts, key=lambda v: v.rank, default=Verdict.REVIEW).value,
        "findings": list(findings),
    }


def _statistic(statistic: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("name", "population", "state", "charged_rho", "charged_epsilon", "delta", "guarantee")
    return {"protected_by": NOISE} | {k: statistic[k] for k in kept}
