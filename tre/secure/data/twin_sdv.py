"""SDV, as we use it: one Gaussian copula, fitted on one table and sampled. The only module that imports SDV, inside a function,
because SDV is an extra with a licence of its own (docs/explanation/sdv-licence.md).

Guarantees: metadata are written from what the caller declares, never detected from the table (detected ones hold minima, maxima
and categories of it); nothing of the table is in an error (SDV's quotes values), in a log or on a terminal; no log file is
written. The sample is held to no minimum or maximum that was seen in the table.
Not guaranteed: any privacy. What the table may be, and where the sample may go, is the caller's: twin_valid gives a table that
was made up; twin_replica gives real people's, and its rows leave as an output that two people approved.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tre.errors import DataError, PolicyError

if TYPE_CHECKING:
    import pandas as pd

_TABLE = "twin"


def copula(
    table: pd.DataFrame, sdtypes: Mapping[str, str], *, rows: int, distribution: str = "beta",
    grids: Mapping[str, int] | None = None, ordered: Mapping[str, list[Any]] | None = None, seed: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """`rows` rows like those of `table`, whose columns are of these `sdtypes`. `grids`: columns of whole multiples of a number;
    `ordered`: categorical columns with their categories in order. Without a `seed` SDV samples from a constant one, which everybody
    knows. Raises PolicyError without SDV, DataError if it fails."""
    failed = False
    with quiet():
        synthesizer = _synthesizer(sdtypes, distribution, grids or {})
        try:
            if ordered:
                from rdt.transformers import OrderedUniformEncoder

                synthesizer.auto_assign_transformers({_TABLE: table})
                encoders = {name: OrderedUniformEncoder(order=order) for name, order in ordered.items()}
                synthesizer.update_transformers(encoders)
            synthesizer.fit({_TABLE: table})
            if seed is not None:
                synthesizer._set_random_state(seed)  # it has no public way
            sampled: pd.DataFrame = synthesizer.sample(rows)[_TABLE]
        except Exception:  # its text quotes values: raised below, so that it is not even chained to ours
            failed = True
    if failed:
        raise DataError("twin_failed", "SDV could not model these rows.", "Take a tier that does not need SDV.")
    return sampled


def _synthesizer(sdtypes: Mapping[str, str], distribution: str, grids: Mapping[str, int]) -> Any:
    try:
        from sdv.cag import FixedIncrements  # an extra: imported where it is used
        from sdv.metadata import Metadata
        from sdv.single_table import GaussianCopulaSynthesizer
    except ImportError:
        raise PolicyError(
            "twins_extra_missing",
            "Such twins are made with SDV, which is not installed.",
            'pip install "tre[twins]"',
        ) from None
    columns = {name: {"sdtype": sdtype} for name, sdtype in sdtypes.items()}
    described = {"METADATA_SPEC_VERSION": "V2", "tables": {_TABLE: {"columns": columns}}, "relationships": []}
    synthesizer = GaussianCopulaSynthesizer(
        Metadata.load_from_dict(described), default_distribution=distribution, enforce_min_max_values=False
    )
    if grids:
        synthesizer.add_constraints([FixedIncrements(name, step, table_name=_TABLE) for name, step in grids.items()])
    return synthesizer


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, progress bars, log lines or log files of SDV's: it keeps a log under the user's data folder."""
    was = os.environ.get("XDG_DATA_HOME")
    disabled = logging.root.manager.disable
    # A place in which nothing can be made; SDV then does without a log. It looks once, at its import.
    os.environ["XDG_DATA_HOME"] = os.devnull
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        if was is None:
            del os.environ["XDG_DATA_HOME"]
        else:
            os.environ["XDG_DATA_HOME"] = was
