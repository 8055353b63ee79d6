"""The rows that the corpus is about: people with one row each, and visits with three; small enough to know by heart."""

import csv

SITES = ["A"] * 400 + ["B"] * 350 + ["C"] * 300 + ["D"] * 146 + ["E"] * 4
PEOPLE_COLUMNS = ("person", "sex", "site", "region", "ward", "age", "ill", "income", "grant", "loss")
VISITS_COLUMNS = ("person", "year", "sex", "clinic", "cost")


def people():
    """1,200 people. Site E has four; all of ward w3 are ill; one person has nearly all grants, two have most losses."""
    for p, site in enumerate(SITES):
        ward = "w3" if p % 40 == 7 else f"w{p % 2 + 1}"
        ill = ward == "w3" or p % 4 == 0
        grant = 10_000_000 if p == 0 else 100 + p % 50
        loss = {1: -900_000, 3: -800_000}.get(p, -(1 + p % 3))
        yield (p, "fm"[p // 2 % 2], site, ("north", "south")[p % 3 == 0], ward, 18 + p % 60, ill, 20_000 + p * 37 % 1000 * 20, grant, loss)  # fmt: skip


def visits():
    """400 people with a visit in each of three years, but four who came in the last two only; clinic Z had twelve visits
    of three people, who are in the others too; one person's visits cost as much as all others' together."""
    for p in range(400):
        for year in (1, 2, 3):
            if p < 4 and year == 1:
                continue
            yield (p, year, "fm"[p % 2], "XY"[p % 2], 250_000 if p == 9 else 100 + p % 40)
    for i in range(12):
        yield (100 + i % 3, 4 + i // 3, "fm"[i % 2], "Z", 120)


def _field(name, kind, **constraints):
    return {"name": name, "type": kind, "constraints": {"required": True, **constraints}}


PEOPLE = {
    "fields": [
        _field("person", "integer"),
        _field("sex", "string", enum=["f", "m"]),
        _field("site", "string", enum=["A", "B", "C", "D", "E"]),
        _field("region", "string", enum=["north", "south"]),
        _field("ward", "string", enum=["w1", "w2", "w3"]),
        _field("age", "integer", minimum=0, maximum=120),
        _field("ill", "boolean"),
        _field("income", "integer", minimum=0, maximum=100_000),
        _field("grant", "integer", minimum=0, maximum=100_000_000),
        _field("loss", "integer", minimum=-10_000_000, maximum=0),
    ],
    "unit": {"field": "person", "max_rows": 1},
}
VISITS = {
    "fields": [
        _field("person", "integer"),
        _field("year", "integer", enum=[1, 2, 3, 4, 5, 6, 7]),
        _field("sex", "string", enum=["f", "m"]),
        _field("clinic", "string", enum=["X", "Y", "Z"]),
        _field("cost", "integer", minimum=0, maximum=1_000_000),
    ],
    "unit": {"field": "person", "max_rows": 7},
}
DATASETS = {"people": (PEOPLE, PEOPLE_COLUMNS, people), "visits": (VISITS, VISITS_COLUMNS, visits)}


def write(folder):
    """Each dataset as a CSV file; returns the paths by name."""
    paths = {}
    for name, (_, columns, rows) in DATASETS.items():
        paths[name] = folder / f"{name}.csv"
        with paths[name].open("w", newline="") as f:
            out = csv.writer(f)
            out.writerow(columns)
            out.writerows(rows())
    return paths
