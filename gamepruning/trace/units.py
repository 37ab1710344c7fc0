"""From labelled axes to players: who there is, what each touches, what stays and why.

Everything here is plain numpy and strings; nothing refers to a trace any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Place = tuple[int, int]  # (leaf number, axis)


@dataclass(frozen=True, eq=False)
class AxisSlice:
    """The entries of one parameter axis that belong to the players of a family.

    Attributes:
      path: the parameter's path, "/" between keys.
      axis: the axis.
      role: "out" (the players produce it: their incoming weights), "bias", "in" (the
        players are read by it: their outgoing weights), "scale", "shift", "batch",
        "input" or "other".
      index: for each player of the family, its indices along the axis.
      layer: for players of one layer of a stack, the axis of layers and the layer's
        entry on it; None where the parameter is not stacked.

    Example:
      >>> AxisSlice("dense/kernel", 1, "out", (np.array([0]), np.array([1, 2])))
      AxisSlice('dense/kernel', axis=1, role='out', 2 players, 3 entries)
    """

    path: str
    axis: int
    role: str
    index: tuple[np.ndarray, ...]
    layer: Place | None = None

    def entry(self, leaf: Any) -> tuple[Any, int]:
        """The part of the parameter that is the players' layer, and `axis` in it."""
        if self.layer is None:
            return leaf, self.axis
        axis, entry = self.layer
        part = leaf[(*[slice(None)] * axis, entry)]
        return part, self.axis - (axis < self.axis)

    def __repr__(self) -> str:
        entries = sum(map(len, self.index))
        return (
            f"AxisSlice({self.path!r}, axis={self.axis}, role={self.role!r}, "
            f"{len(self.index)} players, {entries} entries)"
        )


@dataclass(frozen=True)
class Family:
    """The players of one kind: `start` to `stop` of all players.

    Attributes:
      name: the family's name, that of the layer that produces the players.
      start: the number of its first player.
      stop: one more than the number of its last player.
      slices: the parameter axes that the players touch.

    Example:
      >>> Family("dense", 4, 6, (AxisSlice("dense/bias", 0, "bias", ()),))
      Family('dense', 4:6, touches dense/bias)
    """

    name: str
    start: int
    stop: int
    slices: tuple[AxisSlice, ...]

    @property
    def size(self) -> int:
        """How many players."""
        return self.stop - self.start

    def __repr__(self) -> str:
        paths = list(dict.fromkeys(piece.path for piece in self.slices))
        shown = ", ".join(paths[:4]) + (", ..." if len(paths) > 4 else "")
        return f"Family({self.name!r}, {self.start}:{self.stop}, touches {shown})"


@dataclass(frozen=True)
class Frozen:
    """`count` entries of a parameter axis that stay, and why.

    Example:
      >>> Frozen("head/kernel", 1, 10, "it is an output of the model").reason
      'it is an output of the model'
    """

    path: str
    axis: int
    count: int
    reason: str


@dataclass(frozen=True, eq=False)
class Atom:
    """One structural unit before it has a number."""

    atom: int
    family: tuple
    touches: dict[Place, np.ndarray]

    def signature(self) -> tuple:
        """What identifies the unit in any trace of the same model."""
        return self._signature

    @cached_property
    def _signature(self) -> tuple:
        return tuple((p, tuple(self.touches[p].tolist())) for p in sorted(self.touches))


def find_atoms(analysis, leaf_labels: Sequence[tuple]) -> list[Atom]:
    """The units that touch a parameter (or chosen input) and are summed over.

    `leaf_labels` holds the labels of each leaf's axes. The order is that in which the
    model reads the units, then that of their indices.
    """
    first_site = _first_sites(analysis)
    touches: dict[int, dict[Place, list[int]]] = {}
    for leaf, labels in enumerate(leaf_labels):
        for axis, label in enumerate(labels):
            if not analysis.atoms.is_frozen(label):
                here: dict[int, list[int]] = {}
                for index, atoms in enumerate(analysis.atoms.sets(label)):
                    for atom in atoms:
                        here.setdefault(atom, []).append(index)
                for atom, rows in here.items():
                    touches.setdefault(atom, {})[leaf, axis] = rows
    found = []
    for atom, places in touches.items():
        if atom in first_site:
            family = (analysis.atoms.block(atom), frozenset(places))
            arrays = {place: np.array(ks) for place, ks in places.items()}
            found.append(Atom(atom, family, arrays))
    families: dict[tuple, int] = {}
    for unit in found:
        order = first_site[unit.atom]
        families[unit.family] = min(order, families.get(unit.family, order))
    keys = {f: (order, min(f[1]), f[0]) for f, order in families.items()}
    return sorted(found, key=lambda u: (keys[u.family], u.signature()))


def _first_sites(analysis) -> dict[int, int]:
    first: dict[int, int] = {}
    for number, site in enumerate(analysis.sites):
        label = analysis.label(site.node.ins[site.operand])[site.dim]
        if isinstance(label, np.ndarray):
            roots = np.unique(analysis.atoms.roots(label))
            for atoms in set(analysis.atoms.sets(roots)):
                for atom in atoms:
                    first.setdefault(atom, number)
    return first


def frozen_axes(analysis, leaf_labels, paths, numbers) -> tuple[Frozen, ...]:
    """Every parameter axis with entries that stay, by reason."""
    rows = []
    for leaf, labels in enumerate(leaf_labels):
        for axis, label in enumerate(labels):
            reasons = _reasons(analysis, label, numbers)
            rows += [Frozen(paths[leaf], axis, n, why) for why, n in reasons.items()]
    return tuple(rows)


def _reasons(analysis, label, numbers) -> dict[str, int]:
    """Why entries of an axis stay, and how many for each reason."""
    if not isinstance(label, np.ndarray):
        return {}
    sets = analysis.atoms.sets(label)
    is_frozen = np.array([not atoms for atoms in sets], bool)
    found = analysis.atoms.reasons(label[is_frozen])
    unread = sum(bool(s) and not any(atom in numbers for atom in s) for s in sets)
    if unread:
        found["it is never summed over on the way to the outputs"] = unread
    return found


class Columns:
    """For each index of an axis: the players that all have to stay for it to stay."""

    def __init__(self, analysis, numbers: dict[int, int]):
        self._analysis = analysis
        self._numbers = numbers
        self._cache: dict[bytes, np.ndarray | None] = {}

    def __call__(self, label) -> np.ndarray | None:
        """An int matrix [size, k] of player numbers + 1 (0: always there), or None."""
        if not isinstance(label, np.ndarray):
            return None
        key = self._analysis.atoms.roots(label).tobytes()
        if key not in self._cache:
            self._cache[key] = self._find(label)
        return self._cache[key]

    def _find(self, label: np.ndarray) -> np.ndarray | None:
        if self._analysis.atoms.is_frozen(label):
            return None
        sets = [
            sorted({self._numbers[a] + 1 for a in atoms if a in self._numbers})
            for atoms in self._analysis.atoms.sets(label)
        ]
        width = max(map(len, sets))
        if width == 0:
            return None
        return np.array([row + [0] * (width - len(row)) for row in sets])


def kept_entries(columns: np.ndarray | None, mask: np.ndarray) -> np.ndarray | None:
    """The indices that stay under a mask [N]; None if all do."""
    if columns is None:
        return None
    stays = np.concatenate([[True], mask])[columns].all(axis=1)
    return None if stays.all() else np.flatnonzero(stays)
