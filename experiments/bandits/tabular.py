"""Seven bandit policies on 20 classification and 16 regression tables, 10 splits each.

python -m experiments.bandits.tabular run          # all tables; skips those on file
python -m experiments.bandits.tabular run wine servo
python -m experiments.bandits.tabular summary      # tables, tests, diagrams
"""

import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Small networks compile longer than they run: a third of the time with less effort.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import Progress
from sklearn import ensemble, linear_model, svm
from threadpoolctl import threadpool_limits

import gamepruning as gp
from gamepruning.files.atomic import new_file
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.datasets.recipes import RECIPES
from gamepruning.workbench.networks.models import build_model

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COMMAND = "python -m experiments.bandits.tabular run && ... summary"
# Those of scikit-learn came later; "wine" was there from the start.
NAMES = sorted(RECIPES.keys() - {"breast_cancer", "diabetes", "iris"})
SPLITS = 10
WIDTHS = (64, 32)
KEPT = (0.75, 0.5, 0.25, 0.1)  # of the 96 hidden neurons
STEP = 0.2  # of those who are in, removed in a round
PULLS = 192  # in a round: two for each neuron of the full network
ROUNDS = 11
PULL_ROWS = 2000  # training rows that pulls and baselines look at, at most
BATCH = 64  # of training
PULL_BATCH = 16
CAUTION = 2.0  # standard errors, as in `gamepruning prune`
TRAIN = {"epochs": 200, "least": 600, "most": 3000, "rate": 3e-3}
TUNE = {"epochs": 40, "least": 120, "most": 600, "rate": 1e-3}
POLICIES = (
    *("epsilon_greedy", "softmax", "ucb1", "thompson", "thompson_beta"),
    *("hedge", "exp3", "uniform"),
)
SVM_ROWS = 4000


class Table(NamedTuple):
    """All splits of a table, padded to one shape; S splits.

    Attributes:
      task: "classification" or "regression".
      train, validation, test: (inputs [S, rows, D], labels [S, rows]), the rows
        repeated in turn up to the longest split's number.
      counts: rows of each split before that, by part, int [S].
      num_outputs: the number of classes, or 1.
    """

    task: str
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    counts: dict[str, np.ndarray]
    num_outputs: int


def load(name: str) -> Table:
    """Ten random splits; statistics of the preprocessing are those of training rows."""
    data = [load_dataset(name, seed=seed) for seed in range(SPLITS)]
    width = max(d.input_shape[0] for d in data)

    def stack(part: str):
        splits = [getattr(d, part) for d in data]
        most = max(len(split.labels) for split in splits)
        inputs = np.zeros((SPLITS, most, width), np.float32)
        labels = np.zeros((SPLITS, most), splits[0].labels.dtype)
        for k, split in enumerate(splits):
            rows = np.arange(most) % len(split.labels)
            inputs[k, :, : split.inputs.shape[1]] = split.inputs[rows]
            labels[k] = split.labels[rows]
        return (inputs, labels), np.array([len(split.labels) for split in splits])

    parts = {part: stack(part) for part in ("train", "validation", "test")}
    return Table(
        data[0].task,
        *(parts[part][0] for part in ("train", "validation", "test")),
        {part: counts for part, (_, counts) in parts.items()},
        max(d.num_outputs for d in data),
    )


class Study:
    """One table: its networks, and what is compiled for all splits."""

    def __init__(self, name: str):
        self.name, self.table = name, load(name)
        table = self.table
        self.classes = table.task == "classification"
        self.loss = gp.cross_entropy if self.classes else gp.squared_error
        shape = (table.train[0].shape[-1],)
        self.model = build_model(
            "mlp", input_shape=shape, num_outputs=table.num_outputs, widths=WIDTHS
        )
        key = jax.random.key(0)
        self.players = gp.find_players(
            self.model.apply, self.model.init(key), jnp.zeros((2, *shape))
        )
        self.num = self.players.num_players
        self.sizes = [round(share * self.num) for share in KEPT]
        self.everyone = np.ones(self.num, bool)
        self.judge_one = jax.jit(self._judge)

    # -- training ----------------------------------------------------------------------

    def fit(self, params: Any, masks: np.ndarray, how: dict[str, float]) -> Any:
        """Train params [S, L, ...] under masks [S, L, N]; rows of a split are shared.

        A neuron that is gated off neither acts nor learns: this is the training of the
        network without it.
        """
        counts = self.table.counts["train"]
        steps = math.ceil(how["epochs"] * counts.min() / BATCH)
        steps = int(np.clip(steps, how["least"], how["most"]))
        tx = optax.adam(optax.cosine_decay_schedule(how["rate"], steps, 0.01))

        def objective(params, gates, x, y):
            return self.loss(self.players.gated(params, gates, x), y)

        def one_split(params, gates, inputs, labels, count, key):
            def step(carry, key):
                params, state = carry
                rows = jax.random.randint(key, (BATCH,), 0, count)
                grads = jax.vmap(jax.grad(objective), (0, 0, None, None))(
                    params, gates, inputs[rows], labels[rows]
                )
                updates, state = tx.update(grads, state, params)
                return (optax.apply_updates(params, updates), state), None

            start = (params, tx.init(params))
            keys = jax.random.split(key, steps)
            return jax.lax.scan(step, start, keys)[0][0]

        keys = jax.random.split(jax.random.key(7), SPLITS)
        inputs, labels = self.table.train
        run = jax.jit(jax.vmap(one_split))
        return run(params, jnp.asarray(masks, float), inputs, labels, counts, keys)

    def train(self) -> Any:
        """The dense network of each split, [S, ...]."""
        keys = jax.random.split(jax.random.key(1), SPLITS)
        start = jax.vmap(lambda key: self.model.init(key))(keys)
        lanes = jax.tree.map(lambda leaf: leaf[:, None], start)
        masks = np.ones((SPLITS, 1, self.num))
        return jax.tree.map(lambda leaf: leaf[:, 0], self.fit(lanes, masks, TRAIN))

    def _judge(self, params, mask, inputs, labels, count):
        """The metric of a split's first `count` rows, without the players left out."""
        outputs = self.players.gated(params, mask.astype(float), inputs)
        used = jnp.arange(len(labels)) < count
        if self.classes:
            right = jnp.argmax(outputs, axis=-1) == labels
            return (right & used).sum() / count
        mean = jnp.where(used, labels, 0).sum() / count
        residual = jnp.where(used, jnp.square(labels - outputs.reshape(-1)), 0).sum()
        return 1 - residual / jnp.where(used, jnp.square(labels - mean), 0).sum()

    def judge(self, params, mask, part: str, split: int) -> float:
        """The metric on a part of a split."""
        inputs, labels = getattr(self.table, part)
        count = self.table.counts[part][split]
        mask = jnp.asarray(mask)
        return float(self.judge_one(params, mask, inputs[split], labels[split], count))

    # -- choosing ----------------------------------------------------------------------

    def pull_rows(self, split: int):
        """The first training rows of a split; as many in every split."""
        most = min(PULL_ROWS, int(self.table.counts["train"].min()))
        inputs, labels = self.table.train
        return jnp.asarray(inputs[split, :most]), jnp.asarray(labels[split, :most])

    def choose(
        self, dense: Any, split: int, arms: gp.bandits.RemovalArms
    ) -> dict[str, dict]:
        """Masks [sizes][N] of every method, with time and pulls."""
        params = jax.tree.map(lambda leaf: leaf[split], dense)
        x, y = self.pull_rows(split)
        arms = arms.renewed(params, x, y, key=jax.random.key(split))
        key = jax.random.fold_in(jax.random.key(2), split)
        found = {}

        def add(name: str, make: Callable[[], tuple[list, int]]) -> None:
            start = time.perf_counter()
            masks, pulls = make()
            seconds = time.perf_counter() - start
            found[name] = {"masks": masks, "pulls": pulls, "seconds": seconds}

        def value_fn(masks):
            return np.array(
                [self.judge(params, m, "validation", split) for m in np.asarray(masks)]
            )

        def rounds(scorer) -> tuple[list, int]:
            trace = gp.iterated_pruning(
                key,
                value_fn,
                min(self.sizes),
                step=STEP,
                make_scorer=scorer,
                num_players=self.num,
                players=self.players,
            )
            pulls = trace.num_evaluations - len(trace.rounds)
            return [trace.mask_at(size) for size in self.sizes], pulls

        def bandit(policy, caution: float = CAUTION) -> tuple[list, int]:
            trace = gp.safe_removal(
                *(key, policy, arms, value_fn),
                min(self.sizes),
                step=STEP,
                num_pulls=PULLS,
                caution=caution,
                players=self.players,
            )
            pulls = trace.num_evaluations - len(trace.rounds)
            return [trace.mask_at(size) for size in self.sizes], pulls

        def oracle(now):
            def scorer(key, game, num_free):
                changes = np.asarray(arms.without(now.kept).loss_changes())[now.kept]
                pulls = num_free * arms.num_batches
                return gp.Scores(changes, np.zeros(num_free), pulls)

            return scorer

        def ranked(scores, scope) -> tuple[list, int]:
            keep = functools.partial(gp.top_n, players=self.players, scope=scope)
            return [np.asarray(keep(scores, size)) for size in self.sizes], 0

        for name in POLICIES:
            add(name, functools.partial(bandit, gp.POLICIES[name]()))
        add("ucb1, by the mean", lambda: bandit(gp.ucb1(), caution=0.0))
        add("greedy oracle", functools.partial(rounds, oracle))
        at_once = functools.partial(
            *(gp.play_bandit, key, gp.ucb1(), arms),
            num_pulls=ROUNDS * PULLS,
            caution=CAUTION,
        )
        add("ucb1, at once", lambda: (ranked(at_once(), "global")[0], ROUNDS * PULLS))
        magnitude = gp.magnitude_scores(self.players, params)
        activation = gp.baselines.activation_scores(self.players, params, x)
        for name, scores in (("magnitude", magnitude), ("activation", activation)):
            add(name, functools.partial(ranked, scores, "family"))
            add(f"{name}, global", functools.partial(ranked, scores, "global"))
        random = gp.baselines.random_scores(key, self.players)
        add("random", functools.partial(ranked, random, "global"))
        return found

    # -- the whole table ---------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Train, choose, take out, fine-tune, judge; and the models beside it."""
        start = time.perf_counter()
        dense = self.train()
        first = jax.tree.map(lambda leaf: leaf[0], dense)
        x, y = self.pull_rows(0)
        arms = gp.removal_arms(
            self.players, first, self.loss, x, y, batch_size=PULL_BATCH
        )
        chosen = [self.choose(dense, split, arms) for split in range(SPLITS)]
        names = list(chosen[0])
        masks = np.array(
            [[chosen[s][name]["masks"] for name in names] for s in range(SPLITS)]
        )  # [S, methods, sizes, N]
        lanes = masks.reshape(SPLITS, -1, self.num)
        lanes = np.concatenate([lanes, np.ones((SPLITS, 1, self.num), bool)], axis=1)
        spread = jax.tree.map(
            lambda leaf: jnp.repeat(leaf[:, None], lanes.shape[1], axis=1), dense
        )
        tuned = self.fit(spread, lanes, TUNE)

        def score(params, part):
            return [
                [
                    self.judge(
                        jax.tree.map(lambda x, s=s, k=k: x[s, k], params),
                        *(lanes[s, k], part, s),
                    )
                    for s in range(SPLITS)
                ]
                for k in range(lanes.shape[1])
            ]

        before, after = score(spread, "test"), score(tuned, "test")
        self.check_removal(tuned, lanes)
        rows = {"unpruned": {"before": before[-1], "after": after[-1]}}
        for m, name in enumerate(names):
            here = slice(m * len(KEPT), (m + 1) * len(KEPT))
            rows[name] = {
                "before": before[here],
                "after": after[here],
                "kept of the first split": [
                    [int(mask[f.start : f.stop].sum()) for f in self.players.families]
                    for mask in masks[0, m]
                ],
                "pulls": chosen[0][name]["pulls"],
                "seconds": float(np.median([c[name]["seconds"] for c in chosen])),
            }
        rows |= self.standard_models()
        return {
            "command": f"python -m experiments.bandits.tabular run {self.name}",
            "task": self.table.task,
            "rows": {k: int(v[0]) for k, v in self.table.counts.items()},
            "inputs": self.table.train[0].shape[-1],
            "outputs": self.table.num_outputs,
            "kept": self.sizes,
            "splits": SPLITS,
            "methods": rows,
            "seconds": round(time.perf_counter() - start, 1),
        }

    def check_removal(self, params: Any, lanes: np.ndarray) -> None:
        """One network of each size is cut out for real; `compact` compares them."""
        for k in range(len(KEPT)):
            own = jax.tree.map(lambda leaf, k=k: leaf[0, k], params)
            gp.compact(self.players, own, lanes[0, k], inputs=(self.pull_rows(0)[0],))

    def standard_models(self) -> dict[str, dict]:
        """What one would try first, as scikit-learn sets it up."""
        makes = CLASSIFIERS if self.classes else REGRESSORS
        found = {}
        for name, make in makes.items():
            values, spent = [], []
            for s in range(SPLITS):
                counts = {
                    part: self.table.counts[part][s] for part in self.table.counts
                }
                x, y = (a[s, : counts["train"]] for a in self.table.train)
                if name == "svm":
                    x, y = x[:SVM_ROWS], y[:SVM_ROWS]
                start = time.perf_counter()
                with threadpool_limits(len(os.sched_getaffinity(0))):
                    model = make().fit(x, y)
                spent.append(time.perf_counter() - start)
                x, y = (a[s, : counts["test"]] for a in self.table.test)
                values.append(float(model.score(x, y)))
            found[name] = {"after": values, "seconds": float(np.median(spent))}
        return found


CLASSIFIERS = {
    "linear": lambda: linear_model.LogisticRegression(max_iter=2000),
    "svm": lambda: svm.SVC(),
    "random forest": lambda: ensemble.RandomForestClassifier(random_state=0, n_jobs=2),
    "gradient boosting": lambda: ensemble.HistGradientBoostingClassifier(
        random_state=0
    ),
}
REGRESSORS = {
    "linear": lambda: linear_model.Ridge(),
    "svm": lambda: svm.SVR(),
    "random forest": lambda: ensemble.RandomForestRegressor(random_state=0, n_jobs=2),
    "gradient boosting": lambda: ensemble.HistGradientBoostingRegressor(random_state=0),
}


def run(names: list[str]) -> None:
    """Every table that is not on file."""
    RESULTS.mkdir(exist_ok=True)
    with Progress() as progress:
        bar = progress.add_task("tables", total=len(names))
        for name in names:
            path = RESULTS / f"tabular-{name}.json"
            if not path.exists():
                found = Study(name).run()
                with new_file(path) as temporary:
                    temporary.write_text(json.dumps(found) + "\n")
                jax.clear_caches()
                print(name, found["seconds"], "s", flush=True)
            progress.advance(bar)


def main() -> None:
    if sys.argv[1] == "run":
        run(sys.argv[2:] or NAMES)
    else:
        from experiments.bandits.tabular_summary import summarise

        summarise(RESULTS, NAMES, COMMAND)


if __name__ == "__main__":
    main()
