"""Very many players: drawn inside the program, fitted without an N x N matrix."""

import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.coalitions import banzhaf, beta_semivalue, estimate_indices, shapley
from gamepruning.coalitions.estimators import draws, sampling
from gamepruning.coalitions.estimators.draws import Draws
from gamepruning.coalitions.estimators.wide_ridge import _choose_penalty, _Law
from gamepruning.files import npz

KEY = jax.random.key(5)
N = 60
RNG = np.random.default_rng(1)
WORTH = RNG.normal(1, 1, N)
TRIPLES = np.array([RNG.permutation(N)[:3] for _ in range(100)])
PAIRS = np.triu(RNG.normal(size=(N, N)), 1) / np.sqrt(N)


def game(masks):
    """Players, pairs, triples: indices are known exactly for every law of t."""
    members = np.asarray(masks, float)
    pairs = ((members @ PAIRS) * members).sum(axis=1)
    return members @ WORTH + pairs + 3 * masks[:, TRIPLES].all(axis=2).sum(axis=1)


def truth(law):
    """A partner is there with the mean of t, two with that of its square."""
    bias = law.bias or 0.0
    moments = {"shapley": (1 / 2, 1 / 3), "beta": (1 / 3, 1 / 6)}
    one, two = moments.get(law.name, (bias, bias**2))
    triples = 3 * np.bincount(TRIPLES.ravel(), minlength=N)
    return WORTH + one * (PAIRS + PAIRS.T).sum(axis=1) + two * triples


def exact(masks):
    """Whole numbers: the same bits however many coalitions there are in a call."""
    return (masks @ np.arange(N)) ** 2


@pytest.fixture
def wide(monkeypatch):
    """Sixty players as if they were very many."""
    monkeypatch.setattr(sampling, "WIDE", 10)


def test_random_words_are_those_of_jax():
    keys = jnp.array([7, 9], jnp.uint32)
    count = jnp.arange(6, dtype=jnp.uint32)
    own = draws._threefry(keys[0], keys[1], count[:3], count[3:])
    assert jnp.array_equal(
        jnp.concatenate(own), jax.extend.random.threefry_2x32(keys, count)
    )


@pytest.mark.parametrize("law", [banzhaf(N), banzhaf(N, 0.2), beta_semivalue(N, 2, 1)])
def test_products_are_those_of_the_coalitions(law):
    own = Draws(KEY, law)
    masks, again = own.masks(0, 700), own.masks(650, 700)
    assert np.array_equal(masks[650:], again)
    assert abs(masks.mean() - (law.bias or 1 / 3)) < 0.02
    columns, matrix = RNG.normal(size=(700, 2)), RNG.normal(size=(N, 2))
    centre, weight = RNG.random(700), RNG.random(700)
    rows = masks - centre[:, None]
    for found, wanted in (
        (own.transposed(columns, centre), rows.T @ columns),
        (own.times(matrix, 700, centre), rows @ matrix),
        (
            own.gram_times(matrix, centre, weight),
            rows.T @ (weight[:, None] * (rows @ matrix)),
        ),
    ):
        assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


CASES = [
    ("sample_reuse", banzhaf(N, 0.3), 400),
    ("regression", banzhaf(N, 0.3), 400),
    ("paired_regression", banzhaf(N), 400),
    ("leverage", shapley(N), 600),
    ("centred_reuse", shapley(N), 400),
    ("centred_reuse", beta_semivalue(N, 2, 1), 400),
]


@pytest.mark.parametrize(("method", "law", "budget"), CASES)
def test_intervals_cover_and_errors_are_those_of_the_dense_fit(
    method, law, budget, monkeypatch
):
    wanted = truth(law)
    errors, widths = {}, {}
    for limit in (4096, 10):
        monkeypatch.setattr(sampling, "WIDE", limit)
        runs = [
            estimate_indices(
                jax.random.key(seed), game, law, num_evaluations=budget, method=method
            ).scores
            for seed in range(6)
        ]
        errors[limit] = np.array([run.value - wanted for run in runs])
        widths[limit] = np.array([run.stderr for run in runs])
    assert 0.91 < (np.abs(errors[10]) < 1.96 * widths[10]).mean() < 0.98
    ratio = np.sqrt((errors[10] ** 2).mean() / (errors[4096] ** 2).mean())
    assert 0.5 < ratio < 1.2
    assert 0.5 < np.median(widths[10]) / np.median(widths[4096]) < 1.15


@pytest.mark.parametrize("method", ["sample_reuse", "paired_regression"])
def test_resumes_to_the_same_bits(method, tmp_path, wide):
    law, path = banzhaf(N), tmp_path / "run.npz"
    options = {"num_evaluations": 300, "method": method}
    calls, whole = [], estimate_indices(KEY, exact, law, **options).scores

    def dies(masks):
        calls.append(len(masks))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return exact(masks)

    with pytest.raises(KeyboardInterrupt):
        estimate_indices(KEY, dies, law, checkpoint=path, round_size=50, **options)
    assert npz.load(path).settings["format"] == 3
    again = estimate_indices(KEY, exact, law, checkpoint=path, **options).scores
    assert whole.value.tobytes() == again.value.tobytes()
    assert whole.stderr.tobytes() == again.stderr.tobytes()


def test_an_additive_game_comes_out_to_single_precision(wide):
    found = estimate_indices(
        KEY, lambda masks: masks @ WORTH, banzhaf(N), num_evaluations=400
    )
    assert found.method == "paired_regression"
    assert np.abs(found.scores.value - WORTH).max() < 1e-4
    assert (found.scores.stderr < 1e-3).all()


@pytest.mark.parametrize("law", [banzhaf(12_000), shapley(12_000)])
def test_fewer_evaluations_than_players_and_little_at_once(law):
    worth = RNG.normal(1, 1, 12_000).astype(np.float32)
    most = 0

    def additive(masks):
        nonlocal most
        most = max(most, masks.nbytes)
        return masks.astype(np.float32) @ worth

    found = estimate_indices(KEY, additive, law, num_evaluations=600)
    assert found.method in ("sample_reuse", "centred_reuse")
    off = np.abs(found.scores.value - worth) / found.scores.stderr
    assert 0.94 < (off < 1.96).mean() < 0.96
    assert most <= 2**25


def test_small_indices_are_not_taken_for_none():
    """Few rows can miss what indices have in common; their spread is not below it."""
    rng, rows, players = np.random.default_rng(0), 260, 200
    law = _Law(players, rows, 1.0)
    missed = 0
    for _ in range(40):
        x, b = rng.normal(size=(rows, players)), 0.03 * rng.normal(size=players)
        y = x @ b + rng.normal(size=rows)
        moment, energy = float(np.square(x.T @ y).sum()), float(y @ y)
        penalty, spread = _choose_penalty(law, moment, energy)
        assert penalty > 0
        missed += spread < np.square(b).mean()
    assert missed <= 4
