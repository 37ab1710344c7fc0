"""Settings are checked before anything is done, and tell how to run again."""

import json
import shlex
from pathlib import Path

import pytest

from gamepruning.types import InputError
from gamepruning.workbench.job.defaults import resolve
from gamepruning.workbench.parsing import parse
from gamepruning.workbench.settings import PruneSettings, parse_keep


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": "0.1"}, "--keep goes with a baseline"),
        ({"method": "taylor"}, "--method taylor needs --keep"),
        ({"method": "taylor", "keep": "1.5"}, "--keep as a fraction"),
        ({"method": "taylor", "keep": "3/0"}, "--keep as a fraction"),
        ({"method": "taylor", "keep": "-3"}, "--keep as a fraction"),
        ({"method": "taylor", "keep": "nan"}, "--keep as a fraction"),
        ({"threshold": 0.0}, r"--threshold in \(0, 1\)"),
        ({"learning_rate": -1.0}, "--learning-rate > 0"),
        ({"learning_rate": float("nan")}, "--learning-rate > 0"),
        ({"gate_learning_rate": float("inf")}, "--gate-learning-rate > 0"),
        ({"epochs": 0}, "--epochs >= 1"),
        ({"fine_tune": -1}, "--fine-tune >= 0"),
        ({"batch_size": 0}, "--batch-size >= 1"),
        ({"seed": -1}, "--seed >= 0"),
        ({"round_to": 0}, "--round-to >= 1"),
    ],
)
def test_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        PruneSettings(**settings)


def test_keep_in_three_forms():
    assert parse_keep("0.25") == 0.25
    assert parse_keep("1e-1") == 0.1
    assert parse_keep("12") == 12
    assert parse_keep("12/3") == (12, 3)


def test_through_json_and_back():
    settings = PruneSettings(
        method="taylor", keep="51/26", widths=(64, 32), data_dir=Path("data")
    )
    data = json.loads(json.dumps(settings.to_dict()))
    assert PruneSettings.from_dict(data) == settings
    with pytest.raises(InputError, match="unknown setting 'colour'"):
        PruneSettings.from_dict({**data, "colour": "red"})


@pytest.mark.parametrize(
    "settings",
    [
        PruneSettings(),
        PruneSettings(method="taylor", keep="0.1", widths=(64, 32), rivals=False),
        PruneSettings(module="a dir/net.py:make", seed=3, learning_rate=0.02),
        resolve(PruneSettings(), num_train=1000, task="regression"),
    ],
)
def test_the_command_makes_the_same_settings(settings):
    words = shlex.split(settings.command())
    assert words[0] == "gamepruning"
    assert parse(words[1:]).keywords["settings"] == settings  # type: ignore[attr-defined]


def test_automatic_choices_depend_on_sizes_only():
    small = resolve(PruneSettings(), num_train=1_000, task="classification")
    large = resolve(PruneSettings(), num_train=55_000, task="classification")
    assert (small.batch_size, large.batch_size) == (64, 128)
    assert small.epochs * (1_000 // 64) >= 5000
    assert (large.epochs, large.gate_learning_rate) == (20, 0.001)
    assert large.fine_tune == 5
    table = resolve(PruneSettings(), num_train=1_000, task="regression")
    assert (table.optimizer, table.learning_rate) == ("adam", 0.001)
    assert resolve(PruneSettings(), num_train=40, task="regression").batch_size == 40
    asked = PruneSettings(epochs=7, batch_size=10, fine_tune=0, learning_rate=0.5)
    done = resolve(asked, num_train=100, task="classification")
    assert (done.epochs, done.batch_size, done.fine_tune) == (7, 10, 0)
    assert done.learning_rate == 0.5


def test_a_batch_larger_than_the_data():
    with pytest.raises(InputError, match="--batch-size at most 40"):
        resolve(PruneSettings(batch_size=64), num_train=40, task="classification")
