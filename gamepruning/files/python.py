"""Python files that users bring, and whatever goes wrong in them as one line."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
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
        what = "" if found is None else f": {name} is {type(found).__name__}"
        raise InputError(f"{path} has no function {name!r}{what}")
    return found


@contextmanager
def told(what: str, path: str | Path = "") -> Iterator[None]:
    """Whatever the user's code raises, in one line, with its place in their file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what.removesuffix(' failed')}: {error}") from error
    except (Exception, SystemExit) as error:
        place = place_in(error, path) if path else ""
        if isinstance(error, FileNotFoundError) and place:
            place += "; Path(__file__).parent is the folder of the module"
        raise InputError(f"{what}: {_text_of(error)}{place}") from error


@contextmanager
def told_own(spec: str | None) -> Iterator[None]:
    """What goes wrong in the user's file `path.py:name` alone, as `told` tells it.

    Every other error is raised as it is, as are all where there is no such file.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        path = (spec or "").rpartition(":")[0]
        if not path or not place_in(error, path):
            raise
        with told(f"{spec} failed", path):
            raise


def _text_of(error: BaseException) -> str:
    """An error in a line: its kind and, shortened, what it says.

    What a callback raised inside a compiled program is at the end of what XLA says.
    """
    text, kind = str(error), type(error).__name__
    if "Traceback (most recent call last)" in text:
        return text.strip().splitlines()[-1]
    text = " ".join(text.split())
    text = text if len(text) <= 300 else text[:297] + "..."
    return f"{kind}: {text}" if text else kind


class _SourceLoader(SourceFileLoader):
    """Compiles a file as it is now; code on disk may be of its text a moment ago."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_file(path: Path):
    if not path.is_file():
        raise InputError(f"no file {path} for --module")
    folder = str(path.parent.resolve())
    spec = importlib.util.spec_from_file_location(f"_user_module_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    spec.loader = _SourceLoader(spec.name, str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look annotations up
    sys.path.insert(0, folder)
    try:
        with told(f"importing {path} failed", path):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    sys.path.append(folder)  # what a function imports later
    return module
