"""Result pages say what the committed JSON files say."""

import json
import re
from pathlib import Path

import pytest

from experiments import tables
from experiments.bandits import networks, regret, tabular, tabular_summary
from experiments.gtap import figure
from experiments.markdown import HERE, percents, table

PAGES = [pytest.param(*page, id=page[0].parent.name) for page in tables.pages()]
MARKER = re.compile(r"<!-- table: (\S+) -->")


@pytest.mark.parametrize(("path", "text", "wanted"), PAGES)
def test_the_tables_of_a_page_are_those_of_the_json_files(path, text, wanted):
    assert text == wanted, "run: python -m experiments.tables"


def test_percent_signs_stand_apart():
    pages = [*HERE.glob("*/*.md"), *HERE.parent.glob("docs/**/*.md")]
    wrong = [p.name for p in pages if re.search(r"\d%", p.read_text("utf-8"))]
    assert not wrong


def test_every_table_stands_on_a_page():
    texts = [text for _, text, _ in tables.pages()]
    placed = [name for text in texts for name in MARKER.findall(text)]
    assert sorted(placed) == sorted(tables.TABLES)


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_row_has_as_many_cells_as_the_head(name):
    columns = None
    for line in tables.TABLES[name]():
        if not line.startswith("|"):
            columns = None
            continue
        columns = columns or line.count("|")
        assert line.count("|") == columns, line


def test_check_finds_a_changed_number(tmp_path, monkeypatch, capsys):
    page = tmp_path / "experiments" / "fuzz" / "README.md"
    page.parent.mkdir(parents=True)
    good = (HERE / "fuzz" / "README.md").read_text(encoding="utf-8")
    page.write_text(good.replace("| wrong | 0 |", "| wrong | 7 |"), encoding="utf-8")
    monkeypatch.setattr(tables, "HERE", page.parents[1])
    assert tables.main(["--check"]) == 1
    assert tables.main([]) == 0
    assert capsys.readouterr().out.splitlines() == ["experiments/fuzz/README.md"] * 2
    assert page.read_text(encoding="utf-8") == good
    assert tables.main(["--check"]) == 0


def test_an_unknown_table_is_an_error_that_names_the_known_ones():
    with pytest.raises(KeyError, match=r"'nothing'.*'benchmarks'"):
        tables.written("<!-- table: nothing -->\n<!-- /table -->")


def test_empty_cells_and_percents():
    lines = table(("", "a"), "lr", [("x", ""), ("y", percents((0.1234, 0.05)))])
    wanted = ["| | a |", "| --- | ---: |", "| x | |", "| y | 12.3 ± 5.0 |"]
    assert lines == wanted


def test_the_page_of_regrets_is_that_of_its_file():
    rows = json.loads((HERE / "bandits" / "regret.json").read_text())["rows"]
    assert (HERE / "bandits" / "REGRET.md").read_text() == regret.markdown(rows)


def test_the_study_of_tables_names_those_that_have_results():
    folder = Path(tabular.__file__).parent / "results"
    paths = sorted(folder.glob("tabular-*.json"))
    assert {path.stem.removeprefix("tabular-") for path in paths} == {*tabular.NAMES}


def test_the_summary_of_the_networks_changes_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(networks, "HERE", tmp_path)
    networks.summary()
    for name in ("NETWORKS.md", "networks.json"):
        assert (tmp_path / name).read_text() == (HERE / "bandits" / name).read_text()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_page_of_the_tables_is_that_of_its_files(task):
    results = HERE / "bandits" / "results"
    runs = {
        path.stem.removeprefix("tabular-"): json.loads(path.read_text())
        for path in sorted(results.glob("tabular-*.json"))
    }
    runs = {name: run for name, run in runs.items() if run["task"] == task}
    part = json.loads((HERE / "bandits" / "tabular.json").read_text())[task]
    assert json.loads(json.dumps(tabular_summary.study(runs))) == part
    page = (HERE / "bandits" / "TABULAR.md").read_text()
    assert "\n".join(tabular_summary.markdown(task, runs, part)) in page


def test_the_figure_of_lenet5_is_drawn(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(figure, "PLACE", tmp_path / "lenet5.png")
    figure.main()
    assert (tmp_path / "lenet5.png").stat().st_size > 10_000
