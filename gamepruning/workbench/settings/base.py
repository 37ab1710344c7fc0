"""Settings: frozen dataclasses that know their flags, their JSON and their command."""

import dataclasses
import functools
import math
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Self,
    get_args,
    get_origin,
    get_type_hints,
)

from gamepruning.errors import InputError
from gamepruning.workbench.settings.spelling import closest


class Within(NamedTuple):
    """The numbers that a setting may be; stands in the annotation of its field.

    Attributes:
      low: the least number.
      high: the largest number.
      is_open: the bounds themselves are left out; infinity always is.
    """

    low: float = 0
    high: float = math.inf
    is_open: bool = False

    def check(self, name: str, value: float) -> None:
        """Raise `InputError` unless the value is within the bounds."""
        low, high = self.low, self.high
        if self.is_open:
            bound = f"in ({low:g}, {high:g})" if high < math.inf else f"> {low:g}"
            is_fine = low < value < high
        else:
            bound = f"<= {high}" if high < value < math.inf else f">= {low}"
            is_fine = low <= value <= high and value < math.inf
        if not is_fine:
            raise InputError(f"expected {flag_of(name)} {bound}, got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The base of settings: plain fields, and groups of them that commands share.

    A plain field is a number, a string, a path, a tuple of these, or None. A group is a
    field that holds `Settings`. Every field has a default. No two plain fields have the
    same name, so that each is one flag: `of`, `to_dict` and `command` are flat.

    Raises:
      InputError: a setting is out of range.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            kind, bounds = _annotation(type(self), field.name)
            value = getattr(self, field.name)
            if get_origin(kind) is Literal and value not in get_args(kind):
                raise InputError(
                    f"expected {flag_of(field.name)} to be one of "
                    f"{', '.join(get_args(kind))}, got {value!r}"
                )
            numbers = value if isinstance(value, tuple) else (value,)
            for number in numbers:
                if bounds is not None and number is not None:
                    bounds.check(field.name, number)

    @classmethod
    def of(cls, **flags: Any) -> Self:
        """The defaults but for some plain fields, whatever groups they are in."""
        return cls().but(**flags)

    def but(self, **flags: Any) -> Self:
        """These settings but for some plain fields, whatever groups they are in.

        Raises:
          InputError: there is no such setting, or one is out of range.
        """
        known = self.flat()
        for name in flags.keys() - known:
            raise InputError(f"no setting {name!r}{closest(name, known)}")
        changed: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Settings):
                own = {k: v for k, v in flags.items() if k in value.flat()}
                changed[field.name] = value.but(**own) if own else value
            elif field.name in flags:
                changed[field.name] = flags[field.name]
        return dataclasses.replace(self, **changed)

    def flat(self) -> dict[str, Any]:
        """All plain fields by name, those of the groups included."""
        fields = dataclasses.fields(self)
        return _flatten({field.name: getattr(self, field.name) for field in fields})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The defaults of all plain fields by name."""
        return _flatten(
            {field.name: field.default for field in dataclasses.fields(cls)}
        )

    def given(self) -> Iterator[tuple[str, Any]]:
        """The plain fields that differ from their defaults, with their values."""
        defaults = self.defaults()
        for name, value in self.flat().items():
            if value != defaults[name]:
                yield name, value


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandSettings(Settings):
    """The settings of a command that writes a run folder.

    Attributes:
      COMMAND: the name of the command.
    """

    COMMAND: ClassVar[str]

    def command(self) -> str:
        """The command line that does this again: only what is not the default."""
        words = ["gamepruning", self.COMMAND]
        for name, value in self.given():
            if isinstance(value, bool):
                words.append(flag_of(name) if value else f"--no-{flag_of(name)[2:]}")
            elif value is not None:
                values = value if isinstance(value, tuple) else (value,)
                words += [flag_of(name), *map(str, values)]
        return shlex.join(words)

    def to_dict(self) -> dict[str, Any]:
        """All plain fields as JSON-able data."""
        return {name: _to_json(value) for name, value in self.flat().items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
          InputError: a setting is unknown, missing, of another type or out of range.
        """
        kinds = _kinds_of(cls)
        for name in sorted(data.keys() ^ kinds.keys()):
            what = "unknown" if name in data else "missing"
            raise InputError(f"{what} setting {name!r} in config.json")
        for name, kind in kinds.items():
            if not _is_json_of(data[name], kind):
                raise InputError(
                    f"config.json: setting {name!r} cannot be {data[name]!r:.60}"
                )
        return cls.of(**{k: _from_json(data[k], kind) for k, kind in kinds.items()})


def flag_of(name: str) -> str:
    """The command line's flag for a setting.

    Example:
      >>> flag_of("batch_size")
      '--batch-size'
    """
    return "--" + name.replace("_", "-")


def _flatten(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The plain fields, those of the groups in their places."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        found |= value.flat() if isinstance(value, Settings) else {name: value}
    return found


@functools.cache
def _annotation(cls: type, name: str) -> tuple[Any, Within | None]:
    """The type of a field, and the bounds in its annotation."""
    kind = get_type_hints(cls, include_extras=True)[name]
    if get_origin(kind) is not Annotated:
        return kind, None
    kind, *extras = get_args(kind)
    return kind, next((extra for extra in extras if isinstance(extra, Within)), None)


def _kinds_of(cls: type[Settings]) -> dict[str, Any]:
    """The types of all plain fields by name."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        kind, _ = _annotation(cls, field.name)
        is_group = isinstance(kind, type) and issubclass(kind, Settings)
        found |= _kinds_of(kind) if is_group else {field.name: kind}
    return found


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
    """Return True if JSON data can be a setting of this type."""
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
