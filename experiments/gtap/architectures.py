"""GTAP on a transformer, which the paper leaves open.

python -m experiments.gtap.architectures            # resumes seed by seed

One layer of attention reads the rows of a digit. The curve has the biased Banzhaf value
with the best players of all together and with the same share of every layer, beside
magnitude and chance; then the number of evaluations for each player, and d, at 40 %
kept by layer. Values are calibrated likelihoods on validation rows, not on test rows.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.markdown import HERE
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model

PLACE = HERE / "gtap" / "architectures.json"
COMMAND = "python -m experiments.gtap.architectures"
SIZES, AT = (0.6, 0.4, 0.25, 0.15), 0.4
SAMPLES, BIASES, D = (1, 2, 5, 10, 20), (0.1, 0.3, 0.5, 0.7, 0.9), 0.3


class Case(NamedTuple):
    """A trained network and what it is judged on.

    Attributes:
      players: who plays.
      params: the trained parameters.
      choose: inputs and labels on which coalitions are valued.
      test: inputs and labels for the end.
      samples: evaluations a player of the curve.
    """

    players: gp.Players
    params: Any
    choose: tuple[Any, Any]
    test: tuple[Any, Any]
    samples: int = 10


def fitted(apply: Callable, params: Any, x: Any, y: Any, steps: int, key: Any) -> Any:
    """Parameters after Adam with a cosine schedule, batches of 64."""
    tx = optax.adam(optax.cosine_decay_schedule(3e-3, steps, 0.01))

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (64,), 0, len(y))

        def loss(params):
            return gp.cross_entropy(apply(params, x[rows]), y[rows])

        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key, steps)
    run = jax.jit(lambda carry: jax.lax.scan(step, carry, keys)[0][0])
    return run((params, tx.init(params)))


def transformer(seed: int) -> Case:
    """One layer of attention on the rows of a digit."""
    data = load_dataset("digits", seed=seed)
    model = build_model(
        "transformer", input_shape=(8, 8, 1), num_outputs=10, layers=1, hidden=64
    )
    parts = [
        (jnp.asarray(part.inputs), jnp.asarray(part.labels))
        for part in (data.train, data.validation, data.test)
    ]
    keys = jax.random.split(jax.random.key(seed))
    params = fitted(model.apply, model.init(keys[0]), *parts[0], 1500, keys[1])
    players = gp.find_players(model.apply, params, parts[0][0][:4])
    return Case(players, params, parts[1], parts[2])


CASES: dict[str, tuple[Callable[[int], Case], tuple[int, ...]]] = {
    "transformer": (transformer, (0, 1, 2)),
}


def study(case: Case, seed: int) -> dict[str, Any]:
    """The curve of one network, and the two studies at one size."""
    players, params = case.players, case.params
    metric = gp.coalitions.calibrated_likelihood
    value_fn = gp.value_function(players, params, metric, *case.choose)
    test_fn = gp.value_function(players, params, gp.accuracy, *case.test)
    num = players.num_players

    def judge(scores: Any, scope: str, sizes: tuple[float, ...]) -> list[float]:
        masks = [
            np.asarray(gp.top_n(scores, round(s * num), players=players, scope=scope))
            for s in sizes
        ]
        return [round(float(v), 4) for v in test_fn(np.stack(masks))]

    def beta(samples: int, bias: float) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), round(1000 * bias) + samples)
        return gp.banzhaf_values(
            key, value_fn, bias=bias, num_evaluations=max(samples * num, num + 2)
        )

    chosen = beta(case.samples, D)
    magnitude = gp.magnitude_scores(players, params)
    random = gp.baselines.random_scores(jax.random.key(100 + seed), players)
    ranked = {"beta": chosen, "magnitude": magnitude, "random": random}
    found: dict[str, Any] = {
        "seed": seed,
        "players": [[f.name, f.size] for f in players.families],
        "dense": round(float(test_fn(np.ones((1, num), bool))[0]), 4),
        "curves": {
            f"{name}, {title}": judge(scores, scope, SIZES)
            for name, scores in ranked.items()
            for title, scope in (("together", "global"), ("by layer", "family"))
        },
    }
    scope = "family"
    found["samples"] = {str(k): judge(beta(k, D), scope, (AT,))[0] for k in SAMPLES}
    found["d"] = {str(d): judge(beta(case.samples, d), scope, (AT,))[0] for d in BIASES}
    mask = np.asarray(
        gp.top_n(chosen, round(AT * num), players=players, scope="family")
    )
    small = gp.compact(players, params, mask, inputs=(case.choose[0][:8],))
    outputs = np.asarray(small.apply(small.params, case.test[0]))
    really = float((outputs.argmax(-1) == np.asarray(case.test[1])).mean())
    assert abs(really - found["curves"]["beta, by layer"][SIZES.index(AT)]) < 3e-3
    return found


def main() -> None:
    """Every network and seed that is not on file."""
    found: dict[str, Any] = {"command": COMMAND, "sizes": list(SIZES), "runs": {}}
    if PLACE.is_file():
        found = json.loads(PLACE.read_text())
    for name, (make, seeds) in CASES.items():
        done = found["runs"].setdefault(name, [])
        for seed in seeds:
            if seed not in {run["seed"] for run in done}:
                done.append(study(make(seed), seed))
                print(name, seed, done[-1], flush=True)
                write_json(PLACE, found)


if __name__ == "__main__":
    main()
