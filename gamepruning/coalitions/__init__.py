"""GAME 2: what players add to coalitions, as power indices with honest errors."""

from gamepruning.coalitions.estimators import ESTIMATORS
from gamepruning.coalitions.estimators.select import choose_method
from gamepruning.coalitions.evaluation.related import Incremental, make_incremental
from gamepruning.coalitions.exact import (
    exact_banzhaf,
    exact_semivalue,
    exact_shapley,
)
from gamepruning.coalitions.indices import (
    IndexEstimate,
    banzhaf_values,
    estimate_indices,
    semivalues,
    shapley_values,
)
from gamepruning.coalitions.measures import (
    calibrated_likelihood,
    negative_cross_entropy,
    true_class_probability,
)
from gamepruning.coalitions.restrict import restrict
from gamepruning.coalitions.semivalues import (
    Semivalue,
    banzhaf,
    beta_semivalue,
    shapley,
)
from gamepruning.coalitions.values import ValueFunction, value_function
from gamepruning.coalitions.voting import (
    voting_game,
    weighted_voting_banzhaf,
    weighted_voting_shapley,
)

__all__ = [
    "ESTIMATORS",
    "Incremental",
    "IndexEstimate",
    "Semivalue",
    "ValueFunction",
    "banzhaf",
    "banzhaf_values",
    "beta_semivalue",
    "calibrated_likelihood",
    "choose_method",
    "estimate_indices",
    "exact_banzhaf",
    "exact_semivalue",
    "exact_shapley",
    "make_incremental",
    "negative_cross_entropy",
    "restrict",
    "semivalues",
    "shapley",
    "shapley_values",
    "true_class_probability",
    "value_function",
    "voting_game",
    "weighted_voting_banzhaf",
    "weighted_voting_shapley",
]
