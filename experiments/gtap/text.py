"""Topic and emotion of short texts: three layers of 256 on binary term frequencies.

python -m experiments.gtap.text run topic 0 1 2 3 4
python -m experiments.gtap.text run emotion 0 1 2 3 4
python -m experiments.gtap.text more topic 0 1 2 3 4    # emotion likewise
python -m experiments.gtap.text printed topic 0 1 2 3 4 # emotion likewise
python -m experiments.gtap.text tune topic 0 1 2 3 4    # emotion likewise
python -m experiments.gtap.text summary
"""

import sys

import jax

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
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model

SEEDS = (0, 1, 2, 3, 4)
EPOCHS = 4
EFFORT = Effort(  # all validation texts: those of topics are sorted by class
    rows=2000, exchange_rows=2000, top_n=3000, sweeps=2, step=0.15, exchange_rounds=3
)


def load(name: str, seed: int) -> Network:
    """The trained classifier; its 768 hidden neurons play."""
    data = load_dataset(name, seed=seed)
    model = build_model(
        "text_mlp", input_shape=data.input_shape, num_outputs=data.num_outputs
    )
    keys = jax.random.split(jax.random.key(seed), 3)
    start = model.init(keys[0])
    params = train(keys[1:], model, start, data.train, epochs=EPOCHS)
    return Network(
        model, start, params, data.train, data.validation, data.test, input_axes=None
    )


def run(name: str, seed: int) -> None:
    """Baselines and iterated pruning on one seed."""
    study = Study(RESULTS / f"{name}_{seed}.json", load(name, seed), seed, EFFORT)
    study.baselines()
    study.pruning("beta")


def run_more(name: str, seed: int) -> None:
    """The other methods."""
    study = Study(RESULTS / f"{name}_{seed}.json", load(name, seed), seed, EFFORT)
    study.building("beta")
    for index in ("beta", "banzhaf", "shapley"):
        study.top_n(index, "likelihood")
    study.chosen("top-n, chosen on validation", "top-n")
    for index in ("shapley", "banzhaf"):
        study.building(index)
        study.pruning(index)


def run_printed(name: str, seed: int) -> None:
    """The paper's protocols; of the bias for texts, which it leaves open, 0.225."""
    path = RESULTS / f"{name}-printed_{seed}.json"
    Study(path, load(name, seed), seed, EFFORT).printed(CRITICAL)


def tune_seed(name: str, seed: int) -> None:
    """Fine-tuning and clean-slate retraining on one seed."""
    study = Study(RESULTS / f"{name}_{seed}.json", load(name, seed), seed, EFFORT)
    tune(
        study,
        ("pruning beta", "magnitude_l2", "random"),
        sizes=(0.225,),
        epochs=1,
        fresh_epochs=EPOCHS,
    )


def is_done(name: str, seed: int) -> bool:
    """Return True if `run` is done for a seed."""
    path = RESULTS / f"{name}_{seed}.json"
    return path.is_file() and "pruning beta" in path.read_text()


def main() -> None:
    parts = {"run": run, "more": run_more, "tune": tune_seed, "printed": run_printed}
    if sys.argv[1] in parts:
        for seed in [int(word) for word in sys.argv[3:]] or SEEDS:
            parts[sys.argv[1]](sys.argv[2], seed)
        return
    for name in ("topic", "emotion"):
        done = [seed for seed in SEEDS if is_done(name, seed)]
        summarise(
            name,
            done,
            f"python -m experiments.gtap.text run {name}; ... more {name}; ... printed "
            f"{name}; ... summary",
            training={"epochs": EPOCHS},
        )


if __name__ == "__main__":
    main()
