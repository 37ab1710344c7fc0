"""Scores by reconstruction: who can be made up for by those that stay."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from gamepruning.metrics import class_divergence
from gamepruning.options import as_config
from gamepruning.players import Players
from gamepruning.players.examples import examples_are_apart
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.reconstruction.eliminate import Elimination, eliminate
from gamepruning.reconstruction.gram import RIDGE, Grams, gather_grams
from gamepruning.reconstruction.moments import wide
from gamepruning.reconstruction.passes import check_units
from gamepruning.reconstruction.sensitivity import (
    Metrics,
    gate_sensitivities,
    sensitivities,
    size_of_output,
)
from gamepruning.trees.arrays import CompiledFunction
from gamepruning.trees.examples import as_inputs
from gamepruning.types import InputError, Outputs, Params, Scores, brief_repr

ACROSS = ("network", "error", "share")
METRICS = ("outputs", "results")
SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4)
Divergence = Callable[[Outputs, Outputs], Float[Array, ""]]  # (full, cut) -> scalar


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig:
    """How players are scored by reconstruction.

    Attributes:
      across: how players of different families are compared. "network": by what the
        whole network loses when their family alone is cut to some sizes and repaired,
        as a price: the loss for one more player, made convex. "error": by the share of
        the readers' results that is lost when they leave. "share": by their rank, so
        that every family keeps the same share.
      shares: at which shares of a family the network is asked, for "network".
      num_examples: how many of the examples it is asked on; all of them where they
        depend on each other.
      divergence: (outputs of the full network, of the cut one) -> what is lost. None:
        the Kullback-Leibler divergence of the classes for outputs [..., C] of one
        array with 2 classes or more, else the squared difference over the variance.
      metric: what an error of a reader's results counts. "outputs": by what it does to
        the outputs, as the full network's gradients say (Fisher's metric); "results":
        its square over the energy of the reader's results.
      ridge: of the fits, as a multiple of an input's mean square.
      batch_size: examples a pass.

    Example:
      >>> ReconstructionConfig(across="layers")
      Traceback (most recent call last):
      gamepruning.types.InputError: across='layers': expected network, error or share
    """

    across: str = "network"
    shares: Sequence[float] = SHARES
    num_examples: int = 384
    divergence: Divergence | None = None
    metric: str = "outputs"
    ridge: float = RIDGE
    batch_size: int = 256

    def __post_init__(self):
        if self.across not in ACROSS:
            raise InputError(
                f"across={self.across!r}: expected network, error or share"
            )
        if self.metric not in METRICS:
            raise InputError(f"metric={self.metric!r}: expected outputs or results")
        if not len(self.shares) or any(not 0 < share < 1 for share in self.shares):
            raise InputError(f"shares={self.shares}: expected shares between 0 and 1")
        if self.num_examples < 1:
            raise InputError(f"num_examples={self.num_examples}: expected at least 1")


class FamilyCurve(NamedTuple):
    """What it costs to cut one family.

    Attributes:
      name: the family.
      order: its players, first to leave first.
      error: the share of its readers' results that is lost when each has left.
      counts: at how many players left the network was asked.
      loss: what the network lost there.
    """

    name: str
    order: Int[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    counts: Int[np.ndarray, " c"]
    loss: Float[np.ndarray, " c"]

    __repr__ = brief_repr


def reconstruction_scores(
    players: Players,
    params: Params,
    inputs: PyTree,
    *,
    config: ReconstructionConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Scores:
    """Score players by how badly the others make up for them.

    In every family the player leaves first whose weights' readers lose least when the
    weights of all others are fitted anew: v(S) = E|z|^2 - E|z - h_S W_S|^2 falls least.
    All players of a family stand in one order; `config.across` says how families
    compare. No labels, no training.

    Args:
      players: what `find_players` found, N players, units or layers; not those of
        layers="each".
      params: the full network's parameters.
      inputs: calibration examples, [B, ...] or a tuple of inputs.
      config: see `ReconstructionConfig`.
      progress: called with (family, number, of how many) before each family.

    Returns:
      `Scores`: exact on these examples; higher means keep. Players whose readers cannot
      be fitted are scored as if nothing made up for them (with a warning): in the order
      of the mean square of the outputs' derivative by their gates.

    Raises:
      InputError: the inputs do not fit, or an activation is not finite.

    Cost: one pass over the examples, for each reader K^2 multiply-adds a row and the
    inverse of [K, K], and K^2 for each player that leaves; with across="network" also
    one pass over `num_examples` for every family and share; with metric="outputs" also
    passes forward and backward, some dozens for each result of a reader.

    Example: the third unit is the sum of the first two; who is left makes up for it.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return (x @ params["in"]) @ params["out"]
      >>> into = jnp.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0, 0, 0, 3]])
      >>> params = {"in": into, "out": jnp.ones((4, 1))}
      >>> x = jax.random.normal(jax.random.key(0), (99, 3))
      >>> players = gp.find_players(apply, params, x)
      >>> scores = reconstruction_scores(players, params, x)
      >>> int(scores.value.argmax())
      3

    References:
      Hassibi and Stork, Optimal Brain Surgeon, 1992, on blocks; the comparison across
      families by a price is the clearing of a market (see `gp.Budget`).
    """
    config = as_config(config, ReconstructionConfig)
    found = family_curves(players, params, inputs, config=config, progress=progress)
    value = np.zeros(players.num_players)
    for curve in found.families:
        value[curve.order] = _SCORES[config.across](curve)
    return Scores(jnp.asarray(value), jnp.zeros(len(value)), _num_evaluations(found))


def reconstruction_curves(
    players: Players,
    params: Params,
    inputs: PyTree,
    *,
    config: ReconstructionConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[tuple[FamilyCurve, ...], int]:
    """What `reconstruction_scores` is made of: one curve a family.

    Args: see `reconstruction_scores`.

    Returns:
      The curves in the order of the families, and the number of evaluations.
    """
    config = as_config(config, ReconstructionConfig)
    found = family_curves(players, params, inputs, config=config, progress=progress)
    return found.families, _num_evaluations(found)


def _num_evaluations(found: "Curves") -> int:
    return 1 + sum(len(curve.loss) for curve in found.families)


class Curves(NamedTuple):
    """A curve for each family, and who may ask the network more.

    Attributes:
      families: the curves.
      ask: mask -> what the network loses under it after one-shot repair.
      metrics: what an error of each reader's results counts; None: its square.
    """

    families: tuple[FamilyCurve, ...]
    ask: "_Ask"
    metrics: Metrics | None

    __repr__ = brief_repr


def family_curves(
    players: Players,
    params: Params,
    inputs: PyTree,
    *,
    config: ReconstructionConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Curves:
    """Eliminate every family, and ask the network what it loses at some sizes.

    Args:
      players: what `find_players` found, N players, units or layers; not those of
        layers="each".
      params: the full network's parameters.
      inputs: calibration examples, [B, ...] or a tuple of inputs; no labels.
      config: see `ReconstructionConfig`.
      progress: called with (family, number, of how many) before each family.

    Returns:
      `Curves`, for `trade_curves`.

    Raises:
      InputError: the inputs or settings do not fit, or an activation or what the
        network loses is not finite.

    Cost: that of `reconstruction_scores`.
    """
    config = as_config(config, ReconstructionConfig)
    inputs = as_inputs(inputs)
    players = check_units(players, params, inputs)
    grams = gather_grams(
        players, params, inputs, batch_size=config.batch_size, ridge=config.ridge
    )
    ask = _Ask(players, params, inputs, config, grams)
    if config.across == "network" and not np.isfinite(ask(np.ones(ask.size, bool))):
        raise InputError(
            "what the network loses is not finite, even with all players (NaN or "
            "infinite): look for NaN in its outputs on the calibration examples"
        )
    by_outputs = config.metric == "outputs"
    metrics = sensitivities(players, params, inputs) if by_outputs else None
    each_alone = None
    if not all(grams.of(list(range(f.start, f.stop))) for f in players.families):
        each_alone = gate_sensitivities(players, params, inputs)
    curves, unread = [], []
    for number, family in enumerate(players.families):
        if progress is not None:
            progress(family.name, number, len(players.families))
        numbers = list(range(family.start, family.stop))
        counts = sorted({max(1, round(s * family.size)) for s in config.shares})
        is_asked = config.across == "network"
        counts = [c for c in counts if c < family.size] if is_asked else []
        own = grams.of(numbers)
        if own:
            found = eliminate(numbers, own, counts, metrics=metrics)
        else:
            unread.append(family.name)
            found = _without_readers(numbers, each_alone, counts)
        loss = [ask.after(found, count) for count in counts]
        noted = np.array(counts, int), np.array(loss, float)
        curves.append(FamilyCurve(family.name, found.order, found.loss, *noted))
    if unread:
        _warn_of_unread(unread, grams, each_alone is not None)
    return Curves(tuple(curves), ask, metrics)


def _without_readers(
    numbers: Sequence[int],
    each_alone: Float[np.ndarray, " N"] | None,
    counts: Sequence[int],
) -> Elimination:
    """Who does least to the outputs leaves first; nobody makes up for anybody."""
    own = np.ones(len(numbers)) if each_alone is None else each_alone[numbers]
    first = np.argsort(own, kind="stable")
    lost = np.cumsum(own[first])
    weights: dict[int, list[Any]] = {count: [] for count in counts}
    return Elimination(np.asarray(numbers)[first], lost / max(lost[-1], 1e-30), weights)


class _Ask:
    """What the whole network loses under a mask, after one-shot repair."""

    def __init__(self, players: UnitPlayers, params, inputs, config, grams: Grams):
        self._players = players
        self.grams = grams
        num = config.num_examples
        apart = examples_are_apart(players, params, inputs)
        self._inputs = (
            jax.tree.map(lambda leaf: leaf[:num], inputs) if apart else inputs
        )
        self._params, self._divergence = params, config.divergence
        self.size = players.num_players

    @cached_property
    def _lost(self) -> Callable[..., Float[Array, ""]]:
        gated = CompiledFunction(lambda p, data: self._players.gated(p, *data))
        full = gated(self._params, (np.ones(self.size, bool), *self._inputs))
        divergence = self._divergence or _divergence(full)
        run = CompiledFunction(
            lambda p, data: divergence(data[0], self._players.gated(p, *data[1]))
        )
        return lambda p, m, x: run(p, (full, (m, *x)))

    def __call__(self, mask: Bool[np.ndarray, " N"]) -> float:
        return self._loss(self.grams.repaired(mask), mask)

    def after(self, found: Elimination, count: int) -> float:
        """The loss when one family is cut to a count at which weights were noted."""
        mask = np.ones(self._players.num_players, bool)
        mask[found.order[: len(found.order) - count]] = False
        leaves = list(self.grams.run.params)
        readers = self.grams.of(found.order.tolist())
        for gram, weights in zip(readers, found.weights[count], strict=True):
            gram.write(leaves, gram.stays(mask), weights)
        return self._loss(leaves, mask)

    def _loss(self, leaves, mask: Bool[np.ndarray, " N"]) -> float:
        params = self.grams.run.passes.with_params(leaves)
        return float(self._lost(params, mask, self._inputs))


def _divergence(full: Outputs) -> Divergence:
    first, *others = jax.tree.leaves(full)
    is_logits = first.ndim > 1 and first.shape[-1] > 1 and not others
    if is_logits and jnp.issubdtype(first.dtype, jnp.floating):
        return kl_divergence
    return relative_error


def kl_divergence(full: Outputs, cut: Outputs) -> Float[Array, ""]:
    """Mean Kullback-Leibler divergence of the classes, from logits [..., C]."""
    (one,), (two,) = jax.tree.leaves(full), jax.tree.leaves(cut)
    return class_divergence(one, two)


def relative_error(full: Outputs, cut: Outputs) -> Float[Array, ""]:
    """Squared difference over the variance, the mean over the outputs.

    An output that hardly varies, such as a loss beside logits, is taken by its square.
    """
    leaves = (map(wide, jax.tree.leaves(outputs)) for outputs in (full, cut))
    found = [
        jnp.square(abs(a - b)).mean() / size_of_output(a)
        for a, b in zip(*leaves, strict=True)
    ]
    return jnp.stack(found).mean()


# -- from a curve to scores ----------------------------------------------------------


def _by_error(curve: FamilyCurve) -> np.ndarray:
    return curve.error


def _by_share(curve: FamilyCurve) -> np.ndarray:
    return (1 + np.arange(len(curve.order))) / len(curve.order)


def price(curve: FamilyCurve) -> Float[np.ndarray, " n"]:
    """The loss for each player that leaves, in the order of leaving: it never falls.

    The losses measured, with 0 for the whole family, are made convex from below; what
    lies between two of them is shared out evenly. The last players, below the smallest
    size asked, cost what the last stretch did, and a little more each. Where the
    network was not asked, the readers' errors stand for its losses.
    """
    size = len(curve.order)
    counts, loss = curve.counts, curve.loss
    if not len(counts):
        counts, loss = np.arange(size), curve.error[::-1]
    counts = np.append(counts, size)
    loss = np.maximum.accumulate(np.append(loss, 0.0)[::-1])[::-1]
    hull = _lower_hull(counts, loss)
    slopes = np.zeros(size + 1)  # slopes[k]: from k players to k - 1
    for (low, high), (one, two) in zip(
        zip(counts[hull][:-1], counts[hull][1:], strict=True),
        zip(loss[hull][:-1], loss[hull][1:], strict=True),
        strict=True,
    ):
        slopes[low + 1 : high + 1] = (one - two) / (high - low)
    first = counts[hull][0]
    slopes[1 : first + 1] = slopes[first + 1] if first < size else 0.0
    found = slopes[:0:-1]
    tie = 1 + 1e-2 * np.arange(size) / size  # also in single precision
    return np.maximum(found, 1e-30) * tie


def _lower_hull(x: np.ndarray, y: np.ndarray) -> list[int]:
    """The corners of the largest convex function below points of increasing x."""
    hull: list[int] = []
    for k in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2:]
            if (y[b] - y[a]) * (x[k] - x[a]) < (y[k] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(k)
    return hull


_SCORES: dict[str, Callable[[FamilyCurve], Any]] = {
    "network": price,
    "error": _by_error,
    "share": _by_share,
}


def _warn_of_unread(unread: Sequence[str], grams: Grams, has_gradient: bool) -> None:
    reasons = ", ".join(f"{a.path}: {a.reason}" for a in grams.alone[:2])
    names = ", ".join(unread[:3]) + (", ..." if len(unread) > 3 else "")
    is_one = len(unread) == 1
    by = "their own effect on the outputs"
    by = by if has_gradient else "their numbers, for the network has no gradient"
    warnings.warn(
        f"{len(unread)} {'family is' if is_one else 'families are'} read by nothing "
        f"that can be fitted ({names}; {reasons}): nothing can make up for whoever "
        f"leaves, so the players are ranked by {by}",
        stacklevel=4,
    )
