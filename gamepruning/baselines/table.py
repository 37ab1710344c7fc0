"""All baselines behind one signature, for those who compare them."""

from collections.abc import Callable

from gamepruning.baselines.activations import activation_scores, random_scores
from gamepruning.baselines.oracle import loss_oracle_scores
from gamepruning.baselines.taylor import taylor_scores
from gamepruning.baselines.weights import magnitude_scores, weight_gradient_scores
from gamepruning.types import Scores


def _random(key, players, params, loss_fn, inputs, labels, **chunk) -> Scores:
    return random_scores(key, players)


def _magnitude_l1(key, players, params, loss_fn, inputs, labels, **chunk) -> Scores:
    return magnitude_scores(players, params, ord=1)


def _magnitude_l2(key, players, params, loss_fn, inputs, labels, **chunk) -> Scores:
    return magnitude_scores(players, params, ord=2)


def _weight_gradient(key, players, params, loss_fn, inputs, labels, **chunk) -> Scores:
    return weight_gradient_scores(players, params, loss_fn, inputs, labels, **chunk)


def _taylor(key, players, params, loss_fn, inputs, labels, **chunk) -> Scores:
    return taylor_scores(players, params, loss_fn, inputs, labels, order=1, **chunk)


def _taylor_second(key, players, params, loss_fn, inputs, labels, **chunk) -> Scores:
    return taylor_scores(players, params, loss_fn, inputs, labels, order=2, **chunk)


def _activation(key, players, params, loss_fn, inputs, labels, **chunk) -> Scores:
    return activation_scores(players, params, inputs, **chunk)


def _loss_oracle(key, players, params, loss_fn, inputs, labels, **chunk) -> Scores:
    return loss_oracle_scores(players, params, loss_fn, inputs, labels, **chunk)


BASELINES: dict[str, Callable[..., Scores]] = {
    "random": _random,
    "magnitude_l1": _magnitude_l1,
    "magnitude_l2": _magnitude_l2,
    "weight_gradient": _weight_gradient,
    "taylor": _taylor,
    "taylor_second": _taylor_second,
    "activation": _activation,
    "loss_oracle": _loss_oracle,
}
"""Scorers by name, each (key, players, params, loss_fn, inputs, labels) -> `Scores`.

All take all arguments and use what they need; `examples_at_once=`, which bounds the
memory, may be given to all.
"""
