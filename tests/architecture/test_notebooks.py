"""The shipped notebooks: without outputs, and acceptable to our own gateway."""

from pathlib import Path

import pytest

from tre.rules import notebook as rules

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", [*NOTEBOOKS, *(ROOT / "binder").glob("*.ipynb")], ids=lambda p: p.name)
def test_a_shipped_notebook_is_stripped_and_acceptable(path):
    content = path.read_bytes()
    assert rules.strip(content) == content
    rules.check(content)


def test_there_is_a_first_analysis():
    assert NOTEBOOKS[0].name == "01-first-analysis.ipynb"
