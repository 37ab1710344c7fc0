"""Thompson sampling with Beta rewards: pulls a second, and the error of its draws.

python -m experiments.bandits.beta       # beta.json

The draws are G / (G + H) of gamma variables by the cubes of Wilson and Hilferty. Their
distribution function is integrated numerically and compared with Beta's. The speed is
that of speed.py's game, beside UCB1, Gaussian Thompson sampling, and Beta variables by
`jax.random.beta`, which rejects and depends on what was seen.
"""

import json
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import beta, norm

import gamepruning as gp
from experiments.bandits.common import HERE
from gamepruning.bandits import record_bandit
from gamepruning.bandits.policy import Policy, policy_by_index
from gamepruning.files.atomic import new_file
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model

COMMAND = "python -m experiments.bandits.beta"
ROWS, BATCH, ROUNDS, PULLS, EXACT_PULLS = 10_000, 128, 5, 10_000, 2_000
SHAPES = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
LEAST = 1e-3  # of the root, as in the policy


def distance(a: float, b: float) -> float:
    """The largest distance of the two distribution functions."""
    near = np.geomspace(1e-5, 0.5, 150)
    x = np.concatenate([near, 1 - near[::-1]])
    z = np.linspace(-8, 8, 20001)
    weight = norm.pdf(z) / norm.pdf(z).sum()
    root = 1 - 1 / (9 * a) + z / (3 * np.sqrt(a))
    won = a * np.maximum(root, LEAST) ** 3
    lost = won[None] * (1 - x[:, None]) / x[:, None]  # H has to be larger
    least = (np.cbrt(lost / b) - 1 + 1 / (9 * b)) * 3 * np.sqrt(b)
    ours = (norm.sf(least) * weight).sum(1)
    return float(np.abs(ours - beta.cdf(x, a, b)).max())


def exact() -> Policy:
    """The policy with Beta variables by rejection."""

    def index(state, key):
        failures = jnp.maximum(state.counts - state.totals, 0)
        return jax.random.beta(key, 1 + state.totals, 1 + failures)

    return policy_by_index("thompson_beta_exact", lambda key, num: key, index)


def speeds() -> dict[str, list[float]]:
    """Pulls a second of every round."""
    data = load_dataset("mnist", seed=0)
    inputs, labels = data.train.inputs[:ROWS], data.train.labels[:ROWS]
    model = build_model("lenet_300_100", input_shape=(28, 28, 1), num_outputs=10)
    params = model.init(jax.random.key(0))
    players = gp.find_players(model.apply, params, jnp.asarray(inputs[:2]))
    arms = gp.removal_arms(
        *(players, params, gp.cross_entropy, inputs, labels), batch_size=BATCH
    )
    games = {
        "ucb1": (gp.ucb1(), PULLS),
        "thompson": (gp.thompson(), PULLS),
        "thompson_beta": (gp.bandits.thompson_beta(), PULLS),
        "thompson_beta, by rejection": (exact(), EXACT_PULLS),
    }
    key, found = jax.random.key(1), {}
    for policy, pulls in games.values():
        record_bandit(key, policy, arms, num_pulls=pulls)  # compiles
    for _ in range(ROUNDS):
        for name, (policy, pulls) in games.items():
            start = time.perf_counter()
            record_bandit(key, policy, arms, num_pulls=pulls)
            rate = pulls / (time.perf_counter() - start)
            found.setdefault(name, []).append(rate)
    return found


def main() -> None:
    found = speeds()
    errors = {f"{a:g}, {b:g}": distance(a, b) for a in SHAPES for b in SHAPES}
    inner = [e for name, e in errors.items() if min(map(float, name.split(","))) >= 2]
    result = {
        "command": COMMAND,
        "cores": len(os.sched_getaffinity(0)),
        "pulls per second, median": {
            name: round(statistics.median(rates)) for name, rates in found.items()
        },
        "spread": {n: [round(min(v)), round(max(v))] for n, v in found.items()},
        "largest distance of the distribution functions": {
            "shapes of 1 and more": round(max(errors.values()), 5),
            "shapes of 2 and more": round(max(inner), 5),
            "by shapes": {name: round(e, 5) for name, e in errors.items()},
        },
    }
    with new_file(HERE / "beta.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["pulls per second, median"]), max(errors.values()))


if __name__ == "__main__":
    main()
