"""What a network costs as a function of who stays: parameters, bytes, multiply-adds.

All are sums of products of axis lengths, and the trace knows of every axis which
players its entries belong to. So the size under any mask follows without another trace,
and its derivative by a gate is what a player adds to the size while the others stay.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from gamepruning.players.branch_players import BranchPlayers
from gamepruning.players.players import Players
from gamepruning.trace.atoms import Label
from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.primitives import BRANCHES, CUSTOM_CALLS
from gamepruning.trace.program import Graph, Node
from gamepruning.trace.rules import RULES
from gamepruning.trace.stacks import LayerNumbers
from gamepruning.trace.units import Columns
from gamepruning.types import InputError

# factor x the product of the lengths of axes, each given by its columns
Product = tuple[float, list[np.ndarray]]


class _Term(NamedTuple):
    """factor x the product of the lengths of the axes."""

    factor: float
    axes: tuple[int, ...]  # numbers of `Size._axes`


class Size:
    """A size of the network as a function of who stays, in JAX.

    With gates between 0 and 1 the length of an axis is the sum of its entries' gates,
    so that the function is smooth. The sizes are exact, to float32, for a mask.

    Attributes:
      unit: "players", "params", "bytes" or "macs".
      num_players: N.
    """

    def __init__(self, unit: str, num_players: int, terms: Sequence[Product]):
        self.unit, self.num_players = unit, num_players
        numbers: dict[tuple, int] = {}
        self._axes: list[np.ndarray] = []
        merged: dict[tuple[int, ...], float] = {}
        for factor, axes in terms:
            for columns in axes:
                if _key(columns) not in numbers:
                    numbers[_key(columns)] = len(self._axes)
                    self._axes.append(columns)
            key = tuple(sorted(numbers[_key(columns)] for columns in axes))
            merged[key] = merged.get(key, 0.0) + factor
        self._terms = [_Term(factor, axes) for axes, factor in merged.items()]

    def __call__(self, gates: ArrayLike) -> Float[Array, ""]:
        """The size when player i stays with share s_i; a mask gives the size itself.

        Args:
          gates: float or bool [N].

        Returns:
          A float scalar, in `unit`.
        """
        gates = jnp.asarray(gates, jnp.float32)
        here = jnp.concatenate([jnp.ones(1), gates])
        lengths = [here[columns].prod(axis=1).sum() for columns in self._axes]
        total = jnp.zeros(())
        for factor, axes in self._terms:
            total += factor * prod((lengths[axis] for axis in axes), start=1.0)
        return total

    def count(self, mask: ArrayLike) -> int:
        """The size of the network of those who stay, exactly; on the host.

        Args:
          mask: who stays, bool [N].
        """
        here = np.concatenate([[True], np.asarray(mask, bool)])
        lengths = [int(here[columns].all(axis=1).sum()) for columns in self._axes]
        return round(
            sum(
                factor * prod(lengths[axis] for axis in axes)
                for factor, axes in self._terms
            )
        )

    def __repr__(self) -> str:
        return f"Size({self.unit} of {self.num_players} players)"

    def marginal(self, gates: ArrayLike) -> Float[Array, " N"]:
        """What each player adds to the size while the others stay as they are.

        Args:
          gates: float or bool [N].

        Returns:
          float [N]. An approximation where a player owns two axes of one array, as in
          residual networks: the derivative counts the corner twice.
        """
        return jax.grad(self.__call__)(jnp.asarray(gates, jnp.float32))


def _key(columns: np.ndarray) -> tuple:
    """What identifies an axis: its length is that of any axis with the same players."""
    return columns.shape, columns.tobytes()


def size_of(players: Players, unit: str | Size = "params") -> Size:
    """How the size of a network follows from who stays.

    Args:
      players: the `Players` of the network.
      unit: "players", "params" (entries of all parameter arrays), "bytes" (that they
        take) or "macs" (multiply-adds of one call with the inputs that `find_players`
        saw, counted as `count_macs` does). Or a `Size` of these players, such as what
        `gp.compaction.latency_of` measured, which is returned.

    Returns:
      A `Size`. Of residual branches it counts what is shared by several of them as
      there, whoever stays.

    Raises:
      InputError: another unit; or single weights play: one alone frees no entry.

    Example: four hidden units of three inputs and two outputs.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"] + params["b"], 0) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "b": jnp.ones(4), "out": jnp.ones((4, 2))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 3)))
      >>> size = gp.players.size_of(players, "params")
      >>> size
      Size(params of 4 players)
      >>> mask = jnp.array([True, True, False, False])
      >>> float(size(mask)), size.marginal(mask).tolist()
      (12.0, [6.0, 6.0, 6.0, 6.0])
    """
    if isinstance(unit, Size):
        if unit.num_players != players.num_players:
            raise InputError(
                f"expected a size of {players.num_players} players, got {unit}"
            )
        return unit
    if unit == "players":
        return _count_players(players)
    if players.granularity == "weight":
        raise InputError(
            f"no size in {unit}: single weights play, and an array gets smaller only "
            'with a whole unit; count in "players"'
        )
    trace, columns = players.model.base, players.model.base.columns
    if isinstance(players, BranchPlayers) and unit in ("params", "bytes", "macs"):
        is_macs = unit == "macs"
        found = _branch_macs(players) if is_macs else _branch_params(players, unit)
        return Size(unit, players.num_players, list(found))
    if unit in ("params", "bytes"):
        example = players.model.example
        is_bytes = unit == "bytes"
        terms = [
            _term(
                float(leaf.dtype.itemsize) if is_bytes else 1.0,
                zip(labels, leaf.shape, strict=True),
                columns,
            )
            for labels, leaf in zip(
                trace.param_labels,
                example.arrays[: example.num_params],
                strict=True,
            )
        ]
    elif unit == "macs":
        terms = list(_contractions(trace.analysis, trace.program.graph, columns, 1))
    else:
        raise InputError(
            "expected unit 'players', 'params', 'bytes', 'macs', or what "
            f"gp.compaction.latency_of(players, inputs) measures, got {unit!r:.60}"
        )
    if players.model.layers is not None:
        terms = [t for term in terms for t in _by_layer(players.model.layers, term)]
    return Size(unit, players.num_players, terms)


def _by_layer(numbers: LayerNumbers, term: Product) -> Iterator[Product]:
    """A term of the units of a body, as one of the players of each layer."""
    factor, axes = term
    units = np.concatenate([np.ravel(columns) for columns in axes] or [[]]).astype(int)
    length = int(numbers.length[units[units > 0] - 1].max(initial=1))
    for turn in range(length):
        players = np.concatenate([[0], 1 + numbers.at(turn)])
        yield factor / length, [players[columns] for columns in axes]


def _branch_params(players: BranchPlayers, unit: str) -> Iterator[Product]:
    """A term for each parameter, or layer of one, that a branch takes along."""
    example = players.model.example
    owners: dict[int, list[int]] = {}
    ways = {own.leaf: own.layers for share in players.shares for own in share.owned}
    for number, share in enumerate(players.shares):
        for own in share.owned:
            owners.setdefault(own.leaf, []).append(number)
    for leaf, array in enumerate(example.arrays[: example.num_params]):
        size = float(prod(array.shape))
        size *= array.dtype.itemsize if unit == "bytes" else 1
        way = ways.get(leaf)
        turns = 1 if way is None else len(way.turns)
        units = owners.get(leaf, []) if array.shape else []
        for turn in range(turns):
            yield size / turns, _all_of(players, units, turn)


def _branch_macs(players: BranchPlayers) -> Iterator[Product]:
    """A term for each node, in each layer, that a branch takes along."""
    trace = players.model.base
    owners: dict[Node, list[int]] = {}
    for number, share in enumerate(players.shares):
        for node in share.nodes:
            owners.setdefault(node, []).append(number)

    def cost(node: Node) -> float:
        alone = Graph((), (), [node])
        terms = _contractions(trace.analysis, alone, trace.columns, 1)
        return _full_size(list(terms))

    for node in trace.program.graph.nodes:
        if node not in players.loops:
            yield cost(node), _all_of(players, owners.get(node, ()), 0)
            continue
        (body,), turns = node.subs, node.params["length"]
        for inner in body.nodes:
            each = cost(inner)
            for turn in range(turns if each else 0):
                yield each, _all_of(players, owners.get(inner, ()), turn)


def _all_of(
    players: BranchPlayers, units: Sequence[int], turn: int
) -> list[np.ndarray]:
    """An axis of one entry, which stays while all these branches do."""
    here = 1 + players.numbers.at(turn)
    return [here[list(units)][None]] if units else []


def _count_players(players: Players) -> Size:
    numbers = 1 + np.arange(players.num_players)[:, None]
    return Size("players", players.num_players, [(1.0, [numbers])])


def _term(
    factor: float, axes: Iterable[tuple[Label, int]], columns: Columns
) -> Product:
    """Axes nobody can shrink become part of the factor."""
    playing = []
    for label, size in axes:
        own = columns(label)
        if own is None:
            factor *= size
        else:
            playing.append(own)
    return float(factor), playing


def heavy_nodes(
    analysis: LabelAnalysis, graph: Graph, columns: Columns, times: int
) -> Iterator[tuple[Node, int]]:
    """The products of a graph and its bodies, and how often each runs.

    Of the branches of a cond those of the dearest one.
    """

    def full_size(body: Graph) -> float:
        return _full_size(list(_contractions(analysis, body, columns, 1)))

    for node in graph.nodes:
        if RULES[node.name].macs is not None:
            yield node, times
            continue
        bodies = node.subs[:1] if node.name in CUSTOM_CALLS else node.subs
        inner = times * node.params.get("length", 1) if bodies else times
        if node.name in BRANCHES:
            bodies = [max(bodies, key=full_size)] if bodies else []
        for body in bodies:
            yield from heavy_nodes(analysis, body, columns, inner)


def _contractions(
    analysis: LabelAnalysis, graph: Graph, columns: Columns, times: int
) -> Iterator[Product]:
    """A term for each product of the graph, `times` over."""
    for node, runs in heavy_nodes(analysis, graph, columns, times):
        rule = RULES[node.name].macs
        assert rule is not None
        factor, axes = rule(analysis, node)
        yield _term(runs * factor, axes, columns)


def _full_size(terms: Sequence[Product]) -> float:
    """The size with everybody in."""
    return sum(
        factor * prod(len(columns) for columns in axes) for factor, axes in terms
    )
