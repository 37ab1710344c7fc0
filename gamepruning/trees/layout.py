"""Where coalitions, parameters and examples lie: on some devices, or over a mesh."""

import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from gamepruning.trees.arrays import map_arrays
from gamepruning.trees.paths import named_leaves
from gamepruning.trees.placement import num_parts
from gamepruning.trees.processes import Processes, laid_out, to_host, together
from gamepruning.types import InputError

COALITIONS = "coalitions"  # the mesh axis that they go over, if no other is named
WHOLE = PartitionSpec()  # not split over the groups of devices


@dataclass(frozen=True, eq=False)
class Layout:
    """Where coalitions, parameters and examples lie.

    Coalitions are split over one axis of a mesh. Nothing is exchanged along it: each
    group of devices has all parameters and examples, laid out over the other axes as
    they were given, and values coalitions of its own.

    Attributes:
      mesh: the devices; its axes are automatic.
      axis: the one that coalitions are split over.
      is_given: True if the user gave the mesh; else it has the one axis.
    """

    mesh: Mesh
    axis: str
    is_given: bool

    @property
    def num_groups(self) -> int:
        """Groups of devices that have coalitions of their own."""
        return self.mesh.shape[self.axis]

    @property
    def fewest_groups(self) -> int:
        """How many groups a few coalitions take: where processes work, all."""
        return self.num_groups if self.is_given else 1

    @property
    def platform(self) -> str:
        """Such as "cpu"."""
        return self.mesh.devices.flat[0].platform

    @cached_property
    def processes(self) -> Processes | None:
        """The processes that share the mesh; None for one."""
        found = Processes(list(self.mesh.devices.flat))
        return found if found.num > 1 else None

    @property
    def near_devices(self) -> list:
        """The devices of this process."""
        here = jax.process_index()
        return [d for d in self.mesh.devices.flat if d.process_index == here]

    def mesh_of(self, used: int) -> Mesh:
        """The mesh, or a part with so many groups of one device."""
        if used == self.num_groups:
            return self.mesh
        return Mesh(self.mesh.devices.ravel()[:used], (self.axis,))

    # -- parameters and examples -------------------------------------------------------

    def place(self, tree: PyTree, what: str) -> PyTree:
        """The tree on the devices of the mesh; an array that is there is not copied.

        Arrays that no sharding splits go to every group whole. Without a mesh of the
        user's the tree is left as it is.

        Args:
          tree: arrays, the same on every process where they are not split.
          what: what they are, for errors.

        Raises:
          InputError: an array lies on devices of other processes and there is no mesh,
            or is split over another mesh, or over the axis of the coalitions.
        """
        for name, leaf in named_leaves(tree).items():
            self._check(leaf, f"{what} {name!r}" if name else what)
        if not self.is_given:
            return tree
        return map_arrays(lambda leaf: self._place(leaf, self.spec_of(leaf)), tree)

    def check_same(self, tree: PyTree) -> None:
        """Check that all processes have the same arrays, those apart that are split.

        Raises:
          InputError: they differ.
          LostProcess: another process has ended.
        """
        if self.processes is None:
            return
        sums = np.array([_checksum(leaf) for leaf in jax.tree.leaves(tree)], np.int64)
        if not self.processes.agree(sums):
            raise InputError(
                "the processes have different parameters, examples or players: give "
                "every process of a mesh the same, from the same seeds and files"
            )

    def place_rows(self, tree: PyTree, what: str) -> PyTree:
        """`place` for examples: where rows of one array are split, those of all are.

        Raises:
          InputError: see `place`; or two arrays split their rows over different axes.
        """
        tree = self.place(tree, what)
        rows = self.row_axes(tree)
        if rows is None:
            return tree
        split_here = filter(self._splits_rows, jax.tree.leaves(tree))
        lengths = {np.shape(leaf)[0] for leaf in split_here}

        def split(leaf: Any) -> Any:
            if np.ndim(leaf) == 0 or np.shape(leaf)[0] not in lengths:
                return leaf  # without rows, such as weights of classes
            return self._place(leaf, PartitionSpec(rows, *self.spec_of(leaf)[1:]))

        return map_arrays(split, tree)

    def row_axes(self, tree: PyTree) -> Any:
        """The mesh axes that the rows of examples are split over; None for none."""
        split_here = filter(self._splits_rows, jax.tree.leaves(tree))
        found = {self.spec_of(leaf)[0] for leaf in split_here}
        if len(found) > 1:
            raise InputError(
                "inputs and labels split their examples over different axes of the "
                f"mesh, {sorted(map(str, found))}: split all of them alike"
            )
        return found.pop() if found else None

    def row_parts(self, tree: PyTree) -> int:
        """Into how many parts the rows of examples are split."""
        axes = self.row_axes(tree)
        if axes is None:
            return 1
        return num_parts(NamedSharding(self.mesh, PartitionSpec()), axes)

    def _splits_rows(self, leaf: Any) -> bool:
        spec = self.spec_of(leaf)
        return len(spec) > 0 and spec[0] is not None

    def _check(self, leaf: Any, what: str) -> None:
        if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
            return
        if not self.is_given:
            if not leaf.is_fully_addressable:
                raise InputError(
                    f"{what} lies on devices of other processes: pass mesh=, a "
                    f"jax.sharding.Mesh of all devices with an axis {COALITIONS!r}, on "
                    "every process"
                )
            return
        sharding = leaf.sharding
        if not _is_split(leaf):
            return
        if not isinstance(sharding, NamedSharding) or not _is_same(
            sharding.mesh, self.mesh
        ):
            raise InputError(
                f"{what} is split over another mesh than mesh=: place it on that one, "
                "jax.device_put(it, jax.sharding.NamedSharding(mesh, spec))"
            )
        names = jax.tree.leaves(tuple(sharding.spec))
        if self.axis in names and self.num_groups > 1:
            raise InputError(
                f"{what} is split over {self.axis!r}, the axis of the coalitions: give "
                "them another with coalition_axis=, or a mesh with one more axis"
            )

    def spec_of(self, leaf: Any) -> PartitionSpec:
        """How an array is split over the mesh; one of another mesh counts as whole."""
        sharding = getattr(leaf, "sharding", None)
        if not isinstance(sharding, NamedSharding) or not _is_split(leaf):
            return PartitionSpec()
        is_here = _is_same(sharding.mesh, self.mesh)
        return sharding.spec if is_here else PartitionSpec()

    def _place(self, leaf: Any, spec: PartitionSpec) -> jax.Array:
        if _is_key(leaf):  # no key becomes an array of NumPy: its numbers travel
            numbers = self._place(jax.random.key_data(leaf), spec)
            return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
        sharding = NamedSharding(self.mesh, spec)
        if not isinstance(leaf, jax.Array):
            return self.put(np.asarray(leaf), spec)
        if leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
            parts = [shard.data for shard in leaf.addressable_shards]
            make = jax.make_array_from_single_device_arrays
            return make(leaf.shape, sharding, parts)
        if self.processes is None:
            return jax.device_put(leaf, sharding)
        if leaf.sharding.device_set == sharding.device_set:
            return laid_out(leaf, sharding)
        return self.put(to_host(leaf), spec)

    def put(self, array: np.ndarray, spec: PartitionSpec) -> jax.Array:
        """An array that every process has, split so; each moves its own part alone."""
        sharding = NamedSharding(self.mesh, spec)
        if self.processes is None:
            return jax.device_put(array, sharding)
        array = array.astype(jnp.result_type(array))
        make = jax.make_array_from_callback
        return make(array.shape, sharding, lambda index: array[index])

    # -- coalitions --------------------------------------------------------------------

    def spread(
        self, masks: np.ndarray, own: Callable[[np.ndarray], list], used: int
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Coalitions, and what each has of its own, split over the groups.

        Args:
          masks: bool [S, N], S a multiple of `used`.
          own: masks [K, N] -> arrays [K, ...]; asked for this process's coalitions.
          used: how many groups.
        """
        split = NamedSharding(self.mesh_of(used), PartitionSpec(self.axis))
        if self.processes is None:
            return jax.device_put((masks, own(masks)), split)
        size, found = len(masks) // used, {}
        for index in split.addressable_devices_indices_map(masks.shape).values():
            start = _start_of(index)
            if start not in found:
                part = masks[start : start + size]
                found[start] = [part, *own(part)]
        (some, *_) = found.values()
        arrays: list[jax.Array] = [
            jax.make_array_from_callback(
                (len(masks), *one.shape[1:]),
                split,
                lambda index, k=k: found[_start_of(index)][k],
            )
            for k, one in enumerate(some)
        ]
        return arrays[0], arrays[1:]

    def whole(self, array: jax.Array) -> jax.Array:
        """Masks or gates in a program, which are whole on every device.

        Else the partitioner would split the gates of one layer as the units of another
        are split, and gather activations that a forward pass does not gather.
        """
        if self.mesh.size == self.num_groups:
            return array
        spec = PartitionSpec(*[None] * array.ndim)
        is_inside = bool(jax.sharding.get_abstract_mesh().axis_names)
        place = spec if is_inside else NamedSharding(self.mesh, spec)
        return jax.lax.with_sharding_constraint(array, place)

    # -- what groups do apart ----------------------------------------------------------

    @property
    def within(self) -> "Layout":
        """The layout of a program of one group alone, as in `by_group`."""
        return replace(self, is_given=False)

    def by_group(
        self, fn: Callable[..., Any], ins: PyTree = WHOLE, outs: PyTree = WHOLE
    ) -> Callable[..., Any]:
        """fn as a program of each group of devices; fn itself without a mesh.

        Args:
          fn: of arrays.
          ins: how its arguments are split over the groups, `WHOLE` or `self.split`.
          outs: the same for its results.
        """
        if not self.is_given:
            return fn
        return jax.shard_map(
            fn,
            mesh=self.mesh,
            in_specs=ins,
            out_specs=outs,
            axis_names={self.axis},
            check_vma=False,
        )

    @property
    def split(self) -> PartitionSpec:
        """Axis 0 over the groups."""
        return PartitionSpec(self.axis)

    def share(
        self, fn: Callable[[Any], jax.Array], count: Any, like: jax.Array
    ) -> jax.Array:
        """fn(k) for k below `count`, shared by the groups, in a program of `by_group`.

        Args:
          fn: a number -> an array.
          count: how many, at most len(like); may be traced.
          like: zeros of the shape and type of the result.

        Returns:
          On every group `like` with fn(k) in row k: the same bits for any number of
          groups.
        """
        groups = self.num_groups if self.is_given else 1
        group = jax.lax.axis_index(self.axis) if self.is_given else 0

        def body(step: Any, found: jax.Array) -> jax.Array:
            number = step * groups + group
            own = fn(jnp.minimum(number, count - 1))
            own = jnp.where(number < count, own, jnp.zeros_like(own))
            return found.at[number].set(own, mode="drop")

        found = jax.lax.fori_loop(0, -(-count // groups), body, like)
        return jax.lax.psum(found, self.axis) if self.is_given else found

    def launch(
        self, program: Callable[..., Any], *arguments: Any, is_shared: bool = False
    ) -> Any:
        """Start a program; wait for it where it may not overlap with the next one.

        On CPUs the threads of two programs that talk may wait for each other for ever.

        Args:
          program: of arrays.
          *arguments: its arguments.
          is_shared: True if groups of devices exchange something in it.

        Raises:
          LostProcess: another process has ended.
        """
        with self.together():
            out = program(*arguments)
            talks = self.mesh.size > self.num_groups or (is_shared and self.is_given)
            waits = talks and self.platform == "cpu"
            return jax.block_until_ready(out) if waits else out

    def together(self) -> AbstractContextManager[None]:
        """Around what several processes run: see `processes.together`."""
        return nullcontext() if self.processes is None else together()

    def fetch(self, outs: Sequence[jax.Array], axis: int) -> np.ndarray:
        """Arrays that are split over the groups along an axis, joined along it.

        One exchange, whatever their number.

        Raises:
          LostProcess: another process has ended.
        """
        if self.processes is None:
            return np.concatenate([np.asarray(out) for out in outs], axis)
        most = 1 << (len(outs) - 1).bit_length()  # so that few programs are compiled
        padded = [*outs, *[outs[-1]] * (most - len(outs))]
        with together():
            whole = np.asarray(_joining(self.mesh, axis)(padded))
        sizes = sum(out.shape[axis] for out in outs)
        return np.moveaxis(np.moveaxis(whole, axis, 0)[:sizes], 0, axis)


@lru_cache(maxsize=64)
def _joining(mesh: Mesh, axis: int) -> Callable[[list], jax.Array]:
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.jit(lambda parts: jnp.concatenate(parts, axis), out_shardings=whole)


def on_devices(devices: Sequence[Any] | None) -> Layout:
    """One group for each device, all of this process.

    Args:
      devices: which; all of this process if None.

    Raises:
      InputError: there is none, or one belongs to another process.
    """
    chosen = list(jax.local_devices() if devices is None else devices)
    if not chosen:
        raise InputError("expected at least one device, got none")
    here = jax.process_index()
    far = [device for device in chosen if device.process_index != here]
    if far:
        raise InputError(
            f"{len(far)} of {len(chosen)} devices belong to other processes: pass "
            f"mesh=, a jax.sharding.Mesh of them with an axis {COALITIONS!r}, on every "
            "process; or leave devices out"
        )
    return Layout(Mesh(np.asarray(chosen), (COALITIONS,)), COALITIONS, False)


def over_mesh(mesh: Mesh, axis: str) -> Layout:
    """Coalitions over one axis of a mesh.

    Args:
      mesh: the devices, of one process or of several.
      axis: of the mesh.

    Raises:
      InputError: it is not a mesh, has no such axis, or no device of this process.
    """
    if not isinstance(mesh, Mesh):
        raise InputError(
            f"expected mesh= as a jax.sharding.Mesh, got {type(mesh).__name__}: "
            f"jax.make_mesh((len(jax.devices()),), ({COALITIONS!r},)) makes one"
        )
    if axis not in mesh.shape:
        raise InputError(
            f"the mesh has the axes {', '.join(map(repr, mesh.axis_names))}, and none "
            f"is {axis!r}: name the one for coalitions with coalition_axis="
        )
    here = jax.process_index()
    if all(device.process_index != here for device in mesh.devices.flat):
        raise InputError(
            f"the mesh has no device of process {here}: make it of jax.devices(), the "
            "devices of all processes"
        )
    return Layout(Mesh(mesh.devices, mesh.axis_names), axis, True)


def make_layout(
    devices: Sequence[Any] | None, mesh: Mesh | None, axis: str = COALITIONS
) -> Layout:
    """`over_mesh` where there is a mesh, else `on_devices`.

    Raises:
      InputError: both are given; see also there.
    """
    if mesh is None:
        return on_devices(devices)
    if devices is not None:
        raise InputError("expected devices= or mesh=, got both: leave devices out")
    return over_mesh(mesh, axis)


def near_tree(tree: PyTree) -> PyTree | None:
    """The tree on this process's devices, not copied; None if a leaf is split.

    What lies on several devices whole is taken from the first of this process.
    """
    return None if are_split(tree) else map_arrays(_near, tree)


def are_split(tree: PyTree) -> bool:
    """Return True if no device has the whole of some array."""
    return any(map(_is_split, jax.tree.leaves(tree)))


def _is_same(one: Any, other: Mesh) -> bool:
    """The same devices in the same places under the same names."""
    return one.axis_names == other.axis_names and np.array_equal(
        one.devices, other.devices
    )


def _is_split(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not leaf.sharding.is_fully_replicated


def _start_of(index: Any) -> int:
    """Where a part of axis 0 begins."""
    return index[0].start or 0


def _checksum(leaf: Any) -> int:
    """A number that tells arrays apart; of an array that is split its shape alone."""
    kind = getattr(leaf, "dtype", type(leaf))
    facts = f"{np.shape(leaf)} {kind} {_told(leaf)}".encode()
    is_here = hasattr(leaf, "dtype") and not _is_split(leaf)
    numbers = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    content = np.ascontiguousarray(numbers).tobytes() if is_here else b""
    return zlib.crc32(content, zlib.crc32(facts))


def _told(leaf: Any) -> str:
    """A number or a name, which is no array, in words; "" for anything else."""
    is_plain = isinstance(leaf, bool | int | float | complex | str | bytes)
    return repr(leaf) if is_plain else ""


def _is_key(leaf: Any) -> bool:
    kind = getattr(leaf, "dtype", None)
    return kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key)


def _near(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1:
        return leaf
    return leaf.addressable_data(0)
