"""What every reader of a network needs to know of its inputs, from one pass.

In the full network a reader computes z = x W. With the second moments C = E[x x^T] of
its inputs (about their mean where a bias can make up for it), the best weights W' of
those of its inputs that stay, and what is lost with them, follow for any set of inputs
without another pass:

    W'_S = W_S + C_SS^-1 C_SD W_D,    loss(S) = tr(W_D^T [(C^-1)_DD]^-1 W_D),

where S stays and D leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, PyTree
from scipy.linalg import get_lapack_funcs

from gamepruning.players import Players
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.reconstruction.collect import Collected, Terms, collect_shared
from gamepruning.reconstruction.passes import LineRun, Passes, check_units, split_calls
from gamepruning.reconstruction.readers import Alone, Shared, find_readers
from gamepruning.reconstruction.rows import Matrices
from gamepruning.reconstruction.write import BiasPlaces, bias_places
from gamepruning.trees.examples import as_inputs
from gamepruning.types import InputError, Params

RIDGE = 1e-4  # of the mean square of an input
MOST_INVERTED = 2048  # inputs: 32 MiB
WORST_CONDITION = 1e9  # of an inverse: it is exact to about 1e-7
(_POSV,) = get_lapack_funcs(("posv",), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Gram:
    """One matrix of weights, and the second moments of what it reads.

    Attributes:
      shared: the readers of the matrix.
      players: whom each input needs, int [G, K, width]: numbers + 1, 0 for nobody.
      mean: of the inputs, [G, K]; 0 without a bias.
      moments: C, with the ridge on its diagonal, [G, K, K].
      weights: W, [G, K, M].
      energy: E|z|^2 about its mean, or about 0 without a bias.
      bias: where a change of the results goes; None without a bias.
    """

    shared: Shared
    players: Int[np.ndarray, "G K width"]
    mean: Float[np.ndarray, "G K"]
    moments: Float[np.ndarray, "G K K"]
    weights: Float[np.ndarray, "G K M"]
    energy: float
    bias: BiasPlaces | None

    @property
    def leaves(self) -> list[int]:
        """The parameters that hold the weights and the bias, by number."""
        weights, bias = self.shared.readers[0].weights, self.bias
        own = [] if bias is None else bias.layout.leaves(bias.places)
        return [*weights.leaves, *own]

    def entries(self, player: int) -> list[Int[np.ndarray, " k"]]:
        """The inputs that leave with a player, by group."""
        needs = (self.players == player + 1).any(axis=-1)
        return [np.flatnonzero(row) for row in needs]

    def stays(self, mask: Bool[np.ndarray, " N"]) -> Bool[np.ndarray, "G K"]:
        """The inputs that are left under a mask."""
        there = np.append(True, mask)
        return np.asarray(there[self.players].all(axis=-1))

    def fit(self, stays: Bool[np.ndarray, "G K"]) -> Matrices:
        """The best weights of the inputs that stay, [G, K, M]; 0 for the others."""
        found = np.zeros_like(self.weights)
        for g, left in enumerate(stays):
            rows, gone = np.flatnonzero(left), np.flatnonzero(~left)
            if 3 * len(gone) < 2 * len(rows) and self.inverse is not None:
                own = self.weights[g, rows]
                found[g, rows] = own - self._missing(self.inverse[g], g, rows, gone)
            else:
                block = _block(self.moments[g], rows, rows)
                found[g, rows] = _solve(block, self.products[g].take(rows, 0))
        return found

    def _missing(
        self, inverse: np.ndarray, group: int, rows: np.ndarray, gone: np.ndarray
    ) -> np.ndarray:
        """H_SD H_DD^-1 W_D, with H the inverse of C: what stays makes up for D."""
        block = _block(inverse, gone, gone)
        return _block(inverse, rows, gone) @ _solve(block, self.weights[group, gone])

    @cached_property
    def inverse(self) -> Float[np.ndarray, "G K K"] | None:
        """The inverse of C, where it is small and exact enough to be of use.

        Where few inputs leave, the solve is one of their number.
        """
        if self.moments.shape[1] > MOST_INVERTED:
            return None
        found = np.linalg.inv(self.moments)
        condition = np.abs(self.moments).sum(-1).max(-1) * np.abs(found).sum(-1).max(-1)
        return found if (condition < WORST_CONDITION).all() else None

    @cached_property
    def products(self) -> Matrices:
        """C W, [G, K, M]: the best weights of the inputs S solve C_SS W_S = (C W)_S."""
        return self.moments @ self.weights

    def write(
        self, leaves: list[Any], stays: Bool[np.ndarray, "G K"], weights: Matrices
    ) -> None:
        """Give the inputs that stay other weights, and the bias what is short.

        Args:
          leaves: the parameters of the full network; those that change are replaced.
          stays: which inputs are left.
          weights: theirs, [G, K, M]; what stands at the others is not read.
        """
        layout, places = self.shared.readers[0].weights
        layout.add(leaves, places[stays], weights[stays] - self.weights[stays])
        if self.bias is not None:
            kept = np.where(stays, self.mean, 0)[:, None]
            short = self.mean[:, None] @ self.weights - kept @ weights
            self.bias.add(leaves, short[:, 0])


def _block(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """These rows and columns; twice as fast as with `np.ix_`."""
    return matrix.take(rows, 0).take(columns, 1)


def _solve(
    block: Float[np.ndarray, "k k"], products: Float[np.ndarray, "k M"]
) -> Float[np.ndarray, "k M"]:
    """x of block x = products; block is symmetric and is overwritten."""
    if not len(block):
        return products
    _, found, info = _POSV(block.T, products, overwrite_a=True)
    if info:
        raise InputError(
            "the second moments of a reader's inputs are singular to rounding: give "
            "gather_grams a larger ridge"
        )
    return found


@dataclass(frozen=True, eq=False, repr=False)
class Grams:
    """All matrices of a network that some mask cuts.

    Attributes:
      grams: in the order of the program.
      alone: what reads an axis with players and cannot be fitted.
      run: the full network before its first step: its parameters, and its examples.
      players: those of the network.
    """

    grams: tuple[Gram, ...]
    alone: tuple[Alone, ...]
    run: LineRun
    players: UnitPlayers

    def __repr__(self) -> str:
        matrices = "matrix" if len(self.grams) == 1 else "matrices"
        return (
            f"Grams({len(self.grams)} {matrices}; {len(self.alone)} cannot be fitted)"
        )

    def repaired(self, mask: Bool[np.ndarray, " N"]) -> list[Any]:
        """The parameters of the network whose readers make up for who leaves."""
        leaves = list(self.run.params)
        for gram in self.grams:
            stays = gram.stays(mask)
            if not stays.all():
                gram.write(leaves, stays, gram.fit(stays))
        return leaves

    @property
    def changed(self) -> tuple[int, ...]:
        """The parameters that a repair may change, by number."""
        return tuple(sorted({leaf for gram in self.grams for leaf in gram.leaves}))

    def of(self, players: Sequence[int]) -> list[Gram]:
        """The matrices that read these players."""
        numbers = np.asarray(players) + 1
        return [gram for gram in self.grams if np.isin(gram.players, numbers).any()]


def gather_grams(
    players: Players,
    params: Params,
    inputs: PyTree,
    *,
    batch_size: int = 256,
    ridge: float = RIDGE,
) -> Grams:
    """One pass of the full network over examples, for all readers.

    What it returns makes any coalition's network as good as it can be without another
    pass: see `gp.value_function(..., repair=grams)`.

    Args:
      players: what `find_players` found, units or layers; not those of layers="each".
      params: the full network's parameters.
      inputs: calibration examples, [B, ...] or a tuple of inputs.
      batch_size: examples a pass.
      ridge: what is added to the diagonal, as a multiple of an input's mean square.

    Raises:
      InputError: the inputs or settings do not fit, or an activation is not finite.

    Cost: one pass, and K^2 multiply-adds a row for each reader with K inputs. Memory:
    the activations that are alive at one place of the network for one batch, and on the
    host three matrices [K, K] in double precision for each reader.
    """
    if batch_size < 1 or ridge < 0:
        raise InputError(
            f"expected batch_size of at least 1 and a ridge of at least 0, got "
            f"{batch_size} and {ridge}"
        )
    players = check_units(players, params, inputs := as_inputs(inputs))
    calls = split_calls(players, params, inputs, batch_size)
    trace = players.model.trace(calls[0])
    readers = find_readers(trace, players.paths, None)
    passes = Passes(trace, readers, calls, players.num_players)
    start = passes.start(np.ones(passes.num_players, bool))
    biases = [bias_places(start, shared) for shared in passes.shared]
    sums, grams = _sum_batches(passes, [Terms(b is not None) for b in biases]), []
    for shared, bias in zip(passes.shared, biases, strict=True):
        own = sums.pop(0)  # its memory is free once the moments are made
        grams.append(make_gram(shared, own, start, ridge, bias))
    return Grams(tuple(grams), readers.alone, start, players)


def _sum_batches(passes: Passes, terms: Sequence[Terms]) -> list[Collected]:
    """For all matrices the sums over all rows; no batch stays for the next one."""
    everyone = np.ones(passes.num_players, bool)
    found: list[Collected] = []
    for run in passes.batches(everyone):
        for number, shared in enumerate(passes.shared):
            known = found[number] if number < len(found) else None
            shift = None if known is None else known.shift
            run = run.at(passes.position[shared.readers[0].step])
            own = collect_shared(
                shared, run, None, everyone, terms[number], shift=shift
            )
            found[number : number + 1] = [own.only_train().plus(known)]
    return found


def make_gram(
    shared: Shared,
    sums: Collected,
    start: LineRun,
    ridge: float,
    bias: BiasPlaces | None,
) -> Gram:
    """The second moments of a matrix from the sums over all rows."""
    reader = shared.readers[0]
    rows, x = float(sums.train.rows), sums.train.x
    moments = sums.train.xx / rows
    mean = np.zeros_like(x)
    if bias is not None:
        level = x / rows
        moments = moments - level[:, :, None] * level[:, None, :]
        mean = level + sums.shift.x
    keep_x, keep_z = reader.kept_inputs, reader.kept_outputs
    layout, places = reader.weights
    weights = layout.read(start.params, places[:, keep_x][:, :, keep_z])
    players = reader.players[:, keep_x]
    energy = float((weights * (moments @ weights)).sum())
    size = np.trace(moments, axis1=1, axis2=2) / max(moments.shape[1], 1)
    least = max(float(size.max(initial=0)) * 1e-9, 1e-30)
    eye = np.eye(moments.shape[1])
    moments = moments + np.maximum(ridge * size, least)[:, None, None] * eye
    energy = max(energy, 1e-30)
    return Gram(shared, players, mean, moments, weights, energy, bias)
