"""REFERENCES: the scores that a game has to beat."""

from gamepruning.baselines.activations import (
    activation_scores,
    influence_scores,
    random_scores,
)
from gamepruning.baselines.hard_concrete import (
    hard_concrete_mean,
    hard_concrete_sample,
    make_hard_concrete_step,
    open_probability,
)
from gamepruning.baselines.oracle import loss_oracle_scores
from gamepruning.baselines.table import BASELINES, Baseline
from gamepruning.baselines.taylor import taylor_scores
from gamepruning.baselines.weights import magnitude_scores, weight_gradient_scores
from gamepruning.spelling import helpful

__all__ = [
    "BASELINES",
    "Baseline",
    "activation_scores",
    "hard_concrete_mean",
    "hard_concrete_sample",
    "influence_scores",
    "loss_oracle_scores",
    "make_hard_concrete_step",
    "magnitude_scores",
    "open_probability",
    "random_scores",
    "taylor_scores",
    "weight_gradient_scores",
]
__getattr__, __dir__ = helpful(__name__, __all__)
