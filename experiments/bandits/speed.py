"""Pulls per second: ours, a Python loop over a jitted loss, and the same in torch.

python -m experiments.bandits.speed      # needs torch for the last one

LeNet-300-100, 400 arms, 10,000 MNIST images in mini-batches of 128, UCB1; one run, the
three in turn, medians of several rounds. The loops do what the paper describes: mask
the neuron, take the loss on a sampled mini-batch with it and without it, restore it.
"""

import json
import math
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from experiments.bandits.common import HERE
from gamepruning.bandits import record_bandit
from gamepruning.files.atomic import new_file
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model

COMMAND = "python -m experiments.bandits.speed"
ROWS, BATCH, ROUNDS = 10_000, 128, 5
OURS, LOOPS = 10_000, 300  # pulls a round


class Ucb1:
    """The policy in NumPy, for the loops."""

    def __init__(self, num_arms: int):
        self.counts, self.sums = np.zeros(num_arms), np.zeros(num_arms)

    def select(self) -> int:
        if (self.counts == 0).any():
            return int(np.argmin(self.counts))
        bonus = np.sqrt(2 * math.log(self.counts.sum()) / self.counts)
        return int(np.argmax(self.sums / self.counts + bonus))

    def update(self, arm: int, change: float) -> None:
        self.counts[arm] += 1
        self.sums[arm] += 1 / (1 + math.exp(min(change / 1e-3, 500)))


def loop(loss, num_arms: int, pulls: int) -> float:
    """Pulls per second of a plain loop; loss(batch rows, masked arm or None)."""
    rng, policy = np.random.default_rng(0), Ucb1(num_arms)
    start = time.perf_counter()
    for _ in range(pulls):
        arm, rows = policy.select(), rng.integers(0, ROWS, BATCH)
        policy.update(arm, loss(rows, arm) - loss(rows, None))
    return pulls / (time.perf_counter() - start)


def jax_loss(players, params, inputs, labels):
    """One jitted loss under gates, called from Python."""

    @jax.jit
    def jitted(params, gates, x, y):
        return gp.cross_entropy(players.gated(params, gates, x), y)

    gates = np.ones(players.num_players, np.float32)

    def loss(rows, arm):
        if arm is not None:
            gates[arm] = 0
        value = float(jitted(params, gates, inputs[rows], labels[rows]))
        if arm is not None:
            gates[arm] = 1
        return value

    return loss


def torch_loss(params, inputs, labels):
    """The same network in torch; a neuron is masked by zeroing its activation."""
    import torch

    layers = [
        (torch.tensor(np.asarray(v["kernel"])), torch.tensor(np.asarray(v["bias"])))
        for _, v in sorted(params.items())
    ]
    x_all = torch.tensor(inputs.reshape(len(inputs), -1))
    y_all = torch.tensor(labels.astype(np.int64))
    sizes = [weight.shape[1] for weight, _ in layers[:-1]]
    masks = [torch.ones(size) for size in sizes]

    @torch.inference_mode()
    def loss(rows, arm):
        if arm is not None:
            layer = int(arm >= sizes[0])
            place = arm - layer * sizes[0]
            masks[layer][place] = 0
        h = x_all[rows]
        for k, (weight, bias) in enumerate(layers):
            h = torch.addmm(bias, h, weight)
            if k < len(sizes):
                h = torch.relu(h) * masks[k]
        value = torch.nn.functional.cross_entropy(h, y_all[rows]).item()
        if arm is not None:
            masks[layer][place] = 1
        return value

    return loss


def main() -> None:
    data = load_dataset("mnist", seed=0)
    inputs, labels = data.train.inputs[:ROWS], data.train.labels[:ROWS]
    model = build_model("lenet_300_100", input_shape=(28, 28, 1), num_outputs=10)
    params = model.init(jax.random.key(0))
    players = gp.find_players(model.apply, params, jnp.asarray(inputs[:2]))
    arms = gp.removal_arms(
        *(players, params, gp.cross_entropy, inputs, labels), batch_size=BATCH
    )
    policies = {name: gp.POLICIES[name]() for name in gp.POLICIES}
    key, num = jax.random.key(1), players.num_players
    for policy in policies.values():
        record_bandit(key, policy, arms, num_pulls=OURS)  # compiles
    loops = {"python loop, jitted loss": jax_loss(players, params, inputs, labels)}
    try:
        flat = params.get("params", params)
        loops["python loop, torch"] = torch_loss(flat, inputs, labels)
    except ImportError:
        print("torch is not here: its row is left out")
    if loops.get("python loop, torch"):
        rows = np.arange(BATCH)
        both = [loss(rows, 5) for loss in loops.values()]
        np.testing.assert_allclose(*both, rtol=1e-4)  # the same network, the same mask
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, policy in policies.items():
            start = time.perf_counter()
            record_bandit(key, policy, arms, num_pulls=OURS)
            rate = OURS / (time.perf_counter() - start)
            found.setdefault(name, []).append(rate)
        for name, loss in loops.items():
            found.setdefault(name, []).append(loop(loss, num, LOOPS))
    medians = {name: round(statistics.median(v)) for name, v in found.items()}
    result = {
        "command": COMMAND,
        "network": "lenet_300_100",
        "rows": ROWS,
        "batch": BATCH,
        "cores": len(os.sched_getaffinity(0)),
        "pulls per second, median": medians,
        "spread": {n: [round(min(v)), round(max(v))] for n, v in found.items()},
        "ucb1 over": {
            name: round(medians["ucb1"] / medians[name], 1) for name in loops
        },
    }
    with new_file(HERE / "speed.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
