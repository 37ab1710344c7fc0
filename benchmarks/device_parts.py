"""What is measured on an accelerator, part by part.

A part is a function of the sizes that gives its entries: {name: how to measure it}, so
that each can be written down as soon as it is there, and left out when time is up.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np

from benchmarks.cases import (
    DTYPES,
    LENET,
    Sizes,
    draw_masks,
    network_of,
    players_of,
    products_rate,
    value_fn_of,
    work_of,
)
from benchmarks.products import Shape, precisions, rate_of_product, seconds_each
from benchmarks.timing import at_least, at_most, seconds_of, timed
from gamepruning.coalitions.evaluation.evaluate import Evaluator
from gamepruning.coalitions.evaluation.model import ScoredModel
from gamepruning.coalitions.values import ValueFunction, value_function
from gamepruning.players import find_players

Figures: TypeAlias = dict[str, Any]
Entries: TypeAlias = Mapping[str, Callable[[], Figures]]
SHARE = 0.5  # of the measured rate of matrix products
COMPARED = 64  # coalitions valued in both precisions
MOST_MASKS = 2**14
MASK_BYTES = 2**27


def find_players_part(sizes: Sizes) -> Entries:
    """Seconds to find the players of GPT-2, its layers unrolled."""

    def measure() -> Figures:
        network = network_of("gpt2", "float32", sizes)
        apply, args = network.apply, (network.params, network.inputs)
        jax.clear_caches()
        tracing = seconds_of(lambda: jax.make_jaxpr(apply)(*args))
        jax.clear_caches()
        finding = seconds_of(lambda: find_players(apply, *args))
        return {
            "players": players_of("gpt2", sizes).num_players,
            "seconds of make_jaxpr": tracing,
            "verdict": at_most("seconds", finding, 1.0),
        }

    return {"gpt2": measure}


def products_part(sizes: Sizes) -> Entries:
    """TFLOP/s of matrix products by precision and shape."""
    shapes = {"cube": Shape(*(sizes.product,) * 3), **_shapes(sizes)}

    def measure(shape: Shape) -> Figures:
        found: Figures = {"product": list(shape)}
        for name, how in precisions().items():
            rate = rate_of_product(shape, how, sizes.seconds / 8)
            found[name] = rate["TFLOP/s"]
        return found

    chosen = jax.config.jax_default_matmul_precision or "default"
    entries = {name: lambda s=shape: measure(s) for name, shape in shapes.items()}
    return {"library": lambda: {"float32 products": chosen}, **entries}


def _shapes(sizes: Sizes) -> dict[str, Shape]:
    """The products of coalition values, at the tiles that the library takes."""
    lenet, gpt2 = (network_of(n, "float32", sizes) for n in (LENET, "gpt2"))
    words = gpt2.inputs.size
    vocabulary, width = gpt2.params["params"]["tokens"]["embedding"].shape
    rows = len(lenet.inputs) // 4
    return {
        "LeNet-300-100, 64 coalitions": Shape(rows, 300, 64 * 100, 4),
        "GPT-2 hidden, 2 coalitions": Shape(2 * words, width, 4 * width),
        "GPT-2 hidden, 16 coalitions": Shape(16 * words, width, 4 * width),
        "GPT-2 back, 16 coalitions": Shape(16 * words, 4 * width, width),
        "GPT-2 logits, 2 coalitions": Shape(2 * words, width, vocabulary),
    }


def coalitions_part(sizes: Sizes) -> Entries:
    """Values a second of each network in each precision."""
    values = {
        f"{name} {dtype}": lambda n=name, d=dtype: _measure_values(n, d, sizes)
        for name, dtype in sizes.cases
    }
    return values | {f"{LENET} highest": lambda: _measure_highest(sizes)}


def _measure_values(name: str, dtype: str, sizes: Sizes) -> Figures:
    network, value_fn = network_of(name, dtype, sizes), value_fn_of(name, dtype, sizes)
    work, peak = work_of(name, dtype, sizes), products_rate(dtype, sizes)
    some = draw_masks(COMPARED, value_fn.num_players)
    compiling = seconds_of(lambda: value_fn(some))
    masks = _enough_masks(value_fn, some, sizes.seconds)
    value = timed(lambda: value_fn(masks), sizes.seconds, least=3).median / len(masks)
    score = jax.jit(network.score)
    args = network.params, network.inputs, network.labels
    plain = seconds_each(lambda: score(*args), sizes.seconds / 2)
    found = {
        "players": value_fn.num_players,
        "rows": len(network.inputs),
        "coalitions a call": len(masks),
        "seconds of the first call": compiling,
        "values a second": 1 / value,
        "GFLOP a value": work.value / 1e9,
        "TFLOP/s of values": work.value / value / 1e12,
        "TFLOP/s of products": peak / 1e12,
        "ms of a plain forward": 1e3 * plain,
        "plain forward, share of the products' rate": work.plain / plain / peak,
        "a value / a plain forward": value / plain,
        "same bits in a smaller call": _is_same_alone(value_fn, some),
        "verdict": at_least(
            "share of the products' rate", work.value / value / peak, SHARE
        ),
    }
    if dtype != "float32":
        found["rounding / spread of the values"] = rounding_of(name, sizes)
    return found


def _measure_highest(sizes: Sizes) -> Figures:
    """What the default precision of float32 products changes, and saves."""
    quick = value_fn_of(LENET, "float32", sizes)
    network, players = network_of(LENET, "float32", sizes), players_of(LENET, sizes)
    some = draw_masks(COMPARED, quick.num_players)
    values = quick(some)
    with jax.default_matmul_precision("highest"):
        _, params, inputs, labels, metric = network
        game = players, params, metric, inputs, labels
        exact = value_function(*game, devices=jax.local_devices()[:1])
        apart = exact(some) - values
        masks = _enough_masks(exact, some, sizes.seconds)
        value = timed(lambda: exact(masks), sizes.seconds, least=3).median / len(masks)
    return {
        "values a second": 1 / value,
        "rounding of the default / spread of the values": _ratio(apart, values),
    }


def rounding_of(name: str, sizes: Sizes) -> float:
    """The standard deviation of bfloat16 against float32, over that of the values."""
    whole, half = (value_fn_of(name, dtype, sizes) for dtype in DTYPES)
    masks = draw_masks(COMPARED, whole.num_players)
    values = whole(masks)
    return _ratio(half(masks) - values, values)


def _ratio(errors: np.ndarray, values: np.ndarray) -> float:
    return float(np.std(errors) / max(np.std(values), 1e-12))


def _is_same_alone(value_fn: ValueFunction, masks: np.ndarray) -> bool:
    return bool((value_fn(masks[:5]) == value_fn(masks)[:5]).all())


def _enough_masks(
    value_fn: ValueFunction, some: np.ndarray, budget: float
) -> np.ndarray:
    """As many coalitions as take a good part of the budget."""
    rate = len(some) / seconds_of(lambda: value_fn(some))
    most = min(MOST_MASKS, MASK_BYTES // some.shape[1])
    wanted = int(np.clip(rate * budget / 4, len(some), most))
    return draw_masks(2 ** (wanted.bit_length() - 1), some.shape[1])


def tiles_part(sizes: Sizes) -> Entries:
    """Values a second with other numbers of rows and coalitions in a tile.

    All tiles are sent before the first value is waited for.
    """
    return {
        f"{name}, {rows or 'default'} rows, {num or 'default'} coalitions": (
            lambda n=name, r=rows, k=num: _measure_tile(n, r, k, sizes)
        )
        for name, rows, num in sizes.tiles
    }


def _measure_tile(
    name: str, rows: int | None, num: int | None, sizes: Sizes
) -> Figures:
    network, players = network_of(name, "float32", sizes), players_of(name, sizes)
    data = (network.inputs,), network.labels
    model = ScoredModel(players, network.params, network.metric, *data)
    everybody = np.ones(players.num_players, bool)
    evaluator = Evaluator(
        model, varying=everybody, inside=~everybody, rows_at_once=rows
    )
    if num is not None:
        evaluator.num_at_once = num
    masks = draw_masks(16 * evaluator.num_at_once, players.num_players)
    timing = timed(lambda: evaluator.start(masks, 1), sizes.seconds, least=3)
    flops = work_of(name, "float32", sizes).value * len(masks) / timing.median
    return {
        "rows at once": evaluator.rows.size,
        "coalitions at once": evaluator.num_at_once,
        "seconds of the first call": timing.first,
        "values a second": len(masks) / timing.median,
        "share of the products' rate": flops / products_rate("float32", sizes),
    }
