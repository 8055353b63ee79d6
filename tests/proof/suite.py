"""The checks that the guarantee is tested with: each takes the code as it is and raises AssertionError when it does not hold.

They are functions, and no tests, so that tests/proof/test_planted.py can run them on code with a fault in it and see them
fail. False-alarm rates are stated at each.

- `audit`: a lower bound on rho by the replicate strata of one release: the public groups of a request are thousands of
  small worlds, D' has one person more in each of them, so one release is as many draws. The bound is the Rényi
  divergence of one event (chosen on half of the draws, counted on the others, Clopper-Pearson at 99.9 %) over its order:
  data processing alone, no assumption about the noise (Bun, Steinke 2016, Lemma 2.2).
- `calibrate`: the noise in each vector has the variance that the mechanism says.
- `independent`: two releases' noise has nothing in common.
- `brute_force`: no person changes a vector by more than its declared sensitivity, and somebody by just that.
- `same_shape`: what an answer looks like is the same whatever the rows are.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import beta

from tre.rules.accounting import epsilon_of
from tre.rules.schema import TableSchema
from tre.statistics import aggregate, prepare, result
from tre.statistics.components import Measure
from tre.statistics.quantiles import scores
from tre.statistics.request import parse

DELTA = 1e-6
CONFIDENCE = 0.999
ROWS = 3
STRATA = 4000
# Rényi divergences at these orders; the best is taken.
ORDERS = np.exp(np.linspace(math.log(1.01), math.log(50), 60))


def schema(strata=STRATA, rows=ROWS):
    return TableSchema.model_validate(
        {
            "fields": [
                {"name": "person", "type": "integer", "constraints": {"required": True}},
                {"name": "stratum", "type": "integer", "constraints": {"required": True, "enum": list(range(strata))}},
                {"name": "sex", "type": "string", "constraints": {"required": True, "enum": ["f", "m"]}},
                {"name": "age", "type": "integer", "constraints": {"required": True, "minimum": 0, "maximum": 100}},
                {"name": "cost", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}, "step": 0.5},
                {"name": "ill", "type": "boolean"},
            ],
            "unit": {"field": "person", "max_rows": rows},
        }
    )


# The people of a stratum, each a list of rows (sex, age, cost, ill).
QUIET = [[("f", 40, 10.0, False)], [("m", 60, 12.0, True), ("m", 61, 11.0, None)]]
# Who is added: chosen to hurt.
HURTING = {
    "all rows at the upper bound": [("f", 100, 1e9, True)] * 5,
    "all rows at the lower bound": [("m", 0, -1e9, False)] * 5,
    "alone with missing values": [("f", 50, None, None)] * 5,
    "spread over groups": [("f", 0, 1000.0, True), ("m", 100, 0.0, False), ("f", 100, float("nan"), True)],
}


def write(path, strata, *people):
    """A world with these people in every stratum."""
    return _written(path, [[(stratum, row) for row in mine] for stratum in range(strata) for mine in people])


def _written(path, people):
    """People as lists of (stratum, row)."""
    rows = [
        (person, order, stratum, *row)
        for person, mine in enumerate(people)
        for order, (stratum, row) in enumerate(mine)
    ]
    types = {
        "tre_person": pa.int64(), "tre_order": pa.int32(), "stratum": pa.int64(), "sex": pa.string(), "age": pa.int64(),
        "cost": pa.float64(), "ill": pa.bool_(),
    }  # fmt: skip
    columns = list(zip(*rows, strict=True)) if rows else [[]] * len(types)
    arrays = [pa.array(c, type=t) for c, t in zip(columns, types.values(), strict=True)]
    pq.write_table(pa.table([*arrays, arrays[0]], names=[*types, "person"]), path)
    return path


def prepared(statistic, *, rho, strata=STRATA, rows=ROWS, pure=False, **more):
    """The statistic by stratum, at this loss."""
    delta = 0.0 if pure else DELTA
    epsilon = rho if pure else epsilon_of(round(rho * 1e12), DELTA)
    content = {
        "dataset": "strata", "statistics": {"s": statistic}, "epsilon": epsilon, "group_by": [{"column": "stratum"}],
    }  # fmt: skip
    return prepare.prepare(parse(content | more), schema(strata, rows), delta=delta)


def vectors(path, made):
    with aggregate.open_rows(path) as connection:
        return aggregate.exact(connection, made)


def cells(statistic):
    """How many numbers of a stratum a statistic measures at once."""
    return max(int(statistic.get("bins", 1)) * (2 if statistic["kind"] == "survival" else 1), 1)


# The audit


@dataclass(frozen=True)
class Bound:
    rho: float  # a lower bound, at 99.8 % confidence
    claimed: float


def audit(folder, statistic, added, *, rho=2.0, base=QUIET, strata=STRATA, rows=ROWS, **more):
    """A lower bound on rho (on epsilon where pure); raises where it is above what the request was charged."""
    without = write(folder / "without.parquet", strata, *base)
    beside = write(folder / "with.parquet", strata, *base, added)
    scores = []
    for path in (without, beside):
        made = prepared(statistic, rho=rho, strata=strata, rows=rows, **more)
        scores.append((made, vectors(path, made)))
    pure = scores[0][0].pure
    told = [_told(made, result.draw(made, found)) for made, found in scores]
    direction = [_told(made, found) for made, found in scores]
    # The best single number to tell two normals apart: along the difference of their means, in units of noise.
    noise = told[0].std(axis=0) + 1e-9
    along = (direction[1] - direction[0]).mean(axis=0) / noise**2
    if not np.any(along):
        along = 1 / noise
    seen = [(t - direction[0].mean(axis=0)) @ along for t in told]
    bound = max(_bound(seen[0], seen[1], pure=pure), _bound(seen[1], seen[0], pure=pure))
    claimed = scores[0][0].rho_units * 1e-12
    assert bound <= claimed, f"the audit finds at least {bound:.2f}, the request was charged {claimed:.2f}"
    return Bound(bound, claimed)


def _told(made, noised):
    """What is told of each stratum: a row a stratum, a column a number, in the statistics' own units."""
    drawn = noised.drawn if isinstance(noised, result.Noised) else noised
    columns = []
    for component in made.components:
        if component.measure is Measure.RANKS:
            if isinstance(noised, result.Noised):
                picks = noised.picks[component]
                columns.append(np.array([[p.low, p.value, p.high] for p in picks], dtype=float))
            else:  # where the true quantile lies
                counts = np.array(noised[component], dtype=float).reshape(-1, component.bins.count)
                middle = (np.cumsum(counts, axis=1) < counts.sum(axis=1, keepdims=True) / 2).sum(axis=1)
                columns.append(np.repeat(middle[:, None], 3, axis=1))
            continue
        values = drawn[component].values if isinstance(noised, result.Noised) else drawn[component]
        keys = made.sizes["stratum"] if "stratum" in component.by else 1
        table = np.array(values, dtype=float).reshape(keys, -1) * component.unit
        if keys > 1:
            columns.append(table)
    return np.hstack(columns)


def _bound(low, high, *, pure):
    """From draws of a number under D and under D': an event by the first halves, its probabilities by the second."""
    half = len(low) // 2
    best, chosen = -1.0, 0.0
    for threshold in np.quantile(np.concatenate([low[:half], high[:half]]), np.linspace(0.02, 0.98, 49)):
        p, q = (high[:half] > threshold).mean(), (low[:half] > threshold).mean()
        guess = _divergence(np.clip(p - 0.02, 1e-4, 1 - 1e-4), np.clip(q + 0.02, 1e-4, 1 - 1e-4), pure=pure)
        if p > q and guess > best:
            best, chosen = guess, threshold
    n = len(low) - half
    hits, others = int((high[half:] > chosen).sum()), int((low[half:] > chosen).sum())
    p_low = beta.ppf(1 - CONFIDENCE, hits, n - hits + 1) if hits else 0.0
    q_high = beta.ppf(CONFIDENCE, others + 1, n - others) if others < n else 1.0
    return _divergence(p_low, q_high, pure=pure) if p_low > q_high else 0.0


def _divergence(p, q, *, pure):
    """The least rho (epsilon where pure) that allows an event of probabilities p and q."""
    if pure:
        return max(math.log(p / q), math.log((1 - q) / (1 - p)) if p < 1 else math.inf)
    with np.errstate(divide="ignore", over="ignore"):
        terms = np.logaddexp(
            ORDERS * np.log(p) + (1 - ORDERS) * np.log(q), ORDERS * np.log1p(-p) + (1 - ORDERS) * np.log1p(-q)
        )
    return float(np.max(terms / (ORDERS - 1) / ORDERS))


# The noise


def calibrate(folder, statistic, **more):
    """Each vector's noise has its mechanism's variance: n numbers, five standard errors, false alarm below 1e-6 each."""
    path = write(folder / "rows.parquet", STRATA, *QUIET)
    made = prepared(statistic, rho=0.05, **more)
    exact = vectors(path, made)
    drawn = result.draw(made, exact).drawn
    for component, told in drawn.items():
        difference = np.array(told.values, dtype=float) - np.array(exact[component], dtype=float)
        if len(difference) < 1000:
            continue
        # The variance of a normal's (Laplace's) mean square is 2 (5) sigma^4 / n.
        spread = 5 * math.sqrt((5 if made.pure else 2) / len(difference))
        ratio = (difference**2).mean() / told.sigma**2
        assert abs(ratio - 1) < spread, f"{component.measure}: the noise has {ratio:.3f} of its variance"


def independent(folder, statistic, **more):
    """Two releases' noise is uncorrelated: five standard errors, false alarm below 1e-6."""
    path = write(folder / "rows.parquet", STRATA, *QUIET)
    made = prepared(statistic, rho=0.05, **more)
    exact = vectors(path, made)
    first, second = (_told(made, result.draw(made, exact)) - _told(made, exact) for _ in range(2))
    for a, b in zip(first.T, second.T, strict=True):
        if a.std() and b.std():
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(len(a)), "two releases share their noise"


# Sensitivity and shape


def brute_force(folder, statistic, **more):
    """Every person of HURTING, alone and beside others: the largest change of each vector is its sensitivity, exactly.

    Each case has ROWS strata to itself, over which the person's rows lie or in one of which they all are.
    """
    persons = [*HURTING.values(), *([row] * 5 for row in _rows())]
    cases = list(itertools.product(persons, ([], QUIET), (1, ROWS)))
    before, after = [], []
    for i, (person, others, apart) in enumerate(cases):
        placed = [[(ROWS * i + k % apart, row) for k, row in enumerate(mine)] for mine in (*others, person)]
        before += placed[:-1]
        after += placed
    made = prepared(statistic, rho=1.0, strata=ROWS * len(cases), **more)
    first = vectors(_written(folder / "before.parquet", before), made)
    second = vectors(_written(folder / "after.parquet", after), made)
    for component in made.components:
        reached = 0.0
        pairs = (np.array(v[component], dtype=float).reshape(len(cases), -1) for v in (first, second))
        for a, b in zip(*pairs, strict=True):
            if component.measure is Measure.RANKS:
                distance = total = _scores_apart(component, a.astype(int).tolist(), b.astype(int).tolist())
            else:
                distance, total = math.dist(a, b), float(np.abs(a - b).sum())
            assert distance <= component.l2 + 1e-9, f"{component.measure}: a person changes it by {distance}"
            assert total <= component.l1 + 1e-9, f"{component.measure}: a person changes it by {total} in all"
            reached = max(reached, distance)
        most = component.l2
        assert reached >= most * (1 - 1e-9), f"{component.measure}: declared {most}, reached {reached}"


def _rows():
    return [
        (sex, age, cost, ill) for sex in "fm" for age in (0, 100) for cost in (0.0, 1000.0) for ill in (False, True)
    ]


def _scores_apart(component, before, after):
    """In whichever stratum: the scores of each are of its own counts."""
    width = component.bins.count
    most = 0
    for start in range(0, len(before), width):
        pair = (scores(v[start : start + width], component.probability) for v in (before, after))
        most = max(most, *(abs(a - b) for a, b in zip(*pair, strict=True)))
    return most


def same_shape(folder, statistic, *, strata=50, **more):
    """Rows, order and kinds of an answer's cells are the same for six worlds, and no world makes it fail."""
    nothing = [[("f", 0, None, None)]]
    outlier = [[("f", 100, 1e308, True)], [("m", 0, float("-inf"), None)], [("m", 0, float("nan"), None)]]
    alone = write(folder / "alone.parquet", 1, HURTING["all rows at the upper bound"])
    worlds = [write(folder / f"{i}.parquet", strata, *people) for i, people in enumerate((QUIET, [], nothing, outlier))]
    shapes = set()
    for path in (*worlds, alone):
        made = prepared(statistic, rho=1.0, strata=strata, **more)
        with aggregate.open_rows(path) as connection:
            table = result.evaluate(connection, made)
        ranked = statistic["kind"] == "top"  # which keys come first is what is told
        cells = tuple((c.keys, c.by, c.statistic, c.bin, None if ranked else c.term) for c in table.cells)
        shapes.add((cells, tuple(m.model_dump_json() for m in table.mechanisms)))
    assert len(shapes) == 1, "an answer's shape depends on the rows"
