"""Play the game of a network whose weights stand still until nobody wants to move."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict, Unpack, get_args

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from gamepruning.equilibrium.competition import owned_rows
from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.response import OwnTerms, gap, own_terms, respond
from gamepruning.equilibrium.utility import check_gates, player_scales
from gamepruning.options import make_options
from gamepruning.players import Players
from gamepruning.players.examples import check_players
from gamepruning.trees.arrays import CompiledFunction, split_arrays
from gamepruning.trees.trainable import put_trainable, take_trainable
from gamepruning.types import InputError

Dynamics = Literal["ascent", "simultaneous", "sequential"]


class Solution(NamedTuple):
    """Where the dynamics came to rest, or were stopped.

    Attributes:
      gates: participation s, float [N] in [0, 1].
      nash_gap: what the player with the most to gain would gain alone; see `nash_gap`.
      steps: how often the gates were moved (all of them, for "sequential").
      status: "converged" (the gap is within the tolerance), "stalled" (the gates no
        longer move, at the precision of their type, but the gap is larger), "diverged"
        (they became nan) or "stopped" (after `max_steps`).
    """

    gates: Float[Array, " N"]
    nash_gap: float
    steps: int
    status: str

    def __repr__(self) -> str:
        return (
            f"Solution({self.status!r} after {self.steps} steps, nash_gap="
            f"{self.nash_gap:.2g}, {len(self.gates)} gates of mean "
            f"{float(self.gates.mean()):.3g})"
        )


class SolveKeywords(TypedDict, total=False):
    """The rarer keywords of `solve`; see there."""

    learning_rate: float | None
    linearised: bool
    tolerance: float
    max_steps: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolveOptions:
    """How the dynamics move, and when they stop; see `solve`.

    Raises:
      InputError: numbers that make no sense.
    """

    learning_rate: float | None = None
    linearised: bool = False
    tolerance: float = 1e-7
    max_steps: int = 10_000

    def __post_init__(self):
        if self.max_steps < 1 or not self.tolerance >= 0:
            raise InputError(
                "expected max_steps >= 1 and tolerance >= 0, got "
                f"{self.max_steps}, {self.tolerance}"
            )
        rate = self.learning_rate
        if rate is not None and not 0 < rate < math.inf:
            raise InputError(f"expected a learning rate above 0, got {rate}")


class _State(NamedTuple):
    gates: Array
    slopes: Array  # of everybody's utility by its own gate
    moved: Array
    rate: Array
    growth: Array  # the rate over the one before
    gap: Array
    steps: Int[Array, ""]


def solve(
    players: Players,
    params: PyTree,
    loss_fn: Callable[[PyTree, Array], Array],
    config: UtilityConfig,
    *,
    gates: ArrayLike | None = None,
    dynamics: Dynamics = "ascent",
    **options: Unpack[SolveKeywords],
) -> Solution:
    """Find an equilibrium of the gates, at fixed weights.

    Every step takes the marginal benefits at the current gates, so that the gap at the
    end is that of the network's own game. The dynamics are a `jax.lax.while_loop`.

    | dynamics | a step | comes to rest |
    | --- | --- | --- |
    | "ascent" | projected gradient ascent of all (eq. 17) | at small enough rates |
    | "simultaneous" | all play their best response at once (eq. 14) | if the best responses contract: `spectral_radius(response_jacobian(...), N)` < 1 |
    | "sequential" | each plays its best response to what those before it chose, benefits taken once a round | where a round contracts; on networks with a beta near 0 it can cycle |

    The best responses move by `learning_rate` of the way, 1 by default. For "ascent"
    the default follows how fast the slopes change along the way, after Malitsky and
    Mishchenko, Adaptive Gradient Descent without Descent, ICML 2020.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (params, gates) -> scalar, such as
        `lambda p, s: cross_entropy(players.gated(p, s, x), y)`.
      config: the weights of the terms.
      gates: where to start, float [N]; all ones by default. They move in the widest
        type of gates and parameters.
      dynamics: who moves, and how.
      learning_rate: see above.
      linearised: hold the benefits as they are at the start: the game of eq. 9 with
        constant coefficients, a quadratic one.
      tolerance: the largest gap of an equilibrium, in units of the utility.
      max_steps: when to give up.

    Returns:
      `Solution`. Where it starts decides where it ends if there are several equilibria.
      Cost: a forward and a backward pass a step (two for all steps if `linearised`).
      What is compiled is kept with the players for the next call with the same
      `loss_fn`, config and options, whatever the parameters are.

    Raises:
      InputError: unknown dynamics, numbers that make no sense, or complex parameters.
      TypeError: an unknown keyword.

    Example: benefits of 0.5 and 0.2 whatever the others do, and a price of 0.3.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 2)))
      >>> loss = lambda params, gates: -gates @ jnp.array([0.5, 0.2])
      >>> config = gp.UtilityConfig(beta=0.008, gamma=0.3)
      >>> solution = gp.solve(players, params, loss, config)
      >>> print(solution.gates.round(2), solution.status)
      [0.5 0. ] converged
      >>> solution  # doctest: +ELLIPSIS
      Solution('converged' after ... steps, nash_gap=..., 2 gates of mean 0.25)

    References:
      Shah and Khan, arXiv 2512.22106, sections 4.3 and 5.1.
    """  # noqa: E501
    if dynamics not in get_args(Dynamics):
        raise InputError(
            f"dynamics: expected one of {', '.join(get_args(Dynamics))}, got "
            f"{dynamics!r}"
        )
    chosen = make_options(SolveOptions, options, solve)
    check_players(players)
    everyone = jnp.ones(players.num_players)
    start = check_gates(players, everyone if gates is None else gates)
    game = _Game(players, loss_fn, config, dynamics)
    start = start.astype(game.type_at(params, start))
    fixed = game.grads_at(params, start) if chosen.linearised else None
    terms_at = partial(game.terms_at, params, fixed)
    adapt = _adapts(dynamics, chosen)
    rate = chosen.learning_rate
    if rate is None:
        rate = _first_rate(terms_at, start) if adapt else 1.0
    first = _state_at(
        terms_at,
        start,
        jnp.zeros_like(start),
        jnp.asarray(rate, start.dtype),
        jnp.zeros((), jnp.int32),
    )
    run: CompiledFunction = players.model.programs.get(
        ("solve", loss_fn, config, dynamics, chosen),
        lambda: CompiledFunction(partial(_run, game, chosen)),
    )
    end = run(params, (fixed, first))
    status = _status(end, chosen.tolerance)
    return Solution(end.gates, float(end.gap), int(end.steps), status)


def _adapts(dynamics: Dynamics, options: SolveOptions) -> bool:
    """True where the rate follows the slopes."""
    return dynamics == "ascent" and options.learning_rate is None


class _Game(NamedTuple):
    """The game of a network at given parameters, and who moves how."""

    players: Players
    loss_fn: Callable[[PyTree, Array], Array]
    config: UtilityConfig
    dynamics: Dynamics

    def grads_at(self, params: PyTree, gates: Array) -> PyTree:
        """The loss's gradient by what is trained and by the gates."""

        def loss(joint):
            return self.loss_fn(put_trainable(joint["params"], params), joint["gates"])

        return jax.grad(loss)({"params": take_trainable(params), "gates": gates})

    def terms_at(self, params: PyTree, fixed: PyTree | None, gates: Array) -> OwnTerms:
        """Everybody's parabola, with the benefits of `fixed` gradients if given."""
        grads = self.grads_at(params, gates) if fixed is None else fixed
        return own_terms(self.players, params, grads, gates, self.config)

    def type_at(self, params: PyTree, gates: Array) -> Any:
        """The type in which gates and parabolas can be added up."""
        arrays, rebuild = split_arrays(params)
        terms = jax.eval_shape(
            lambda arrays: self.terms_at(rebuild(arrays), None, gates), arrays
        )
        return jnp.result_type(gates, *terms)

    def move(self, params: PyTree) -> Callable[[OwnTerms, Array, Array], Array]:
        """(terms, gates, rate) -> the new gates."""
        if self.dynamics == "sequential":
            return partial(_take_turns, self.players, params, self.config)
        return _climb if self.dynamics == "ascent" else _respond_at_once


def _run(
    game: _Game,
    options: SolveOptions,
    params: PyTree,
    start: tuple[PyTree | None, _State],
) -> _State:
    """Move the gates until the gap is closed, nothing moves, or the steps are spent."""
    fixed, first = start
    terms_at, move = partial(game.terms_at, params, fixed), game.move(params)
    adapt = _adapts(game.dynamics, options)

    def step(state: _State) -> _State:
        target = move(terms_at(state.gates), state.gates, state.rate)
        moved = target - state.gates
        new = _state_at(terms_at, target, moved, state.rate, state.steps + 1)
        if not adapt:
            return new
        rate = _adaptive_rate(state, new)
        return new._replace(rate=rate, growth=rate / state.rate)

    def goes_on(state: _State) -> Array:
        moving = (state.steps == 0) | (state.moved != 0).any()
        is_open = state.gap > options.tolerance
        return is_open & (state.steps < options.max_steps) & moving

    return jax.lax.while_loop(goes_on, step, first)


def _state_at(
    terms_at: Callable[[Array], OwnTerms],
    gates: Array,
    moved: Array,
    rate: Array,
    steps: Array,
) -> _State:
    terms = terms_at(gates)
    chex.assert_equal_shape([gates, terms.slope, terms.curvature])
    slopes = terms.slope - 2 * terms.curvature * gates
    growth = jnp.zeros_like(rate)
    return _State(gates, slopes, moved, rate, growth, gap(terms, gates), steps)


def _first_rate(terms_at: Callable[[Array], OwnTerms], start: Array) -> Array:
    """The rate at which the steepest gate makes a first step of 0.1."""
    terms = terms_at(start)
    steepest = jnp.abs(terms.slope - 2 * terms.curvature * start).max()
    return 0.1 / jnp.maximum(steepest, 1e-12)


def _status(end: _State, tolerance: float) -> str:
    if not jnp.isfinite(end.gates).all() or not jnp.isfinite(end.gap):
        return "diverged"
    if end.gap <= tolerance:
        return "converged"
    return "stopped" if (end.moved != 0).any() else "stalled"


def _adaptive_rate(old: _State, new: _State) -> Array:
    """Half the inverse of the local Lipschitz constant, and no sudden growth."""
    length, change = (
        jnp.linalg.norm(new.moved),
        jnp.linalg.norm(new.slopes - old.slopes),
    )
    growth = jnp.sqrt(1 + old.growth) * old.rate
    return jnp.where(
        change > 0, jnp.minimum(growth, length / (2 * change + 1e-30)), growth
    )


def _climb(terms: OwnTerms, gates: Array, rate: Array) -> Array:
    slope = terms.slope - 2 * terms.curvature * gates
    return jnp.clip(gates + rate * slope, 0.0, 1.0)


def _respond_at_once(terms: OwnTerms, gates: Array, rate: Array) -> Array:
    return jnp.clip(gates + rate * (respond(terms, gates) - gates), 0.0, 1.0)


def _take_turns(players, params, config, terms, gates, rate) -> Array:
    """One round: what a player changes, those behind it in its family see."""
    if not config.has("eta"):  # nobody sees anybody
        return _respond_at_once(terms, gates, rate)
    scale = jnp.broadcast_to(player_scales(players, params, config.norm), gates.shape)
    eta, moved = config.number("eta"), []
    families = zip(players.families, owned_rows(players, params), strict=True)
    for family, rows in families:
        here = slice(family.start, family.stop)
        own = OwnTerms(terms.slope[here], terms.curvature[here])
        rows = rows * scale[here, None]

        def turn(shift, player):
            (slope, curvature), gate, row = player
            slope = slope - eta * (row @ shift)  # what those before it have changed
            best = respond(OwnTerms(slope, curvature), gate)
            new = jnp.clip(gate + rate * (best - gate), 0.0, 1.0)
            return shift + (new - gate) * row, new

        start = jnp.zeros(rows.shape[1], rows.dtype)
        moved.append(jax.lax.scan(turn, start, (own, gates[here], rows))[1])
    return jnp.concatenate(moved)
