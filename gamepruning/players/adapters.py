"""(apply, params) of models made with Flax; any pure function needs no adapter."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from gamepruning.types import Apply, InputError, Outputs, Params


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

    Raises:
      InputError: module is not an instance of a linen module.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, gamepruning as gp
      >>> module = nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(2)])
      >>> x = jnp.ones((1, 4))
      >>> apply, params = gp.from_linen(module, module.init(jax.random.key(0), x))
      >>> gp.find_players(apply, params, x).num_players
      8
    """
    if isinstance(module, type) or not isinstance(module, LinenModule):
        raise InputError(_expected("flax.linen.Module", module))

    def apply(params, *inputs):
        return module.apply(params, *inputs, method=method, **arguments)

    return apply, variables


def from_nnx(
    module: Any, *, params: Sequence[Any] = (), method: Any = None, **arguments: Any
) -> tuple[Apply, Params]:
    """An nnx module in evaluation mode as (apply, params).

    Batch norm uses its running statistics and dropout is off, in whatever mode the
    module is, which stays as it is.

    Args:
      module: a `flax.nnx.Module`.
      params: the filters of the state to expose, in the sense of `nnx.split`; default
        all of it, batch statistics included.
      method: the method to call, by name or as a function of the module and its
        inputs; `__call__` if None.
      **arguments: passed on to it, such as `decode=False`.

    Returns:
      apply and params for `find_players(apply, params, *inputs)`; `params` is the
      module's state, a pytree. What the filters leave out stays inside `apply`. What
      a call changes (a decode cache, a counter) it changes in a copy: `apply` is pure.

    Raises:
      InputError: module is not an instance of an nnx module or has no such method.

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

    if not isinstance(module, nnx.Module | nnx.Pytree):
        raise InputError(_expected("flax.nnx.Module", module))
    if isinstance(method, str) and not callable(getattr(module, method, None)):
        kind = type(module).__name__
        raise InputError(f"the module {kind} has no method {method!r} to call")
    if isinstance(module, nnx.Module):
        module = nnx.clone(module)
        module.eval()
    filters = tuple(params) or (...,)
    rest_filters = () if filters[-1] is ... else (...,)
    graphdef, *states = nnx.split(module, *filters, *rest_filters)
    shown, rest = states[: len(filters)], states[len(filters) :]

    def apply(params, *inputs):
        found = [params] if len(filters) == 1 else list(params)
        module = nnx.merge(graphdef, *found, *rest, copy=True)
        if callable(method):
            return method(module, *inputs, **arguments)
        return getattr(module, method or "__call__")(*inputs, **arguments)

    return apply, shown[0] if len(filters) == 1 else tuple(shown)


def _expected(kind: str, module: Any) -> str:
    if isinstance(module, type):
        name = module.__name__
        return f"expected an instance of a {kind}, got the class {name}: make one of it"
    return f"expected a {kind}, got {type(module).__name__}"
