"""Which estimator fits an index and a budget best."""

from gamepruning.coalitions.estimators import ESTIMATORS, sampling
from gamepruning.coalitions.semivalues import (
    Semivalue,
    SemivalueLike,
    as_semivalue,
)
from gamepruning.types import InputError

_INCREMENTAL_FROM = 20  # evaluations a player
_OPERATIONS_A_SECOND = 1e10  # of N x N matrices on one core
_SECONDS = 1e-4  # of an evaluation, where the game does not say it
_PATIENCE = 3.0  # seconds of its own that an estimator always has
_SAVED = 1.5  # evaluations that a regression saves, for each one that it makes
_MEMORY = 2e9  # bytes
_SCARCE = 4  # samples of very many players: fewer do not tell their errors
_LEARNED_FROM, _LEARNED_EACH = 16, 8  # players, and evaluations a player
_LEARNING = 4.0  # seconds for learning, where the game does not say how slow it is
_LEARNING_SHARE = 0.25  # of the time of the evaluations, where it does


def choose_method(
    semivalue: SemivalueLike,
    num_players: int,
    num_evaluations: int,
    is_incremental: bool,
    *,
    is_deterministic: bool = False,
    evaluation_seconds: float | None = None,
) -> str:
    """The method that "auto" stands for: the one that measured best per second.

    The first of these that the budget allows, by `Estimator.preference`:

    | index | methods |
    | --- | --- |
    | any, up to 16 players | enumeration |
    | Shapley | proxy, leverage, antithetic_centred, permutation, toggle_all |
    | Banzhaf, bias 0.5 | proxy, paired_regression, regression, sample_reuse |
    | Banzhaf, other bias | proxy, regression, sample_reuse, toggle_all |
    | Beta | toggle_all, toggle, centred_reuse |

    `enumeration` is exact. It takes 2^N evaluations where the game is deterministic,
    twice as many where it does not say so.

    Where the value function is incremental and the budget is at least 20 N, the
    incremental methods come next: antithetic_centred for Shapley, toggle_all for
    Banzhaf.

    `proxy` learns the game first and is about as good as the regression where there is
    nothing to learn (`experiments/peers`). It is tried from 16 players and 8
    evaluations a player on, if learning takes at most 4 seconds or, where the game says
    how slow it is, a quarter of the time of the evaluations.

    Regressions solve an N x N system, above 4096 players by conjugate gradients in
    memory of order N + m. They are passed over where that takes over three seconds and
    more than the evaluations that they save, or more than 2 GB: with thousands of
    players, unless evaluations are slow. The time is modelled, (4 R N^2 + 30 N^3) /
    10^10 seconds for R rows, or 2 R N nanoseconds for each of 10 to 20 products with
    the rows, so that the choice follows from the arguments alone. A value function
    tells how slow it is by an attribute `evaluation_seconds`; that of a network does.
    Above 4096 players, methods that would have less than four samples come last: their
    errors would be unknown. So any budget from a few dozen evaluations on will do.

    Measured on a network with 192 hidden units (`experiments/gtap/estimators.py`;
    relative L2 error, two keys): at 10 N evaluations regression has 0.18, 0.16 and 0.40
    for a bias of 0.175, 0.225 and 0.8, where toggle_all has 0.24, 0.26 and 0.51,
    sample_reuse 0.36, 0.33 and 0.49, and toggle 0.37, 0.36 and 0.79. toggle_all needs
    about twice the evaluations of regression for the same error, and three to four
    times those of paired_regression (bias 0.5). For Shapley values leverage has 0.40
    where antithetic orders have 0.58; these need two to three times as many. Toggles
    and prefixes cost a ninth of full evaluations or less, so they win where they are at
    hand. Below 20 N evaluations they are too few to tell their own errors well, and
    nothing takes long.

    Args:
      semivalue: the power index, or a function of the number of players such as
        `shapley`.
      num_players: N.
      num_evaluations: the budget.
      is_incremental: True if prefixes and toggles cost a small fraction of full
        evaluations.
      is_deterministic: True if a coalition always has the same value.
      evaluation_seconds: about how long a full evaluation takes; None if the game does
        not say it: then a tenth of a millisecond.

    Returns:
      A name in `ESTIMATORS`.

    Raises:
      InputError: the budget is too small for all of them; it says what is needed.

    Example:
      >>> from gamepruning.coalitions.semivalues import banzhaf, shapley
      >>> choose_method(shapley(100), 100, 1000, False)
      'proxy'
      >>> choose_method(shapley(100), 100, 500, False)
      'leverage'
      >>> choose_method(banzhaf(100, 0.2), 100, 500, False)
      'regression'
      >>> choose_method(banzhaf(100, 0.2), 100, 5000, True)
      'toggle_all'
      >>> choose_method(shapley(4000), 4000, 40_000, False)
      'antithetic_centred'
      >>> choose_method(shapley(4000), 4000, 40_000, False, evaluation_seconds=0.1)
      'leverage'
    """
    semivalue = as_semivalue(semivalue, num_players)
    names = [
        name
        for name in preferred_methods(semivalue)
        if _may_learn(name, num_players, num_evaluations, evaluation_seconds)
    ]
    if is_incremental and num_evaluations >= _INCREMENTAL_FROM * num_players:
        names.sort(key=lambda name: not _comes_first(name, semivalue))
    least = _SCARCE if num_players > sampling.WIDE else 0
    needs = {name: _least(name, semivalue, is_deterministic) for name in names}
    names.sort(key=lambda name: _samples(name, semivalue, num_evaluations) < least)
    paid = [name for name in names if needs[name] <= num_evaluations]
    spent = num_evaluations * (evaluation_seconds or 0.0)
    if evaluation_seconds is None:
        spent = num_evaluations * _SECONDS
    quick = [n for n in paid if _is_quick(n, num_players, num_evaluations, spent)]
    if paid:
        return (quick or paid)[0]
    cheapest = min(needs, key=needs.__getitem__)
    raise InputError(
        f"budget too small: {num_evaluations} evaluations for {semivalue.num_players} "
        f"players; the least is {needs[cheapest]}, by method={cheapest!r}, and "
        f"{needs[names[0]]} for {names[0]!r}"
    )


def preferred_methods(semivalue: Semivalue) -> list[str]:
    """The estimators that "auto" tries for an index, the preferred one first.

    Example:
      >>> from gamepruning.coalitions.semivalues import shapley
      >>> preferred_methods(shapley(10))[:3]
      ['enumeration', 'proxy', 'leverage']
    """
    order = {
        name: estimator.preference
        for name, estimator in ESTIMATORS.items()
        if estimator.preference is not None and estimator.misfit(semivalue) is None
    }
    return sorted(order, key=order.__getitem__)


def least_evaluations(method: str, semivalue: Semivalue) -> int:
    """The smallest budget that a method takes.

    Example:
      >>> from gamepruning.coalitions.semivalues import shapley
      >>> least_evaluations("toggle", shapley(10))
      40
    """
    return _least(method, semivalue, is_deterministic=False)


def _least(method: str, semivalue: Semivalue, is_deterministic: bool) -> int:
    cost = ESTIMATORS[method].cost(semivalue)
    return (cost.without_noise() if is_deterministic else cost).least_evaluations


def _samples(method: str, semivalue: Semivalue, num_evaluations: int) -> int:
    """How many samples a budget pays for."""
    cost = ESTIMATORS[method].cost(semivalue)
    return cost.affordable(num_evaluations) if cost.each else cost.least


def _comes_first(method: str, semivalue: Semivalue) -> bool:
    """True for what an incremental game makes cheap, and what is exact."""
    estimator = ESTIMATORS[method]
    return estimator.is_incremental or bool(estimator.cost(semivalue).whole)


def _may_learn(
    method: str, num_players: int, num_evaluations: int, each: float | None
) -> bool:
    """Return True unless it learns where that does not pay."""
    estimator = ESTIMATORS[method]
    if not estimator.learns or estimator.work is None:
        return True
    if num_players < _LEARNED_FROM or num_evaluations < _LEARNED_EACH * num_players:
        return False
    operations, memory = estimator.work(num_players, num_evaluations)
    share = _LEARNING if each is None else _LEARNING_SHARE * each * num_evaluations
    return bool(operations / _OPERATIONS_A_SECOND <= share and memory <= _MEMORY)


def _is_quick(
    method: str, num_players: int, num_evaluations: int, spent: float
) -> bool:
    """Return True if the estimator's own work is worth the evaluations it saves."""
    work = ESTIMATORS[method].work
    if work is None or ESTIMATORS[method].learns:
        return True
    operations, memory = work(num_players, num_evaluations)
    seconds = operations / _OPERATIONS_A_SECOND
    return bool(seconds <= max(_PATIENCE, _SAVED * spent) and memory <= _MEMORY)
