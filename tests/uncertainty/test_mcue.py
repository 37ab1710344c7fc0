"""MCUE against closed forms, enumeration, and Algorithm 1 drawn to the letter."""

import dataclasses
import functools
import itertools
from functools import partial
from math import comb

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import gamepruning as gp
from gamepruning.types import InputError
from gamepruning.uncertainty.grid import (
    SizeLaw,
    jackknife,
    peak_of,
    size_law,
    variance_of,
)
from gamepruning.uncertainty.mcue import Bands, mcue
from gamepruning.uncertainty.moments import SizeMoments, choose_sizes
from gamepruning.uncertainty.outputs import MCUE_OUTPUTS


def linear_model(w):
    """A network whose output is the sum of w_i over the coalition."""
    params = {"in": jnp.ones((1, len(w))), "out": jnp.asarray(w, jnp.float32)[:, None]}

    def apply(params, x):
        return jnp.maximum(x @ params["in"], 0) @ params["out"]

    x = jnp.ones((1, 1))
    return gp.find_players(apply, params, x), params, x


def linear_variance(w, p, q):
    """Var of sum_i w_i z_i: (1 - q) n of the z_i drawn, each then kept with 1 - p."""
    w, n = np.asarray(w), len(w)
    m = int((1 - q) * n + 0.5)
    mean = (1 - p) * m / n
    both = (1 - p) ** 2 * m * (m - 1) / (n * (n - 1))
    squares = np.square(w).sum()
    return mean * (1 - mean) * squares + (both - mean**2) * (w.sum() ** 2 - squares)


@functools.cache
def small_network(num_inputs=7):
    """A random classifier with six players, its inputs and labels."""
    keys = jax.random.split(jax.random.key(5), 5)
    params = {
        "w1": jax.random.normal(keys[0], (3, 4)),
        "w2": jax.random.normal(keys[1], (4, 2)),
        "w3": jax.random.normal(keys[2], (2, 3)),
    }

    def apply(params, x):
        x = jnp.tanh(x @ params["w1"])
        return jax.nn.relu(x @ params["w2"] + 0.5) @ params["w3"]

    x = jax.random.normal(keys[3], (num_inputs, 3))
    labels = jax.random.randint(keys[4], (num_inputs,), 0, 3)
    return gp.find_players(apply, params, x), params, x, labels


def values_of(name, z, labels):
    """The definitions again, in NumPy: logits [S, B, C] -> [S, B, K]."""
    c = z.argmax(-1)
    e = np.exp(z - z.max(-1, keepdims=True))
    return {
        "label": c[..., None],
        "vote": np.eye(z.shape[-1])[c],
        "probabilities": e / e.sum(-1, keepdims=True),
        "correct": (c == labels)[..., None],
        "outputs": z,
    }[name.removeprefix("total_")].astype(float)


@functools.cache
def all_coalitions():
    """Every mask of the small network, [64, 6], and its logits, [64, B, C]."""
    players, params, x, _ = small_network()
    masks = np.array(list(itertools.product([False, True], repeat=6)))
    gated = jax.vmap(lambda mask: players.gated(params, mask, x))
    return masks, np.asarray(gated(jnp.asarray(masks)))


@functools.cache
def chances(p, q):
    """How likely Algorithm 1 ends at each mask, [64], summed over both stages."""
    masks, _ = all_coalitions()
    n, m = 6, int((1 - q) * 6 + 0.5)
    chance = np.zeros(len(masks))
    for first in itertools.combinations(range(n), m):
        outside = np.isin(np.arange(n), first, invert=True)
        stay = masks.sum(1)
        reached = ~(masks & outside).any(1)
        chance += reached * (1 - p) ** stay * p ** (m - stay * reached) / comb(n, m)
    assert chance.sum() == pytest.approx(1)
    return chance


def enumerated(name, p, q):
    """The variance summed over all coalitions."""
    t = values_of(name, all_coalitions()[1], np.asarray(small_network()[-1]))
    chance = chances(p, q)
    if name.startswith("total_"):
        num_inputs = t.shape[1]
        chance = np.repeat(chance / num_inputs, num_inputs)
        t = t.reshape(-1, 1, t.shape[-1])
    mean = np.einsum("s,sbk->bk", chance, t)
    square = np.einsum("s,sbk->bk", chance, np.square(t))
    return (square - mean**2).sum(-1).mean()


@pytest.fixture(scope="module")
def small_bands():
    players, params, x, labels = small_network()
    found = mcue(
        jax.random.key(0),
        players,
        params,
        x,
        labels,
        output=MCUE_OUTPUTS,
        num_points=5,
        num_samples=400,
    )
    return {bands.output: bands for bands in found}


@pytest.mark.parametrize("name", MCUE_OUTPUTS)
def test_the_grid_is_that_of_enumeration(small_bands, name):
    bands = small_bands[name]
    exact = [[enumerated(name, p, q) for q in bands.q] for p in bands.p]
    z = (bands.variance - exact) / np.maximum(bands.stderr, 1e-4 * np.max(exact))
    assert np.abs(z).max() < 5 and np.abs(z).mean() < 1.6
    assert bands.variance.max() > 0.01


def test_the_grid_is_that_of_algorithm_1_drawn_to_the_letter(small_bands):
    n, num_draws = 6, 4000
    rng = np.random.default_rng(1)
    labels_of = all_coalitions()[1].argmax(-1)  # [64, B]
    bands = small_bands["total_label"]
    for i, j in ((0, 3), (2, 2), (4, 1)):
        p, q = bands.p[i], bands.q[j]
        t = []
        for _ in range(num_draws):
            first = rng.permutation(n)[: int((1 - q) * n + 0.5)]
            mask = np.isin(np.arange(n), first) & (rng.random(n) >= p)
            row = int("".join(str(int(b)) for b in mask), 2)
            t.append(labels_of[row, rng.integers(labels_of.shape[1])])
        fourth = np.mean((t - np.mean(t)) ** 4)
        stderr = np.sqrt((fourth - np.var(t) ** 2) / num_draws)
        error = bands.variance[i, j] - np.var(t, ddof=1)
        assert abs(error) < 4 * np.hypot(stderr, bands.stderr[i, j])


def test_a_linear_network_has_its_closed_form():
    w = np.array([3.0, 1.0, -2.0, 0.5, 1.5, 0.0, 2.0, -1.0])
    players, params, x = linear_model(w)
    bands = mcue(
        jax.random.key(1), players, params, x, output=lambda z: z, num_samples=400
    )
    exact = np.array([[linear_variance(w, p, q) for q in bands.q] for p in bands.p])
    np.testing.assert_array_equal(bands.variance[exact == 0], 0)  # nobody is drawn
    z = ((bands.variance - exact) / np.maximum(bands.stderr, 1e-6))[exact > 0]
    assert np.abs(z).max() < 5 and np.abs(z).mean() < 1.6
    top = bands.p[np.diagonal(exact).argmax()]
    assert abs(bands.peak - top) < 0.05 + 4 * bands.peak_stderr
    assert bands.bias == bands.critical_size == 1 - bands.peak
    assert bands.share_at_peak == pytest.approx(bands.bias**2)
    assert bands.num_evaluations == 9 * 400


def test_without_a_first_stage_the_closed_form_is_that_of_coins():
    w = np.array([1.0, 2.0, 4.0])
    for p in (0.2, 0.5):
        coins = p * (1 - p) * np.square(w).sum()
        assert linear_variance(w, p, 0.0) == pytest.approx(coins)


def moments_of(t, num_groups):
    """The moments of samples t of one number, [sizes, samples], in NumPy."""
    groups = np.arange(t.shape[1]) % num_groups
    split = [t[:, groups == group] for group in range(num_groups)]
    mean = np.stack([part.mean(1) for part in split], 1)
    square = np.stack([np.square(part).mean(1) for part in split], 1)
    gram = np.einsum("kg,lh->kglh", mean, mean)
    counts = np.bincount(groups)
    return SizeMoments(np.arange(len(t)), counts, square, square, gram)


def test_variances_are_unbiased_and_their_standard_errors_true():
    rng = np.random.default_rng(0)
    means, weights = np.array([0.0, 2.0, 5.0]), np.array([[0.2, 0.3, 0.5]])
    law = SizeLaw(weights, np.zeros((1, 2)))
    exact = 1 + weights[0] @ means**2 - (weights[0] @ means) ** 2
    found = []
    for _ in range(400):
        moments = moments_of(means[:, None] + rng.normal(size=(3, 23)), 10)
        found.append(jackknife(partial(variance_of, moments, law), moments))
    value = np.array([estimate.value[0] for estimate in found])
    stderr = np.array([estimate.stderr[0] for estimate in found])
    assert abs(value.mean() - exact) < 4 * value.std() / 20
    assert np.sqrt(np.square(stderr).mean()) == pytest.approx(value.std(), rel=0.15)
    inside = np.abs(value - exact) < stats.t.ppf(0.975, 9) * stderr
    assert 0.91 < inside.mean() < 0.985


def test_the_law_of_sizes_is_that_of_two_stages():
    p, q = np.array([0.0, 0.3, 1.0]), np.array([0.0, 0.5, 1.0])
    weights, between = size_law(p, q, 6, np.arange(7))
    np.testing.assert_allclose(weights.sum(-1), 1)
    assert weights[0, 0, 6] == weights[0, 1, 3] == weights[2, 0, 0] == 1
    assert weights[1, 2, 0] == 1 and not between.any()
    coins = [comb(6, k) * 0.7**k * 0.3 ** (6 - k) for k in range(7)]
    np.testing.assert_allclose(weights[1, 0], coins)
    sizes = choose_sizes(1000, 20)
    few = size_law(p, q, 1000, sizes)
    mean = few.weights @ sizes
    np.testing.assert_allclose(mean, 1000 * np.outer(1 - p, 1 - q), atol=1e-6)


@pytest.mark.parametrize("num_players", [150, 2000])
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_measuring_some_sizes_is_enough(num_players, mean):
    n, grid = num_players, (np.arange(20) + 0.5) / 20
    w = np.random.default_rng(0).normal(mean, 1.0, n)
    sizes = choose_sizes(n, 64)
    assert len(sizes) <= 64
    means = sizes * w.mean()
    square = sizes * (n - sizes) / (n - 1) * w.var() + means**2
    counts = np.array([10**9])  # so many samples that the moments are exact
    gram = np.multiply.outer(means, means)[:, None, :, None]
    moments = SizeMoments(sizes, counts, square[:, None], square[:, None], gram)
    found = variance_of(moments, size_law(grid, grid, n, sizes))
    exact = np.array([[linear_variance(w, p, q) for q in grid] for p in grid])
    np.testing.assert_allclose(found, exact, rtol=0.02, atol=1e-3 * exact.max())


def test_results_depend_neither_on_chunks_nor_on_company(small_bands):
    players, params, x, labels = small_network()
    alone = mcue(
        jax.random.key(0),
        players,
        params,
        x,
        labels,
        output="vote",
        num_points=5,
        num_samples=400,
        chunk_size=7,
    )
    np.testing.assert_allclose(alone.variance, small_bands["vote"].variance, atol=1e-5)
    np.testing.assert_allclose(alone.stderr, small_bands["vote"].stderr, atol=1e-5)
    assert alone.peak == pytest.approx(small_bands["vote"].peak, abs=1e-3)


def test_only_those_who_vary_leave():
    players, params, x, labels = small_network()
    name = players.families[1].name
    seen = []
    bands = mcue(
        jax.random.key(4),
        players,
        params,
        x,
        labels,
        output="probabilities",
        num_points=3,
        num_samples=200,
        varying=name,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert bands.num_players == 2 and bands.num_evaluations == 600
    assert seen == [(200, 600), (400, 600), (600, 600)]
    family = players.family(name)
    own = slice(family.start, family.stop)
    masks, z = all_coalitions()
    rows = [
        np.flatnonzero(
            np.delete(masks, own, 1).all(1) & (masks[:, own] == pair).all(1)
        )[0]
        for pair in ([0, 0], [0, 1], [1, 0])
    ]
    t = values_of("probabilities", z[rows], np.asarray(labels))
    chance = np.array([0.5, 0.25, 0.25])  # one of the two is drawn, and kept or not
    mean = np.einsum("s,sbk->bk", chance, t)
    exact = (np.einsum("s,sbk->bk", chance, t**2) - mean**2).sum(-1).mean()
    assert abs(bands.variance[1, 1] - exact) < 4 * bands.stderr[1, 1]


def test_the_peak_lies_between_the_points():
    grid = (np.arange(10) + 0.5) / 10
    assert peak_of(grid, -np.square(grid - 0.61)) == pytest.approx(0.61)
    assert peak_of(grid, grid) == grid[-1] and peak_of(grid, -grid) == grid[0]
    assert peak_of(grid, np.minimum(grid, 0.55)) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 1}, "num_samples of at least 4, got 1"),
        ({"num_points": 1}, "num_points of at least 3, got 1"),
        ({"chunk_size": 0}, "chunk_size of at least 1, got 0"),
        ({"output": "lable"}, "'lable': expected one of label, vote"),
        ({"output": "correct"}, "compares with labels"),
        ({"output": "correct", "labels": np.zeros(3, int)}, "labels of shape"),
        ({"output": lambda z: "text"}, "variance of one array, got str"),
        ({"output": lambda z: z * 0}, "same whoever is in the coalition"),
        ({"varying": np.zeros(6, bool)}, "nobody varies"),
        ({"varying": "conv"}, "no family 'conv'"),
    ],
)
def test_bad_input(options, message):
    players, params, x, labels = small_network()
    with pytest.raises(InputError, match=message):
        mcue(jax.random.key(0), players, params, x, **options)


def test_nan_is_an_error_and_regression_has_no_labels():
    players, params, x, _ = small_network()
    broken = {**params, "w3": params["w3"].at[0, 0].set(jnp.nan)}
    with pytest.raises(InputError, match="NaN for a coalition of 6 players"):
        mcue(jax.random.key(0), players, broken, x)
    players, params, x = linear_model([1.0, 2.0])
    with pytest.raises(InputError, match="two or more classes"):
        mcue(jax.random.key(0), players, params, x)


def test_nan_of_some_coalitions_only_is_an_error():
    players, params, x, _ = small_network()

    def apply(params, x):
        hidden = jnp.maximum(x @ params["in"], 0)
        return jnp.log(hidden @ params["out"] - 1.5)

    params = {"in": jnp.ones((1, 2)), "out": jnp.ones((2, 1))}
    x = jnp.ones((1, 1))
    players = gp.find_players(apply, params, x)
    with pytest.raises(InputError, match="NaN for a coalition of 0 players"):
        mcue(jax.random.key(0), players, params, x, output="outputs")


def test_bands_are_frozen(small_bands):
    bands = small_bands["label"]
    assert isinstance(bands, Bands) and not bands.is_at_end
    with pytest.raises(AttributeError):
        bands.peak = 0.5
    np.testing.assert_array_equal(bands.diagonal, np.diagonal(bands.variance))


def test_several_outputs_come_from_the_same_passes():
    players, params, x, labels = small_network()
    key, options = jax.random.key(5), {"num_points": 4, "num_samples": 8}
    both = mcue(key, players, params, x, labels, output=["vote", "outputs"], **options)
    assert [bands.output for bands in both] == ["vote", "outputs"]
    assert isinstance(both, tuple)
    for bands in both:
        alone = mcue(key, players, params, x, labels, output=bands.output, **options)
        np.testing.assert_allclose(bands.variance, alone.variance, atol=1e-5)


def test_a_bands_object_says_what_it_is_in_one_line(small_bands):
    text = repr(small_bands["label"])
    assert (
        text.startswith("Bands('label', 5 x 5, 6 players, peak 0.") and len(text) < 90
    )


def test_an_end_of_the_grid_is_no_peak(small_bands):
    bands = small_bands["label"]
    falling = np.diag(np.arange(5.0, 0.0, -1.0))
    end = dataclasses.replace(bands, variance=falling, peak=0.1, peak_stderr=0.0)
    assert end.is_at_end
    assert "no peak: largest at 0.100, an end of the grid" in repr(end)


def test_an_unknown_keyword_is_named():
    players, params, x, _ = small_network()
    with pytest.raises(TypeError, match="'num_sample': did you mean 'num_samples'"):
        mcue(jax.random.key(0), players, params, x, num_sample=3)  # type: ignore[call-arg]


def test_all_sizes_are_measured_by_one_program():
    """The output is traced for the centre, for shapes and for the loop over chunks."""
    players, params, x, _ = small_network()

    def traced(z):
        return z[:, 0]

    chex.clear_trace_counter()
    output = chex.assert_max_traces(traced, n=3)
    bands = mcue(jax.random.key(0), players, params, x, output=output, num_samples=4)
    assert bands.num_evaluations == 7 * 4


def test_infinite_outputs_are_told():
    def apply(params, x):
        logits = jax.nn.relu(x @ params["a"]) @ params["b"]
        return jnp.where(jnp.array([True, False])[None], logits, -jnp.inf)

    params = {"a": jnp.ones((3, 4)), "b": jnp.ones((4, 2))}
    x = jnp.ones((5, 3))
    players = gp.find_players(apply, params, x)
    with pytest.raises(InputError, match="is infinite for some examples"):
        mcue(jax.random.key(0), players, params, x, output="outputs", num_samples=4)
