"""From labelled axes to players: who there is, what each touches, what stays and why.

What it makes is plain numpy and strings, and refers to no trace.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from gamepruning.trace.program import Lit

Place = tuple[int, int]  # (leaf number, axis)
_FILLED = 4  # times as much as there is, at most


@dataclass(frozen=True, eq=False)
class Ragged(Sequence[np.ndarray]):
    """Rows of different lengths, one after the other.

    Attributes:
      flat: the entries of all rows.
      ends: where each row ends, rising.

    Example:
      >>> rows = Ragged.of(np.array([4, 5, 6]), np.array([1, 2]))
      >>> [row.tolist() for row in rows], rows.pad(-1).tolist()
      ([[4], [5, 6]], [[4, -1], [5, 6]])
    """

    flat: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, flat: np.ndarray, counts: np.ndarray) -> "Ragged":
        """Rows of these lengths."""
        return cls(flat, np.cumsum(counts))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, number: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, number: slice) -> "Ragged": ...

    def __getitem__(self, number):
        if isinstance(number, slice):
            return self.take(np.arange(len(self))[number])
        number = operator.index(number)
        if not -len(self) <= number < len(self):
            raise IndexError(f"row {number} of {len(self)}")
        number %= len(self)
        start = self.ends[number - 1] if number else 0
        return self.flat[start : self.ends[number]]

    @property
    def counts(self) -> np.ndarray:
        """The lengths of the rows."""
        return np.diff(self.ends, prepend=0)

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """The rows of all parts."""
        if len(parts) == 1:
            return parts[0]
        counts = np.concatenate([part.counts for part in parts])
        return cls.of(np.concatenate([part.flat for part in parts]), counts)

    def equals(self, other: "Ragged") -> bool:
        """True if the rows are the same."""
        same = np.array_equal(self.ends, other.ends)
        return same and np.array_equal(self.flat, other.flat)

    def take(self, which: np.ndarray) -> "Ragged":
        """Some of the rows, by number."""
        counts = self.counts[which]
        ends = np.cumsum(counts)
        shift = self.ends[which] - ends  # of each row's entries
        return Ragged(
            self.flat[np.arange(counts.sum()) + np.repeat(shift, counts)], ends
        )

    def pad(self, fill: int) -> np.ndarray:
        """The rows as a matrix, filled up at their ends."""
        counts = self.counts
        width = int(counts.max(initial=0))
        if width * len(counts) == len(self.flat):
            return self.flat.reshape(len(counts), width)
        matrix = np.full((len(counts), width), fill)
        matrix[np.arange(width) < counts[:, None]] = self.flat
        return matrix

    def __repr__(self) -> str:
        return f"Ragged({len(self)} rows, {len(self.flat)} entries)"


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
    index: Sequence[np.ndarray]
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
class UnitGroup:
    """Structural units that touch the same axes, in order.

    Attributes:
      places: the axes that each of them touches, rising.
      atoms: one a unit, int [K].
      entries: for each place the units' entries on it.
    """

    places: tuple[Place, ...]
    atoms: np.ndarray
    entries: tuple[Ragged, ...]

    def __len__(self) -> int:
        return len(self.atoms)

    def take(self, which: np.ndarray) -> "UnitGroup":
        """Some of the units, by number."""
        entries = tuple(rows.take(which) for rows in self.entries)
        return UnitGroup(self.places, self.atoms[which], entries)

    def __repr__(self) -> str:
        return f"UnitGroup({len(self)} units, {len(self.places)} axes)"


class Numbers:
    """The players of units, in any trace of the same model.

    A unit is known by the entries that it touches.

    Args:
      members: pairs of some units, and the player of each, int [K].

    Attributes:
      members: the same.
      num_players: how many different players there are.
    """

    def __init__(self, members: Sequence[tuple[UnitGroup, np.ndarray]] = ()):
        self.members = tuple(members)
        every = [np.zeros(0, int), *(players for _, players in self.members)]
        self.num_players = len(np.unique(np.concatenate(every)))

    def of(self, units: Sequence[UnitGroup], num_atoms: int) -> np.ndarray:
        """The player of each atom of a trace, int [num_atoms]; -1 where none is."""
        found = np.full(num_atoms, -1)
        known: dict[tuple, list[tuple[UnitGroup, np.ndarray]]] = {}
        for group, players in self.members:
            known.setdefault(group.places, []).append((group, players))
        for group in units:
            for other, players in known.get(group.places, ()):
                position = _find_units(other, group)
                seen = position >= 0
                found[group.atoms[seen]] = players[position[seen]]
        return found

    def __repr__(self) -> str:
        return f"Numbers({self.num_players} players)"


def _find_units(known: UnitGroup, units: UnitGroup) -> np.ndarray:
    """Which of the known units touches the same entries as each unit, or -1."""
    pairs = list(zip(known.entries, units.entries, strict=True))
    if all(one.equals(other) for one, other in pairs):
        return np.arange(len(units))
    both = _table([known, units])
    order = np.lexsort(both.T[::-1])  # stable: a known one comes first
    new = np.ones(len(both), bool)
    new[1:] = (both[order[1:]] != both[order[:-1]]).any(axis=1)
    first = order[np.maximum.accumulate(np.where(new, np.arange(len(both)), 0))]
    found = np.empty(len(both), int)
    found[order] = np.where(first < len(known), first, -1)
    return found[len(known) :]


def _table(groups: Sequence[UnitGroup]) -> np.ndarray:
    """A row for each unit of groups that touch the same axes, int [K, W].

    Rows compare as the lists of the entries at every place do.
    """
    places = zip(*(group.entries for group in groups), strict=True)
    return np.concatenate([_comparable(Ragged.joined(rows)) for rows in places], axis=1)


def _comparable(rows: Ragged) -> np.ndarray:
    """A matrix whose rows compare as these do: filled up, or their ranks."""
    if rows.counts.max(initial=0) * len(rows) <= _FILLED * len(rows.flat):
        return rows.pad(-1)
    lists = [tuple(row.tolist()) for row in rows]
    ranks = {row: rank for rank, row in enumerate(sorted(set(lists)))}
    return np.array([[ranks[row]] for row in lists])


def find_units(analysis, leaf_labels: Sequence[tuple]) -> list[UnitGroup]:
    """The units that touch a parameter (or chosen input) and are summed over.

    Units of a group were allocated together and touch the same axes. The order is that
    in which the model reads the groups, then that of the units' entries.

    Args:
      analysis: the labelled program.
      leaf_labels: the labels of each leaf's axes.
    """
    first_site = _first_sites(analysis)
    group_of = analysis.atoms.blocks()  # then apart by the places they touch
    num_groups = int(group_of.max(initial=0)) + 1
    touched: dict[Place, tuple[np.ndarray, Ragged]] = {}
    for leaf, labels in enumerate(leaf_labels):
        for axis, label in enumerate(labels):
            if analysis.atoms.is_frozen(label):
                continue
            atoms, rows = _by_atom(*analysis.atoms.members(label))
            is_read = first_site[atoms] >= 0
            if not is_read.all():
                atoms, rows = atoms[is_read], rows.take(np.flatnonzero(is_read))
            if len(atoms):
                touched[leaf, axis] = atoms, rows
                old, new = np.unique(group_of[atoms], return_inverse=True)
                group_of[atoms] = num_groups + new
                num_groups += len(old)
    return _in_order(_gather(touched, group_of), first_site, analysis.atoms.blocks())


def _by_atom(index: np.ndarray, atoms: np.ndarray) -> tuple[np.ndarray, Ragged]:
    """The atoms of some pairs, rising, and the entries of each."""
    order = np.argsort(atoms, kind="stable")
    found, counts = np.unique(atoms[order], return_counts=True)
    return found, Ragged.of(index[order], counts)


def _gather(
    touched: dict[Place, tuple[np.ndarray, Ragged]], group_of: np.ndarray
) -> list[UnitGroup]:
    """The units of each group, by atom."""
    members: dict[int, dict[Place, tuple[np.ndarray, Ragged]]] = {}
    for place, (atoms, rows) in touched.items():
        groups = group_of[atoms]
        order = np.argsort(groups, kind="stable")
        found, starts = np.unique(groups[order], return_index=True)
        parts = np.split(order, starts[1:])
        for group, own in zip(found.tolist(), parts, strict=True):
            members.setdefault(group, {})[place] = atoms[own], rows.take(own)
    made = []
    for places in members.values():
        atoms = next(iter(places.values()))[0]
        made.append(
            UnitGroup(tuple(places), atoms, tuple(rows for _, rows in places.values()))
        )
    return made


def _in_order(
    groups: list[UnitGroup], first_site: np.ndarray, blocks: np.ndarray
) -> list[UnitGroup]:
    found = []
    for group in groups:
        read = int(first_site[group.atoms].min())
        key = read, group.places[0], int(blocks[group.atoms[0]])
        order = np.lexsort(_table([group]).T[::-1])
        if (np.diff(order) < 0).any():
            group = group.take(order)
        first = [entries[0].tolist() for entries in group.entries]
        found.append(((key, list(zip(group.places, first, strict=True))), group))
    return [group for _, group in sorted(found, key=lambda pair: pair[0])]


def without_twins(groups: Sequence[UnitGroup]) -> list[UnitGroup]:
    """The groups without units that touch the same entries as one before."""
    seen: dict[tuple, list[UnitGroup]] = {}
    kept = []
    for group in groups:
        table = _table([group])
        is_new = np.ones(len(table), bool)
        is_new[1:] = (table[1:] != table[:-1]).any(axis=1)
        same = seen.setdefault(group.places, [])
        for other in same:
            is_new &= _find_units(other, group) < 0
        if is_new.any():
            group = group if is_new.all() else group.take(np.flatnonzero(is_new))
            same.append(group)
            kept.append(group)
    return kept


def _first_sites(analysis) -> np.ndarray:
    """Where each atom is first summed over, int [number of nodes]; -1 for nowhere."""
    first = np.full(analysis.atoms.num_nodes, -1)
    for number, site in enumerate(analysis.sites):
        label = analysis.label(site.node.ins[site.operand])[site.dim]
        if isinstance(label, np.ndarray):
            _, atoms = analysis.atoms.members(label)
            first[atoms[first[atoms] < 0]] = number
    return first


UNREAD = "it is never summed over on the way to the outputs"
UNUSED = "no output depends on it"


def frozen_axes(
    analysis, leaf_labels, paths, numbers, kept: Mapping[str, np.ndarray] | None = None
) -> tuple[Frozen, ...]:
    """Every parameter axis with entries that stay, by reason.

    Args:
      analysis: the labelled program.
      leaf_labels: the labels of each leaf's axes.
      paths: the leaves' names.
      numbers: the player of each atom; -1 where none is.
      kept: by the name of a family that does not play its atoms.
    """
    rows = []
    asked = {f"kept on request ({name})": atoms for name, atoms in (kept or {}).items()}
    graph = analysis.program.graph
    read = {v for node in graph.nodes for v in node.ins if not isinstance(v, Lit)}
    read |= {v for v in graph.outputs if not isinstance(v, Lit)}
    used = {leaf for leaf, value in enumerate(graph.inputs) if value in read}
    for leaf, labels in enumerate(leaf_labels):
        for axis, label in enumerate(labels):
            unread = UNREAD if leaf in used else UNUSED
            reasons = _reasons(analysis, label, numbers, asked, unread)
            rows += [Frozen(paths[leaf], axis, n, why) for why, n in reasons.items()]
    return tuple(rows)


def _reasons(analysis, label, numbers, asked, why_unread: str) -> dict[str, int]:
    """Why entries of an axis stay, and how many for each reason."""
    if not isinstance(label, np.ndarray):
        return {}
    index, atoms = analysis.atoms.members(label)
    can_leave, is_player = np.zeros((2, len(label)), bool)
    can_leave[index] = True
    is_player[index[numbers[atoms] >= 0]] = True
    found = analysis.atoms.reasons(label[~can_leave])
    for reason, own in asked.items():
        here = np.zeros(len(label), bool)
        here[index[np.isin(atoms, own)]] = True
        here &= can_leave & ~is_player
        if here.any():
            found[reason] = int(here.sum())
            can_leave &= ~here
    unread = int((can_leave & ~is_player).sum())
    if unread:
        found[why_unread] = unread
    return found


class Columns:
    """For each index of an axis: the players that all have to stay for it to stay."""

    def __init__(self, analysis, numbers: np.ndarray):
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
        index, atoms = self._analysis.atoms.members(label)
        players = self._numbers[atoms] + 1
        index, players = index[players > 0], players[players > 0]
        if not len(index):
            return None
        order = np.lexsort([players, index])
        index, players = index[order], players[order]
        is_new = np.ones(len(index), bool)
        is_new[1:] = (np.diff(index) != 0) | (np.diff(players) != 0)
        index, players = index[is_new], players[is_new]
        counts = np.bincount(index, minlength=len(label))
        return Ragged.of(players, counts).pad(0)


def kept_entries(columns: np.ndarray | None, mask: np.ndarray) -> np.ndarray | None:
    """The indices that stay under a mask [N]; None if all do."""
    if columns is None:
        return None
    stays = np.concatenate([[True], mask])[columns].all(axis=1)
    return None if stays.all() else np.flatnonzero(stays)
