"""`python -m bench quality`: ten million rows validated with keys, time and memory; and beside frictionless, on the same CSV.

The rows are people of the RAND Health Insurance Experiment, drawn with replacement as whole persons, each under a new number
(DuckDB, seeded by the number), so rows per person, keys and shares of missing values are the real ones; compression is not,
which matters to nothing measured here. One process for each measurement: its peak memory is the kernel's count of it.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import yaml

from bench import peers
from bench.measure import ROOT, command, say
from tre.rules.policy import Dataset

ROWS, QUICK = 10_000_000, 200_000
PEER_ROWS, PEER_QUICK = 100_000, 5_000
PER_PERSON = 20_190 / 5_912


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    rows, few = (QUICK, PEER_QUICK) if quick else (ROWS, PEER_ROWS)
    found: dict[str, Any] = {"of_many": [], "beside": []}
    say(f"quality: making {rows:,} rows")
    make(folder / "many.parquet", rows)
    people(folder / "people.parquet", folder / "many.parquet")
    for _ in range(repeats or 3):
        found["of_many"].append(alone(folder / "many.parquet", folder))
    make(folder / "few.parquet", few)
    people(folder / "people.parquet", folder / "few.parquet")
    table = f"read_parquet('{folder / 'few.parquet'}')"
    duckdb.connect().execute(f"COPY (SELECT * FROM {table}) TO '{folder / 'few.csv'}' (HEADER)")
    spoil(folder / "few.csv")
    found["beside"] = beside(folder)
    results.mkdir(parents=True, exist_ok=True)
    (results / "quality.json").write_text(json.dumps(found, indent=2) + "\n")
    _show(found)
    print(results / "quality.json")


def make(path: Path, rows: int) -> None:
    """At least so many rows, in a file that is not there in full unless it is finished."""
    source = f"read_parquet('{ROOT / 'tre/demo/hie.parquet'}')"
    persons = round(rows * 1.001 / PER_PERSON)
    with duckdb.connect(
        config={"memory_limit": "512MB", "temp_directory": str(path.parent), "threads": "2"}
    ) as connection:
        connection.execute(
            f"CREATE TABLE source AS SELECT *, dense_rank() OVER (ORDER BY person) - 1 AS place FROM {source}"
        )
        drawn = f"SELECT i AS drawn, hash(i) % (SELECT 1 + max(place) FROM source) AS place FROM range(1, {persons + 1}) AS r(i)"
        columns = "drawn AS person, source.* EXCLUDE (person, place)"
        query = f"SELECT {columns} FROM ({drawn}) AS d JOIN source USING (place)"
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


def people(path: Path, rows: Path) -> None:
    """What a foreign key leads to: all of the persons but one in a thousand."""
    query = f"SELECT DISTINCT person FROM read_parquet('{rows}') WHERE person % 1000 <> 7"
    duckdb.connect().execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def policy() -> Dataset:
    """The demonstration's, with room for more persons, and a foreign key and a rule."""
    content = yaml.safe_load((ROOT / "policies/datasets/hie.yaml").read_text())
    for field in content["fields"]:
        if field["name"] == "person":
            field["constraints"] = {"required": True, "minimum": 1}
    content["quality"] = {
        "foreign_keys": [{"fields": ["person"], "dataset": "people", "references": ["person"]}],
        "rules": [{"name": "spends-nothing-unseen", "holds": "meddol = 0 OR mdvis + mentvis + totadm > 0"}],
    }
    return Dataset.model_validate(content)


def spoil(path: Path) -> None:
    """Some errors of each kind, so that both have something to count."""
    with path.open(newline="") as file:
        header, *lines = list(csv.reader(file))
    site, sex, age, year = (header.index(n) for n in ("site", "sex", "age", "year"))
    for i, line in enumerate(lines):
        if i % 1000 == 1:
            line[site] = "Nowhere"
        if i % 1000 == 2:
            line[age] = "-1"
        if i % 1000 == 3:
            line[age] = "old"
        if i % 1000 == 4:
            line[sex] = ""
        if i % 1000 == 6 and i:
            line[header.index("person")], line[year] = lines[i - 1][header.index("person")], lines[i - 1][year]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])


def alone(path: Path, folder: Path) -> dict[str, Any]:
    """One measurement in a process of its own."""
    _, said = command(sys.executable, "-m", "bench.quality", str(path), str(folder))
    found: dict[str, Any] = json.loads(said)
    return found


def beside(folder: Path) -> list[dict[str, Any]]:
    """Both on one CSV, and whether they counted the same."""
    ours = alone(folder / "few.csv", folder)
    task = {
        "csv": str(folder / "few.csv"),
        "people": str(folder / "people.csv"),
        "schema": descriptor(policy(), "people"),
    }
    duckdb.connect().execute(
        f"COPY (SELECT * FROM read_parquet('{folder / 'people.parquet'}')) TO '{folder / 'people.csv'}' (HEADER)"
    )
    try:
        theirs = peers.run("frictionless", {"tasks": [task]}, folder)
    except peers.Unavailable as why:
        say(f"frictionless is left out: {why}")
        return [ours]
    (counts,) = theirs["counts"]
    return [ours, {**theirs, "counts": counts, "same": ours["repeats"] == counts}]


def descriptor(dataset: Dataset, resource_name: str | None = None) -> dict[str, Any]:
    """The declared schema as frictionless reads it."""
    fields = [
        {
            "name": f.name,
            "type": f.type.value,
            "constraints": {
                **f.constraints.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
                **({"required": True} if f.name in dataset.primary_key else {}),
            },
        }
        for f in dataset.fields
    ]
    found: dict[str, Any] = {"fields": fields, "missingValues": list(dataset.missing_values)}
    if dataset.primary_key:
        found["primaryKey"] = list(dataset.primary_key)
    if resource_name:
        found["foreignKeys"] = [
            {"fields": list(k.fields), "reference": {"resource": resource_name, "fields": list(k.references)}}
            for k in dataset.quality.foreign_keys
        ]
    return found


def _measure(path: Path, folder: Path) -> dict[str, Any]:
    from tre.secure.data.quality import measure

    dataset = policy()
    before, started = time.process_time(), time.perf_counter()
    found = measure(
        dataset.table, dataset.quality, [path], scratch=folder, references={"people": folder / "people.parquet"}
    )
    return {
        "rows": found.rows,
        "checks": len(found.counts),
        "cpu": time.process_time() - before,
        "wall": time.perf_counter() - started,
        "peak_mib": _peak(),
        "broken": {c.check.id: c.broken for c in found.counts if c.failed},
        "repeats": {
            c.check.id: c.broken if c.repeats is None else c.repeats
            for c in found.counts
            if c.failed and c.check.rule.value != "row_rule"
        },
    }


def _peak() -> float:
    """MiB. Not getrusage: that counts what the process was before it became this program."""
    status = Path("/proc/self/status").read_text()
    (kib,) = re.findall(r"VmHWM:\s+(\d+)", status)
    return int(kib) / 1024


def _show(found: dict[str, Any]) -> None:
    for m in found["of_many"]:
        print(
            f"{m['rows']:,} rows, {m['checks']} checks: {m['cpu']:.1f} s of CPU, {m['wall']:.1f} s, {m['peak_mib']:.0f} MiB at most"
        )
    ours, *theirs = found["beside"]
    print(
        f"{ours['rows']:,} rows of CSV: {ours['cpu']:.2f} s of CPU, {ours['peak_mib']:.0f} MiB; counted {ours['repeats']}"
    )
    for t in theirs:
        same = "the same counts" if t["same"] else f"other counts: {t['counts']}"
        print(
            f"frictionless {t['version']}: {t['cpu']:.1f} s of CPU, {t['peak_mib']:.0f} MiB; {same}; {t['cpu'] / ours['cpu']:.0f} times ours"
        )


if __name__ == "__main__":
    work = Path(sys.argv[2]) / "one"
    work.mkdir()
    try:
        shutil.copy(Path(sys.argv[2]) / "people.parquet", work)
        json.dump(_measure(Path(sys.argv[1]), work), sys.stdout)
    finally:
        shutil.rmtree(work)
