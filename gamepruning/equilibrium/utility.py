"""The game: what a player gains and pays for taking part (eq. 8-10), and its gradient.

Player i owns the parameters theta_i (its incoming weights and bias) and chooses its
participation s_i in [0, 1]:

    U_i(s_i, s_-i) = B_i - C_i                                                  (8)
    B_i = alpha s_i b_i                                                         (9)
    C_i = beta |theta_i|^2 s_i^2 + gamma |s_i|
          + eta s_i sum_{j != i} s_j <theta_i, theta_j>                        (10)

where b_i is the marginal benefit of taking part, linearised at the current gates.

What b_i is. The loss is to be minimised, so taking part pays by as much as it lowers
the loss: b_i = -dL/ds_i. That is `benefit="descent"`. With it every player climbs the
one function -alpha L minus its own cost, so the game has a potential and its equilibria
are coordinate-wise maxima of it. The paper prints b_i = +<grad_{theta_i} L, theta_i>
(`benefit="literal"`): by the chain rule through s_i theta_i that is +s_i dL/ds_i, which
pays a player for raising the loss, and fades with s_i so that collapse feeds itself.

Reference: Shah and Khan, Pruning as a Game, arXiv 2512.22106, sections 4-6.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from gamepruning.equilibrium.competition import check_real, competition
from gamepruning.equilibrium.config import Norm, UtilityConfig
from gamepruning.errors import InputError
from gamepruning.players import Players
from gamepruning.players.own_entries import own_entries
from gamepruning.trees.arrays import is_array, map_arrays
from gamepruning.trees.paths import named_leaves
from gamepruning.trees.trainable import (
    is_numeric,
    is_trainable,
    put_trainable,
    take_trainable,
    widen,
)


def utility(
    players: Players,
    params: PyTree,
    grads: PyTree,
    gates: ArrayLike,
    config: UtilityConfig,
) -> Float[jax.Array, " N"]:
    """Utility of every player at the current gates (eq. 8).

    As a function of `gates` its derivative is each player's own: others' strategies,
    and the benefit's linearisation, are held fixed.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      grads: the gradient of the loss; see `marginal_benefit`.
      gates: participation s, float [N] in [0, 1].
      config: the weights of the terms.

    Returns:
      float [N].

    Raises:
      InputError: see `marginal_benefit` and `competition`.

    References:
      Shah and Khan, arXiv 2512.22106, eq. 8-10.
    """
    gates = check_gates(players, gates)
    others = jax.lax.stop_gradient(gates)
    benefit = gates * marginal_benefit(players, params, grads, others, config)  # (9)
    cost = _cost(players, params, gates, others, config)  # (10)
    return config.number("alpha") * benefit - cost


def utility_gradient(
    players: Players,
    params: PyTree,
    grads: PyTree,
    gates: ArrayLike,
    config: UtilityConfig,
) -> Float[jax.Array, " N"]:
    """Own-strategy gradient dU_i/ds_i of every player (eq. 18), an ascent direction.

    It is the gradient of the sum of utilities with the others' strategies stopped:

        alpha b_i - 2 beta |theta_i|^2 s_i - gamma
                  - eta sum_{j != i} s_j <theta_i, theta_j>

    Eq. 18 has gamma sign(s_i); strategies are not negative, so that is gamma, taken
    from the right at s_i = 0. It makes 0 a resting point of a player that does not
    earn gamma (eq. 15), where sign(0) = 0 would throw it out again.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      grads: the gradient of the loss, over `params` or over
        `{"params": params, "gates": gates}`; see `marginal_benefit`.
      gates: participation s, float [N] in [0, 1].
      config: the weights of the terms.

    Returns:
      float [N]. Follow it with `projected_gate_ascent`.

    Raises:
      InputError: see `marginal_benefit` and `competition`.

    Example: one step of a training loop of one's own.
      >>> import jax, jax.numpy as jnp, optax, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> x, y = jnp.ones((1, 2)), jnp.array([8.0])
      >>> players = gp.find_players(apply, params, x)
      >>> tx = gp.joint_optimizer(optax.sgd(0.1), gp.projected_gate_ascent(0.01))
      >>> config = gp.UtilityConfig(beta=0.05, gamma=0.05)

      >>> def loss(joint):
      ...     outputs = players.gated(joint["params"], joint["gates"], x)
      ...     return gp.squared_error(outputs, y)
      >>> @jax.jit
      ... def step(joint, opt_state):
      ...     dloss = jax.grad(loss)(joint)
      ...     ascent = gp.utility_gradient(
      ...         players, joint["params"], dloss, joint["gates"], config
      ...     )
      ...     grads = {"params": dloss["params"], "gates": ascent}
      ...     updates, opt_state = tx.update(grads, opt_state, joint)
      ...     return optax.apply_updates(joint, updates), opt_state
      >>> joint = {"params": params, "gates": jnp.ones(2)}
      >>> joint, opt_state = step(joint, tx.init(joint))
      >>> print(joint["gates"].round(4))  # 1 - 0.01 (2 * 0.05 * 25 + 0.05), ...
      [0.9745 0.9985]

    References:
      Shah and Khan, arXiv 2512.22106, eq. 13 and 18.
    """
    gates = check_gates(players, gates)
    return jax.grad(lambda s: utility(players, params, grads, s, config).sum())(gates)


def marginal_benefit(
    players: Players,
    params: PyTree,
    grads: PyTree,
    gates: ArrayLike,
    config: UtilityConfig,
) -> Float[jax.Array, " N"]:
    """What full participation would earn each player, linearised: b_i of eq. 9.

    | benefit | gradient over params and gates | gradient over params alone |
    | --- | --- | --- |
    | "descent" | -dL/ds_i | -<grad_{theta_i} L, theta_i> / s_i, 0 where s_i = 0 |
    | "literal" | +<grad_{theta_i} L, theta_i> | the same |

    Both cells of "descent" agree where a player's activation scales with its own
    parameters (ReLU and no normalisation behind it). Elsewhere, for players without
    parameters of their own (input features), and to let players come back from 0, take
    the gradient over both.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      grads: gradient of the loss of `players.gated(params, gates, ...)`, a tree like
        `params`, or a dict {"params": such a tree, "gates": float [N]}.
      gates: participation s at which the gradient was taken, float [N].
      config: which benefit.

    Returns:
      float [N].

    Raises:
      InputError: `grads` is neither of the two, or parameters are complex.
    """
    check_real(named_leaves(params))
    gates = jnp.asarray(gates)
    param_grads, gate_grads = _split(params, grads)
    if config.benefit == "descent" and gate_grads is not None:
        return -gate_grads
    inner = players.sum_owned(_products(param_grads, params))  # s_i dL/ds_i
    if config.benefit == "literal":
        return inner
    present = gates > 0
    return -jnp.where(present, inner / jnp.where(present, gates, 1.0), 0.0)


def squared_norms(
    players: Players, params: PyTree, norm: Norm = "sum"
) -> Float[jax.Array, " N"]:
    """|theta_i|^2 of every player as the cost reads it: see `UtilityConfig.norm`.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      norm: "sum", "mean" or "unit".

    Returns:
      float [N], >= 0.
    """
    total = players.sum_owned(_squares(params))
    return total * jnp.square(_scale(players, params, total, norm))


def player_scales(
    players: Players, params: PyTree, norm: Norm
) -> Float[Array, "*N"] | float:
    """The factors that turn each theta_i into what the cost calls theta_i.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      norm: "sum", "mean" or "unit"; see `UtilityConfig.norm`.

    Returns:
      float [N], or 1.0 for "sum".
    """
    if norm == "sum":
        return 1.0
    total = players.sum_owned(_squares(params))
    return _scale(players, params, total, norm)


def _cost(players, params, own, others, config: UtilityConfig) -> Array:
    total = squared_norms(players, params)
    scale = _scale(players, params, total, config.norm)
    size = total * jnp.square(scale)
    cost = config.number("beta") * size * jnp.square(own) + config.number("gamma") * own
    if not config.has("eta"):
        return cost
    rivals = scale * competition(players, params, scale * others, norms=total)
    return cost + config.number("eta") * own * rivals


def _scale(players, params, squared_norm: Array, norm: Norm) -> Array | float:
    """The factor that turns theta_i into what the cost calls theta_i."""
    if norm == "sum":
        return 1.0
    if norm == "unit":
        return jnp.where(
            squared_norm > 0,
            jax.lax.rsqrt(jnp.where(squared_norm > 0, squared_norm, 1.0)),
            0.0,
        )
    with jax.ensure_compile_time_eval():
        count = np.maximum(own_entries(players).counts, 1)
        return jax.lax.rsqrt(jnp.asarray(count, float))


def _split(params, grads) -> tuple[PyTree, Array | None]:
    if _is_gradient(grads, params):
        return put_trainable(grads, params), None
    if (
        isinstance(grads, Mapping)
        and set(grads) == {"params", "gates"}
        and _is_gradient(grads["params"], params)
    ):
        return put_trainable(grads["params"], params), jnp.asarray(grads["gates"])
    structure = jax.tree.structure(params)
    raise InputError(
        "expected the loss gradient as a tree like params, or as {'params': such a "
        f"tree, 'gates': [N]}}, got {jax.tree.structure(grads)} for params "
        f"{structure}: take jax.grad over params or over {{'params', 'gates'}}"
    )


def _is_gradient(grads, params) -> bool:
    """True for a tree like params, which may have None where nothing is trained."""
    structure = jax.tree.structure(grads)
    alike = params, take_trainable(params)
    return any(structure == jax.tree.structure(tree) for tree in alike)


def check_gates(players: Players, gates: ArrayLike) -> Float[Array, " N"]:
    """The gates as an array.

    Raises:
      InputError: they are not floats, or not one a player.
    """
    gates = jnp.asarray(gates)
    if gates.shape != (players.num_players,):
        raise InputError(
            f"expected one gate a player, shape ({players.num_players},), got "
            f"{gates.shape}"
        )
    if not jnp.issubdtype(gates.dtype, jnp.floating):
        raise InputError(
            f"expected float gates, got {gates.dtype}: cast them with astype(float)"
        )
    return gates


def _products(one: PyTree, two: PyTree) -> PyTree:
    """Leaf by leaf; 0 where there is nothing to train (counters, random keys)."""

    def product(a, b):
        if is_trainable(a) and is_trainable(b):
            return widen(a) * widen(b)
        return jnp.zeros(np.shape(b)) if is_array(b) else b

    return jax.tree.map(product, one, two)


def _squares(params: PyTree) -> PyTree:
    """Squares of all numbers, quantised ones among them; 0 for random keys."""
    return map_arrays(
        lambda p: (
            jnp.square(jnp.abs(widen(p))) if is_numeric(p) else jnp.zeros(np.shape(p))
        ),
        params,
    )
