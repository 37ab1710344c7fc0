"""What the pruning studies of this folder share: values, methods, curves, training."""

import functools
import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.fitting import fit
from gamepruning.run.batches import predict
from gamepruning.selection import Progress
from gamepruning.types import Scores
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.networks.models import Model
from gamepruning.workbench.training.loop import make_train_step

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SIZES = (0.05, 0.1, 0.15, 0.2, 0.225, 0.25, 0.3, 0.4, 0.5, 0.6)
CRITICAL = 0.225
BASELINES = (
    "random",
    "magnitude_l1",
    "magnitude_l2",
    "weight_gradient",
    "taylor",
    "loss_oracle",
)
TILTS = (0.0, 0.5, 1.0, 1.5, 2.0)  # log-odds of a later family above the first one's


class Network(NamedTuple):
    """A trained network whose players are to be chosen.

    Attributes:
      model: the network; where its trunk is fixed, what comes after it.
      start: its first parameters.
      params: its trained parameters.
      train, validation, test: what it reads, and the labels.
      input_axes: as `gp.find_players` takes it.
    """

    model: Model
    start: Any
    params: Any
    train: Split
    validation: Split
    test: Split
    input_axes: dict[int, int] | None


class Effort(NamedTuple):
    """What a study spends.

    Attributes:
      rows: validation examples that indices are estimated on.
      exchange_rows: those that exchanges are judged on.
      top_n: evaluations for one estimate.
      sweeps: sweeps over all free players in each round of an iterated method.
      step: share of the players in that a round decides on.
      exchange_rounds: of exchanges, at each size up to 30 %; three above.
    """

    rows: int = 1000
    exchange_rows: int = 2000
    top_n: int = 6000
    sweeps: int = 3
    step: float = 0.1
    exchange_rounds: int = 8


def sharp_likelihood(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """(geometric mean of the true class's probability, over chance) to the 20th power.

    It is convex in the log-likelihood: what players add to good coalitions counts most.
    """
    chance = jnp.log(outputs.shape[-1])
    return jnp.exp(20 * (gp.negative_cross_entropy(outputs, labels) + chance))


def find(network: Network) -> gp.Players:
    """The players of a network."""
    inputs = jnp.asarray(network.train.inputs[:4])
    return gp.find_players(
        network.model.apply, network.params, inputs, input_axes=network.input_axes
    )


def value_fn(
    network: Network, players: gp.Players, metric: Callable, split: Split, rows: int
) -> gp.coalitions.ValueFunction:
    """The value function on the first rows of a split."""
    inputs, labels = jnp.asarray(split.inputs[:rows]), jnp.asarray(split.labels[:rows])
    return gp.value_function(players, network.params, metric, inputs, labels)


def shortlisted(
    value_fn: gp.coalitions.ValueFunction, mask: np.ndarray, count: int, *, coming: bool
) -> np.ndarray:
    """`count` players change sides one by one, always the best next.

    After the first look at all of them only the best three times `count` are looked at.
    """
    mask = mask.copy()
    free = value_fn.free
    _, moved = value_fn.toggles(mask[free][None])
    worth = np.full(len(mask), -np.inf)
    worth[free] = moved[0]
    worth[mask == coming] = -np.inf
    listed = np.argsort(-worth, kind="stable")[: max(3 * count, count + 8)]
    listed = listed[worth[listed] > -np.inf]
    for turn in range(min(count, len(listed))):
        if turn:
            fixed = np.ones(len(mask), bool)
            fixed[listed] = False
            game = value_fn.restrict(always_in=mask & fixed, always_out=~mask & fixed)
            _, moved = game.toggles(mask[game.free][None])
            listed = game.free[np.argsort(-moved[0], kind="stable")]
        mask[listed[0]] = coming
        listed = listed[1:]
    return mask


def exchange(
    value_fn: gp.coalitions.ValueFunction, mask: np.ndarray, *, count: int, rounds: int
) -> np.ndarray:
    """`count` players leave and as many come, by turns in either order, while it pays.

    `count` is halved after two rounds in a row without a gain.
    """
    best, value, bad = mask.copy(), float(value_fn(mask[None])[0]), 0
    count = max(1, min(count, int(mask.sum()) // 3))
    for number in range(rounds):
        coming = bool(number % 2)
        other = shortlisted(value_fn, best, count, coming=coming)
        other = shortlisted(value_fn, other, count, coming=not coming)
        now = float(value_fn(other[None])[0])
        if now > value + 1e-6:
            best, value, bad = other, now, 0
            continue
        bad += 1
        if bad == 2:
            count, bad = count // 2, 0
        if not count:
            break
    return best


def one_by_one(key: jax.Array, game: Any, num_players: int, *, count: int) -> Scores:
    """The bias near one: who can leave the players at hand, `count` of them in turn.

    The scores are ranks: those who leave first have the lowest.
    """
    everybody = np.ones(num_players, bool)
    _, without = game.toggles(everybody[None])
    loss = without[0].copy()
    if count > 1:
        kept, listed = everybody.copy(), np.argsort(-loss, kind="stable")
        listed = listed[: max(3 * count, count + 8)]
        top = loss.max() + 1.0
        for turn in range(count):
            if turn:
                listed = listed[np.argsort(-_alone(game, kept, listed), kind="stable")]
            kept[listed[0]] = False
            loss[listed[0]] = top + count - turn
            listed = listed[1:]
    return Scores(-loss, np.zeros(num_players), num_players + 1)


def _alone(game, kept: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """The values of those kept without each of the listed."""
    inside, outside = kept.copy(), ~kept
    inside[listed] = False
    small = game.restrict(always_in=game.free[inside], always_out=game.free[outside])
    _, without = small.toggles(np.ones((1, len(listed)), bool))
    at = np.searchsorted(small.free, game.free[listed])
    return without[0][at]


def index_scorer(index: str, sweeps: int, target: int) -> Callable[[Progress], Any]:
    """A scorer for each round: "shapley", "banzhaf", or "beta".

    Coalitions of "beta" have a mean size of `target`; once as many players are
    retained, others join with a bias of nearly 0.
    """

    def make(progress: Progress):
        budget = sweeps * (progress.num_free + 1)
        if index == "shapley":
            return functools.partial(
                gp.shapley_values,
                num_evaluations=budget + 2,
                method="permutation",
            )
        bias = 0.5 if index == "banzhaf" else progress.bias_for(target)
        return functools.partial(
            gp.banzhaf_values, num_evaluations=budget, method="toggle_all", bias=bias
        )

    return make


def tilted(
    scores: np.ndarray, players: gp.Players, n: int, tilts: Sequence[float]
) -> np.ndarray:
    """The n best, where each family keeps a share of its own.

    Its log-odds are `tilts` above a common level, which is such that n stay in all.
    """
    sizes = np.array([family.size for family in players.families])
    depth = np.asarray(tilts)
    low, high = -20.0, 20.0
    for _ in range(60):
        level = (low + high) / 2
        total = (sizes / (1 + np.exp(-level - depth))).sum()
        low, high = (level, high) if total < n else (low, level)
    quotas = np.floor(sizes / (1 + np.exp(-level - depth))).astype(int)
    for place in np.argsort(sizes * 1.0)[::-1][: n - int(quotas.sum())]:
        quotas[place] += 1
    mask = np.zeros(players.num_players, bool)
    for family, quota in zip(players.families, quotas, strict=True):
        order = np.argsort(-scores[family.start : family.stop], kind="stable")
        mask[family.start + order[:quota]] = True
    return mask


def counts_of(num_players: int, sizes: Sequence[float] = SIZES) -> list[int]:
    """The sizes as numbers of players."""
    return [max(1, round(size * num_players)) for size in sizes]


def pack(mask: np.ndarray) -> str:
    """A mask as hexadecimal digits."""
    return np.packbits(np.asarray(mask, bool)).tobytes().hex()


def unpack(text: str, num_players: int) -> np.ndarray:
    """The inverse of `pack`."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))
    return bits[:num_players].astype(bool)


class Study:
    """All methods on one network; what is done is written at once and not redone."""

    def __init__(self, path: Path, network: Network, seed: int, effort: Effort):
        self.path, self.network, self.seed, self.effort = path, network, seed, effort
        self.players = find(network)
        self.key = jax.random.key(seed)
        self.found: dict[str, Any] = (
            json.loads(path.read_text()) if path.is_file() else {}
        )
        make = functools.partial(value_fn, network, self.players)
        rows = effort.rows
        self.games = {
            "calibrated": make(
                gp.coalitions.calibrated_likelihood, network.validation, rows
            ),
            "likelihood": make(gp.negative_cross_entropy, network.validation, rows),
            "probability": make(
                gp.coalitions.true_class_probability, network.validation, rows
            ),
            "sharp": make(sharp_likelihood, network.validation, rows),
            "accuracy": make(gp.accuracy, network.validation, rows),
        }
        self.judge = make(
            gp.coalitions.calibrated_likelihood,
            network.validation,
            effort.exchange_rows,
        )
        self.validation = make(gp.accuracy, network.validation, 10**9)
        self.test = make(gp.accuracy, network.test, 10**9)
        self.counts = counts_of(self.players.num_players)
        if "dense" not in self.found:
            everybody = np.ones((1, self.players.num_players), bool)
            self.found["dense"] = float(self.test(everybody)[0])
            self.found["families"] = [f.size for f in self.players.families]
            self.found["effort"] = effort._asdict()
            self.found["versions"] = _versions()
            self.found["methods"] = {}

    def run(self, method: str, choose: Callable[[], Sequence[np.ndarray]]) -> None:
        """Masks at all sizes by `choose`, their curves, and the time it took."""
        if method in self.found["methods"]:
            return
        begin = time.perf_counter()
        masks = np.stack(list(choose()))
        seconds = round(time.perf_counter() - begin, 1)
        curve = {
            "validation": [round(float(v), 4) for v in self.validation(masks)],
            "test": [round(float(v), 4) for v in self.test(masks)],
            "kept": [self._families(mask) for mask in masks],
            "masks": [pack(mask) for mask in masks],
            "seconds": seconds,
        }
        self.found["methods"][method] = curve
        self.path.parent.mkdir(exist_ok=True)
        write_json(self.path, self.found)
        at = self.counts.index(round(CRITICAL * self.players.num_players))
        print(
            f"{self.path.stem:12s} {method:28s} {seconds:6.1f} s  test "
            f"{curve['test'][at]:.3f} at {CRITICAL:.1%}  {curve['test']}",
            flush=True,
        )

    def masks(self, method: str) -> np.ndarray:
        """The masks of a method that was run."""
        texts = self.found["methods"][method]["masks"]
        return np.stack([unpack(text, self.players.num_players) for text in texts])

    def _families(self, mask: np.ndarray) -> list[int]:
        return [int(mask[f.start : f.stop].sum()) for f in self.players.families]

    def baselines(self, names: Sequence[str] = BASELINES) -> None:
        split, rows = self.network.validation, self.effort.rows
        data = jnp.asarray(split.inputs[:rows]), jnp.asarray(split.labels[:rows])
        for number, name in enumerate(names):
            key = jax.random.fold_in(self.key, 100 + number)

            def choose(name=name, key=key):
                score = gp.BASELINES[name]
                params = self.network.params
                scores = score(key, self.players, params, gp.cross_entropy, *data)
                return gp.selection.masks_at(scores, self.counts, players=self.players)

            self.run(name, choose)

    def top_n(self, index: str, game: str, bias: float = CRITICAL) -> None:
        """One estimate; global, and with the tilt that is best on validation data."""
        name = f"top-n {index} {game}" + (f" {bias}" if bias != CRITICAL else "")
        key = jax.random.fold_in(self.key, 200 + len(name))
        store: dict[str, np.ndarray] = {}

        def scores():
            if "value" not in store:
                n, play = self.players.num_players, self.games[game]
                budget = self.effort.top_n
                found = (
                    gp.shapley_values(key, play, n, num_evaluations=budget)
                    if index == "shapley"
                    else gp.banzhaf_values(
                        key,
                        play,
                        n,
                        num_evaluations=budget,
                        method="auto" if index == "banzhaf" else "regression",
                        bias=0.5 if index == "banzhaf" else bias,
                    )
                )
                store["value"] = np.asarray(found.value)
            return store["value"]

        self.run(
            name,
            lambda: gp.selection.masks_at(scores(), self.counts, players=self.players),
        )
        if f"{name} tilted" in self.found["methods"]:
            return

        def best_tilts():
            later = len(self.players.families) - 1
            tilts = [(0.0, *rest) for rest in itertools.product(TILTS, repeat=later)]
            tried = np.stack(
                [
                    [tilted(scores(), self.players, n, own) for n in self.counts]
                    for own in tilts
                ]
            )
            values = self.validation(tried.reshape(-1, self.players.num_players))
            best = values.reshape(len(tilts), -1).argmax(0)
            return [tried[place, k] for k, place in enumerate(best)]

        self.run(f"{name} tilted", best_tilts)

    def chosen(self, name: str, prefix: str) -> None:
        """Of the methods that begin so the best on validation data, size by size."""
        methods = self.found["methods"]
        names = [m for m in methods if m.startswith(prefix) and m != name]
        values = np.array([methods[m]["validation"] for m in names])
        best = values.argmax(0)
        self.run(name, lambda: [self.masks(names[b])[k] for k, b in enumerate(best)])

    def pruning(self, index: str, game: str = "calibrated") -> None:
        """Iterated pruning; "beta" has the bias near one, player by player."""
        effort, play = self.effort, self.games[game]
        ends = sorted(self.counts, reverse=True)

        def make(progress: Progress):
            if index == "beta":
                left = int(progress.kept.sum())
                count = max(1, int(effort.step / 3 * left))
                return functools.partial(one_by_one, count=count)
            return index_scorer(index, effort.sweeps, ends[0])(progress)

        def choose():
            trace = gp.iterated_pruning(
                jax.random.fold_in(self.key, 300 + len(index)),
                play,
                ends[-1],
                step=effort.step / 3 if index == "beta" else effort.step,
                make_scorer=make,
                players=self.players,
            )
            return gp.selection.masks_at(trace, self.counts)

        self.run(f"pruning {index}", choose)

    def building(self, index: str, game: str = "calibrated") -> None:
        effort, play = self.effort, self.games[game]
        total = self.players.num_players

        def choose():
            trace = gp.iterated_building(
                jax.random.fold_in(self.key, 400 + len(index)),
                play,
                max(self.counts),
                step=effort.step,
                make_scorer=lambda progress: index_scorer(
                    index,
                    effort.sweeps,
                    max(round(CRITICAL * total), int(1.1 * progress.num_fixed)),
                )(progress),
                players=self.players,
            )
            return gp.selection.masks_at(trace, self.counts)

        self.run(f"building {index}", choose)

    def printed(self, bias: float) -> None:
        """The paper's protocols with its own index, and its magnitude of weights.

        The value is the accuracy; all others of a coalition are in with the bias,
        however many have left or are in for good.
        """
        game, sweeps = self.games["accuracy"], self.effort.sweeps
        ends, common = sorted(self.counts), {"method": "toggle_all", "bias": bias}

        def make(progress: Progress):
            budget = sweeps * (progress.num_free + 1)
            return functools.partial(
                gp.banzhaf_values, num_evaluations=budget, **common
            )

        def once():
            key, budget = jax.random.fold_in(self.key, 500), self.effort.top_n
            found = gp.banzhaf_values(key, game, num_evaluations=budget, **common)
            return gp.selection.masks_at(found, self.counts, players=self.players)

        def iterated(procedure: Callable, last: int, number: int):
            key = jax.random.fold_in(self.key, number)
            step = self.effort.step
            options = {"step": step, "make_scorer": make, "players": self.players}
            trace = procedure(key, game, last, **options)
            return gp.selection.masks_at(trace, self.counts)

        self.run("printed top-n", once)
        pruning, building = gp.iterated_pruning, gp.iterated_building
        self.run("printed pruning", lambda: iterated(pruning, ends[0], 501))
        self.run("printed building", lambda: iterated(building, ends[-1], 502))
        self._single_weights("printed magnitude of single weights")

    def _single_weights(self, method: str) -> None:
        """The weights of largest magnitude stay, wherever they are; biases stay."""
        if method in self.found["methods"]:
            return
        began = time.perf_counter()
        leaves, tree = jax.tree.flatten(self.network.params)
        matrices = [k for k, leaf in enumerate(leaves) if leaf.ndim > 1]
        sizes = np.concatenate([np.abs(leaves[k]).ravel() for k in matrices])
        curve: dict[str, Any] = {"validation": [], "test": [], "kept": []}
        for size in SIZES:
            limit = np.quantile(sizes, 1 - size)
            stays = {k: np.abs(leaves[k]) >= limit for k in matrices}
            left = [np.where(stays.get(k, True), x, 0) for k, x in enumerate(leaves)]
            params = jax.tree.unflatten(tree, left)
            for part in ("validation", "test"):
                inputs, labels = getattr(self.network, part)
                apply = self.network.model.apply
                outputs = predict(apply, params, inputs, batch_size=1000)
                right = np.asarray(outputs).argmax(-1) == np.asarray(labels)
                curve[part].append(round(float(right.mean()), 4))
            curve["kept"].append([int(stay.sum()) for stay in stays.values()])
        curve["seconds"] = round(time.perf_counter() - began, 1)
        self.found["methods"][method] = curve
        write_json(self.path, self.found)

    def exchanged(self, method: str) -> None:
        """The coalitions of a method, improved by exchanges at each size."""
        effort = self.effort

        def choose():
            for mask in self.masks(method):
                size = int(mask.sum())
                small = size <= 0.3 * len(mask)
                rounds = effort.exchange_rounds if small else 3
                count = min(max(2, size // 8), 16)
                yield exchange(self.judge, mask, count=count, rounds=rounds)

        self.run(f"{method} + exchanges", choose)


def train(
    keys: jax.Array,
    model: Any,
    params: Any,
    split: Split,
    *,
    epochs: int,
    rate: float = 1e-3,
    batch_size: int = 128,
    decay: float = 0.0,
) -> Any:
    """Parameters after Adam with a cosine schedule; keys for the order and dropout."""
    steps = epochs * (len(split.labels) // batch_size)
    schedule = optax.cosine_decay_schedule(rate, steps, 0.01)
    tx = optax.adamw(schedule, weight_decay=decay)
    init, step = make_train_step(model, gp.cross_entropy, tx)
    order, own = keys
    state = init(own, params)
    done = fit(order, step, state, split, epochs=epochs, batch_size=batch_size)
    return done.state.params


def summarise(name: str, seeds: Sequence[int], command: str, **facts: Any) -> None:
    """Mean and sample deviation over the seeds, of every method at every size."""
    runs = [json.loads((RESULTS / f"{name}_{s}.json").read_text()) for s in seeds]
    for seed, run in zip(seeds, runs, strict=True):
        for other in sorted(RESULTS.glob(f"{name}-*_{seed}.json")):
            run["methods"] |= json.loads(other.read_text())["methods"]
        run["methods"]["top-n, chosen on validation"] = _best_top_n(run["methods"])
    methods = [m for m in runs[0]["methods"] if all(r["methods"].get(m) for r in runs)]
    rows = {}
    for method in methods:
        curves = [run["methods"][method] for run in runs]
        tests = np.array([curve["test"] for curve in curves])
        rows[method] = {
            "test mean": tests.mean(0).round(4).tolist(),
            "test std": tests.std(0, ddof=1).round(4).tolist(),
            "kept of the first seed": curves[0]["kept"],
            "seconds": [curve["seconds"] for curve in curves],
        }
    found = {
        "command": command,
        "seeds": list(seeds),
        **facts,
        "dense": spread([run["dense"] for run in runs]),
        "families": runs[0]["families"],
        "effort": runs[0]["effort"],
        "sizes": list(SIZES),
        "methods": rows,
        "tuned": _merge_tuned(runs),
    }
    place = HERE / f"{name}.json"
    if "versions" in runs[0]:
        found["versions"] = runs[0]["versions"]
    elif place.exists():  # older runs: their versions stand in the summary alone
        found["versions"] = json.loads(place.read_text())["versions"]
    write_json(place, found)


def _versions() -> dict[str, str]:
    return {"jax": jax.__version__, "gamepruning": gp.__version__}


def _best_top_n(methods: dict[str, Any]) -> dict[str, Any]:
    """Of all estimates and tilts the best on validation data, size by size."""
    curves = [curve for name, curve in methods.items() if name.startswith("top-n ")]
    if not curves:
        return {}
    best = np.array([curve["validation"] for curve in curves]).argmax(0)
    pick = lambda what: [curves[b][what][k] for k, b in enumerate(best)]  # noqa: E731
    total = round(sum(curve["seconds"] for curve in curves), 1)
    return {"test": pick("test"), "kept": pick("kept"), "seconds": total}


def _merge_tuned(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    runs = [run for run in runs if "tuned" in run]
    if not runs:
        return {}
    return {
        row: {
            stage: spread([run["tuned"][row][stage] for run in runs])
            for stage in runs[0]["tuned"][row]
        }
        for row in runs[0]["tuned"]
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation, and the values themselves."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 4),
        "std": round(deviation, 4),
        "values": [round(float(value), 4) for value in values],
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write at once or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1) + "\n")
    os.replace(partial, path)
