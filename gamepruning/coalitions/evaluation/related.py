"""Values of coalitions that differ by one player, at a small part of full passes.

A permutation's prefixes, or a coalition with each player's membership flipped, differ
by one player each. `make_incremental` keeps the pre-activations of a tile of examples
in cache and updates them by the one player that moves.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

import jax
import numpy as np
from jaxtyping import Bool, PyTree

from gamepruning.coalitions.evaluation.model import ScoredModel
from gamepruning.coalitions.evaluation.rank_one import Walk, WalkPrograms
from gamepruning.coalitions.evaluation.tiles import (
    RowSample,
    TileScore,
    choose_tile,
    cut_in_tiles,
    metric_of_all,
    plan_sample,
    sum_over_rows,
    tile_shapes,
)
from gamepruning.coalitions.evaluation.walks import Walks
from gamepruning.options import make_options
from gamepruning.players.examples import examples_are_apart
from gamepruning.players.players import Players, Which
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.run.toggle import ToggleEvaluator
from gamepruning.trees.examples import (
    as_inputs,
    count_rows,
    same_length,
)
from gamepruning.trees.finite import blame_not_finite
from gamepruning.trees.layout import on_devices
from gamepruning.types import InputError, Metric


class Incremental(NamedTuple):
    """Values of coalitions that differ by one player each.

    Attributes:
      prefixes: `prefixes(orders, base=None)`, with orders int [S, M] of varying players
        (each at most once in a row) and base bool [N] or [S, N], who is in before: the
        values float64 [S, M + 1] of the base and after each player has entered. Without
        a base the varying players are all out.
      toggles: `toggles(masks, candidates)`, with masks bool [S, N] and candidates
        int [M]: the values [S] of the masks, and [S, M] with the membership of one
        candidate flipped.
      families: the families whose players move by updates; the others' moves are full
        passes.
      share: mean cost of a move as estimated from shapes, where a full pass is 1.
      row_tile: examples in a tile.
    """

    prefixes: Callable[..., np.ndarray]
    toggles: Callable[..., tuple[np.ndarray, np.ndarray]]
    families: tuple[str, ...]
    share: float
    row_tile: int

    def __repr__(self) -> str:
        return (
            f"Incremental({', '.join(self.families)}, a move costs {self.share:.2f} of "
            f"a pass, {self.row_tile} examples a tile)"
        )


class IncrementalOptions(TypedDict, total=False):
    """The keywords of `IncrementalConfig`."""

    row_tile: int | str | None
    devices: Sequence[Any] | None
    max_share: float
    sample_rows: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class IncrementalConfig:
    """How values of related coalitions are computed, and when it is worth it.

    Attributes:
      row_tile: examples in a tile; "auto" for what stays in cache; None for all
        examples in one call of the metric, which need not be a mean then (`r2`).
      devices: where the tiles go; all local devices if None. Values do not depend on
        their number. A CPU is one device unless `jax_num_cpu_devices` says more; with
        one for each core the tiles run side by side.
      max_share: the largest mean cost of a move, where a full pass is 1, that is worth
        it.
      sample_rows: about how many examples each order or coalition is measured on, its
        own random ones, always the same; all if None, or where there are hardly more.
        The values are unbiased.
    """

    row_tile: int | str | None = "auto"
    devices: Sequence[Any] | None = None
    max_share: float = 0.5
    sample_rows: int | None = None


def make_incremental(
    players: Players,
    params: PyTree,
    metric: Metric,
    inputs: Any,
    labels: Any,
    *,
    varying: Which = None,
    **options: Unpack[IncrementalOptions],
) -> Incremental | None:
    """Values along an order, and after single toggles, by updates of rank one.

    With z = sum over i in C of a_i (x) W_i the product that reads the players of a
    layer, C + j costs one a_j (x) W_j and the layers after it; what comes before is
    computed once. The examples go tile by tile, so z stays in cache. Rounding
    grows like the square root of the number of moves: about 1e-6, relative, after 400
    of them in float32. This is made for CPUs: on a GPU a move is a chain of small
    kernels, and full passes over many coalitions at once are faster (3.3 times for
    LeNet-300-100 on an H100), so that value functions take those there.

    Args:
      players: from `find_players`.
      params: the parameters.
      metric: metric(outputs, labels) -> a mean over examples.
      inputs: the input, or a tuple of inputs; each leaf's axis 0 is the example.
      labels: leaves with the examples on axis 0.
      varying: bool [N], or names of families, who may be out; None for all.
      **options: fields of `IncrementalConfig`: row_tile, devices, max_share,
        sample_rows.

    Returns:
      `Incremental`, exact to rounding; None where a move costs more than `max_share`:
      the players' products are not in the trace as such (in a loop, grouped), or most
      of the work lies after them. None as well where `row_tile` is not None and the
      outputs of an example depend on other examples.

    Raises:
      InputError: labels or inputs differ in the number of examples.
      TypeError: an unknown keyword.

    Cost: a move takes `share` of a full pass. What does not depend on the varying
    players is kept for all examples.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, gamepruning as gp
      >>> def apply(params, x):
      ...     return jax.nn.relu(x @ params["w1"]) @ params["w2"]
      >>> params = {"w1": jnp.eye(2), "w2": jnp.array([[1.0, 0.0], [0.0, 1.0]])}
      >>> inputs, labels = jnp.array([[2.0, 1.0], [1.0, 3.0]]), jnp.array([0, 1])
      >>> players = gp.find_players(apply, params, inputs)
      >>> related = make_incremental(
      ...     players, params, gp.accuracy, inputs, labels, max_share=float("inf")
      ... )
      >>> related
      Incremental(w1, a move costs 0.83 of a pass, 2 examples a tile)
      >>> related.prefixes(np.array([[1, 0]]))  # a tie goes to the lower class
      array([[0.5, 0.5, 1. ]])
    """
    config = make_options(IncrementalConfig, options, make_incremental)
    model = ScoredModel(players, params, metric, as_inputs(inputs), labels)
    return incremental_of(model, players.select(varying), config)


def incremental_of(
    model: ScoredModel, varying: Bool[np.ndarray, " N"], config: IncrementalConfig
) -> Incremental | None:
    """`make_incremental` for a model and a mask of who varies."""
    players, params, _, inputs, labels = model
    if not isinstance(players, UnitPlayers):
        return None
    num_rows = count_rows(model.examples)
    example = _evaluator_at(model, players.example_inputs(), varying)
    moves = example.moves
    if not moves.is_updated.any() or moves.share > config.max_share:
        return None
    in_tiles = config.row_tile is not None
    if in_tiles and not examples_are_apart(players, params, inputs):
        return None
    plan = _plan_tiles(model, config, example.state_bytes, num_rows)
    shapes = tile_shapes(inputs, plan.tile)
    is_shuffled = plan.sample is not None
    rows = cut_in_tiles(
        inputs, labels, plan.tile, len(plan.devices), shuffled=is_shuffled
    )
    walk = Walk(_programs_for(model, shapes, varying, plan), params, rows)
    walks = Walks(walk, varying, plan.scale, plan.sample)
    families = tuple(
        family.name
        for family in players.families
        if moves.is_updated[family.start : family.stop].any()
    )
    return Incremental(walks.prefixes, walks.toggles, families, moves.share, plan.tile)


def _evaluator_at(
    model: ScoredModel, inputs: tuple, varying: np.ndarray
) -> ToggleEvaluator:
    """The moves at the shapes of some inputs, made once for all value functions."""
    traced = model.players.model
    key = "moves", traced.call(model.params, *inputs).key(), varying.tobytes()
    return traced.programs.get(
        key, lambda: ToggleEvaluator(traced, model.params, inputs, varying.copy())
    )


def _programs_for(
    model: ScoredModel, shapes: tuple, varying: np.ndarray, plan: "_TilePlan"
) -> WalkPrograms:
    """The programs of walks over tiles of these shapes, likewise."""
    traced = model.players.model
    call = traced.call(model.params, *shapes).key()
    key = "walks", call, varying.tobytes(), plan.key

    def make() -> WalkPrograms:
        updates = _evaluator_at(model, shapes, varying)
        return WalkPrograms(updates, plan.score, model.params, plan.devices)

    return traced.programs.get(key, make)


class LazyIncremental:
    """Incremental evaluation of a model, prepared when it is first needed.

    Attributes:
      players: the `Players` of the model.
      seconds: about how long a full pass of the model takes.
    """

    def __init__(
        self,
        model: ScoredModel,
        varying: Bool[np.ndarray, " N"],
        config: IncrementalConfig | None,
        whole: "LazyIncremental | None" = None,
    ):
        """The model, who varies, how to walk (None: not at all), on all examples."""
        self.players = model.players
        self.seconds = model.seconds
        self._model = model
        self._varying = varying
        self._config = config
        self._whole = whole
        self._made: list[Incremental | None] = []

    def blame(self) -> str:
        """What in the parameters or inputs is not finite, in words; "" for nothing."""
        return blame_not_finite(self._model.params, self._model.inputs)

    def sampled(self, sample_rows: int) -> "LazyIncremental":
        """The same on some examples for each order or coalition."""
        config = self._config and dataclasses.replace(
            self._config, sample_rows=sample_rows
        )
        return LazyIncremental(self._model, self._varying, config, self.whole())

    def whole(self) -> "LazyIncremental":
        """The same on all examples: what it was before `sampled`."""
        return self if self._whole is None else self._whole

    def get(self) -> Incremental | None:
        """None where the trace allows none, or it is not worth it."""
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    def _make(self) -> Incremental | None:
        if self._config is None or same_length(self._model.examples) is None:
            return None
        devices = self._config.devices or jax.local_devices()
        if devices[0].platform != "cpu":
            return None
        return incremental_of(self._model, self._varying, self._config)


class _TilePlan(NamedTuple):
    """How the examples are cut and scored.

    Attributes:
      tile: examples in a tile.
      score: of one tile.
      scale: what sums over tiles are divided by.
      sample: which tiles each walk looks at; None for all.
      devices: where they go.
      key: what the programs depend on, but for the shapes.
    """

    tile: int
    score: TileScore
    scale: int
    sample: RowSample | None
    devices: list
    key: Hashable


def _plan_tiles(
    model: ScoredModel, config: IncrementalConfig, state_bytes: float, num_rows: int
) -> _TilePlan:
    devices = on_devices(config.devices).near_devices
    if config.row_tile is None:
        if config.sample_rows is not None:
            raise InputError(
                "a metric of all examples at once has no unbiased value on some of "
                "them: leave sample_rows out"
            )
        score = metric_of_all(model.metric)
        key = "all rows", model.metric, devices[0]
        return _TilePlan(num_rows, score, 1, None, devices[:1], key)
    score = sum_over_rows(model.metric)
    first = jax.tree.leaves(model.players.example_inputs())[0]
    tile = choose_tile(config.row_tile, num_rows, state_bytes / first.shape[0])
    sample = None
    if config.sample_rows is not None:
        sample = plan_sample(config.sample_rows, num_rows)
        tile = tile if sample is None else sample.tile
    key = "rows", model.metric, tuple(devices)
    return _TilePlan(tile, score, num_rows, sample, devices, key)
