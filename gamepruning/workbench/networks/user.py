"""A user's own network, named on the command line as `path.py:factory`."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from gamepruning.types import InputError


class UserNetwork(NamedTuple):
    """What a factory returned.

    Attributes:
      apply: (params, *inputs) -> outputs.
      params: its parameters.
      inputs: example inputs.
    """

    apply: Callable[..., Any]
    params: Any
    inputs: tuple[Any, ...]


def load_user_network(spec: str) -> UserNetwork:
    """Import `path.py` and call `factory()`.

    Args:
      spec: `path.py:factory`, where the factory takes no arguments and returns
        (apply, params, inputs); inputs is a tuple, or one array.

    Returns:
      The network.

    Raises:
      InputError: there is no such file or function, or it fails or returns something
        else.
    """
    path, _, name = spec.rpartition(":")
    if not path or not name:
        raise InputError(f"expected --module as path.py:factory, got {spec!r}")
    factory = getattr(_import_file(Path(path)), name, None)
    if not callable(factory):
        raise InputError(f"{path} has no function {name!r}")
    try:
        made = factory()
    except (Exception, SystemExit) as error:
        raise InputError(f"{spec} failed: {_one_line(error)}") from error
    if not isinstance(made, tuple) or len(made) != 3 or not callable(made[0]):
        raise InputError(
            f"expected {spec} to return (apply, params, inputs), got "
            f"{type(made).__name__}"
            + (f" of {len(made)}" if isinstance(made, tuple) else "")
        )
    apply, params, inputs = made
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    _check_call(spec, apply, params, inputs)
    return UserNetwork(apply, params, inputs)


def _import_file(path: Path):
    if not path.is_file():
        raise InputError(f"no file {path} for --module")
    folder = str(path.parent.resolve())
    name = f"_user_module_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"importing {path} failed: {_one_line(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def _check_call(spec: str, apply, params, inputs) -> None:
    try:
        jax.eval_shape(apply, params, *inputs)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{spec}: apply(params, *inputs) failed: {_one_line(error)}"
        ) from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
