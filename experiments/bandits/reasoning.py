"""Bandits and baselines on networks that reason: four problems, MLP and transformer.

python -m experiments.bandits.reasoning run       # resumes where it was stopped
python -m experiments.bandits.reasoning summary   # writes all_networks.json

The problems are those of reasoning_tasks.py. The protocol is that of networks.py, with
whose five networks the summary makes one table: a tenth of the players leaves in each
round, with ten pulls for each that is left, and a quarter is fine-tuned for a fifth of
the steps. Rows stand in `results/reasoning-*.json`.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Small networks compile longer than they run: a third of the time with less effort.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.bandits import networks
from experiments.bandits.common import HERE, RESULTS
from experiments.bandits.reasoning_tasks import PROBLEMS, make
from gamepruning.files.atomic import new_file
from gamepruning.workbench.networks.models import build_model

COMMAND = "python -m experiments.bandits.reasoning run; ... summary"
SEEDS = (0, 1, 2, 3, 4)
SHARES = (0.1, 0.25, 0.5)  # of the players; 0.25 is fine-tuned
STEP, CAUTION, PULL_BATCH, PULL_ROWS = 0.1, 2.0, 32, 4096
BATCH = 64
POLICIES = ("epsilon_greedy", "softmax", "ucb1", "thompson", "hedge", "exp3")
POLICIES += ("uniform", "thompson_beta")
BASELINES = {"loss_oracle": "loss_oracle", "magnitude": "magnitude_l2"}
BASELINES |= {"activation": "activation", "taylor": "taylor", "random": "random"}
BY_FAMILY = ("magnitude", "activation", "taylor")
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"widths": (48, 24)},
    "transformer": {"width": 32, "heads": 4, "hidden": 48, "layers": 1},
}
STEPS = {"modular": 3000, "lists": 2000, "dyck": 2000, "shapes": 3000}
DECAY = {"modular": 1.0}  # without it the table is learnt by heart
NAMES = [f"{kind}, {problem}" for problem in PROBLEMS for kind in KINDS]


class Study:
    """One kind of network on one problem; seeds share what is compiled."""

    def __init__(self, name: str):
        kind, self.problem = name.split(", ")
        data = make(self.problem, 0)
        self.is_flat = kind == "mlp"
        x = self.inputs_of(data.train.inputs[:8])
        self.model = build_model(
            kind,
            input_shape=x.shape[1:],
            num_outputs=data.num_classes,
            **KINDS[kind],
        )
        params = self.model.init(jax.random.key(0))
        self.players = gp.find_players(self.model.apply, params, x)
        self.num = self.players.num_players
        self.sizes = [round(share * self.num) for share in SHARES]
        self.arms: gp.bandits.RemovalArms | None = None
        self.gated = jax.jit(self.players.gated)
        self.train_jit = jax.jit(self._train, static_argnums=5)

    def inputs_of(self, inputs: np.ndarray) -> jax.Array:
        """As the network reads them; a transformer's tokens are rows of an image."""
        if self.is_flat:
            return jnp.asarray(inputs.reshape(len(inputs), -1))
        return jnp.asarray(inputs[..., None])

    def _train(self, key, params, gates, inputs, labels, steps: int):
        """AdamW under gates: players that are off neither act nor learn."""
        rate = optax.cosine_decay_schedule(3e-3, steps, 0.01)
        tx = optax.adamw(rate, weight_decay=DECAY.get(self.problem, 0.01))

        def loss(params, rows):
            outputs = self.players.gated(params, gates, inputs[rows])
            return gp.cross_entropy(outputs, labels[rows])

        def step(carry, key):
            params, state = carry
            rows = jax.random.randint(key, (BATCH,), 0, len(inputs))
            updates, state = tx.update(jax.grad(loss)(params, rows), state, params)
            return (optax.apply_updates(params, updates), state), None

        keys = jax.random.split(key, steps)
        return jax.lax.scan(step, (params, tx.init(params)), keys)[0][0]

    def judge(self, params: Any, mask: np.ndarray, part: Any) -> float:
        """Accuracy without the players that are not in."""
        gates = jnp.asarray(mask, jnp.float32)
        outputs = self.gated(params, gates, self.inputs_of(part.inputs))
        return float((np.asarray(outputs).argmax(-1) == part.labels).mean())

    def run(self, seed: int) -> list[dict[str, Any]]:
        """All rows of one seed: the dense network, and every method."""
        data = make(self.problem, seed)
        x, y = self.inputs_of(data.train.inputs), jnp.asarray(data.train.labels)
        init_key, key, rest = jax.random.split(jax.random.key(seed), 3)
        everybody = np.ones(self.num, bool)
        steps = STEPS[self.problem]
        params = self.train_jit(
            key, self.model.init(init_key), jnp.ones(self.num), x, y, steps
        )
        chosen = self.choose(rest, params, data, x, y)
        tune = functools.partial(self.train_jit, key, params)

        def row(method: str, masks: list[np.ndarray], seconds: float) -> dict:
            quarter = masks[SHARES.index(0.25)]
            gates = jnp.asarray(quarter, jnp.float32)
            tuned = tune(gates, x, y, steps // 5)
            values = [self.judge(params, mask, data.test) for mask in masks]
            return {
                "method": method,
                "seed": seed,
                "before": values[SHARES.index(0.25)],
                "after": self.judge(tuned, quarter, data.test),
                "values": values,
                "kept": [
                    int(quarter[f.start : f.stop].sum()) for f in self.players.families
                ],
                "seconds": round(seconds, 2),
            }

        rows = [row("dense", [everybody] * len(SHARES), 0.0)]
        rows += [row(name, *found) for name, found in chosen.items()]
        self.check_removal(params, chosen["ucb1"][0], data)
        return rows

    def choose(self, key, params, data, x, y) -> dict[str, tuple[list, float]]:
        """Who stays at every size, and the seconds that it took, by method."""
        x, y = x[:PULL_ROWS], y[:PULL_ROWS]
        if self.arms is None:
            self.arms = gp.removal_arms(
                *(self.players, params, gp.cross_entropy, x, y), batch_size=PULL_BATCH
            )
        arms = self.arms.renewed(params, x, y, key=key)
        found: dict[str, tuple[list, float]] = {}

        def value_fn(masks):
            part = data.validation
            return np.array([self.judge(params, m, part) for m in np.asarray(masks)])

        def bandit(name: str) -> list[np.ndarray]:
            trace = gp.safe_removal(
                *(key, name, arms, value_fn, min(self.sizes)),
                step=STEP,
                caution=CAUTION,
                players=self.players,
            )
            return [trace.mask_at(size) for size in self.sizes]

        def ranked(name: str, scope: str) -> list[np.ndarray]:
            given = (key, self.players, params, gp.cross_entropy, x[:2000], y[:2000])
            scores = gp.BASELINES[BASELINES[name]](*given)
            keep = functools.partial(gp.top_n, players=self.players, scope=scope)
            return [np.asarray(keep(scores, size)) for size in self.sizes]

        def add(name: str, make: Callable[[], list[np.ndarray]]) -> None:
            start = time.perf_counter()
            found[name] = (make(), time.perf_counter() - start)

        for name in POLICIES:
            add(name, functools.partial(bandit, name))
        for name in BASELINES:
            add(name, functools.partial(ranked, name, "global"))
        for name in BY_FAMILY:
            add(f"{name}-family", functools.partial(ranked, name, "family"))
        return found

    def check_removal(self, params: Any, masks: list[np.ndarray], data: Any) -> None:
        """The networks of one method are cut out for real, and are as good."""
        for mask in masks:
            whole = all(mask[f.start : f.stop].any() for f in self.players.families)
            if whole:
                x = self.inputs_of(data.test.inputs)
                small = gp.compact(self.players, params, mask, inputs=(x[:64],))
                right = np.asarray(small.apply(small.params, x)).argmax(-1)
                really = float((right == data.test.labels).mean())
                assert abs(really - self.judge(params, mask, data.test)) < 2e-3


def place_of(name: str) -> Path:
    return RESULTS / f"reasoning-{name.replace(', ', '-')}.json"


def run(names: list[str]) -> None:
    """Every seed and network that is not on file, seed by seed."""
    studies: dict[str, Study] = {}
    for seed in SEEDS:
        for name in names:
            place = place_of(name)
            found: dict[str, Any] = {"command": COMMAND, "network": name, "rows": []}
            if place.exists():
                found = json.loads(place.read_text())
            if seed in {row["seed"] for row in found["rows"]}:
                continue
            start = time.perf_counter()
            if name not in studies:
                studies[name] = Study(name)
            rows = studies[name].run(seed)
            found["rows"] += rows
            with new_file(place) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n")
            spent = time.perf_counter() - start
            print(f"{name} {seed}: {rows[0]['before']:.3f}, {spent:.0f} s", flush=True)


def complete(runs: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """The rows of the seeds that every network has, if all networks have one.

    Raises:
      ValueError: a network has no seed in common with the others.
    """
    seeds = set.intersection(*({r["seed"] for r in rows} for rows in runs.values()))
    if not seeds:
        raise ValueError("the networks have no seed in common: run them first")
    return {
        name: [row for row in rows if row["seed"] in seeds]
        for name, rows in runs.items()
    }


def summary() -> None:
    """Ranks and tests over all networks: those of networks.py and these."""
    runs = {
        name: networks.rows_of(networks.place_of(name)) for name in networks.NETWORKS
    }
    own = complete({name: networks.rows_of(place_of(name)) for name in NAMES})
    runs |= own
    seeds = sorted({row["seed"] for row in own[NAMES[0]]})
    found: dict[str, Any] = {
        "command": COMMAND,
        "networks": list(runs),
        "seeds of the reasoning networks": seeds,
    }
    stages = {f"{share:.0%} kept, before": str(k) for k, share in enumerate(SHARES)}
    stages["25% kept, fine-tuned"] = "after"
    for title, stage in stages.items():
        table = networks.table_of(runs, stage)
        compared = gp.compare_methods(table, list(networks.METHODS))
        found[title] = networks.part_of(compared, table)
    found["dense"] = {
        stage: {
            name: float(np.mean([r[stage] for r in rows if r["method"] == "dense"]))
            for name, rows in runs.items()
        }
        for stage in ("before", "after")
    }
    with new_file(HERE / "all_networks.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2:] or NAMES)
    else:
        summary()
