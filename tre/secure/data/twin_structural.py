"""A twin of the declared schema alone, without SDV: every column on its own, uniform over what is declared.

Guarantees: `sample_structural` is given the schema, a size and a seed, and reads nothing else, so its twin costs no privacy
and can be as public as the schema. Every row fits the schema (twin_shape); the same seed gives the same rows.
Not guaranteed: anything else. No value is missing here (twin_declared adds one where it may be), and no figure means anything.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tre.rules.schema import TableSchema
from tre.secure.data.twin_shape import dealt_rows, shape


def sample_structural(schema: TableSchema, *, rows: int, seed: int) -> pd.DataFrame:
    """About `rows` rows of the declared schema. Raises PolicyError if no row can fit it."""
    rng = np.random.default_rng(seed)
    return shape({}, schema, dealt_rows(schema, rows, rng), rng)
