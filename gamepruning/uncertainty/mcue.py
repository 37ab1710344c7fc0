"""MCUE: how unsure a network is of its output under random elimination of players."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from gamepruning.players import Players
from gamepruning.types import InputError
from gamepruning.uncertainty.grid import (
    SizeLaw,
    jackknife,
    peak_of,
    size_law,
    variance_of,
)
from gamepruning.uncertainty.moments import (
    SizeMoments,
    choose_sizes,
    measure_sizes,
)
from gamepruning.uncertainty.outputs import make_reading


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
        """d = 1 - t*, for the power index beta_d."""
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
        """Whether the diagonal only rises or only falls: then `peak` is none."""
        return int(np.argmax(self.diagonal)) in (0, len(self.p) - 1)


def mcue(
    key: Array,
    players: Players,
    params: PyTree,
    inputs: PyTree,
    labels: ArrayLike | None = None,
    *,
    output: str | Callable[[Any], Array] = "label",
    num_points: int = 20,
    num_samples: int = 100,
    num_sizes: int = 64,
    varying: Any = None,
    chunk_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bands:
    """Monte-Carlo uncertainty estimation: the p, q bands, the peak t* and d = 1 - t*.

        MCUE(p, q) = Var t(S', x)

    where S' is what two stages leave of n players: first (1 - q) n of them, drawn
    uniformly, then each of these with probability 1 - p. The grid is the midpoints
    (k + 1/2) / num_points of [0, 1], for both; with 20 of them it has the .825 and .775
    that the paper reads. The peak is that of the diagonal p = q, between the points of
    the grid by a parabola.

    The paper does not say what number t is, and d follows from it. With z the logits,
    c the predicted class and y the label, `output` is one of

    | output | t(S, x) | t* of LeNet-300-100 | t* of LeNet-5 |
    | --- | --- | --- | --- |
    | "label" | c, as a number | .62 | .54 |
    | "vote" | c, as a unit vector | .68 | .52 |
    | "probabilities" | softmax(z) | .30 | .18 |
    | "correct" | 1 if c = y, else 0 | .50 | .29 |
    | "outputs" | z | .13 | .09 |

    or any function of the network's outputs, [B, ...]. The variance is that within an
    input, averaged over inputs: mean_x sum_k Var_S t_k(S, x). With "total_" before the
    name it is over coalitions and inputs together, sum_k Var_{S,x} t_k(S, x), which is
    Algorithm 1 to the letter: it draws an input for each coalition. The variance of the
    labels in the data is then part of it, and it mostly falls from p = 0 on, without a
    peak: see `Bands.is_at_end`. "total_correct" is a (1 - a) for the accuracy a,
    largest where a = 1/2 (t* = .48 and .28). The number of a class means nothing, which
    is why "vote" is there.

    The paper reads t* = .825 and .775 and calls 1 - t* the size of the winning ticket.
    No definition here has its peak there. But two stages leave (1 - t*)^2 of the
    players, and for "label" that share is .15 and .21, near the paper's .175 and .225:
    as if its axis were the share that is gone after both. `Bands` has both numbers.

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
      output: see above.
      num_points: P, at least 3. More cost nothing.
      num_samples: coalitions of each size, at least 4.
      num_sizes: sizes of coalitions, at least 3.
      varying: who plays: names of families or a mask [N]; all if None. The others are
        always in.
      chunk_size: coalitions side by side; by default what fits a few million entries.
        Changes nothing but speed and memory.
      progress: called now and then with the evaluations done, and in all.

    Returns:
      `Bands`. Cost: at most `num_sizes` * `num_samples` evaluations, and memory for ten
      times `num_sizes` values of t on the inputs, however many samples.

    Raises:
      InputError: the network returned NaN, its output does not vary, or a number is too
        small.

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

    References:
      Diaz-Ortiz et al., Using Cooperative Game Theory to Prune Neural Networks, arXiv
      2311.10468, Algorithm 1 and section III-A.
    """
    found = mcue_each(
        key,
        players,
        params,
        inputs,
        labels,
        outputs=(output,),
        num_points=num_points,
        num_samples=num_samples,
        num_sizes=num_sizes,
        varying=varying,
        chunk_size=chunk_size,
        progress=progress,
    )
    return found[0]


def mcue_each(
    key: Array,
    players: Players,
    params: PyTree,
    inputs: PyTree,
    labels: ArrayLike | None = None,
    *,
    outputs: Sequence[str | Callable[[Any], Array]],
    num_points: int = 20,
    num_samples: int = 100,
    num_sizes: int = 64,
    varying: Any = None,
    chunk_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Bands, ...]:
    """`mcue` for several definitions of the output, from the same passes.

    Args:
      key: random key.
      players: the `Players` of the network.
      params: its parameters.
      inputs: as for `mcue`, as is all that follows.
      labels: true classes.
      outputs: definitions of the output.
      num_points: P.
      num_samples: coalitions of each size.
      num_sizes: sizes of coalitions.
      varying: who plays.
      chunk_size: coalitions side by side.
      progress: called with the evaluations done, and in all.

    Returns:
      The bands of each definition, each as `mcue` with the same key has it. Cost: that
      of one.

    Raises:
      InputError: as for `mcue`.
    """
    for name, value, least in (
        ("num_points", num_points, 3),
        ("num_samples", num_samples, 4),
        ("num_sizes", num_sizes, 3),
        ("chunk_size", 1 if chunk_size is None else chunk_size, 1),
    ):
        if value < least:
            raise InputError(f"expected {name} of at least {least}, got {value}")
    playing = players.select(varying)
    if not playing.any():
        raise InputError("nobody varies: there is no coalition to draw")
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    labels = None if labels is None else jnp.asarray(labels)
    readings = [make_reading(output, labels) for output in outputs]
    num_players = int(playing.sum())
    sizes = choose_sizes(num_players, num_sizes)
    measured = measure_sizes(
        key,
        players,
        params,
        inputs,
        readings,
        sizes=sizes,
        num_samples=num_samples,
        varying=playing,
        chunk_size=chunk_size,
        progress=progress,
    )
    grid = (np.arange(num_points) + 0.5) / num_points
    law = size_law(grid, grid, num_players, sizes)
    return tuple(
        _bands(moments, law, grid, reading.name, num_players)
        for moments, reading in zip(measured, readings, strict=True)
    )


def _bands(
    moments: SizeMoments, law: SizeLaw, grid: np.ndarray, name: str, num_players: int
) -> Bands:
    on_diagonal = SizeLaw(*(np.diagonal(part).T for part in law))
    variance = jackknife(partial(variance_of, moments, law), moments)
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
