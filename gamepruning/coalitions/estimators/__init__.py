"""The estimators by name: `ESTIMATORS` is their only list.

| name | estimates | a sample | bias |
| --- | --- | --- | --- |
| toggle | any semivalue | 2 N evaluations | none |
| toggle_all | any semivalue | N + 1 | none |
| sample_reuse | Banzhaf, any bias | 1 | none |
| regression | Banzhaf, any bias | 1 | of the penalty, vanishing |
| paired_regression | Banzhaf, bias 1/2 | 2 | of the penalty, vanishing |
| permutation | Shapley | N - 1 | none |
| antithetic, antithetic_centred | Shapley | 2 (N - 1) | none |
| centred_reuse | Shapley, Beta | 1 | none |
| proxy | Shapley, Banzhaf | 1 or 2 | as the regression it goes on with |
| proxy_reuse | any semivalue | 1 | none |
| leverage | Shapley | 2 | of the penalty and of order 1/m, vanishing |
| enumeration | any semivalue, up to 16 players | 1 | none: it is exact |
"""

from gamepruning.coalitions.estimators.base import (
    Estimate,
    Estimator,
    Problem,
    SampleCost,
)
from gamepruning.coalitions.estimators.centred_reuse import centred_reuse
from gamepruning.coalitions.estimators.enumeration import enumeration
from gamepruning.coalitions.estimators.leverage import leverage
from gamepruning.coalitions.estimators.permutation import (
    antithetic,
    antithetic_centred,
    permutation,
)
from gamepruning.coalitions.estimators.proxy import proxy, proxy_reuse
from gamepruning.coalitions.estimators.regression import paired_regression, regression
from gamepruning.coalitions.estimators.reuse import sample_reuse
from gamepruning.coalitions.estimators.toggling import toggle, toggle_all

ESTIMATORS: dict[str, Estimator] = {
    "toggle": toggle(),
    "toggle_all": toggle_all(),
    "sample_reuse": sample_reuse(),
    "regression": regression(),
    "paired_regression": paired_regression(),
    "permutation": permutation(),
    "antithetic": antithetic(),
    "antithetic_centred": antithetic_centred(),
    "leverage": leverage(),
    "centred_reuse": centred_reuse(),
    "proxy": proxy(),
    "proxy_reuse": proxy_reuse(),
    "enumeration": enumeration(),
}

__all__ = ["ESTIMATORS", "Estimate", "Estimator", "Problem", "SampleCost"]
