"""MCUE: how unsure a network is of its output under random removal of players."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from gamepruning.metrics import as_labels, check_classes
from gamepruning.options import make_options
from gamepruning.players import Players
from gamepruning.players.examples import check_players, output_shapes
from gamepruning.players.players import Which
from gamepruning.trees.examples import as_inputs
from gamepruning.trees.keys import as_threefry
from gamepruning.trees.layout import make_layout
from gamepruning.trees.processes import to_host
from gamepruning.types import InputError, KeyLike
from gamepruning.uncertainty.config import McueConfig, McueOptions
from gamepruning.uncertainty.grid import (
    SizeLaw,
    jackknife,
    peak_of,
    size_law,
    variance_of,
)
from gamepruning.uncertainty.moments import (
    ObservedModel,
    SizeMoments,
    choose_sizes,
    measure_sizes,
)
from gamepruning.uncertainty.outputs import OutputFn, make_reading


@dataclasses.dataclass(frozen=True)
class Bands:
    """The variance of the model output for each p and q.

    Standard errors are those of the random coalitions; the inputs are taken as given.

    Attributes:
      variance: unbiased, float [P, Q]; a value near 0 may come out below it.
      stderr: the standard error of `variance`, float [P, Q].
      p: probabilities of the second stage, float [P].
      q: shares that the first stage takes out, float [Q]; the same numbers.
      peak: t*, where the variance is largest on the diagonal p = q.
      peak_stderr: the standard error of `peak`; 0 where it is at an end of the grid.
      output: the definition of the model output.
      num_players: n, those that play.
      num_evaluations: of the network over the inputs.
    """

    variance: Float[np.ndarray, "P Q"]
    stderr: Float[np.ndarray, "P Q"]
    p: Float[np.ndarray, " P"]
    q: Float[np.ndarray, " Q"]
    peak: float
    peak_stderr: float
    output: str
    num_players: int
    num_evaluations: int

    def __repr__(self) -> str:
        rows, columns = self.variance.shape
        peak = f"peak {self.peak:.3f} +- {self.peak_stderr:.3f}"
        if self.is_at_end:
            peak = f"no peak: largest at {self.peak:.3f}, an end of the grid"
        return (
            f"Bands({self.output!r}, {rows} x {columns}, {self.num_players} players, "
            f"{peak})"
        )

    @property
    def diagonal(self) -> Float[np.ndarray, " P"]:
        """MCUE(p, p)."""
        return np.diagonal(self.variance)

    @property
    def diagonal_stderr(self) -> Float[np.ndarray, " P"]:
        """The standard error of `diagonal`."""
        return np.diagonal(self.stderr)

    @property
    def bias(self) -> float:
        """d = 1 - t*, for the power index beta_d; of no peak where `is_at_end`."""
        return 1 - self.peak

    @property
    def critical_size(self) -> float:
        """1 - t*: the paper's guess of the share of players that a winning ticket has.

        It is the share that either stage leaves; see `share_at_peak`.
        """
        return 1 - self.peak

    @property
    def share_at_peak(self) -> float:
        """(1 - t*)^2: the share that is left at the peak after both stages."""
        return (1 - self.peak) ** 2

    @property
    def is_at_end(self) -> bool:
        """True if the diagonal only rises or only falls: then `peak` is none."""
        return int(np.argmax(self.diagonal)) in (0, len(self.p) - 1)


@overload
def mcue(
    key: KeyLike,
    players: Players,
    params: PyTree,
    inputs: PyTree,
    labels: Any = None,
    *,
    output: str | OutputFn = "label",
    varying: Which = None,
    **options: Unpack[McueOptions],
) -> Bands: ...


@overload
def mcue(
    key: KeyLike,
    players: Players,
    params: PyTree,
    inputs: PyTree,
    labels: Any = None,
    *,
    output: Sequence[str | OutputFn],
    varying: Which = None,
    **options: Unpack[McueOptions],
) -> tuple[Bands, ...]: ...


def mcue(
    key: KeyLike,
    players: Players,
    params: PyTree,
    inputs: PyTree,
    labels: Any = None,
    *,
    output: str | OutputFn | Sequence[str | OutputFn] = "label",
    varying: Which = None,
    **options: Unpack[McueOptions],
) -> Bands | tuple[Bands, ...]:
    """Monte-Carlo uncertainty estimation: the p, q bands, the peak t* and d = 1 - t*.

        MCUE(p, q) = Var t(S', x)

    where S' is what two stages leave of n players: first (1 - q) n of them, drawn
    uniformly, then each of these with probability 1 - p. The grid is the midpoints
    (k + 1/2) / num_points of [0, 1], for both; with 20 of them it has the 0.825 and
    0.775 that the paper reads. The peak is that of the diagonal p = q, between the
    points of the grid by a parabola.

    The paper does not say what number t is, and d follows from it. With z the logits,
    c the predicted class and y the label, `output` is one of

    | output | t(S, x) | t* of LeNet-300-100 | t* of LeNet-5 |
    | --- | --- | --- | --- |
    | "label" | c, as a number | 0.62 | 0.54 |
    | "vote" | c, as a unit vector | 0.68 | 0.52 |
    | "probabilities" | softmax(z) | 0.30 | 0.18 |
    | "correct" | 1 if c = y, else 0 | 0.50 | 0.29 |
    | "outputs" | z | 0.13 | 0.09 |

    or any function of the network's outputs, [B, ...]. The variance is that within an
    input, averaged over inputs: mean_x sum_k Var_S t_k(S, x). With "total_" before the
    name it is over coalitions and inputs together, sum_k Var_{S,x} t_k(S, x), which is
    Algorithm 1 to the letter: it draws an input for each coalition. The variance of the
    labels in the data is then part of it, and it mostly falls from p = 0 on, without a
    peak: see `Bands.is_at_end`. "total_correct" is a (1 - a) for the accuracy a,
    largest where a = 1/2 (t* = 0.48 and 0.28). The number of a class means nothing,
    which is why "vote" is there.

    The paper reads t* = 0.825 and 0.775 and calls 1 - t* the size of the winning
    ticket. No definition here has its peak there. But two stages leave (1 - t*)^2 of
    the players, and for "label" that share is 0.15 and 0.21, near the paper's 0.175 and
    0.225: as if its axis were the share that is gone after both. `Bands` has both
    numbers.

    Algorithm 1 draws coalitions for each p and q. Given its size, every coalition is
    equally likely, and the size follows a known law; so here coalitions are drawn for
    each size, and every point of the grid uses all of them. The estimate is unbiased if
    n < num_sizes. Else `num_sizes` sizes are measured, evenly spaced along the
    diagonal, and means and variances at those between lie on straight lines.

    Args:
      key: random key.
      players: the `Players` of the network.
      params: its parameters.
      inputs: the network's input, [B, ...], or a tuple of inputs; a few hundred do.
      labels: true classes, int [B], for "correct".
      output: see above. A sequence of several is estimated from the same passes.
      varying: who plays: names of families or a mask [N]; all if None. The others are
        always in.
      **options: fields of `McueConfig`: num_points, num_samples, num_sizes, chunk_size,
        mesh, coalition_axis, progress.

    Returns:
      `Bands`; for a sequence of outputs a tuple of them, each as it is alone with the
      same key.

    Raises:
      InputError: the network returned NaN, its output does not vary, a number is too
        small, or arrays lie on devices of other processes and there is no mesh.
      LostProcess: another process of the mesh has ended.
      TypeError: an unknown keyword.

    Cost: at most `num_sizes` * `num_samples` evaluations, however many outputs; memory
    for ten times `num_sizes` values of t on the inputs, however many samples.

    Example: the output is the number of players in, which is least certain where each
    is left with probability (1 - p)^2 = 1/2.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.ones((1, 40)), "out": jnp.ones((40, 1))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 1)))
      >>> key = jax.random.key(0)
      >>> bands = gp.mcue(key, players, params, jnp.ones((1, 1)), output="outputs")
      >>> bands.variance.shape, round(bands.peak, 1), round(bands.bias, 1)
      ((20, 20), 0.3, 0.7)
      >>> both = ("outputs", lambda z: z**2)
      >>> found = gp.mcue(key, players, params, jnp.ones((1, 1)), output=both)
      >>> found[0].peak == bands.peak, found[1].num_players
      (True, 40)

    References:
      Diaz-Ortiz et al., Using Cooperative Game Theory to Prune Neural Networks, arXiv
      2311.10468, Algorithm 1 and section III-A.
    """
    config = make_options(McueConfig, options, mcue)
    check_players(players)
    key, given = as_threefry(key), as_inputs(inputs)
    playing = players.select(varying)
    if not playing.any():
        raise InputError("nobody varies: there is no coalition to draw")
    outputs = (output,) if isinstance(output, str) or callable(output) else output
    shapes = output_shapes(players, params, given)
    labels = None if labels is None else as_labels(labels)
    compares = any("correct" in str(each) for each in outputs)
    if compares and np.shape(labels) == np.shape(shapes)[:-1]:
        check_classes(shapes, labels)
    labels = None if labels is None else jnp.asarray(to_host(labels))
    readings = [make_reading(each, labels) for each in outputs]
    num_players = int(playing.sum())
    sizes = choose_sizes(num_players, config.num_sizes)
    network = ObservedModel(players, params, given)
    same = jax.random.key_data(key), params, given, labels, sizes, playing
    make_layout(None, config.mesh, config.coalition_axis).check_same(same)
    measured = measure_sizes(key, network, readings, sizes, playing, config)
    grid = (np.arange(config.num_points) + 0.5) / config.num_points
    law = size_law(grid, grid, num_players, sizes)
    found = tuple(
        _bands(moments, law, grid, reading.name, num_players)
        for moments, reading in zip(measured, readings, strict=True)
    )
    return found[0] if outputs is not output else found


def _bands(
    moments: SizeMoments, law: SizeLaw, grid: np.ndarray, name: str, num_players: int
) -> Bands:
    on_diagonal = SizeLaw(*(np.diagonal(part).T for part in law))
    variance = jackknife(partial(variance_of, moments, law), moments)
    if np.isnan(np.diagonal(variance.value)).any():
        raise InputError(
            f"the output {name!r} is infinite for some examples, as are the logits of "
            "classes that are masked out: choose another output, such as probabilities"
        )
    if not (np.diagonal(variance.value) > 0).any():
        raise InputError(
            f"the output {name!r} is the same whoever is in the coalition: there is no "
            "peak; choose another output, or other players"
        )
    peak = jackknife(
        lambda groups: peak_of(grid, variance_of(moments, on_diagonal, groups)), moments
    )
    return Bands(
        variance=variance.value,
        stderr=variance.stderr,
        p=grid,
        q=grid,
        peak=float(peak.value),
        peak_stderr=float(peak.stderr),
        output=name,
        num_players=num_players,
        num_evaluations=int(len(moments.sizes) * moments.counts.sum()),
    )
