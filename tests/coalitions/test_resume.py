"""A run that is killed and resumed ends bit-equal to one that was not."""

import jax
import numpy as np
import pytest

from gamepruning.coalitions.indices import estimate_indices
from gamepruning.coalitions.semivalues import banzhaf, beta_semivalue, shapley
from gamepruning.types import InputError

KEY = jax.random.key(3)
N = 12
LAWS = {
    "toggle": beta_semivalue(N, 2.0, 1.0),
    "toggle_all": banzhaf(N, 0.2),
    "sample_reuse": banzhaf(N, 0.2),
    "regression": banzhaf(N, 0.2),
    "paired_regression": banzhaf(N),
    "permutation": shapley(N),
    "antithetic": shapley(N),
    "antithetic_centred": shapley(N),
    "leverage": shapley(N),
}


def game(masks):
    masks = np.asarray(masks, float)
    return np.sin(masks @ np.arange(1.0, N + 1)) + masks @ np.arange(N)


class Killed(Exception):
    pass


class Mortal:
    """A value function that dies at the n-th call from now."""

    def __init__(self, rng):
        self.rng, self.left, self.deaths = rng, 1, 0

    def __call__(self, masks):
        self.left -= 1
        if self.left < 0:
            self.deaths += 1
            self.left = int(self.rng.integers(3, 6))  # two know the game again
            raise Killed
        return game(masks)


def assert_equal(one, two):
    np.testing.assert_array_equal(one.scores.value, two.scores.value)
    np.testing.assert_array_equal(one.scores.stderr, two.scores.stderr)
    assert one.scores.num_evaluations == two.scores.num_evaluations
    assert one.status == two.status and one.agreement == two.agreement


@pytest.mark.parametrize("method", LAWS)
def test_killed_at_random_and_resumed(method, tmp_path):
    law, options = LAWS[method], {"num_evaluations": 2000, "method": method}
    whole = estimate_indices(KEY, game, law, **options)
    mortal = Mortal(np.random.default_rng(0))
    while True:
        try:
            resumed = estimate_indices(
                KEY,
                mortal,
                law,
                checkpoint=tmp_path / "run.npz",
                round_size=30,
                **options,
            )
            break
        except Killed:
            assert mortal.deaths < 200
    assert mortal.deaths >= 10
    assert_equal(whole, resumed)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize("method", ["regression", "antithetic"])
def test_killed_while_it_waits_for_the_ranking_to_settle(method, tmp_path):
    law = LAWS[method]
    options = {
        "num_evaluations": 20_000,
        "method": method,
        "target_agreement": 0.95,
    }
    whole = estimate_indices(KEY, game, law, **options)
    assert whole.status == "settled"
    mortal = Mortal(np.random.default_rng(1))
    while True:
        try:
            resumed = estimate_indices(
                KEY,
                mortal,
                law,
                checkpoint=tmp_path / "run.npz",
                round_size=30,
                **options,
            )
            break
        except Killed:
            pass
    assert mortal.deaths >= 1
    assert_equal(whole, resumed)


@pytest.mark.parametrize("method", LAWS)
def test_a_larger_budget_goes_on(method, tmp_path):
    law, path = LAWS[method], tmp_path / "run.npz"
    whole = estimate_indices(KEY, game, law, num_evaluations=900, method=method)
    calls = []

    def counted(masks):
        calls.append(len(masks))
        return game(masks)

    for budget in (310, 700, 900, 900):
        last = estimate_indices(
            KEY, counted, law, num_evaluations=budget, method=method, checkpoint=path
        )
    assert_equal(whole, last)
    known_again = 8 + 3 * 16
    assert sum(calls) == whole.scores.num_evaluations + known_again


@pytest.mark.parametrize("method", LAWS)
def test_rounds_change_nothing(method):
    law, seen = LAWS[method], []
    one, two = (
        estimate_indices(
            KEY,
            game,
            law,
            num_evaluations=500,
            method=method,
            round_size=size,
            progress=lambda done, total: seen.append((done, total)),
        )
        for size in (1, 10_000)
    )
    assert_equal(one, two)
    assert seen[-1] == (two.scores.num_evaluations,) * 2
    assert sorted(seen[:-1]) == seen[:-1]


def test_the_same_key_is_the_same_result_and_another_is_not():
    law = banzhaf(N)
    one, two, other = (
        estimate_indices(jax.random.key(k), game, law, num_evaluations=100)
        for k in (0, 0, 1)
    )
    assert_equal(one, two)
    assert (one.scores.value != other.scores.value).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"key": jax.random.key(4)}, "key is"),
        ({"law": banzhaf(N, 0.3)}, "parameters is"),
        ({"law": banzhaf(N + 1, 0.2)}, "num_players is"),
        ({"law": shapley(N), "method": "toggle_all"}, "index is|method is"),
        ({"method": "sample_reuse"}, "method is"),
        ({"num_evaluations": 100}, "holds 200 evaluations already"),
    ],
)
def test_checkpoints_of_other_settings_are_refused(changed, message, tmp_path):
    settings = {
        "key": KEY,
        "law": banzhaf(N, 0.2),
        "method": "regression",
        "num_evaluations": 200,
    }

    def run(key, law, **options):
        def value_fn(masks):
            return masks.sum(axis=1)

        path = tmp_path / "run.npz"
        return estimate_indices(key, value_fn, law, checkpoint=path, **options)

    run(**settings)
    with pytest.raises(InputError, match=message):
        run(**{**settings, **changed})


def test_auto_goes_on_with_the_method_it_began_with(tmp_path):
    path = tmp_path / "run.npz"
    options = {"checkpoint": path}
    first = estimate_indices(KEY, game, banzhaf(N), num_evaluations=20, **options)
    more = estimate_indices(KEY, game, banzhaf(N), num_evaluations=200, **options)
    assert first.method == more.method == "regression"


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"run\.npz is damaged"):
        estimate_indices(KEY, game, banzhaf(N), num_evaluations=100, checkpoint=path)


class Drawn:
    """A game of its own for each seed, noisy if wanted."""

    def __init__(self, seed, noise=0.0):
        self.table = np.random.default_rng(seed).normal(size=2**N)
        self.noise, self.rng = noise, np.random.default_rng(9)
        self.is_deterministic = not noise

    def __call__(self, masks):
        values = self.table[np.asarray(masks) @ 2 ** np.arange(N)]
        return values + self.noise * self.rng.normal(size=len(values))


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_checkpoint_of_another_game_is_refused(noise, tmp_path):
    options = {"num_evaluations": 300, "checkpoint": tmp_path / "run.npz"}
    one = estimate_indices(KEY, Drawn(0, noise), banzhaf(N), **options)
    again = estimate_indices(KEY, Drawn(0, noise), banzhaf(N), **options)
    assert_equal(one, again)
    with pytest.raises(InputError, match="is of another game: a coalition is worth"):
        estimate_indices(KEY, Drawn(1, noise), banzhaf(N), **options)


def test_noise_does_not_make_another_game(tmp_path):
    """Nor does a bit of difference, as between devices."""
    for seed in range(5):
        options = {"num_evaluations": 300, "checkpoint": tmp_path / f"{seed}.npz"}
        game = Drawn(0, noise=3.0)
        estimate_indices(seed, game, banzhaf(N), **options)
        estimate_indices(seed, game, banzhaf(N), **options)
        near = Drawn(0)
        options["checkpoint"] = tmp_path / f"near{seed}.npz"
        estimate_indices(seed, near, banzhaf(N), **options)
        near.table = near.table * (1 + 1e-4)
        estimate_indices(seed, near, banzhaf(N), **options)
