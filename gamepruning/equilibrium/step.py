"""Algorithm 1: the weights descend the loss, the gates climb their utilities."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.trainable import put_trainable, take_trainable
from gamepruning.equilibrium.utility import utility_gradient
from gamepruning.players import Players

THRESHOLD = 0.01  # section 7.2: a player below it counts as pruned


class EquilibriumState(NamedTuple):
    """What the next step needs.

    Attributes:
      params: the weights theta, a pytree.
      gates: participation s, float32 [N] in [0, 1].
      opt_state: state of the joint transform.
    """

    params: PyTree
    gates: Float[Array, " N"]
    opt_state: Any


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


class EquilibriumStep(NamedTuple):
    """A pair of pure functions.

    Attributes:
      init: params -> state, with every gate at one. Leaves of params that are not
        real numbers (counters, random keys) are left as they are.
      step: (state, batch) -> (state, info), for `jax.jit` and `jax.lax.scan`.
    """

    init: Callable[..., EquilibriumState]
    step: Callable[[EquilibriumState, Any], tuple[EquilibriumState, EquilibriumInfo]]


def make_equilibrium_step(
    players: Players,
    loss_fn: Callable[..., Array],
    tx: optax.GradientTransformation,
    config: UtilityConfig,
    *,
    threshold: float = THRESHOLD,
    merge_fn: Callable[[PyTree, Any], PyTree] | None = None,
) -> EquilibriumStep:
    """Make the training step of Algorithm 1.

    Both updates (lines 5 and 6) use the gradient of one backward pass, at the same
    weights and gates.

    Args:
      players: the `Players` of the network.
      loss_fn: (outputs, labels) -> scalar to be minimised, such as `cross_entropy`.
      tx: transform over {"params", "gates"}; see `joint_optimizer`.
      config: the weights of the utility's terms.
      threshold: a player with a smaller gate is not counted as active.
      merge_fn: (params, outputs) -> params, for networks whose outputs carry new
        statistics (batch normalisation in training): called on the updated weights.

    Returns:
      `EquilibriumStep(init, step)`. A batch is a tuple (*inputs, labels); inputs are
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
      ...     gp.equilibrium_optimizer(weight_learning_rate=0.0),
      ...     gp.EQUILIBRIUM_PRESETS["l1_strong"],
      ... )
      >>> batches = (jnp.ones((3, 1, 2)), jnp.full((3, 1), 8.0))
      >>> state, info = jax.lax.scan(step, init(params), batches)
      >>> state.gates.shape, info.loss.shape
      ((2,), (3,))

    References:
      Shah and Khan, arXiv 2512.22106, Algorithm 1, eq. 16-18.
    """

    def init(params, gates=None) -> EquilibriumState:
        if gates is None:
            gates = jnp.ones(players.num_players, jnp.float32)
        opt_state = tx.init({"params": take_trainable(params), "gates": gates})
        return EquilibriumState(params, gates, opt_state)

    def objective(joint, params, inputs, labels):
        params = put_trainable(joint["params"], params)
        outputs = players.gated(params, joint["gates"], *inputs)
        return loss_fn(outputs, labels), outputs

    def step(state, batch):
        *inputs, labels = batch
        joint = {"params": take_trainable(state.params), "gates": state.gates}
        (loss, outputs), grads = jax.value_and_grad(objective, has_aux=True)(
            joint, state.params, inputs, labels
        )
        slopes = grads | {"params": put_trainable(grads["params"], state.params)}
        ascent = utility_gradient(players, state.params, slopes, state.gates, config)
        updates, opt_state = tx.update(
            {"params": grads["params"], "gates": ascent}, state.opt_state, joint
        )
        joint = cast(dict, optax.apply_updates(joint, updates))
        params = put_trainable(joint["params"], state.params)
        gates = joint["gates"]
        if merge_fn is not None:
            params = merge_fn(params, outputs)
        info = EquilibriumInfo(loss, gates.mean(), (gates >= threshold).sum())
        return EquilibriumState(params, gates, opt_state), info

    return EquilibriumStep(init, step)


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
