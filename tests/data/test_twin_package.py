"""A published twin's files: their descriptor is a Data Package that Frictionless itself takes, rows and all."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from bench import peers
from tests.data.test_twins import EVERYTHING, LABEL, schema_of
from tre.rules import datapackage
from tre.rules.datapackage import Described
from tre.rules.schema import TableSchema
from tre.rules.twin import Tier, TwinPolicy
from tre.secure.data import twin_file, twin_package, twin_tiers

HIDDEN = tuple(f.name for f in EVERYTHING.fields if f.name != "nhs")
MARKERS = EVERYTHING.model_copy(update={"missing_values": ("NA", "")})
KINDS = {
    "everything": (EVERYTHING, None), "without its person": (EVERYTHING, HIDDEN), "with a marker": (MARKERS, None),
    "hie-people": (schema_of("hie-people"), None),
}  # fmt: skip
SIGNER = twin_package.Signer(area="Toy", key="0" * 64, sign=lambda _: "0" * 128)
# Whatever is wrong with the descriptor, and with the rows of the CSV. (Its reader of Parquet goes by pandas, where a whole number
# beside a missing one is none any more.)
VALIDATE = """
import json, sys
from frictionless import Package, validate
package = Package("datapackage.json")
report = package.get_resource("d-synthetic-csv").validate()
errors = report.flatten(["title", "note"]) + [str(e) for e in report.errors + list(Package.metadata_validate(package.to_descriptor()))]
print(json.dumps({"rows": report.tasks[0].stats["rows"], "errors": errors}))
"""


@pytest.fixture(scope="module", params=KINDS)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    schema: TableSchema = KINDS[request.param][0]
    columns = KINDS[request.param][1] or tuple(f.name for f in schema.fields)
    folder = tmp_path_factory.mktemp("package")
    made = twin_tiers.make(schema, TwinPolicy(tier=Tier.STRUCTURAL, rows=300), None, seed=1)
    twin_file.write(made.frames, schema, LABEL, folder / "twin.parquet")
    about = Described(
        id="d", title="A dataset", description="", source="a source", licence="public domain", steward="-", schema=schema,
        columns=columns, rows=0,
    )  # fmt: skip
    out = folder / "out"
    out.mkdir()
    twin_package.write(folder / "twin.parquet", about, out, column=True, signer=SIGNER)
    return out


@pytest.mark.slow
def test_frictionless_finds_nothing_wrong_with_the_descriptor_or_the_rows(package: Path) -> None:
    python = peers.ENVIRONMENTS / "frictionless" / "bin" / "python"
    if not python.is_file():
        pytest.skip("""no Frictionless here: python -c 'from bench import peers; peers.environment("frictionless")'""")
    command = [str(python), "-c", VALIDATE]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == []
    rows = pd.read_parquet(next(package.glob("*.parquet")))
    assert found["rows"] == len(rows)


def test_a_table_says_in_every_row_what_it_is_and_how_a_missing_value_reads(package: Path) -> None:
    text = next(package.glob("*.SYNTHETIC.*.csv")).read_text()
    descriptor = json.loads((package / "datapackage.json").read_text())
    marker = descriptor["resources"][0]["schema"]["missingValues"][0]
    lines = text.splitlines()
    assert lines[0].endswith(f",{datapackage.SYNTHETIC}")
    assert all(line.endswith(",SYNTHETIC (valid)") for line in lines[1:])
    assert any(f",{marker}," in line for line in lines[1:])


def test_every_file_is_named_by_the_signature(package: Path) -> None:
    label = json.loads((package / "twin.receipt.json").read_text())
    assert set(label["statement"]["files"]) == {p.name for p in package.iterdir()} - {"twin.receipt.json"}
