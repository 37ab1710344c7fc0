"""Sampled power indices: Shapley, Banzhaf, any semivalue, of any value function."""

from typing import Unpack

from gamepruning.coalitions.estimate import IndexEstimate, estimate_indices
from gamepruning.coalitions.estimators.budget import SamplingConfig, SamplingOptions
from gamepruning.coalitions.games import count_players
from gamepruning.coalitions.semivalues import SemivalueLike, banzhaf, shapley
from gamepruning.options import make_options
from gamepruning.types import KeyLike, Scores, ValueFn

__all__ = [
    "IndexEstimate",
    "banzhaf_values",
    "estimate_indices",
    "semivalues",
    "shapley_values",
]


def shapley_values(
    key: KeyLike,
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    num_evaluations: int,
    method: str = "auto",
    **options: Unpack[SamplingOptions],
) -> Scores:
    """Shapley values by sampling.

    phi_i = mean over orders of v(those before i, and i) - v(those before i).

    Args:
      key: the random key.
      value_fn: coalitions bool [S, N] -> values [S].
      num_players: N; needed only where `value_fn` has no `num_players`.
      num_evaluations: the budget.
      method: a name in `ESTIMATORS`, or "auto" (see `choose_method`).
      **options: target_agreement, cut, checkpoint, round_size, progress: see
        `SamplingConfig`.

    Returns:
      `Scores`; value +- 1.96 stderr is a 95 % interval from 10 evaluations a player on,
      also where the value function is noisy. The stderr is infinite where all values
      drawn were equal. `estimate_indices` says more: see `IndexEstimate.note`.

    Raises:
      InputError: see `estimate_indices`.

    Cost: at most `num_evaluations` evaluations.

    Example: an additive game.
      >>> import jax, numpy as np
      >>> worth = np.array([3.0, 0.0, 1.0])
      >>> game = lambda masks: masks @ worth
      >>> scores = shapley_values(jax.random.key(0), game, 3, num_evaluations=100)
      >>> bool(np.allclose(scores.value, worth))
      True

    References:
      Shapley, A value for n-person games (1953).
    """
    make_options(SamplingConfig, options, shapley_values)  # names what is wrong
    semivalue = shapley(count_players(value_fn, num_players))
    return semivalues(
        key,
        value_fn,
        semivalue,
        num_evaluations=num_evaluations,
        method=method,
        **options,
    )


def banzhaf_values(
    key: KeyLike,
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    bias: float = 0.5,
    num_evaluations: int,
    method: str = "auto",
    **options: Unpack[SamplingOptions],
) -> Scores:
    """Banzhaf indices by sampling, of any bias.

    beta_p(i) = E v(S + i) - v(S - i), every other player in S with probability p.

    Args:
      key: the random key.
      value_fn: coalitions bool [S, N] -> values [S].
      num_players: N; needed only where `value_fn` has no `num_players`.
      bias: p, in (0, 1); 0.5 is the Banzhaf index.
      num_evaluations: the budget, which is the cost at most.
      method: a name in `ESTIMATORS`, or "auto" (see `choose_method`).
      **options: see `shapley_values`.

    Returns:
      `Scores` with standard errors as those of `shapley_values`.

    Raises:
      InputError: see `estimate_indices`.

    Example: players 0 and 1 are worth 1 together, so each is worth p.
      >>> import jax
      >>> both = lambda masks: masks[:, 0] & masks[:, 1]
      >>> key = jax.random.key(0)
      >>> scores = banzhaf_values(key, both, 3, bias=0.8, num_evaluations=4000)
      >>> bool(abs(scores.value - [0.8, 0.8, 0.0]).max() < 0.1)
      True

    References:
      Diaz-Ortiz et al., arXiv 2311.10468, section 3 (beta_d).
    """
    make_options(SamplingConfig, options, banzhaf_values)
    semivalue = banzhaf(count_players(value_fn, num_players), bias)
    return semivalues(
        key,
        value_fn,
        semivalue,
        num_evaluations=num_evaluations,
        method=method,
        **options,
    )


def semivalues(
    key: KeyLike,
    value_fn: ValueFn,
    semivalue: SemivalueLike,
    *,
    num_evaluations: int,
    method: str = "auto",
    **options: Unpack[SamplingOptions],
) -> Scores:
    """Any semivalue by sampling: `estimate_indices` without the verdict.

    Args:
      key: the random key.
      value_fn: coalitions bool [S, N] -> values [S].
      semivalue: the power index; or a function of the number of players, such as
        `shapley`, where the value function knows it.
      num_evaluations: the budget, which is the cost at most.
      method: a name in `ESTIMATORS`, or "auto" (see `choose_method`).
      **options: see `shapley_values`.

    Returns:
      `Scores` with standard errors as those of `shapley_values`.

    Raises:
      InputError: see `estimate_indices`.

    Example:
      >>> import jax
      >>> from gamepruning.coalitions.semivalues import beta_semivalue
      >>> count = lambda masks: masks.sum(axis=1)
      >>> law = beta_semivalue(4, 2.0, 1.0)
      >>> scores = semivalues(jax.random.key(0), count, law, num_evaluations=50)
      >>> scores.value.round(9).tolist(), scores.num_evaluations
      ([1.0, 1.0, 1.0, 1.0], 48)
    """
    make_options(SamplingConfig, options, semivalues)
    estimate = estimate_indices(
        key,
        value_fn,
        semivalue,
        num_evaluations=num_evaluations,
        method=method,
        **options,
    )
    return estimate.scores
