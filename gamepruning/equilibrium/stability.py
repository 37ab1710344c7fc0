"""Does the game settle? Its Jacobian, that of the best responses, and its potential.

Reference: Shah and Khan, Pruning as a Game, arXiv 2512.22106, section 5.3.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

from gamepruning.equilibrium.competition import competition
from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.response import OwnTerms, own_terms, respond
from gamepruning.equilibrium.utility import (
    check_gates,
    player_scales,
    squared_norms,
)
from gamepruning.players import Players
from gamepruning.trees.trainable import put_trainable, take_trainable
from gamepruning.types import InputError

Operator = Callable[[Array], Array]
LossFn = Callable[[PyTree, Array], Array]
DENSE = 64  # up to so many players the matrix is written out


def game_jacobian(
    players: Players,
    params: PyTree,
    loss_fn: LossFn,
    gates: ArrayLike,
    config: UtilityConfig,
) -> Operator:
    """The derivative of all own-strategy gradients by all gates, as an operator.

    Its matrix is d2 U_i / ds_i ds_j, with -2 beta |theta_i|^2 on the diagonal, -eta
    <theta_i, theta_j> beside it within a family, and what the benefits change by. No
    N x N array is made.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (params, gates) -> scalar, twice differentiable.
      gates: where, float [N].
      config: the weights of the terms.

    Returns:
      v [N] -> J v [N], at the price of one Hessian-vector product.

    References:
      Shah and Khan, arXiv 2512.22106, section 5.3.
    """
    gates = check_gates(players, gates)
    grads_at = _gradient(params, loss_fn)

    def field(gates):
        grads = grads_at(gates)
        slope, curvature = own_terms(players, params, grads, gates, config)
        return slope - 2 * curvature * gates

    return _derivative(field, gates)


def response_jacobian(
    players: Players,
    params: PyTree,
    loss_fn: LossFn,
    gates: ArrayLike,
    config: UtilityConfig,
    *,
    linearised: bool = False,
    clipped: bool = True,
) -> Operator:
    """The derivative of the best responses by the gates, as an operator.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (params, gates) -> scalar, twice differentiable.
      gates: where, float [N].
      config: the weights of the terms; beta > 0.
      linearised: hold the benefits as they are at `gates`.
      clipped: a player at an edge of [0, 1] that wants to go further does not answer.
        False gives the whole map's slope, a bound for every place.

    Returns:
      v [N] -> J v [N].

    Raises:
      InputError: beta is 0, so that a best response is 0 or 1 and has no slope.

    References:
      Shah and Khan, arXiv 2512.22106, section 5.3.
    """
    if not config.has("beta"):
        raise InputError("best responses have a slope only where beta > 0")
    gates = check_gates(players, gates)
    grads_at = _gradient(params, loss_fn)
    fixed = grads_at(gates) if linearised else None

    def responses(gates):
        grads = grads_at(gates) if fixed is None else fixed
        terms = own_terms(players, params, grads, gates, config)
        return respond(terms, gates) if clipped else _top(terms)

    return _derivative(responses, gates)


def _gradient(params: PyTree, loss_fn: LossFn) -> Callable[[Array], PyTree]:
    """gates [N] -> the loss's gradient, None for what of params is not trained."""

    def loss(joint):
        return loss_fn(put_trainable(joint["params"], params), joint["gates"])

    own = take_trainable(params)
    return lambda gates: jax.grad(loss)({"params": own, "gates": gates})


def _derivative(field: Callable[[Array], Array], gates: Array) -> Operator:
    """v [N] -> the derivative of a field along v, in the type of the gates."""

    def apply(v):
        tangent = jnp.asarray(v, gates.dtype)
        return jax.jvp(field, (gates,), (tangent,))[1]

    return jax.jit(apply)


def _top(terms: OwnTerms) -> Array:
    curved = terms.curvature > 0
    return jnp.where(
        curved, terms.slope / jnp.where(curved, 2 * terms.curvature, 1.0), 0.0
    )


def spectral_radius(operator: Operator, size: int, *, seed: int = 0) -> float:
    """The largest absolute eigenvalue of a linear operator.

    Args:
      operator: v [size] -> A v [size].
      size: the number of rows.
      seed: of the vector that the iteration starts with.

    Returns:
      float >= 0; below 1 means that iterating the operator dies out. A few hundred
      applications (ARPACK's implicitly restarted Arnoldi iteration); up to 64 rows the
      matrix is written out instead.

    Raises:
      InputError: the operator is not finite, or the iteration finds no eigenvalue.

    Example:
      >>> import jax.numpy as jnp
      >>> spectral_radius(lambda v: jnp.array([0.5, -2.0]) * v, 2)
      2.0
    """
    if size <= DENSE:
        matrix = np.asarray(jax.vmap(operator)(jnp.eye(size))).T
        _check_finite(matrix)
        return float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))

    def apply(v):
        return np.asarray(operator(jnp.asarray(v.ravel(), float)), np.float64)

    as_scipy: Any = LinearOperator  # its stubs describe a subclass
    linear = as_scipy((size, size), matvec=apply, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(size)
    _check_finite(first := apply(start))
    if not first.any():
        return 0.0
    try:
        options: dict[str, Any] = {"v0": start, "tol": 1e-4}
        values = eigs(linear, k=1, return_eigenvectors=False, **options)
    except ArpackError as error:  # no convergence is one
        raise InputError("no largest eigenvalue was found") from error
    return float(np.abs(values).max())


def _check_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise InputError("the operator gives NaN or infinity: look at what it computes")


def potential(
    players: Players,
    params: PyTree,
    loss_fn: LossFn,
    gates: ArrayLike,
    config: UtilityConfig,
) -> Float[Array, ""]:
    """The one function that all players climb, where there is one.

    -alpha L(theta, s) - sum_i (beta |theta_i|^2 s_i^2 + gamma s_i)
                       - (eta / 2) sum_i sum_{j != i} s_i s_j <theta_i, theta_j>

    Its derivative by s_i is player i's own-strategy gradient, so its coordinate-wise
    maxima are the equilibria, and ascent at small rates ends in one. The competition
    term is symmetric and counts each pair once.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (params, gates) -> scalar.
      gates: participation s, float [N].
      config: the weights of the terms, with `benefit="descent"`.

    Returns:
      A scalar, to be climbed.

    Raises:
      InputError: `benefit="literal"`, whose field is not a gradient.
    """
    if config.benefit != "descent":
        raise InputError('the game has a potential with benefit="descent" alone')
    gates = check_gates(players, gates)
    curvature = config.number("beta") * squared_norms(players, params, config.norm)
    costs = jnp.sum(curvature * jnp.square(gates) + config.number("gamma") * gates)
    if config.has("eta"):
        scale = player_scales(players, params, config.norm)
        pull = scale * competition(players, params, scale * gates)
        costs += config.number("eta") / 2 * jnp.vdot(gates, pull)
    return -config.number("alpha") * loss_fn(params, gates) - costs
