"""L0 regularisation by hard concrete gates: training that pays for every open gate.

Each player has a random gate z_i in [0, 1] that is 0 or 1 with positive probability,

    s = sigmoid((log u - log(1 - u) + log alpha_i) / beta),   u ~ Uniform(0, 1)
    z = clip(s (zeta - gamma) + gamma, 0, 1)

and the weights and log alpha descend the loss plus a penalty on the expected number of
open gates, sum_i P(z_i > 0). Who stays is who is open in the end.

Reference: Louizos, Welling and Kingma, Learning Sparse Neural Networks through L0
Regularization, ICLR 2018, arXiv 1712.01312.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from gamepruning.players import Players
from gamepruning.players.examples import check_players
from gamepruning.trees.keys import as_key
from gamepruning.trees.trainable import put_trainable, take_trainable
from gamepruning.types import InputError, KeyLike, Loss

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1  # section 4 of the paper
OPEN = 2.0  # log alpha at the start: gates are open with probability 0.98


def hard_concrete_sample(
    key: KeyLike, log_alpha: Float[Array, " N"]
) -> Float[Array, " N"]:
    """Draw gates (eq. 10).

    Args:
      key: random key.
      log_alpha: float [N].

    Returns:
      float [N] in [0, 1], differentiable in `log_alpha`.
    """
    tiny = 1e-6
    uniform = jax.random.uniform(
        as_key(key), log_alpha.shape, minval=tiny, maxval=1 - tiny
    )
    noise = jnp.log(uniform) - jnp.log1p(-uniform)
    stretched = jax.nn.sigmoid((noise + log_alpha) / BETA) * (ZETA - GAMMA) + GAMMA
    return jnp.clip(stretched, 0.0, 1.0)


def hard_concrete_mean(log_alpha: ArrayLike) -> Float[Array, " N"]:
    """The gates at test time (eq. 13), float [N] in [0, 1]; 0 where a player is out."""
    opening = jax.nn.sigmoid(jnp.asarray(log_alpha))
    return jnp.clip(opening * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)


def open_probability(log_alpha: ArrayLike) -> Float[Array, " N"]:
    """P(z_i > 0) (eq. 12), float [N].

    Example:
      >>> import jax.numpy as jnp
      >>> [f"{p:.2f}" for p in open_probability(jnp.array([-3.0, 2.0]))]
      ['0.20', '0.97']
    """
    shift = BETA * jnp.log(-GAMMA / ZETA)
    return jax.nn.sigmoid(jnp.asarray(log_alpha) - shift)


class HardConcreteState(NamedTuple):
    """What the next step needs.

    Attributes:
      params: the weights, a pytree.
      log_alpha: float [N].
      opt_state: state of the transform.
      key: of the gates to come.
    """

    params: PyTree
    log_alpha: Float[Array, " N"]
    opt_state: Any
    key: Array


class HardConcreteStep(NamedTuple):
    """A pair of pure functions.

    Attributes:
      init: (key, params) -> state, with nearly all gates open.
      step: (state, batch) -> (state, loss).
    """

    init: Callable[[Array, PyTree], HardConcreteState]
    step: Callable[[HardConcreteState, Any], tuple[HardConcreteState, Array]]


def make_hard_concrete_step(
    players: Players,
    loss_fn: Loss,
    tx: optax.GradientTransformation,
    penalty: ArrayLike,
) -> HardConcreteStep:
    """Make the training step of L0 regularisation.

    Args:
      players: the `Players` of the network.
      loss_fn: (outputs, labels) -> scalar to be minimised.
      tx: any optax optimizer, over {"params", "log_alpha"}.
      penalty: lambda, the price of one open gate in units of the loss.

    Returns:
      `HardConcreteStep(init, step)`. A batch is a tuple (*inputs, labels).
      `gp.top_n(open_probability(state.log_alpha), n)` says who stays.

    References:
      Louizos, Welling and Kingma, arXiv 1712.01312, eq. 9-14.
    """

    check_players(players)
    if not isinstance(tx, optax.GradientTransformation):
        raise InputError(
            "expected tx as an optax transform, such as optax.adam(1e-3), got "
            f"{getattr(tx, '__name__', type(tx).__name__)}: call it, if it makes one"
        )

    def init(key, params) -> HardConcreteState:
        log_alpha = jnp.full(players.num_players, OPEN, jnp.result_type(float))
        joint = {"params": take_trainable(params), "log_alpha": log_alpha}
        opt_state = tx.init(joint)
        return HardConcreteState(params, log_alpha, opt_state, as_key(key))

    def objective(joint, params, key, inputs, labels):
        gates = hard_concrete_sample(key, joint["log_alpha"])
        whole = put_trainable(joint["params"], params)
        loss = loss_fn(players.gated(whole, gates, *inputs), labels)
        return loss + penalty * open_probability(joint["log_alpha"]).sum(), loss

    def step(state, batch):
        *inputs, labels = batch
        key, own = jax.random.split(state.key)
        trained = take_trainable(state.params)
        joint = {"params": trained, "log_alpha": state.log_alpha}
        slope = jax.grad(objective, has_aux=True)
        grads, loss = slope(joint, state.params, own, inputs, labels)
        updates, opt_state = tx.update(grads, state.opt_state, joint)
        joint = cast(dict, optax.apply_updates(joint, updates))
        params = put_trainable(joint["params"], state.params)
        new = HardConcreteState(params, joint["log_alpha"], opt_state, key)
        return new, loss

    return HardConcreteStep(init, step)
