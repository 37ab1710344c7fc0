"""Learning a game that is a sum of a few terms, in which some players have to agree."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gamepruning.coalitions.estimators.conjunctions import Conjunctions
from gamepruning.coalitions.estimators.proxies import (
    DIGITS,
    Proxy,
    SeenCoalitions,
    constant,
)
from gamepruning.coalitions.semivalues import Semivalue

_ROWS_A_TERM = 10
_MOST = 300
_ROUNDS, _LEAST_AT_ONCE = 12, 6
_TRIED = 6  # times as many are looked at, since some are there already
_PENALTY = 1e-3
_LEAST_ROWS = 5  # in which a term is there

Term = tuple[tuple[int, ...], bool]  # players that are all in (True), or all out


class _Side(NamedTuple):
    """The terms of one side that may be extended by a player.

    Attributes:
      is_in: True where players have to be in.
      literals: players on this side, float32 [R, N].
      players: of the terms; a single player each first.
      columns: 1 where the term is there, float32 [R, P].
      common: weight of the rows in which a term and a player are there, [P, N].
    """

    is_in: bool
    literals: Float[np.ndarray, "R N"]
    players: list[tuple[int, ...]]
    columns: Float[np.ndarray, "R P"]
    common: Float[np.ndarray, "P N"]

    def best(
        self, left: Float[np.ndarray, " R"], whole: float, number: int
    ) -> list[tuple[float, Term]]:
        """The terms, one player longer, that explain most of what is left."""
        gain = np.square((self.columns * left[:, None]).T @ self.literals)
        spread = self.common * (1 - self.common / whole)
        rare = self.common < _LEAST_ROWS * whole / len(left)
        gain = np.where(rare, 0.0, gain / np.maximum(spread, 1e-12))
        for at, players in enumerate(self.players):
            gain[at, list(players)] = 0.0
        number = min(number, gain.size)
        top = np.argpartition(-gain, number - 1, axis=None)[:number].tolist()
        found = []
        for place in top:
            at, player = divmod(place, gain.shape[1])
            longer = tuple(sorted((*self.players[at], player)))
            found.append((float(gain.flat[place]), (longer, self.is_in)))
        return found

    def having(self, new: list[Term], weight: np.ndarray) -> "_Side":
        """The side with those of the new terms that are its own."""
        own = [players for players, is_in in new if is_in == self.is_in]
        if not own:
            return self
        columns = [self.literals[:, players].min(axis=1) for players in map(list, own)]
        more = np.stack(columns, axis=1)
        common = (more * weight[:, None]).T @ self.literals
        return self._replace(
            players=[*self.players, *own],
            columns=np.concatenate([self.columns, more], axis=1),
            common=np.concatenate([self.common, common]),
        )


def fit_terms(semivalue: Semivalue, seen: SeenCoalitions) -> Proxy:
    """Up to 300 terms of players that are all in or all out, added by greed.

    In a dozen rounds terms are added to the players: those one player longer than a
    term or a player that is there already which explain most of what is left, no two of
    a round with two players in common. Where only odd parts matter, a term then stands
    with its mirror image, all on the other side, and two players make no term. A ridge
    regression gives the weights, and `Conjunctions` the indices.

    Args:
      semivalue: the power index.
      seen: coalitions and their values.

    Cost: see `term_operations`.
    """
    n, scale = semivalue.num_players, float(seen.values.std())
    if not scale > 0:
        return constant(seen.centre, n)
    terms = _select(seen.with_twins(), min(_MOST, len(seen.values) // _ROWS_A_TERM))
    odd = seen.odd
    if odd is not None:  # a term and its mirror image; two players make no odd one
        longer = {players for players, _ in terms if len(players) > 2}
        terms = [(players, True) for players in sorted(longer)]
    if not terms:
        return constant(seen.centre, n)
    if odd is None:
        y, columns = seen.values - seen.centre, _columns(seen.masks, terms)
        alone = np.column_stack([seen.masks, np.ones(len(y))])
    else:
        y, alone = odd, seen.masks - 0.5
        columns = (_columns(seen.masks, terms) - _columns(~seen.masks, terms)) / 2
    x = seen.weight[:, None] * np.column_stack([columns, alone])
    gram = x.T @ x
    gram += np.diag(_PENALTY * gram.diagonal() + 1e-10)
    worth = np.linalg.solve(gram, x.T @ (seen.weight * y))[: len(terms)]
    if odd is not None:
        mirrored = [(players, not is_in) for players, is_in in terms]
        terms, worth = terms + mirrored, np.concatenate([worth, -worth]) / 2
    game = _game(terms, worth)
    return Proxy(game.values, game.semivalues(semivalue), game.mean(semivalue))


def term_operations(num_players: int, num_evaluations: int) -> float:
    """About what a fit takes; measured."""
    terms = min(_MOST, num_evaluations // _ROWS_A_TERM)
    sides = 2.0 * num_players + terms / 2
    each = 1.4 * num_evaluations * sides * (num_players + 20)
    return _ROUNDS * (each + sides**3)


def _columns(masks: Bool[np.ndarray, "R N"], terms: list[Term]) -> np.ndarray:
    """1 where a term is there, [R, K]."""
    sides = {True: masks, False: ~masks}
    columns = [sides[is_in][:, list(own)].all(axis=1) for own, is_in in terms]
    return np.stack(columns, axis=1).astype(float)


def _game(terms: list[Term], worth: np.ndarray) -> Conjunctions:
    players = [np.array(own) for own, _ in terms]
    lengths = [len(own) for own in players]
    return Conjunctions(
        worth,
        np.repeat(np.arange(len(terms)), lengths),
        np.concatenate(players),
        np.repeat([is_in for _, is_in in terms], lengths),
    )


def _select(rows: SeenCoalitions, number: int) -> list[Term]:
    """Forward selection, by a regression on all that is there at each step."""
    masks = rows.masks
    weight = rows.weight.astype(np.float32)
    y = (rows.values - rows.centre) / rows.values.std()
    y = weight * np.round(y, DIGITS)
    whole, square = float(np.square(weight).sum()), np.square(weight)
    sides = [_side(masks, square, is_in=True), _side(~masks, square, is_in=False)]
    x = weight[:, None] * np.column_stack([np.ones(len(y)), masks])
    x, y = x.astype(np.float32), y.astype(np.float32)
    gram, moment = (x.T @ x).astype(float), (x.T @ y).astype(float)
    chosen: dict[Term, None] = {}
    at_once = max(_LEAST_AT_ONCE, number // _ROUNDS)
    while len(chosen) < number:
        penalty = np.diag(_PENALTY * gram.diagonal() + 1e-10)
        coef = np.linalg.solve(gram + penalty, moment).astype(np.float32)
        left = weight * (y - x @ coef)
        tried = _TRIED * at_once
        found = [one for side in sides for one in side.best(left, whole, tried)]
        found.sort(key=lambda one: (-one[0], one[1]))
        order = dict.fromkeys(term for gain, term in found if gain > 0)
        new = [term for term in order if term not in chosen]
        new = _apart(new, min(at_once, number - len(chosen)))
        if not new:
            break
        chosen |= dict.fromkeys(new)
        sides = [side.having(new, square) for side in sides]
        more = weight[:, None] * _columns(masks, new)
        more = more.astype(np.float32)
        cross = x.T @ more
        gram = np.block([[gram, cross], [cross.T, more.T @ more]])
        moment = np.concatenate([moment, more.T @ y])
        x = np.concatenate([x, more], axis=1)
    return list(chosen)


def _apart(terms: list[Term], number: int) -> list[Term]:
    """The first of them no two of which share two players."""
    found: list[Term] = []
    for players, is_in in terms:
        near = (len(set(players) & set(other)) for other, _ in found)
        if len(found) < number and max(near, default=0) < 2:
            found.append((players, is_in))
    return found


def _side(literals: np.ndarray, square: np.ndarray, *, is_in: bool) -> _Side:
    own = literals.astype(np.float32)
    alone = [(player,) for player in range(own.shape[1])]
    return _Side(is_in, own, alone, own, (own * square[:, None]).T @ own)
