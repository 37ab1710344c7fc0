"""Do family shares and pulls on repaired networks mend the bandits on the texts?

python -m experiments.bandits.families       # families.json; resumes

On both text sets magnitude by family is ahead of every bandit (networks.py, whose
networks are trained by SGD; here Adam stands beside it). In this study the bandits keep
the same share of every family, too, and UCB1 pulls on repaired networks: a pull is the
likelihood of the network whose weights were fitted anew in closed form
(`gp.value_function(..., repair=)`), on one of four mini-batches in turn. Every choice
is judged as cut and after `gp.repair` on training examples.
"""

import itertools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.bandits.common import HERE
from experiments.fitting import fit
from experiments.gtap.common import train
from gamepruning.files.atomic import new_file
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.training.loop import make_train_step

PLACE = HERE / "families.json"
COMMAND = "python -m experiments.bandits.families"
TRAININGS, EPOCHS = ("sgd", "adam"), 4
SETS, SEEDS, SHARES = ("emotion", "topic"), (0, 1, 2), (0.25,)
POLICIES = ("ucb1", "epsilon_greedy", "uniform")
ON_REPAIRED = ("ucb1",)
PULL_ROWS, PULL_BATCH, STEP, CAUTION = 4096, 64, 0.1, 2.0
REPAIR_ROWS, GAME_ROWS, GAMES = 4000, 256, 4
GAME_STEP, GAME_PULLS, AT_ONCE = 0.2, 3, 64  # of a round on repaired networks


class InTurn:
    """A value function that looks at one mini-batch a call, at each in turn."""

    def __init__(self, games: list[Any]):
        self.games, self.calls = games, 0
        self.num_players = games[0].num_players

    def __call__(self, masks: Any) -> np.ndarray:
        self.calls += 1
        return np.asarray(self.games[self.calls % len(self.games)](masks))


class Study:
    """One trained network."""

    def __init__(self, training: str, name: str, seed: int):
        self.data, self.seed = load_dataset(name, seed=seed), seed
        model = build_model(
            "text_mlp",
            input_shape=self.data.input_shape,
            num_outputs=self.data.num_outputs,
        )
        keys = jax.random.split(jax.random.key(seed), 3)
        start, split = model.init(keys[0]), self.data.train
        if training == "adam":
            self.params = train(keys[1:], model, start, split, epochs=EPOCHS)
        else:
            made = make_train_step(model, gp.cross_entropy, optax.sgd(0.1, 0.9))
            state = made.init(keys[2], start)
            how = {"epochs": EPOCHS, "batch_size": 128}
            self.params = fit(keys[1], made.step, state, split, **how).state.params
        self.x, self.y = jnp.asarray(split.inputs), jnp.asarray(split.labels)
        self.players = gp.find_players(model.apply, self.params, self.x[:8])
        self.num = self.players.num_players
        self.gated = jax.jit(self.players.gated)

    def counts(self, share: float) -> list[int]:
        """As many of every family."""
        return [round(share * family.size) for family in self.players.families]

    def accuracy(self, params: Any, mask: np.ndarray, part: Any) -> float:
        gates = jnp.asarray(mask, jnp.float32)
        outputs = self.gated(params, gates, jnp.asarray(part.inputs))
        return float((np.asarray(outputs).argmax(-1) == part.labels).mean())

    def judge(self, mask: np.ndarray) -> dict[str, Any]:
        """Test accuracy as cut and repaired, both of a really smaller network."""
        some = (self.x[:64],)
        mended = gp.repair(self.players, self.params, mask, self.x[:REPAIR_ROWS])
        found: dict[str, Any] = {}
        test = self.data.test
        for name, params in (("cut", self.params), ("repaired", mended.params)):
            small = gp.compact(self.players, params, mask, inputs=some)
            outputs = small.apply(small.params, jnp.asarray(test.inputs))
            right = np.asarray(outputs).argmax(-1) == test.labels
            found[name] = round(float(right.mean()), 4)
        found["kept"] = [
            int(mask[f.start : f.stop].sum()) for f in self.players.families
        ]
        return found

    def bandit(self, policy: str, share: float, *, by_family: bool) -> np.ndarray:
        """Rounds of pulls on the network as it is cut."""
        rows = (self.x[:PULL_ROWS], self.y[:PULL_ROWS])
        arms = gp.removal_arms(
            self.players,
            self.params,
            gp.cross_entropy,
            *rows,
            batch_size=PULL_BATCH,
            key=jax.random.key(self.seed),
        )
        n = self.counts(share) if by_family else round(share * self.num)
        trace = gp.safe_removal(
            jax.random.key(100 + self.seed),
            policy,
            arms,
            self.value,
            n,
            step=STEP,
            caution=CAUTION,
            players=self.players,
        )
        return np.asarray(trace.mask)

    def on_repaired(self, policy: str, share: float) -> np.ndarray:
        """Rounds of pulls on repaired networks, with family shares."""
        grams = gp.reconstruction.gather_grams(
            self.players, self.params, self.x[:REPAIR_ROWS]
        )
        starts = range(0, GAMES * GAME_ROWS, GAME_ROWS)
        metric = gp.negative_cross_entropy
        games = [
            gp.value_function(
                *(self.players, self.params, metric),
                *(self.x[a : a + GAME_ROWS], self.y[a : a + GAME_ROWS]),
                repair=grams,
            )
            for a in starts
        ]

        def scorer(key: Any, game: Any, num_free: int) -> gp.Scores:
            return gp.play_bandit(
                *(key, policy, game),
                num_arms=num_free,
                num_pulls=GAME_PULLS * num_free,
                pulls_at_once=min(AT_ONCE, num_free),
                caution=CAUTION,
            )

        trace = gp.iterated_pruning(
            jax.random.key(200 + self.seed),
            InTurn(games),
            self.counts(share),
            step=GAME_STEP,
            scorer=scorer,
            num_players=self.num,
            players=self.players,
        )
        return np.asarray(trace.mask)

    def value(self, masks: Any) -> np.ndarray:
        part = self.data.validation
        return np.array([self.accuracy(self.params, m, part) for m in masks])

    def choose(self, method: str, share: float) -> np.ndarray:
        """Who stays by a method, such as "ucb1, by family"."""
        policy, _, how = method.partition(", ")
        if policy in POLICIES and how == "repaired":
            return self.on_repaired(policy, share)
        if policy in POLICIES:
            return self.bandit(policy, share, by_family=how == "by family")
        given = (jax.random.key(self.seed), self.players, self.params)
        score = gp.BASELINES[{"magnitude": "magnitude_l2"}.get(policy, policy)]
        scores = score(*given, gp.cross_entropy, self.x[:2000], self.y[:2000])
        count = round(share * self.num)
        return np.asarray(gp.top_n(scores, count, players=self.players, scope="family"))


METHODS = (
    "magnitude, by family",
    *(
        f"{policy}, {how}"
        for policy in POLICIES
        for how in ("all together", "by family")
    ),
    *(f"{policy}, repaired" for policy in ON_REPAIRED),
    *("taylor, by family", "random, by family"),
)


def main() -> None:
    """Every row that is not on file."""
    found: dict[str, Any] = {"command": COMMAND, "rows": []}
    if PLACE.is_file():
        found = json.loads(PLACE.read_text())
    keys = ("training", "set", "seed", "method", "share")
    done = {tuple(row[key] for key in keys) for row in found["rows"]}
    for seed, name, training in itertools.product(SEEDS, SETS, TRAININGS):
        of_network = (training, name, seed)
        asked = [(*of_network, m, share) for share in SHARES for m in METHODS]
        missing = [case for case in asked if case not in done]
        study = Study(*of_network) if missing else None
        for case in missing:
            assert study is not None
            judged = study.judge(study.choose(*case[3:]))
            found["rows"].append({**dict(zip(keys, case, strict=True)), **judged})
            print(found["rows"][-1], flush=True)
            with new_file(PLACE) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
