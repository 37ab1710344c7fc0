"""What an architecture is here: the shapes of its tensors in symbols, and a function.

One table serves three purposes: what a checkpoint must hold is checked by it, the sizes
of a pruned model are read off by it, and unequal layers are padded by it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from gamepruning.types import InputError

Config = Mapping[str, Any]  # what config.json says, defaults filled in
Dim = tuple[int | str, ...]  # a size as a product of numbers and of named sizes
Dims = tuple[Dim, ...]
Shape = tuple[int, ...]
Sizes = Mapping[str, int]


class Architecture(NamedTuple):
    """A model by its configuration.

    Attributes:
      apply: apply(params, *inputs) -> outputs.
      sizes: the named sizes, as the configuration gives them.
      outside: the shapes of the tensors outside the layers.
      layer: the shapes of the tensors of a layer, by their names after its number.
      stem: what the names of a layer's tensors begin with, before its number.
      widths: the names of sizes that a configuration can change; the others, such as
        the size of a head with rotary positions, are fixed.
      fields: named sizes -> the fields of the configuration.
      problem: named sizes -> why no configuration has them; "" if one has.
      grows: the names of the sizes that padding raises until there is no problem.
      left_out: patterns of names of tensors that need not be kept, such as buffers.
      heads: patterns of names of tensors that are not run, and are kept as they are.
      tied: tensors that a file may repeat -> those that they must equal.
    """

    apply: Callable[..., Any]
    sizes: Sizes
    outside: Mapping[str, Dims]
    layer: Mapping[str, Dims]
    stem: str
    widths: tuple[str, ...]
    fields: Callable[[Sizes], dict[str, Any]]
    problem: Callable[[Sizes], str]
    grows: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    tied: Mapping[str, str] = {}

    def tensors(self) -> dict[str, Dims]:
        """The shapes of all tensors, in symbols."""
        inside = {
            f"{self.stem}{k}.{name}": dims
            for k in range(self.sizes["layers"])
            for name, dims in self.layer.items()
        }
        return {**self.outside, **inside}


def prefix_of(names: Iterable[str], prefix: str) -> str:
    """The prefix where a name of a tensor begins with it, otherwise ""."""
    return prefix if any(name.startswith(prefix) for name in names) else ""


def has_language_head(config: Config, prefix: str) -> bool:
    """Return True if the outputs of a decoder are logits.

    Args:
      config: its configuration.
      prefix: what the names of its tensors begin with; it decides where the
        configuration does not say.
    """
    names = config.get("architectures") or []
    if not names:
        return bool(prefix)
    return "ForCausalLM" in names[0] or "LMHead" in names[0]


def whole_heads(sizes: Sizes) -> str:
    """Why no configuration without a size of heads has these sizes; "" if one has."""
    if sizes["heads"] * sizes["head"] == sizes["hidden"]:
        return ""
    return (
        f"{sizes['heads']} heads of {sizes['head']} entries are not hidden_size "
        f"{sizes['hidden']}, and such a configuration has no field for a head's size"
    )


def dims(text: str) -> Dims:
    """A shape in symbols: dimensions by spaces, their factors by `*`.

    Example:
      >>> dims("groups*head hidden"), dims("3*8")
      ((('groups', 'head'), ('hidden',)), ((3, 8),))
    """
    return tuple(
        tuple(int(part) if part.isdigit() else part for part in dim.split("*"))
        for dim in text.split()
    )


def size_of(dim: Dim, sizes: Sizes) -> int:
    """A size in symbols as a number.

    Example:
      >>> size_of((3, "heads"), {"heads": 4})
      12
    """
    product = 1
    for part in dim:
        product *= sizes[part] if isinstance(part, str) else part
    return product


def solve(
    shapes: Mapping[str, Shape], symbols: Mapping[str, Dims], known: Sizes
) -> dict[str, int]:
    """The named sizes for which shapes in symbols are the given ones.

    Args:
      shapes: the shapes; some may be missing.
      symbols: the shapes in symbols; of each size, at most one name is new.
      known: sizes that are known already.

    Returns:
      All sizes that the shapes tell, the known ones among them.

    Raises:
      InputError: there are none.

    Example:
      >>> symbols = {"k": dims("groups*8"), "q": dims("groups*queries*8")}
      >>> solve({"k": (16,), "q": (48,)}, symbols, {})
      {'groups': 2, 'queries': 3}
    """
    found = dict(known)
    for name, dimensions in symbols.items():
        if name not in shapes:
            continue
        if len(shapes[name]) != len(dimensions):
            raise InputError(
                f"{name!r} has {len(shapes[name])} axes, expected {len(dimensions)}"
            )
        for axis, (size, dim) in enumerate(zip(shapes[name], dimensions, strict=True)):
            new = [part for part in dim if isinstance(part, str) and part not in found]
            rest = size_of(tuple(p for p in dim if p not in new), found)
            if new and size == rest == 0:
                continue  # nothing is left of it, and so any number will do
            if not new and size != rest or new and (rest == 0 or size % rest):
                told = " x ".join(_told(part, found) for part in dim)
                raise InputError(
                    f"axis {axis} of {name!r} has {size} entries, which is not {told}"
                )
            if new:
                found[new[0]] = size // rest
    return found


def _told(part: int | str, sizes: Sizes) -> str:
    if not isinstance(part, str):
        return str(part)
    return f"{sizes[part]} ({part})" if part in sizes else f"any number of {part}"
