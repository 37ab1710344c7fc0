"""Values of coalitions that differ by one player, at a small fraction of full passes.

A permutation's prefixes, or a coalition with each player's membership flipped, differ
by one player each. `make_incremental` keeps the pre-activations of a tile of examples
in cache and updates them by the one player that moves.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gamepruning.coalitions.evaluation.rank_one import compile_sweeps
from gamepruning.coalitions.evaluation.rows import rows_are_independent
from gamepruning.coalitions.evaluation.tiles import (
    RowSample,
    choose_tile,
    cut_in_tiles,
    metric_of_all,
    plan_sample,
    sum_over_rows,
    tile_shapes,
)
from gamepruning.players.players import Players
from gamepruning.run.toggle import ToggleEvaluator
from gamepruning.trees.examples import count_rows
from gamepruning.trees.masks import as_masks
from gamepruning.types import InputError


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


def make_incremental(
    players: Players,
    params: Any,
    metric: Callable[[Any, Any], jax.Array],
    inputs: Any,
    labels: Any,
    *,
    varying: Any = None,
    row_tile: int | None | str = "auto",
    devices: Sequence[Any] | None = None,
    max_share: float = 0.5,
    sample_rows: int | None = None,
) -> Incremental | None:
    """Values along an order, and after single toggles, by updates of rank one.

    With z = sum over i in C of a_i (x) W_i the product that reads the players of a
    layer, C + j costs one a_j (x) W_j and the layers after it; what comes before is
    computed once. The examples go tile by tile, so that z stays in cache. Rounding
    grows like the square root of the number of moves: about 1e-6, relative, after 400
    of them in float32. This is made for CPUs: on a GPU a move is a chain of small
    kernels, and full passes over many coalitions at once may be faster.

    Args:
      players: from `find_players`.
      params: the parameters.
      metric: metric(outputs, labels) -> a mean over examples.
      inputs: the input, or a tuple of inputs; each leaf's axis 0 is the example.
      labels: leaves with the examples on axis 0.
      varying: bool [N], or names of families, who may be out; None for all.
      row_tile: examples in a tile; "auto" for what stays in cache; None for all
        examples in one call of `metric`, which need not be a mean then (`r2`).
      devices: where the tiles go; all local devices if None. Values do not depend on
        their number. A CPU is one device unless `jax_num_cpu_devices` says more; with
        one for each core the tiles run side by side.
      max_share: the largest mean cost of a move, where a full pass is 1, that is worth
        it.
      sample_rows: about how many examples each sweep looks at, its own random ones,
        the same whenever it is asked for; all if None, or where there are hardly more.
        The values are unbiased.

    Returns:
      The two sweeps, exact to rounding; None where a move costs more than `max_share`:
      the players' products are not in the trace as such (in a loop, grouped), or most
      of the work lies after them. None as well where `row_tile` is not None and the
      outputs of an example depend on other examples.

    Raises:
      InputError: labels or inputs differ in the number of examples.

    Cost: a move takes `share` of a full pass. What does not depend on the varying
    players is kept for all examples.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, gamepruning as gp
      >>> def apply(params, x):
      ...     return jax.nn.relu(x @ params["w1"]) @ params["w2"]
      >>> params = {"w1": jnp.eye(2), "w2": jnp.array([[1.0, 0.0], [0.0, 1.0]])}
      >>> inputs, labels = jnp.array([[2.0, 1.0], [1.0, 3.0]]), jnp.array([0, 1])
      >>> players = gp.find_players(apply, params, inputs)
      >>> sweeps = make_incremental(
      ...     players, params, gp.accuracy, inputs, labels, max_share=float("inf")
      ... )
      >>> sweeps.prefixes(np.array([[1, 0]]))  # a tie goes to the lower class
      array([[0.5, 0.5, 1. ]])
    """
    devices = jax.local_devices() if devices is None else list(devices)
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    if players.granularity == "weight":
        return None
    varying = players.select(varying)
    num_rows = count_rows((inputs, labels))
    example = ToggleEvaluator(players.model, params, players.example_inputs(), varying)
    moves = example.moves
    if not moves.is_updated.any() or moves.share > max_share:
        return None
    if row_tile is None:
        tile, score, scale, devices = num_rows, metric_of_all(metric), 1, devices[:1]
    elif not rows_are_independent(players.apply, params, inputs):
        return None
    else:
        first = jax.tree.leaves(players.example_inputs())[0]
        tile = choose_tile(row_tile, num_rows, example.state_bytes / first.shape[0])
        score, scale = sum_over_rows(metric), num_rows
    sample = None
    if sample_rows is not None:
        if row_tile is None:
            raise InputError(
                "a metric of all examples at once has no unbiased value on some of "
                "them: leave sample_rows out"
            )
        sample = plan_sample(sample_rows, num_rows)
        tile = tile if sample is None else sample.tile
    updates = ToggleEvaluator(players.model, params, tile_shapes(inputs, tile), varying)
    rows = cut_in_tiles(inputs, labels, tile, len(devices), shuffled=sample is not None)
    run = compile_sweeps(updates, score, params, rows, devices)
    families = tuple(
        family.name
        for family in players.families
        if moves.is_updated[family.start : family.stop].any()
    )
    prefixes, toggles = _sweeps(run, varying, scale, sample)
    return Incremental(prefixes, toggles, families, moves.share, tile)


# -- the two sweeps ----------------------------------------------------------------


def _sweeps(run: Callable, varying: np.ndarray, scale: int, sample: RowSample | None):
    most = int(varying.sum())

    def values(mask, order, keep):
        padded = np.zeros(most, np.int32)
        padded[: len(order)] = order
        if sample is None:
            sums = np.asarray(run(mask, padded, len(order), keep), np.float64)
        else:
            tiles, weights = sample.draw(mask, *([padded] if keep else []))
            sums = np.asarray(run(mask, padded, len(order), keep, tiles), np.float64)
            sums = sums * weights[:, None]
        return sums.sum(axis=0)[: len(order) + 1] / scale

    def prefixes(orders, base=None):
        orders = _check_players(orders, 2, varying)
        base = ~varying if base is None else base
        shape = (len(orders), len(varying))
        masks = _check_masks(np.broadcast_to(np.asarray(base), shape), varying)
        rows = np.arange(len(orders))[:, None]
        count = np.zeros(shape, np.int64)
        np.add.at(count, (rows, orders), 1)
        if (count + masks > 1).any():
            raise InputError(
                "a player of an order enters twice, or is in the base already: name "
                "each player once, and only such as are out"
            )
        pairs = zip(masks, orders, strict=True)
        found = [values(mask, order, True) for mask, order in pairs]
        return np.array(found).reshape(len(orders), orders.shape[1] + 1)

    def toggles(masks, candidates):
        candidates = _check_players(candidates, 1, varying)
        masks = _check_masks(np.asarray(masks), varying)
        chunks = [candidates[k : k + most] for k in range(0, len(candidates), most)]
        base, flipped = np.zeros(len(masks)), np.zeros((len(masks), len(candidates)))
        for row, mask in enumerate(masks):
            found = [values(mask, chunk, False) for chunk in chunks or [candidates]]
            base[row] = found[0][0]
            flipped[row] = np.concatenate([chunk[1:] for chunk in found])
        return base, flipped

    return prefixes, toggles


def _check_players(numbers, ndim: int, varying: np.ndarray) -> np.ndarray:
    numbers = np.asarray(numbers)
    if numbers.ndim != ndim or not np.issubdtype(numbers.dtype, np.integer):
        raise InputError(
            f"expected player numbers, integers with {ndim} axes, got "
            f"{numbers.dtype} of shape {numbers.shape}"
        )
    inside = (numbers >= 0) & (numbers < len(varying))
    if not inside.all() or not varying[numbers].all():
        raise InputError(
            f"a player's number is outside [0, {len(varying)}) or that of a player "
            "who does not vary: name it in `varying`"
        )
    return numbers


def _check_masks(masks: np.ndarray, varying: np.ndarray) -> np.ndarray:
    masks = as_masks(masks, len(varying))
    if not masks[:, ~varying].all():
        raise InputError(
            "a player who does not vary is out: name it in `varying`, or put it in"
        )
    return masks
