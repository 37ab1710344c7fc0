"""The time of a network as a function of who stays, from measured tables.

Each matrix product and convolution is timed alone at some lengths of the axes that
players shrink; between these its time lies on straight lines. What is left of the whole
network's time, such as activations, is taken to stay.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from gamepruning.compaction.measure import Call, measure_latency
from gamepruning.files import npz
from gamepruning.players import Players, Size
from gamepruning.players.sizes import heavy_nodes
from gamepruning.trace.labelled import Trace
from gamepruning.trace.primitives import MATRIX_PRODUCTS
from gamepruning.trace.program import Node, bind
from gamepruning.trees.examples import as_inputs
from gamepruning.types import InputError

SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)  # of an axis that are timed
FEW = (1 / 4, 1 / 2, 1.0)  # where three axes or more shrink
REPEATS = 7  # calls of each, of which the median counts


class Timed(NamedTuple):
    """Nanoseconds of a product by the lengths of its axes.

    Attributes:
      axes: for each axis the players of its entries, as in `Columns`.
      lengths: for each axis the lengths that were timed, rising.
      table: [len(lengths[0]), len(lengths[1]), ...].
    """

    axes: list[np.ndarray]
    lengths: list[np.ndarray]
    table: np.ndarray


class LatencySize(Size):
    """Nanoseconds of one call as a function of who stays; a `Size`.

    Attributes:
      unit: "nanoseconds".
      num_players: N.
      rest: nanoseconds that no player changes.
    """

    def __init__(self, num_players: int, timed: Sequence[Timed], rest: float):
        super().__init__("nanoseconds", num_players, ())
        self.rest = rest
        self._timed = list(timed)

    def __call__(self, gates: ArrayLike) -> Float[Array, ""]:
        """The time when player i stays with share s_i, on straight lines between."""
        gates = jnp.asarray(gates, jnp.float32)
        here = jnp.concatenate([jnp.ones(1), gates])
        total = jnp.asarray(self.rest, jnp.float32)
        for axes, lengths, table in self._timed:
            found = jnp.asarray(table, jnp.float32)
            for columns, known in zip(axes, lengths, strict=True):
                length = here[columns].prod(axis=1).sum()
                found = _between(found, known, length)
            total += found
        return total

    def count(self, mask: ArrayLike) -> int:
        """Nanoseconds of the network of those who stay.

        Args:
          mask: who stays, bool [N].
        """
        return round(float(self(np.asarray(mask, bool))))

    def save(self, path: str | Path) -> None:
        """Write the tables: another measurement would find somewhat other times.

        Args:
          path: the file, ending in `.npz`.

        Raises:
          InputError: the disk does not let it be written.
        """
        arrays: dict[str, np.ndarray] = {}
        for number, timed in enumerate(self._timed):
            arrays[f"{number}/table"] = timed.table
            for axis, (columns, known) in enumerate(
                zip(timed.axes, timed.lengths, strict=True)
            ):
                arrays[f"{number}/axes/{axis}"] = columns
                arrays[f"{number}/lengths/{axis}"] = known
        facts = {"num_players": self.num_players, "rest": self.rest}
        npz.save(Path(path), facts | {"tables": len(self._timed)}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Args:
          path: the file.

        Raises:
          InputError: the file is missing or damaged, or holds no tables.
        """
        facts, arrays = npz.load(Path(path))
        timed = []
        try:
            for number in range(facts["tables"]):
                table = arrays[f"{number}/table"]
                axes, lengths = (
                    [arrays[f"{number}/{what}/{axis}"] for axis in range(table.ndim)]
                    for what in ("axes", "lengths")
                )
                timed.append(Timed(axes, lengths, table))
            return cls(facts["num_players"], timed, facts["rest"])
        except KeyError as error:
            raise InputError(f"{path}: no tables of latencies: {error}") from error

    def __repr__(self) -> str:
        return f"LatencySize(nanoseconds of {self.num_players} players)"


def latency_of(
    players: Players, inputs: Any = None, *, repeats: int = REPEATS
) -> LatencySize:
    """How the time of a network on this machine follows from who stays.

    What a player costs depends on the shapes around it: a product of 100 columns may
    take as long as one of 96. A market that pays for time buys where it is saved: pass
    the result as `unit` of `gp.reconstruction.trade` or `gp.Budget`.

    Args:
      players: the `Players` of the network, units or layers.
      inputs: the inputs of a call, or their shapes: the batch that is to be fast; those
        that `find_players` saw if None.
      repeats: calls of each product; the median counts.

    Returns:
      A `LatencySize`, in nanoseconds of a call. Each product's table rises along every
      axis: where a longer axis was measured to be faster, the longer time stands. If
      the products alone take longer than the network, whose pieces are fused, all
      tables are scaled down to it.

    Raises:
      InputError: single weights, branches or layers of a stack play; or the inputs do
        not fit.

    Cost: one compilation and `repeats` calls for each kind of product and each of up to
    5 lengths of an axis (3 where three axes shrink); of the whole network once. Run it
    on a quiet machine.

    Example:
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 8)), "out": jnp.ones((8, 2))}
      >>> players = gp.find_players(apply, params, jnp.ones((4, 3)))
      >>> size = latency_of(players, repeats=1)
      >>> size
      LatencySize(nanoseconds of 8 players)
      >>> half = jnp.arange(8) < 4
      >>> bool(0 < size(half) <= size(jnp.ones(8)))
      True
    """
    model = players.model
    if players.granularity not in ("unit", "layer") or model.layers is not None:
        raise InputError(
            "expected players that are units of layers written out, for a latency by "
            f"tables; got granularity {players.granularity!r}"
            + (" in a stack of layers" if model.layers is not None else "")
        )
    example = model.example
    params, *known = example.rebuild(example.arrays)
    given = known if inputs is None else as_inputs(inputs)
    call = model.call(params, *given)
    trace = model.trace(call)
    products = heavy_nodes(trace.analysis, trace.program.graph, trace.columns, 1)
    tables: dict[Any, np.ndarray] = {}
    timed = []
    for node, times in products:
        plan = _plan(trace, node)
        if plan is None:
            continue
        if plan.key not in tables:
            tables[plan.key] = _measured(plan, repeats)
        timed.append(Timed(plan.axes, plan.lengths, times * tables[plan.key]))
    whole = measure_latency(players.apply, params, *given, repeats=repeats).median * 1e9
    products_alone = sum(float(one.table.flat[-1]) for one in timed)
    scale = min(1.0, whole / products_alone) if products_alone > 0 else 1.0
    timed = [one._replace(table=scale * one.table) for one in timed]
    rest = max(0.0, whole - scale * products_alone)
    return LatencySize(players.num_players, timed, rest)


class _Plan(NamedTuple):
    """How a product gets smaller.

    Attributes:
      node: the product.
      shapes: of its operands.
      dtypes: of its operands.
      places: for each operand and dimension the number of its axis, or None.
      axes: see `Timed`.
      lengths: see `Timed`.
    """

    node: Node
    shapes: list[tuple[int, ...]]
    dtypes: list[Any]
    places: list[list[int | None]]
    axes: list[np.ndarray]
    lengths: list[np.ndarray]

    @property
    def key(self) -> tuple:
        """What its times depend on."""
        params = tuple(sorted((k, str(v)) for k, v in self.node.params.items()))
        places = tuple(map(tuple, self.places))
        lengths = tuple(map(tuple, self.lengths))
        dtypes = tuple(map(str, self.dtypes))
        return self.node.name, params, tuple(self.shapes), dtypes, places, lengths


def _plan(trace: Trace, node: Node) -> _Plan | None:
    """None where nobody shrinks it, or it cannot be run alone at other sizes."""
    groups = ("feature_group_count", "batch_group_count")
    is_grouped = any(node.params.get(name, 1) > 1 for name in groups)
    if is_grouped or node.name not in (*MATRIX_PRODUCTS, "conv_general_dilated"):
        return None
    analysis, axes, places = trace.analysis, [], []
    numbers: dict[tuple, int] = {}
    for operand in node.ins:
        own: list[int | None] = []
        for label in analysis.label(operand):
            columns = trace.columns(label)
            if columns is None:
                own.append(None)
                continue
            key = columns.shape, columns.tobytes()
            if key not in numbers:
                numbers[key] = len(axes)
                axes.append(columns)
            own.append(numbers[key])
        places.append(own)
    if not axes:
        return None
    avals = [trace.program.aval(operand) for operand in node.ins]
    shares = SHARES if len(axes) <= 2 else FEW
    lengths = [
        np.unique([max(1, round(share * len(columns))) for share in shares])
        for columns in axes
    ]
    shapes = [tuple(aval.shape) for aval in avals]
    return _Plan(node, shapes, [aval.dtype for aval in avals], places, axes, lengths)


def _measured(plan: _Plan, repeats: int) -> np.ndarray:
    """Nanoseconds at all combinations of lengths, made to rise along every axis."""

    def run(*operands: Any) -> Any:
        return bind(plan.node.primitive, plan.node.params, operands)

    def operands_at(lengths: tuple[int, ...]) -> tuple:
        made = []
        rows = zip(plan.shapes, plan.dtypes, plan.places, strict=True)
        for shape, dtype, places in rows:
            own = [
                size if place is None else lengths[place]
                for size, place in zip(shape, places, strict=True)
            ]
            made.append(jnp.ones(own, dtype))
        return tuple(made)

    combinations = itertools.product(*(known.tolist() for known in plan.lengths))
    calls: dict[str, Call] = {
        str(number): (run, operands_at(lengths))
        for number, lengths in enumerate(combinations)
    }
    found = measure_latency(calls, repeats=repeats)
    table = np.array([1e9 * one.median for one in found.values()])
    table = table.reshape([len(known) for known in plan.lengths])
    for axis in range(table.ndim):
        table = np.maximum.accumulate(table, axis=axis)
    return table


def _between(table: Array, known: np.ndarray, length: Array) -> Array:
    """The table at a length of its first axis, on a line between those known."""
    if len(known) == 1:
        return table[0]
    place = jnp.interp(length, jnp.asarray(known, jnp.float32), jnp.arange(len(known)))
    low = jnp.clip(jnp.floor(place).astype(int), 0, len(known) - 2)
    share = place - low
    return (1 - share) * table[low] + share * table[low + 1]
