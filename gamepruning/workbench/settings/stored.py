"""Settings that can be written to config.json and as a command line, and read again."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from gamepruning.types import InputError


class StoredSettings:
    """What a command was asked to do: the base of frozen dataclasses of plain fields.

    A field is a number, a string, a path, a tuple of these, or None, and has a default.

    Attributes:
      COMMAND: the name of the command.
    """

    COMMAND: ClassVar[str]

    def command(self) -> str:
        """The command line that does this again: only what is not the default."""
        words = ["gamepruning", self.COMMAND]
        default = type(self)()
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            name, value = field.name, getattr(self, field.name)
            if value == getattr(default, name) or value is None:
                continue
            if isinstance(value, bool):
                words.append(flag_of(name) if value else f"--no-{flag_of(name)[2:]}")
            else:
                values = value if isinstance(value, tuple) else (value,)
                words += [flag_of(name), *map(str, values)]
        return shlex.join(words)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able data."""
        return {
            field.name: _to_json(getattr(self, field.name))
            for field in dataclasses.fields(self)  # pyright: ignore[reportArgumentType]
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
          InputError: a setting is unknown, missing, of another type or out of range.
        """
        kinds = get_type_hints(cls)
        kinds.pop("COMMAND")
        for name in sorted(data.keys() ^ kinds.keys()):
            what = "unknown" if name in data else "missing"
            raise InputError(f"{what} setting {name!r} in config.json")
        for name, kind in kinds.items():
            if not _is_json_of(data[name], kind):
                raise InputError(
                    f"config.json: setting {name!r} cannot be {data[name]!r:.60}"
                )
        return cls(**{k: _from_json(data[k], kind) for k, kind in kinds.items()})


def flag_of(name: str) -> str:
    """The command line's flag for a setting.

    Example:
      >>> flag_of("batch_size")
      '--batch-size'
    """
    return "--" + name.replace("_", "-")


def _to_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _from_json(value: Any, kind: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    is_path = kind is Path or Path in get_args(kind)
    return Path(value) if is_path and value is not None else value


def _is_json_of(value: Any, kind: Any) -> bool:
    """Whether JSON data can be a setting of this type."""
    args = get_args(kind)
    if get_origin(kind) is UnionType:
        return any(_is_json_of(value, arg) for arg in args)
    if get_origin(kind) is Literal:
        return value in args
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(
            _is_json_of(item, args[0]) for item in value
        )
    if isinstance(value, bool):
        return kind is bool
    types = {float: (int, float), Path: str}
    return isinstance(value, types.get(kind, kind))
