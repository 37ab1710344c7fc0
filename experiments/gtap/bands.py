"""Uncertainty bands of the LeNets on MNIST, for each definition of the model output.

Figure 2 of arXiv 2311.10468 reads the peak at p = q = 0.825 for LeNet-300-100 and at
0.775 for LeNet-5.

    python -m experiments.gtap.bands

Takes about five minutes on two cores, needs MNIST, and writes bands.json.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.fitting import fit
from gamepruning.run.batches import evaluate
from gamepruning.uncertainty.mcue import Bands, mcue
from gamepruning.uncertainty.outputs import MCUE_OUTPUTS
from gamepruning.workbench.datasets import Dataset, Split, load_dataset
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.training.loop import make_train_step

HERE = Path(__file__).parent
PAPER = {"LeNet-300-100": 0.825, "LeNet-5": 0.775, "LeNet-5, 0 against 1": None}
WHOLE = ("label", "vote")  # definitions whose whole grid is kept


class Case(NamedTuple):
    """A trained network, or the part of it that plays, and what it reads."""

    apply: Callable
    params: Any
    inputs: jax.Array
    labels: jax.Array
    accuracy: float
    input_axes: dict[int, int] | None


def train(name: str, data: Dataset, *, epochs: int, rows: int) -> tuple[Any, Any]:
    """The network and its weights after Adam at 1e-3 with batches of 128."""
    model = build_model(name, input_shape=(28, 28, 1), num_outputs=data.num_outputs)
    init_key, step_key, order_key = jax.random.split(jax.random.key(0), 3)
    made = make_train_step(model, gp.cross_entropy, optax.adam(1e-3))
    start = made.init(step_key, model.init(init_key))
    some = Split(data.train.inputs[:rows], data.train.labels[:rows])
    done = fit(order_key, made.step, start, some, epochs=epochs, batch_size=128)
    return model, done.state.params


def dense_case(data: Dataset, examples: int, *, epochs: int, pixels: bool) -> Case:
    """LeNet-300-100: hidden neurons play, or pixels, too."""
    model, params = train("lenet_300_100", data, epochs=epochs, rows=60_000)
    score = evaluate(model.apply, params, data.test, gp.accuracy)
    x = jnp.asarray(data.validation.inputs[:examples]).reshape(-1, 784)
    labels = jnp.asarray(data.validation.labels[:examples])
    return Case(model.apply, params, x, labels, score, {0: 1} if pixels else None)


def convolutional_case(data: Dataset, examples: int, *, epochs: int, rows: int) -> Case:
    """LeNet-5: the 400 outputs of the convolutions and the dense neurons play."""
    model, params = train("lenet_5", data, epochs=epochs, rows=rows)
    score = evaluate(model.apply, params, data.test, gp.accuracy)
    x = jnp.asarray(data.validation.inputs[:examples])
    features = convolve(params, x)
    outputs = head(params, features)
    np.testing.assert_allclose(outputs, model.apply(params, x), rtol=1e-3, atol=1e-3)
    labels = jnp.asarray(data.validation.labels[:examples])
    dense = {name: leaf for name, leaf in params.items() if "conv" not in name}
    return Case(head, dense, features, labels, score, {0: 1})


def convolve(params: Any, x: jax.Array) -> jax.Array:
    """The convolutional part of LeNet-5, [B, 400]."""
    x = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for name, filters in (("conv_0", 6), ("conv_1", 16)):
        layer = nn.Conv(filters, (5, 5), padding="VALID")
        x = nn.max_pool(
            nn.relu(layer.apply({"params": params[name]}, x)), (2, 2), (2, 2)
        )
    return x.reshape(x.shape[0], -1)


def head(params: Any, x: jax.Array) -> jax.Array:
    """The fully connected part of LeNet-5."""
    for name in ("hidden_0", "hidden_1"):
        x = nn.relu(x @ params[name]["kernel"] + params[name]["bias"])
    return x @ params["output"]["kernel"] + params["output"]["bias"]


def two_digits(data: Dataset) -> Dataset:
    """Digits 0 and 1 alone."""

    def take(split: Split) -> Split:
        rows = np.asarray(split.labels) < 2
        return Split(split.inputs[rows], split.labels[rows])

    return data._replace(
        train=take(data.train),
        validation=take(data.validation),
        test=take(data.test),
        num_outputs=2,
        class_names=data.class_names[:2],
    )


def measure(case: Case, samples: int) -> list[Bands]:
    """The bands of all definitions."""
    players = gp.find_players(
        case.apply, case.params, case.inputs[:4], input_axes=case.input_axes
    )
    found = mcue(
        jax.random.key(1),
        players,
        case.params,
        case.inputs,
        case.labels,
        output=MCUE_OUTPUTS,
        num_samples=samples,
    )
    return list(found)


def describe(bands: Bands) -> dict[str, Any]:
    """One definition as JSON-able data."""
    row: dict[str, Any] = {"output": bands.output}
    if bands.is_at_end:
        row |= {"peak": None, "d": None}
    else:
        row["peak"], row["stderr"] = round(bands.peak, 3), round(bands.peak_stderr, 3)
        row["d"], row["share left"] = (
            round(bands.bias, 3),
            round(bands.share_at_peak, 3),
        )
    row["diagonal"] = digits(bands.diagonal)
    row["diagonal stderr"] = digits(bands.diagonal_stderr)
    if bands.output in WHOLE:
        row["variance"] = [digits(line) for line in bands.variance]
    return row


def digits(values: np.ndarray) -> list[float]:
    """Four significant digits."""
    return [float(f"{value:.4g}") for value in values]


def main() -> None:
    """Train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100, help="coalitions of a size")
    parser.add_argument("--examples", type=int, default=300, help="validation images")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=20_000, help="to train LeNet-5 on")
    parser.add_argument("--out", type=Path, default=HERE / "bands.json")
    args = parser.parse_args()
    mnist = load_dataset("mnist", seed=0)
    few, size = {"epochs": args.epochs}, args.examples
    cases = {
        "LeNet-300-100": lambda: dense_case(mnist, size, **few, pixels=False),
        "LeNet-300-100 and pixels": lambda: dense_case(mnist, size, **few, pixels=True),
        "LeNet-5": lambda: convolutional_case(mnist, size, **few, rows=args.rows),
        "LeNet-5, 0 against 1": lambda: convolutional_case(
            two_digits(mnist), size, **few, rows=args.rows
        ),
    }
    result: dict[str, Any] = {
        "command": "python -m experiments.gtap.bands",
        "settings": vars(args) | {"out": args.out.name},
    }
    for name, make in cases.items():
        start = time.perf_counter()
        case = make()
        trained = time.perf_counter()
        found = measure(case, args.samples)
        result[name] = {
            "test accuracy": round(case.accuracy, 4),
            "players": found[0].num_players,
            "evaluations": found[0].num_evaluations,
            "seconds": round(time.perf_counter() - trained, 1),
            "seconds of training": round(trained - start, 1),
            "paper's peak": PAPER.get(name),
            "p": digits(found[0].p),
            "definitions": [describe(bands) for bands in found],
        }
        print(f"{name}: {found[0].num_players} players, test {case.accuracy:.4f}")
        for row in result[name]["definitions"]:
            print(f"  {row['output']:<20} t* {row['peak']}  d {row['d']}", flush=True)
    partial = args.out.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(partial, args.out)


if __name__ == "__main__":
    main()
