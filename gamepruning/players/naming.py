"""Names that people recognise, for parameters, families and players."""

from typing import Any

import jax

from gamepruning.trace.units import Atom
from gamepruning.trees.arrays import is_array
from gamepruning.trees.paths import path_name

_LEAVES = {"kernel", "weight", "weights", "w", "embedding", "value", "raw_value", "W"}
_COLLECTIONS = {"params", "batch_stats"}


def leaf_paths(params: Any) -> list[str]:
    """The paths of the array leaves of a tree, "/" between keys."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    return [path_name(path) for path, leaf in flat if is_array(leaf)]


def place_names(paths: list[str], num_leaves: int) -> list[str]:
    """Paths of the parameters, then "input k" for the inputs."""
    inputs = [f"input {k}" for k in range(num_leaves - len(paths))]
    return [*paths, *inputs]


def group_units(units: list[Atom], roles, places: list[str]) -> dict[str, list[Atom]]:
    """Units by family, each family under a unique name."""
    families: dict[tuple, list[Atom]] = {}
    for unit in units:
        families.setdefault(unit.family, []).append(unit)
    homes = {family: _home(members[0], roles) for family, members in families.items()}
    bases = {family: layer_name(places[home[0]]) for family, home in homes.items()}
    named: dict[str, list[Atom]] = {}
    for family, members in families.items():
        name = bases[family]
        if list(bases.values()).count(name) > 1:
            name = f"{name}[axis {homes[family][1]}]"
        unique, count = name, 2
        while unique in named:
            unique, count = f"{name}#{count}", count + 1
        named[unique] = members
    return named


def _home(unit: Atom, roles) -> tuple[int, int]:
    """The parameter axis that the unit is named after: one that produces it."""
    places = sorted(unit.touches)
    order = {"out": 0, "batch": 1, "bias": 2, "scale": 3}
    inputs = [place for place in places if place[0] >= roles.num_leaves]
    if inputs:
        return inputs[0]
    return min(places, key=lambda place: (order.get(roles.of(place), 4), place))


def layer_name(path: str) -> str:
    """`params/Dense_0/kernel` -> `Dense_0`."""
    parts = [part for part in path.split("/") if part]
    while len(parts) > 1 and parts[0] in _COLLECTIONS:
        parts = parts[1:]
    while len(parts) > 1 and parts[-1] in _LEAVES:
        parts = parts[:-1]
    return "/".join(parts) or "params"


def player_names(families, groups: dict, granularity: str) -> tuple[str, ...]:
    """`Dense_0[17]` for units; the family's name for layers."""
    if granularity == "layer":
        return tuple(groups)
    return tuple(f"{f.name}[{k}]" for f in families for k in range(f.size))
