"""Types that every part of the library shares."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, PyTree


class InputError(ValueError):
    """Bad input from a user: one clear line that says what was wrong and how to mend.

    The command line prints the message and exits with code 2.
    """


class Scores(NamedTuple):
    """One number a player, with its quality. Higher means: keep.

    Attributes:
      value: the score of each player, float [N].
      stderr: the standard error of `value`, float [N]; 0 where `value` is exact.
      num_evaluations: how many evaluations of the network over a batch it took.
    """

    value: Float[jax.Array | np.ndarray, " N"]
    stderr: Float[jax.Array | np.ndarray, " N"]
    num_evaluations: int


State = TypeVar("State")
Info = TypeVar("Info", covariant=True)


@runtime_checkable
class Step(Protocol[State, Info]):
    """A training step as a pair of pure functions, such as `EquilibriumStep`.

    Attributes:
      init: makes the state, from the initial weights.
      step: (state, batch) -> (state, info), for `jax.jit` and `jax.lax.scan`; `batch`
        is a tuple (*inputs, labels).
    """

    @property
    def init(self) -> Callable[..., State]: ...

    @property
    def step(self) -> Callable[[State, Any], tuple[State, Info]]: ...


@runtime_checkable
class Loss(Protocol):
    """(outputs, labels) -> scalar, a mean over examples: a loss or a metric."""

    def __call__(self, outputs: Any, labels: Any, /) -> Any: ...


@runtime_checkable
class Scorer(Protocol):
    """Scores the players of a network on labelled examples; what `BASELINES` holds."""

    def __call__(
        self,
        key: jax.Array,
        players: Any,
        params: PyTree,
        loss_fn: Loss,
        inputs: PyTree,
        labels: Any,
        *,
        examples_at_once: int | None = None,
    ) -> Scores: ...
