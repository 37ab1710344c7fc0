"""The prices of the game, and how its terms are read."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.core
import numpy as np
from jaxtyping import Array

from gamepruning.errors import InputError

Benefit = Literal["descent", "literal"]
Norm = Literal["sum", "mean", "unit"]
Weight = float | np.generic | Array | Callable[[Any], Any]
WEIGHTS = ("alpha", "beta", "gamma", "eta")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class UtilityConfig:
    """The weights of the utility's terms, and how its terms are read.

    The weights are leaves of a pytree, so that they can be mapped over by `jax.vmap`.
    Each can be an optax schedule, a function of the step, which `at` turns into a
    number; `make_equilibrium_step` does so by itself.

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
      InputError: a weight is negative or not finite, or a choice is unknown.

    Example:
      >>> import optax
      >>> rising = UtilityConfig(gamma=optax.linear_schedule(0.0, 0.1, 100))
      >>> rising
      UtilityConfig(alpha=1.0, gamma=<schedule>)
      >>> float(rising.at(50).gamma)
      0.05000000074505806
    """

    alpha: Weight = 1.0
    beta: Weight = 0.0
    gamma: Weight = 0.0
    eta: Weight = 0.0
    benefit: Benefit = dataclasses.field(default="descent", metadata={"static": True})
    norm: Norm = dataclasses.field(default="sum", metadata={"static": True})

    def __post_init__(self):
        for name in WEIGHTS:
            weight = getattr(self, name)
            is_known = isinstance(weight, int | float | np.generic)
            if is_known and not 0 <= float(weight) < math.inf:
                raise InputError(f"expected {name} to be finite and >= 0, got {weight}")
        for name, choices in (("benefit", Benefit), ("norm", Norm)):
            if getattr(self, name) not in get_args(choices):
                raise InputError(
                    f"expected {name} to be one of {get_args(choices)}, got "
                    f"{getattr(self, name)!r}"
                )

    def __repr__(self) -> str:
        given = [
            f"{field.name}={_brief(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if field.name == "alpha"
            or not _is_equal(getattr(self, field.name), field.default)
        ]
        return f"UtilityConfig({', '.join(given)})"

    def at(self, step: Any) -> "UtilityConfig":
        """The weights at a step: schedules are called, numbers stay.

        Args:
          step: how many steps were made, an int scalar.

        Returns:
          A config without schedules.
        """
        weights = {name: getattr(self, name) for name in WEIGHTS}
        scheduled = {name: w(step) for name, w in weights.items() if callable(w)}
        return dataclasses.replace(self, **scheduled) if scheduled else self

    def number(self, name: str) -> Any:
        """A weight as a number.

        Raises:
          InputError: it is a schedule; `at` says what it is at a step.
        """
        weight = getattr(self, name)
        if callable(weight):
            raise InputError(
                f"expected {name} to be a number, got a schedule: pass config.at(step)"
            )
        return weight

    def has(self, name: str) -> bool:
        """False for a weight that is 0, whose term can be left out; True if traced."""
        weight = self.number(name)
        is_known = not isinstance(weight, jax.core.Tracer) and np.ndim(weight) == 0
        return not (is_known and float(weight) == 0)


def _is_equal(value: Any, default: Any) -> bool:
    return isinstance(value, int | float | str) and value == default


def _brief(value: Any) -> str:
    if callable(value):
        return "<schedule>"
    shape = getattr(value, "shape", ())
    return f"<array {list(shape)}>" if shape else repr(value)
