"""Settings: frozen dataclasses that know their flags and their JSON."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin

from gamepruning.errors import InputError
from gamepruning.spelling import closest, flag_of

Plain = str | float | Path | tuple[str, ...] | tuple[float, ...] | None
"""What a setting can be; bool and int are kinds of float."""


class Within(NamedTuple):
    """The numbers that a setting may be; stands in the annotation of its field.

    Infinity is always left out, the bounds themselves where they are open.
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

    A group is a field that holds `Settings`. Every field has a default, a group that of
    its class. No two plain fields have the same name, so that each is one flag: `of`,
    `but`, `flat` and JSON know nothing of groups.
    """

    def __post_init__(self):
        for field, value in self._plain():
            kind, bounds = _kind(field)
            if get_origin(kind) is Literal and value not in get_args(kind):
                raise InputError(
                    f"expected {flag_of(field.name)} to be one of "
                    f"{', '.join(get_args(kind))}, got {value!r}"
                )
            for number in value if isinstance(value, tuple) else (value,):
                if bounds is not None and number is not None:
                    bounds.check(field.name, number)
        for told in self.problems():
            raise InputError(told)

    def problems(self) -> Iterable[str]:
        """What settings, each fine by itself, do not go together, in words."""
        return ()

    @classmethod
    def of(cls, **flags: Plain) -> Self:
        """The defaults but for some plain fields, whatever groups they are in."""
        return cls().but(**flags)

    def but(self, **flags: Plain) -> Self:
        """These settings but for some plain fields, whatever groups they are in."""
        known = self.flat()
        for name in flags.keys() - known:
            raise InputError(f"no setting {name!r}{closest(name, known)}")
        changed: dict[str, Any] = {}
        for name, group in self._groups().items():
            own = {flag: flags.pop(flag) for flag in flags.keys() & group.flat()}
            changed[name] = group.but(**own)
        return dataclasses.replace(self, **changed, **flags)

    def flat(self) -> dict[str, Any]:
        """All plain fields by name, those of the groups included."""
        return {field.name: value for field, value in self._plain()}

    def given(self) -> dict[str, Any]:
        """The plain fields that differ from their defaults."""
        return {f.name: value for f, value in self._plain() if value != f.default}

    def _groups(self) -> "dict[str, Settings]":
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: v for name, v in values.items() if isinstance(v, Settings)}

    def _plain(self) -> "Iterator[tuple[dataclasses.Field[Any], Any]]":
        """The plain fields and their values, own ones before those of the groups."""
        groups = self._groups()
        for field in dataclasses.fields(self):
            if field.name not in groups:
                yield field, getattr(self, field.name)
        for group in groups.values():
            yield from group._plain()

    def to_dict(self) -> dict[str, Any]:
        """All plain fields as JSON-able data."""
        return {name: _to_json(value) for name, value in self.flat().items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; an `InputError` says which setting is no good."""
        kinds = {field.name: _kind(field)[0] for field, _ in cls()._plain()}
        flags: dict[str, Plain] = {}
        for name in sorted(data.keys() ^ kinds.keys()):
            what = "unknown" if name in data else "missing"
            raise InputError(f"{what} setting {name!r} in config.json")
        for name, kind in kinds.items():
            try:
                flags[name] = _from_json(data[name], kind)
            except TypeError:
                raise InputError(
                    f"config.json: setting {name!r} cannot be {data[name]!r:.60}"
                ) from None
        return cls.of(**flags)


def _kind(field: dataclasses.Field[Any]) -> tuple[Any, Within | None]:
    """The type of a setting, and its bounds."""
    if get_origin(field.type) is not Annotated:
        return field.type, None
    kind, *extras = get_args(field.type)
    return kind, next((extra for extra in extras if isinstance(extra, Within)), None)


def _to_json(value: Plain) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _from_json(value: Any, kind: Any) -> Any:
    """The setting of this type that JSON data stands for, or `TypeError`."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is UnionType:  # with None, or of int and float
        return value if type(value) in args else _from_json(value, args[0])
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_from_json(item, args[0]) for item in value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    is_number = kind is float and type(value) is int
    if is_number or (value in args if origin is Literal else type(value) is kind):
        return value
    raise TypeError(f"expected {kind}, got {value!r}")
