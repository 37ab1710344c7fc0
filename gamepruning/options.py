"""Rarely used keywords of a function, gathered in a frozen dataclass."""

import dataclasses
import difflib
import inspect
import numbers
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gamepruning.errors import InputError

Options = TypeVar("Options")
ConfigT = TypeVar("ConfigT")


def as_config(config: Any, kind: type[ConfigT]) -> ConfigT:
    """A config as it is, or its defaults for None.

    Raises:
      InputError: it is of another kind.

    Example:
      >>> @dataclasses.dataclass(frozen=True, kw_only=True)
      ... class BakeConfig:
      ...     celsius: int = 180
      >>> as_config(None, BakeConfig)
      BakeConfig(celsius=180)
      >>> as_config("hot", BakeConfig)
      Traceback (most recent call last):
      gamepruning.types.InputError: expected config=BakeConfig(...), got str 'hot'
    """
    if config is None:
        return kind()
    if not isinstance(config, kind):
        told = " ".join(f"{config!r:.60}".split())
        raise InputError(
            f"expected config={kind.__name__}(...), got {type(config).__name__} {told}"
        )
    return config


def make_options(
    options: type[Options], given: Mapping[str, Any], function: Callable[..., Any]
) -> Options:
    """Build the options of a call from its keywords.

    A function with many tunables declares the rare ones as
    `**options: Unpack[XKeywords]`, for type checkers, and builds a frozen dataclass of
    the same fields from them, which holds the defaults and checks the values.

    Args:
      options: the dataclass.
      given: the keywords of the call.
      function: whose keywords they are, for the error message.

    Returns:
      The options.

    Raises:
      TypeError: a keyword is unknown, or one without a default is missing.
      InputError: one that counts something is not a whole number.

    Example:
      >>> @dataclasses.dataclass(frozen=True, kw_only=True)
      ... class BakeOptions:
      ...     minutes: int
      ...     celsius: int = 180
      >>> def bake(cake, **options):
      ...     return make_options(BakeOptions, options, bake)
      >>> bake("apple", minutes=40)
      BakeOptions(minutes=40, celsius=180)
      >>> bake("apple", minuets=40)
      Traceback (most recent call last):
      TypeError: bake() has no keyword 'minuets': did you mean 'minutes'?
    """
    fields = {field.name: field for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    for name in given:
        if name not in fields:
            raise TypeError(_unknown(name, [*_named(function), *fields], function))
    missing = [
        name
        for name, field in fields.items()
        if name not in given
        and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise TypeError(
            f"{function.__name__}() needs the keyword"
            f"{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        )
    whole = [name for name in given if fields[name].type in (int, int | None)]
    return options(**{**given, **{k: _whole(k, given[k]) for k in whole}})


def _whole(name: str, value: Any) -> Any:
    """A number that counts something, 1e3 as 1000.

    Raises:
      InputError: it is not whole.
    """
    is_number = isinstance(value, numbers.Real)
    if value is None or isinstance(value, numbers.Integral) or not is_number:
        return value  # other types are for the class to judge
    if not float(value).is_integer():
        raise InputError(f"expected {name} as a whole number, got {value}")
    return int(float(value))


def _named(function: Callable[..., Any]) -> list[str]:
    """The keywords that the function's signature names one by one."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]


def _unknown(name: str, known: list[str], function: Callable[..., Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
    return f"{function.__name__}() has no keyword {name!r}: {hint}"
