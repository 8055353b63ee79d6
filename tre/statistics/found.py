"""Group keys found in the data, where nobody can list them beforehand: those that enough people have, by a noisy count.

Guarantees: keys are told that have a noisy count of people at or above a threshold, and nothing else: no counts, no
order but the keys' own. A key that only one person has passes with at most `delta` for all of that person's keys
together; that is charged beside the loss of the counts, which is rho-zCDP for the keys that others have too.
Source: "stability-based histograms" (Korolova, Kenthapadi, Mishra, Ntoulas 2009; Bun, Nissim, Stemmer 2016), with
Gaussian noise. The discrete Gaussian's tail from m on is at most the normal's from m - 1 on (Canonne, Kamath, Steinke 2020).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import duckdb

from tre.rules.schema import PERSON
from tre.statistics.aggregate import source
from tre.statistics.kinds import Key
from tre.statistics.noise import gaussian, sigma_for
from tre.statistics.prepare import Finding, Prepared
from tre.statistics.sql import quote
from tre.statistics.table import Mechanism

# A longer text is no key.
MAX_LENGTH = 200


def threshold(rows: int, sigma: float, delta: float) -> float:
    """The count from which on a key is told: a person has at most `rows` keys, each counting that person once."""
    return 2 - sigma * NormalDist().inv_cdf(delta / rows)


def find(
    connection: duckdb.DuckDBPyConnection, prepared: Prepared, finding: Finding
) -> tuple[tuple[Key, ...], Mechanism]:
    """The keys in their own order, at most `finding.most` of the commonest, and how they were found."""
    column, rows = quote(finding.column), prepared.max_rows
    people = f"SELECT {column}, count(DISTINCT {PERSON}) FROM ({source(prepared, without=finding.column)})"
    short = f"{column} IS NOT NULL AND length(CAST({column} AS VARCHAR)) <= {MAX_LENGTH}"
    counted = connection.execute(f"{people} WHERE {short} GROUP BY {column}").fetchall()
    sensitivity = math.sqrt(rows)
    sigma = sigma_for(sensitivity, finding.units)
    least = threshold(rows, sigma, finding.delta)
    noisy = gaussian([int(n) for _, n in counted], sensitivity=sensitivity, rho_units=finding.units)
    passed = [(value, key) for (key, _), value in zip(counted, noisy.values, strict=True) if value >= least]
    # Equal counts go by the keys: by the rows' order, they would tell of rows that are not counted.
    kept = sorted(passed, key=lambda p: (-p[0], p[1]))[: finding.most]
    mechanism = Mechanism(
        measure="keys", column=finding.column, mechanism="discrete gaussian", sensitivity=sensitivity, sigma=sigma,
        step=1.0, threshold=least, delta=finding.delta, rho_units=finding.units,
    )  # fmt: skip
    return tuple(sorted(key for _, key in kept)), mechanism
