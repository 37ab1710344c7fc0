"""`gamepruning compare`, and `prune` by bandits."""

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from gamepruning.stats import compare_methods
from gamepruning.types import InputError
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.jobs import compare as comparing
from gamepruning.workbench.report.comparison import (
    blocks_of,
    comparison_table,
    headline,
    make_figures,
    rank,
    render_compare,
)
from gamepruning.workbench.report.method_plots import plot_ranks
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.settings.studies import CompareSettings

QUICK = "--widths 10 6 --epochs 3 --batch-size 128"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_table(path, seed):
    """A small table of two classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(240, 3))
    labels = np.where(x[:, 0] + x[:, 1] * x[:, 2] > 0, "yes", "no")
    rows = [",".join([*(f"{v:.3f}" for v in row), y]) for row, y in zip(x, labels)]  # noqa: B905
    path.write_text("\n".join(["a,b,c,target", *rows]) + "\n")


def test_it_goes_on_where_it_was_cut_off(folder, monkeypatch):
    """The equilibrium is done, ucb1 is interrupted, and the rest is done later."""
    write_table(folder / "t.csv", 0)
    words = f"compare --datasets t.csv {QUICK} --seeds 1 --keep 0.5 --sizes 0.7"
    words += " --fine-tune 1 --methods equilibrium ucb1 --out run"
    plain, asked = comparing._run, []

    def cut_off(settings, dataset, method, *rest):
        asked.append(method)
        if method == "ucb1" and len(asked) == 3:
            raise KeyboardInterrupt
        return plain(settings, dataset, method, *rest)

    monkeypatch.setattr(comparing, "_run", cut_off)
    assert main(words.split()) == 130
    assert not (folder / "run").exists()
    assert main("compare --resume --out run".split()) == 0
    assert asked == ["dense", "equilibrium", "ucb1", "ucb1"]
    found = json.loads((folder / "run/compare.json").read_text())
    assert [row["method"] for row in found["rows"]] == ["dense", "equilibrium", "ucb1"]
    for row in found["rows"]:
        is_dense = row["method"] == "dense"
        assert abs(row["kept"] - (1.0 if is_dense else 0.5) * row["of"]) <= 1
        assert 0 <= row["before"] <= 1
        assert 0 <= row["after"] <= 1
    assert "ranks" not in found
    page = (folder / "run/compare.html").read_text()
    assert page.count("<svg") == 1 and "nothing to rank" in page
    assert len((folder / "run/compare.csv").read_text().splitlines()) == 4


def rows_of(results):
    """Rows of a comparison by (data set, seed, method)."""
    common = {"metric": "accuracy", "kept": 5, "of": 10, "seconds": 1.0}
    common |= {"sizes": [2, 5], "values": [0.4, 0.5], "evaluations": 0}
    return [
        {"dataset": t, "seed": s, "method": m, "before": v - 0.1, "after": v, **common}
        for (t, s, m), v in results.items()
    ]


def test_blocks_are_data_sets_and_their_seeds_are_averaged():
    settings = CompareSettings.of(
        datasets=("a", "b.csv"), methods=("ucb1", "random"), sizes=(0.5,), seeds=2
    )
    results = {
        **{("a", 0, "ucb1"): 0.9, ("a", 1, "ucb1"): 0.5, ("b.csv", 0, "ucb1"): 0.8},
        **{("a", 0, "random"): 0.6, ("a", 1, "random"): 0.6},
        **{("b.csv", 1, "ucb1"): 0.8, ("b.csv", 0, "random"): 0.9},
        **{("b.csv", 1, "random"): 0.9},
    }  # a: .7 against .6; b: .8 against .9
    rows = rows_of(results)
    found = rank(settings, rows)
    assert found is not None and found.num_blocks == 2
    assert found.ranks.tolist() == [1.5, 1.5]
    dense = rows_of({(t, s, "dense"): 1.0 for t in ("a", "b.csv") for s in (0, 1)})
    figures = make_figures(settings, rows + dense, found)
    assert set(figures) == {"ranks", "curve-a", "curve-b"}
    page = render_compare(settings, rows + dense, found, figures, {})
    assert page.count("<svg") == 3 and "Iman and Davenport" in page
    assert "75.0 %" in page  # the mean of ucb1 after fine-tuning


def test_what_is_not_finite_is_behind_and_loses_nothing():
    settings = CompareSettings.of(
        datasets=("a b.csv", "a-b.csv"),
        methods=("ucb1", "hedge", "random"),
        sizes=(0.5,),
        seeds=1,
    )
    results = {
        **{("a b.csv", 0, "ucb1"): 0.5, ("a b.csv", 0, "random"): -2.0},
        **{("a b.csv", 0, "hedge"): -np.inf, ("a-b.csv", 0, "hedge"): 0.4},
        **{("a-b.csv", 0, "ucb1"): np.nan, ("a-b.csv", 0, "random"): 0.3},
    }
    rows = rows_of(results)
    found = rank(settings, rows)
    assert found is not None and found.ranks.tolist() == [2, 2, 2]
    assert "too few blocks to tell any two methods apart" in headline(settings, found)
    dense = rows_of({(t, 0, "dense"): 1.0 for t in settings.datasets})
    figures = make_figures(settings, rows + dense, found)
    assert len(figures) == 3  # both curves, though their names are alike


def test_what_was_computed_survives_a_bad_input_later_on(folder, monkeypatch, capsys):
    write_table(folder / "t.csv", 0)
    words = f"compare --datasets t.csv {QUICK} --seeds 1 --keep 0.5 --sizes 0.7"
    words += " --fine-tune 0 --methods magnitude random --out run"
    plain = comparing._run

    def broken(settings, dataset, method, *rest):
        if method == "random":
            raise InputError("look for NaN in the inputs")
        return plain(settings, dataset, method, *rest)

    monkeypatch.setattr(comparing, "_run", broken)
    assert main(words.split()) == 2
    assert "resume with: gamepruning compare --resume" in capsys.readouterr().err
    monkeypatch.setattr(comparing, "_run", plain)
    assert main("compare --resume --out run".split()) == 0


def test_a_table_with_a_rare_class_and_another_target(folder, capsys):
    write_table(folder / "t.csv", 0)
    lines = (folder / "t.csv").read_text().replace("target", "kind").splitlines()
    lines.append("1,2,3,once")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    words = f"compare --datasets t.csv {QUICK} --seeds 1 --keep 0.5 --sizes 0.7"
    words += " --fine-tune 0 --methods ucb1 random --target kind"
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert "t.csv" in error and "'once'" in error and "--rare-classes drop" in error
    words += " --rare-classes drop"
    assert main([*words.split(), "--pulls", "5"]) == 2
    assert "fewer than the 16 players" in capsys.readouterr().err
    assert main([*words.split(), "--pulls", "40", "--out", "run"]) == 0
    rows = json.loads((folder / "run/compare.json").read_text())["rows"]
    pulls = {row["method"]: row["evaluations"] for row in rows}
    assert pulls["ucb1"] % 40 == 0 and pulls["random"] == 0


def test_classes_and_numbers_are_compared_apart(folder, capsys):
    write_table(folder / "a.csv", 0)
    lines = (folder / "a.csv").read_text().replace("yes", "1.25").replace("no", "3.5")
    numbers = [f"{line}{k}" if k else line for k, line in enumerate(lines.split("\n"))]
    (folder / "b.csv").write_text("\n".join(numbers[:-1]) + "\n")
    words = f"compare --datasets a.csv b.csv {QUICK} --methods ucb1 random"
    assert main(words.split()) == 2
    assert "compare them apart" in capsys.readouterr().err


def test_how_long_it_takes_is_told_before_it_begins(folder, capsys, monkeypatch):
    """Once, with the number of methods and networks, and not again on resuming."""
    write_table(folder / "t.csv", 0)
    words = f"compare --datasets t.csv {QUICK} --seeds 1 --keep 0.5 --sizes 0.7"
    words += " --fine-tune 0 --methods building ucb1 random --pulls 20 --out run"

    def cut_off(settings, dataset, method, *rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(comparing, "_run", cut_off)
        assert main(words.split()) == 130
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"About [\d.]+ min for 3 methods on 1 network: a training", told)
    assert main("compare --resume --out run".split()) == 0
    assert "About" not in capsys.readouterr().out


@pytest.mark.parametrize(("keep", "kept"), [("5", 5), ("4/3", 7)])
def test_a_size_is_a_count_or_a_count_for_each_family(folder, keep, kept):
    write_table(folder / "t.csv", 0)
    words = f"compare --datasets t.csv {QUICK} --seeds 1 --keep {keep} --sizes 0.8"
    words += " --methods magnitude random --fine-tune 1 --out run"
    assert main(words.split()) == 0
    rows = json.loads((folder / "run/compare.json").read_text())["rows"]
    assert [row["kept"] for row in rows] == [16, kept, kept]
    assert (
        f"Every method keeps {keep} of the players"
        in (folder / "run/compare.html").read_text()
    )


def test_two_files_of_one_name_are_told_apart(folder):
    for name, words in (("one", "yes no"), ("two", "good bad")):
        (folder / name).mkdir()
        write_table(folder / name / "t.csv", 0)
        text = (folder / name / "t.csv").read_text()
        for old, new in zip(("yes", "no"), words.split(), strict=True):
            text = text.replace(old, new)
        (folder / name / "t.csv").write_text(text)
    words = "compare --datasets one/t.csv two/t.csv --widths 4 3 --epochs 1 --seeds 1"
    words += " --methods magnitude random --fine-tune 0 --keep 0.5 --sizes 0.7"
    assert main([*words.split(), "--out", "run"]) == 0
    found = json.loads((folder / "run/compare.json").read_text())
    assert found["classes"] == {"one/t": ["no", "yes"], "two/t": ["bad", "good"]}
    data = json.loads((folder / "run/config.json").read_text())["data"]
    assert [line[-1].split()[-1] for line in data.values()] == ["'no'", "'bad'"]
    figures = {path.stem for path in (folder / "run/figures").iterdir()}
    assert figures == {"ranks", "curve-one-t", "curve-two-t"}
    assert "2 ways to prune one/t, two/t" in (folder / "run/compare.html").read_text()


def test_one_block_has_no_ranks():
    settings = CompareSettings.of(seeds=1, methods=("ucb1", "random"))
    assert blocks_of(settings) == [("digits", 0)]
    rows = [
        {"dataset": "digits", "seed": 0, "method": m, "before": 0.5, "after": None}
        for m in settings.methods
    ]
    assert rank(settings, rows) is None


@pytest.mark.parametrize(("num_blocks", "wins"), [(12, True), (4, False)])
def test_a_winner_is_marked_only_where_it_is_told_apart(num_blocks, wins):
    """Ranks are 1, 2, 3: Nemenyi's difference is 0.96 of 12 blocks and 1.66 of 4."""
    names = ("ucb1", "thompson", "random")
    settings = CompareSettings.of(methods=names, seeds=num_blocks)
    results = dict(zip(("dense", *names), (1.0, 0.9, 0.7, 0.5), strict=True))
    blocks = range(num_blocks)
    rows = rows_of({("digits", s, m): v for m, v in results.items() for s in blocks})
    table = comparison_table(settings, rows, rank(settings, rows))
    heroes = [row.cells[0] for row in table.rows if row.kind == "hero"]
    assert heroes == (["ucb1"] if wins else [])


def test_the_diagram_names_everyone():
    table = np.random.default_rng(0).normal(size=(12, 5)) + np.arange(5)[None]
    found = compare_methods(table, ["ucb1", "thompson", "magnitude", "random", "hedge"])
    texts = [t.get_text() for t in plot_ranks(found).axes[0].texts]
    for name, value in zip(found.names, found.ranks, strict=True):
        assert any(name in text and f"{value:.2f}" in text for text in texts)
    assert any("critical difference" in text for text in texts)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--methods ucb1", "two names or more"),
        ("--methods ucb1 nobody", "no method 'nobody'"),
        ("--keep 1.5", "--keep as a fraction in (0, 1)"),
        ("--alpha 0", "--alpha in (0, 1)"),
        ("--keep 4/3 --methods ucb1 random", "4/3 counts each family, but ucb1"),
        ("--keep 999 --methods magnitude random", "nothing would be pruned"),
        ("--datasets digits digits", "each only once"),
        ("--datasets nothing.csv", "nothing.csv"),
    ],
)
def test_bad_comparisons(folder, capsys, words, message):
    assert main(["compare", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not any(folder.iterdir())


@pytest.mark.parametrize(
    "words, kept",
    [
        ("--method ucb1 --keep 0.5", 8),
        ("--method thompson --keep 8 --selection top_n --pulls 50", 8),
    ],
)
def test_prune_by_a_bandit(folder, words, kept):
    write_table(folder / "t.csv", 0)
    rest = f"--dataset t.csv {QUICK} --fine-tune 1 --no-rivals --out run"
    assert main(["prune", *words.split(), *rest.split()]) == 0
    result = json.loads((folder / "run/result.json").read_text())
    assert sum(row["kept"] for row in result["families"]) == kept
    assert result["max_error"] < 1e-4


def test_prune_until_the_metric_drops(folder):
    write_table(folder / "t.csv", 0)
    words = f"prune --method ucb1 --max-drop 0.9 --dataset t.csv {QUICK} --no-rivals"
    assert main([*words.split(), "--fine-tune", "0", "--out", "run"]) == 0
    result = json.loads((folder / "run/result.json").read_text())
    assert sum(row["kept"] for row in result["families"]) == 2  # one a family


@pytest.mark.parametrize(
    "given, message",
    [
        ({"pulls": 0, "keep": "0.5"}, "--pulls >= 1"),
        ({"selection": "building", "keep": "0.5"}, "building does not go with"),
        ({"max_drop": -1.0}, "--max-drop >= 0"),
        ({"max_drop": 0.1, "keep": "0.5"}, "says when to stop"),
        ({}, "needs --keep"),
        ({"evaluations": 9, "keep": "0.5"}, "--evaluations goes with"),
    ],
)
def test_bad_bandit_settings(given, message):
    with pytest.raises(InputError, match=message):
        PruneSettings.of(method="ucb1", **given)


def test_too_few_pulls(folder, capsys):
    assert main("prune --method exp3 --keep 0.1 --pulls 7".split()) == 2
    assert "fewer than the 768 players" in capsys.readouterr().err


def test_all_methods_are_repaired_alike(folder):
    write_table(folder / "t.csv", 0)
    settings = CompareSettings.of(
        datasets=("t.csv",),
        widths=(6, 3),
        epochs=3,
        fine_tune=1,
        methods=("equilibrium", "magnitude"),
        seeds=1,
        repair=True,
    )
    assert settings.as_equilibrium("t.csv", 0).settled_rates.repair
    console = Console(file=io.StringIO(), width=100)
    out = comparing.run_compare(settings, out=folder / "run", console=console)
    rows = json.loads((out / "compare.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["dense", "equilibrium", "magnitude"]
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert " repaired " in said
    told = "equilibrium has its own size only and no curve: its game trains"
    assert told in " ".join(said.split())
    assert told in (out / "compare.html").read_text(encoding="utf-8")
