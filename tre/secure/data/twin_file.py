"""A twin as a file: Parquet that says, to whoever opens it, that it is synthetic, how it was made and what it cost.

Guarantees: the label is in the file (key `tre:synthetic`, canonical JSON) and comes with the rows into pandas
(`pd.read_parquet(path).attrs["tre"]` begins with SYNTHETIC); columns and types are those that ingest gives the real rows;
the file appears at once and whole. Not guaranteed: that a label survives programs that drop Parquet's metadata.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tre.rules.canonical import canonical_json
from tre.rules.schema import ORDER, PERSON, FieldType, TableSchema
from tre.secure.data.ingest import publish

KEY = b"tre:synthetic"
NOTHING = "nothing: made from the declared schema alone"

_ARROW = {
    FieldType.INTEGER: pa.int64(),
    FieldType.NUMBER: pa.float64(),
    FieldType.STRING: pa.string(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.DATE: pa.date32(),
}


@dataclass(frozen=True, kw_only=True)
class Label:
    """Where a twin comes from. epsilon, delta and rho_units are what making it was charged; `learnt` says it in words.

    `version` is the public name of the version of the data that it learnt from, None where it learnt nothing; `declared` is
    how many of its rows are edge cases of the policy. The seed can be told: it made rows from noisy counts that are paid
    for, or from the schema, and had no part in the noise, which is OpenDP's own. Who knows it knows the noisy counts better,
    and these are all that the loss was computed for (tests/proof/test_twin.py gives them to the attacker). A replica's is not told:
    it had a part in everything between its rows and real ones.
    """

    dataset: str
    tier: str
    made: str
    generator: str
    seed: int | None
    epsilon: float | None
    delta: float | None
    rho_units: int
    learnt: str
    version: str | None = None
    declared: int = 0

    @property
    def learnt_nothing(self) -> bool:
        return self.learnt == NOTHING


def file_name(dataset: str, tier: str, made: str) -> str:
    """Without an ending: which dataset, that it is none, of which tier and day."""
    return f"{dataset}.SYNTHETIC.{tier.replace(' ', '-')}.{made}"


def finish(frame: pd.DataFrame, schema: TableSchema, *, first: int = 0) -> pd.DataFrame:
    """The declared columns in their order, with `tre_person` (from `first`) and `tre_order` as ingest would give them,
    sorted by both."""
    names = [f.name for f in schema.fields]
    person, _ = pd.factorize(frame[schema.unit.field], sort=True)
    frame = frame[names].assign(**{PERSON: person.astype("int64") + first})
    frame = frame.sort_values([PERSON, *schema.primary_key], kind="stable").reset_index(drop=True)
    return frame.assign(**{ORDER: frame.groupby(PERSON).cumcount().astype("int32")})


def write(frames: pd.DataFrame | Iterable[pd.DataFrame], schema: TableSchema, label: Label, out: Path) -> str:
    """Write the twin, finished and labelled, piece by piece (each of other persons); gives the SHA-256 of the file's bytes."""
    types = [(f.name, _ARROW[f.type]) for f in schema.fields] + [(PERSON, pa.int64()), (ORDER, pa.int32())]
    described = canonical_json(asdict(label))
    # pandas reads attrs from this key; without pandas' own description, it reads the types as it does in the real file.
    attrs = canonical_json({"tre": f"SYNTHETIC {described.decode()}"})
    shape = pa.schema(types, metadata={KEY: described, b"PANDAS_ATTRS": attrs})
    descriptor, part = tempfile.mkstemp(prefix=".twin-", dir=out.parent)
    os.close(descriptor)
    people = 0
    try:
        with pq.ParquetWriter(part, shape, compression="zstd") as writer:
            for frame in [frames] if isinstance(frames, pd.DataFrame) else frames:
                piece = finish(frame, schema, first=people)
                people += piece[PERSON].nunique()
                columns = [pa.array(piece[name], type=kind, from_pandas=True) for name, kind in types]
                writer.write_table(pa.Table.from_arrays(columns, schema=shape))
        return publish(Path(part), out)
    finally:
        Path(part).unlink(missing_ok=True)


def read_label(path: Path) -> Label | None:
    """The label of a twin; None for a file that has none, such as real data."""
    metadata = pq.read_schema(path).metadata or {}
    return Label(**json.loads(metadata[KEY])) if KEY in metadata else None
