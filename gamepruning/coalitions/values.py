"""The value function of a network: what it is worth with some players alone."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack, overload

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from jaxtyping import Bool, Int, PyTree

from gamepruning.coalitions.evaluation.chunks import Chunks
from gamepruning.coalitions.evaluation.evaluate import Evaluator
from gamepruning.coalitions.evaluation.model import ScoredModel, near, place
from gamepruning.coalitions.evaluation.refit import Refit
from gamepruning.coalitions.evaluation.related import IncrementalConfig, LazyIncremental
from gamepruning.coalitions.measures import is_mean
from gamepruning.coalitions.network_game import ValueFunction
from gamepruning.coalitions.repaired import RepairedValueFunction
from gamepruning.coalitions.restrict import free_players, select_players
from gamepruning.options import make_options
from gamepruning.players import Players
from gamepruning.players.examples import check_examples, check_players
from gamepruning.players.players import Which
from gamepruning.reconstruction.gram import Grams
from gamepruning.trees.arrays import is_array
from gamepruning.trees.examples import as_inputs
from gamepruning.trees.layout import COALITIONS, Layout, make_layout
from gamepruning.types import InputError, Metric, PlayerSet

__all__ = ["ValueConfig", "ValueFunction", "value_function"]


class ValueOptions(TypedDict, total=False):
    """The keywords of `ValueConfig`."""

    always_in: PlayerSet
    always_out: PlayerSet
    chunk_size: int | None
    rows_at_once: int | None
    devices: Sequence[Any] | None
    mesh: Mesh | None
    coalition_axis: str
    progress: Callable[[int], Any] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueConfig:
    """Who is always in or out, and how coalitions are evaluated.

    Attributes:
      always_in: players that are in every coalition: bool [N], their numbers, or names
        of families.
      always_out: players that are in none, likewise.
      chunk_size: coalitions sent to the devices before the first value is waited for,
        rounded up to whole tiles; None chooses. Halved when memory runs out.
      rows_at_once: examples in a tile, for a network that takes each example by itself
        and a metric that is a mean over them. None cuts tiles where both are known
        (the library's own metrics), and takes all examples at once otherwise.
      devices: where to evaluate; all local devices if None.
      mesh: devices of one process or of several, instead of `devices`. Coalitions go
        over one of its axes. Parameters and examples that are split over others stay
        so, and nothing is gathered that a forward pass does not gather; arrays that are
        not split go to every device. With several processes each of them makes the same
        calls and gets the same values.
      coalition_axis: the axis of the mesh for coalitions.
      progress: called with the number of values known, after each chunk.
    """

    always_in: PlayerSet = None
    always_out: PlayerSet = None
    chunk_size: int | None = None
    rows_at_once: int | None = None
    devices: Sequence[Any] | None = None
    mesh: Mesh | None = None
    coalition_axis: str = COALITIONS
    progress: Callable[[int], Any] | None = None

    def __post_init__(self):
        if self.chunk_size is not None and self.chunk_size < 1:
            raise InputError(f"expected chunk_size >= 1, got {self.chunk_size}")


@overload
def value_function(
    players: Players,
    params: PyTree,
    metric: Metric,
    inputs: Any,
    labels: Any,
    *,
    varying: Which = None,
    repair: None = None,
    **options: Unpack[ValueOptions],
) -> ValueFunction: ...


@overload
def value_function(
    players: Players,
    params: PyTree,
    metric: Metric,
    inputs: Any,
    labels: Any,
    *,
    varying: Which = None,
    repair: Grams,
    **options: Unpack[ValueOptions],
) -> RepairedValueFunction: ...


def value_function(
    players: Players,
    params: PyTree,
    metric: Metric,
    inputs: Any,
    labels: Any,
    *,
    varying: Which = None,
    repair: Any = None,
    **options: Unpack[ValueOptions],
) -> ValueFunction | RepairedValueFunction:
    """The performance of a network with some of its players alone.

    v(C) = metric(f(inputs; players of C), labels)

    What does not depend on a free player is computed once, here. Coalitions are then
    evaluated a tile at a time, so that memory does not grow with their number; a value
    is the same bit for bit whatever the chunk size, the number of devices, and the
    number of processes that share a `mesh`.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      metric: (outputs, labels) -> scalar, higher is better, traceable by JAX:
        `gp.accuracy`, `gp.negative_cross_entropy`,
        `gp.coalitions.true_class_probability`, or yours.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: what the metric compares with, [B, ...].
      varying: who plays: names of families, or bool [N]; all if None. The others are
        in.
      repair: what `gp.reconstruction.gather_grams` found of the network. The value of a
        coalition is then that of its repaired network: the weights that read who is
        out are fitted anew, in closed form, before the network is evaluated.
      **options: fields of `ValueConfig`: always_in, always_out, chunk_size,
        rows_at_once, devices, mesh, coalition_axis, progress.

    Returns:
      A `ValueFunction` of the free players.

    Raises:
      InputError: a player is both always in and always out, nobody is free, no such
        player or family, a size below 1, no examples, labels that do not fit the
        outputs, or a metric that gives more than one number.
      TypeError: an unknown keyword.

    Cost: none until it is called, but for one pass over the inputs.

    Example: f = 3 s_0 + s_1, and the value is its mean.
      >>> import jax.numpy as jnp, numpy as np, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0]]), "out": jnp.ones((2, 1))}
      >>> x = jnp.ones((4, 1))
      >>> players = gp.find_players(apply, params, x)
      >>> value_fn = value_function(players, params, lambda out, y: out.mean(), x, None)
      >>> value_fn(np.array([[False, False], [True, False], [True, True]])).tolist()
      [0.0, 3.0, 4.0]
      >>> value_fn
      ValueFunction(2 free of 2 players, 3 evaluations)

    References:
      arXiv 2311.10468, section 3: the cooperative game of a network.
    """
    config = make_options(ValueConfig, options, value_function)
    _check_mesh()
    layout = make_layout(config.devices, config.mesh, config.coalition_axis)
    check_players(players)
    given = params if repair is None else _repaired_params(repair, players, params)
    inside, free = _find_sides(players, varying, config)
    layout.check_same((given, inputs, labels, inside, free))
    params = layout.place(given, "parameter")
    inputs = layout.place(as_inputs(inputs), "input")
    examples = check_examples(players, params, metric, inputs, labels)
    model = place(ScoredModel(players, params, metric, *examples), layout)
    evaluator = Evaluator(
        model,
        varying=np.isin(np.arange(players.num_players), free),
        inside=inside,
        rows_at_once=config.rows_at_once,
        layout=layout,
        refit=None if repair is None else Refit(repair),
    )
    chunks = Chunks(evaluator, config.chunk_size)
    if repair is not None:
        return RepairedValueFunction(players, chunks, free, inside, config.progress)
    lazy = _related(model, ~inside, layout, config)
    return ValueFunction(chunks, lazy, free, inside, config.progress)


def _related(
    model: ScoredModel, varying: np.ndarray, layout: Layout, config: ValueConfig
) -> LazyIncremental:
    """Walks on the devices of this process; none where parts of the model are split."""
    here = near(model) if layout.is_given else model
    if here is None:
        return LazyIncremental(model, varying, None)
    in_tiles = config.rows_at_once is not None or is_mean(model.metric)
    tile = "auto" if in_tiles else None
    options = IncrementalConfig(row_tile=tile, devices=layout.near_devices)
    return LazyIncremental(here, varying, options)


def _repaired_params(repair: object, players: Players, params: PyTree) -> PyTree:
    """The parameters of the network that is repaired, which are these."""
    if not isinstance(repair, Grams):
        raise InputError(
            "expected repair as what gp.reconstruction.gather_grams(players, params, "
            f"inputs) returns, got {type(repair).__name__}"
        )
    if not _are_alike(repair.players, players):
        raise InputError(
            f"repair was gathered for other players, {repair.players}: call "
            f"gather_grams with {players}"
        )
    found = repair.run.passes.with_params(repair.run.params)
    alike = jax.tree.structure(found) == jax.tree.structure(params)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=False)
    same = (a is b or np.array_equal(a, b) for a, b in pairs if is_array(a))
    if not alike or not all(same):
        raise InputError(
            "repair was gathered for other parameters: call gather_grams with these"
        )
    return found


def _are_alike(one: Players, other: Players) -> bool:
    """Return True for the same players of one network, found twice."""

    def slices(players: Players) -> list[tuple[Any, ...]]:
        return [
            (f.name, f.start, f.stop, piece.path, piece.axis, piece.role, piece.layer)
            for f in players.families
            for piece in f.slices
        ]

    def entries(players: Players) -> list[np.ndarray]:
        pieces = [piece for f in players.families for piece in f.slices]
        return [np.concatenate([[0], *piece.index]) for piece in pieces]

    pairs = zip(entries(one), entries(other), strict=False)
    return slices(one) == slices(other) and all(np.array_equal(*p) for p in pairs)


def _check_mesh() -> None:
    """Raise InputError under a mesh whose axes are part of types."""
    mesh = jax.sharding.get_abstract_mesh()
    if AxisType.Explicit in mesh.axis_types:
        raise InputError(
            "value_function spreads coalitions over its own mesh, so it cannot run "
            "under jax.set_mesh with explicit axes: use a mesh of AxisType.Auto, or "
            "scores such as gp.taylor_scores"
        )


def _find_sides(
    players: Players, varying: Which, config: ValueConfig
) -> tuple[Bool[np.ndarray, " N"], Int[np.ndarray, " M"]]:
    """Who is always in, bool [N], and who is free, int [M]."""
    plays = players.select(varying)
    inside = ~plays | select_players(players, config.always_in, "always_in")
    outside = select_players(players, config.always_out, "always_out")
    idle = np.flatnonzero(outside & ~plays)
    if idle.size:
        raise InputError(
            f"player {idle[0]} is always out but not among those that vary, who are "
            "always in: add it to varying"
        )
    return inside, free_players(inside, outside)
