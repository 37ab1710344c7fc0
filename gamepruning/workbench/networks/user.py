"""What users bring: a network, named as `path.py:factory`, and weights."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gamepruning.compaction.export import import_safetensors
from gamepruning.errors import place_in
from gamepruning.trees.paths import named_leaves
from gamepruning.types import InputError


class UserNetwork(NamedTuple):
    """What a factory returned."""

    apply: Callable[..., Any]  # (params, *inputs) -> outputs
    params: Any
    inputs: tuple[Any, ...]  # examples


def load_user_network(spec: str) -> UserNetwork:
    """Import `path.py` and call `factory()`.

    The factory takes no arguments and returns (apply, params, inputs); inputs is a
    tuple, or one array. Whatever goes wrong is an InputError.
    """
    path, _, name = spec.rpartition(":")
    if not path or not name:
        raise InputError(f"expected --module as path.py:factory, got {spec!r}")
    factory = getattr(_import_file(Path(path)), name, None)
    if not callable(factory):
        raise InputError(f"{path} has no function {name!r}")
    with _told(f"{spec} failed", path):
        made = factory()
    if not isinstance(made, tuple) or len(made) != 3 or not callable(made[0]):
        size = f" of {len(made)}" if isinstance(made, tuple) else ""
        raise InputError(
            f"expected {spec} to return (apply, params, inputs), got "
            f"{type(made).__name__}{size}"
        )
    apply, params, inputs = made
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    with _told(f"{spec}: apply(params, *inputs) failed", path):
        jax.eval_shape(apply, params, *inputs)
    return UserNetwork(apply, params, inputs)


def load_weights(path: Path, like: Any) -> Any:
    """Read the weights of a `.safetensors` file or a run folder, in the form of `like`.

    It is an InputError if they are of another model, or not finite.
    """
    path = path / "dense.safetensors" if path.is_dir() else path
    params = import_safetensors(path, like=like)
    for name, leaf in named_leaves(params).items():
        if not np.isfinite(np.asarray(leaf, np.float64)).all():
            raise InputError(f"checkpoint {path} holds NaN or infinity in {name!r}")
    return params


def _import_file(path: Path):
    if not path.is_file():
        raise InputError(f"no file {path} for --module")
    folder = str(path.parent.resolve())
    spec = importlib.util.spec_from_file_location(f"_user_module_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    try:
        with _told(f"importing {path} failed", path):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


@contextmanager
def _told(what: str, path: str | Path) -> Iterator[None]:
    """Whatever the user's code raises, in one line, with its place in their files."""
    try:
        yield
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        text = text if len(text) <= 300 else text[:297] + "..."
        kind = type(error).__name__
        text = f"{kind}: {text}" if text else kind
        raise InputError(f"{what}: {text}{place_in(error, path)}") from error
