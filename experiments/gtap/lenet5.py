"""LeNet-5 on MNIST: the 400 outputs of the last convolution and 204 dense neurons.

    python -m experiments.gtap.lenet5 run 0 1 2 3 4
    python -m experiments.gtap.lenet5 top-n 0 1 2 3 4
    python -m experiments.gtap.lenet5 top-n-small 0 1 2 3 4
    python -m experiments.gtap.lenet5 printed 0 1 2 3 4
    python -m experiments.gtap.lenet5 summary

The convolutions stay and are computed once. A run resumes where it was stopped.
"""

import pickle
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gtap.common import (
    CRITICAL,
    RESULTS,
    Effort,
    Network,
    Study,
    summarise,
    train,
)
from experiments.gtap.tuning import tune
from gamepruning.files.paths import cache_folder
from gamepruning.run.batches import predict
from gamepruning.workbench.datasets import Split, load_dataset
from gamepruning.workbench.networks.models import LeNet5, build_model

SEEDS = (0, 1, 2, 3, 4)
EPOCHS, DENSE_EPOCHS, DROPOUT = 6, 8, 0.2
EFFORT = Effort()


class Dense:
    """The dense part, trained with dropout on what it reads, too."""

    def __init__(self, dropout: float):
        self.inner = build_model(
            "mlp",
            input_shape=(400,),
            num_outputs=10,
            widths=(120, 84),
            dropout=dropout,
        )
        self.dropout = dropout
        self.apply = self.inner.apply

    def train_apply(self, params, inputs, key):
        own, rest = jax.random.split(key)
        kept = jax.random.bernoulli(own, 1 - self.dropout, inputs.shape)
        inputs = jnp.where(kept, inputs / (1 - self.dropout), 0.0)
        return self.inner.train_apply(params, inputs, rest)


def convolutional(seed: int, data: Any) -> tuple[Any, Any]:
    """(start, trained) parameters of all of LeNet-5; kept in the cache folder."""
    path = cache_folder(None) / f"gtap-lenet5-{EPOCHS}-{seed}.pkl"
    if not path.is_file():
        model = build_model("lenet_5", input_shape=(28, 28, 1), num_outputs=10)
        keys = jax.random.split(jax.random.key(seed), 3)
        start = model.init(keys[0])
        params = train(keys[1:], model, start, data.train, epochs=EPOCHS)
        both = jax.tree.map(np.asarray, (start, params))
        path.write_bytes(pickle.dumps(both))
    return pickle.loads(path.read_bytes())


def features(params: Any, inputs: np.ndarray) -> np.ndarray:
    """What the dense part reads, [B, 400]."""
    module = LeNet5(num_outputs=10)

    def trunk(params, x):
        _, state = module.apply(
            {"params": params}, x, capture_intermediates=lambda m, _: m.name == "conv_1"
        )
        (out,) = state["intermediates"]["conv_1"]["__call__"]
        out = jax.nn.relu(out)
        out = out.reshape(len(x), 5, 2, 5, 2, 16).max((2, 4))
        return out.reshape(len(x), -1)

    return np.asarray(predict(trunk, params, inputs, batch_size=1000))


def load(seed: int) -> Network:
    """The dense part of a trained LeNet-5, with the features of all images."""
    data = load_dataset("mnist", seed=seed)
    start, trained = convolutional(seed, data)
    splits = [
        Split(features(trained, part.inputs), np.asarray(part.labels))
        for part in (data.train, data.validation, data.test)
    ]
    names = ("hidden_0", "hidden_1", "output")
    first = {name: start[name] for name in names}
    model = Dense(DROPOUT)
    keys = jax.random.split(jax.random.key(1000 + seed))
    params = train(keys, model, first, splits[0], epochs=DENSE_EPOCHS)
    return Network(model, first, params, *splits, input_axes={0: 1})  # type: ignore[arg-type]


def run(seed: int) -> None:
    """All methods on one seed."""
    study = Study(RESULTS / f"lenet5_{seed}.json", load(seed), seed, EFFORT)
    study.baselines()
    study.building("beta")
    study.exchanged("building beta")
    study.pruning("beta")
    for index in ("shapley", "banzhaf"):
        study.pruning(index)
        study.building(index)
    study.exchanged("pruning beta")
    tune(
        study,
        ("building beta + exchanges", "pruning beta", "taylor", "magnitude_l2")
        + ("weight_gradient", "random"),
        sizes=(0.1, 0.225),
        epochs=3,
        fresh_epochs=DENSE_EPOCHS,
    )


def run_top_n(seed: int) -> None:
    """One estimate of each index, in a file of its own."""
    path = RESULTS / f"lenet5-top-n_{seed}.json"
    study = Study(path, load(seed), seed, EFFORT)
    study.top_n("beta", "probability")
    study.top_n("beta", "probability", bias=0.3)
    study.top_n("beta", "likelihood")
    study.top_n("banzhaf", "likelihood")
    study.top_n("shapley", "likelihood")


def run_small(seed: int) -> None:
    """Estimates among coalitions smaller than the network is to be."""
    path = RESULTS / f"lenet5-top-n-small_{seed}.json"
    study = Study(path, load(seed), seed, EFFORT)
    study.top_n("beta", "sharp", bias=0.15)
    study.top_n("beta", "likelihood", bias=0.15)


def run_printed(seed: int) -> None:
    """The paper's protocols as it has them."""
    path = RESULTS / f"lenet5-printed_{seed}.json"
    Study(path, load(seed), seed, EFFORT).printed(CRITICAL)


def main() -> None:
    seeds = [int(word) for word in sys.argv[2:]] or list(SEEDS)
    parts = {"run": run, "top-n": run_top_n, "top-n-small": run_small}
    parts["printed"] = run_printed
    if sys.argv[1] in parts:
        for seed in seeds:
            parts[sys.argv[1]](seed)
    else:
        summarise(
            "lenet5",
            seeds,
            "python -m experiments.gtap.lenet5 run; ... top-n; ... top-n-small; "
            "... printed; ... summary",
            training={
                "epochs": EPOCHS,
                "dense epochs": DENSE_EPOCHS,
                "dropout": DROPOUT,
            },
            paper={"building": 0.916, "pruning": 0.871, "top-n": 0.585},
        )


if __name__ == "__main__":
    main()
