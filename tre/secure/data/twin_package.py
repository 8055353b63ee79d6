"""A twin as a published thing: a folder with its rows twice (Parquet, CSV), what they mean, what they are, and who says so.

| file | what |
|------|------|
| DATASET.SYNTHETIC.TIER.DATE.parquet, .csv | the rows; the label is in the Parquet's metadata |
| DATASET.SYNTHETIC.TIER.DATE.csv.label.json | the label, beside what has no room for one |
| datapackage.json | a Data Package (v2) with the declared Table Schema |
| data-dictionary.csv | the columns, for spreadsheets |
| index.html | for people |
| twin.receipt.json | the label and the SHA-256 of every other file, signed by the area |

Guarantees: what goes in is a twin's file, whose label says so, the declared description and the columns that may be seen:
no other column, no real row, no name of a person; every file is named by the signature. The same twin gives the same files.
Not here: who may have it (secure.publishing).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tre.errors import DataError
from tre.rules import datapackage, twin_label, twin_page
from tre.rules.canonical import canonical_json, digest_stream
from tre.rules.datapackage import SYNTHETIC, Described
from tre.rules.schema import PERSON
from tre.secure.data.twin_file import Label, file_name, read_label
from tre.statistics.sql import literal, quote


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Whose signature it is: the area's title, its public key, and its hand."""

    area: str
    key: str
    sign: Callable[[bytes], str]


def described(twin: Path, about: Described, *, column: bool) -> tuple[Described, Label]:
    """What is declared, with what the twin's file says of itself. Raises DataError for a file that is no twin."""
    label = read_label(twin)
    if label is None:
        raise DataError("twin_unlabelled", "This file has no label of a twin.", f"tre-admin twin {about.id}")
    marked = f"SYNTHETIC ({label.tier})" if column else None
    return replace(about, rows=pq.read_metadata(twin).num_rows, marked=marked), label


def write(twin: Path, about: Described, folder: Path, *, column: bool, signer: Signer) -> dict[str, Any]:
    """All files, into an empty folder; returns the signed statement."""
    d, label = described(twin, about, column=column)
    name, said = file_name(d.id, label.tier, label.made), asdict(label)
    parquet, table = folder / f"{name}.parquet", folder / f"{name}.csv"
    _write_parquet(twin, d, parquet)
    _write_csv(parquet, d, table)
    (folder / f"{name}.csv.label.json").write_bytes(_json(said))
    files = [_file(parquet, "parquet", "application/vnd.apache.parquet"), _file(table, "csv", "text/csv")]
    (folder / "datapackage.json").write_bytes(_json(datapackage.package(d, said, made=label.made, files=files)))
    (folder / "data-dictionary.csv").write_text(_lines(d), "utf-8", newline="")
    names = [*(p.name for p in folder.iterdir()), "index.html", twin_label.FILE]
    (folder / "index.html").write_text(twin_page.page_of(d, said, area=signer.area, files=names), "utf-8")
    statement = {
        "kind": twin_label.KIND, "area": signer.area, "label": said, "title": d.title, "source": d.source,
        "licence": d.licence, "columns": list(d.all_columns), "rows": d.rows,
        "files": {p.name: _digest(p) for p in sorted(folder.iterdir())},
    }  # fmt: skip
    receipt = {"statement": statement, "key": signer.key, "signature": signer.sign(twin_label.signed_bytes(statement))}
    (folder / twin_label.FILE).write_bytes(canonical_json(receipt))
    return statement


def _write_parquet(twin: Path, d: Described, target: Path) -> None:
    """Row group by row group; Arrow keeps the file's own metadata, and with it the label."""
    source = pq.ParquetFile(twin)
    keep = [*d.columns, *([PERSON] if d.numbered else [])]
    shape = pa.schema([source.schema_arrow.field(n) for n in keep], metadata=source.schema_arrow.metadata)
    if d.marked is not None:
        shape = shape.append(pa.field(SYNTHETIC, pa.string()))
    with pq.ParquetWriter(target, shape, compression="zstd") as writer:
        for i in range(source.num_row_groups):
            group = source.read_row_group(i, columns=keep).select(keep)
            if d.marked is not None:
                group = group.append_column(SYNTHETIC, pa.array([d.marked] * len(group), pa.string()))
            writer.write_table(group.cast(shape))


def _write_csv(parquet: Path, d: Described, target: Path) -> None:
    """By DuckDB, in bounded memory; missing values are the first marker of them that the schema declares."""
    import duckdb

    listed = ", ".join(quote(c) for c in d.all_columns)
    null = literal(d.schema.missing_values[0] if d.schema.missing_values else "")
    query = f"SELECT {listed} FROM read_parquet({literal(str(parquet))})"
    with duckdb.connect(":memory:", config={"memory_limit": "1GB"}) as connection:
        connection.execute(f"COPY ({query}) TO {literal(str(target))} (FORMAT csv, HEADER, NULLSTR {null})")


def _file(path: Path, kind: str, media: str) -> Mapping[str, Any]:
    digest = _digest(path)
    return {"path": path.name, "format": kind, "mediatype": media, "bytes": path.stat().st_size, "sha256": digest}


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return digest_stream(stream)


def _lines(d: Described) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(datapackage.dictionary(d))
    return out.getvalue()


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=2, default=str).encode() + b"\n"
