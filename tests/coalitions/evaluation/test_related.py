"""Sweeps by updates against full evaluations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.coalitions.evaluation.related import make_incremental
from gamepruning.players import find_players
from gamepruning.run.toggle import ToggleEvaluator
from gamepruning.types import InputError
from tests.zoo.case import Draw, dense, standardise

ANY = float("inf")
ROWS = 23  # not a multiple of anything


class Setting(NamedTuple):
    """A network and its data."""

    apply: Any
    params: Any
    inputs: Any
    options: dict = {}
    updated: tuple[int, ...] = ()  # sizes of the families that are updated


def input_players(draw: Draw) -> Setting:
    """The 6 features, then 8 and 5 neurons."""

    def apply(params, x):
        x = jax.nn.relu(dense(params[0], x))
        x = jax.nn.relu(dense(params[1], x))
        return dense(params[2], x)

    options = {"input_axes": {0: 1}}
    x = draw.normal(ROWS, 6)
    return Setting(apply, draw.dense(6, 8, 5, 3), x, options, (6, 8, 5))


def convolution(draw: Draw) -> Setting:
    """Filters read by a convolution; filters flattened, so of 4 entries each."""

    def apply(params, x):
        for kernel in params["conv"]:
            dims = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(
                x, kernel, (2, 2), "SAME", dimension_numbers=dims
            )
            x = jax.nn.relu(x)
        x = jax.nn.relu(dense(params["dense"][0], x.reshape(len(x), -1)))
        return dense(params["dense"][1], x)

    kernels = [draw.weight(3, 3, 2, 5), draw.weight(3, 3, 5, 4)]
    params = {"conv": kernels, "dense": draw.dense(16, 7, 3)}
    return Setting(apply, params, draw.normal(ROWS, 8, 8, 2), {}, (5, 4, 7))


def residual(draw: Draw) -> Setting:
    """The stream of 6 is read by three products, the later of them after itself."""

    def apply(params, x):
        x = dense(params["in"], x)
        for inner, outer in params["blocks"]:
            x = x + dense(outer, jax.nn.relu(dense(inner, x)))
        return {"class": dense(params["out"], x), "unused": x.sum(-1) * 0}

    blocks = [draw.dense(6, width, 6) for width in (7, 5)]
    params = {"in": draw.dense(4, 6)[0], "blocks": blocks, "out": draw.dense(6, 3)[0]}
    return Setting(lambda p, x: apply(p, x)["class"], params, draw.normal(ROWS, 4))


def normed(draw: Draw) -> Setting:
    """A norm between two products, and statistics learnt before."""

    def apply(params, x):
        x = jax.nn.relu(dense(params["dense"][0], x))
        x = jnp.tanh(standardise(dense(params["dense"][1], x)))
        x = dense(params["dense"][2], x * params["scale"][None])
        x = (x - params["mean"][None]) / jnp.sqrt(params["var"])[None]
        return dense(params["dense"][3], jax.nn.relu(x))

    params = {"dense": draw.dense(4, 9, 6, 5, 3), "scale": draw.positive(6)}
    params |= {"mean": draw.bias(5), "var": draw.positive(5)}
    return Setting(apply, params, draw.normal(ROWS, 4), {}, (9, 5))


def bilinear(draw: Draw) -> Setting:
    """An entry needs two players; and two kinds of players read by one product."""

    def apply(params, x):
        left, right = jax.nn.relu(dense(params[0], x)), jnp.tanh(dense(params[1], x))
        outer = jnp.einsum("bi,bj->bij", left, right)
        first = dense(params[2], outer.reshape(len(x), -1))
        return first + jnp.einsum("bij,ijo->bo", outer, params[3])

    params = [draw.dense(4, 5)[0], draw.dense(4, 3)[0], draw.dense(15, 3)[0]]
    return Setting(apply, [*params, draw.weight(5, 3, 3)], draw.normal(ROWS, 4))


SETTINGS = {
    "input_players": input_players,
    "convolution": convolution,
    "residual": residual,
    "normed": normed,
    "bilinear": bilinear,
}


def make(name: str, dtype: str = "float32"):
    """A network of SETTINGS with its players and labels."""
    draw = Draw(jax.random.key(3), dtype)
    setting = SETTINGS[name](draw)
    shape = jax.ShapeDtypeStruct((4, *setting.inputs.shape[1:]), setting.inputs.dtype)
    players = find_players(setting.apply, setting.params, shape, **setting.options)
    return setting, players, draw.integers(3, ROWS)


def make_mlp(*widths: int, rows: int = ROWS):
    """A plain network: players, params, inputs, labels. Drawn without compiling."""
    draw = Draw(jax.random.key(5), "float32")

    def apply(params, x):
        for layer in params[:-1]:
            x = jax.nn.relu(dense(layer, x))
        return dense(params[-1], x)

    params, inputs = draw.dense(*widths), draw.normal(rows, widths[0])
    players = find_players(apply, params, inputs[:4])
    return players, params, inputs, draw.integers(widths[-1], rows)


def full_values(players, params, metric, inputs, labels, masks) -> np.ndarray:
    """One full evaluation a coalition, all rows at once."""
    gates = np.asarray(masks).reshape(-1, players.num_players)
    value = jax.jit(
        jax.vmap(lambda g: metric(players.gated(params, g, inputs), labels))
    )
    found = np.asarray(value(gates.astype(inputs.dtype)), np.float64)
    return found.reshape(np.shape(masks)[:-1])


def prefix_masks(orders, base) -> np.ndarray:
    """The coalitions of a sweep, bool [S, M + 1, N]."""
    masks = np.repeat(np.asarray(base)[None, None], len(orders), 0)
    masks = np.repeat(masks, orders.shape[1] + 1, 1)
    for row, order in enumerate(orders):
        for turn, player in enumerate(order):
            masks[row, turn + 1 :, player] = True
    return masks


def toggle_masks(masks, candidates) -> np.ndarray:
    """Each mask with each candidate flipped, bool [S, M, N]."""
    flipped = np.repeat(masks[:, None], len(candidates), 1)
    flipped[:, np.arange(len(candidates)), candidates] ^= True
    return flipped


@pytest.mark.parametrize("name", SETTINGS)
def test_equals_full_evaluations(name):
    setting, players, labels = make(name)
    data = (setting.params, gp.cross_entropy, setting.inputs, labels)
    sweeps = make_incremental(players, *data, row_tile=8, max_share=ANY)
    assert sweeps is not None
    if setting.updated:
        sizes = tuple(players.family(name).size for name in sweeps.families)
        assert sorted(sizes) == sorted(setting.updated)
    numbers = np.random.default_rng(0)
    size = players.num_players
    orders = np.stack([numbers.permutation(size) for _ in range(2)])
    expected = full_values(players, *data, prefix_masks(orders, np.zeros(size, bool)))
    np.testing.assert_allclose(sweeps.prefixes(orders), expected, rtol=1e-5)
    if name not in ("input_players", "bilinear"):  # one program is less to compile
        return
    masks, candidates = numbers.random((2, size)) < 0.7, numbers.permutation(size)[:9]
    base, flipped = sweeps.toggles(masks, candidates)
    np.testing.assert_allclose(base, full_values(players, *data, masks), rtol=1e-5)
    expected = full_values(players, *data, toggle_masks(masks, candidates))
    np.testing.assert_allclose(flipped, expected, rtol=1e-5)


def test_is_exact_to_rounding_in_float64():
    with jax.enable_x64(True):
        setting, players, labels = make("input_players", "float64")
        data = (setting.params, gp.cross_entropy, setting.inputs, labels)
        sweeps = make_incremental(players, *data, max_share=ANY)
        orders = np.arange(players.num_players)[::-1][None]
        masks = prefix_masks(orders, np.zeros(players.num_players, bool))
        expected = full_values(players, *data, masks)
        assert sweeps is not None
        np.testing.assert_allclose(sweeps.prefixes(orders), expected, rtol=1e-12)


def test_many_updates_do_not_drift():
    """300 moves in float32: within 1e-5 of full evaluations."""
    players, params, inputs, labels = make_mlp(20, 240, 60, 5, rows=100)
    orders = np.random.default_rng(0).permutation(300)[None]
    masks = prefix_masks(orders, np.zeros(300, bool))[:, ::20]
    data = (params, gp.cross_entropy, inputs, labels)
    sweeps = make_incremental(players, *data)
    assert sweeps is not None and sweeps.share < 0.2
    found = sweeps.prefixes(orders)[:, ::20]
    np.testing.assert_allclose(found, full_values(players, *data, masks), rtol=1e-5)


def test_a_move_computes_only_what_it_must():
    """A unit of the first layer costs one product, the last; one of the second none."""
    players, params, inputs, _ = make_mlp(5, 40, 30, 2)
    updates = ToggleEvaluator(players.model, params, (inputs,), np.ones(70, bool))

    def products(kind):
        def move(params, gates, player):
            residuals = updates.prepare(params, (inputs,))
            states, _ = updates.start(residuals, gates)
            both = (gates, gates.at[player].set(0))
            return updates.move(kind, residuals, states, both, player)

        def start(params, gates):
            return updates.start(updates.prepare(params, (inputs,)), gates)

        before = str(jax.make_jaxpr(start)(params, jnp.ones(70))).count("dot_general")
        after = str(jax.make_jaxpr(move)(params, jnp.ones(70), 3)).count("dot_general")
        return after - before

    first, second = (int(updates.moves.kind_of[player]) for player in (0, 69))
    assert (products(first), products(second)) == (1, 0)


def test_base_and_varying_families():
    players, params, inputs, labels = make_mlp(5, 4, 3, 2)
    family = players.families[1]
    data = (params, gp.accuracy, inputs, labels)
    sweeps = make_incremental(players, *data, varying=family.name, max_share=ANY)
    assert sweeps is not None and sweeps.families == (family.name,)
    base = np.ones(players.num_players, bool)
    base[[family.start, family.stop - 1]] = False
    orders = np.array([[family.stop - 1], [family.start]])
    expected = full_values(players, *data, prefix_masks(orders, base))
    np.testing.assert_allclose(sweeps.prefixes(orders, base), expected, rtol=1e-7)
    assert sweeps.prefixes(orders[:, :0]).shape == (2, 1)


def test_devices_do_not_matter():
    players, params, inputs, labels = make_mlp(5, 4, 3, 2)
    data = (players, params, gp.cross_entropy, inputs, labels)
    orders = np.arange(players.num_players)[None]
    found = []
    for devices in (jax.devices()[:1], jax.devices()[1:4]):
        sweeps = make_incremental(*data, devices=devices, row_tile=4, max_share=ANY)
        assert sweeps is not None
        found.append(sweeps.prefixes(orders))
    np.testing.assert_array_equal(*found)


def batch_normed(params, x):
    x = x @ params["in"]
    x = (x - x.mean(0, keepdims=True)) / x.std(0, keepdims=True)
    return jax.nn.relu(x) @ params["out"]


def test_rows_that_depend_on_each_other_are_not_cut(key):
    draw = Draw(key, "float32")
    params = {"in": draw.weight(5, 6), "out": draw.weight(6, 1)}
    inputs, labels = draw.normal(ROWS, 5), draw.normal(ROWS)
    players = find_players(batch_normed, params, inputs)
    data = (params, gp.r2, inputs, labels)
    assert make_incremental(players, *data, max_share=ANY) is None
    sweeps = make_incremental(players, *data, row_tile=None, max_share=ANY)
    assert sweeps is not None and sweeps.row_tile == ROWS
    orders = np.arange(6)[None]
    expected = full_values(players, *data, prefix_masks(orders, np.zeros(6, bool)))
    np.testing.assert_allclose(sweeps.prefixes(orders), expected, atol=1e-5)


def recurrent(params, x):
    def turn(state, entry):
        return jnp.tanh(state @ params["state"] + entry @ params["in"]), None

    first = jnp.zeros((len(x), len(params["state"])), x.dtype)
    return jax.lax.scan(turn, first, jnp.swapaxes(x, 0, 1))[0] @ params["out"]


def test_none_where_no_update_is_due(key):
    """Players inside a loop; and single weights, which no product reads as an axis."""
    draw = Draw(key, "float32")
    params = {"in": draw.weight(3, 6), "state": draw.weight(6, 6)}
    params["out"] = draw.weight(6, 2)
    inputs, labels = draw.normal(ROWS, 4, 3), draw.integers(2, ROWS)
    players = find_players(recurrent, params, inputs)
    assert make_incremental(players, params, gp.accuracy, inputs, labels) is None
    _, params, inputs, labels = make_mlp(5, 4, 3, 2)
    apply = lambda p, x: x @ p[0]["w"]  # noqa: E731
    players = find_players(apply, params, inputs, granularity="weight")
    data = (params, gp.accuracy, inputs, labels)
    assert make_incremental(players, *data, max_share=ANY) is None


def test_bad_input():
    players, params, inputs, labels = make_mlp(5, 4, 3, 2)
    data = (players, params, gp.accuracy, inputs)
    with pytest.raises(InputError, match="same number of examples"):
        make_incremental(*data, labels[:-1], max_share=ANY)
    with pytest.raises(InputError, match="row_tile"):
        make_incremental(*data, labels, row_tile=0, max_share=ANY)
    sweeps = make_incremental(
        *data, labels, varying=[players.families[0].name], max_share=ANY
    )
    assert sweeps is not None
    with pytest.raises(InputError, match="enters twice"):
        sweeps.prefixes(np.array([[0, 0]]))
    with pytest.raises(InputError, match="does not vary"):
        sweeps.prefixes(np.array([[players.num_players - 1]]))
    with pytest.raises(InputError, match="outside"):
        sweeps.toggles(np.ones((1, players.num_players), bool), np.array([99]))
    with pytest.raises(InputError, match="is out"):
        sweeps.toggles(np.zeros((1, players.num_players), bool), np.array([0]))
    with pytest.raises(InputError, match="expected masks"):
        sweeps.toggles(np.ones((1, 3), bool), np.array([0]))
