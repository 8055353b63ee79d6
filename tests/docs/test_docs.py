"""The documentation: code in it runs, tables in it are those of the code, links in it lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml

from tests.journey.conftest import notebook
from tests.statistics.test_expression import LANGUAGE
from tre.secure.data.twin_file import read_label
from tre.secure.services import create, open_area

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (file|notebook): (\S+) -->\n)?```(\w+)( background)?\n(.*?)```", re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_page_of_expressions_is_the_tests_table():
    text = (ROOT / "docs/reference/expressions.md").read_text()
    assert re.findall(r"^\| `(.*)` \|$", text, re.M) == [t for t, _ in LANGUAGE]


def test_every_security_property_names_a_module_and_a_test_that_exist():
    lines = [r for r in (ROOT / "docs/security.md").read_text().splitlines() if re.match(r"\| \d+ \|", r)]
    assert [int(r.split("|")[1]) for r in lines] == list(range(1, len(lines) + 1))
    for line in lines:
        *_, held, caught, _ = line.split("|")
        folder = None
        for cell in (held, caught):
            for name in re.findall(r"`([a-z_/.]+\.py|tre/[a-z_/]+|tests/[a-z_/]+\.py)`", cell):
                path = ROOT / name if "/" in name else folder / name
                assert path.exists(), name
                folder = path.parent


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A desk whose twin of `hie` is the public data themselves."""
    from tre.desk import workspace
    from tre.desk.store import Store
    from tre.messages import DatasetInfo
    from tre.rules.policy import Dataset
    from tre.rules.schema import SyntheticLabel

    declared = Dataset.model_validate(yaml.safe_load((ROOT / "policies/datasets/hie.yaml").read_text()))
    columns = tuple(f.name for f in declared.fields if f.name != "person")
    info = DatasetInfo(
        id="hie", title=declared.title, description="", source="", licence="", steward="", population="hie-participants",
        version="1", delta=1e-6, size=declared.size, columns=columns, table=declared.table.only(columns),
        twin=SyntheticLabel(tier="plausible", made="today", generator="-", epsilon=0.5, delta=1e-6, learnt="-"),
    )  # fmt: skip
    path = tmp_path / "twin.parquet"
    order = "row_number() OVER (PARTITION BY person ORDER BY year) - 1 AS tre_order"
    query = f"SELECT *, person AS tre_person, {order} FROM read_parquet('{ROOT / 'tre/demo/hie.parquet'}')"
    duckdb.connect().execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    monkeypatch.setenv("TRE_HOME", str(tmp_path / "desk"))
    monkeypatch.delenv("TRE_URL", raising=False)
    Store(tmp_path / "desk").save_twin(info, path.read_bytes())
    workspace.current.cache_clear()
    yield
    workspace.current.cache_clear()


@pytest.mark.slow
def test_every_call_of_the_page_of_statistics_is_made(desk):
    import tre

    page = (ROOT / "docs/reference/statistics.md").read_text()
    calls = re.findall(r"^\| `(tre\..*?)` \|", page, re.M)
    offered = {
        name
        for name in tre.__all__
        if name not in ("TreError", "acro_outputs", "dataset", "estimate", "output", "found", "panel", "watch")
    }
    assert {re.match(r"tre\.(\w+)", c)[1] for c in calls} == offered
    visits = tre.dataset("hie").derive(any_visit="mdvis > 0")
    for call in calls:
        statistic = eval(call, {"tre": tre})  # noqa: S307  # a page of ours
        grouped = visits.group_by("sex") if not call.startswith("tre.logistic") else visits
        release = grouped.release("it", epsilon=4.0, s=statistic)
        assert release.to_pandas().shape[0] > 0
        assert "SYNTHETIC" in repr(release)
        release.plot()
        assert release.card()["share of the loss"].sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_a_shipped_notebook_runs_at_a_desk(desk, path):
    names = {}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102


def test_the_code_on_the_page_of_errors_runs(desk, capsys):
    names = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs/how-to/ask-for-an-error.md").read_text(), re.S):
        exec(code, names)  # noqa: S102
    assert "epsilon 0.5 (delta 1e-06)" in capsys.readouterr().out
    found = names["by_plan"].price(error={"n": 60}, n=names["tre"].count())
    assert found.price.errors()["n"] <= 60


def test_the_code_on_the_page_of_outputs_runs(desk):
    names = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs/how-to/propose-an-output.md").read_text(), re.S):
        exec(code, names)  # noqa: S102
    assert names["shown"].findings
    assert "suppressed" in names["careful"].content.decode() or names["careful"].statement.suppress
    names["axes"].figure.clear()


def test_every_disclosure_rule_and_threshold_is_on_its_page():
    from tre.rules.disclosure.finding import Rule
    from tre.rules.policy import Disclosure

    rules, _, thresholds = (ROOT / "docs/reference/disclosure.md").read_text().partition("## Thresholds")
    assert set(re.findall(r"^\| `([a-z_]+)` \|", rules, re.M)) == {r.value for r in Rule}
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \|", thresholds, re.M)
    said = {
        k: v for names, values in rows for k, v in zip(re.findall(r"`(.*?)`", names), values.split(", "), strict=True)
    }
    assert {k: v.strip("`") for k, v in said.items()} == {
        k: str(v).lower() for k, v in Disclosure().model_dump(mode="json").items()
    }


@pytest.mark.slow
def test_a_dataset_of_your_own_goes_through_by_the_commands_of_the_page(tmp_path):
    _follow("docs/how-to/your-own-dataset.md", tmp_path)
    values = json.loads((tmp_path / "results" / "values.json").read_text())["released"]
    assert values[0]["name"] == "loans-by-branch"
    people = {tuple(c["keys"]): c["value"] for c in values[0]["table"]["cells"] if c["statistic"] == "people"}
    assert set(people) == {(b, a) for b in ("Central", "Harbour", "Hill") for a in ("under 18", "adult")}
    assert os.path.isfile(tmp_path / "results" / "receipt.json")  # noqa: PTH113


def test_the_code_on_the_page_of_budgets_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/reference/budgets.md").read_text(), re.S)
    exec(code, {})  # noqa: S102


def test_every_refusal_on_the_page_of_budgets_is_one_of_the_code():
    refusals = (ROOT / "docs/reference/budgets.md").read_text().partition("## Refusals")[2]
    modules = ("rules/ledger.py", "secure/ledger.py", "secure/applying.py")
    source = "".join((ROOT / "tre" / name).read_text() for name in modules)
    raised = set(re.findall(r'raise [A-Za-z]+\(\s*"([a-z_]+)"', source))
    assert set(re.findall(r"^\| `([a-z_]+)` \|", refusals, re.M)) == raised


@pytest.mark.slow
def test_a_budget_is_kept_and_raised_by_the_commands_of_the_page(tmp_path):
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    _follow("docs/how-to/budgets.md", tmp_path)
    services = open_area(tmp_path / "area")
    (found,) = services.budgets()
    services.close()
    assert found["limit_epsilon"] == pytest.approx(9, abs=1e-6)
    assert [a["kind"] for a in found["this_year"]] == ["population, this year"]


@pytest.mark.slow
def test_an_area_is_backed_up_restored_and_registered_by_the_commands_of_the_page(tmp_path):
    services = create(tmp_path / "area")
    services.apply(ROOT / "policies", dry_run=False)
    services.close()
    _follow("docs/how-to/keep-and-publish.md", tmp_path)
    restored = open_area(tmp_path / "new-area")
    restored.need_whole()
    restored.close()
    assert (tmp_path / "register" / "index.html").is_file()
    assert (tmp_path / "tuesday.json").is_file()


@pytest.mark.slow
def test_quality_is_measured_stated_and_sealed_by_the_commands_of_the_page(tmp_path):
    _follow("docs/how-to/data-quality.md", tmp_path)
    stated = json.loads((tmp_path / "loans-quality.json").read_text())
    assert stated["noise"]["epsilon"] == 0.5
    assert f"of {stated['noise']['rows']:,} rows" in (tmp_path / "loans-quality.html").read_text()
    assert json.loads((tmp_path / "loans-seal.json").read_text())["statement"]["level"] == "silver"


def test_every_key_of_quality_is_on_the_page_of_policies():
    from tre.rules.quality import QualityPolicy

    page = (ROOT / "docs/reference/policies.md").read_text().partition("`quality` says")[2]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.M)) == set(QualityPolicy.model_fields)


@pytest.mark.slow
def test_an_area_is_put_on_a_server_by_the_commands_of_the_page(tmp_path, postgresql):
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    _follow("docs/how-to/postgresql.md", tmp_path, DATABASE=postgresql.new())
    services = open_area(tmp_path / "area")
    assert services.context.database.engine.dialect.name == "postgresql"
    services.close()


@pytest.mark.slow
def test_a_twin_is_made_and_made_larger_for_nothing_by_the_commands_of_the_page(tmp_path):
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    shutil.copy(ROOT / "tre/demo/hie.parquet", tmp_path)
    _follow("docs/how-to/twins.md", tmp_path)
    twin = tmp_path / "area" / "twins" / "hie.SYNTHETIC.parquet"
    label, rows = read_label(twin), pq.read_metadata(twin).num_rows
    assert label.tier == "multivariate plausible"
    assert "relations between columns" in label.learnt
    assert rows == pytest.approx(40_000, rel=0.05)
    services = open_area(tmp_path / "area")
    (found,) = services.budgets()
    services.close()
    assert found["used_epsilon"] == pytest.approx(1, abs=1e-3)  # once
    assert "must not be used for" in (tmp_path / "hie-twin" / "index.html").read_text()
    assert "real rows WITHOUT noise" in (tmp_path / "area" / "reports" / "hie.html").read_text()
    assert "real rows WITHOUT noise" not in (tmp_path / "quality.html").read_text()


def _follow(page, folder, **more):
    """Blocks in order: files and the notebook are written, Python and shell run in one folder as a reader would."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder), "TRE_HOME": str(folder / "desk"),
        **more,
    }  # fmt: skip
    shell = "set -eu\n"
    background = []
    try:
        for kind, name, language, behind, body in BLOCK.findall((ROOT / page).read_text()):
            if kind == "file":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(body)
            elif kind == "notebook":
                (folder / name).write_text(notebook(body))
            elif language in ("sql", "yaml"):
                continue  # shown, and not a file
            elif language == "python":
                subprocess.run([sys.executable, "-c", body], cwd=folder, check=True)
            elif behind:
                area = {**environment, "TRE_AREA": str(folder / "area")}
                background.append(subprocess.Popen(["bash", "-c", f"exec {body}"], cwd=folder, env=area))
                _until(folder / "area" / "gateway.url")
            else:
                command = ["bash", "-c", shell + body]
                done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                shell += "".join(f"{line}\n" for line in body.splitlines() if line.startswith("export TRE_AREA"))
    finally:
        for process in background:
            process.terminate()
            process.wait()


def _until(path):
    import time

    while not path.is_file():
        time.sleep(0.05)
