"""All baselines behind one signature, for those who compare them."""

from collections.abc import Callable

from gamepruning.baselines.activations import activation_scores, random_scores
from gamepruning.baselines.oracle import loss_oracle_scores
from gamepruning.baselines.taylor import taylor_scores
from gamepruning.baselines.weights import magnitude_scores, weight_gradient_scores
from gamepruning.types import Scores

BASELINES: dict[str, Callable[..., Scores]] = {
    "random": lambda key, players, params, loss_fn, inputs, labels: random_scores(
        key, players
    ),
    "magnitude_l1": lambda key, players, params, loss_fn, inputs, labels: (
        magnitude_scores(players, params, ord=1)
    ),
    "magnitude_l2": lambda key, players, params, loss_fn, inputs, labels: (
        magnitude_scores(players, params, ord=2)
    ),
    "weight_gradient": lambda key, players, params, loss_fn, inputs, labels: (
        weight_gradient_scores(players, params, loss_fn, inputs, labels)
    ),
    "taylor": lambda key, players, params, loss_fn, inputs, labels: taylor_scores(
        players, params, loss_fn, inputs, labels, order=1
    ),
    "taylor_second": lambda key, players, params, loss_fn, inputs, labels: (
        taylor_scores(players, params, loss_fn, inputs, labels, order=2)
    ),
    "activation": lambda key, players, params, loss_fn, inputs, labels: (
        activation_scores(players, params, inputs)
    ),
    "loss_oracle": lambda key, players, params, loss_fn, inputs, labels: (
        loss_oracle_scores(players, params, loss_fn, inputs, labels)
    ),
}
"""name -> (key, players, params, loss_fn, inputs, labels) -> `Scores`."""
