"""Games whose power indices are published, or worked out by hand.

`SMALL_GAMES` (N <= 15) can be enumerated, `LARGE_GAMES` cannot. Players are listed in
the order of the weights. A `Game` holds what is known: `shapley` [N], the absolute
`banzhaf` index at p = 1/2 [N], and `biased(p)` -> beta_p [N] for any p.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Values = Callable[[Any], np.ndarray]


class Game(NamedTuple):
    """masks bool [S, N] -> float64 [S], and the indices that are known (else None)."""

    name: str
    num_players: int
    value_fn: Values
    shapley: np.ndarray | None = None
    banzhaf: np.ndarray | None = None
    biased: Callable[[float], np.ndarray] | None = None
    voting: tuple[int, tuple[int, ...]] | None = None  # quota, weights

    def __repr__(self) -> str:
        return self.name


def each(*runs) -> np.ndarray:
    """A number and how many players have it, in turn: each((2.0, 3)) = [2, 2, 2]."""
    return np.concatenate([np.full(times, float(value)) for value, times in runs])


def voting(name, quota, weights, shapley=None, banzhaf=None, biased=None) -> Game:
    weights = tuple(weights)

    def wins(masks):
        return (np.asarray(masks) @ np.array(weights) >= quota).astype(float)

    return Game(name, len(weights), wins, shapley, banzhaf, biased, (quota, weights))


# --- Weighted voting -----------------------------------------------------------------


def un_biased(p: float) -> np.ndarray:
    """A permanent member decides if the other four agree and at least 4 of 10 others.

    Another member decides if all five agree and exactly 3 of the other nine do.
    """
    at_least_4 = sum(
        math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in range(4, 11)
    )
    return each((p**4 * at_least_4, 5), (p**5 * 84 * p**3 * (1 - p) ** 6, 10))


# Shapley and Shubik, APSR 48 (1954), method; Taylor and Pacelli, Mathematics and
# Politics, for the council of 15 (since 1966) and of 11 (before).
UN = voting(
    "un_security_council",
    39,
    [7] * 5 + [1] * 10,
    shapley=each((421 / 2145, 5), (4 / 2145, 10)),
    banzhaf=each((848 / 2**14, 5), (84 / 2**14, 10)),
    biased=un_biased,
)
# Shapley as published. Banzhaf: a veto decides if 4 vetoes and >= 2 of 6 others agree,
# 2^6 - 1 - 6 = 57 of 2^10 ways; another if 5 vetoes and exactly 1 of 5 do, 5 of 2^10.
UN_1945 = voting(
    "un_security_council_1945",
    27,
    [5] * 5 + [1] * 6,
    shapley=each((76 / 385, 5), (1 / 462, 6)),
    banzhaf=each((57 / 2**10, 5), (5 / 2**10, 6)),
)


def eec_biased(p: float) -> np.ndarray:
    """Luxembourg never decides: without it all weights and the quota are even.

    A big state (4) needs 8 to 11 votes from the others: both big ones but not both
    small ones, or one big one and both small ones. A small state (2) needs 10 or 11:
    two big ones and the other small one.
    """
    q = 1 - p
    big = p**2 * (1 - p**2) + 2 * p * q * p**2
    small = 3 * p**2 * q * p
    return each((big, 3), (small, 2), (0, 1))


# Brams and Affuso, Theory and Decision 7 (1976): 5/21, 1/7 and 0 once normalised.
EEC_1958 = voting(
    "eec_1958",
    12,
    [4, 4, 4, 2, 2, 1],
    shapley=each((7 / 30, 3), (3 / 20, 2), (0, 1)),
    banzhaf=each((5 / 16, 3), (3 / 16, 2), (0, 1)),
    biased=eec_biased,
)
# The same source: 53/317, 29/317, 21/317 and 5/317 once normalised.
EEC_1973 = voting(
    "eec_1973",
    41,
    [10] * 4 + [5] * 2 + [3] * 2 + [2],
    shapley=each((5 / 28, 4), (17 / 210, 2), (2 / 35, 2), (1 / 105, 1)),
    banzhaf=each((53 / 256, 4), (29 / 256, 2), (21 / 256, 2), (5 / 256, 1)),
)
# Banzhaf, Rutgers Law Review 19 (1965): any two of the three large towns win, and the
# other three never decide. A large town decides if exactly one other large one is in.
NASSAU_1958 = voting(
    "nassau_1958",
    16,
    [9, 9, 7, 3, 1, 1],
    shapley=each((1 / 3, 3), (0, 3)),
    banzhaf=each((1 / 2, 3), (0, 3)),
    biased=lambda p: each((2 * p * (1 - p), 3), (0, 3)),
)
# The manual of the R package CoopGame: 5/12, 1/4, 1/4, 1/12 once normalised. The
# minimal winning coalitions are {8, 6}, {8, 4} and {6, 4, 2}. Shapley by hand: the
# voter with 8 decides when second after 6 or 4 (1/4 x 2/3) or third (1/4), the one with
# 2 only when third after 6 and 4 (1/4 x 1/3), and the two others share the rest.
FOUR_VOTERS = voting(
    "four_voters",
    12,
    [8, 6, 4, 2],
    shapley=np.array([5 / 12, 1 / 4, 1 / 4, 1 / 12]),
    banzhaf=np.array([5 / 8, 3 / 8, 3 / 8, 1 / 8]),
)
# Owen, APSR 69 (1975) 947, also Castro, Gomez and Tejada, C&OR 36 (2009), section 4.2.
ELECTORAL_VOTES = (
    *(45, 41, 27, 26, 26, 25, 21, 17, 17, 14, 13, 13, 12, 12, 12, 11),
    *([10] * 4 + [9] * 4 + [8] * 2 + [7] * 4 + [6] * 4 + [5] + [4] * 9 + [3] * 7),
)
ELECTORAL_SHAPLEY = {  # electoral votes: the figure as published
    **{45: "0.08831", 41: "0.07973", 27: "0.05096", 26: "0.04898", 25: "0.04700"},
    **{21: "0.03917", 17: "0.03147", 14: "0.02577", 13: "0.02388", 12: "0.02200"},
    **{11: "0.02013", 10: "0.01827", 9: "0.01641", 8: "0.01456", 7: "0.01272"},
    **{6: "0.01088", 5: "0.009053", 4: "0.00723", 3: "0.005412"},
}


def rational_voting(quota: int, weights) -> tuple[np.ndarray, np.ndarray]:
    """Shapley and Banzhaf index by counting coalitions in whole numbers, as Owen did.

    ways[s, w] = coalitions of the others of size s and weight w; no rounding until the
    last division.
    """
    n = len(weights)
    share = [math.factorial(s) * math.factorial(n - 1 - s) for s in range(n)]
    found = {}
    for own in set(weights):
        others = list(weights)
        others.remove(own)
        ways = np.zeros((n, quota), object)
        ways[0, 0] = 1
        for weight in others:
            ways[1:, weight:] += ways[:-1, : max(quota - weight, 0)].copy()
        decisive = ways[:, max(quota - own, 0) :].sum(1)
        orders = sum(a * b for a, b in zip(decisive, share, strict=True))
        found[own] = (orders / math.factorial(n), int(decisive.sum()) / 2 ** (n - 1))
    shapley, banzhaf = np.array([found[w] for w in weights]).T
    return shapley, banzhaf


ELECTORAL_COLLEGE = voting(
    "electoral_college_1970",
    270,
    ELECTORAL_VOTES,
    *rational_voting(270, ELECTORAL_VOTES),
)


def majority(num_players: int) -> Game:
    """More than half of an even number: one decides if exactly half are in already."""
    half = num_players // 2
    ways = math.comb(num_players - 1, half)

    def biased(p):
        return each((ways * p**half * (1 - p) ** (half - 1), num_players))

    return voting(
        f"majority_{num_players}",
        half + 1,
        [1] * num_players,
        shapley=each((1 / num_players, num_players)),
        banzhaf=each((ways / 2 ** (num_players - 1), num_players)),
        biased=biased,
    )


# --- Other games ---------------------------------------------------------------------


def gloves(left: int, right: int, shapley: np.ndarray) -> Game:
    """v(S) = pairs. A left glove adds one if more right than other left ones are in."""

    def pairs(masks):
        masks = np.asarray(masks)
        return np.minimum(masks[:, :left].sum(1), masks[:, left:].sum(1)).astype(float)

    def law(size, p):
        k = range(size + 1)
        return np.array([math.comb(size, i) * p**i * (1 - p) ** (size - i) for i in k])

    def more(these, than, p):
        both = np.outer(law(these, p), law(than, p))
        return np.tril(both, -1).sum()

    def biased(p):
        return each((more(right, left - 1, p), left), (more(left, right - 1, p), right))

    name = f"gloves_{left}_{right}"
    return Game(name, left + right, pairs, shapley, biased(0.5), biased)


def airport(costs) -> Game:
    """v(S) = the longest runway, as a cost. Littlechild and Owen, Man. Sci. 20 (1973).

    Each stretch of runway is shared by those who use it (Shapley), or added by a member
    when its m - 1 other users are out, with probability (1 - p)^(m - 1) (beta_p).
    """
    costs = np.array(costs, float)
    steps = np.unique(costs)
    used = costs[:, None] >= steps
    lengths, users = np.diff(steps, prepend=0), used.sum(0)

    def longest(masks):
        return (np.asarray(masks) * costs).max(1)

    def biased(p):
        return used @ (lengths * (1 - p) ** (users - 1.0))

    name, shapley = f"airport_{len(costs)}", used @ (lengths / users)
    return Game(name, len(costs), longest, shapley, biased(0.5), biased)


def additive(values, constant: float = 0.0) -> Game:
    """v(S) = constant + the values of the members, which all semivalues give back."""
    values = np.array(values, float)
    return Game(
        f"additive_{len(values)}",
        len(values),
        lambda masks: np.asarray(masks) @ values + constant,
        values,
        values,
        lambda p: values,
    )


def soum(num_players: int, num_terms: int, max_size: int, seed: int) -> Game:
    """Sum of unanimity games a_j 1[T_j is in S], with |T_j| from 1 to `max_size`.

    A member of T_j has a_j / |T_j| of it (Shapley) or a_j p^(|T_j| - 1) (beta_p).
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, max_size + 1, num_terms)
    terms = np.zeros((num_terms, num_players))
    for term, size in zip(terms, sizes, strict=True):
        term[rng.choice(num_players, size, replace=False)] = 1.0
    amounts = rng.normal(size=num_terms)

    def value_fn(masks):
        return (np.asarray(masks, float) @ terms.T >= sizes - 0.5) @ amounts

    def biased(p):
        return (amounts * p ** (sizes - 1.0)) @ terms

    name, shapley = f"soum_{num_players}", (amounts / sizes) @ terms
    return Game(name, num_players, value_fn, shapley, biased(0.5), biased)


def noise(num_players: int, seed: int) -> Game:
    """v(S) = a hash of S, as good as U(-1/2, 1/2): nothing to find, for any N.

    A sum of random words modulo 2^64, then the finaliser of splitmix64 (Steele, Lea and
    Flood, OOPSLA 2014).
    """
    high = np.iinfo(np.uint64).max
    words = np.random.default_rng(seed).integers(0, high, num_players, np.uint64)

    def value_fn(masks):
        z = np.where(np.asarray(masks), words, np.uint64(0)).sum(1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        return (z >> np.uint64(11)) * 2.0**-53 - 0.5

    return Game(f"noise_{num_players}", num_players, value_fn)


def plus(first: Game, second: Game, factor: float = 1.0) -> Game:
    """first + factor x second, with the indices that are known of both."""

    def both(a, b):
        return None if a is None or b is None else a + factor * b

    one, other = first.biased, second.biased
    known = one is not None and other is not None
    return Game(
        f"{first.name}+{second.name}",
        first.num_players,
        lambda masks: first.value_fn(masks) + factor * second.value_fn(masks),
        both(first.shapley, second.shapley),
        both(first.banzhaf, second.banzhaf),
        (lambda p: one(p) + factor * other(p)) if known else None,
    )


# Three left gloves and two right ones, from the literature; one and two by hand: the
# left one adds a pair unless it comes first, a right one if second, after the left one.
GLOVES_1_2 = gloves(1, 2, each((2 / 3, 1), (1 / 6, 2)))
GLOVES_3_2 = gloves(3, 2, each((7 / 30, 3), (13 / 20, 2)))
# By symmetry: 50 pairs among 100. Castro et al. (2009), section 4.
GLOVES_50_50 = gloves(50, 50, each((0.5, 100)))
AIRPORT_4 = airport([8, 11, 13, 18])
AIRPORT_4_SHAPLEY = (2, 3, 4, 9)  # Littlechild and Owen
AIRPORT_100_CLASSES = (8, 12, 6, 14, 8, 9, 13, 10, 10, 10)  # how many of cost 1..10
AIRPORT_100 = airport(np.repeat(np.arange(1, 11), AIRPORT_100_CLASSES))
AIRPORT_100_SHAPLEY = (  # Castro et al. (2009), section 4, of cost 1..10
    *(0.01, 0.020869565, 0.033369565, 0.046883079, 0.063549745),
    *(0.082780515, 0.106036329, 0.139369662, 0.189369662, 0.289369662),
)

SMALL_GAMES = (
    *(UN, UN_1945, EEC_1958, EEC_1973, NASSAU_1958, FOUR_VOTERS, majority(10)),
    *(GLOVES_1_2, GLOVES_3_2, AIRPORT_4),
    *(additive([3.0, -1.0, 0.0, 2.0], 5.0), soum(11, 30, 6, seed=1)),
)
LARGE_GAMES = (
    *(ELECTORAL_COLLEGE, majority(100), GLOVES_50_50, AIRPORT_100),
    *(additive(np.arange(400) / 400, 0.25), soum(400, 800, 6, seed=2)),
)
VOTING_GAMES = tuple(g for g in (*SMALL_GAMES, *LARGE_GAMES) if g.voting is not None)
