"""GAME 2: what players add to coalitions, as power indices with honest errors."""

from gamepruning.coalitions.core import LeastCore, least_core, nucleolus
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
from gamepruning.coalitions.interactions import (
    Interactions,
    exact_interactions,
    interactions,
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
from gamepruning.coalitions.unions import exact_owen, owen_values
from gamepruning.coalitions.values import ValueFunction, value_function
from gamepruning.coalitions.voting import (
    voting_game,
    weighted_voting_banzhaf,
    weighted_voting_shapley,
)
from gamepruning.coalitions.winning import deegan_packel, johnston, threshold_game
from gamepruning.spelling import helpful

__all__ = [
    "ESTIMATORS",
    "Incremental",
    "IndexEstimate",
    "Interactions",
    "LeastCore",
    "Semivalue",
    "ValueFunction",
    "banzhaf",
    "banzhaf_values",
    "beta_semivalue",
    "calibrated_likelihood",
    "choose_method",
    "deegan_packel",
    "estimate_indices",
    "exact_banzhaf",
    "exact_interactions",
    "exact_owen",
    "exact_semivalue",
    "exact_shapley",
    "interactions",
    "johnston",
    "least_core",
    "make_incremental",
    "negative_cross_entropy",
    "nucleolus",
    "owen_values",
    "restrict",
    "semivalues",
    "shapley",
    "shapley_values",
    "threshold_game",
    "true_class_probability",
    "value_function",
    "voting_game",
    "weighted_voting_banzhaf",
    "weighted_voting_shapley",
]
__getattr__, __dir__ = helpful(__name__, __all__)
