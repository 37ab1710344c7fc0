"""Families that keep equally many: layers of a stack, blocks of one configuration."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gamepruning.types import InputError

RoundTo = int | Mapping[str, int]
_COUNTED = re.compile(r"(?<!\[axis )(?<!#)\d+")  # numbers of layers, not of axes


class Group(NamedTuple):
    """The players of a family, and how few of them may stay.

    Attributes:
      name: the family's name.
      start: its first player.
      stop: one more than its last.
      floor: the fewest that stay.
      step: it keeps a multiple of this, or all.
    """

    name: str
    start: int
    stop: int
    floor: int
    step: int = 1

    @property
    def size(self) -> int:
        return self.stop - self.start


def bundles_of(groups: Sequence[Group], uniform: bool) -> list[list[int]]:
    """The numbers of the groups that keep equally many, bundle by bundle.

    With `uniform` those are families of equal size whose names differ in numbers alone.
    Without it each is for itself.

    Example:
      >>> rows = [("layers[0]/up", 8), ("layers[0]/heads", 4), ("layers[1]/up", 8)]
      >>> groups = [Group(name, 0, size, 1) for name, size in rows]
      >>> bundles_of(groups, uniform=True)
      [[0, 2], [1]]
      >>> groups = [Group(name, 0, 4, 1) for name in ("key[axis 1]", "key[axis 2]")]
      >>> bundles_of(groups, uniform=True)
      [[0], [1]]
    """
    if not uniform:
        return [[k] for k in range(len(groups))]
    bundles: dict[tuple[str, int], list[int]] = {}
    for number, group in enumerate(groups):
        key = _COUNTED.sub("#", group.name), group.size
        bundles.setdefault(key, []).append(number)
    return list(bundles.values())


def steps_of(
    round_to: RoundTo, names: Sequence[str], kinds: Sequence[str] = ()
) -> list[int]:
    """Of what each family keeps a multiple.

    Args:
      round_to: for all families, or by name; the name of a family of scanned layers
        stands for all layers without the layer's number, and a kind for all families of
        it. Others are not rounded.
      names: of the families.
      kinds: what their players are, where that is known.

    Raises:
      InputError: a number below 1, or a name of no family.

    Example:
      >>> steps_of({"layers/up": 8}, ["layers[0]/up", "layers[1]/up", "heads"])
      [8, 8, 1]
      >>> steps_of(
      ...     {"units": 8, "up": 4}, ["up", "down", "k"], ["units", "units", "heads"]
      ... )
      [4, 8, 1]
    """
    by_name = round_to if isinstance(round_to, Mapping) else {}
    if not isinstance(round_to, Mapping) or not all(v >= 1 for v in by_name.values()):
        least = min(by_name.values(), default=round_to)
        if not isinstance(least, int) or least < 1:
            raise InputError(f"expected round_to >= 1, got {round_to!r:.60}")
    plain = [re.sub(r"\[\d+\]", "", name) for name in names]
    unknown = sorted(set(by_name) - {*names, *plain, *kinds})
    if unknown:
        raise InputError(
            f"round_to names {unknown[0]!r}, which is not a family: there are "
            f"{', '.join(dict.fromkeys([*plain, *kinds]))}"
        )
    everybody = 1 if isinstance(round_to, Mapping) else round_to
    kinds = kinds or [""] * len(names)
    return [
        next((by_name[key] for key in keys if key in by_name), everybody)
        for keys in zip(names, plain, kinds, strict=True)
    ]
