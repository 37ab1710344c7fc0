"""Contracts of all settings: flat names, help, the command line and JSON."""

import dataclasses
import inspect
import json
import re
import shlex
from pathlib import Path
from typing import get_type_hints

import pytest

from gamepruning.types import InputError
from gamepruning.workbench.cli.commands import parse
from gamepruning.workbench.settings.base import Settings, Within
from gamepruning.workbench.settings.parts import (
    DataSettings,
    NetworkSettings,
    RateSettings,
    TrainingSettings,
    settle,
)
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.settings.studies import (
    BandsSettings,
    CompareSettings,
    CurveSettings,
    SweepSettings,
)

ALL = (PruneSettings, CurveSettings, CompareSettings, BandsSettings, SweepSettings)


def classes_of(kind: type[Settings]) -> list[type[Settings]]:
    groups = [type(field.default) for field in dataclasses.fields(kind)]
    return [kind, *(group for group in groups if issubclass(group, Settings))]


@pytest.mark.parametrize("kind", ALL)
def test_every_plain_field_is_one_flag(kind):
    names = [
        field.name
        for part in classes_of(kind)
        for field in dataclasses.fields(part)
        if not isinstance(field.default, Settings)
    ]
    assert len(set(names)) == len(names)
    assert set(names) == set(kind().flat()) == set(kind().to_dict())


@pytest.mark.parametrize("kind", ALL)
def test_every_option_has_a_sentence(kind):
    for part in classes_of(kind):
        # Python 3.13 takes the indentation of docstrings away
        docs = [inspect.cleandoc(base.__doc__ or "") for base in part.__mro__]
        told = re.findall(r"^  (\w+): [A-Z].", "\n".join(docs), flags=re.M)
        hints = get_type_hints(part, include_extras=True)
        for field in dataclasses.fields(part):
            extras = getattr(hints[field.name], "__metadata__", ())
            has_help = any(getattr(extra, "help", None) for extra in extras)
            is_group = isinstance(field.default, Settings)
            assert is_group or has_help or field.name in told, (part, field.name)


@pytest.mark.parametrize(
    "settings",
    [
        PruneSettings.of(method="pruning-biased_banzhaf", keep="9", bias=0.3, step=3.0),
        PruneSettings.of(dataset="a b.csv", target="y", data_dir=Path("d")),
        CurveSettings.of(methods=("ucb1",), sizes=(0.1,), pulls=99, standardise=True),
        CompareSettings.of(datasets=("wine", "glass"), keep="0.1", alpha=0.1),
        BandsSettings.of(output="vote", families=("hidden_0",), load=Path("runs/a")),
        SweepSettings.of(gamma=(0.1, 0.2), learning_rate=(0.5,), norm="sum", epochs=3),
    ],
)
def test_the_command_and_json_give_the_same_settings(settings):
    words = shlex.split(settings.command())
    assert parse(words[1:]).keywords["settings"] == settings  # type: ignore[attr-defined]
    data = json.loads(json.dumps(settings.to_dict()))
    assert type(settings).from_dict(data) == settings
    for name in settings.given():
        assert "--" + name.replace("_", "-") in words


def test_flags_reach_their_groups_whole():
    data = DataSettings(target="y", rare_classes="drop")
    by_groups = PruneSettings(
        dataset="t.csv", data=data, network=NetworkSettings(widths=(8, 4))
    )
    by_flags = PruneSettings.of(
        dataset="t.csv", target="y", rare_classes="drop", widths=(8, 4)
    )
    assert by_groups == by_flags
    assert by_flags.but(target=None, rare_classes="error").data == DataSettings()
    compare = CompareSettings(datasets=("t.csv", "digits"), data=data)
    assert compare.as_curve("t.csv").data is compare.data
    assert compare.as_curve("digits").data == DataSettings()
    assert compare.as_curve("wine").data is compare.data
    assert compare.as_equilibrium("t.csv", 3).training is compare.training


def test_an_unknown_setting_suggests_one():
    with pytest.raises(InputError, match="no setting 'epoch': did you mean epochs"):
        PruneSettings.of(epoch=3)


@pytest.mark.parametrize(
    ("bounds", "value", "message"),
    [
        (Within(1, 9), 0, ">= 1, got 0"),
        (Within(1, 9), 10, "<= 9, got 10"),
        (Within(), float("inf"), ">= 0, got inf"),
        (Within(), float("nan"), ">= 0, got nan"),
        (Within(0, 1, is_open=True), 1.0, r"in \(0, 1\), got 1.0"),
        (Within(is_open=True), 0.0, "> 0, got 0.0"),
    ],
)
def test_bounds_say_what_was_expected(bounds, value, message):
    with pytest.raises(InputError, match=f"expected --some-name {message}"):
        bounds.check("some_name", value)


@pytest.mark.parametrize("num_train", [1, 40, 10_000])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_nothing_is_left_to_choose(num_train, task):
    found = settle(TrainingSettings(), network="mlp", num_train=num_train, task=task)
    assert None not in found and "auto" not in found
    rates = RateSettings(optimizer="adam", fine_tune=0)
    found = settle(
        TrainingSettings(epochs=2), rates, network="mlp", num_train=num_train, task=task
    )
    assert (found.epochs, found.optimizer, found.fine_tune) == (2, "adam", 0)
    rates = RateSettings(gate_learning_rate=0.00124)
    found = settle(TrainingSettings(), rates, network="mlp", num_train=40, task=task)
    assert found.gate_learning_rate == 0.00124


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"pulls": 9}, r"--pulls goes with bandits \(--method epsilon_greedy\), not"),
        ({"max_drop": 0.1, "keep": "9"}, "--max-drop says when to stop"),
        ({"method": "taylor", "keep": "9", "preset": "l1_strong"}, "the equilibrium"),
        ({"scope": "global"}, "--scope goes with power indices .* and bandits .* and"),
        (
            {"method": "building-greedy", "keep": "9", "evaluations": 99},
            r"--evaluations goes with power indices \(--method shapley\), not",
        ),
        (
            {"method": "banzhaf", "keep": "9", "step": 2.0},
            r"--step goes with power indices in rounds \(--method pruning\), not",
        ),
    ],
)
def test_a_flag_of_other_methods_says_what_it_goes_with(flags, message):
    with pytest.raises(InputError, match=message):
        PruneSettings.of(**flags)


@pytest.mark.parametrize("settings", [CurveSettings, CompareSettings])
@pytest.mark.parametrize("flags", [{"pulls": 9}, {"bias": 0.3}, {"swaps": 0}])
def test_a_flag_that_no_named_method_takes(settings, flags):
    with pytest.raises(InputError, match="goes with .* --methods magnitude banzhaf"):
        settings.of(methods=("magnitude", "banzhaf"), **flags)
