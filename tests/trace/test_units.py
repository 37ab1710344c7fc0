"""Units in tables: the same in every trace, whatever the order and the lengths."""

import numpy as np
import pytest

from gamepruning.trace.atoms import Atoms
from gamepruning.trace.units import Numbers, Ragged, UnitGroup, without_twins

PLACES = ((0, 1), (3, 0))


def group(*units, atoms=None) -> UnitGroup:
    """Units from their entries at each of the two places."""
    entries = tuple(
        Ragged.of(np.concatenate(rows).astype(int), np.array([len(r) for r in rows]))
        for rows in zip(*units, strict=True)
    )
    atoms = np.arange(1, 1 + len(units)) if atoms is None else np.array(atoms)
    return UnitGroup(PLACES, atoms, entries)


@pytest.mark.parametrize("long", [2, 200])  # filled up, and by ranks
def test_units_are_found_by_their_entries(long):
    many = list(range(100, 100 + long))
    known = group(([0], [4]), ([1], many), *(([k], [k + 5]) for k in range(2, 40)))
    order = np.random.default_rng(0).permutation(40)
    other = known.take(order)
    other = UnitGroup(PLACES, 1 + np.arange(40), other.entries)
    numbers = Numbers([(known, np.arange(40))])
    assert numbers.of([other], 41).tolist() == [-1, *order]
    changed = group(([0], [4]), ([1], [5]))
    assert numbers.of([changed], 3).tolist() == [-1, 0, -1]


def test_twins_are_one_player():
    first = group(([0], [1]), ([0], [1]), ([2], [3]), atoms=[1, 2, 3])
    second = group(([2], [3]), ([5], [1]), atoms=[4, 5])
    kept = without_twins([first, second])
    assert [units.atoms.tolist() for units in kept] == [[1, 3], [5]]
    numbers = Numbers([(kept[0], np.array([7, 8])), (kept[1], np.array([9]))])
    assert numbers.num_players == 3
    assert numbers.of([first, second], 6).tolist() == [-1, 7, 7, 8, 8, 9]


def test_rows_are_a_sequence():
    rows = Ragged.of(np.array([4, 5, 6, 7]), np.array([1, 0, 3]))
    assert [row.tolist() for row in rows] == [[4], [], [5, 6, 7]]
    assert rows[-1].tolist() == [5, 6, 7] and [len(r) for r in rows[::2]] == [1, 3]
    assert rows.take(np.array([2, 0])).flat.tolist() == [5, 6, 7, 4]
    with pytest.raises(IndexError):
        rows[3]


def test_factors_of_joined_axes_are_tied_where_they_meet():
    """Flattened weights [2, 3] of units and their biases, beside fresh ones."""
    atoms = Atoms()
    inputs, units = atoms.new(2), atoms.new(3)
    atoms.freeze(inputs, "it is an input")
    weights = atoms.merge([inputs, units], (2, 3))
    rows, columns, biases = atoms.new(2), atoms.new(3), atoms.new(3)
    fresh = atoms.merge([rows, columns], (2, 3))
    joined = np.concatenate([units, weights])
    atoms.unify(np.concatenate([biases, fresh]), joined)
    assert atoms.sets(columns) == atoms.sets(biases) == atoms.sets(units)
    assert all(map(len, atoms.sets(units))) and atoms.is_frozen(rows)


def test_members_are_what_each_entry_resolves_to():
    atoms = Atoms()
    one, two, three = atoms.new(3)
    nodes = np.array([three, atoms.product(frozenset((int(one), int(two)))), 0, one])
    atoms.unify(np.array([two]), np.array([three]))
    index, found = atoms.members(nodes)
    sets = atoms.sets(nodes)
    assert [set(found[index == k].tolist()) for k in range(4)] == list(map(set, sets))
