"""Functions that users bring: called with what there is, they must return at once."""

import inspect
from collections.abc import Callable
from typing import Any

from gamepruning.errors import InputError

FACTORY = "a function that takes nothing and returns (apply, params, inputs)"


def check_plain(name: str, function: Any) -> None:
    """Refuse coroutines, generators and classes where a function is expected.

    Raises:
      InputError: calling it would give none of its results.

    Example:
      >>> async def loss(outputs, labels):
      ...     return 0.0
      >>> check_plain("loss", loss)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      gamepruning.types.InputError: expected loss as a plain function, got a corouti...
    """
    if inspect.iscoroutinefunction(function):
        what = "a coroutine: write def instead of async def"
    elif inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        what = "a generator: return the result instead of yielding it"
    elif inspect.isclass(function):
        what = f"the class {function.__name__}: make an instance of it"
    else:
        return
    raise InputError(f"expected {name} as a plain function, got {what}")


def check_factory(found: Any) -> Callable[[], Any]:
    """Check that what a user named can be called with nothing.

    Raises:
      InputError: it is a class, a module, or needs arguments.
    """
    name = getattr(found, "__name__", "it")
    if inspect.isclass(found) and not issubclass(found, tuple):
        raise InputError(f"expected {FACTORY}, got the class {name}")
    if any("flax" in kind.__module__ for kind in type(found).__mro__):
        raise InputError(f"expected {FACTORY}, got a module, {type(found).__name__}")
    if not inspect.isclass(found):
        check_plain("the factory", found)
    needed = [own.name for own in _parameters(found) if _is_needed(own)]
    if needed:
        raise InputError(
            f"expected {FACTORY}, but it needs {', '.join(needed)}: give them defaults"
        )
    return found


def _parameters(function: Any) -> list[inspect.Parameter]:
    """What a function takes; empty where Python cannot tell."""
    try:
        return [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return []


def _is_needed(parameter: inspect.Parameter) -> bool:
    is_rest = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not is_rest
