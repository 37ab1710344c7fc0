"""(apply, params) of models made with Flax; any pure function needs no adapter."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from gamepruning.types import Apply, Outputs, Params


@runtime_checkable
class LinenModule(Protocol):
    """A `flax.linen.Module`, as far as it is called here."""

    def apply(self, variables: Params, /, *args: Any, **kwargs: Any) -> Outputs:
        """The outputs of the module."""
        ...


def from_linen(
    module: LinenModule, variables: Params, *, method: Any = None, **arguments: Any
) -> tuple[Apply, Params]:
    """A linen module in evaluation mode as (apply, params).

    Args:
      module: a `flax.linen.Module`.
      variables: all its collections, batch statistics included, as `init` gives them.
      method: the method to call, `__call__` if None.
      **arguments: passed on to the module, such as `train=False`.

    Returns:
      apply and params for `find_players(apply, params, *inputs)`; params are
      `variables`.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, gamepruning as gp
      >>> module = nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(2)])
      >>> x = jnp.ones((1, 4))
      >>> apply, params = gp.from_linen(module, module.init(jax.random.key(0), x))
      >>> gp.find_players(apply, params, x).num_players
      8
    """

    def apply(params, *inputs):
        return module.apply(params, *inputs, method=method, **arguments)

    return apply, variables


def from_nnx(module: Any, *, params: Sequence[Any] = ()) -> tuple[Apply, Params]:
    """An nnx module in evaluation mode as (apply, params).

    Batch norm uses its running statistics and dropout is off, in whatever mode the
    module is, which stays as it is.

    Args:
      module: a `flax.nnx.Module`.
      params: the filters of the state to expose, in the sense of `nnx.split`; default
        all of it, batch statistics included.

    Returns:
      apply and params for `find_players(apply, params, *inputs)`; `params` is the
      module's state, a pytree. What the filters leave out stays inside `apply`.

    Example:
      >>> from flax import nnx
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> class Net(nnx.Module):
      ...     def __init__(self, rngs):
      ...         self.one = nnx.Linear(4, 8, rngs=rngs)
      ...         self.two = nnx.Linear(8, 2, rngs=rngs)
      ...
      ...     def __call__(self, x):
      ...         return self.two(nnx.relu(self.one(x)))
      >>> apply, params = gp.from_nnx(Net(nnx.Rngs(0)))
      >>> gp.find_players(apply, params, jnp.ones((1, 4))).num_players
      8
    """
    from flax import nnx

    if isinstance(module, nnx.Module):
        module = nnx.clone(module)
        module.eval()
    filters = tuple(params) or (...,)
    rest_filters = () if filters[-1] is ... else (...,)
    graphdef, *states = nnx.split(module, *filters, *rest_filters)
    shown, rest = states[: len(filters)], states[len(filters) :]

    def apply(params, *inputs):
        found = [params] if len(filters) == 1 else list(params)
        return nnx.merge(graphdef, *found, *rest)(*inputs)

    return apply, shown[0] if len(filters) == 1 else tuple(shown)
