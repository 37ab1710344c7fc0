"""Other solutions of the game as pruning criteria: least core, nucleolus, and more.

python -m experiments.gtap.solutions       # solutions.json; resumes

The network is LeNet-5 with 4 and 8 filters instead of 6 and 16, so that the twelve
filters are a game whose 4,096 coalitions are all evaluated. A coalition is worth the
accuracy on 100 validation images. Every solution ranks the filters, the best ones stay,
and the network without the others is judged on 1,000 test images. Deegan-Packel and
Johnston are those of the simple game that is won with 90 % of the full accuracy.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.fitting import fit
from experiments.gtap.common import write_json
from experiments.markdown import HERE
from gamepruning.workbench.datasets import Dataset, Split, load_dataset
from gamepruning.workbench.networks.models import Model, build_model
from gamepruning.workbench.training.loop import make_train_step

PLACE = HERE / "gtap" / "solutions.json"
COMMAND = "python -m experiments.gtap.solutions"
SEEDS, SIZES = (0, 1, 2), (9, 6, 4)
TRAIN, EPOCHS, ROWS, TEST, SHARE = 6_000, 3, 100, 1000, 0.9
FAMILIES = ("conv_0", "conv_1")


def train(data: Dataset, seed: int) -> tuple[Model, Any]:
    """The narrow LeNet-5, by Adam on some of the training images."""
    model = build_model(
        "lenet_5", input_shape=(28, 28, 1), num_outputs=10, filters=(4, 8)
    )
    keys = jax.random.split(jax.random.key(seed), 3)
    made = make_train_step(model, gp.cross_entropy, optax.adam(2e-3))
    start = made.init(keys[1], model.init(keys[0]))
    some = Split(data.train.inputs[:TRAIN], data.train.labels[:TRAIN])
    done = fit(keys[2], made.step, start, some, epochs=EPOCHS, batch_size=64)
    return model, done.state.params


def solutions(game: "Tabulated", unions: np.ndarray) -> dict[str, np.ndarray]:
    """Every solution of a game that is tabulated, by name."""
    everybody = np.ones((1, game.num_players), bool)
    simple = game.won_with(SHARE * float(game(everybody)[0]))
    scores = {
        "Shapley": gp.exact_shapley(game),
        "Banzhaf": gp.exact_banzhaf(game),
        "Banzhaf, bias 0.3": gp.exact_banzhaf(game, bias=0.3),
        "Owen, by layer": gp.coalitions.exact_owen(game, unions),
        "least core": gp.coalitions.least_core(game).scores,
        "nucleolus": gp.coalitions.nucleolus(game),
        "Deegan-Packel": gp.coalitions.deegan_packel(simple),
        "Johnston": gp.coalitions.johnston(simple),
    }
    return {name: np.asarray(found.value) for name, found in scores.items()}


class Tabulated:
    """A game whose coalitions were all evaluated once."""

    def __init__(self, num_players: int, values: Callable[[np.ndarray], Any]):
        self.num_players = num_players
        self.powers = 2 ** np.arange(num_players)
        numbers = np.arange(2**num_players)
        self.masks = (numbers[:, None] // self.powers % 2).astype(bool)
        self.values = np.asarray(values(self.masks), float)

    def __call__(self, masks: Any) -> np.ndarray:
        return self.values[np.asarray(masks, int) @ self.powers]

    def won_with(self, quota: float) -> "Tabulated":
        """The simple game that a coalition wins if a part of it has the quota."""
        wins = self.values >= quota
        for power in self.powers:
            has = (np.arange(len(wins)) // power % 2).astype(bool)
            wins[has] |= wins[~has]
        return Tabulated(self.num_players, lambda masks: wins.astype(float))

    def best(self, size: int) -> np.ndarray:
        """The coalition of a size with the largest value."""
        own = np.flatnonzero(self.masks.sum(1) == size)
        return self.masks[own[self.values[own].argmax()]]


def run(seed: int) -> dict[str, Any]:
    """All solutions on one network."""
    data = load_dataset("mnist", seed=seed)
    model, params = train(data, seed)
    x = jnp.asarray(data.validation.inputs[:ROWS])
    y = jnp.asarray(data.validation.labels[:ROWS])
    players = gp.find_players(model.apply, params, x[:4])
    test = (
        jnp.asarray(data.test.inputs[:TEST]),
        jnp.asarray(data.test.labels[:TEST]),
    )
    value_fn, test_fn = (
        gp.value_function(players, params, gp.accuracy, *part, varying=FAMILIES)
        for part in ((x, y), test)
    )
    game = Tabulated(int(value_fn.num_players), value_fn)
    free = np.asarray(value_fn.free)
    of_family = np.repeat(
        np.arange(len(players.families)), [f.size for f in players.families]
    )

    def judge(coalition: np.ndarray) -> float:
        return round(float(test_fn(coalition[None])[0]), 4)

    scores = solutions(game, of_family[free])
    scores["magnitude"] = np.asarray(gp.magnitude_scores(players, params).value)[free]
    scores["accuracy alone"] = game(np.eye(game.num_players, dtype=bool))
    scores["random"] = np.random.default_rng(seed).random(game.num_players)
    best = game.best(SIZES[0])
    out = np.isin(np.arange(len(of_family)), free[~best])
    check(players, params, out, test, judge(best))
    everybody = np.ones(game.num_players, bool)
    found: dict[str, Any] = {"seed": seed, "dense": judge(everybody), "rows": {}}
    for name, values in scores.items():
        order = np.argsort(-values, kind="stable")
        tests = [judge(np.isin(np.arange(len(order)), order[:n])) for n in SIZES]
        found["rows"][name] = {
            "test": tests,
            "value": [round(float(v), 5) for v in values],
        }
    found["rows"]["best coalition"] = {"test": [judge(game.best(n)) for n in SIZES]}
    return found


def check(players, params, out: np.ndarray, test: tuple, found: float) -> None:
    """A network that is cut out for real is as good as the gated one."""
    small = gp.compact(players, params, ~out, inputs=(test[0][:32],))
    outputs = np.asarray(small.apply(small.params, test[0]))
    really = float((outputs.argmax(-1) == np.asarray(test[1])).mean())
    assert abs(really - found) < 5e-4, (really, found)


def main() -> None:
    """Every seed that is not on file."""
    found: dict[str, Any] = {"command": COMMAND, "sizes": list(SIZES), "runs": []}
    if PLACE.is_file():
        found = json.loads(PLACE.read_text())
    for seed in SEEDS:
        if seed not in {own["seed"] for own in found["runs"]}:
            found["runs"].append(run(seed))
            own = found["runs"][-1]
            print(seed, {n: r["test"] for n, r in own["rows"].items()}, flush=True)
            write_json(PLACE, found)


if __name__ == "__main__":
    main()
