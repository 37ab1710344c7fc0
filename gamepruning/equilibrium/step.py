"""Algorithm 1: the weights descend the loss, the gates climb their utilities."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from gamepruning.equilibrium.ascent import check_transform
from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.utility import squared_norms, utility_gradient
from gamepruning.players import Players
from gamepruning.players.examples import check_players
from gamepruning.trees.placement import keep_whole, put_beside, put_whole
from gamepruning.trees.trainable import put_trainable, take_trainable
from gamepruning.types import InputError, Loss, brief_repr

StateT = TypeVar("StateT", bound=Any)
Updates = Literal["simultaneous", "alternating"]
THRESHOLD = 0.01  # section 7.2: a player below it counts as pruned


class EquilibriumState(NamedTuple):
    """What the next step needs.

    Attributes:
      params: the weights theta, a pytree.
      gates: participation s, float32 [N] in [0, 1].
      opt_state: state of the joint transform.
      steps: how many were made.
    """

    params: PyTree
    gates: Float[Array, " N"]
    opt_state: Any
    steps: Int[Array, ""]

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
      normalise: hold the norm of each player's own parameters where it started. The
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
      InputError: unknown `updates`.

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
        if gates is None:
            gates = jnp.ones(players.num_players, jnp.float32)
        gates = put_whole(jnp.asarray(gates), params)
        opt_state = tx.init({"params": take_trainable(params), "gates": gates})
        state = EquilibriumState(params, gates, opt_state, jnp.zeros((), jnp.int32))
        return placed_beside_params(state)

    differentiate = make_gradient(players, loss_fn)

    def climb(params, gates, grads, steps):
        slopes = grads | {"params": put_trainable(grads["params"], params)}
        return utility_gradient(players, params, slopes, gates, config.at(steps))

    def move(state, down, ascent):
        params, gates, opt_state = move_both(tx, state, down, ascent)
        if normalise:
            params = keep_norms(players, params, state.params)
        return params, gates, opt_state

    def step(state, batch):
        (loss, outputs), grads = differentiate(state.params, state.gates, batch)
        down = grads["params"]
        if updates == "alternating":
            still = jnp.zeros_like(state.gates)
            params, _, _ = move(state, down, still)
            _, grads = differentiate(params, state.gates, batch)
            ascent = climb(params, state.gates, grads, state.steps)
        else:
            ascent = climb(state.params, state.gates, grads, state.steps)
        params, gates, opt_state = move(state, down, ascent)
        if merge_fn is not None:
            params = merge_fn(params, outputs)
        info = EquilibriumInfo(loss, gates.mean(), (gates >= threshold).sum())
        return EquilibriumState(params, gates, opt_state, state.steps + 1), info

    return EquilibriumStep(init, step)


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
    """

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
    tx: optax.GradientTransformation, state: Any, down: PyTree, ascent: Array
) -> tuple[PyTree, Array, Any]:
    """Lines 5 and 6 of Algorithm 1.

    Args:
      tx: transform over {"params", "gates"}.
      state: has params, gates and opt_state.
      down: gradient of the loss by the trained leaves of params.
      ascent: the way up for the gates, float [N].

    Returns:
      The new params, gates and optimizer state.
    """
    joint = {"params": take_trainable(state.params), "gates": state.gates}
    moves, opt_state = tx.update(
        {"params": down, "gates": ascent}, state.opt_state, joint
    )
    new = cast(dict, optax.apply_updates(joint, moves))
    gates = keep_whole(new["gates"], state.params)
    return put_trainable(new["params"], state.params), gates, opt_state


def keep_norms(players: Players, params: PyTree, like: PyTree) -> PyTree:
    """Scale each player's own parameters to the norm that they have in `like`.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      like: others of the same shapes.

    Returns:
      The scaled parameters; those of players without any, or at 0, as they are.
    """
    now, then = squared_norms(players, params), squared_norms(players, like)
    movable = (now > 0) & (then > 0)
    ratio = jnp.where(movable, then / jnp.where(movable, now, 1.0), 1.0)
    return players.participate(params, jnp.sqrt(ratio))


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
