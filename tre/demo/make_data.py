"""Makes the demonstration's two Parquet files from the RAND Health Insurance Experiment, as it lies inside statsmodels.

Run as `python -m tre.demo.make_data [FOLDER]`; its results are in the repository, so nobody needs statsmodels to use them.
Guarantees: no row is added, left out or changed but by the naming of codes (site, sex, health) and rounding (income to
dollars, spending to cents, age to tenths of a year, indices to four places). What the columns mean is in DATA.md beside this file.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pandas as pd

SITES = {1: "Dayton", 2: "Seattle", 3: "Fitchburg", 4: "Franklin County", 5: "Charleston", 6: "Georgetown"}

# Ours: the source's.
COLUMNS = {
    "person": "zper",
    "year": "year",
    "site": "site",
    "coinsurance": "coins",
    "sex": "female",
    "age": "xage",
    "income": "income",
    "family_size": "num",
    "education": "educdec",
    "health": "health",
    "mhi": "mhi",
    "disea": "disea",
    "physlm": "physlm",
    "mdvis": "mdvis",
    "mentvis": "mentvis",
    "totadm": "totadm",
    "meddol": "meddol",
}

FIRST_YEAR = ["site", "coinsurance", "sex", "age", "income", "family_size", "education", "health", "mhi", "disea"]


def source() -> Path:
    """The source file (not the packaged loader, which drops the persons' identifier)."""
    return Path(sysconfig.get_paths()["purelib"]) / "statsmodels/datasets/randhie/src/randhie.csv"


def person_years(raw: pd.DataFrame) -> pd.DataFrame:
    """One row for each person and year."""
    raw = raw.assign(
        site=raw["site"].map(SITES), female=raw["female"].map({0: "male", 1: "female"}), health=_health(raw)
    )
    frame = raw[list(COLUMNS.values())].set_axis(list(COLUMNS), axis=1)
    frame = frame.round({"age": 1, "income": 0, "meddol": 2, "education": 4, "mhi": 4, "disea": 4, "physlm": 4})
    return frame.sort_values(["person", "year"]).reset_index(drop=True)


def _health(raw: pd.DataFrame) -> pd.Series:
    """The source has an indicator each for good, fair and poor; none of them set means excellent."""
    health = pd.Series("excellent", index=raw.index)
    for column, name in {"hlthg": "good", "hlthf": "fair", "hlthp": "poor"}.items():
        health = health.mask(raw[column] == 1, name)
    return health


def people(years: pd.DataFrame) -> pd.DataFrame:
    """One row for each person: what was known in the first year, and the number of years."""
    by_person = years.groupby("person", sort=True)
    first = years.loc[~years.duplicated("person"), ["person", *FIRST_YEAR]].reset_index(drop=True)
    return first.assign(years=by_person.size().to_numpy())


def main(folder: Path) -> None:
    years = person_years(pd.read_csv(source()))
    for name, frame in {"hie": years, "hie_people": people(years)}.items():
        frame.to_parquet(folder / f"{name}.parquet", compression="zstd", compression_level=19, index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
