"""Backward elimination by the exact cost of leaving: Optimal Brain Surgeon on blocks.

The loss of a reader when the inputs b of a player leave, and the others' weights make
up for them, is tr(W_b' [(C^-1)_bb]^-1 W_b G), where G says what an error of the results
counts. The player with the smallest loss leaves; W and C^-1 are brought up to date by
one block step, and the next is found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gamepruning.reconstruction.gram import Gram
from gamepruning.reconstruction.sensitivity import Metrics, root


class Elimination(NamedTuple):
    """The order in which the players of a family leave.

    Attributes:
      order: the players, first to leave first.
      loss: what is lost once each has left, with all before it: the sum over the
        readers of the share of their results' energy that no fit gives back.
      weights: at the counts asked for, the weights of each matrix [G, K, M] with 0 for
        the inputs that left.
    """

    order: Int[np.ndarray, " n"]
    loss: Float[np.ndarray, " n"]
    weights: dict[int, list[Float[np.ndarray, "G K M"]]]


@dataclass(eq=False)
class _State:
    """One group of one matrix while players leave; rows of gone inputs are dropped."""

    inverse: np.ndarray
    weights: np.ndarray
    lens: np.ndarray | None  # errors count by what they are behind it
    seen: np.ndarray  # the weights behind it
    entries: list[np.ndarray]  # of each player, the rows of those that are still in
    scale: float
    is_shared: bool  # some inputs need several players, and leave with any of them
    inputs: np.ndarray  # which of the K each row is
    there: np.ndarray  # the rows that are still in

    def costs(self, alive: Sequence[int]) -> np.ndarray:
        """The loss when each of these players leaves alone."""
        found = np.zeros(len(alive))
        sizes = np.array([len(self.entries[k]) for k in alive])
        for size in np.unique(sizes[sizes > 0]):
            which = np.flatnonzero(sizes == size)
            index = np.stack([self.entries[alive[int(k)]] for k in which])
            block = self.inverse[index[:, :, None], index[:, None, :]]
            rows = self.seen[index]
            made_up = rows / block if size == 1 else np.linalg.solve(block, rows)
            found[which] = np.einsum("pkm,pkm->p", rows, made_up)
        return found * self.scale

    def remove(self, players: Sequence[int]) -> None:
        """Take players' inputs out; the others' weights make up for them."""
        index = np.unique(np.concatenate([self.entries[k] for k in players]))
        if not len(index):
            return
        block = self.inverse[np.ix_(index, index)]
        columns = self.inverse[:, index]
        change = np.linalg.solve(block, np.hstack([self.weights[index], columns.T]))
        num = self.weights.shape[1]
        made_up = change[:, :num]
        self.weights -= columns @ made_up
        if self.lens is not None:
            self.seen -= columns @ behind(self.lens, made_up)
        self.inverse -= columns @ change[:, num:]
        self.there[index] = False
        if self.is_shared:
            self.entries = [rows[self.there[rows]] for rows in self.entries]
        for player in players:
            self.entries[player] = index[:0]
        if 4 * self.there.sum() <= 3 * len(self.there):
            self._drop()

    def left(self, num_inputs: int) -> np.ndarray:
        """The weights of all inputs, [K, M], with 0 for those that left."""
        found = np.zeros((num_inputs, self.weights.shape[1]))
        found[self.inputs[self.there]] = self.weights[self.there]
        return found

    def _drop(self) -> None:
        rows = np.flatnonzero(self.there)
        place = np.cumsum(self.there) - 1
        self.inverse = self.inverse.take(rows, 0).take(rows, 1)
        is_same = self.seen is self.weights
        self.weights = self.weights[rows]
        self.seen = self.weights if is_same else self.seen[rows]
        self.inputs, self.there = self.inputs[rows], self.there[rows]
        self.entries = [place[own] for own in self.entries]


def behind(lens: np.ndarray | None, errors: np.ndarray) -> np.ndarray:
    """Errors as they count: behind a matrix, by factors, or as they are."""
    if lens is None:
        return errors
    return errors * lens if lens.ndim == 1 else errors @ lens


def eliminate(
    players: Sequence[int],
    grams: Sequence[Gram],
    counts: Sequence[int] = (),
    at_once: Callable[[int], int] = lambda left: max(left // 128, 1),
    metrics: Metrics | None = None,
    until: int = 0,
) -> Elimination:
    """Let the players of a family leave, the one whose loss is smallest first.

    Args:
      players: their numbers.
      grams: the matrices that read them; all other players stay.
      counts: at how many players left the weights are noted.
      at_once: how many leave in one step, by how many are left; their losses are then
        added as if each had left alone.
      metrics: what an error of each matrix's results counts, by `Reader.matrix`; None:
        its square over the energy of the results.
      until: how many players are left at the end; `order` and `loss` end there.

    Returns:
      `Elimination`. Cost: K^2 (k + M) a player and matrix, of K inputs, k of them a
      player's, and M outputs.
    """
    states = [_states(gram, players, metrics) for gram in grams]
    every = [state for group in states for state in group]
    sized = [(g, gram.weights.shape[1]) for g, gram in zip(states, grams, strict=True)]
    alive, order, loss, noted = list(range(len(players))), [], [], {}
    spent = 0.0
    while len(alive) > until:
        if len(alive) in counts:
            noted[len(alive)] = [np.stack([s.left(n) for s in g]) for g, n in sized]
        costs = sum((state.costs(alive) for state in every), np.zeros(len(alive)))
        limits = [c - len(alive) for c in (*counts, until) if c < len(alive)]
        number = min(at_once(len(alive)), -max(limits))
        leaving = np.argsort(costs, kind="stable")[:number].tolist()
        for state in every:
            state.remove([alive[k] for k in leaving])
        for k in leaving:
            spent += float(costs[k])
            order.append(players[alive[k]])
            loss.append(spent)
        alive = [who for k, who in enumerate(alive) if k not in set(leaving)]
    return Elimination(np.array(order), np.array(loss), noted)


def _states(
    gram: Gram, players: Sequence[int], metrics: Metrics | None
) -> list[_State]:
    entries = [gram.entries(player) for player in players]
    metric = (metrics or {}).get(gram.shared.readers[0].matrix)
    found = []
    for g, weights in enumerate(gram.weights):
        own = [rows[g] for rows in entries]
        every = np.concatenate([*own, np.zeros(0, int)])
        is_shared = len(np.unique(every)) < len(every)
        inverse = np.linalg.inv(gram.moments[g])
        lens = None if metric is None else root(metric[g])
        scale = 1 / gram.energy if metric is None else 1.0
        weights = weights.copy()
        state = _State(
            inverse=inverse,
            weights=weights,
            lens=lens,
            seen=behind(lens, weights),
            entries=own,
            scale=scale,
            is_shared=is_shared,
            inputs=np.arange(len(weights)),
            there=np.ones(len(weights), bool),
        )
        found.append(state)
    return found
