"""What two players are worth together: which pairs must not be split."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gamepruning.coalitions.estimators import ridge, sampling
from gamepruning.coalitions.estimators.budget import check_budget
from gamepruning.coalitions.exact import MAX_PLAYERS, all_values, coalition_weights
from gamepruning.coalitions.games import (
    coalition_values,
    end_values,
    is_deterministic,
)
from gamepruning.coalitions.semivalues import (
    Semivalue,
    SemivalueLike,
    semivalue_for,
)
from gamepruning.trees.keys import as_threefry
from gamepruning.types import InputError, KeyLike, ValueFn, brief_repr

_FOLDS = 4
_LEAST = 8  # evaluations
_ENDS_EACH = 20  # evaluations of a noisy game for one of nobody and everybody
_PAIRS_FROM = 2.5  # rows for each coefficient, for all pairs to be learned
_MOST_LEARNED = 3000  # coefficients: their equations are solved as a dense matrix


class Interactions(NamedTuple):
    """How much more each two players are worth together than apart.

    Positive: they need each other, and one without the other is worth less than its
    index says. Negative: one stands in for the other.

    Attributes:
      value: float [N, N], symmetric; 0 on the diagonal.
      stderr: the standard errors, float [N, N]; 0 where `value` is exact.
      num_evaluations: how many coalitions were evaluated.
    """

    value: Float[np.ndarray, "N N"]
    stderr: Float[np.ndarray, "N N"]
    num_evaluations: int

    __repr__ = brief_repr

    def strongest(self, number: int) -> list[tuple[int, int, float]]:
        """The pairs with the largest interactions of either sign: (i, j, value).

        Args:
          number: how many; all pairs if there are fewer.

        Returns:
          Pairs with i < j, the strongest first.

        Example:
          >>> value = np.zeros((3, 3))
          >>> value[0, 2] = value[2, 0] = -0.5
          >>> Interactions(value, 0 * value, 8).strongest(1)
          [(0, 2, -0.5)]
        """
        i, j = np.triu_indices(len(self.value), 1)
        found = self.value[i, j]
        order = np.argsort(-np.abs(found), kind="stable")[:number]
        return [(int(i[k]), int(j[k]), float(found[k])) for k in order]


def exact_interactions(
    value_fn: ValueFn, semivalue: SemivalueLike, *, max_players: int = MAX_PLAYERS
) -> Interactions:
    """The interaction index of every two players, from all 2^N coalitions.

    I_ij = E v(S + i + j) - v(S + i) - v(S + j) + v(S), where every other player is in S
    with probability t: a fixed t for Banzhaf, t ~ U(0, 1) for Shapley.

    Args:
      value_fn: bool [S, N] -> float [S]; called on at most 16384 coalitions at a time.
      semivalue: from `shapley`, `banzhaf` or `beta_semivalue`; or a function of the
        number of players, where the value function knows it.
      max_players: the largest N that is accepted.

    Returns:
      `Interactions`, float64 and exact. Cost: 2^N evaluations, N^2 2^N operations.

    Raises:
      InputError: as in `exact_shapley`, or there is one player only.

    Example: all three are needed, so a pair is worth 1 where the third one is in.
      >>> from gamepruning.coalitions.semivalues import shapley
      >>> found = exact_interactions(lambda masks: masks.all(1), shapley(3))
      >>> found.value.tolist()
      [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]

    References:
      Grabisch and Roubens, An axiomatic approach to the concept of interaction among
      players in cooperative games, Int. J. of Game Theory 28 (1999), equations 8 and 9;
      Marichal and Mathonet, EJOR 211 (2011), for Banzhaf indices of any bias.
    """
    semivalue = _of_pairs(semivalue_for(semivalue, value_fn))
    n = semivalue.num_players
    values = all_values(value_fn, n, max_players=max_players)
    weights = coalition_weights(semivalue._replace(num_players=n - 1))
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            table = values.reshape(2**i, 2, 2 ** (j - i - 1), 2, -1)
            both = table[:, 1, :, 1] - table[:, 1, :, 0] - table[:, 0, :, 1]
            found[i, j] = weights @ (both + table[:, 0, :, 0]).ravel()
    return Interactions(found + found.T, np.zeros((n, n)), len(values))


def interactions(
    key: KeyLike, value_fn: ValueFn, semivalue: SemivalueLike, *, num_evaluations: int
) -> Interactions:
    """The interaction index of every two players, by sampling.

    Each coalition tells something of every pair. With W its weight in I_ij, which
    depends on its size and on how many of i and j are in it,

        I_ij(v) = I_ij(g) + E W_ij(S) (v(S) - g(S)),

    where g is a sum over players, and over pairs once there are 2.5 coalitions for each
    of them, fitted to three quarters of the coalitions and subtracted from the others.
    What g says of a pair is known exactly, and no coalition is corrected by a g that
    has seen it: the estimate is unbiased, whatever the game.

    Args:
      key: the random key.
      value_fn: coalitions bool [S, N] -> values [S].
      semivalue: from `shapley`, `banzhaf` or `beta_semivalue`; or a function of the
        number of players, where the value function knows it.
      num_evaluations: the budget, at least 8.

    Returns:
      `Interactions`. value +- 1.96 stderr is a 95 % interval where a few hundred
      coalitions were drawn; the stderr is infinite where all of them had one value.

    Raises:
      InputError: one player, more than 4096, or too small a budget.

    Where values may be noisy (no `is_deterministic = True`), a tenth of the evaluations
    of semivalues that need nobody and everybody goes to these two.

    Cost: `num_evaluations` evaluations; S N^2 operations, a few N x N matrices, and up
    to 3000 coefficients of pairs in a dense matrix.

    Example: players 0 and 1 are worth 1 together, and 2 is worth 1 by itself.
      >>> import jax
      >>> from gamepruning.coalitions.semivalues import banzhaf
      >>> game = lambda masks: 1.0 * (masks[:, 0] & masks[:, 1]) + masks[:, 2]
      >>> found = interactions(jax.random.key(0), game, banzhaf(3), num_evaluations=200)
      >>> [(i, j, round(value, 6)) for i, j, value in found.strongest(1)]
      [(0, 1, 1.0)]

    References:
      Fumagalli et al., SHAP-IQ: unified approximation of any-order Shapley
      interactions, arXiv 2303.01179 (the weights). Witter, Liu and Musco, arXiv
      2506.11849 (what is learned, and corrected by other samples).
    """
    semivalue = _of_pairs(semivalue_for(semivalue, value_fn))
    n = semivalue.num_players
    check_budget(num_evaluations)
    if n > sampling.WIDE:
        raise InputError(
            f"expected at most {sampling.WIDE} players, whose pairs fit into memory, "
            f"got {n}: restrict the game to a family, with gp.coalitions.restrict"
        )
    if num_evaluations < _LEAST:
        raise InputError(
            f"expected at least {_LEAST} evaluations, got {num_evaluations}"
        )
    law = _Law(semivalue)
    is_noisy = not is_deterministic(value_fn)
    repeats = max(2, num_evaluations // _ENDS_EACH) if is_noisy else 1
    masks, ends = law.draw(as_threefry(key), num_evaluations, repeats)
    own = [end_values(value_fn, n) for _ in range(ends // 2)]  # each from its own call
    drawn = coalition_values(value_fn, masks[ends:])
    values = np.concatenate([np.reshape(own, -1), drawn])
    if not np.ptp(values):
        unknown = np.full((n, n), np.inf)
        np.fill_diagonal(unknown, 0)
        return Interactions(np.zeros((n, n)), unknown, num_evaluations)
    value, squares = np.zeros((n, n)), np.zeros((n, n))
    number = np.arange(len(masks)) - ends
    for fold in range(_FOLDS):
        own = (number >= 0) & (number % _FOLDS == fold)
        known = _fit(masks[~own], values[~own], law.centre)
        share = own.sum() / (len(masks) - ends)
        value += share * known.pairs
        rest = values - known.values(masks)
        for at in range(ends):  # nobody and everybody, known by themselves
            whole = law.weights(masks[at : at + 1]).whole()
            value += share * rest[at] * whole * 2 / ends
        value += _weighted(law, masks[own], rest[own], 1) / (len(masks) - ends)
        squares += _weighted(law, masks[own], rest[own] ** 2, 2)
    drawn = len(masks) - ends
    # The mean of what is added differs from fold to fold by little: the second moment
    # of the rest is its variance and a square that is small beside it.
    value = (value + value.T) / 2  # it was symmetric but for rounding
    variance = (squares + squares.T) / 2 / drawn**2
    if ends > 2:  # nobody and everybody in turn, each with noise of its own
        noise = values[:ends].reshape(-1, 2).var(axis=0, ddof=1) * 2 / ends
        weights = [law.weights(masks[k : k + 1]).whole() for k in (0, 1)]
        variance = variance + noise @ np.square(weights)
    stderr = np.sqrt(variance)
    np.fill_diagonal(value, 0)
    np.fill_diagonal(stderr, 0)
    return Interactions(value, stderr, num_evaluations)


def _of_pairs(semivalue: Semivalue) -> Semivalue:
    if semivalue.num_players < 2:
        raise InputError("expected two players or more: one has nobody to be with")
    return semivalue


# -- what a coalition tells of a pair ------------------------------------------------


class _Weights(NamedTuple):
    """W of each coalition where none, one or both of a pair are in it, each [S]."""

    none: np.ndarray
    one: np.ndarray
    both: np.ndarray

    def power(self, number: int) -> "_Weights":
        return _Weights(*(part**number for part in self))

    def whole(self) -> float:
        """Of a coalition of nobody, or of everybody."""
        return float(self.none[0] + self.both[0])


class _Law:
    """How coalitions are drawn for a semivalue, and how they weigh."""

    def __init__(self, semivalue: Semivalue):
        self.semivalue, n = semivalue, semivalue.num_players
        self.num_players = n
        self.centre = 0.5 if semivalue.bias is None else semivalue.bias
        self.share = np.zeros(0)
        if (p := semivalue.bias) is not None:  # of any size alike
            weights = np.array([(1 - p) ** -2, -1 / (p * (1 - p)), p**-2])
            self.table = weights[:, None].repeat(n + 1, axis=1)
            return
        sizes = np.arange(n + 1)
        logs = semivalue._replace(num_players=n - 1).log_weights()
        each = logs - _log_choices(n - 2)  # of one coalition of the others, by size
        table = np.zeros((3, n + 1))  # C(n, s) W p(S), by how many of a pair are in
        for inside in range(3):
            others = sizes - inside
            can_be = (others >= 0) & (others <= n - 2)
            log = _log_choices(n)[can_be] + each[others[can_be]]
            table[inside, can_be] = (-1) ** inside * np.exp(log)
        ways = [(n - sizes) * (n - sizes - 1), 2 * sizes * (n - sizes)]
        chance = np.array([*ways, sizes * (sizes - 1)]) / (n * (n - 1))
        share = np.sqrt((chance * table**2).sum(axis=0))
        share[[0, n]] = 0  # known by themselves
        self.share = share / share.sum()
        self.table = table / np.where(self.share > 0, self.share, 1)

    def draw(self, key, number: int, repeats: int) -> tuple[np.ndarray, int]:
        """Coalitions bool [S, N], and how many of the first are nobody or everybody."""
        n = self.num_players
        if self.semivalue.bias is not None:
            parts = sampling.blocks(number, n)
            masks = [sampling.coalitions(key, self.semivalue, *part) for part in parts]
            return np.concatenate(masks), 0
        parts = sampling.blocks(number - 2 * repeats, n)
        shares = self.share[1:n]
        masks = [sampling.sized_coalitions(key, n, *part, shares) for part in parts]
        ends = np.tile(np.array([[False], [True]]).repeat(n, axis=1), (repeats, 1))
        return np.concatenate([ends, *masks]), len(ends)

    def weights(self, masks: np.ndarray) -> _Weights:
        return _Weights(*self.table[:, masks.sum(axis=1)])


def _log_choices(n: int) -> np.ndarray:
    """log C(n, k) for k = 0..n."""
    logs = np.array([math.lgamma(k + 1) for k in range(n + 1)])
    return logs[-1] - logs - logs[::-1]


def _weighted(
    law: _Law, masks: np.ndarray, rest: np.ndarray, power: int
) -> Float[np.ndarray, "N N"]:
    """The sum over coalitions of W_ij^power times what is left of their values.

    W is a + b (s_i + s_j) + c s_i s_j, so the sum takes one matrix product.
    """
    n = masks.shape[1]
    total = np.zeros((n, n))
    for start, stop in sampling.blocks(len(masks), n):
        s, left = masks[start:stop].astype(float), rest[start:stop]
        none, one, both = law.weights(masks[start:stop]).power(power)
        single = (left * (one - none)) @ s
        pairs = s.T @ (s * (left * (none - 2 * one + both))[:, None])
        total += pairs + single[:, None] + single[None, :] + left @ none
    return total


# -- what is learned -----------------------------------------------------------------


class _Known(NamedTuple):
    """g(S) = level + the sum of its players and pairs, both about a centre."""

    level: float
    each: Float[np.ndarray, " N"]
    pairs: Float[np.ndarray, "N N"]
    centre: float

    def values(self, masks: np.ndarray) -> np.ndarray:
        found = np.empty(len(masks))
        for start, stop in sampling.blocks(*masks.shape):
            s = masks[start:stop] - self.centre
            own = s @ self.each + ((s @ self.pairs) * s).sum(axis=1) / 2
            found[start:stop] = self.level + own
        return found


def _fit(masks: np.ndarray, values: np.ndarray, centre: float) -> _Known:
    """Least squares: of players alone, or of pairs as well where rows suffice."""
    n = masks.shape[1]
    level = float(values.mean())
    i, j = np.triu_indices(n, 1)
    num_terms = n + len(i)
    pairs = np.zeros((n, n))
    if num_terms > _MOST_LEARNED or len(masks) < _PAIRS_FROM * num_terms:
        own = (masks[a:b] - centre for a, b in sampling.blocks(len(masks), n))
        return _Known(level, _solved(own, values - level, n), pairs, centre)
    rows = _with_pairs(masks, centre, i, j)
    found = _solved(rows, values - level, num_terms + 1)
    pairs[i, j] = found[n + 1 :]
    return _Known(level + found[0], found[1 : n + 1], pairs + pairs.T, centre)


def _with_pairs(
    masks: np.ndarray, centre: float, i: np.ndarray, j: np.ndarray
) -> Iterator[np.ndarray]:
    for start, stop in sampling.blocks(len(masks), len(i) + masks.shape[1]):
        part = masks[start:stop] - centre
        ones = np.ones((len(part), 1))
        yield np.concatenate([ones, part, part[:, i] * part[:, j]], axis=1)


def _solved(parts, values: np.ndarray, num_terms: int) -> np.ndarray:
    """The coefficients, with a penalty where rows are few."""
    gram, moment, at = np.zeros((num_terms, num_terms)), np.zeros(num_terms), 0
    for x in parts:
        gram += x.T @ x
        moment += x.T @ values[at : at + len(x)]
        at += len(x)
    penalty = max(ridge.fading(len(values) / num_terms), 1e-9)
    gram += penalty * np.trace(gram) / num_terms * np.eye(num_terms)
    return np.linalg.solve(gram, moment)
