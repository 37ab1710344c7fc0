"""Where arrays live: a smaller array goes where the one that it was cut from was."""

import functools
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeGuard

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gamepruning.trees.paths import LayerRows, named_leaves

NO_MESH = jax.sharding.AbstractMesh((), ())
Indices = Mapping[int, Any]  # by axis: `Rows`


def fit_sharding(sharding: NamedSharding, shape: tuple) -> NamedSharding:
    """The same sharding for an array of another shape.

    An axis that its mesh axes do not divide any more is replicated; the others stay as
    they are. So is an axis of symbolic length.

    Example:
      >>> mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("model",))
      >>> sharding = NamedSharding(mesh, PartitionSpec(None, "model"))
      >>> tuple(fit_sharding(sharding, (4, 3)).spec)
      (None, 'model')
    """
    spec = [
        names if _divides(sharding, names, size) else None
        for names, size in zip(sharding.spec, shape, strict=False)
    ]
    if tuple(spec) == tuple(sharding.spec):
        return sharding
    return sharding.update(spec=sharding.spec.update(partitions=tuple(spec)))


def _divides(sharding: NamedSharding, names: Any, size: Any) -> bool:
    if names is None or names is PartitionSpec.UNCONSTRAINED:
        return True
    return isinstance(size, int) and size % num_parts(sharding, names) == 0


def num_parts(sharding: NamedSharding, names: Any) -> int:
    """Into how many parts these mesh axes (or this one) cut an axis."""
    names = names if isinstance(names, tuple) else (names,)
    return prod(sharding.mesh.shape[name] for name in names)


def is_explicit(sharding: Any) -> TypeGuard[NamedSharding]:
    """Return True if shardings along some axis of its mesh are part of types."""
    return isinstance(sharding, NamedSharding) and AxisType.Explicit in (
        sharding.mesh.axis_types
    )


def sharding_of(array: Any) -> NamedSharding | None:
    """The sharding that is part of the type of an array, if one is.

    Args:
      array: an array, traced or not, or the shape of one.
    """
    is_bare = isinstance(array, (jax.ShapeDtypeStruct, jax.core.ShapedArray))
    aval = array if is_bare else jax.typeof(array)
    sharding = getattr(aval, "sharding", None)
    return sharding if is_explicit(sharding) else None


def replicated(array: Any) -> Any:
    """The array, replicated if its explicit sharding would keep it from meeting others.

    Sums over axes of parameters come with the shardings of the axes that are left,
    which differ from parameter to parameter.
    """
    sharding = sharding_of(array)
    if sharding is None or not any(sharding.spec):
        return array
    return jax.sharding.reshard(array, sharding.update(spec=PartitionSpec()))


def keep_whole(array: Any, like: Any) -> Any:
    """An array in a program, kept whole on all devices that `like` is spread over.

    A compiler that splits it as it likes may gather what meets it. Without `jit`
    nothing is done, and nothing where `like` has explicit shardings.

    Args:
      array: an array or a pytree of them, traced or not.
      like: traced arrays, such as the parameters of a network.
    """
    mesh = next(filter(None, map(_automatic_mesh, jax.tree.leaves(like))), None)
    if mesh is None:
        return array
    try:
        whole = NamedSharding(mesh, PartitionSpec())
        return jax.lax.with_sharding_constraint(array, whole)
    except (TypeError, ValueError):  # of arrays with values: under grad or vmap alone
        return array


def _automatic_mesh(array: Any) -> Any:
    """The mesh that a traced array is spread over, if all its axes are automatic."""
    if not isinstance(array, jax.core.Tracer):
        return None
    sharding = getattr(jax.typeof(array), "sharding", None)
    if not isinstance(sharding, NamedSharding) or sharding.mesh.size < 2:
        return None
    return sharding.mesh if {*sharding.mesh.axis_types} == {AxisType.Auto} else None


def as_placed(array: Any, like: Any) -> jax.Array:
    """An array of the type of another, and spread over the same devices alike."""
    found = jnp.asarray(array, like.dtype)
    sharding = getattr(like, "sharding", None)
    is_spread = isinstance(sharding, NamedSharding) and sharding.mesh.size > 1
    is_traced = isinstance(like, jax.core.Tracer)
    return jax.device_put(found, sharding) if is_spread and not is_traced else found


def put_whole(tree: Any, like: Any) -> Any:
    """Arrays, each put whole on all devices of the mesh that `like` is spread over.

    Nothing changes in a trace, or where `like` is on one device.

    Args:
      tree: arrays.
      like: arrays, such as the parameters of a network.
    """
    mesh = _mesh_of(tree, like)
    if mesh is None:
        return tree
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def put_beside(tree: Any, like: Any) -> Any:
    """The same, but for arrays that are on all devices of that mesh already."""
    mesh = _mesh_of(tree, like)
    if mesh is None:
        return tree
    devices, whole = {*mesh.devices.flat}, NamedSharding(mesh, PartitionSpec())

    def put(leaf: Any) -> Any:
        is_there = isinstance(leaf, jax.Array) and leaf.sharding.device_set == devices
        return leaf if is_there else jax.device_put(leaf, whole)

    return jax.tree.map(put, tree)


def _mesh_of(tree: Any, like: Any) -> Any:
    leaves = jax.tree.leaves((tree, like))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return None
    found = (getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(like))
    meshes = (own.mesh for own in found if isinstance(own, NamedSharding))
    return next((mesh for mesh in meshes if mesh.size > 1), None)


def rows_are_split(tree: Any) -> bool:
    """Return True if the type of an array says that its rows lie on several devices."""
    shardings = filter(None, map(sharding_of, jax.tree.leaves(tree)))
    return any(
        num_parts(sharding, sharding.spec[0]) > 1
        for sharding in shardings
        if sharding.spec and sharding.spec[0] is not None
    )


def beside(array: Any, other: Any) -> Any:
    """`other`, on the mesh whose explicit shardings are part of `array`'s type.

    Inside of `auto_axes` and the like an array lies on a mesh of other axis types.
    """
    mine, theirs = (getattr(jax.typeof(x), "sharding", None) for x in (array, other))
    if not (is_explicit(mine) or is_explicit(theirs)):
        return other
    if mine is None or theirs is None or NO_MESH in (mine.mesh, theirs.mesh):
        return other
    if mine.mesh == theirs.mesh:
        return other
    return jax.sharding.reshard(other, NamedSharding(mine.mesh, PartitionSpec()))


def take_traced(array: Any, indices: Any, axis: int) -> Any:
    """`jnp.take` in a trace; an explicit sharding is kept as far as it divides."""
    sharding = sharding_of(array)
    if sharding is None or not any(sharding.spec):
        return jnp.take(array, indices, axis=axis)
    shape = (*array.shape[:axis], len(indices), *array.shape[axis + 1 :])
    place = (*[slice(None)] * axis, indices)
    return array.at[place].get(out_sharding=fit_sharding(sharding, shape))


def look_up(table: Any, numbers: Any) -> Any:
    """The entry of a table [n] at each of some numbers, laid out as these are."""
    sharding = sharding_of(numbers)
    if sharding is None or not any(sharding.spec):
        return table[numbers]
    return table.at[numbers].get(out_sharding=sharding)


def take_axes(array: Any, indices: Indices) -> Any:
    """Keep some indices of some axes of an array, where the array is.

    NumPy arrays stay NumPy arrays. An array over several devices is cut on them, and
    keeps its sharding and kind of memory, as far as `fit_sharding` can.

    Args:
      array: the array.
      indices: by axis, which of its indices stay; they are not checked.
    """
    if not indices:
        return array
    if isinstance(array, np.ndarray):
        for axis, kept in indices.items():
            array = _take_one(np, array, axis, *_layers_and_rows(kept))
        return array
    array = jnp.asarray(array)
    shape = list(np.shape(array))
    for axis, kept in indices.items():
        shape[axis] = len(kept)
    found = {axis: _layers_and_rows(kept) for axis, kept in indices.items()}
    axes = tuple((axis, layers) for axis, (layers, _) in found.items())
    rows = [rows for _, rows in found.values()]
    return _run_near(_take, axes, tuple(shape), array, *rows)


def _layers_and_rows(kept: Any) -> tuple[int | None, np.ndarray]:
    if isinstance(kept, LayerRows):
        return kept.axis, np.asarray(kept.indices)
    return None, np.asarray(kept)


def _take_one(xp: Any, array: Any, axis: int, layers: int | None, rows: Any) -> Any:
    """Rows along an axis, [n], or a row of them for each layer, [L, n]."""
    # The indices are checked: "clip" spares the fill of out-of-range ones.
    if layers is None:
        return xp.take(array, rows, axis=axis, mode="clip")
    rows = rows if layers < axis else rows.T
    others = [k for k in range(array.ndim) if k not in (layers, axis)]
    rows = xp.expand_dims(rows, others)
    how = {} if xp is np else {"mode": "clip"}
    return xp.take_along_axis(array, rows, axis, **how)


def put_axes(full: jax.Array, small: Any, index: tuple[np.ndarray, ...]) -> jax.Array:
    """`full.at[index].set(small)`, placed as `full` is.

    Args:
      full: the array to write into.
      small: what to write.
      index: where: for each axis the indices, shaped to broadcast (`np.ix_`).
    """
    if isinstance(full.sharding, NamedSharding):
        small = jax.device_put(small, fit_sharding(_near(full), np.shape(small)))
    return _run_near(_put, (), full.shape, full, small, *index)


def _take(axes: tuple, array: jax.Array, *indices: Any) -> jax.Array:
    for (axis, layers), kept in zip(axes, indices, strict=True):
        array = _take_one(jnp, array, axis, layers, kept)
    return array


def _put(_: tuple, full: jax.Array, small: jax.Array, *index: Any) -> jax.Array:
    return full.at[index].set(small)


def _run_near(
    fn: Callable[..., jax.Array],
    static: tuple,
    shape: tuple,
    array: jax.Array,
    *rest: Any,
) -> jax.Array:
    """fn(static, array, *rest), of this shape, placed like `array`."""
    if isinstance(array, jax.core.Tracer):
        return fn(static, array, *rest)
    kind, near = array.sharding.memory_kind, _near(array)
    if kind != near.memory_kind:  # nothing is computed in the memory of the host
        array = jax.device_put(array, near)
    if isinstance(near, NamedSharding):
        out = _program(fn, static, fit_sharding(near, shape))(array, *rest)
    else:
        out = fn(static, array, *rest)
    if kind is None or kind == near.memory_kind:
        return out
    return jax.device_put(out, out.sharding.with_memory_kind(kind))


def _near(array: jax.Array) -> Any:
    """The array's sharding in the memory that is computed in."""
    device = next(iter(array.sharding.device_set))
    near = device.default_memory().kind
    sharding = array.sharding
    return sharding if sharding.memory_kind == near else sharding.with_memory_kind(near)


@functools.lru_cache(maxsize=256)
def _program(
    fn: Callable[..., jax.Array], static: tuple, target: NamedSharding
) -> Callable[..., jax.Array]:
    """The compiled function, whose result has this sharding."""
    bound = functools.partial(fn, static)
    if is_explicit(target):
        return jax.jit(jax.sharding.auto_axes(bound, out_sharding=target))
    return jax.jit(bound, out_shardings=target)


# -- what is told ----------------------------------------------------------------------


def replicated_note(before: Any, after: Any) -> str:
    """Which axes of a tree are replicated since they were cut, in a line; "" if none.

    Args:
      before: the full arrays.
      after: the arrays that `take_axes` made of them.
    """
    small, told = named_leaves(after), []
    for path, leaf in named_leaves(before).items():
        told += _replicated_axes(path, leaf, small[path])
    if not told:
        return ""
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return (
        f"replicated, as the devices no longer divide them: {', '.join(told[:3])}{more}"
        " (round_to= keeps widths that they divide)"
    )


def _replicated_axes(path: str, leaf: Any, small: Any) -> list[str]:
    pair = [getattr(array, "sharding", None) for array in (leaf, small)]
    old, new = pair
    if not isinstance(old, NamedSharding) or not isinstance(new, NamedSharding):
        return []
    found = []
    for axis, names in enumerate(old.spec):
        gone = names is not None and new.spec[axis : axis + 1] in ((), (None,))
        if gone and leaf.shape != small.shape:
            parts = num_parts(old, names)
            found.append(f"axis {axis} of {path!r} ({small.shape[axis]} over {parts})")
    return found
