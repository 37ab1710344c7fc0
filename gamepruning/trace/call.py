"""The arguments of one call of a model: which leaves are arrays, and which are not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh

from gamepruning.trees.arrays import Constant, is_array, shapes_of
from gamepruning.trees.paths import InputKey, flatten, input_key, path_name
from gamepruning.trees.placement import fit_sharding, sharding_of
from gamepruning.types import InputError, Params

TreeDef = Any  # a jax.tree_util.PyTreeDef, which type checkers cannot read


@dataclass(frozen=True, eq=False, repr=False)
class CallSpec:
    """The arguments `(params, *inputs)` of a call, split into arrays and constants.

    A trace sees the arrays alone. What is not an array (a name, a function, a number
    among the params) is a constant: it is part of the model. But jit hands such numbers
    over as arrays, so a later call may have an array where the first one had a number:
    a promoted number.

    Attributes:
      arrays: the arrays, or their shapes: those of params, those of the inputs, then
        the promoted numbers.
      treedef: the structure of `(params, *inputs)`.
      array_index: for each leaf of the tree its place in `arrays`; None if the leaf is
        a constant.
      constants: the leaves that are not arrays, in the order of the tree.
      num_params: how many arrays belong to params, without promoted numbers.
      num_promoted: how many numbers of the first call's params come as arrays now.
      number_leaves: the leaves, by number, that are or were Python numbers and are
        traced as arrays.

    Example: a name is part of the model; an input that is a number is an array.
      >>> call = split_call({"act": "relu", "w": jnp.ones((3, 2))}, (jnp.ones(3), 0.5))
      >>> call
      CallSpec(1 array of params, inputs of shape (3,) and ())
      >>> call.array_index, call.constants
      ((None, 0, 1, 2), ('relu',))
    """

    arrays: list
    treedef: TreeDef
    array_index: tuple[int | None, ...]
    constants: tuple
    num_params: int
    num_promoted: int
    number_leaves: tuple[int, ...]

    @property
    def input_range(self) -> range:
        """The places of the inputs in `arrays`."""
        return range(self.num_params, len(self.arrays) - self.num_promoted)

    @property
    def leaf_positions(self) -> list[int]:
        """For each array, the promoted ones apart, the number of its leaf."""
        leaf_of = {k: leaf for leaf, k in enumerate(self.array_index) if k is not None}
        return [leaf_of[k] for k in range(len(self.arrays) - self.num_promoted)]

    @cached_property
    def input_keys(self) -> tuple[InputKey, ...]:
        """What each array of the inputs is called: its position, or "1/k" in a tree."""
        places = self.treedef.unflatten(range(self.treedef.num_leaves))
        flat, _ = jax.tree_util.tree_flatten_with_path(tuple(places[1:]))
        found = {self.array_index[leaf]: input_key(path) for path, leaf in flat}
        return tuple(found[k] for k in self.input_range)

    @property
    def params_treedef(self) -> TreeDef:
        """The structure of params."""
        return self.treedef.children()[0]

    def rebuild(self, arrays: Sequence) -> tuple:
        """`(params, *inputs)` with these arrays in the place of the call's own."""
        return jax.tree_util.tree_unflatten(self.treedef, self._leaves(arrays))

    def with_arrays(self, arrays: Sequence) -> "CallSpec":
        """The same call with other arrays."""
        return replace(self, arrays=list(arrays))

    def param_leaves(self) -> list:
        """The leaves of params, arrays and constants."""
        return self._leaves(self.arrays)[: self.params_treedef.num_leaves]

    def _leaves(self, arrays: Sequence) -> list:
        constants = iter(self.constants)
        return [next(constants) if k is None else arrays[k] for k in self.array_index]

    def key(self, mesh: AbstractMesh | None = None) -> tuple:
        """What a trace depends on: structure, shapes, dtypes, constants, and a mesh.

        Args:
          mesh: in which the model runs, as under `shard_map`; that of the context if
            None.
        """
        mesh = jax.sharding.get_abstract_mesh() if mesh is None else mesh
        arrays = tuple(
            (tuple(np.shape(a)), a.dtype, _weak(a), sharding_of(a)) for a in self.arrays
        )
        x64 = jnp.result_type(float) == jnp.float64
        constants = tuple(map(Constant, self.constants))
        return self.treedef, self.array_index, arrays, constants, x64, mesh

    def describe(self, leaf: int) -> str:
        """What a leaf is to the user."""
        places = self.treedef.unflatten(range(self.treedef.num_leaves))
        (argument, *keys), _ = jax.tree_util.tree_flatten_with_path(places)[0][leaf]
        if argument.idx:
            return f"input {argument.idx - 1}"
        return f"parameter {path_name(tuple(keys))!r}"

    def __repr__(self) -> str:
        shapes = " and ".join(str(np.shape(self.arrays[k])) for k in self.input_range)
        plural = "" if self.num_params == 1 else "s"
        inputs = f"inputs of shape {shapes}" if shapes else "no inputs"
        return f"CallSpec({self.num_params} array{plural} of params, {inputs})"


def split_call(
    params: Params, inputs: Sequence, first: CallSpec | None = None
) -> CallSpec:
    """Split the arguments of a model into arrays and constants.

    A number among the inputs is an array. A number among the params is a constant as
    long as the first call had the same number there.

    Args:
      params: the parameters.
      inputs: the inputs.
      first: the first call, with params of the same paths; None if this is it.
    """
    given, treedef = flatten((params, *inputs))
    num = len(jax.tree_util.tree_leaves(params))
    for k, leaf in enumerate(given):
        _check_numeric(leaf, "the params" if k < num else "the inputs")
    before = [None] * num if first is None else first.param_leaves()
    leaves = [
        _as_array(leaf, _is_number(leaf) and (k >= num or _is_other(leaf, before[k])))
        for k, leaf in enumerate(given)
    ]
    arrays = [k for k, leaf in enumerate(leaves) if is_array(leaf)]
    promoted = [k for k in arrays if k < num and _is_number(before[k])]
    order = [k for k in arrays if k not in promoted] + promoted
    place = {leaf: k for k, leaf in enumerate(order)}
    return CallSpec(
        arrays=[leaves[k] for k in order],
        treedef=treedef,
        array_index=tuple(map(place.get, range(len(leaves)))),
        constants=tuple(leaf for leaf in leaves if not is_array(leaf)),
        num_params=sum(k < num for k in order) - len(promoted),
        num_promoted=len(promoted),
        number_leaves=tuple(k for k in arrays if k in promoted or _is_number(given[k])),
    )


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, (bool, int, float, complex))


def _as_array(leaf: Any, is_traced_number: bool) -> Any:
    """NumPy arrays in JAX's precision; numbers that are traced as arrays."""
    numeric = isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "biufc"
    return jnp.asarray(leaf) if numeric or is_traced_number else leaf


def _is_other(number: Any, before: Any) -> bool:
    """True where the first call had an array or another number."""
    if not _is_number(before):
        return is_array(before)
    return type(number) is not type(before) or number != before


def _weak(array: Any) -> bool:
    return bool(getattr(array, "weak_type", False))


def as_struct(array: Any, shape: Sequence | None = None) -> jax.ShapeDtypeStruct:
    """The type of an array: shape, dtype, explicit sharding; of another `shape`."""
    shape = np.shape(array) if shape is None else tuple(shape)
    sharding = sharding_of(array)
    if sharding is not None:
        sharding = fit_sharding(sharding, shape)
    return jax.ShapeDtypeStruct(
        shape, array.dtype, weak_type=_weak(array), sharding=sharding
    )


# -- what is wrong with a later call ------------------------------------------------


def input_error(first: CallSpec, given: CallSpec, cause: str) -> InputError:
    """The error of a call whose inputs the model cannot read."""
    both = (call.rebuild(call.arrays)[1:] for call in (first, given))
    expected, got = map(shapes_of, both)
    return InputError(
        f"the model cannot run on these inputs: expected inputs like those that "
        f"find_players saw, {expected}, got {got:.300} ({cause:.200})"
    )


def _check_numeric(leaf: Any, name: str) -> None:
    """Raise InputError for an array of text, dates or objects."""
    if isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "USOmM":
        raise InputError(f"{name}: expected numbers, got an array of {leaf.dtype}")


# -- the params of a later call ----------------------------------------------------


def check_params(params: Params, first: CallSpec) -> None:
    """Check that `params` have the paths and shapes of the first call's.

    Raises:
      InputError: they do not.
    """
    check_paths(params, first)
    pairs = zip(first.param_leaves(), jax.tree_util.tree_leaves(params), strict=True)
    for number, (expected, given) in enumerate(pairs):
        if _shape(expected) != _shape(given):
            path = _paths(first.params_treedef)[number]
            raise InputError(
                f"parameter {path} has {_having(_shape(given))}, expected "
                f"{_having(_shape(expected))} as in the params that find_players saw"
            )


def check_paths(params: Params, first: CallSpec) -> None:
    """Check that `params` have the paths of the first call's.

    Raises:
      InputError: they do not.
    """
    (_, structure), before = flatten(params), first.params_treedef
    if structure == before or _paths(structure) == _paths(before):
        return
    found, paths = _paths(structure), _paths(before)
    missing = [f"{path!r} is missing" for path in paths if path not in found]
    extra = [f"{path!r} is new" for path in found if path not in paths]
    differences = [*missing[:1], *extra[:1]] or ["their order is another"]
    raise InputError(
        f"these are not the params that find_players saw: {', '.join(differences)}"
    )


def _shape(leaf: Any) -> tuple | None:
    return tuple(np.shape(leaf)) if is_array(leaf) or _is_number(leaf) else None


def _having(shape: tuple | None) -> str:
    return "no shape" if shape is None else f"shape {shape}"


def _paths(treedef: TreeDef) -> list[str]:
    places = treedef.unflatten(range(treedef.num_leaves))
    flat, _ = jax.tree_util.tree_flatten_with_path(places)
    return [path_name(path) for path, _ in flat]
