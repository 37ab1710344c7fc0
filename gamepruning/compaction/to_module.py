"""The way back: a module of the framework, built at the small sizes.

A small model is a function and a tree of parameters. Frameworks want a module: to train
on with their own trainers, to quantise, to serve. Which fields of the configuration
stand for which sizes is found by trying: a field whose value is an old size may get a
new one, and the shapes of all parameters must come out as those of the small model.
"""

import dataclasses
import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.compact import CompactModel
from gamepruning.players.adapters import from_linen, from_nnx
from gamepruning.trees.examples import as_inputs
from gamepruning.trees.paths import named_leaves
from gamepruning.types import InputError

MOST_TRIED = 4096  # configurations
TOLERANCE = 1e-5  # of the largest output
Place = tuple[str, int | None]  # a field, and where in a sequence
Shapes = dict[str, tuple[int, ...]]


class SmallModule(NamedTuple):
    """A module built at the small sizes.

    Attributes:
      module: a linen module, or an nnx module that holds the small parameters.
      params: the small parameters: the variables of a linen module.
      config: what it was built from.
      changed: {field: (old, new)}.
      max_error: the largest difference of an output from `small.apply`, over the
        largest output.
    """

    module: Any
    params: Any
    config: Any
    changed: dict[str, tuple[Any, Any]]
    max_error: float

    def __repr__(self) -> str:
        fields = ", ".join(f"{k} {a} -> {b}" for k, (a, b) in self.changed.items())
        name = type(self.module).__name__
        return f"SmallModule({name}: {fields or 'no field changed'})"


def to_module(
    small: CompactModel,
    config: Any,
    *inputs: Any,
    make: Callable[[Any], Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    call: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> SmallModule:
    """The module of the small configuration, with the small parameters, checked equal.

    Args:
      small: what `compact` made of `from_linen(module, variables)`, `from_nnx(module)`
        or a function that takes the same tree of parameters.
      config: the original linen module; or a dataclass or mapping, with `make`.
      *inputs: examples, as the small model takes them.
      make: configuration -> linen or nnx module; None where `config` is a linen module.
        It draws parameters for nnx, which are replaced.
      fields: values of fields, where they are not found or several would do.
      call: the keywords that `from_linen` or `from_nnx` had besides, such as
        {"train": False} or {"method": "encode"}.
      tolerance: the largest difference of an output, over the largest output.

    Returns:
      `SmallModule`.

    Raises:
      InputError: no configuration has the shapes of the small model (layers that share
        a field must keep equally many: `top_n(..., scope="family")` with equal
        families), a field is unknown, or the outputs differ: the module computes
        something from a size, such as the scale of an attention.

    Cost: a trace of the module's init for each configuration that is tried, at most
    4,096, and one call.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, gamepruning as gp
      >>> class Net(nn.Module):
      ...     hidden: int = 16
      ...     classes: int = 3
      ...
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         return nn.Dense(self.classes)(nn.relu(nn.Dense(self.hidden)(x)))
      >>> x = jax.random.normal(jax.random.key(0), (5, 8))
      >>> net = Net()
      >>> apply, params = gp.from_linen(net, net.init(jax.random.key(1), x))
      >>> players = gp.find_players(apply, params, x)
      >>> small = gp.compact(players, params, jnp.arange(16) < 6)
      >>> gp.to_module(small, net, x)
      SmallModule(Net: hidden 16 -> 6)
    """
    shown = as_inputs(inputs)
    build = (lambda module: module) if make is None else make
    if make is None and not _is_linen(config):
        raise InputError(
            f"expected a linen module, or make=, which builds a module from a "
            f"{type(config).__name__}: to_module(small, config, x, make=Net)"
        )
    values, wanted = _values(config), _shapes(small.params)
    is_nnx = _is_nnx(small.params)
    given, keywords = dict(fields or {}), dict(call or {})
    if unknown := sorted(given.keys() - values.keys()):
        raise InputError(
            f"no field {unknown[0]!r} in the configuration: it has {', '.join(values)}"
        )

    def shapes(changes: Mapping[str, Any]) -> Shapes | str:
        try:
            own = _replaced(config, changes)
            return _shapes_of(lambda: build(own), shown, keywords, is_nnx)
        except Exception as error:  # whatever a module says to sizes that do not fit
            return (str(error) or type(error).__name__).splitlines()[0]

    changes = _search(small, values, given, wanted, shapes)
    chosen = _replaced(config, changes)
    module, outputs = _filled(build(chosen), small.params, shown, keywords)
    error = _difference(small.apply(small.params, *shown), outputs)
    if not error <= tolerance:
        raise InputError(
            f"the module of {_told(changes, values)} has the shapes of the small "
            f"model, but its outputs differ by {error:.1e} of the largest: it computes "
            "something from a size (an attention's scale, a mean over features); let "
            "these players stay (find_players(..., keep=)), or raise tolerance"
        )
    changed = {k: (values[k], v) for k, v in changes.items() if v != values[k]}
    return SmallModule(module, small.params, chosen, changed, error)


# -- the search ------------------------------------------------------------------------


def _search(
    small: CompactModel,
    values: Mapping[str, Any],
    given: dict[str, Any],
    wanted: Shapes,
    shapes: Callable[[Mapping[str, Any]], Shapes | str],
) -> dict[str, Any]:
    """The values of fields that give the small shapes; as few changes as will do."""
    places = {
        place: options
        for place, options in _options(small, values).items()
        if place[0] not in given
    }
    first = None
    matched = filter(None, [_in_order(small, values, places)])
    choices = itertools.chain(matched, _choices(places))
    tried = list(itertools.islice(choices, MOST_TRIED))
    for chosen in tried:
        changes = _changes(values, chosen) | given
        found = shapes(changes)
        if found == wanted:
            break
        first = (changes, found) if first is None else first
    else:
        assert first is not None
        raise InputError(_why_none(first, wanted, values, len(tried) == MOST_TRIED))
    for place in list(chosen):  # a field that does not matter stays as it was
        fewer = {k: v for k, v in chosen.items() if k != place}
        if shapes(_changes(values, fewer) | given) == wanted:
            chosen = fewer
    return _changes(values, chosen) | given


def _options(small: CompactModel, values: Mapping[str, Any]) -> dict[Place, list[int]]:
    """By place in the configuration the new sizes that its value may become."""
    sizes: dict[int, set[int]] = defaultdict(set)
    new_shapes = _shapes(small.params)
    for path, shape in small.plan.model.items():
        pair = np.array([shape, new_shapes[path]], int).reshape(2, -1)
        both = pair[:, :-1] * pair[:, 1:]  # two axes may be one size, as in attention
        for old, new in np.hstack([pair, both]).T.tolist():
            sizes[old].add(new)
    for _, total, indices in small.plan.families:
        sizes[total].add(len(indices))
    found: dict[Place, list[int]] = {}
    for name, value in values.items():
        for place, number in _numbers(name, value):
            if new := sorted(sizes.get(number, set()) - {number}):
                found[place] = new
    return found


def _numbers(name: str, value: Any) -> Iterator[tuple[Place, int]]:
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        yield (name, None), int(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        for k, part in enumerate(value):
            if isinstance(part, int | np.integer) and not isinstance(part, bool):
                yield (name, k), int(part)


def _in_order(
    small: CompactModel, values: Mapping[str, Any], options: Mapping[Place, list[int]]
) -> dict[Place, int]:
    """Places of one value and families of that size matched in their order."""
    new: dict[int, list[int]] = defaultdict(list)
    for _, total, indices in small.plan.families:
        new[total].append(len(indices))
    each = [(p, n) for name, value in values.items() for p, n in _numbers(name, value)]
    found: dict[Place, int] = {}
    for total, counts in new.items():
        places = [place for place, number in each if number == total]
        if len(places) == len(counts):
            found |= dict(zip(places, counts, strict=True))
    return {place: count for place, count in found.items() if place in options}


def _choices(options: Mapping[Place, list[int]]) -> Iterator[dict[Place, int]]:
    """Ways to change places, those that change most first."""
    places = list(options)
    for number in range(len(places), -1, -1):
        for some in itertools.combinations(places, number):
            for new in itertools.product(*(options[place] for place in some)):
                yield dict(zip(some, new, strict=True))


def _changes(values: Mapping[str, Any], chosen: Mapping[Place, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (name, place), new in chosen.items():
        if place is None:
            found[name] = new
            continue
        parts = list(found.get(name, values[name]))
        parts[place] = new
        found[name] = type(values[name])(parts)
    return found


def _why_none(
    first: tuple[Mapping[str, Any], Shapes | str],
    wanted: Shapes,
    values: Mapping[str, Any],
    gave_up: bool,
) -> str:
    """Why the configuration that changes most is not the small model's."""
    changes, found = first
    none = f"none of {MOST_TRIED:,} configurations" if gave_up else "no configuration"
    told = f"{none} has the shapes of the small model: with "
    told += _told(changes, values)
    if isinstance(found, str):
        return f"{told} the module says: {found}"
    if lost := sorted(found.keys() ^ wanted.keys()):
        side = "small model" if lost[0] in wanted else "module"
        return f"{told}, {lost[0]!r} is in the {side} only"
    path = next(k for k in wanted if found[k] != wanted[k])
    return (
        f"{told}, {path!r} is {list(found[path])}, and {list(wanted[path])} in the "
        "small model: layers that share a field must keep equally many, and fields= "
        "gives what is not found"
    )


def _told(changes: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    fields = [f"{name} {values[name]} -> {new}" for name, new in changes.items()]
    return ", ".join(fields) or "no field changed"


# -- configurations and modules --------------------------------------------------------


def _values(config: Any) -> dict[str, Any]:
    """The fields of a configuration."""
    if isinstance(config, Mapping):
        return dict(config)
    if dataclasses.is_dataclass(config):
        hidden = {"parent", "name"} if _is_linen(config) else set()
        names = [f.name for f in dataclasses.fields(config) if f.init]
        return {name: getattr(config, name) for name in names if name not in hidden}
    raise InputError(
        f"expected a configuration that is a dataclass, a mapping or a linen module, "
        f"got a {type(config).__name__}"
    )


def _replaced(config: Any, changes: Mapping[str, Any]) -> Any:
    if isinstance(config, Mapping):
        return type(config)({**config, **changes})  # type: ignore[call-arg]
    if _is_linen(config):
        return config.clone(**changes)
    return dataclasses.replace(config, **changes)


def _shapes(tree: Any) -> Shapes:
    return {name: tuple(np.shape(x)) for name, x in named_leaves(tree).items()}


def _shapes_of(
    build: Callable[[], Any], inputs: tuple, keywords: dict[str, Any], is_nnx: bool
) -> Shapes:
    """The shapes of a module's state, without computing it."""
    if not is_nnx:
        init = functools.partial(build().init, **keywords)
        return _shapes(jax.eval_shape(init, jax.random.key(0), *inputs))
    from flax import nnx

    return _shapes(nnx.state(nnx.eval_shape(build)))


def _filled(
    module: Any, params: Any, inputs: tuple, keywords: dict[str, Any]
) -> tuple[Any, Any]:
    """A module with the parameters, and its outputs in evaluation mode."""
    if _is_linen(module):
        apply, own = from_linen(module, params, **keywords)
        return module, apply(own, *inputs)
    from flax import nnx

    nnx.update(module, params)
    apply, own = from_nnx(module, **keywords)
    return module, apply(own, *inputs)


def _is_linen(module: Any) -> bool:
    from flax import linen

    return isinstance(module, linen.Module)


def _is_nnx(params: Any) -> bool:
    from flax import nnx

    return isinstance(params, nnx.State)


def _difference(one: Any, two: Any) -> float:
    """The largest difference of two trees of outputs, over the largest entry."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    arrays = [(jnp.asarray(a, float), jnp.asarray(b, float)) for a, b in pairs]
    largest = max((float(abs(a).max()) for a, _ in arrays), default=0.0)
    apart = max((float(abs(a - b).max()) for a, b in arrays), default=0.0)
    return apart / max(largest, 1e-30)
