"""Two plain ways to spend one budget, for a scale of what is hard: OpenDP's noise on exact tables, no library's API.

"even split, zCDP": every statistic an even share of rho, Gaussian noise; a mean is a sum over a count of its own, half
of the share each, sensitivities the largest bound and 1, as OpenDP's `dp.mean` does it.
"a Laplace table each": every statistic an even share of epsilon, Laplace noise; a mean in two halves likewise.
Quantiles and variances take their share and are not answered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian, make_laplace
from opendp.metrics import l1_distance, l2_distance
from opendp.mod import enable_features

from bench.peers.protocol import Answer, Statistic
from bench.workloads import Cell, Dataset, Task
from tre.rules.accounting import UNIT, rho_of

enable_features("contrib")

# Whole numbers of this sensitivity with noise that takes this share of the budget.
Noise = Callable[[Sequence[int], float, float], Sequence[int]]
Exact = dict[Cell, float | None]


def gaussian(epsilon: float, delta: float) -> Noise:
    rho = rho_of(epsilon, delta) * UNIT

    def noise(values: Sequence[int], sensitivity: float, share: float) -> Sequence[int]:
        space = vector_domain(atom_domain(T="i64")), l2_distance(T="f64")
        scale = sensitivity / math.sqrt(2 * rho * share)
        return list(make_gaussian(*space, scale, MO="ZeroConcentratedDivergence")(list(values)))

    return noise


def laplace(epsilon: float, _delta: float) -> Noise:
    def noise(values: Sequence[int], sensitivity: float, share: float) -> Sequence[int]:
        space = vector_domain(atom_domain(T="i64")), l1_distance(T="i64")
        return list(make_laplace(*space, sensitivity / (epsilon * share))(list(values)))

    return noise


BASELINES = {"even split, zCDP": gaussian, "a Laplace table each": laplace}


def release(task: Task, data: Dataset, exact: Exact, counts: Exact, noise: Noise, repeats: int) -> list[list[Answer]]:
    """`counts` holds the number of rows behind each mean."""
    share = 1 / len(task.statistics)
    answered = [s for s in task.statistics if s.kind in ("count", "sum", "mean")]
    return [[a for s in answered for a in _statistic(s, data, exact, counts, noise, share)] for _ in range(repeats)]


def _statistic(s: Statistic, data: Dataset, exact: Exact, counts: Exact, noise: Noise, share: float) -> list[Answer]:
    keys = list(data.keys(s))
    values = [exact[s.name, k] or 0.0 for k in keys]
    if s.column is None:
        return [s.answer(k, v) for k, v in zip(keys, noise([round(v) for v in values], 1, share), strict=True)]
    (low, high), step = data.bounds(s.column), data.columns[s.column]["step"]
    largest = round(max(abs(low), abs(high)) / step)
    if s.kind == "sum":
        steps = noise([round(v / step) for v in values], largest, share)
        return [s.answer(k, v * step) for k, v in zip(keys, steps, strict=True)]
    rows = [round(counts[s.name, k] or 0) for k in keys]
    steps = noise([round(v * n / step) for v, n in zip(values, rows, strict=True)], largest, share / 2)
    rows = list(noise(rows, 1, share / 2))
    means = (min(max(v * step / max(n, 1), low), high) for v, n in zip(steps, rows, strict=True))
    return [s.answer(k, v) for k, v in zip(keys, means, strict=True)]
