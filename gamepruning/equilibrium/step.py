"""Algorithm 1: the weights descend the loss, the gates climb their utilities."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from gamepruning.equilibrium.ascent import check_transform
from gamepruning.equilibrium.competition import check_real
from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.utility import (
    check_gates,
    squared_norms,
    utility_gradient,
)
from gamepruning.players import Players
from gamepruning.players.examples import check_players
from gamepruning.players.own_entries import own_entries
from gamepruning.trees.arrays import map_arrays
from gamepruning.trees.placement import keep_whole, put_beside, put_whole
from gamepruning.trees.trainable import (
    is_trainable,
    put_trainable,
    take_trainable,
    widen,
)
from gamepruning.types import InputError, Loss, brief_repr

StateT = TypeVar("StateT", bound=Any)
Updates = Literal["simultaneous", "alternating"]
THRESHOLD = 0.01  # section 7.2: a player below it counts as pruned
CLOSE, PASSES = 1e-5, 100  # of squared norms that entries of several owners share


class EquilibriumState(NamedTuple):
    """What the next step needs.

    Attributes:
      params: the weights theta, a pytree.
      gates: participation s, float32 [N] in [0, 1].
      opt_state: state of the joint transform.
      steps: how many were made.
      norms: with `normalise`, |theta_i|^2 where it started, float [N]; else None, and
        no part of a checkpoint. States of earlier versions have none.
    """

    params: PyTree
    gates: Float[Array, " N"]
    opt_state: Any
    steps: Int[Array, ""]
    norms: Float[Array, " N"] | None = None

    def __repr__(self) -> str:
        return f"EquilibriumState(gates {list(self.gates.shape)}, steps={self.steps})"


class EquilibriumInfo(NamedTuple):
    """What a step tells: the panels of the paper's Figure 1.

    Attributes:
      loss: of the gated network on the batch, before the update.
      mean_participation: mean gate after the update.
      num_active: players whose gate is at least the threshold after the update.
    """

    loss: Float[Array, ""]
    mean_participation: Float[Array, ""]
    num_active: Int[Array, ""]

    __repr__ = brief_repr


class EquilibriumStep(NamedTuple):
    """A pair of pure functions.

    Attributes:
      init: params -> state, with every gate at one. Leaves of params that are not
        real numbers (counters, random keys) are left as they are.
      step: (state, batch) -> (state, info), for `jax.jit` and `jax.lax.scan`.
    """

    init: Callable[..., EquilibriumState]
    step: Callable[[EquilibriumState, Any], tuple[EquilibriumState, EquilibriumInfo]]

    def __repr__(self) -> str:
        return "EquilibriumStep(init(params), step(state, batch))"


def make_equilibrium_step(
    players: Players,
    loss_fn: Loss,
    tx: optax.GradientTransformation,
    config: UtilityConfig,
    *,
    threshold: float = THRESHOLD,
    updates: Updates = "simultaneous",
    normalise: bool = False,
    merge_fn: Callable[[PyTree, Any], PyTree] | None = None,
) -> EquilibriumStep:
    """Make the training step of Algorithm 1.

    Both updates (lines 5 and 6) use the gradient of one backward pass, at the same
    weights and gates, or one pass each.

    Args:
      players: the `Players` of the network.
      loss_fn: (outputs, labels) -> scalar to be minimised, such as `cross_entropy`.
      tx: transform over {"params", "gates"}; see `joint_optimizer`.
      config: the weights of the utility's terms.
      threshold: a player with a smaller gate is not counted as active.
      updates: "simultaneous", or "alternating": the gates answer the new weights, on
        the same batch, at the cost of a second backward pass. As printed, lines 5 and 6
        could be either.
      normalise: hold the norm of each player's own parameters where it started (of
        those that are trained; scaled in float32 or wider, and where entries have
        several owners, such as heads and head dimensions, in several passes). The
        output s_i theta_i does not change under (s_i / c, c theta_i), so that growing
        weights make up for a shrinking gate, until gates near 0 mean nothing; a player
        of fixed norm cannot. The weights that read it still can grow.
      merge_fn: (params, outputs) -> params, for networks whose outputs carry new
        statistics (batch normalisation in training): called on the updated weights.

    Returns:
      `EquilibriumStep(init, step)`. `init` takes gates to start from as a second
      argument. A batch is a tuple (*inputs, labels); inputs are
      those of `players.gated`, with any leading size.

    Example: three steps on three batches of one example.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 2)))
      >>> init, step = gp.make_equilibrium_step(
      ...     players,
      ...     gp.squared_error,
      ...     gp.joint_optimizer(weight_tx=0.0),
      ...     gp.equilibrium.EQUILIBRIUM_PRESETS["l1_strong"],
      ... )
      >>> batches = (jnp.ones((3, 1, 2)), jnp.full((3, 1), 8.0))
      >>> state, info = jax.lax.scan(step, init(params), batches)
      >>> state
      EquilibriumState(gates [2], steps=3)
      >>> info.loss.shape
      (3,)

    Raises:
      InputError: unknown `updates`, complex parameters, or, by `init`, gates that are
        not one float a player.

    References:
      Shah and Khan, arXiv 2512.22106, Algorithm 1, eq. 16-18.
    """
    if updates not in get_args(Updates):
        raise InputError(
            f"expected updates to be one of {', '.join(get_args(Updates))}, got "
            f"{updates!r}"
        )
    check_players(players)
    check_transform(tx)

    def init(params, gates=None) -> EquilibriumState:
        gates = put_whole(first_gates(players, gates), params)
        opt_state = tx.init({"params": take_trainable(params), "gates": gates})
        steps = jnp.zeros((), jnp.int32)
        norms = trained_norms(players, params) if normalise else None
        state = EquilibriumState(params, gates, opt_state, steps, norms)
        return placed_beside_params(state)

    differentiate = make_gradient(players, loss_fn)

    def climb(params, gates, grads, steps):
        slopes = grads | {"params": put_trainable(grads["params"], params)}
        return utility_gradient(players, params, slopes, gates, config.at(steps))

    def move(state, down, ascent, loss):
        params, gates, opt_state = move_both(tx, state, down, ascent, loss)
        if normalise:
            params = keep_norms(players, params, state.norms)
        return params, gates, opt_state

    def step(state, batch):
        if normalise and state.norms is None:
            raise InputError(
                "normalise=True holds norms that this state does not have: make it by "
                "this step's init, or give it state._replace(norms="
                "init(state.params).norms)"
            )
        (loss, outputs), grads = differentiate(state.params, state.gates, batch)
        down = grads["params"]
        if updates == "alternating":
            still = jnp.zeros_like(state.gates)
            params, _, _ = move(state, down, still, loss)
            _, grads = differentiate(params, state.gates, batch)
            ascent = climb(params, state.gates, grads, state.steps)
        else:
            ascent = climb(state.params, state.gates, grads, state.steps)
        params, gates, opt_state = move(state, down, ascent, loss)
        if merge_fn is not None:
            params = merge_fn(params, outputs)
        info = EquilibriumInfo(loss, gates.mean(), (gates >= threshold).sum())
        steps = state.steps + 1
        return EquilibriumState(params, gates, opt_state, steps, state.norms), info

    return EquilibriumStep(init, step)


def first_gates(players: Players, gates: ArrayLike | None) -> Float[Array, " N"]:
    """Gates to start from, ones for None; float32 or wider, in which they can move.

    Raises:
      InputError: they are not floats, or not one a player.
    """
    if gates is None:
        return jnp.ones(players.num_players, jnp.float32)
    return widen(check_gates(players, gates))


def placed_beside_params(state: StateT) -> StateT:
    """A first state whose counters are on all devices of its parameters."""
    own = put_beside(state._replace(params=None), state.params)
    return own._replace(params=state.params)


def make_gradient(players: Players, loss_fn: Loss) -> Callable[..., Any]:
    """The loss of a batch and its gradient by weights and gates, in one pass.

    Args:
      players: the `Players` of the network.
      loss_fn: (outputs, labels) -> scalar.

    Returns:
      (params, gates, (*inputs, labels)) -> ((loss, outputs), {"params", "gates"}); the
      gradient by params has None for leaves that are not trained.

    Raises:
      InputError: the parameters are complex.
    """
    check_real(dict(zip(players.paths, players.model.example.arrays, strict=False)))

    def objective(joint, params, inputs, labels):
        params = put_trainable(joint["params"], params)
        outputs = players.gated(params, joint["gates"], *inputs)
        return loss_fn(outputs, labels), outputs

    def differentiate(params, gates, batch):
        *inputs, labels = batch
        joint = {"params": take_trainable(params), "gates": keep_whole(gates, params)}
        told, grads = jax.value_and_grad(objective, has_aux=True)(
            joint, params, inputs, labels
        )
        return told, grads | {"gates": keep_whole(grads["gates"], params)}

    return differentiate


def move_both(
    tx: optax.GradientTransformation,
    state: Any,
    down: PyTree,
    ascent: Array,
    loss: Array,
) -> tuple[PyTree, Array, Any]:
    """Lines 5 and 6 of Algorithm 1.

    Args:
      tx: transform over {"params", "gates"}.
      state: has params, gates and opt_state.
      down: gradient of the loss by the trained leaves of params.
      ascent: the way up for the gates, float [N].
      loss: of the batch, for transforms that take it as `value`, such as
        `optax.contrib.reduce_on_plateau`.

    Returns:
      The new params, gates and optimizer state.
    """
    joint = {"params": take_trainable(state.params), "gates": state.gates}
    moves, opt_state = optax.with_extra_args_support(tx).update(
        {"params": down, "gates": ascent}, state.opt_state, joint, value=loss
    )
    new = cast(dict, optax.apply_updates(joint, moves))
    gates = keep_whole(new["gates"], state.params)
    return put_trainable(new["params"], state.params), gates, opt_state


def trained_norms(players: Players, params: PyTree) -> Float[Array, " N"]:
    """|theta_i|^2 of what each player owns that is trained (no whole numbers)."""
    return squared_norms(players, map_arrays(_or_zeros, params))


def _or_zeros(leaf: Any) -> Any:
    return leaf if is_trainable(leaf) else jnp.zeros(np.shape(leaf))


def keep_norms(players: Players, params: PyTree, norms: Float[Array, " N"]) -> PyTree:
    """Scale each player's own trained parameters to given norms.

    Where an entry has several owners, each of them is scaled by a part of what it needs
    and all are looked at again, until the norms hold.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      norms: what `trained_norms` are to be, float [N].

    Returns:
      The scaled parameters, in their types; those of players without any, or at 0, and
      those that are not trained, as they are. Cost: two passes over the parameters, and
      two more for each halving of the error where entries have several owners.

    References:
      Darroch and Ratcliff, Generalized Iterative Scaling for Log-Linear Models, 1972.
    """
    wide = jax.tree.map(lambda p: widen(p) if is_trainable(p) else p, params)
    owners = own_entries(players).owners

    def missing(wide: PyTree) -> Array:
        """The factor of the squared norms that is needed."""
        now = trained_norms(players, wide)
        movable = (now > 0) & (norms > 0)
        return jnp.where(movable, norms / jnp.where(movable, now, 1.0), 1.0)

    if (owners == 1).all():
        factors = jnp.sqrt(missing(wide))
    else:
        factors = _shared_factors(
            lambda factors: missing(players.participate(wide, factors)), owners
        )
    scaled = players.participate(wide, factors)
    return jax.tree.map(
        lambda new, old: new.astype(old.dtype) if is_trainable(old) else old,
        scaled,
        params,
    )


def _shared_factors(missing: Callable[[Array], Array], owners: np.ndarray) -> Array:
    """The factors at which nothing is missing, or the last of `PASSES`."""
    start = jnp.ones(len(owners))

    def goes_on(state):
        _, ratio, passes = state
        return (jnp.abs(ratio - 1).max() > CLOSE) & (passes < PASSES)

    def scale(state):
        factors, ratio, passes = state
        factors = factors * ratio ** jnp.asarray(0.5 / owners, ratio.dtype)
        return factors, missing(factors), passes + 1

    first = start, missing(start), jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(goes_on, scale, first)[0]


def surviving_players(
    gates: ArrayLike, *, threshold: float = THRESHOLD
) -> Bool[jax.Array, " N"]:
    """Who is left: s_i >= threshold (line 8 of Algorithm 1).

    Args:
      gates: participation, float [N].
      threshold: smallest gate of a player that stays.

    Returns:
      bool [N], True = kept. It may empty a whole family, which `compact` refuses;
      `round_mask(players, mask, gates, min_units=1)` gives each family its best back.

    Example:
      >>> import jax.numpy as jnp
      >>> surviving_players(jnp.array([1.0, 0.01, 0.0])).tolist()
      [True, True, False]
    """
    return jnp.asarray(gates) >= threshold
