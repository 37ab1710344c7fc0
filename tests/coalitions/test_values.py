"""The value function of a network: exact, checked, and the same however it is cut."""

import dataclasses
import functools
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import gamepruning.coalitions.evaluation.evaluate as evaluate
from gamepruning import metrics
from gamepruning.coalitions import measures
from gamepruning.coalitions.estimators import sampling
from gamepruning.coalitions.evaluation import rows
from gamepruning.coalitions.evaluation.related import LazyIncremental
from gamepruning.coalitions.indices import banzhaf_values
from gamepruning.coalitions.values import value_function
from gamepruning.players import find_players
from gamepruning.types import InputError
from tests.small import apply_mlp, make_mlp


def random_masks(shape, seed=0):
    return np.random.default_rng(seed).random(shape) < 0.5


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def full_passes(players, params, metric, inputs, labels, masks):
    """The twin: gates on the activations, all examples at once, nothing hoisted."""

    def value(mask):
        return metric(players.gated(params, mask, *inputs), labels)

    return np.asarray(jax.jit(jax.vmap(value))(masks))


def convnet(params, x):
    """Players: the filters, and the hidden units behind them."""
    x = jax.lax.conv(x, params["conv0"], (1, 1), "SAME")
    x = jax.lax.conv(jax.nn.relu(x), params["conv1"], (2, 2), "SAME")
    x = jax.nn.relu(x).reshape(len(x), -1)
    return {"logits": jax.nn.relu(x @ params["w0"]) @ params["w1"]}


def attention(params, x, positions):
    """Players: what queries and keys share, what the values carry, hidden units."""
    x = x + positions  # two inputs
    q, k, v = (x @ params[name] for name in "qkv")
    weights = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", q, k))
    x = x + jnp.einsum("bqk,bkd->bqd", weights, v) @ params["o"]
    return (x + jax.nn.gelu(x @ params["up"]) @ params["down"]).sum(axis=1)


def make_convnet():
    params = {
        "conv0": normal(0, 4, 2, 3, 3),
        "conv1": normal(1, 3, 4, 3, 3),
        "w0": normal(2, 12, 6),
        "w1": normal(3, 6, 3),
    }
    return convnet, params, (normal(4, 10, 2, 4, 4),)


def make_attention():
    names = {"q": (4, 3), "k": (4, 3), "v": (4, 5), "o": (5, 4)}
    names |= {"up": (4, 6), "down": (6, 4)}
    params = {name: normal(k, *shape) for k, (name, shape) in enumerate(names.items())}
    return attention, params, (normal(7, 10, 3, 4), normal(8, 10, 3, 4))


@pytest.mark.parametrize(
    "make", [make_convnet, make_attention], ids=["convnet", "attention"]
)
def test_values_are_those_of_the_gated_network(make):
    apply, params, inputs = make()
    players = find_players(apply, params, *inputs)
    labels = jax.random.randint(jax.random.key(9), (10,), 0, 3)

    def metric(outputs, labels):
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        return measures.true_class_probability(logits[:, :3], labels)

    masks = random_masks((9, players.num_players))
    value_fn = value_function(players, params, metric, inputs, labels)
    expected = full_passes(players, params, metric, inputs, labels, masks)
    values = value_fn(masks)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert len(np.unique(values)) > 5


@pytest.fixture(scope="module")
def game():
    """Rows enough for three tiles of 200, or five tiles of 128 and a rest."""
    return make_mlp(jax.random.key(0), (5, 24, 16, 3), num_examples=600)


METRICS = (
    metrics.accuracy,
    measures.negative_cross_entropy,
    lambda outputs, labels: metrics.r2(outputs[:, 0], labels),  # no mean over examples
)


@pytest.mark.parametrize("metric", METRICS, ids=["accuracy", "loss", "r2"])
def test_metrics_and_layer_wise_games(game, metric):
    players, params, inputs, labels = game
    full = np.ones((12, players.num_players), bool)
    full[:, :24] = random_masks((12, 24))
    value_fn = value_function(players, params, metric, inputs, labels, varying="dense0")
    assert value_fn.free.tolist() == list(range(24))
    values = value_fn(full[:, :24])
    expected = full_passes(players, params, metric, (inputs,), labels, full)
    np.testing.assert_allclose(values, expected, rtol=2e-5)
    np.testing.assert_array_equal(value_fn.expand(full[:, :24]), full)
    tiled = value_fn._chunks.evaluator.rows != rows.RowTiles(600, 1, 0)
    assert tiled == measures.is_mean(metric)


def test_values_do_not_depend_on_chunks_or_devices(game, monkeypatch):
    monkeypatch.setattr(evaluate, "MOST_AT_ONCE", 8)
    players, params, inputs, labels = game
    masks = random_masks((85, players.num_players))
    found = {}
    for devices in (1, 4):
        value_fn = value_function(
            players,
            params,
            measures.negative_cross_entropy,
            inputs,
            labels,
            rows_at_once=128,
            devices=jax.devices()[:devices],
        )
        for chunk_size in (1, 40, None):
            value_fn._chunks.wanted = chunk_size
            found[devices, chunk_size] = value_fn(masks)
    one_by_one = np.concatenate([value_fn(mask[None]) for mask in masks[:11]])
    for values in found.values():
        np.testing.assert_array_equal(values, found[1, None])
    np.testing.assert_array_equal(one_by_one, found[1, None][:11])
    metric = measures.negative_cross_entropy
    expected = full_passes(players, params, metric, (inputs,), labels, masks)
    np.testing.assert_allclose(found[1, None], expected, rtol=1e-5)


def test_always_in_and_always_out(game):
    players, params, inputs, labels = game
    everybody = value_function(players, params, metrics.accuracy, inputs, labels)
    some = value_function(
        players,
        params,
        metrics.accuracy,
        inputs,
        labels,
        always_in="dense1",
        always_out=[0, 3],
    )
    fewer = everybody.restrict(always_in="dense1").restrict(always_out=[0, 3])
    masks = random_masks((20, 22))
    full = some.expand(masks)
    assert full[:, 24:].all() and not full[:, [0, 3]].any()
    assert some.free.tolist() == fewer.free.tolist() == [1, 2, *range(4, 24)]
    np.testing.assert_array_equal(fewer.expand(masks), full)
    np.testing.assert_allclose(some(masks), everybody(full), atol=2e-3)
    np.testing.assert_array_equal(fewer(masks), everybody(full))
    assert fewer.num_evaluations == some.num_evaluations == 20
    assert everybody.num_evaluations == 20 + 20 + 20  # the restricted ones' included
    assert fewer._chunks.evaluator is everybody._chunks.evaluator


def test_accelerators_take_full_passes(game):
    """Updates of rank one are chains of small kernels there."""
    players, params, inputs, labels = game
    data = (players, params, metrics.accuracy, inputs[:40], labels[:40])
    value_fn = value_function(*data)
    related = value_fn._related
    related._config = dataclasses.replace(related._config, max_share=float("inf"))
    gpu = dataclasses.replace(
        related._config, devices=[SimpleNamespace(platform="gpu")]
    )
    other = LazyIncremental(related._model, related._varying, gpu)
    assert related.get() is not None and other.get() is None


@pytest.mark.parametrize("incremental", [False, True])
def test_prefixes_and_toggles_are_values(game, incremental):
    players, params, inputs, labels = game
    metric = measures.true_class_probability
    out = np.arange(players.num_players) < 25  # leaves 15 players to play
    value_fn = value_function(
        players, params, metric, inputs[:40], labels[:40], always_out=out
    ).restrict(always_in=[30])
    if incremental:
        related = value_fn._related
        related._config = dataclasses.replace(related._config, max_share=float("inf"))
    else:
        value_fn._related._made.append(None)
    assert value_fn.is_incremental == incremental
    orders = np.stack([np.random.default_rng(k).permutation(14) for k in range(3)])
    masks = random_masks((2, 14))
    done = []
    value_fn._progress = done.append
    prefixes, (base, toggled) = value_fn.prefixes(orders), value_fn.toggles(masks)
    assert value_fn.num_evaluations == 3 * 15 + 2 * 15
    assert done == [15, 30, 45, 15, 30] if incremental else done == [45, 30]
    for row, order in enumerate(orders):
        for size in (0, 1, 7, 14):
            mask = np.isin(np.arange(14), order[:size])
            assert prefixes[row, size] == pytest.approx(value_fn(mask[None])[0])
    np.testing.assert_allclose(base, value_fn(masks), rtol=1e-5)
    for player in (0, 13):
        flipped = masks ^ (np.arange(14) == player)
        np.testing.assert_allclose(toggled[:, player], value_fn(flipped), rtol=1e-5)


def test_single_weights_play():
    _, params, inputs, labels = make_mlp(jax.random.key(1))
    players = find_players(apply_mlp, params, inputs, granularity="weight")
    masks = random_masks((4, players.num_players), seed=1)
    metric = measures.negative_cross_entropy
    value_fn = value_function(players, params, metric, inputs, labels)
    expected = full_passes(players, params, metric, (inputs,), labels, masks)
    np.testing.assert_allclose(value_fn(masks), expected, rtol=1e-5)


def test_a_network_that_mixes_examples_is_not_cut(game):
    players, params, inputs, labels = game

    def centred(params, x):
        outputs = apply_mlp(params, x)
        return outputs - outputs.mean(axis=0, keepdims=True)

    players = find_players(centred, params, inputs)
    value_fn = value_function(players, params, metrics.accuracy, inputs, labels)
    masks = random_masks((5, players.num_players))
    expected = full_passes(players, params, metrics.accuracy, (inputs,), labels, masks)
    np.testing.assert_allclose(value_fn(masks), expected, atol=1e-6)


def test_a_player_that_is_not_finite_can_leave():
    params = {
        "dense0": {"kernel": jnp.ones((1, 3)), "bias": jnp.array([0.0, jnp.inf, 1.0])},
        "dense1": {"kernel": jnp.ones((3, 1)), "bias": jnp.zeros(1)},
    }
    inputs = jnp.ones((4, 1))
    players = find_players(apply_mlp, params, inputs)

    def mean(outputs, labels):
        return outputs.mean()

    value_fn = value_function(players, params, mean, inputs, None)
    assert value_fn(np.array([[True, False, True]])).tolist() == [3.0]
    with pytest.raises(InputError, match=r"coalition 2, which has 2 players \(0, 1\)"):
        value_fn(np.array([[1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 1, 0]], bool))


def test_progress_counts_the_values_of_each_chunk(game, monkeypatch):
    monkeypatch.setattr(evaluate, "MOST_AT_ONCE", 8)
    players, params, inputs, labels = game
    done = []
    value_fn = value_function(
        players,
        params,
        metrics.accuracy,
        inputs[:8],
        labels[:8],
        chunk_size=9,
        devices=jax.devices()[:1],
        progress=done.append,
    )
    assert value_fn(np.zeros((0, 40), bool)).shape == (0,)
    value_fn(random_masks((36, 40)))
    assert done == [16, 32, 36]  # whole tiles of 8
    assert value_fn.num_evaluations == 36


def test_prefixes_and_toggles_are_made_a_chunk_at_a_time(game, monkeypatch):
    """Not N x N masks of one row at once."""
    monkeypatch.setattr(evaluate, "MOST_AT_ONCE", 4)
    players, params, inputs, labels = game
    given = players, params, metrics.accuracy, inputs[:8], labels[:8]
    value_fn = value_function(*given, chunk_size=8, devices=jax.devices()[:1])
    value_fn._related._made.append(None)  # not incremental
    sizes, values = [], value_fn._values
    monkeypatch.setattr(
        value_fn, "_values", lambda m, before=0: sizes.append(len(m)) or values(m)
    )
    masks, n = random_masks((2, 40)), players.num_players
    base, toggled = value_fn.toggles(masks)
    prefixes = value_fn.prefixes(np.arange(n)[None])
    assert max(sizes) == 8 and sum(sizes) == 3 * (n + 1)
    np.testing.assert_array_equal(base, values(masks))
    flipped = masks[1] ^ np.eye(n, dtype=bool)
    np.testing.assert_array_equal(toggled[1], values(flipped))
    np.testing.assert_array_equal(prefixes[0], values(np.tri(n + 1, n, -1) > 0))
    assert value_fn.prefixes(np.zeros((0, n), int)).shape == (0, n + 1)


@pytest.mark.parametrize(
    "method, wide",
    [
        ("sample_reuse", sampling.WIDE),
        ("paired_regression", sampling.WIDE),
        ("sample_reuse", 4),
        ("paired_regression", 4),
        ("toggle", 4),
    ],
)
def test_rounds_and_pieces_fill_the_devices(game, monkeypatch, method, wide):
    """A tile of 8 coalitions on each of 4 devices; bits are those of one device."""
    if wide < sampling.WIDE:  # pieces of very wide coalitions, of 2 at most
        monkeypatch.setattr(sampling, "WIDE", wide)
        monkeypatch.setattr(sampling, "_WIDE_ENTRIES", 80)
    monkeypatch.setattr(evaluate, "MOST_AT_ONCE", 8)
    players, params, inputs, labels = game
    mesh = Mesh(np.array(jax.devices()), ("coalitions",))

    def estimate(**where):
        given = players, params, metrics.accuracy, inputs[:8], labels[:8]
        value_fn = value_function(*given, **where)
        num, slots, evaluator = 0, 0, value_fn._chunks.evaluator
        launch = evaluator._launch

        def counted(masks, used):
            nonlocal num, slots
            num, slots = num + len(masks), slots + used * evaluator.num_at_once
            return launch(masks, used)

        monkeypatch.setattr(evaluator, "_launch", counted)
        scores = banzhaf_values(
            0, value_fn, num_evaluations=320, method=method, round_size=20
        )
        return scores, num / slots

    found, used = estimate(mesh=mesh)
    assert used >= 0.8
    expected, _ = estimate(devices=jax.devices()[:1])
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.stderr, expected.stderr)


def test_out_of_memory_makes_smaller_chunks_then_smaller_tiles(game, monkeypatch):
    monkeypatch.setattr(evaluate, "MOST_AT_ONCE", 8)
    players, params, inputs, labels = game
    value_fn = value_function(
        players,
        params,
        metrics.accuracy,
        inputs[:8],
        labels[:8],
        devices=jax.devices()[:1],
    )
    masks = random_masks((50, 40))
    expected = value_fn(masks)
    start, asked, most = value_fn._chunks.evaluator.start, [], 4

    def start_small(masks, used):
        asked.append(len(masks))
        if len(masks) > most or value_fn._chunks.evaluator.num_at_once > most:
            text = "RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes"
            raise jax.errors.JaxRuntimeError(text)
        return start(masks, used)

    monkeypatch.setattr(value_fn._chunks.evaluator, "start", start_small)
    np.testing.assert_allclose(value_fn(masks), expected, atol=1e-6)
    assert asked[:3] == [50, 32, 16] and asked[-1] <= 4
    assert value_fn._chunks.evaluator.num_at_once == 4
    assert value_fn.num_evaluations == 100
    most = 0
    with pytest.raises(InputError, match="out of memory with one coalition"):
        value_fn(masks)


def test_other_errors_of_the_device_are_not_taken_for_memory(game, monkeypatch):
    players, params, inputs, labels = game
    value_fn = value_function(players, params, metrics.accuracy, inputs[:8], labels[:8])

    def fail(masks, used):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(value_fn._chunks.evaluator, "start", fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        value_fn(random_masks((2, 40)))


BAD = (
    ({"always_in": [1, 2], "always_out": [2]}, "player 2 is both"),
    ({"always_in": ["dense0", "dense1"]}, "nobody is free"),
    ({"varying": "dense1", "always_out": [0]}, "add it to varying"),
    ({"always_in": [40]}, r"expected always_in as bool \[40\]"),
    ({"always_out": [0.5]}, r"expected always_out as bool \[40\]"),
    ({"always_out": np.ones(3, bool)}, "mask has shape"),
    ({"varying": "conv7"}, "no family 'conv7'"),
    ({"chunk_size": 0}, "chunk_size >= 1"),
    ({"rows_at_once": 0}, "rows_at_once >= 1"),
    ({"devices": []}, "at least one device"),
)


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_arguments(game, options, message):
    players, params, inputs, labels = game
    with pytest.raises(InputError, match=message):
        value_function(
            players, params, metrics.accuracy, inputs[:8], labels[:8], **options
        )


def test_bad_calls(game):
    players, params, inputs, labels = game
    make = functools.partial(value_function, players, params)
    value_fn = make(metrics.accuracy, inputs[:8], labels[:8])
    for masks in (np.ones((2, 3), bool), np.ones((2, 40)), np.ones((1, 2, 40), bool)):
        with pytest.raises(InputError, match=r"expected masks bool \[S, 40\]"):
            value_fn(masks)
    with pytest.raises(InputError, match="traced"):
        jax.jit(value_fn)(np.ones((2, 40), bool))
    with pytest.raises(InputError, match="permutation of 0 to 39"):
        value_fn.prefixes(np.zeros((1, 40), int))
    with pytest.raises(InputError, match="both always in and always out"):
        value_fn.restrict(always_in=[3]).restrict(always_out=[3])
    with pytest.raises(InputError, match="nobody is free"):
        value_fn.restrict(always_in=["dense0", "dense1"])
    with pytest.raises(InputError, match="to be one number"):
        make(lambda outputs, labels: outputs[0], inputs, labels)(random_masks((1, 40)))
    with pytest.raises(InputError, match="at least one example"):
        make(metrics.accuracy, inputs[:0], labels[:0])


def test_true_class_probability():
    logits = jnp.log(jnp.array([[0.2, 0.8], [0.5, 0.5]]))
    labels = jnp.array([1, 0])
    value = measures.true_class_probability(logits, labels)
    assert float(value) == pytest.approx((0.8 + 0.5) / 2)
    assert np.isnan(measures.true_class_probability(logits, jnp.array([1, 2])))
    loss = measures.negative_cross_entropy(logits, labels)
    assert float(loss) == pytest.approx((np.log(0.8) + np.log(0.5)) / 2)


def test_calibrated_likelihood_is_the_best_of_its_temperatures():
    logits = jax.random.normal(jax.random.key(1), (20, 5))
    labels = jax.random.randint(jax.random.key(2), (20,), 0, 5)
    probabilities = [np.exp(t * logits) for t in (0.5, 1, 2, 4, 8)]
    picked = [p[np.arange(20), labels] / p.sum(axis=1) for p in probabilities]
    best = max(np.log(p).mean() for p in picked)
    value = measures.calibrated_likelihood(logits, labels)
    assert float(value) == pytest.approx(best, rel=1e-5)
    assert jnp.isnan(measures.calibrated_likelihood(logits, labels.at[3].set(5)))


def test_one_program_values_any_number_of_coalitions(game):
    players, params, inputs, labels = game

    def traced(outputs, labels):
        return measures.negative_cross_entropy(outputs, labels)

    chex.clear_trace_counter()
    value_fn = value_function(
        players,
        params,
        chex.assert_max_traces(traced, n=1),
        inputs[:8],
        labels[:8],
        devices=jax.devices()[:1],
    )
    for count in (1, 7, 300, 0, 1000):
        assert value_fn(np.ones((count, 40), bool)).shape == (count,)
    value_fn.restrict(always_in=[0], always_out=[1, 2])(np.ones((5, 37), bool))


class MeasuresWithAndWithoutJit(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_they_are_scalars_by_hand(self):
        """Two classes with odds of 3 to 1, right once and wrong once."""
        outputs = jnp.log(jnp.array([[3.0, 1.0], [3.0, 1.0]]))
        labels = jnp.array([0, 1])
        expected = {
            measures.negative_cross_entropy: np.log(3 / 4 * 1 / 4) / 2,
            measures.true_class_probability: 1 / 2,
            # the best temperature of the five is the lowest: odds of sqrt(3) to 1
            measures.calibrated_likelihood: np.log(np.sqrt(3) / (1 + np.sqrt(3)) ** 2)
            / 2,
        }
        for metric, value in expected.items():
            found = self.variant(metric)(outputs, labels)
            chex.assert_shape(found, ())
            np.testing.assert_allclose(found, value, rtol=1e-6)


@pytest.mark.parametrize("is_on_mesh", [False, True])
def test_a_second_value_function_of_the_same_shapes_compiles_nothing(
    caplog, is_on_mesh
):
    """Other parameters and examples, the same players and metric."""
    mesh = Mesh(np.array(jax.devices()), ("coalitions",)) if is_on_mesh else None
    players, *_ = make_mlp(jax.random.key(0), num_examples=300)
    masks = random_masks((9, players.num_players))
    order = np.arange(players.num_players)[None]

    def use(seed):
        _, params, x, labels = make_mlp(jax.random.key(seed), num_examples=300)
        game = players, params, metrics.accuracy, x, labels
        value_fn = value_function(*game, mesh=mesh)
        _ = value_fn.toggles(masks[:2]), value_fn.prefixes(order)
        found = value_fn(masks)
        count = sum("Compiling" in record.message for record in caplog.records)
        twin = full_passes(players, params, metrics.accuracy, (x,), labels, masks)
        np.testing.assert_allclose(found, twin, atol=1e-6)
        return count

    with jax.log_compiles():
        assert use(1) > 3
        make_mlp(jax.random.key(2), num_examples=300)  # its own programs
        caplog.clear()
        assert use(2) == 0


@pytest.mark.parametrize("metric", [metrics.accuracy, measures.negative_cross_entropy])
def test_programs_are_of_one_metric_and_who_varies(metric):
    players, params, x, labels = make_mlp(jax.random.key(0))
    first = value_function(players, params, metrics.accuracy, x, labels)
    first(random_masks((2, players.num_players)))
    for out in (0, 1):
        value_fn = value_function(players, params, metric, x, labels, always_out=[out])
        masks = random_masks((5, players.num_players - 1))
        everyone = value_fn.expand(masks)
        twin = full_passes(players, params, metric, (x,), labels, everyone)
        np.testing.assert_allclose(value_fn(masks), twin, atol=1e-6)


def test_a_wide_layer_gates_its_weights_once_for_many_rows_and_coalitions():
    """Weights [2048, 2] are more than the outputs of a usual tile, [256, 2]."""
    params = {"in": normal(0, 4, 2048), "out": normal(1, 2048, 2)}

    def apply(params, x):
        return jax.nn.relu(x @ params["in"]) @ params["out"]

    x, labels = normal(2, 600, 4), jnp.arange(600) % 2
    players = find_players(apply, params, x[:4])
    value_fn = value_function(players, params, metrics.accuracy, x, labels)
    evaluator = value_fn._chunks.evaluator
    assert evaluator.rows.size == 600
    assert evaluator.num_at_once == evaluate.MOST_SHARED
    masks = random_masks((3, 2048))
    twin = full_passes(players, params, metrics.accuracy, (x,), labels, masks)
    np.testing.assert_allclose(value_fn(masks), twin, atol=1e-6)
