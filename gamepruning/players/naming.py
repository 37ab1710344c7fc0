"""Names that people recognise, for parameters, families and players."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from gamepruning.trace.units import Family, Place, UnitGroup, without_twins
from gamepruning.trace.usage import UsageAnalysis
from gamepruning.types import InputError

_LEAVES = {"kernel", "weight", "weights", "w", "embedding", "value", "raw_value", "W"}
Groups = Mapping[str, UnitGroup]  # the units of each family, by its name

_COLLECTIONS = {"params", "batch_stats"}


def group_units(
    units: Sequence[UnitGroup], usage: UsageAnalysis, places: Sequence[str]
) -> Groups:
    """Units by family, each family under a unique name.

    Units that touch the same entries of the same axes are one player, which is named
    once: the rows and the columns of a map, say, that one kernel fills. No set of kept
    indices can tell which of them left, so they leave together.
    """
    families = without_twins(units)
    homes = [_home(members, usage) for members in families]
    bases = [layer_name(places[home[0]]) for home in homes]
    counts = Counter(bases)
    named: dict[str, UnitGroup] = {}
    for members, home, name in zip(families, homes, bases, strict=True):
        if counts[name] > 1:
            name = f"{name}[axis {home[1]}]"
        unique, count = name, 2
        while unique in named:
            unique, count = f"{name}#{count}", count + 1
        named[unique] = members
    return named


def _home(units: UnitGroup, usage: UsageAnalysis) -> tuple[int, int]:
    """The parameter axis that units are named after: one that produces them.

    Else they are named after the input that they are entries of.
    """
    order = {"out": 0, "input": 1, "batch": 2, "bias": 3, "scale": 4}

    def rank(place: Place) -> tuple:
        is_input = place[0] >= usage.num_leaves
        role = "input" if is_input else usage.role(place)
        return order.get(role, 5), place

    return min(units.places, key=rank)


def layer_name(path: str) -> str:
    """`params/Dense_0/kernel` and `Dense_0.weight` -> `Dense_0`."""
    parts = [part for part in path.split("/") if part]
    while len(parts) > 1 and parts[0] in _COLLECTIONS:
        parts = parts[1:]
    while len(parts) > 1 and parts[-1] in _LEAVES:
        parts = parts[:-1]
    layer, _, leaf = parts[-1].rpartition(".") if parts else ("", "", "")
    if layer and leaf in _LEAVES:  # a flat dictionary of PyTorch's names
        parts[-1] = layer
    return "/".join(parts) or "params"


def layers_of(paths: Iterable[str]) -> str:
    """What the parameters of a stack have in common: `params/layers/up/w` -> `layers`.

    Example:
      >>> layers_of(["params/layers/up/kernel", "params/layers/down/kernel"])
      'layers'
      >>> layers_of(["up", "down"])
      ''
    """
    rows = [path.split("/") for path in paths]
    common = []
    for parts in zip(*rows, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    while common and common[0] in _COLLECTIONS:
        common = common[1:]
    return "/".join(common)


def in_layer(name: str, home: str, layer: str) -> str:
    """The name of a family in one layer of a stack.

    Example:
      >>> in_layer("layers/up", "layers", "3"), in_layer("up", "", "3")
      ('layers[3]/up', 'up[3]')
    """
    if home and (name == home or name.startswith(f"{home}/")):
        return f"{home}[{layer}]{name[len(home) :]}"
    return f"{name}[{layer}]"


def player_names(
    families: Sequence[Family], groups: Iterable[str], granularity: str
) -> tuple[str, ...]:
    """`Dense_0[17]` for units; the family's name for layers."""
    if granularity == "layer":
        return tuple(groups)
    return tuple(f"{f.name}[{k}]" for f in families for k in range(f.size))


def split_keep(
    keep: str | Sequence[str], paths: Sequence[str], families: Collection[str]
) -> tuple[list[str], dict[int, str]]:
    """What to keep, as names of families and as parameters with the reason.

    An entry is a family if there is one of this name. Else it is the path of a
    parameter or its leading part, with or without the collection (`params/`).

    Args:
      keep: names of families, and paths.
      paths: the paths of the parameters.
      families: names of families.

    Returns:
      The names that are not paths; {number of a parameter: reason}.

    Example:
      >>> split_keep(["fc", "head"], ["params/fc/kernel", "params/head/bias"], {"fc"})
      (['fc'], {1: 'kept on request (head)'})
    """
    keep = [keep] if isinstance(keep, str) else keep
    if not isinstance(keep, Iterable) or not all(isinstance(k, str) for k in keep):
        raise InputError(
            f"keep={keep!r}: expected the name of a family, the path of a parameter, "
            "or a list of them"
        )
    names: list[str] = []
    frozen: dict[int, str] = {}
    for entry in keep:
        hits = [k for k, path in enumerate(paths) if _starts_with(path, entry)]
        if entry in families or not hits:
            names.append(entry)
        else:
            frozen.update(dict.fromkeys(hits, f"kept on request ({entry})"))
    return names, frozen


def _starts_with(path: str, entry: str) -> bool:
    collection, _, rest = path.partition("/")
    shown = (path, rest) if collection in _COLLECTIONS else (path,)
    return any(p == entry or p.startswith(entry + "/") for p in shown)
