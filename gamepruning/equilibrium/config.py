"""The prices of the game, and how its terms are read."""

import dataclasses
import math
from typing import Literal, get_args

import jax
from jaxtyping import Array

Benefit = Literal["descent", "literal"]
Norm = Literal["sum", "mean", "unit"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class UtilityConfig:
    """The weights of the utility's terms, and how its terms are read.

    The weights are leaves of a pytree, so that they can be mapped over by `jax.vmap`.

    Attributes:
      alpha: weight of the benefit, > 0 to reward contribution.
      beta: weight of the quadratic cost beta |theta_i|^2 s_i^2, >= 0.
      gamma: weight of the linear cost gamma s_i, >= 0. It alone gives exact zeros.
      eta: weight of the competition within a family, >= 0.
      benefit: "descent" for -dL/ds_i, "literal" for +<grad_{theta_i} L, theta_i> as
        printed in the paper; see `gamepruning.equilibrium.utility`.
      norm: what the cost calls theta_i: the parameters as they are ("sum", the paper's
        squared norm), over the root of their number ("mean": the squared norm becomes
        a mean square), or over their norm ("unit": the cost is beta s_i^2, which
        growing weights cannot evade).

    Raises:
      ValueError: a weight is negative or not finite, or a choice is unknown.

    Example:
      >>> UtilityConfig(beta=0.05, gamma=0.05).alpha
      1.0
    """

    alpha: float | Array = 1.0
    beta: float | Array = 0.0
    gamma: float | Array = 0.0
    eta: float | Array = 0.0
    benefit: Benefit = dataclasses.field(default="descent", metadata={"static": True})
    norm: Norm = dataclasses.field(default="sum", metadata={"static": True})

    def __post_init__(self):
        for name in ("alpha", "beta", "gamma", "eta"):
            weight = getattr(self, name)
            if isinstance(weight, int | float) and not (0 <= weight < math.inf):
                raise ValueError(f"expected {name} to be finite and >= 0, got {weight}")
        for name, choices in (("benefit", Benefit), ("norm", Norm)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"expected {name} to be one of {get_args(choices)}, got "
                    f"{getattr(self, name)!r}"
                )
