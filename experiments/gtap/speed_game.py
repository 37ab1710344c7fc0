"""One trained LeNet-300-100 as two games: ours in jax, and the same one in torch.

`TorchGame` is what a user of another library would write who cares about speed: the
first layer is computed once, a coalition is a masked matrix, many coalitions are one
matrix product, rows come in blocks that stay in the cache, on all threads.
"""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
import torch

from experiments.fitting import fit
from gamepruning import metrics
from gamepruning.run.batches import evaluate
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.datasets.splits import Split
from gamepruning.workbench.networks.models import Model, build_model
from gamepruning.workbench.training.loop import make_train_step

LAYERS = ("hidden_0", "hidden_1", "output")
BLOCKS, CHUNKS = (500, 2000, 10_000), (4, 8, 16)


class Net(NamedTuple):
    """A trained network and the rows that its coalitions are judged by."""

    model: Model
    params: dict
    rows: Split
    accuracy: float


def load_net(path: Path, *, num_rows: int = 10_000, epochs: int = 6, seed: int = 0):
    """LeNet-300-100 on MNIST; trained once, then read from the file.

    The rows that the games are played on are the validation rows and some more, none of
    which it is trained on.
    """
    data = load_dataset("mnist", seed=seed)
    rest = num_rows - len(data.validation.labels)
    pairs = zip(data.validation, _take(data.train, 0, rest), strict=True)
    rows = Split(*(np.concatenate(pair) for pair in pairs))
    model = build_model("lenet_300_100", input_shape=(28, 28, 1), num_outputs=10)
    if not path.exists():
        train = _take(data.train, rest, None)
        params = _train(model, train, epochs, jax.random.key(seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        leaves = {f"{n}/{k}": v for n, own in params.items() for k, v in own.items()}
        np.savez(path, allow_pickle=False, **leaves)
    with np.load(path) as leaves:
        params = {
            n: {k: leaves[f"{n}/{k}"] for k in ("kernel", "bias")} for n in LAYERS
        }
    accuracy = evaluate(model.apply, params, rows, metrics.accuracy)
    return Net(model, params, rows, accuracy)


def _train(model: Model, train: Split, epochs: int, key: jax.Array) -> dict:
    first, second = jax.random.split(key)
    init, step = make_train_step(model, metrics.cross_entropy, optax.adam(1e-3))
    state = init(first, model.init(first))
    return fit(second, step, state, train, epochs=epochs, batch_size=128).state.params


def _take(split: Split, start: int, stop: int | None) -> Split:
    return Split(split.inputs[start:stop], split.labels[start:stop])


class TorchGame:
    """Accuracy of a coalition of hidden neurons, in torch.

    Call it with masks bool [S, 400]; values are float64 [S].

    Attributes:
      block: rows at a time.
      chunk: coalitions in one matrix product.
      shares_chunks: whether each thread has chunks of its own; if not, the threads
        share each product.
      num_evaluations: how many values it has given.
    """

    def __init__(self, net: Net):
        weights = [torch.tensor(net.params[name]["kernel"]) for name in LAYERS]
        biases = [torch.tensor(net.params[name]["bias"]) for name in LAYERS]
        inputs = torch.tensor(net.rows.inputs).reshape(len(net.rows.labels), -1)
        self.labels = torch.tensor(net.rows.labels, dtype=torch.int64)
        self.first = torch.relu(inputs @ weights[0] + biases[0])  # hoisted
        self.weights, self.biases = weights[1:], biases[1:]
        self.sizes = [len(bias) for bias in biases[:-1]]
        self.num_players = sum(self.sizes)
        self.num_evaluations = 0
        self.num_threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.num_threads)
        self.set_sizes(1000, 8, False)

    def set_sizes(self, block: int, chunk: int, shares_chunks: bool) -> None:
        """How to cut the work up."""
        self.block, self.chunk, self.shares_chunks = block, chunk, shares_chunks
        torch.set_num_threads(1 if shares_chunks else self.num_threads)

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        parts = torch.as_tensor(np.atleast_2d(masks)).split(self.chunk)
        visit = self.pool.map if self.shares_chunks and len(parts) > 1 else map
        hits = torch.cat(list(visit(self._hits, parts)))
        self.num_evaluations += len(hits)
        return hits.numpy() / len(self.labels)

    @torch.inference_mode()
    def _hits(self, masks: torch.Tensor) -> torch.Tensor:
        """Rows that each coalition of a chunk classifies correctly."""
        first, second = masks.float().split(self.sizes, dim=1)
        num, width = len(masks), self.sizes[1]
        hidden = (first.T[:, :, None] * self.weights[0][:, None, :]).flatten(1)
        biases = self.biases[0].repeat(num)
        last = second[:, :, None] * self.weights[1]
        hits = torch.zeros(num, dtype=torch.int64)
        blocks = self.first.split(self.block), self.labels.split(self.block)
        for rows, labels in zip(*blocks, strict=True):
            active = torch.addmm(biases, rows, hidden).relu_()
            active = active.view(-1, num, width).transpose(0, 1)
            outputs = torch.baddbmm(self.biases[1], active, last)
            hits += (outputs.argmax(2) == labels).sum(1)
        return hits

    def tune(self, *, seconds: float = 12.0) -> float:
        """Take the fastest of some ways to cut the work up.

        Returns:
          Coalition values a second.
        """
        ways = list(itertools.product((True, False), BLOCKS, CHUNKS))
        masks = np.random.default_rng(0).random((64, self.num_players)) < 0.5
        rates: dict[tuple, float] = {}
        for shares, block, chunk in ways:
            self.set_sizes(block, chunk, shares)
            probe = rate_of(self, masks[:8], 0.0)
            if not rates or probe > max(rates.values()) / 8:
                found = rate_of(self, masks, seconds / len(ways))
                rates[block, chunk, shares] = found
        best = max(rates, key=rates.__getitem__)
        self.set_sizes(*best)
        return rates[best]


def rate_of(game, masks: np.ndarray, seconds: float) -> float:
    """Values a second: the best of several calls on the same masks."""
    best, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < seconds or not best:
        begin = time.perf_counter()
        np.asarray(game(masks))
        best = max(best, len(masks) / (time.perf_counter() - begin))
    return best
