"""Rows are dealt out for training, validation and test, without leakage."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from gamepruning.types import InputError

NUM_PARTS = 3


class SplitRows(NamedTuple):
    """Row numbers of the three parts, each ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_rows(
    key: jax.Array,
    strata: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    validation: float,
    test: float,
    names: tuple[str, ...] = (),
) -> SplitRows:
    """Deal rows out at random, class by class, a group always as a whole.

    Every class with rows is in every part; it is an InputError if one has fewer rows or
    groups than there are parts, or the fractions leave nothing for training. A group
    has the class of its first row.

    Args:
      key: random key.
      strata: the class of each row, integers [B]; all zero where there are none.
      groups: rows that say the same, or are about one person, integers [B].
      validation: fraction of each class for validation; 0 for no such part.
      test: fraction of each class for the test; 0 for no such part.
      names: what the classes are called, for the error.

    Example:
      >>> import jax, numpy as np
      >>> key, strata = jax.random.key(0), np.arange(40) % 4
      >>> rows = split_rows(key, strata, validation=0.2, test=0.3)
      >>> [len(part) for part in rows]
      [20, 8, 12]
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise InputError(
            f"validation={validation} and test={test} leave no rows for training"
        )
    groups = np.arange(len(strata)) if groups is None else groups
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    order = _random_order(key, len(first))
    part_of = np.zeros(len(first), int)
    num_parts = 1 + (validation > 0) + (test > 0)
    classes = strata[first[order]]
    for label in np.unique(strata):
        own = order[classes == label]
        if len(own) < num_parts:
            name = names[label] if label < len(names) else label
            raise InputError(
                f"class {name!r} has {len(own)} distinct row{'s' * (len(own) != 1)}, "
                f"too few for a stratified split into {num_parts} parts: "
                f"{_spelt_as(str(name), names)}add rows, merge classes, or leave such "
                "classes out (--rare-classes drop)"
            )
        num_test = _share(test, len(own), num_parts)
        num_validation = _share(validation, len(own), num_parts)
        num_validation = min(num_validation, len(own) - num_test - 1)
        part_of[own[:num_test]] = 2
        part_of[own[num_test : num_test + num_validation]] = 1
    parts = part_of[member.reshape(-1)]
    return SplitRows(*(np.flatnonzero(parts == part) for part in range(3)))


def _spelt_as(name: str, names: Sequence[str]) -> str:
    """What to do if a class differs from another in case alone; else empty."""
    own = name.casefold()
    alike = [one for one in names if one != name and one.casefold() == own]
    return f"write it as {alike[0]!r} if that is meant, " if alike else ""


def _random_order(key: jax.Array, num: int) -> np.ndarray:
    """A permutation; sizes are rounded up, so that few sizes are compiled."""
    bits = jax.random.bits(key, (1 << num.bit_length(),))
    return np.argsort(np.asarray(bits)[:num], stable=True)


def _share(fraction: float, total: int, num_parts: int) -> int:
    """How many of `total` make `fraction`: at least one, but not the others' last."""
    if fraction == 0:
        return 0
    return min(max(1, math.floor(fraction * total + 0.5)), total - num_parts + 1)


def break_up(
    groups: np.ndarray, strata: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Let rows that say the same go to several parts where a class needs that.

    With a few codes as inputs, rows that say the same are about different things.

    Args:
      groups: rows that say the same, numbered by first appearance, integers [B].
      strata: the class of each row, integers [B].
      names: what the classes are called.

    Returns:
      The groups, without those that hold rows of such a class, and a note if any.
    """
    first = strata[np.unique(groups, return_index=True)[1]]
    few = [
        label
        for label in range(len(names))
        if (first == label).sum() < NUM_PARTS <= (strata == label).sum()
    ]
    total = len(first)
    if not few or total < 2:
        return groups, []
    is_broken = np.isin(groups, groups[np.isin(strata, few)])
    note = (
        f"rows with the same inputs are in several parts: only {total} differ, too few "
        f"to split class {', '.join(names[label] for label in few)} otherwise"
    )
    return np.where(is_broken, total + np.arange(len(groups)), groups), [note]


def note_shared(test: np.ndarray, others: Sequence[np.ndarray]) -> list[str]:
    """A note if test rows have the very inputs of rows to train or to choose by.

    Args:
      test: inputs of the test part, [rows, features].
      others: inputs of the other parts, likewise.

    Example:
      >>> note_shared(np.eye(2), [np.ones((3, 2)), np.eye(2)[:1]])
      ['1 of 2 test rows have the same inputs as training or validation rows']
    """
    known = {row.tobytes() for part in others for row in part}
    num = sum(row.tobytes() in known for row in test)
    what = "test rows have the same inputs as training or validation rows"
    return [f"{num} of {len(test)} {what}"] if num else []
