"""What is asked of every library, on two real datasets, with the exact answers.

Privacy unit: one row is one person (all 20,190 person-years of `hie` are taken for people, since not every library can
bound a person's rows). Nothing is missing, numbers are clamped to public bounds, groups have public keys.
The exact answers are of the clamped numbers: what is compared is noise, and the same clamping is everyone's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import duckdb

from bench.measure import ROOT
from bench.peers.protocol import Key, Statistic

PROBABILITIES = (0.1, 0.25, 0.5, 0.75, 0.9)
WAYS = {0: "total", 1: "1-way", 2: "2-way", 3: "3-way"}
Columns = dict[str, dict[str, Any]]
Cell = tuple[str, tuple[Key, ...]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Statistics that are released together within one budget."""

    name: str
    statistics: tuple[Statistic, ...]

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "statistics": [asdict(s) for s in self.statistics]}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    name: str
    path: Path
    columns: Columns
    tasks: tuple[Task, ...]

    def bounds(self, column: str) -> tuple[float, float]:
        low, high = self.columns[column]["bounds"]
        return low, high

    def keys(self, s: Statistic) -> Iterator[tuple[Key, ...]]:
        return product(*(self.columns[c]["keys"] for c in s.by))


def level(s: Statistic) -> str:
    """What a statistic's error is reported under."""
    if s.kind == "count":
        return WAYS[len(s.by)]
    return "quantiles" if s.kind == "quantile" else f"{s.kind} {s.column}" + (f" | {' × '.join(s.by)}" if s.by else "")


def datasets(folder: Path) -> list[Dataset]:
    return [_hie(folder / "hie.parquet"), _fair(folder / "fair.parquet")]


def _hie(path: Path) -> Dataset:
    """Visits, health and insurance of the RAND Health Insurance Experiment: the demonstration's rows."""
    bands = {"0": 0, "1": 1, "2": 2, "3-4": 4, "5-9": 9, "10-19": 19, "20+": 10**9}
    band = " ".join(f"WHEN mdvis <= {most} THEN '{name}'" for name, most in bands.items())
    source = (ROOT / "tre" / "demo" / "hie.parquet").as_posix()
    columns: Columns = {
        "visits": {"kind": "category", "keys": list(bands)},
        "health": {"kind": "category", "keys": ["excellent", "good", "fair", "poor"]},
        "coinsurance": {"kind": "category", "keys": [0, 25, 50, 95, 100]},
        "age": {"kind": "number", "bounds": [0.0, 100.0], "step": 0.1},
        "mdvis": {"kind": "number", "bounds": [0.0, 50.0], "step": 1.0},
        "disea": {"kind": "number", "bounds": [0.0, 60.0], "step": 0.1},
    }
    with duckdb.connect(":memory:") as connection:
        query = f"SELECT *, CASE {band} END AS visits FROM read_parquet('{source}')"
        _write(connection, query, columns, path)
    means = [("mdvis", ("health",)), ("disea", ("coinsurance",)), ("mdvis", ("health", "coinsurance"))]
    tasks = _tasks(("visits", "health", "coinsurance"), number="mdvis", median="age", means=means)
    return Dataset(name="hie", path=path, columns=columns, tasks=tasks)


def _fair(path: Path) -> Dataset:
    """Fair (1978), 6,366 married women, as statsmodels ships it: a third of the rows, and more empty cells."""
    from statsmodels.datasets import fair

    columns: Columns = {
        "occupation": {"kind": "category", "keys": [1, 2, 3, 4, 5, 6]},
        "rate_marriage": {"kind": "category", "keys": [1, 2, 3, 4, 5]},
        "religious": {"kind": "category", "keys": [1, 2, 3, 4]},
        "age": {"kind": "number", "bounds": [0.0, 100.0], "step": 0.5},
        "educ": {"kind": "number", "bounds": [0.0, 20.0], "step": 1.0},
        "affairs": {"kind": "number", "bounds": [0.0, 20.0], "step": 0.1},
    }
    with duckdb.connect(":memory:") as connection:
        connection.register("source", fair.load_pandas().data)
        _write(connection, "SELECT * FROM source", columns, path)
    means = [("affairs", ("rate_marriage",)), ("educ", ("religious",)), ("affairs", ("rate_marriage", "religious"))]
    tasks = _tasks(("occupation", "rate_marriage", "religious"), number="educ", median="age", means=means)
    return Dataset(name="fair", path=path, columns=columns, tasks=tasks)


def _write(connection: duckdb.DuckDBPyConnection, query: str, columns: Columns, path: Path) -> None:
    def kind(column: Mapping[str, Any]) -> str:
        if column["kind"] == "number":
            return "BIGINT" if column["step"] == 1 else "DOUBLE"
        return "VARCHAR" if isinstance(column["keys"][0], str) else "BIGINT"

    wanted = ", ".join(f"CAST({name} AS {kind(column)}) AS {name}" for name, column in columns.items())
    connection.execute(f"COPY (SELECT {wanted} FROM ({query})) TO '{path}' (FORMAT parquet)")


def _tasks(
    table: tuple[str, str, str], *, number: str, median: str, means: list[tuple[str, tuple[str, ...]]]
) -> tuple[Task, ...]:
    grouped = [Statistic(_name("mean", by, column), "mean", by, column) for column, by in means]
    quantiles = [Statistic(f"quantile {p} {median}", "quantile", (), median, p) for p in PROBABILITIES]
    alone = [
        Statistic("count", "count"),
        *(Statistic(f"{kind} {number}", kind, (), number) for kind in ("sum", "mean", "variance")),
        Statistic(f"median {median}", "quantile", (), median, 0.5),
        grouped[0],
    ]
    return (
        *(Task(name=s.name, statistics=(s,)) for s in alone),
        Task(name="2-way table", statistics=_margins(table[1:])),
        Task(name="3-way table", statistics=_margins(table)),
        Task(name="workload", statistics=(*_margins(table), *grouped, *quantiles)),
    )


def _margins(by: tuple[str, ...]) -> tuple[Statistic, ...]:
    """A table and every table it can be summed to, the largest first."""
    subsets = [chosen for n in range(len(by), -1, -1) for chosen in combinations(by, n)]
    return tuple(Statistic(_name("count", chosen), "count", chosen) for chosen in subsets)


def _name(kind: str, by: tuple[str, ...], column: str = "") -> str:
    return f"{kind} {column}".strip() + (f" | {' × '.join(by)}" if by else "")


def exact(data: Dataset) -> dict[Cell, float | None]:
    """Every statistic's true value by cell; None where it has none (a mean of no rows)."""
    found: dict[Cell, float | None] = {}
    with duckdb.connect(":memory:") as connection:
        for s in dict.fromkeys(s for task in data.tasks for s in task.statistics):
            columns = ", ".join([*s.by, _sql(data, s)])
            sql = f"SELECT {columns} FROM read_parquet('{data.path}')" + (
                f" GROUP BY {', '.join(s.by)}" if s.by else ""
            )
            rows = {tuple(keys): value for *keys, value in connection.execute(sql).fetchall()}
            empty = 0.0 if s.kind in ("count", "sum") else None
            found |= {(s.name, keys): rows.get(keys, empty) for keys in data.keys(s)}
    return found


def _sql(data: Dataset, s: Statistic) -> str:
    if s.column is None:
        return "count(*)"
    low, high = data.bounds(s.column)
    clamped = f"greatest(least({s.column}, {high}), {low})"
    if s.kind == "quantile":
        return f"quantile_disc({clamped}, {s.probability})"
    return {"sum": "sum", "mean": "avg", "variance": "var_pop"}[s.kind] + f"({clamped}::DOUBLE)"
