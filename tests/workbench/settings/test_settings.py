"""Settings are checked before anything is done, and tell how to run again."""

import json
import shlex
from pathlib import Path

import pytest

from gamepruning.types import InputError
from gamepruning.workbench.cli.commands import parse
from gamepruning.workbench.registry import names_of
from gamepruning.workbench.settings.parts import settle
from gamepruning.workbench.settings.prune import PruneSettings, parse_keep
from gamepruning.workbench.settings.studies import CompareSettings, CurveSettings

DEFAULT = PruneSettings()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": "0.1", "preset": "l1_strong"}, "--preset does nothing where --keep"),
        ({"keep": "0.1", "round_to": 8}, "--round-to does nothing where --keep"),
        ({"keep": "3/2", "unit": "macs"}, "leave --unit macs out"),
        ({"unit": "macs"}, "--unit macs says what --keep counts"),
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
        ({"seed": 2**32}, "--seed <= 4294967295"),
        ({"epochs": 10**9}, "--epochs <= 100000"),
        ({"widths": (8, 0)}, "--widths >= 1"),
        ({"module": "net.py:make", "model": "mlp"}, "--model does not change"),
        ({"round_to": 0}, "--round-to >= 1"),
        (
            {"bias": 0.2},
            r"--bias goes with power indices \(--method biased_banzhaf\), not",
        ),
        ({"method": "taylor", "keep": "9", "selection": "top_n"}, "--selection goes"),
        ({"method": "banzhaf", "keep": "9", "bias": 0.2}, "--bias goes with power"),
        ({"method": "biased_banzhaf", "keep": "9", "bias": 1.0}, r"in \(0, 1\), got 1"),
        ({"method": "banzhaf"}, "--method banzhaf needs --keep"),
        (
            {"method": "shapley", "keep": "6/3", "selection": "building"},
            "compares all players with each other",
        ),
        (
            {"method": "shapley", "keep": "9", "round_to": 8, "selection": "pruning"},
            "--round-to 8 goes with --selection top_n",
        ),
        ({"method": "ucb1", "keep": "6/3"}, "--keep 6/3 goes with --selection top_n"),
        ({"pixel_mean": (float("nan"),)}, "expected --pixel-mean >= -1000, got nan"),
        (
            {"method": "building", "keep": "9", "scope": "family"},
            "--scope family goes with --selection top_n: building compares all",
        ),
        (
            {"method": "taylor", "keep": "6/3", "scope": "family"},
            "--keep 6/3 counts players: leave --scope family out",
        ),
    ],
)
def test_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        PruneSettings.of(**settings)


@pytest.mark.parametrize(
    "flags, selection",
    [
        ({"method": "banzhaf"}, "top_n"),
        ({"method": "building-banzhaf"}, "building"),
        ({"method": "banzhaf", "selection": "building"}, "building"),
        ({"method": "ucb1"}, "pruning"),
        ({"method": "taylor-family"}, "family"),
        ({"method": "taylor", "scope": "family"}, "family"),
        ({"method": "building", "selection": "top_n", "scope": "family"}, "family"),
    ],
)
def test_a_name_says_how_it_selects_unless_a_flag_does(flags, selection):
    assert PruneSettings.of(keep="9", **flags).selected.selection == selection


def test_keep_in_three_forms():
    assert parse_keep("0.25") == 0.25
    assert parse_keep("1e-1") == 0.1
    assert parse_keep("12") == 12
    assert parse_keep("12/3") == (12, 3)


def test_through_json_and_back():
    settings = PruneSettings.of(
        method="taylor", keep="51/26", widths=(64, 32), data_dir=Path("data")
    )
    data = json.loads(json.dumps(settings.to_dict()))
    assert PruneSettings.from_dict(data) == settings
    with pytest.raises(InputError, match="unknown setting 'colour'"):
        PruneSettings.from_dict({**data, "colour": "red"})
    with pytest.raises(InputError, match="missing setting 'seed'"):
        PruneSettings.from_dict({k: v for k, v in data.items() if k != "seed"})


@pytest.mark.parametrize(
    "damage",
    [
        *({"epochs": "abc"}, {"epochs": 2.5}, {"epochs": True}, {"widths": 5}),
        *({"widths": ["8"]}, {"dataset": 3}, {"dataset": None}, {"price": "1"}),
        *({"method": ["taylor"]}, {"rivals": 1}, {"load": 7}),
    ],
)
def test_a_setting_of_another_type(damage):
    with pytest.raises(InputError, match=f"setting '{next(iter(damage))}' cannot be"):
        PruneSettings.from_dict({**PruneSettings().to_dict(), **damage})


@pytest.mark.parametrize(
    "settings",
    [
        PruneSettings(),
        PruneSettings.of(method="taylor", keep="0.1", widths=(64, 32), rivals=False),
        PruneSettings.of(module="a dir/net.py:make", seed=3, learning_rate=0.02),
    ],
)
def test_the_command_makes_the_same_settings(settings):
    words = shlex.split(settings.command())
    assert words[0] == "gamepruning"
    assert parse(words[1:]).keywords["settings"] == settings  # type: ignore[attr-defined]


def settled(settings=DEFAULT, *, num_train, task="classification"):
    return settle(
        settings.training,
        settings.rates,
        network=settings.network.name,
        num_train=num_train,
        task=task,
        has_budget=settings.has_budget,
    )


def test_automatic_choices_depend_on_sizes_only():
    small, large = settled(num_train=1_000), settled(num_train=55_000)
    assert (small.batch_size, large.batch_size) == (64, 128)
    assert small.epochs * (1_000 // 64) >= 5000
    assert (large.epochs, large.gate_learning_rate) == (20, 0.001)
    assert large.fine_tune == 5
    tiny = settled(num_train=120)
    assert (tiny.epochs, tiny.gate_learning_rate) == (2000, 0.0025)
    table = settled(num_train=1_000, task="regression")
    assert (table.optimizer, table.learning_rate) == ("adam", 0.001)
    assert settled(num_train=40, task="regression").batch_size == 40
    asked = PruneSettings.of(epochs=7, batch_size=10, fine_tune=0, learning_rate=0.5)
    done = settled(asked, num_train=100)
    assert (done.epochs, done.batch_size, done.fine_tune) == (7, 10, 0)
    assert done.learning_rate == 0.5
    assert (
        settled(PruneSettings.of(keep="9"), num_train=1_000).gate_learning_rate == 0.01
    )


def test_a_batch_larger_than_the_data():
    with pytest.raises(InputError, match="--batch-size at most 40"):
        settled(PruneSettings.of(batch_size=64), num_train=40)


@pytest.mark.parametrize(("given", "step"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5)])
def test_a_step_is_a_count_or_a_share_as_in_the_library(given, step):
    words = ["prune", "--method", "pruning", "--keep", "0.1", "--step", given]
    settings = parse(words).keywords["settings"]  # type: ignore[attr-defined]
    assert (settings.scoring.step, type(settings.scoring.step)) == (step, type(step))
    assert PruneSettings.from_dict(settings.to_dict()) == settings


def test_all_methods_are_one_word():
    assert CompareSettings(methods=("all",)).methods == names_of()
    curve = CurveSettings(methods=("all",))
    assert {*names_of()} - {*curve.methods} == {"equilibrium"}
    assert CurveSettings.from_dict(curve.to_dict()) == curve


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"speed_up": 2.1, "keep": "0.1"}, "--speed-up and --keep both say"),
        ({"speed_up": 1.0}, "expected --speed-up > 1"),
        ({"unit": "bytes"}, "--unit bytes says what --keep counts: give --keep"),
        ({"keep": "5/4", "unit": "macs"}, "--keep 5/4 counts players"),
        ({"method": "taylor"}, "--method taylor needs --keep: .*or --speed-up"),
        ({"method": "ucb1", "max_drop": 0.1, "speed_up": 2.0}, "--max-drop says when"),
        ({"refine": 3}, "--refine is a part of the repair: give --repair"),
        (
            {"method": "taylor", "keep": "0.1", "refine": 3, "repair": False},
            "--refine is a part of the repair: drop --no-repair",
        ),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(flags, told):
    with pytest.raises(InputError, match=told):
        PruneSettings.of(**flags)
