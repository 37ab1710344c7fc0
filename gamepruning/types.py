"""Types that every part of the library shares."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import jax
import jax.core
import numpy as np
from jaxtyping import ArrayLike, Float, Int, PyTree

from gamepruning.errors import InputError as InputError, LostProcess as LostProcess
from gamepruning.spelling import helpful

__all__ = [
    "Apply",
    "Game",
    "HasPrefixes",
    "HasToggles",
    "InputError",
    "KeyLike",
    "LostProcess",
    "Loss",
    "Metric",
    "Outputs",
    "Params",
    "PlayerSet",
    "Scorer",
    "Scores",
    "Step",
    "ValueFn",
    "is_share",
]
__getattr__, __dir__ = helpful(__name__, __all__)


# A tree of arrays, or of their shapes. Leaves that are not arrays belong to the model.
Params = PyTree
Outputs = PyTree


@runtime_checkable
class Apply(Protocol):
    """A model: a pure function `apply(params, *inputs) -> outputs`."""

    def __call__(self, params: Params, /, *inputs: Any, **options: Any) -> Outputs:
        """The outputs of the model."""
        ...


# Some players: a mask bool [N], numbers in [0, N), names of families, or None: nobody.
PlayerSet: TypeAlias = ArrayLike | Sequence[Any] | None

# A random key, typed or old, or a whole number that stands for its seed.
KeyLike: TypeAlias = ArrayLike


def is_share(size: Any) -> bool:
    """Return True if a size is a share of a whole: a float in (0, 1].

    Every size follows this rule: 1.0 is everybody, and the whole number 1 is one.

    Example:
      >>> is_share(0.5), is_share(1.0), is_share(1), is_share(2.0)
      (True, True, False, False)
    """
    return isinstance(size, float | np.floating) and 0 < float(size) <= 1


class Scores(NamedTuple):
    """One number for each player, with its quality. Higher means: keep.

    Attributes:
      value: the score of each player, float [N].
      stderr: the standard error of `value`, float [N]; 0 where `value` is exact.
      num_evaluations: how many evaluations of the network over a batch it took.

    Example:
      >>> Scores(np.array([0.5, 2.0]), np.array([0.1, 0.0]), 40)
      Scores(2 players, value 0.5 to 2, stderr at most 0.1, 40 evaluations)
    """

    value: Float[jax.Array | np.ndarray, " N"]
    stderr: Float[jax.Array | np.ndarray, " N"]
    num_evaluations: int

    def __repr__(self) -> str:
        value, stderr = self.value, self.stderr
        if not (_is_known(value) and _is_known(stderr)):
            return f"Scores({value!r}, {stderr!r}, {self.num_evaluations!r})"
        return (
            f"Scores({np.size(value)} players, value {np.min(value):.4g} to "
            f"{np.max(value):.4g}, stderr at most {np.max(stderr):.4g}, "
            f"{self.num_evaluations} evaluations)"
        )


@runtime_checkable
class Game(Protocol):
    """A cooperative game: what each coalition of its players is worth.

    `value_function`, `voting_game` and `restrict` return one. Some games can do more:
    see `HasPrefixes` and `HasToggles`.
    """

    @property
    def num_players(self) -> int:
        """N, the length of a mask."""
        ...

    def __call__(self, masks: Any, /) -> Any:
        """The values, float [S], of coalitions bool [S, N], True = in."""
        ...

    def restrict(
        self, always_in: PlayerSet = None, always_out: PlayerSet = None
    ) -> "Game":
        """The game among the players that are neither always in nor always out."""
        ...


# What functions of games take: a `Game`, or a plain function of masks, from coalitions
# bool [S, N] to values [S].
ValueFn: TypeAlias = Game | Callable[[Any], Any]


@runtime_checkable
class HasPrefixes(Protocol):
    """A game that values all prefixes of an order at once."""

    def prefixes(self, orders: Int[np.ndarray, "S N"], /) -> Any:
        """Values [S, N + 1] of nobody and of every prefix of each order."""
        ...


@runtime_checkable
class HasToggles(Protocol):
    """A game that values all single changes of a coalition at once."""

    def toggles(self, masks: Any, /) -> tuple[Any, Any]:
        """Values [S] of the masks, and [S, N] with each player's membership changed."""
        ...


@runtime_checkable
class Metric(Protocol):
    """How good the outputs of a network are, one number; JAX can trace it."""

    def __call__(self, outputs: Any, labels: Any, /) -> ArrayLike:
        """The metric of outputs [B, ...] for labels [B, ...], a scalar."""
        ...


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


def brief_repr(self: Any) -> str:
    """The `repr` of a named tuple of arrays: their types and shapes, not their values.

    Example:
      >>> class Found(NamedTuple):
      ...     mask: np.ndarray
      ...     price: jax.Array
      ...     __repr__ = brief_repr
      >>> Found(np.ones(512, bool), jax.numpy.float32(0.5))
      Found(mask=bool[512], price=0.5)
    """
    fields = (f"{n}={_brief(value)}" for n, value in self._asdict().items())
    return f"{type(self).__name__}({', '.join(fields)})"


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray | jax.Array):
        is_number = value.ndim == 0 and _is_known(value)
        return f"{value}" if is_number else f"{value.dtype}{list(value.shape)}"
    leaves = jax.tree.leaves(value)
    return f"<{len(leaves)} arrays>" if any(map(_is_known, leaves)) else repr(value)


def _is_known(array: Any) -> bool:
    """True if the values can be looked at: no tracer, no shape, not empty."""
    is_array = isinstance(array, np.ndarray | jax.Array)
    return is_array and not isinstance(array, jax.core.Tracer) and array.size > 0
