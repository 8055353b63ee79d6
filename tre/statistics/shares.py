"""How a request's privacy loss is shared between the vectors it needs, so that its errors together are least.

Guarantees: a deterministic function of the request (no data, no randomness); shares are positive and sum to at most
one; no table has a larger error than an even split would give it, asked alone (but for `most`). Within that, what is minimised is the
sum, over the statistics, of weight x log(expected variance): the (weighted) geometric mean of the errors, which does
not care in which units they are. The expected variance of a ratio of sums needs an idea
of where values lie; `Target.parts` holds the squared slopes taken for it, and being wrong there costs some accuracy and
no privacy. Source of the update: Silvey, Titterington, Torgersen, "An algorithm for optimal designs" (1978).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tre.statistics import margins
from tre.statistics.components import ADDITIVE, Component

ROUNDS = 300
# A table that is less accurate than by an even split, or nearly, is pressed for after every so many rounds.
PRESS, AIM = 10, 0.97
LEAST = 1e-5

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One table to be accurate: its variance is the sum of slope x the variance of each part, in units of sensitivity.

    `most`: how many times the variance by an even split it may have.
    """

    weight: float
    parts: tuple[tuple[Component, float], ...]
    most: float = 1.0


def optimal(
    components: Sequence[Component], targets: Sequence[Target], sizes: Mapping[str, int], *, pure: bool
) -> tuple[float, ...]:
    """The share of the loss for each component. `pure`: loss is epsilon (precision grows with its square), else rho."""
    if len(components) == 1:
        return (1.0,)
    k, c = _system(components, sizes)
    at = {component: i for i, component in enumerate(components)}
    slopes = np.zeros((len(targets), len(components)))
    for row, target in zip(slopes, targets, strict=True):
        for component, slope in target.parts:
            row[at[component]] += slope
    weight, spread = np.array([t.weight for t in targets]), slopes @ c
    alone, most = _alone(slopes, pure=pure)
    most = most * np.array([t.most for t in targets])
    press, shares = np.ones(len(targets)), np.full(len(components), 1 / len(components))
    for turn in range(ROUNDS):
        information = k @ (shares**2 if pure else shares)
        variances = spread @ (1 / information)
        if turn % PRESS == PRESS - 1:
            press = np.maximum(press * variances / (AIM * most), 1)
        gain = ((weight * press / variances) @ spread / information**2) @ k
        shares = shares * (np.cbrt(gain * 2 * shares) if pure else np.sqrt(gain))
        shares = np.maximum(shares / shares.sum(), LEAST)
    return tuple(float(s) for s in _within(shares / shares.sum(), alone, most, k, spread, pure=pure))


def _alone(slopes: Array, *, pure: bool) -> tuple[Array, Array]:
    """(shares, variances) of an even split: every table is asked alone with as much of the loss as any other.

    Alone, a table has only its own parts; the least sum of slope / u, or slope / u^2, at a fixed sum of u is Lagrange's.
    """
    roots = np.cbrt(slopes) if pure else np.sqrt(slopes)
    each = roots.sum(axis=1, keepdims=True)
    shares = (roots / each).mean(axis=0)
    count = len(slopes)
    return shares, (each[:, 0] ** 3 * count**2 if pure else each[:, 0] ** 2 * count)


def _within(shares: Array, alone: Array, most: Array, k: Array, spread: Array, *, pure: bool) -> Array:
    """The least move towards the even split after which no table is less accurate than by it."""

    def moved(by: float) -> Array:
        return (1 - by) * shares + by * alone

    def holds(by: float) -> bool:
        u = moved(by)
        return bool((spread @ (1 / (k @ (u**2 if pure else u))) <= most * (1 + 1e-9)).all())

    low, high = 0.0, 1.0
    if holds(low):
        return moved(low)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return moved(high)


def _system(components: Sequence[Component], sizes: Mapping[str, int]) -> tuple[Array, Array]:
    """(K, C): with precisions u the tables' variances are C (1 / K u); one block for each family of tables that add up."""
    families: dict[object, list[int]] = {}
    for i, component in enumerate(components):
        families.setdefault(component.family if component.measure in ADDITIVE else i, []).append(i)
    blocks = []
    for members in families.values():
        sets = [components[i].by if components[i].measure in ADDITIVE else () for i in members]
        spaces = margins.residuals(sets)
        of = np.array([margins.coefficients(by, spaces, sizes) for by in sets])
        blocks.append((members, margins.weights(sets, spaces, sizes), of))
    rows = sum(len(of[0]) for _, _, of in blocks)
    k, c, start = np.zeros((rows, len(components))), np.zeros((len(components), rows)), 0
    for members, weights, of in blocks:
        end = start + len(of[0])
        k[start:end, members], c[members, start:end] = weights, of
        start = end
    return k, c
