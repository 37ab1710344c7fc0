"""What a mask leaves of each axis, and the mask back from what is left."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool

from gamepruning.trace.labels import Labels
from gamepruning.trace.model import TracedModel
from gamepruning.trace.units import kept_entries
from gamepruning.trees.paths import InputKey, same_rows
from gamepruning.types import InputError

Kept = dict[tuple[str, int], Any]  # by path and axis: see `trees.paths.Kept`
InputKept = dict[InputKey, dict[int, np.ndarray]]  # the same by input and axis


def kept_indices(model: TracedModel, mask: Bool[np.ndarray, " N"]) -> Kept:
    """What stays of each parameter axis; only axes that lose entries."""
    return {
        (path, axis): kept
        for path, labels in zip(model.paths, model.base.param_labels, strict=True)
        for axis, kept in _cut_axes(model, labels, mask)
    }


def input_kept(model: TracedModel, mask: Bool[np.ndarray, " N"]) -> InputKept:
    """What stays of each input axis; only inputs that lose entries."""
    cut = {
        key: dict(_cut_axes(model, labels, mask))
        for key, labels in zip(
            model.example.input_keys, model.base.input_labels, strict=True
        )
    }
    return {key: axes for key, axes in cut.items() if axes}


def _cut_axes(
    model: TracedModel, labels: Labels, mask: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    for axis, label in enumerate(labels):
        kept = kept_entries(model.base.columns(label), mask)
        if kept is not None:
            yield axis, kept


def mask_from_kept(
    model: TracedModel,
    kept: Mapping[tuple[str, int], Any],
    inputs_kept: Mapping[InputKey, Mapping[int, ArrayLike]],
) -> Bool[np.ndarray, " N"]:
    """The mask that leaves these indices; the inverse of `kept_indices`.

    Raises:
      InputError: the indices do not fit the model.
    """
    stays = units_that_stay(model, kept, inputs_kept, model.num_players)
    check_same(kept, kept_indices(model, stays))
    return stays


def units_that_stay(
    model: TracedModel,
    kept: Mapping[tuple[str, int], Any],
    inputs_kept: Mapping[InputKey, Mapping[int, ArrayLike]],
    num_units: int,
) -> Bool[np.ndarray, " T"]:
    """Who has an entry that stays, of the units that have numbers."""
    places = {
        (model.paths.index(path), axis): np.asarray(rows)
        for (path, axis), rows in kept.items()
        if path in model.paths
    }
    keys = model.example.input_keys
    for key, axes in inputs_kept.items():
        number = keys.index(key) if key in keys else len(keys)
        for axis, rows in axes.items():
            places[len(model.paths) + number, axis] = np.asarray(rows)
    stays = np.ones(num_units, bool)
    for units, players in model.numbers.members:
        if not all(place in places for place in units.places):
            continue
        has_entry = np.zeros(len(units), bool)
        for place, rows in zip(units.places, units.entries, strict=True):
            is_kept = np.isin(rows.flat, places[place])
            unit = np.repeat(np.arange(len(units)), rows.counts)
            has_entry[unit[is_kept]] = True
        stays[players[~has_entry]] = False
    return stays


def check_same(kept: Mapping[tuple[str, int], Any], again: Kept) -> None:
    """Check that a mask leaves what was asked for.

    Raises:
      InputError: it does not.
    """
    for key in again.keys() | kept.keys():
        if key not in again or not same_rows(again[key], kept.get(key, ())):
            raise InputError(
                f"these kept indices are a plan for another model: axis {key[1]} "
                f"of {key[0]!r} cannot shrink like that here"
            )
