"""LeNet-300-100 on MNIST: 400 hidden neurons.

python -m experiments.gtap.lenet300 run 0 1 2 3 4
python -m experiments.gtap.lenet300 printed 0 1 2 3 4
python -m experiments.gtap.lenet300 summary
"""

import sys

import jax

from experiments.gtap.common import (
    RESULTS,
    Effort,
    Network,
    Study,
    summarise,
    train,
)
from experiments.gtap.tuning import tune
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model

SEEDS = (0, 1, 2, 3, 4)
EPOCHS = 10
LEFT = 0.175  # at the peak of the paper's uncertainty
EFFORT = Effort(top_n=4000, exchange_rounds=6)


def load(seed: int) -> Network:
    """The trained network."""
    data = load_dataset("mnist", seed=seed)
    model = build_model("lenet_300_100", input_shape=(28, 28, 1), num_outputs=10)
    keys = jax.random.split(jax.random.key(seed), 3)
    start = model.init(keys[0])
    params = train(keys[1:], model, start, data.train, epochs=EPOCHS)
    return Network(
        model, start, params, data.train, data.validation, data.test, input_axes=None
    )


def run(seed: int) -> None:
    """All methods on one seed."""
    study = Study(RESULTS / f"lenet300_{seed}.json", load(seed), seed, EFFORT)
    study.baselines()
    study.building("beta")
    study.exchanged("building beta")
    study.pruning("beta")
    for index in ("beta", "banzhaf", "shapley"):
        study.top_n(index, "likelihood")
    study.chosen("top-n, chosen on validation", "top-n")
    for index in ("shapley", "banzhaf"):
        study.building(index)
        study.pruning(index)
    tune(
        study,
        ("building beta + exchanges", "taylor", "magnitude_l2", "random"),
        sizes=(0.1, 0.225),
        epochs=2,
        fresh_epochs=EPOCHS,
    )


def run_printed(seed: int) -> None:
    """The paper's protocols as it has them."""
    path = RESULTS / f"lenet300-printed_{seed}.json"
    Study(path, load(seed), seed, EFFORT).printed(LEFT)


def main() -> None:
    seeds = [int(word) for word in sys.argv[2:]] or list(SEEDS)
    parts = {"run": run, "printed": run_printed}
    if sys.argv[1] in parts:
        for seed in seeds:
            parts[sys.argv[1]](seed)
    else:
        summarise(
            "lenet300",
            seeds,
            "python -m experiments.gtap.lenet300 run; ... printed; ... summary",
            training={"epochs": EPOCHS},
        )


if __name__ == "__main__":
    main()
