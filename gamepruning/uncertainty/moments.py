"""First and second moments of a network's output over random coalitions of each size.

All that MCUE does to a network is to draw a coalition whose size is random and whose
members, given the size, are equally likely. So the moments at each size serve every
p and q, and none of the network's passes belongs to one point of the grid alone.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PyTree

from gamepruning.players import Players
from gamepruning.trees.layout import Layout, make_layout
from gamepruning.types import InputError
from gamepruning.uncertainty.config import McueConfig
from gamepruning.uncertainty.outputs import Reading, has_nan

MOST_GROUPS = 10  # of samples, for standard errors
# Entries of what coalitions share, times the coalitions side by side: a cache's worth.
CHUNK_ENTRIES = {"cpu": 2**20, "other": 2**26}


class SizeMoments(NamedTuple):
    """Moments of t, less a constant that no variance notices, at L sizes.

    Cells are the entries whose variances are added up: (input, entry) within an input,
    entries alone for the total variance.

    Attributes:
      sizes: of the coalitions, increasing from 0 to the number of players.
      counts: samples of each group, at each size.
      square: mean of t^2, added up, of each size and group.
      own: mean over samples of the square of a sample's cells, the same shape.
      gram: products of the mean cells of two sizes and groups.
    """

    sizes: Int[np.ndarray, " L"]
    counts: Int[np.ndarray, " G"]
    square: Float[np.ndarray, "L G"]
    own: Float[np.ndarray, "L G"]
    gram: Float[np.ndarray, "L G L G"]


class ObservedModel(NamedTuple):
    """A network and the inputs on which it is observed.

    Attributes:
      players: the `Players`.
      params: its parameters.
      inputs: its inputs, a tuple.
    """

    players: Players
    params: PyTree
    inputs: tuple


class Groups(NamedTuple):
    """How the samples of a size are split for standard errors, and in chunks.

    Attributes:
      num_samples: samples of a size.
      num_groups: groups; sample j belongs to group j modulo their number.
      num_steps: chunks that the samples are drawn in.
    """

    num_samples: int
    num_groups: int
    num_steps: int

    @property
    def counts(self) -> Int[np.ndarray, " G"]:
        """The samples of each group."""
        return np.bincount(np.arange(self.num_samples) % self.num_groups)


class _Added(NamedTuple):
    """What samples add up to: of one, or with a leading axis of groups."""

    cells: Array  # [D]
    square: Array  # []
    own: Array  # []


# draw(key, size, shared, centres) -> what a coalition adds to each definition, and
# True if the network returned NaN.
Draw: TypeAlias = Callable[[Array, Array, Any, Any], tuple[list[_Added], Array]]


def choose_sizes(num_players: int, num_sizes: int) -> Int[np.ndarray, " L"]:
    """Sizes of coalitions, evenly spaced along the diagonal p = q of MCUE.

    There the share that stays is (1 - p)^2, so the sizes are the squares of evenly
    spaced numbers. All sizes, where there are no more than `num_sizes`.

    Example:
      >>> choose_sizes(5, 64).tolist()
      [0, 1, 2, 3, 4, 5]
      >>> choose_sizes(100, 6).tolist()
      [0, 4, 16, 36, 64, 100]
    """
    if num_players < num_sizes:
        return np.arange(num_players + 1)
    shares = np.linspace(0.0, 1.0, num_sizes) ** 2
    return np.unique(np.floor(num_players * shares + 0.5).astype(int))


def measure_sizes(
    key: Array,
    network: ObservedModel,
    readings: Sequence[Reading],
    sizes: Int[np.ndarray, " L"],
    varying: Bool[np.ndarray, " N"],
    config: McueConfig,
) -> list[SizeMoments]:
    """Draw coalitions of each size and take the moments of each definition.

    Args:
      key: random key.
      network: what is measured.
      readings: definitions of the output, all read from the same passes.
      sizes: of the coalitions, as `choose_sizes` makes them.
      varying: who plays, bool [N]; the others are always in.
      config: how many samples, how many at once, over which mesh, and whom to tell.

    Returns:
      The moments of each definition.

    Raises:
      InputError: the network returned NaN, or lies elsewhere than on the mesh.
      LostProcess: another process of the mesh has ended.

    Cost: L * `num_samples` evaluations.
    """
    players = network.players
    layout = make_layout(None, config.mesh, config.coalition_axis)
    params = layout.place(network.params, "parameter")
    inputs = layout.place_rows(network.inputs, "input")
    everyone = jnp.ones(players.num_players, bool)
    hoisted = players.hoist(params, *inputs, varying=varying)
    shared = hoisted.prefix(params, np.ones(players.num_players, bool), *inputs)

    def read(shared, gates):
        outputs = hoisted.suffix(shared, gates)
        return [reading.read(outputs) for reading in readings], has_nan(outputs)

    full, bad = jax.jit(read)(shared, everyone)
    _refuse_nan(bad, int(varying.sum()))
    centres = [
        t.mean(0, keepdims=True) if reading.total else t
        for reading, t in zip(readings, full, strict=True)
    ]
    draw = _make_draw(read, readings, np.flatnonzero(varying), everyone)
    groups = _make_groups(config, shared)
    add_up = _spread(partial(_add_up, draw, groups), key, layout)
    found, total = [], len(sizes) * config.num_samples
    step = layout.num_groups if layout.is_given else 1
    for start in range(0, len(sizes), step):
        levels = np.arange(start, start + step) % len(sizes)
        sums, bad = add_up(levels, sizes[levels], shared, centres)
        for place, level in enumerate(levels[: len(sizes) - start]):
            _refuse_nan(bad[place], int(sizes[level]))
            found.append(jax.tree.map(lambda x, place=place: x[place], sums))
        if config.progress is not None:
            config.progress(len(found) * config.num_samples, total)
    return [_moments(sizes, groups.counts, sums) for sums in zip(*found, strict=True)]


def _spread(
    add_up: Callable[..., Any], key: Array, layout: Layout
) -> Callable[..., Any]:
    """(levels [K], their sizes [K], shared, centres) -> sums [K, ...] on every process.

    Each group of devices has one level, with random numbers of its own.
    """

    numbers, kind = np.asarray(jax.random.key_data(key)), jax.random.key_impl(key)

    def one(levels, sizes, shared, centres):
        own = jax.random.fold_in(
            jax.random.wrap_key_data(jnp.asarray(numbers), impl=kind), levels[0]
        )
        sums = add_up(own, sizes[0], shared, centres)
        return jax.tree.map(lambda x: x[None], sums)

    if not layout.is_given:
        return jax.jit(one)
    split, whole = PartitionSpec(layout.axis), PartitionSpec()
    mapped = jax.shard_map(
        one,
        mesh=layout.mesh,
        in_specs=(split, split, whole, whole),
        out_specs=split,
        axis_names={layout.axis},
        check_vma=False,
    )
    run = jax.jit(mapped, out_shardings=NamedSharding(layout.mesh, whole))

    def on_mesh(levels, sizes, shared, centres):
        own = [layout.put(x, split) for x in (levels, sizes)]
        with layout.together():
            return jax.device_get(run(*own, shared, centres))

    return on_mesh


def _make_draw(
    read: Callable[[Any, Array], tuple[list[Array], Array]],
    readings: Sequence[Reading],
    free: Int[np.ndarray, " M"],
    everyone: Bool[Array, " N"],
) -> Draw:
    def draw(key, size, shared, centres):
        members = jax.random.permutation(key, len(free)) < size
        values, bad = read(shared, everyone.at[free].set(members))
        sums = [
            _sums_of(t - centre, reading.total)
            for reading, t, centre in zip(readings, values, centres, strict=True)
        ]
        return sums, bad

    return draw


def _make_groups(config: McueConfig, shared: Any) -> Groups:
    num_samples = config.num_samples
    num_steps = -(-num_samples // (config.chunk_size or _chunk_of(shared)))
    return Groups(num_samples, min(MOST_GROUPS, num_samples // 2), num_steps)


def _add_up(
    draw: Draw, groups: Groups, key: Array, size: Array, shared: Any, centres: Any
) -> tuple[list[_Added], Array]:
    """Sums of each group over samples of one size, a chunk at a time."""
    num_samples, num_groups, num_steps = groups
    numbers = jnp.arange(num_steps * -(-num_samples // num_steps))

    def one(number):
        return draw(jax.random.fold_in(key, number), size, shared, centres)

    def step(carry, numbers):
        sums, bad = jax.vmap(one)(numbers)
        member = jax.nn.one_hot(numbers % num_groups, num_groups)
        member = jnp.where(numbers[:, None] < num_samples, member, 0.0)
        by_group = partial(jnp.einsum, "cg,c...->g...", member, precision="highest")
        added = jax.tree.map(lambda total, part: total + by_group(part), carry[0], sums)
        return (added, carry[1] | bad.any()), None

    shapes = jax.eval_shape(one, numbers[0])[0]
    start = jax.tree.map(lambda x: jnp.zeros((num_groups, *x.shape), x.dtype), shapes)
    chunks = numbers.reshape(num_steps, -1)
    return jax.lax.scan(step, (start, jnp.zeros((), bool)), chunks)[0]


def _sums_of(values: Float[Array, "B K"], total: bool) -> _Added:
    """What one coalition adds, so that averages over inputs come out."""
    chex.assert_rank(values, 2)
    num_inputs = values.shape[0]
    square = jnp.square(values).sum() / num_inputs
    if not total:
        return _Added(values.ravel() / np.sqrt(num_inputs), square, square)
    cells = values.mean(0)
    return _Added(cells, square, jnp.square(cells).sum())


def _moments(
    sizes: Int[np.ndarray, " L"],
    counts: Int[np.ndarray, " G"],
    sums: Sequence[_Added],
) -> SizeMoments:
    cells = jnp.stack([part.cells for part in sums]) / counts[None, :, None]
    gram = jnp.einsum("kgd,lhd->kglh", cells, cells, precision="highest")
    square, own = (
        np.stack([np.asarray(x, np.float64) for x in parts]) / counts
        for parts in ([part.square for part in sums], [part.own for part in sums])
    )
    return SizeMoments(sizes, counts, square, own, np.asarray(gram, np.float64))


def _chunk_of(shared: Any) -> int:
    entries = sum(np.size(x) for x in jax.tree.leaves(shared))
    most = CHUNK_ENTRIES["cpu" if jax.default_backend() == "cpu" else "other"]
    return max(1, most // max(entries, 1))


def _refuse_nan(bad: Any, size: int) -> None:
    if bad:
        raise InputError(
            f"the network returned NaN for a coalition of {size} players: look at its "
            "parameters and inputs"
        )
