"""`gamepruning sweep`: many games, one folder, what it says about each is true."""

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from gamepruning.types import InputError
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.jobs.sweep import run_sweep
from gamepruning.workbench.report import plots
from gamepruning.workbench.settings.studies import SweepSettings
from gamepruning.workbench.training import loop

SMALL = SweepSettings.of(
    widths=(12, 6),
    beta=(0.01,),
    gamma=(0.01, 0.2),
    gate_learning_rate=(0.03,),
    seeds=2,
    epochs=8,
)


def sweep(settings, out, **options):
    console = Console(file=io.StringIO(), width=100)
    folder = run_sweep(settings, out=out, console=console, **options)
    return folder, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return sweep(SMALL, tmp_path_factory.mktemp("sweep") / "run")


def test_the_folder_is_whole(done):
    folder, text = done
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "config.json",
        "figures",
        "metrics.jsonl",
        "report.html",
        "sweep.csv",
        "sweep.json",
    ]
    assert (folder / "figures" / "pareto.png").is_file()
    assert "of 4 games are not beaten" in text and "gamma" in text
    config = json.loads((folder / "config.json").read_text())
    assert SweepSettings.from_dict(config["settings"]) == SMALL
    command = json.loads((folder / "sweep.json").read_text())["command"]
    assert (
        command
        == config["command"]
        == (
            "gamepruning sweep --beta 0.01 --gamma 0.01 0.2 "
            "--gate-learning-rate 0.03 --seeds 2 --widths 12 6 --epochs 8"
        )
    )


def test_rows_are_all_combinations(done):
    rows = json.loads((done[0] / "sweep.json").read_text())["rows"]
    chosen = [(row["gamma"], row["seed"]) for row in rows]
    assert chosen == [(0.01, 0), (0.01, 1), (0.2, 0), (0.2, 1)]
    dear, cheap = (
        np.mean([row["kept"] for row in rows if row["gamma"] == gamma])
        for gamma in (0.2, 0.01)
    )
    assert dear < cheap <= 18
    for row in rows:
        assert row["kept"] == sum(row["kept per family"]) >= 2
        assert ("test removed" in row) == row["front"]
    with (done[0] / "sweep.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(line["gamma"]) for line in table] == [row["gamma"] for row in rows]


def test_it_goes_on_where_it_was_cut_off(done, tmp_path, monkeypatch):
    calls = []

    def interrupted(*args, **options):
        calls.append(None)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return run_epoch(*args, **options)

    run_epoch = loop.run_epoch
    monkeypatch.setattr(loop, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt, match="sweep --resume --out"):
        sweep(SMALL, tmp_path / "run")
    folder, _ = sweep(SweepSettings(), tmp_path / "run", resume=True)
    again = json.loads((folder / "sweep.json").read_text())
    assert again == json.loads((done[0] / "sweep.json").read_text())


def test_the_figure_shows_every_game(done):
    rows = json.loads((done[0] / "sweep.json").read_text())["rows"]
    axis = plots.plot_pareto(rows, metric="accuracy").axes[0]
    assert len(axis.collections[1].get_offsets()) == len(rows)
    assert len(axis.lines[0].get_xdata()) == sum(row["front"] for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--gamma -1", "expected --gamma >= 0, got -1"),
        ("--learning-rate 0", "expected --learning-rate > 0, got 0"),
        ("--seeds 0", "expected --seeds >= 1, got 0"),
        ("--seeds 100 --gamma 0.1 0.2 0.3", "600 combinations are more than 256"),
        ("--dataset nonsense", "no data set 'nonsense'"),
        ("--resume", "--resume needs --out"),
        ("--threshold 2", "expected --threshold in (0, 1)"),
    ],
)
def test_bad_input_is_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_settings_of_another_version(tmp_path):
    with pytest.raises(InputError, match="setting .* in config.json"):
        SweepSettings.from_dict({"gamma": [0.1]})


def test_a_game_that_diverges_does_not_end_the_others(tmp_path):
    settings = SMALL.but(gamma=(0.01,), seeds=1, learning_rate=(0.05, 1e30))
    folder, _ = sweep(settings, tmp_path / "run")
    text = (folder / "sweep.json").read_text()
    rows = json.loads(text, parse_constant=pytest.fail)["rows"]  # no NaN
    assert len(rows) == 2
    good = [row for row in rows if row["weight_learning_rate"] == 0.05]
    assert good[0]["front"]
    assert not [row for row in rows if row not in good and row["front"]]
    with pytest.raises(InputError, match="training diverged"):
        sweep(settings.but(learning_rate=(1e30, 2e30)), tmp_path / "none")


def test_games_that_all_diverge_in_the_last_step_are_told(tmp_path):
    """The loss of that step is still finite: it is the one before the update."""
    settings = SMALL.but(gamma=(0.01,), learning_rate=(1e38,))
    settings = settings.but(epochs=1, batch_size=1000)
    with pytest.raises(
        InputError, match="all 2 games diverged: choose a lower"
    ) as told:
        sweep(settings, tmp_path / "run")
    assert "another --out, or delete" in str(told.value)
    assert "resume" not in str(told.value)


def test_the_loss_of_an_epoch_is_that_of_all_processes(tmp_path, monkeypatch):
    """Where all games of one process diverge, it goes on with the others."""
    monkeypatch.setattr("gamepruning.workbench.jobs.sweep.mean_finite", lambda own: 0.5)
    settings = SMALL.but(gamma=(0.01,), seeds=1, epochs=1)
    folder, _ = sweep(settings, tmp_path / "run")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [0.5]
