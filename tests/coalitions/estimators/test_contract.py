"""What every estimator keeps to, a new one included: one file and one table line."""

import jax
import numpy as np
import pytest

from gamepruning.coalitions import (
    ESTIMATORS,
    banzhaf,
    beta_semivalue,
    exact_semivalue,
    shapley,
)
from gamepruning.coalitions.estimate import estimate_indices
from gamepruning.coalitions.estimators import (
    Estimator,
    SampleCost,
    moments,
    sampling,
    select,
)
from gamepruning.coalitions.estimators.base import fits_any
from gamepruning.coalitions.estimators.select import choose_method, preferred_methods
from gamepruning.coalitions.games import coalition_values
from gamepruning.files import npz
from gamepruning.types import InputError

KEY, N = jax.random.key(11), 6
INDICES = (shapley(N), banzhaf(N), banzhaf(N, 0.3), beta_semivalue(N, 2.0, 1.0))


def game(masks):
    masks = np.asarray(masks, float)
    return np.tanh(masks @ np.linspace(-1, 2, N)) + masks @ np.arange(N)


# -- a toy: what each player adds to a random coalition of the others ----------------


def toy() -> Estimator:
    def update(problem, value_fn, state, start, stop):
        masks = sampling.coalitions(*problem, start, stop)
        rows = []
        for player in range(problem.num_players):
            itself = np.arange(problem.num_players) == player
            having = coalition_values(value_fn, masks | itself)
            rows.append(having - coalition_values(value_fn, masks & ~itself))
        return moments.fold(state, np.stack(rows, axis=1), start)

    return Estimator(
        misfit=fits_any,
        cost=lambda semivalue: SampleCost(0, 2 * semivalue.num_players, 2),
        init=lambda problem, value_fn, num_samples: moments.init(problem.num_players),
        update=update,
        finish=lambda problem, state: moments.finish(state),
    )


METHODS = [*ESTIMATORS, "toy"]


@pytest.fixture(autouse=True)
def with_toy(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "toy", toy())


def fitting(method):
    return [law for law in INDICES if ESTIMATORS[method].misfit(law) is None]


@pytest.mark.parametrize("method", METHODS)
def test_it_fits_an_index_or_says_why_not(method):
    assert fitting(method)
    for law in INDICES:
        if law not in fitting(method):
            with pytest.raises(InputError, match=f"{method!r} does not fit {law.name}"):
                estimate_indices(KEY, game, law, num_evaluations=500, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_its_cost_is_what_it_evaluates(method):
    for law in fitting(method):
        asked = []

        def counted(masks, asked=asked):
            asked.append(len(masks))
            return game(masks)

        cost = ESTIMATORS[method].cost(law)
        for budget in (130, 333):
            asked.clear()
            found = estimate_indices(
                KEY, counted, law, num_evaluations=budget, method=method
            )
            assert sum(asked) == found.scores.num_evaluations <= budget
            most = max(cost.each, cost.whole, 1) + (2 if cost.repeat_every else 0)
            assert found.scores.num_evaluations > budget - most
        with pytest.raises(InputError, match="budget too small"):
            budget = cost.least_evaluations - 1
            estimate_indices(KEY, game, law, num_evaluations=budget, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_same_key_same_result_whatever_the_rounds(method, tmp_path):
    law, path = fitting(method)[0], tmp_path / "run.npz"
    options = {"num_evaluations": 300, "method": method}
    whole = estimate_indices(KEY, game, law, **options)
    other = estimate_indices(jax.random.key(12), game, law, **options)
    cut = estimate_indices(KEY, game, law, round_size=20, checkpoint=path, **options)
    assert whole.scores.value.tobytes() == cut.scores.value.tobytes()
    assert whole.scores.stderr.tobytes() == cut.scores.stderr.tobytes()
    is_exact = method == "enumeration"  # no coalition is drawn
    assert is_exact or (whole.scores.value != other.scores.value).any()
    assert npz.load(path).settings["method"] == method
    assert repr(whole).startswith(f"IndexEstimate({method}, 6 players, ")


@pytest.mark.parametrize("method", METHODS)
def test_value_and_errors_have_one_entry_a_player(method):
    for law in fitting(method):
        scores = estimate_indices(
            KEY, game, law, num_evaluations=400, method=method
        ).scores
        assert scores.value.shape == scores.stderr.shape == (N,)
        assert scores.value.dtype == scores.stderr.dtype == np.float64
        assert np.isfinite(scores.value).all() and (scores.stderr >= 0).all()


def test_auto_takes_what_the_table_prefers(monkeypatch):
    law, budget = banzhaf(N, 0.3), 2 * 2**N - 1  # too few to try all coalitions
    assert choose_method(law, N, budget, False) == "regression"
    assert "toy" not in preferred_methods(law)
    first = ESTIMATORS["toy"]._replace(preference=-1)
    monkeypatch.setitem(ESTIMATORS, "toy", first)
    assert choose_method(law, N, budget, False) == "toy"
    assert estimate_indices(KEY, game, law, num_evaluations=budget).method == "toy"
    assert choose_method(law, N, budget, True) == "toggle_all"
    monkeypatch.setitem(ESTIMATORS, "toy", first._replace(is_incremental=True))
    assert choose_method(law, N, budget, True) == "toy"


def test_no_two_estimators_of_an_index_are_preferred_alike():
    for law in INDICES:
        places = [ESTIMATORS[name].preference for name in preferred_methods(law)]
        assert places == sorted(set(places))


def test_what_auto_stands_for():
    """The order of the table in `choose_method`."""
    found = {repr(law): preferred_methods(law) for law in INDICES}
    assert found == {
        "shapley(6)": [
            *("enumeration", "proxy", "leverage", "antithetic_centred", "permutation"),
            *("toggle_all", "toggle", "centred_reuse"),
        ],
        "banzhaf(6, 0.5)": [
            *("enumeration", "proxy", "paired_regression", "regression"),
            *("sample_reuse", "toggle_all", "toggle"),
        ],
        "banzhaf(6, 0.3)": [
            *("enumeration", "proxy", "regression", "sample_reuse"),
            *("toggle_all", "toggle"),
        ],
        "beta_semivalue(6, 2.0, 1.0)": [
            *("enumeration", "toggle_all", "toggle", "centred_reuse"),
        ],
    }


def test_auto_learns_where_that_pays():
    """Not a few players, nor few evaluations of them, nor where it takes longer."""
    law, n = shapley(50), 50
    assert choose_method(law, n, 500, False) == "proxy"
    assert choose_method(law, n, 8000, False) == "proxy"
    assert choose_method(banzhaf(n, 0.2), n, 500, False) == "proxy"
    assert choose_method(law, n, 300, False) == "leverage"
    assert choose_method(shapley(12), 12, 4000, False) == "leverage"
    assert choose_method(shapley(600), 600, 24_000, False) == "leverage"
    for each, wanted in ((1e-4, "leverage"), (1.0, "proxy")):
        assert choose_method(law, n, 500, False, evaluation_seconds=each) == wanted
    assert choose_method(law, n, 8000, True) == "antithetic_centred"


def test_auto_counts_what_an_estimator_does_itself():
    """Thousands of players: no N x N system for values that take no time."""
    for n, law, own, other in (
        (3000, shapley(3000), "leverage", "antithetic_centred"),
        (3000, banzhaf(3000), "paired_regression", "sample_reuse"),
        (3000, banzhaf(3000, 0.2), "regression", "sample_reuse"),
    ):
        assert choose_method(law, n, 10 * n, False) == other
        assert choose_method(law, n, 10 * n, False, evaluation_seconds=0.1) == own
    law = shapley(20_000)  # 32 GB as a matrix, so it is not made
    found = choose_method(law, 20_000, 200_000, False, evaluation_seconds=10.0)
    assert found == "leverage"
    assert choose_method(law, 20_000, 200_000, False) == "antithetic_centred"


@pytest.mark.parametrize("n", (2, 10, 100, 5000, 10**6))
def test_auto_takes_budgets_below_an_evaluation_a_player(n):
    for law in (shapley(n), banzhaf(n), banzhaf(n, 0.2), beta_semivalue(n, 2.0, 1.0)):
        assert choose_method(law, n, 200, False) in ESTIMATORS


def test_two_orders_of_very_many_players_are_too_few_to_tell_their_errors():
    law = shapley(10**5)
    assert choose_method(law, 10**5, 2 * 10**5, False) == "centred_reuse"
    assert choose_method(law, 10**5, 4 * 10**5, False) == "permutation"


def test_auto_asks_the_game_how_slow_it_is(monkeypatch):
    monkeypatch.setattr(select, "_PATIENCE", 0.0)

    def play(masks):
        return game(masks)

    law, options = banzhaf(N, 0.3), {"num_evaluations": 100}
    assert estimate_indices(KEY, play, law, **options).method == "regression"
    play.evaluation_seconds = 0.0
    assert estimate_indices(KEY, play, law, **options).method == "sample_reuse"


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("law", INDICES, ids=repr)
def test_auto_tries_all_coalitions_where_that_is_paid(law, is_known):
    """A game that does not say that it is deterministic is valued twice."""
    asked = []

    def counted(masks):
        asked.append(len(masks))
        return game(masks)

    counted.is_deterministic = is_known
    enough = 2**N if is_known else 2 * 2**N
    found = estimate_indices(KEY, counted, law, num_evaluations=enough + 50)
    assert found.method == "enumeration" and found.note == ""
    assert sum(asked) == found.scores.num_evaluations == enough
    exact = exact_semivalue(game, law).value
    np.testing.assert_allclose(found.scores.value, exact, rtol=0, atol=1e-12)
    assert not found.scores.stderr.any()
    few = estimate_indices(KEY, counted, law, num_evaluations=enough - 1)
    assert few.method != "enumeration"


@pytest.mark.parametrize("law", INDICES, ids=repr)
def test_noise_is_the_only_error_of_all_coalitions(law):
    rng, exact, ratios = np.random.default_rng(0), exact_semivalue(game, law).value, []
    for seed in range(60):
        noisy = lambda masks: game(masks) + rng.normal(size=len(masks))  # noqa: E731
        found = estimate_indices(seed, noisy, law, num_evaluations=200)
        assert found.method == "enumeration" and 0.8 < found.noise < 1.2
        ratios.append((found.scores.value - exact) / found.scores.stderr)
    assert 0.85 < np.sqrt(np.square(ratios).mean()) < 1.15


def test_all_coalitions_can_stop_early():
    """Between two turns, too: those that are whole count."""
    rng = np.random.default_rng(0)
    noisy = lambda masks: game(masks) + 3 * rng.normal(size=len(masks))  # noqa: E731
    given = {"num_evaluations": 20_000, "target_agreement": 0.99}
    found = estimate_indices(KEY, noisy, shapley(N), **given)
    assert (found.method, found.status) == ("enumeration", "settled")
    assert found.scores.num_evaluations < 20_000
    exact = exact_semivalue(game, shapley(N)).value
    assert (np.abs(found.scores.value - exact) <= 4 * found.scores.stderr).all()


def test_a_constant_game_is_known_once_all_coalitions_are():
    constant = lambda masks: np.ones(len(masks))  # noqa: E731
    found = estimate_indices(KEY, constant, shapley(N), num_evaluations=200)
    assert found.method == "enumeration" and found.note == ""
    assert not found.scores.value.any() and not found.scores.stderr.any()
