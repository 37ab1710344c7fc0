"""Toggles that run from a cut against those that run from the first gate."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import gamepruning as gp
from gamepruning.coalitions import ValueFunction
from gamepruning.coalitions.evaluation import by_depth
from gamepruning.coalitions.evaluation.by_depth import find_depths
from gamepruning.coalitions.evaluation.evaluate import Evaluator
from gamepruning.coalitions.evaluation.hoisted import Behind, HoistedRows
from gamepruning.coalitions.games import toggled_rows
from gamepruning.players import Players
from gamepruning.run.depth import cut_at, reach
from gamepruning.selection import greedy_scores, local_search, marginal_values
from tests.zoo.case import Draw, dense

BLOCKS, WIDTH, HEADS, LENGTH, CLASSES = 3, 4, 2, 3, 3


class Setting(NamedTuple):
    """A network, its data, and the arguments of `find_players`."""

    apply: Any
    params: Any
    inputs: Any
    options: dict = {}


def normed(x):
    """Every token with a mean square of 1."""
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def attend(block, x):
    """Self-attention of a few heads."""
    q, k, v = (jnp.einsum("btd,dhe->bthe", x, block[name]) for name in "qkv")
    weights = jax.nn.softmax(jnp.einsum("bqhe,bkhe->bhqk", q, k))
    heads = jnp.einsum("bhqk,bkhe->bqhe", weights, v)
    return jnp.einsum("bqhe,hed->bqd", heads, block["o"])


def read(block, x):
    """The hidden units of a block."""
    return jax.nn.gelu(x @ block["up"]) @ block["down"]


def make_block(draw: Draw) -> dict[str, jax.Array]:
    size = WIDTH // HEADS
    into = {name: draw.weight(WIDTH, HEADS, size) for name in "qkv"}
    units = {"up": draw.weight(WIDTH, 6), "down": draw.weight(6, WIDTH)}
    return {**into, "o": draw.normal(HEADS, size, WIDTH, scale=0.4), **units}


def transformer(draw: Draw, rows: int, blocks: int = BLOCKS, **options) -> Setting:
    """Heads, what they share, and hidden units, block after block."""

    def apply(params, x):
        for block in params["blocks"]:
            x = x + attend(block, normed(x))
            x = x + read(block, normed(x))
        return normed(x).mean(1) @ params["out"]

    params: dict[str, Any] = {"blocks": [make_block(draw) for _ in range(blocks)]}
    params["out"] = draw.weight(WIDTH, CLASSES)
    return Setting(apply, params, draw.normal(rows, LENGTH, WIDTH), options)


def resnet(draw: Draw, rows: int) -> Setting:
    """Filters inside of blocks, and those of the streams of two stages."""

    def conv(x, kernel, stride=1):
        dims = ("NHWC", "HWIO", "NHWC")
        strides = (stride, stride)
        return jax.lax.conv_general_dilated(
            x, kernel, strides, "SAME", dimension_numbers=dims
        )

    def apply(params, x):
        x = jax.nn.relu(conv(x, params["stem"]))
        for stage in params["stages"]:
            x = conv(x, stage["in"], 2)
            for first, second in stage["blocks"]:
                x = jax.nn.relu(x + conv(jax.nn.relu(conv(x, first)), second))
        return x.mean((1, 2)) @ params["out"]

    def stage(into: int, width: int) -> dict:
        kernels = [draw.weight(3, 3, width, width) for _ in range(4)]
        blocks = [(kernels[0], kernels[1]), (kernels[2], kernels[3])]
        return {"in": draw.weight(1, 1, into, width), "blocks": blocks}

    params = {"stem": draw.weight(3, 3, 2, 4), "stages": [stage(4, 4), stage(4, 6)]}
    params["out"] = draw.weight(6, CLASSES)
    return Setting(apply, params, draw.normal(rows, 8, 8, 2))


def scanned_then_plain(draw: Draw, rows: int) -> Setting:
    """Layers under one scan, which no cut enters, and plain ones behind them."""

    def apply(params, x):
        def layer(x, own):
            return x + dense(own[1], jax.nn.relu(dense(own[0], x))), None

        x = jax.lax.scan(layer, x, params["layers"])[0]
        for block in params["blocks"]:
            x = x + dense(block[1], jnp.tanh(dense(block[0], x)))
        return dense(params["out"], x)

    layers = [draw.dense(WIDTH, 5, WIDTH) for _ in range(3)]
    params: dict[str, Any] = {"layers": jax.tree.map(lambda *x: jnp.stack(x), *layers)}
    params["blocks"] = [draw.dense(WIDTH, 5, WIDTH) for _ in range(3)]
    params["out"] = draw.dense(WIDTH, CLASSES)[0]
    return Setting(apply, params, draw.normal(rows, WIDTH), {"granularity": "unit"})


SETTINGS = {
    "transformer": transformer,
    "branches": partial(transformer, blocks=5, granularity="branch"),
    "resnet": resnet,
    "scan": scanned_then_plain,
}


@pytest.fixture
def compiling_is_free(monkeypatch):
    """Small networks are cut, too."""
    monkeypatch.setitem(by_depth.NODE_COST, "cpu", 0.0)


def make_game(name: str, rows: int = 20, seed: int = 3, **options) -> ValueFunction:
    """A value function whose toggles are no walks."""
    draw = Draw(jax.random.key(seed), "float32")
    setting = SETTINGS[name](draw, rows)
    players = players_of(name)
    labels = draw.integers(CLASSES, rows)
    metric = options.pop("metric", gp.negative_cross_entropy)
    game = gp.value_function(
        players, setting.params, metric, setting.inputs, labels, **options
    )
    game._related._made.append(None)
    return game


PLAYERS: dict[str, Players] = {}


def players_of(name: str) -> Players:
    if name not in PLAYERS:
        setting = SETTINGS[name](Draw(jax.random.key(0), "float32"), 4)
        PLAYERS[name] = gp.find_players(
            setting.apply, setting.params, setting.inputs, **setting.options
        )
    return PLAYERS[name]


def depths_of(game: ValueFunction) -> by_depth.Depths:
    assert game._deep is not None
    return game._deep.depths


def plain_toggles(game: ValueFunction, masks: np.ndarray) -> np.ndarray:
    """The value of each coalition, then with each player changed."""
    return game._in_pieces(partial(toggled_rows, masks), len(masks))


def some_masks(game: ValueFunction, num: int = 2) -> np.ndarray:
    return np.random.default_rng(1).random((num, game.num_players)) < 0.7


def check(game: ValueFunction, masks: np.ndarray) -> None:
    """Toggles from cuts are those of full passes."""
    assert depths_of(game).num > 1
    base, toggled = game.toggles(masks)
    expected = plain_toggles(game, masks)
    np.testing.assert_allclose(base, expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(toggled, expected[:, 1:], rtol=1e-5, atol=1e-6)
    assert len(np.unique(toggled.round(5))) > game.num_players


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("rows", [20, 300], ids=["one tile", "tiles and a rest"])
def test_toggles_are_those_of_full_passes(name, rows, compiling_is_free):
    """300 rows in tiles of 128 leave 44."""
    rows_at_once = None if rows == 20 else 128
    game = make_game(name, rows, rows_at_once=rows_at_once)
    assert len(game._chunks.evaluator.suffixes) == (1 if rows == 20 else 2)
    masks = some_masks(game)
    check(game, masks)
    before = game.num_evaluations
    game.toggles(masks)
    assert game.num_evaluations - before == 2 * (game.num_players + 1)


def test_fewer_players_on_the_same_programs(compiling_is_free, caplog):
    """Rounds of a selection restrict the game; others are in or out for good."""
    game = make_game("transformer")
    masks = some_masks(game)
    game.toggles(masks)
    n = game.num_players
    fewer = game.restrict(always_in=[0, n - 1], always_out=[1, n // 2])
    own = some_masks(fewer)
    plain = plain_toggles(fewer, own)
    with jax.log_compiles():
        _, toggled = fewer.toggles(own)
    assert not any("Compiling" in record.message for record in caplog.records)
    assert depths_of(fewer) == depths_of(game)
    np.testing.assert_allclose(toggled, plain[:, 1:], rtol=1e-5, atol=1e-6)
    deepest = np.flatnonzero(depths_of(game).depth_of < depths_of(game).num - 1)
    last = game.restrict(always_in=deepest)  # who is left is behind the last cut
    check(last, some_masks(last))


def test_a_second_value_function_compiles_nothing(compiling_is_free, caplog):
    """Other parameters and examples, the same shapes."""
    first, second = (make_game("transformer", seed=seed) for seed in (3, 4))
    masks = some_masks(first)
    _ = first.toggles(masks), plain_toggles(second, masks)
    with jax.log_compiles():
        found = second.toggles(masks)
    assert not any("Compiling" in record.message for record in caplog.records)
    np.testing.assert_allclose(
        np.column_stack([found[0][:, None], found[1]]),
        plain_toggles(second, masks),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_player_who_does_nothing_adds_exactly_nothing(compiling_is_free):
    """The programs of two cuts may round differently."""
    draw = Draw(jax.random.key(3), "float32")
    setting = transformer(draw, 20)
    down = [block["down"].at[2].set(0.0) for block in setting.params["blocks"]]
    for block, own in zip(setting.params["blocks"], down, strict=True):
        block["down"] = own
    players, labels = players_of("transformer"), draw.integers(CLASSES, 20)
    game = gp.value_function(
        players, setting.params, gp.negative_cross_entropy, setting.inputs, labels
    )
    game._related._made.append(None)
    idle = [family.start + 2 for family in players.families if "up" in family.name]
    assert len({*depths_of(game).depth_of[idle]}) > 2
    base, toggled = game.toggles(some_masks(game, 4))
    np.testing.assert_array_equal(toggled[:, idle], np.tile(base[:, None], len(idle)))


def test_a_metric_of_all_examples(compiling_is_free):
    """It is not a mean, so that there is one tile of rows."""
    game = make_game("scan", 300, metric=lambda out, labels: jnp.tanh(out).std())
    check(game, some_masks(game))


def test_bits_do_not_depend_on_devices(compiling_is_free):
    devices = jax.devices()
    masks = some_masks(make_game("branches"))
    expected = make_game("branches", devices=devices[:1]).toggles(masks)
    own = make_game("branches", devices=devices)
    mesh = make_game("branches", mesh=Mesh(np.array(devices), ("coalitions",)))
    assert own._deep is not None and mesh._deep is not None
    for game in (own, mesh):
        for found, one in zip(game.toggles(masks), expected, strict=True):
            np.testing.assert_array_equal(found, one)


def test_parameters_that_are_split_over_devices_take_full_passes(compiling_is_free):
    devices = np.array(jax.devices()).reshape(2, 2)
    game = make_game("transformer", mesh=Mesh(devices, ("coalitions", "model")))
    assert game._deep is None


def test_progress_and_chunks(compiling_is_free):
    done: list[int] = []
    game = make_game("branches", progress=done.append, chunk_size=1)
    masks = some_masks(game)
    check(game, masks)
    known = done[: done.index(2 * (game.num_players + 1)) + 1]
    assert known == sorted(known) and len(known) > 4


def test_full_passes_where_memory_does_not_suffice(compiling_is_free, monkeypatch):
    """For the values at the second cut."""
    game = make_game("branches")
    masks, asked = some_masks(game), []
    advance = Behind.advance

    def short_of_memory(self, rows, gates):
        asked.append(gates)
        if len(asked) == 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return advance(self, rows, gates)

    monkeypatch.setattr(Behind, "advance", short_of_memory)
    expected = plain_toggles(game, masks)
    for _ in range(2):
        _, toggled = game.toggles(masks)
        np.testing.assert_array_equal(toggled, expected[:, 1:])
    assert len(asked) == 2


def test_values_that_are_not_finite_are_refused(compiling_is_free):
    game = make_game("branches", metric=lambda out, y: jnp.log(out.sum() * 0 - 1))
    with pytest.raises(gp.types.InputError, match="the metric is nan"):
        game.toggles(some_masks(game))


# -- where it pays ---------------------------------------------------------------------


def test_small_networks_are_not_cut():
    """Compiling takes longer than what is saved."""
    game = make_game("transformer")
    assert game._deep is None
    base, toggled = game.toggles(some_masks(game))
    expected = plain_toggles(game, some_masks(game))
    np.testing.assert_array_equal(base, expected[:, 0])
    np.testing.assert_array_equal(toggled, expected[:, 1:])


def test_one_scan_is_not_cut(compiling_is_free):
    """Its layers are one node of the program; so is what is behind too little."""
    draw = Draw(jax.random.key(3), "float32")
    setting = scanned_then_plain(draw, 20)
    params = {**setting.params, "blocks": []}
    players = gp.find_players(setting.apply, params, setting.inputs)
    labels = draw.integers(CLASSES, 20)
    game = gp.value_function(
        players, params, gp.negative_cross_entropy, setting.inputs, labels
    )
    assert game._deep is None


def test_few_late_players_are_not_worth_a_cut(compiling_is_free):
    """One player behind each cut: with the coalition itself, two runs for one."""
    game = make_game("transformer")
    depth_of = depths_of(game).depth_of
    early = np.flatnonzero(depth_of == 0)
    late = [np.flatnonzero(depth_of == depth)[0] for depth in range(1, depth_of.max())]
    others = np.setdiff1d(np.arange(game.num_players), [*early, *late])
    assert game.restrict(always_in=others)._deep is None


def test_single_weights_take_full_passes(compiling_is_free):
    setting = transformer(Draw(jax.random.key(0), "float32"), 4, blocks=1)
    players = gp.find_players(
        setting.apply, setting.params, setting.inputs, granularity="weight"
    )
    metric, labels = gp.negative_cross_entropy, np.arange(4) % CLASSES
    game = gp.value_function(players, setting.params, metric, setting.inputs, labels)
    assert game._deep is None


def test_selection_asks_for_toggles(compiling_is_free):
    """Marginals of a coalition, and exchanges."""
    game, twin = make_game("branches"), make_game("branches")
    everybody = np.ones(game.num_players, bool)
    found = marginal_values(game, everybody).value
    plain = plain_toggles(twin, everybody[None])[0]
    np.testing.assert_allclose(found, plain[0] - plain[1:], atol=1e-6)
    scores = greedy_scores(jax.random.key(0), game, game.num_players, base="full")
    np.testing.assert_array_equal(scores.value, found)
    half = np.arange(game.num_players) % 2 == 0
    searched = local_search(game, half, max_exchanges=3)
    assert searched.value == pytest.approx(float(twin(searched.mask)), rel=1e-5)


# -- what is counted -------------------------------------------------------------------


def operations_of(lowered: jax.stages.Lowered) -> float:
    found: Any = lowered.cost_analysis()
    return found["flops"]


def count_operations(monkeypatch) -> list[float]:
    """The operations of every program that would be launched, as XLA counts them.

    Nothing is compiled: a program gives zeros.
    """
    counts: list[float] = []
    known: dict[Evaluator, float] = {}

    def launch(self, masks, used):
        if self not in known:
            known[self] = operations_of(self.lower())
        counts.append(known[self])
        return jnp.zeros((1, self.num_at_once * used))

    def advance(self, rows, gates):
        lowered = jax.jit(self._compute).lower(gates, rows.own, rows.whole)
        counts.append(operations_of(lowered))
        found: Any = lowered.out_info
        own, whole = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), found)
        return HoistedRows(own, whole, rows.labels)

    monkeypatch.setattr(Evaluator, "_launch", launch)
    monkeypatch.setattr(Behind, "advance", advance)
    return counts


def test_a_sweep_takes_about_half_of_the_operations(compiling_is_free, monkeypatch):
    """12 blocks of a transformer; a full pass is a share of a tile."""
    draw = Draw(jax.random.key(3), "float32")
    setting = transformer(draw, 8, blocks=12)
    players = gp.find_players(setting.apply, setting.params, setting.inputs)
    labels, metric = draw.integers(CLASSES, 8), gp.negative_cross_entropy
    game = gp.value_function(
        players,
        setting.params,
        metric,
        setting.inputs,
        labels,
        devices=jax.devices()[:1],
    )
    assert not game.is_incremental
    counts = count_operations(monkeypatch)
    game.toggles(some_masks(game, 1))
    evaluator, depths = game._chunks.evaluator, depths_of(game)
    a_pass = operations_of(evaluator.lower()) / evaluator.num_at_once
    share = sum(counts) / (game.num_players + 1) / a_pass
    modelled = depths.sweep_cost(game.free) / (game.num_players + 1) / depths.costs[0]
    assert 0.4 < share < 0.65
    assert share == pytest.approx(modelled, abs=0.05)


# -- cuts ------------------------------------------------------------------------------


def test_depths_by_hand():
    """Four equal layers of two units: a product each, and the last with 1 output."""

    def apply(params, x):
        for kernel in params:
            x = jax.nn.relu(x @ kernel)
        return x

    params = [jnp.ones((2, 2))] * 5
    x = jnp.ones((3, 2))
    players = gp.find_players(apply, params, x)
    call = players.model.call(params, x)
    reached = reach(players.model, call)
    everyone = np.ones(8, bool)
    whole, num_nodes = reached.of(everyone)
    assert num_nodes == 8 and reached.nodes.shape == (4, 10)
    np.testing.assert_allclose(reached.of_each / whole, np.repeat([4, 3, 2, 1], 2) / 4)
    depths = find_depths(reached, everyone, 2, 4)
    assert depths.depth_of.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert (depths.costs / whole).tolist() == [1.0, 0.5]
    assert depths.at_once.tolist() == [4, 3] and depths.num_nodes == 4 + 4
    some = np.array([0, 4, 5])  # one in front of the cut: 2 passes fill a tile of 4
    assert depths.sweep_cost(some) / whole == 4 * 1 + 3 * 0.5 + 0.5


def test_values_at_a_cut_are_those_of_the_coalition_in_front_of_it():
    """Outputs from a cut are those of the gated network."""
    draw = Draw(jax.random.key(3), "float32")
    setting = transformer(draw, 4)
    players, params, x = players_of("transformer"), setting.params, setting.inputs
    call = players.model.call(params, x)
    varying = np.ones(players.num_players, bool)
    reached = reach(players.model, call)
    sets = find_depths(reached, varying, 8, 16).sets(varying)
    residuals = players.split(params, (x,), varying).prefix(params, varying, x)
    base = np.random.default_rng(0).random(players.num_players) < 0.7
    for cut, behind in zip(cut_at(players.model, call, sets), sets[1:], strict=True):
        residuals = cut.advance(residuals, base)
        other = np.where(behind, ~base, base)
        np.testing.assert_allclose(
            cut.split.suffix(residuals, other),
            players.gated(params, other, x),
            rtol=1e-5,
            atol=1e-6,
        )
