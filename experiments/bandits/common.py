"""What the bandit studies share: a trained network of MNIST or of texts."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.gtap.common import train
from gamepruning.workbench.datasets import Dataset, load_dataset
from gamepruning.workbench.networks.models import Model, build_model

HERE = Path(__file__).parent
RESULTS = HERE / "results"


class Trained(NamedTuple):
    """A data set, a network and its weights."""

    data: Dataset
    model: Model
    params: Any


def trained(name: str, network: str, seed: int, *, epochs: int) -> Trained:
    """The network of a seed, by Adam with a cosine schedule."""
    data = load_dataset(name, seed=seed)
    model = build_model(
        network, input_shape=data.input_shape, num_outputs=data.num_outputs
    )
    keys = jax.random.split(jax.random.key(seed), 3)
    params = train(keys[1:], model, model.init(keys[0]), data.train, epochs=epochs)
    return Trained(data, model, params)
