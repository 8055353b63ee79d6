"""The demonstration's policies without a wall are for the demonstration's own data."""

import shutil

import pytest
import yaml

from tre.demo.__main__ import ROOT
from tre.demo.unwalled import TITLE, policies
from tre.errors import TreError
from tre.secure.policies import load


def test_they_say_so_themselves(tmp_path):
    made = load(policies(ROOT / "policies", tmp_path))
    assert (made.area.title, made.area.sandbox.isolation) == (TITLE, "none")
    assert {name: d.public for name, d in made.datasets.items()} == {"hie": True, "hie-people": True}


def test_another_dataset_beside_them_is_not_made_public_but_refused(tmp_path):
    source = shutil.copytree(ROOT / "policies", tmp_path / "source")
    theirs = yaml.safe_load((source / "datasets/hie.yaml").read_text())
    (source / "datasets/patients.yaml").write_text(yaml.safe_dump(theirs | {"title": "Patients"}))
    with pytest.raises(TreError, match="patients"):
        load(policies(source, tmp_path))
