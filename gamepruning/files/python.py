"""Python files that users bring, and whatever goes wrong in them as one line."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gamepruning.errors import InputError, place_in


def load_function(spec: str) -> Callable[..., Any]:
    """The function that `path.py:name` names.

    Raises:
      InputError: there is no such file or function, or importing the file fails.

    Example:
      >>> _ = Path("net.py").write_text("def make(): return 3")
      >>> load_function("net.py:make")()
      3
    """
    path, _, name = spec.rpartition(":")
    if not path or not name:
        raise InputError(f"expected --module as path.py:factory, got {spec!r}")
    found = getattr(_import_file(Path(path)), name, None)
    if not callable(found):
        raise InputError(f"{path} has no function {name!r}")
    return found


@contextmanager
def told(what: str, path: str | Path = "") -> Iterator[None]:
    """Whatever the user's code raises, in one line, with its place in their file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what.removesuffix(' failed')}: {error}") from error
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        text = text if len(text) <= 300 else text[:297] + "..."
        kind = type(error).__name__
        text = f"{kind}: {text}" if text else kind
        place = place_in(error, path) if path else ""
        raise InputError(f"{what}: {text}{place}") from error


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
        with told(f"importing {path} failed", path):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module
