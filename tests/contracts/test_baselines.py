"""Baselines x laws: a new baseline joins by one line of `LAWS`."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.baselines import BASELINES
from gamepruning.metrics import cross_entropy
from gamepruning.types import Scorer, Scores
from tests.small import make_mlp

FACTOR = 3.0


class Law(NamedTuple):
    """How scores answer to a change of scale, as powers of the factor.

    Attributes:
      loss: of the loss.
      unit: of what a unit emits, undone by those that read it: the network is the same.
    """

    loss: int
    unit: int


LAWS = {
    "random": Law(loss=0, unit=0),
    "magnitude_l1": Law(loss=0, unit=1),
    "magnitude_l2": Law(loss=0, unit=1),
    "weight_gradient": Law(loss=1, unit=0),
    "taylor": Law(loss=1, unit=0),
    "taylor_second": Law(loss=1, unit=0),
    "activation": Law(loss=0, unit=2),
    "loss_oracle": Law(loss=1, unit=0),
}
every_baseline = pytest.mark.parametrize("name", BASELINES)


@pytest.fixture(scope="module")
def problem():
    players, params, inputs, labels = make_mlp(jax.random.key(5))
    return players, params, cross_entropy, inputs, labels


def assert_scaled(found: Scores, scores: Scores, factor: float) -> None:
    np.testing.assert_allclose(
        found.value, factor * scores.value, rtol=2e-4, atol=1e-6 * factor
    )


def test_every_baseline_has_its_laws():
    assert set(LAWS) == set(BASELINES)


@every_baseline
def test_a_baseline_is_a_scorer(name, key, problem):
    baseline = BASELINES[name]
    assert isinstance(baseline, Scorer)
    assert baseline.help.endswith((".", "?"))
    scores = baseline(key, *problem)
    chex.assert_shape([scores.value, scores.stderr], (problem[0].num_players,))
    chex.assert_type([scores.value, scores.stderr], jnp.float32)
    chex.assert_tree_all_finite((scores.value, scores.stderr))


@every_baseline
def test_the_same_key_gives_the_same_scores(name, key, problem):
    one, two = (BASELINES[name](key, *problem) for _ in range(2))
    chex.assert_trees_all_equal(one, two)


@every_baseline
def test_jit_traces_once_and_changes_nothing(name, key, problem):
    players, params, loss_fn, inputs, labels = problem

    @jax.jit
    @chex.assert_max_traces(n=1)
    def score(key, params, inputs, labels):
        return BASELINES[name](key, players, params, loss_fn, inputs, labels).value

    plain = BASELINES[name](key, *problem).value
    for _ in range(2):
        jitted = score(key, params, inputs, labels)
        np.testing.assert_allclose(jitted, plain, rtol=2e-4, atol=1e-6)


@every_baseline
def test_scores_in_half_precision_are_computed_in_single(name, key, problem):
    players, params, loss_fn, inputs, labels = problem
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, inputs))
    scores = BASELINES[name](key, players, half[0], loss_fn, half[1], labels)
    chex.assert_tree_all_finite(scores.value)
    if not BASELINES[name].needs_labels and name != "activation":
        chex.assert_type(scores.value, jnp.float32)


@every_baseline
def test_the_scale_of_the_loss(name, key, problem):
    players, params, loss_fn, inputs, labels = problem
    larger = lambda outputs, labels: FACTOR * loss_fn(outputs, labels)  # noqa: E731
    found = BASELINES[name](key, players, params, larger, inputs, labels)
    scores = BASELINES[name](key, *problem)
    assert_scaled(found, scores, FACTOR ** LAWS[name].loss)


@every_baseline
def test_the_scale_of_the_units_of_one_layer(name, key, problem):
    players, params, loss_fn, inputs, labels = problem
    louder = params | {
        "dense0": jax.tree.map(lambda leaf: FACTOR * leaf, params["dense0"]),
        "dense1": params["dense1"] | {"kernel": params["dense1"]["kernel"] / FACTOR},
    }
    found = BASELINES[name](key, players, louder, loss_fn, inputs, labels)
    scores = BASELINES[name](key, *problem)
    first = slice(players.families[0].start, players.families[0].stop)
    cut = lambda s: s._replace(value=s.value[first])  # noqa: E731
    assert_scaled(cut(found), cut(scores), FACTOR ** LAWS[name].unit)
