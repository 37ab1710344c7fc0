"""Coalitions and their complements, valued together while that tells something."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from gamepruning.coalitions.estimators import ridge, sampling
from gamepruning.coalitions.estimators.base import Problem, State, append
from gamepruning.coalitions.games import coalition_values, coalitions_at_once
from gamepruning.types import ValueFn

_SPARE = 20  # pairs, besides one a player, from which pairing is judged
_MOSTLY = 0.9  # of the pairs have to have the same sum
_LITTLE = 0.25  # of what is left of odd parts: even parts below do not matter
_ROUNDING = 1e-9
_APART = 2**32 - 1  # no coalition has this number


class ValuedCoalitions(NamedTuple):
    """Coalitions with successive numbers, all valued in one way.

    Attributes:
      masks: bool [S, N].
      values: float [S]: v(S) of single ones, (v(S) - v(not S)) / 2 of pairs.
      start: the number of the first one.
      column: 0, or 1 for the second coalitions of their numbers.
      is_single: True if their complements were not valued.
    """

    masks: Bool[np.ndarray, "S N"]
    values: Float[np.ndarray, " S"]
    start: int
    column: int = 0
    is_single: bool = True

    @property
    def numbers(self) -> slice:
        """Of the samples that they belong to."""
        return slice(self.start, self.start + len(self.masks))


class Pairing(NamedTuple):
    """A regression on half differences of complements, or on coalitions as they are.

    Attributes:
      draw: (problem, state, start, stop) -> the coalitions with these numbers, bool [S,
        N].
      weight: (problem, state, rows) -> weights of the equations, float [S].
      equations: (problem, state, rows) -> `Equations`.
      judge: (problem, state, first pairs) -> entries of the state from there on.
    """

    draw: Callable[[Problem, State, int, int], np.ndarray]
    weight: Callable[[Problem, State, ValuedCoalitions], np.ndarray]
    equations: Callable[[Problem, State, ValuedCoalitions], ridge.Equations]
    judge: Callable[[Problem, State, list[ValuedCoalitions]], State] | None = None

    def update(
        self, problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
    ) -> State:
        """The state with the values of some more numbers, two evaluations each.

        A number stands for a coalition and its complement. Where the state has
        `may_part` and the first N + 20 pairs show that complements tell next to nothing
        new, it stands for two coalitions from there on: see `_are_wasted`.

        Args:
          problem: of any number of players; very many stay with pairs.
          value_fn: the game.
          state: "values" float [m, 2 or more], and from `may_part` "is_single".
          start: the first number.
          stop: one after the last.
        """
        width, judged = state["values"].shape[1], num_judged(problem)
        at_once = -(-coalitions_at_once(value_fn) // 2)
        for first, last in _pieces(problem, start, stop, at_once):
            if first == judged and "is_single" in state:
                state = {**state, **self._judged(problem, state)}
            masks = self.draw(problem, state, first, last)
            others = ~masks
            if is_single(state):
                others = self.draw(_apart(problem), state, first, last)
            more = _two_values(value_fn, masks, others)
            state = append(state, "values", more[:, :width])
        return state

    def rows(self, problem: Problem, state: State) -> Iterator[ValuedCoalitions]:
        """All coalitions, drawn again, a block at a time."""
        values, judged = state["values"], num_judged(problem)
        for start, stop in sampling.blocks(len(values), problem.num_players):
            for first, last in _cut(start, stop, judged):
                masks = self.draw(problem, state, first, last)
                own = values[first:last]
                if not is_single(state) or last <= judged:
                    odd = (own[:, 0] - own[:, 1]) / 2
                    yield ValuedCoalitions(masks, odd, first, is_single=False)
                    continue
                yield ValuedCoalitions(masks, own[:, 0], first)
                others = self.draw(_apart(problem), state, first, last)
                yield ValuedCoalitions(others, own[:, 1], first, 1)

    def fit(self, problem: Problem, state: State, *, has_total: bool) -> ridge.RidgeFit:
        """The regression on all of them."""

        def equations() -> Iterator[ridge.Equations]:
            for rows in self.rows(problem, state):
                yield self.equations(problem, state, rows)

        num_nuisance = next(equations()).t.shape[1]
        return ridge.fit(
            equations, problem.num_players, num_nuisance, has_total=has_total
        )

    def _judged(self, problem: Problem, state: State) -> State:
        rows = list(self.rows(problem, state))
        found = {} if self.judge is None else self.judge(problem, state, rows)
        return {**found, "is_single": np.array(self._are_wasted(problem, state, rows))}

    def _are_wasted(
        self, problem: Problem, state: State, rows: list[ValuedCoalitions]
    ) -> bool:
        """True if nearly all pairs have the same sum, and the others matter little.

        Pairs take even parts away, v(S) + v(not S), and single coalitions are twice as
        many: better where even parts vary less than what a fit leaves of odd ones. That
        is so in votes, which lose what their complements win. Games that can be learned
        have less left of both; so it is not enough that even parts are small.
        """
        values = state["values"][:, :2]
        even = values.mean(axis=1) - centre(problem, state)
        if (np.abs(even) > _ROUNDING * np.abs(values).max()).mean() > 1 - _MOSTLY:
            return False
        known = [self.equations(problem, state, one) for one in rows]
        odd = np.concatenate([np.column_stack([e.x, e.t, e.y]) for e in known])
        triangle = np.asarray(np.linalg.qr(odd, mode="r"))
        spare = len(odd) - odd.shape[1] + 1
        left = triangle[-1, -1] ** 2 / max(spare, 1)  # mean square of a fit's residuals
        weight = [self.weight(problem, state, one) for one in rows]
        even = np.square(np.concatenate(weight) * even)
        return bool(
            left > _ROUNDING**2 * np.square(odd[:, -1]).sum()
            and even.mean() <= _LITTLE * left
        )


def may_part(problem: Problem) -> State:
    """The entry of a state whose pairs may be given up; very many players keep them."""
    return {} if sampling.is_wide(problem) else {"is_single": np.array(False)}


def is_single(state: State) -> bool:
    """True if pairs were given up."""
    return bool(state.get("is_single", False))


def centre(problem: Problem, state: State) -> float:
    """The usual mean of a coalition and its complement, by the first pairs."""
    values = state["values"][: num_judged(problem), :2]
    return float(np.median(values.mean(axis=1)))


def pair_values(
    value_fn: ValueFn, masks: Bool[np.ndarray, "S N"]
) -> Float[np.ndarray, "S 3"]:
    """For each coalition its value, that of its complement, and its size.

    Example:
      >>> pair_values(lambda masks: masks @ [1.0, 10.0], np.array([[True, False]]))
      array([[ 1., 10.,  1.]])
    """
    return _two_values(value_fn, masks, ~masks)


def _two_values(value_fn: ValueFn, masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    both = coalition_values(value_fn, np.concatenate([masks, others]))
    return np.stack([*np.split(both, 2), masks.sum(axis=1)], axis=1)


def num_judged(problem: Problem) -> int:
    """Pairs from which it is judged how to go on."""
    return problem.num_players + _SPARE


def _apart(problem: Problem) -> Problem:
    """The source of the second coalitions."""
    return problem._replace(key=jax.random.fold_in(problem.key, _APART))


def _pieces(
    problem: Problem, start: int, stop: int, at_once: int
) -> Iterator[tuple[int, int]]:
    for first, last in sampling.pieces(start, stop, problem.num_players, at_once):
        yield from _cut(first, last, num_judged(problem))


def _cut(start: int, stop: int, at: int) -> list[tuple[int, int]]:
    """The range, cut in two where `at` lies inside."""
    return [(start, at), (at, stop)] if start < at < stop else [(start, stop)]
