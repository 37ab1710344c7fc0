"""The registry of methods: names, aliases, and what each can be told."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from gamepruning.baselines import BASELINES
from gamepruning.types import InputError
from gamepruning.workbench.jobs.forecast import work_of
from gamepruning.workbench.jobs.one_curve import Trained
from gamepruning.workbench.registry import (
    COMPARED,
    METHODS,
    Method,
    describe_methods,
    find_method,
    names_of,
)
from gamepruning.workbench.settings.parts import ScoringSettings


def test_names_of_all_kinds():
    assert names_of("equilibrium") == ("equilibrium",)
    assert (
        len(names_of("index")) == 3 + 2 * 4
    )  # one estimate; in rounds by index, greedy
    assert len(names_of("baseline")) == 2 * (len(BASELINES) + 1)  # and elimination
    assert find_method("building-banzhaf").selection == "building"
    assert find_method("taylor-family").selection == "family"
    assert len(COMPARED) == 6 and set(COMPARED) < set(METHODS)


def test_aliases_lead_to_one_name():
    assert find_method("magnitude_l2") is METHODS["magnitude"]
    assert find_method("magnitude_l2-family") is METHODS["magnitude-family"]
    assert find_method("pruning-shapley") is METHODS["pruning"]
    for name, method in METHODS.items():
        assert method.name == name
        assert not set(method.aliases) & set(METHODS)


@pytest.mark.parametrize(
    "name, message",
    [
        ("ucb", "did you mean ucb1"),
        ("building-taylor", "no method 'building-taylor'"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(InputError, match=message):
        find_method(name)


def test_what_a_method_is_told():
    assert "bias" in find_method("building-biased_banzhaf").asks
    assert "bias" not in find_method("banzhaf").asks
    assert "pulls" in find_method("exp3").asks
    assert find_method("pruning-greedy").is_iterated
    assert {"evaluations", "bias"} <= find_method("building-greedy").unused
    assert not {"evaluations", "step"} & find_method("shapley").unused


@pytest.mark.parametrize("given", [None, 500])
def test_the_forecast_of_greedy_counts_each_player_once(given):
    """One with each player; a budget of coalitions is for estimates."""
    scoring = ScoringSettings(evaluations=given, step=1, swaps=0)
    settings = SimpleNamespace(scoring=scoring, sizes=(0.3,))
    data = SimpleNamespace(validation=SimpleNamespace(labels=range(100)))
    task = SimpleNamespace(players=SimpleNamespace(num_players=10), dataset=data)
    network: Any = Mock(spec=Trained, task=task, settings=settings)
    assert work_of(find_method("building-greedy"), network).evaluations == 10 + 9 + 8
    usual = 2 * (10 + 9 + 8) if given is None else 3 * given
    assert work_of(find_method("building"), network).evaluations == usual


def test_a_new_method_is_one_entry(monkeypatch):
    monkeypatch.setitem(METHODS, "toy", Method("toy", "baseline", "a toy", "random"))
    assert find_method("toy").scorer == "random"
    assert "toy" in names_of("baseline")
    assert "a toy" in describe_methods("baseline")


@pytest.mark.parametrize(
    "given, message",
    [
        ({"kind": "indx"}, "method 'toy' has no kind 'indx': did you mean index"),
        ({"selection": "bilding"}, "no selection 'bilding': did you mean building"),
    ],
)
def test_a_method_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        toy = {"name": "toy", "kind": "index", "selection": "top_n"}
        Method.__post_init__(SimpleNamespace(**{**toy, **given}))  # type: ignore
