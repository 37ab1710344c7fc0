"""The game of a trained network whose weights stand still: equilibria, heuristics."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.stats import spearmanr

import gamepruning as gp
from experiments.equilibrium_mnist.common import Clock, mlp, percent_right
from gamepruning.workbench.datasets import Dataset

ETAS = (0.0, 0.001, 0.01, 0.1)
BETAS, GAMMA = (0.001, 0.1), 0.0003
NUM_RANDOM, EXAMPLES, BATCH, STEPS, EPOCHS = 4, 500, 128, 422, 5
MAX_STEPS = 3000
THRESHOLD = 0.01  # a player below it has left
SAME = 0.1  # gates closer than this are one equilibrium


def dense(data: Dataset, widths: tuple[int, ...], seed: int) -> tuple[Any, Any]:
    """A network after plain training: its players and parameters."""
    inputs, labels = jnp.asarray(data.train.inputs), jnp.asarray(data.train.labels)
    model = mlp(widths, inputs.shape[1])
    init_key, key = jax.random.split(jax.random.key(seed))
    params, tx = model.init(init_key), optax.adam(1e-3)

    @jax.jit
    def epoch(carry, key):
        rows = jax.random.randint(key, (STEPS, BATCH), 0, len(inputs))

        def one(carry, row):
            params, state = carry

            def loss(params):
                return gp.cross_entropy(model.apply(params, inputs[row]), labels[row])

            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(one, carry, rows)[0]

    carry = (params, tx.init(params))
    for number in range(EPOCHS):
        carry = epoch(carry, jax.random.fold_in(key, number))
    players = gp.find_players(model.apply, carry[0], inputs[:4])
    return players, carry[0]


def equilibria(data: Dataset, widths: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Where the gates come to rest from several starts, for every eta.

    Args:
      data: flat images.
      widths: hidden units.
      seed: of the weights and of the random starts.

    Returns:
      One entry an eta: how many equilibria, how far apart, the largest absolute
      eigenvalue of the best responses' slope at the one from s = 1, and accuracies.
    """
    clock = Clock()
    players, params = dense(data, widths, seed)
    x = jnp.asarray(data.train.inputs[:EXAMPLES])
    y = jnp.asarray(data.train.labels[:EXAMPLES])
    num = players.num_players
    starts = {
        "ones": jnp.ones(num),
        "zeros": jnp.zeros(num),
        "halves": jnp.full(num, 0.5),
    }
    for k, key in enumerate(jax.random.split(jax.random.key(100 + seed), NUM_RANDOM)):
        starts[f"random {k}"] = jax.random.uniform(key, (num,))

    def loss_fn(params, gates):
        return gp.cross_entropy(players.gated(params, gates, x), y)

    rows = []
    for beta, eta in itertools.product(BETAS, ETAS):
        config = gp.UtilityConfig(beta=beta, gamma=GAMMA, eta=eta)
        game = (players, params, loss_fn, config)
        ends = {
            name: gp.solve(*game, gates=gates, tolerance=1e-5, max_steps=MAX_STEPS)
            for name, gates in starts.items()
        }
        there = [end for end in ends.values() if end.status == "converged"]
        rows.append(
            {
                "beta": beta,
                "eta": eta,
                **apart([np.asarray(end.gates) for end in there]),
                "largest Nash gap": max(end.nash_gap for end in ends.values()),
                "converged": len(there),
                **radii(game, ends["ones"].gates),
                **judged(players, params, ends["ones"].gates, data, "ones"),
                **judged(players, params, ends["zeros"].gates, data, "zeros"),
            }
        )
        print(f"  {rows[-1]}", flush=True)
    return {"seed": seed, "starts": list(starts), "rows": rows, "seconds": clock()}


def radii(game: tuple, gates: jax.Array) -> dict[str, float]:
    """The largest absolute eigenvalue of the best responses' slope (section 5.3)."""
    players, params, loss_fn, config = game
    found = {}
    for name, linearised in (("", False), (", linearised", True)):
        operator = gp.equilibrium.response_jacobian(
            players,
            params,
            loss_fn,
            gates,
            config,
            linearised=linearised,
            clipped=False,
        )
        radius = gp.equilibrium.spectral_radius(operator, players.num_players)
        found[f"spectral radius{name}"] = round(radius, 3)
    return found


def judged(players, params, gates, data: Dataset, start: str) -> dict[str, float]:
    """Test accuracy and sparsity without those who left."""
    mask = gates >= THRESHOLD
    left = jnp.where(mask, gates, 0.0)
    accuracy = percent_right(lambda p, x: players.gated(p, left, x), params, data.test)
    return {
        f"accuracy from {start}": accuracy,
        f"sparsity from {start}": round(100 * float(1 - mask.mean()), 2),
    }


def apart(ends: list[np.ndarray]) -> dict[str, Any]:
    """How many ends differ, in place and in who is left."""
    kinds: list[np.ndarray] = []
    for gates in ends:
        if all(np.abs(gates - other).max() > SAME for other in kinds):
            kinds.append(gates)
    sets = {tuple((gates >= THRESHOLD).tolist()) for gates in ends}
    pairs = itertools.combinations(ends, 2)
    distances = [float(np.abs(a - b).max()) for a, b in pairs]
    return {
        "equilibria": len(kinds),
        "sets of survivors": len(sets),
        "largest distance": round(max(distances, default=0.0), 3),
    }


def heuristics(data: Dataset, widths: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Section 5.4: the game under three simplifications beside three rankings.

    Args:
      data: flat images.
      widths: hidden units.
      seed: of the weights.

    Returns:
      For each special case, how many of the game's pruned sets are those of the
      heuristic, and the rank correlation within families.
    """
    players, params = dense(data, widths, seed)
    x = jnp.asarray(data.train.inputs[:EXAMPLES])
    y = jnp.asarray(data.train.labels[:EXAMPLES])
    gates = jnp.ones(players.num_players)

    def loss(joint):
        return gp.cross_entropy(players.gated(joint["params"], joint["gates"], x), y)

    grads = jax.grad(loss)({"params": params, "gates": gates})
    norms = jnp.sqrt(gp.equilibrium.squared_norms(players, params))
    fixed = {"params": grads["params"], "gates": -0.01 * norms}
    same = {"params": grads["params"], "gates": -jnp.full_like(norms, 0.5)}
    pull = gp.equilibrium.competition(players, params, gates)
    key, of_loss = jax.random.key(seed), (gp.cross_entropy, x, y)
    literal = gp.UtilityConfig(benefit="literal")
    signed = gp.equilibrium.marginal_benefit(
        players, params, grads["params"], gates, literal
    )
    scores = {
        "magnitude": gp.magnitude_scores(players, params).value,
        "Taylor": gp.taylor_scores(players, params, *of_loss).value,
        "weight x gradient": gp.BASELINES["weight_gradient"](
            key, players, params, *of_loss
        ).value,
        "signed weight x gradient": -signed,
        "likeness of weights": -pull,
        "likeness of activations": -alike(params, x, players),
    }
    cases = {
        "benefit proportional to the norm": (fixed, "gamma", "magnitude"),
        "benefit alone": (grads, "gamma", "signed weight x gradient"),
        "competition alone": (same, "eta", "likeness of activations"),
    }
    found = {}
    for name, (given, price, heuristic) in cases.items():
        config = gp.UtilityConfig(eta=1.0 if price == "eta" else 0.0)
        terms = gp.equilibrium.own_terms(players, params, given, gates, config)
        own = np.asarray(terms.slope)  # who pays less than the price leaves (eq. 15)
        found[name] = {
            "price": price,
            "heuristic": heuristic,
            "same sets": same_sets(own, np.asarray(scores[heuristic])),
            "rank correlations": {
                other: round(float(spearmanr(own, score).statistic), 3)
                for other, score in scores.items()
            },
        }
    return {"seed": seed, "cases": found}


def same_sets(own: np.ndarray, score: np.ndarray) -> float:
    """The share of sizes at which both orders remove the same players."""
    first, second = np.argsort(own, kind="stable"), np.argsort(score, kind="stable")
    sizes = range(1, len(own))
    return round(float(np.mean([set(first[:k]) == set(second[:k]) for k in sizes])), 3)


def alike(params, x, players) -> np.ndarray:
    """Sum of the correlations of each activation with the others of its layer."""
    sums = []
    x = np.asarray(x, np.float64)
    for layer in range(len(players.families)):
        dense = params[f"hidden_{layer}"]
        x = np.maximum(x @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"]), 0)
        spread = np.where(x.std(0) > 0, x.std(0), 1.0)
        unit = (x - x.mean(0)) / spread
        table = unit.T @ unit / len(x)
        sums.append(table.sum(1) - np.diag(table))
    return np.concatenate(sums)
