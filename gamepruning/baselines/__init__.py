"""REFERENCES: the scores that a game has to beat."""

from gamepruning.baselines.activations import activation_scores, random_scores
from gamepruning.baselines.oracle import loss_oracle_scores
from gamepruning.baselines.table import BASELINES
from gamepruning.baselines.taylor import taylor_scores
from gamepruning.baselines.weights import magnitude_scores, weight_gradient_scores

__all__ = [
    "BASELINES",
    "activation_scores",
    "loss_oracle_scores",
    "magnitude_scores",
    "random_scores",
    "taylor_scores",
    "weight_gradient_scores",
]
