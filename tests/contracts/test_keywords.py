"""Functions with many tunables: at most 8 parameters, and every keyword works."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.bandits import (
    ArmsOptions,
    BanditOptions,
    record_bandit,
    record_bandits,
)
from gamepruning.bandits.arms import ArmsKeywords
from gamepruning.bandits.play import BanditKeywords
from gamepruning.compaction import CompactOptions
from gamepruning.compaction.compact import CompactKeywords
from gamepruning.equilibrium import MarketSchedule, SolveOptions, TrainingOptions
from gamepruning.equilibrium.algorithm import TrainingKeywords
from gamepruning.equilibrium.budget import MarketKeywords
from gamepruning.equilibrium.solve import SolveKeywords
from gamepruning.selection import IterationOptions, PruningOptions, RemovalOptions
from gamepruning.selection.safe_removal import RemovalKeywords
from gamepruning.selection.settings import IterationKeywords, PruningKeywords
from tests.small import make_mlp

MOST_PARAMETERS = 8
KEY = jax.random.key(0)
PLAYERS, PARAMS, INPUTS, LABELS = make_mlp(KEY)
VALUE_FN = lambda masks: masks.sum(axis=1)  # noqa: E731
ARGUMENTS = {
    "key": KEY,
    "keys": [KEY],
    "inputs": INPUTS,
    "labels": LABELS,
    "players": PLAYERS,
    "params": PARAMS,
    "mask": np.arange(PLAYERS.num_players) < 3,
    "loss": gp.cross_entropy,
    "value_fn": VALUE_FN,
    "policy": gp.ucb1(),
    "arms": gp.removal_arms(PLAYERS, PARAMS, gp.cross_entropy, INPUTS, LABELS),
    "tx": gp.joint_optimizer(),
    "budget": gp.Budget(keep=3),
    "config": gp.UtilityConfig(),
    "n": 2,
}


class Case(NamedTuple):
    """A function, and what its keywords become.

    Attributes:
      fn: the function.
      options: the dataclass of the rarer keywords.
      keywords: the same for type checkers.
      arguments: names in `ARGUMENTS` that its call cannot do without.
      typo: a misspelt keyword.
      meant: what it should have been.
    """

    fn: Callable[..., Any]
    options: type
    keywords: type
    arguments: str
    typo: str
    meant: str


CASES = [
    Case(
        gp.play_bandit,
        BanditOptions,
        BanditKeywords,
        "key policy value_fn",
        "num_pull",
        "num_pulls",
    ),
    Case(
        record_bandit,
        BanditOptions,
        BanditKeywords,
        "key policy value_fn",
        "stop",
        "stop_at",
    ),
    Case(
        gp.compact,
        CompactOptions,
        CompactKeywords,
        "players params mask",
        "round_too",
        "round_to",
    ),
    Case(
        gp.compact,
        CompactOptions,
        CompactKeywords,
        "players params mask",
        "opt_states",
        "opt_state",
    ),
    Case(
        gp.make_market_step,
        MarketSchedule,
        MarketKeywords,
        "players loss tx budget",
        "num_step",
        "num_steps",
    ),
    Case(
        gp.solve,
        SolveOptions,
        SolveKeywords,
        "players params loss config",
        "max_step",
        "max_steps",
    ),
    Case(
        gp.iterated_pruning,
        PruningOptions,
        PruningKeywords,
        "key value_fn n",
        "max_drops",
        "max_drop",
    ),
    Case(
        gp.iterated_building,
        IterationOptions,
        IterationKeywords,
        "key value_fn n",
        "swap",
        "swaps",
    ),
    Case(
        gp.safe_removal,
        RemovalOptions,
        RemovalKeywords,
        "key policy arms value_fn n",
        "cautious",
        "caution",
    ),
    Case(
        record_bandits,
        BanditOptions,
        BanditKeywords,
        "keys policy value_fn",
        "num_pull",
        "num_pulls",
    ),
    Case(
        gp.removal_arms,
        ArmsOptions,
        ArmsKeywords,
        "players params loss inputs labels",
        "meshes",
        "mesh",
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.fn.__name__)


@every_case
def test_a_function_has_few_parameters(case):
    assert len(inspect.signature(case.fn).parameters) <= MOST_PARAMETERS


@every_case
def test_type_checkers_see_the_keywords_that_there_are(case):
    fields = {field.name for field in dataclasses.fields(case.options)}
    assert set(case.keywords.__annotations__) == fields
    assert not fields & set(inspect.signature(case.fn).parameters)


@every_case
def test_every_keyword_is_documented(case):
    is_record = case.fn in (record_bandit, record_bandits)
    documented = gp.play_bandit if is_record else case.fn
    for field in dataclasses.fields(case.options):
        assert f"\n  {field.name}: " in str(inspect.getdoc(documented))


@every_case
def test_a_misspelt_keyword_is_told_the_nearest(case):
    arguments = [ARGUMENTS[name] for name in case.arguments.split()]
    with pytest.raises(TypeError, match=f"{case.typo}'.* did you mean '{case.meant}'"):
        case.fn(*arguments, **{case.typo: 1})


def test_training_needs_its_keywords():
    fields = {field.name for field in dataclasses.fields(TrainingOptions)}
    assert set(TrainingKeywords.__annotations__) == fields
    assert (
        len(inspect.signature(gp.equilibrium.equilibrium_pruning).parameters)
        <= MOST_PARAMETERS
    )


def test_building_has_no_largest_drop():
    with pytest.raises(TypeError, match="building.. has no keyword 'max_drop'"):
        gp.iterated_building(KEY, VALUE_FN, 1, max_drop=0.1)  # type: ignore[call-arg]
