"""`gamepruning bands`: a folder whose numbers are those of `mcue`."""

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from gamepruning.types import InputError
from gamepruning.uncertainty.outputs import MCUE_OUTPUTS
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.jobs import bands as bands_job
from gamepruning.workbench.jobs.bands import run_bands
from gamepruning.workbench.settings.studies import BandsSettings
from gamepruning.workbench.training import loop

SMALL = BandsSettings.of(
    widths=(12, 6), output="vote", points=5, samples=8, examples=60, epochs=8
)


def run(settings, out, **options):
    console = Console(file=io.StringIO(), width=100)
    folder = run_bands(settings, out=out, console=console, **options)
    return folder, console.file.getvalue()  # type: ignore[attr-defined]


def interrupted(*args, **options):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run that was cut off after training, then resumed without training again."""
    out = tmp_path_factory.mktemp("bands") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands_job, "mcue", interrupted)
        with pytest.raises(KeyboardInterrupt, match="bands --resume --out"):
            run(SMALL, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "run_epoch", interrupted)
        return run(BandsSettings(), out, resume=True)


def test_the_folder_is_whole(done):
    folder, text = done
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "bands.csv",
        "bands.json",
        "config.json",
        "figures",
        "metrics.jsonl",
        "report.html",
    ]
    assert (folder / "figures" / "bands.png").stat().st_size > 5000
    assert "18 players" in text and "total_probabilities" in text
    config = json.loads((folder / "config.json").read_text())
    assert BandsSettings.from_dict(config["settings"]) == SMALL
    assert config["command"] == (
        "gamepruning bands --output vote --points 5 --samples 8 --examples 60 "
        "--widths 12 6 --epochs 8"
    )


def test_the_numbers_agree(done):
    data = json.loads((done[0] / "bands.json").read_text())
    assert data["players"] == 18 and data["evaluations"] == 19 * 8
    assert 0.5 < data["test accuracy"] <= 1
    assert [row["output"] for row in data["definitions"]] == list(MCUE_OUTPUTS)
    vote = data["definitions"][MCUE_OUTPUTS.index("vote")]
    assert data["output"] == "vote" and vote["peak"] == data["peak"]
    assert data["bias"] == pytest.approx(1 - data["peak"], abs=1e-4)
    diagonal = np.diagonal(data["variance"])
    assert abs(data["peak"] - data["p"][int(np.argmax(diagonal))]) <= 0.1
    with (done[0] / "bands.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = [float(row["variance"]) for row in rows]
    np.testing.assert_allclose(table, np.ravel(data["variance"]))
    assert [float(row["q"]) for row in rows[:5]] == data["q"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--samples 1", "expected --samples >= 4, got 1"),
        ("--points 2", "expected --points >= 3, got 2"),
        ("--examples 0", "expected --examples >= 1, got 0"),
        ("--output lable", "expected --output to be one of"),
        ("--dataset nonsense", "no data set 'nonsense'"),
        ("--families conv", "no family 'conv'"),
        ("--load nowhere.safetensors", "nowhere.safetensors"),
        ("--load w.safetensors --epochs 3", "--epochs is for training, which --load"),
        ("--resume", "--resume needs --out"),
        ("--dataset numbers.csv", "needs classes"),
    ],
)
def test_bad_input_is_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{k % 7 / 4},{k * k + 0.5}\n" for k in range(60))
    (tmp_path / "numbers.csv").write_text("a,target\n" + rows)
    assert main(["bands", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.csv"]


def test_settings_of_another_version():
    with pytest.raises(InputError, match="setting .* in config.json"):
        BandsSettings.from_dict({"samples": 10})
