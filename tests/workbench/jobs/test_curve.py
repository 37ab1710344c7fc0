"""`gamepruning curve`: one folder, every method at every size, true after removal."""

import csv
import io
import json

import jax.numpy as jnp
import pytest
from rich.console import Console

from gamepruning.players import find_players
from gamepruning.types import InputError
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.jobs import curve as curving
from gamepruning.workbench.jobs.curve import run_curves
from gamepruning.workbench.settings.studies import CurveSettings
from gamepruning.workbench.training.sizes import fit_sizes

SMALL = CurveSettings.of(
    widths=(14, 6),
    methods=("building", "biased_banzhaf", "pruning-greedy", "random"),
    sizes=(0.4, 0.2, 0.6),
    seeds=1,
    evaluations=100,
    step=5,
    epochs=6,
    rows=270,
)
ALONE = SMALL.but(methods=("random",), evaluations=None, step=0.1, rows=2000)


def draw(settings, out, **options):
    console = Console(file=io.StringIO(), width=100)
    folder = run_curves(settings, out=out, console=console, **options)
    return folder, console.file.getvalue()  # type: ignore[attr-defined]


def read(folder):
    data = json.loads((folder / "curve.json").read_text())
    for row in data["rows"]:
        del row["seconds"]
    return data


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return draw(SMALL, tmp_path_factory.mktemp("curve") / "run")


def test_the_folder_is_whole(done):
    folder, text = done
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "config.json",
        "curve.csv",
        "curve.json",
        "figures",
        "metrics.jsonl",
        "report.html",
    ]
    assert [path.name for path in (folder / "figures").iterdir()] == ["curve.png"]
    for name in SMALL.methods:
        assert name in text
    config = json.loads((folder / "config.json").read_text())
    assert CurveSettings.from_dict(config["settings"]) == SMALL
    assert read(folder)["command"] == config["command"] == SMALL.command()


def test_rows_are_networks_after_removal(done):
    data = read(done[0])
    rows = data["rows"]
    assert [row["method"] for row in rows] == list(SMALL.methods)
    for row in rows:
        assert row["sizes"] == [4, 8, 12] and row["num_players"] == 20
        assert row["compacted"] == pytest.approx(row["values"][0], abs=0.004)
        assert (row["evaluations"] > 0) == (row["method"] != "random")
    assert len(data["dense"]) == 1 and data["dense"][0] > 0.7
    own = {row["method"]: row for row in rows}
    assert own["building"]["area"] > own["random"]["area"]
    assert own["building"]["values"][-1] > 0.6
    with (done[0] / "curve.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(rows) * 3
    assert [float(line["accuracy"]) for line in lines[:3]] == rows[0]["values"]
    assert [float(line["size"]) for line in lines[:3]] == [0.2, 0.4, 0.6]


@pytest.mark.parametrize("metric", ["accuracy", "balanced accuracy"])
def test_no_column_is_there_twice(metric):
    row = {"method": "random", "seed": 0, "num_players": 20, "sizes": [4]}
    row |= dict.fromkeys(("values", "tuned", "balanced", "balanced tuned"), [0.5])
    head, line = curving._csv(metric, [0.9], [row]).splitlines()
    names = head.split(",")
    assert len({*names}) == len(names) and "balanced accuracy" in names
    assert ("accuracy" in names) == (metric == "accuracy")
    assert line.startswith("random,0,0.2,4,20,0.5,")


def test_it_goes_on_where_it_was_cut_off(done, tmp_path, monkeypatch):
    calls = []

    def interrupted(*args, **options):
        calls.append(f"{args[0]} {args[1].seed}")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw_curve(*args, **options)

    draw_curve = curving.draw_curve
    monkeypatch.setattr(curving, "draw_curve", interrupted)
    few = ALONE.but(methods=("magnitude", "random"), seeds=2)
    with pytest.raises(KeyboardInterrupt, match="curve --resume --out"):
        draw(few, tmp_path / "run")
    folder, _ = draw(CurveSettings(), tmp_path / "run", resume=True)
    rest = ["random 0", "magnitude 1", "random 1"]
    assert calls == ["magnitude 0", "random 0", *rest]
    again, before = read(folder), read(done[0])
    assert again["dense"][:1] == before["dense"] != again["dense"][1:]
    assert again["rows"][1] in before["rows"]  # whatever else was drawn beside it
    assert [row["seed"] for row in again["rows"]] == [0, 0, 1, 1]


def test_fine_tuning_comes_after_removal(done, tmp_path):
    settings = ALONE.but(sizes=(0.4,), fine_tune=2)
    folder, text = draw(settings, tmp_path / "run")
    (row,) = read(folder)["rows"]
    before = next(row for row in read(done[0])["rows"] if row["method"] == "random")
    assert row["values"] == before["values"][1:2]
    assert row["tuned"][0] > row["values"][0] and row["area"] is None
    figures = sorted(path.name for path in (folder / "figures").iterdir())
    assert figures == ["curve.png", "fine_tuned.png"]
    assert "after fine-tuning" in " ".join(text.split())  # a title may be wrapped


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--methods shaply", "no method 'shaply': did you mean shapley"),
        ("--methods building-taylor", "no method 'building-taylor'"),
        ("--methods random random", "each only once"),
        ("--methods", "methods"),
        ("--sizes 0.2 1.5", "--sizes in (0, 1), got 1.5"),
        (
            "--widths 9 3 --sizes 0.1",
            "keeps 1 of 12 players, but each of the 2 families",
        ),
        ("--widths 9 3 --sizes 0.99", "keeps all 12 players"),
        ("--widths 9 3 --sizes 0.2 0.2001", "different sizes"),
        (
            "--widths 9 3 --sizes 0.5 --evaluations 2",
            "--evaluations 2: budget too small",
        ),
        ("--seeds 0", "expected --seeds >= 1"),
        ("--step 0", "expected --step as"),
        ("--step nan", "expected --step as"),
        ("--bias 1", "expected --bias in (0, 1)"),
        ("--rows 0", "expected --rows >= 1"),
        ("--fine-tune -1", "--fine-tune >= 0"),
        ("--dataset nonsense", "no data set 'nonsense'"),
        ("--resume", "--resume needs --out"),
    ],
)
def test_bad_input_is_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["curve", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_settings_of_another_version():
    with pytest.raises(InputError, match="setting .* in config.json"):
        CurveSettings.from_dict({"methods": ["random"]})


def test_default_sizes_are_those_that_a_small_network_can_have():
    def apply(params, x):
        return jnp.tanh(jnp.tanh(x @ params["a"]) @ params["b"]) @ params["c"]

    shapes = {"a": (3, 9), "b": (9, 3), "c": (3, 2)}
    params = {name: jnp.ones(shape) for name, shape in shapes.items()}
    players = find_players(apply, params, jnp.ones((2, 3)))
    sizes = fit_sizes(CurveSettings().sizes, players)
    assert sizes == (0.2, 0.25, 0.3, 0.4, 0.5, 0.6)  # 2, 3, 4, 5, 6, 7 of 12
    assert fit_sizes(CurveSettings().sizes, players, 3 / 12, 0.9)[1:2] == (0.25,)
    assert fit_sizes((0.2, 0.21), players, 0.3) == (0.2, 0.21, 0.3)  # as typed


def test_curves_after_repair_are_higher_and_are_checked(tmp_path):
    settings = CurveSettings.of(
        widths=(16, 8), epochs=5, methods=("magnitude",), sizes=(0.5, 0.75), seeds=1
    )
    values = {}
    for repaired in (False, True):
        out, console = tmp_path / f"{repaired}", Console(file=io.StringIO(), width=100)
        run_curves(settings.but(repair=repaired), out=out, console=console)
        (row,) = json.loads((out / "curve.json").read_text())["rows"]
        values[repaired] = row["values"]
        stage = "after repair" if repaired else "after removal"
        assert f"Test accuracy {stage} by" in console.file.getvalue()  # type: ignore[attr-defined]
        assert row["compacted"] == pytest.approx(row["values"][0], abs=2e-3)
    assert values[True][0] > values[False][0]
