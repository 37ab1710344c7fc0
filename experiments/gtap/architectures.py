"""GTAP on networks that the paper leaves open: a transformer, a GRU, a VGG, a ResNet.

python -m experiments.gtap.architectures                   # resumes seed by seed
python -m experiments.gtap.architectures gru               # only this

One layer of attention reads the rows of a digit; a GRU reads the words of the emotion
texts; a VGG-11 of a quarter of the width is trained on CIFAR-10 for five epochs;
ResNet-20 has its published weights for CIFAR-10, and the channels inside its blocks
play. The curve has the biased Banzhaf value with the best players of all
together and with the same share of every layer, beside magnitude and chance; then the
number of evaluations for each player, and d, at 40 % kept by layer. Values are
calibrated likelihoods on validation rows, not on test rows; those of the VGG on 200 of
them; those of ResNet-20, whose weights have seen all training images, on 200 of these.
"""

import functools
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.markdown import HERE
from gamepruning.images import CifarVGG, crop_and_flip
from gamepruning.run.batches import predict
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.datasets.texts import read_texts
from gamepruning.workbench.networks.models import build_model

PLACE = HERE / "gtap" / "architectures.json"
COMMAND = "python -m experiments.gtap.architectures"
SIZES, AT = (0.6, 0.4, 0.25, 0.15), 0.4
D = 0.3
WORDS, LENGTH, EMBED, UNITS = 2000, 24, 32, 64  # of the GRU
VGG_WIDTHS, VGG_POOLS = (16, 32, 64, 64, 128, 128, 128, 128), (1, 2, 4, 6)
VGG_EPOCHS, VGG_BATCH = 5, 128


class Case(NamedTuple):
    """A trained network and what it is judged on.

    Attributes:
      players: who plays.
      params: the trained parameters.
      choose: inputs and labels on which coalitions are valued.
      test: inputs and labels for the end.
      samples: evaluations a player of the curve.
      counts: the same, to be compared.
      biases: values of d, likewise.
    """

    players: gp.Players
    params: Any
    choose: tuple[Any, Any]
    test: tuple[Any, Any]
    samples: int = 10
    counts: tuple[int, ...] = (1, 2, 5, 10, 20)
    biases: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)


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


def gru_apply(params: Any, tokens: Any) -> jax.Array:
    """A gated recurrent unit (Cho et al. 2014) over words, read at the end."""
    words = params["embed"][tokens]

    def step(state: jax.Array, word: jax.Array) -> tuple[jax.Array, None]:
        given = {g: word @ params[f"in_{g}"] + params[f"bias_{g}"] for g in "zrn"}
        kept = {g: state @ params[f"back_{g}"] for g in "zrn"}
        update = jax.nn.sigmoid(given["z"] + kept["z"])
        reset = jax.nn.sigmoid(given["r"] + kept["r"])
        new = jnp.tanh(given["n"] + reset * kept["n"])
        return (1 - update) * new + update * state, None

    start = jnp.zeros((len(tokens), params["back_z"].shape[0]))
    state, _ = jax.lax.scan(step, start, words.swapaxes(0, 1))
    return state @ params["out"] + params["out_bias"]


def gru_start(key: jax.Array, num_classes: int) -> dict[str, jax.Array]:
    """Random parameters."""
    keys = iter(jax.random.split(key, 8))

    def draw(rows: int, columns: int) -> jax.Array:
        return jax.random.normal(next(keys), (rows, columns)) / rows**0.5

    params = {"embed": EMBED**-0.5 * jax.random.normal(next(keys), (WORDS + 1, EMBED))}
    for gate in "zrn":
        params[f"in_{gate}"] = draw(EMBED, UNITS)
        params[f"back_{gate}"] = draw(UNITS, UNITS)
        params[f"bias_{gate}"] = jnp.zeros(UNITS)
    return params | {
        "out": draw(UNITS, num_classes),
        "out_bias": jnp.zeros(num_classes),
    }


def to_tokens(texts: list[str], known: dict[str, int]) -> np.ndarray:
    """The last words of each text as numbers, int [B, LENGTH]; 0 before it begins."""
    tokens = np.zeros((len(texts), LENGTH), np.int32)
    for row, text in enumerate(texts):
        words = [known[word] for word in text.split() if word in known][-LENGTH:]
        if words:
            tokens[row, -len(words) :] = words
    return tokens


def gru(seed: int) -> Case:
    """A GRU on the emotion texts: its units and what words are embedded in."""
    frames = read_texts("emotion", None, seed)
    counts = Counter(word for text in frames[0]["text"] for word in text.split())
    known = {word: k for k, (word, _) in enumerate(counts.most_common(WORDS), 1)}
    parts = [
        (
            jnp.asarray(to_tokens(frame["text"].tolist(), known)),
            jnp.asarray(frame["label"].to_numpy(np.int32)),
        )
        for frame in frames
    ]
    keys = jax.random.split(jax.random.key(seed))
    start = gru_start(keys[0], 1 + int(parts[0][1].max()))
    params = fitted(gru_apply, start, *parts[0], 2000, keys[1])
    players = gp.find_players(gru_apply, params, parts[0][0][:4])
    choose = (parts[1][0][:1000], parts[1][1][:1000])
    return Case(players, params, choose, parts[2])


def trained_vgg(module: CifarVGG, seed: int, x: Any, y: Any) -> Any:
    """Parameters after epochs of momentum, with crops, flips and a cosine."""
    keys = jax.random.split(jax.random.key(seed))
    rest = dict(jax.jit(module.init)(keys[0], x[:1]))
    weights = rest.pop("params")
    steps = len(y) // VGG_BATCH
    total = VGG_EPOCHS * steps
    rate = optax.warmup_cosine_decay_schedule(0.0, 0.1, total // 20, total)
    tx = optax.chain(
        optax.add_decayed_weights(5e-4), optax.sgd(rate, momentum=0.9, nesterov=True)
    )

    @jax.jit
    def step(weights: Any, rest: Any, state: Any, rows: Any, key: Any) -> Any:
        def loss(weights: Any) -> Any:
            given = {"params": weights, **rest}
            seen = crop_and_flip(key, x[rows])
            outputs, new = module.apply(given, seen, True, mutable=list(rest))
            return gp.cross_entropy(outputs, y[rows]), new

        slope, rest = jax.grad(loss, has_aux=True)(weights)
        change, state = tx.update(slope, state, weights)
        return optax.apply_updates(weights, change), rest, state

    state = tx.init(weights)
    for epoch in range(VGG_EPOCHS):
        own = jax.random.fold_in(keys[1], epoch)
        order = jax.random.permutation(own, len(y))[: steps * VGG_BATCH]
        for number, rows in enumerate(order.reshape(steps, VGG_BATCH)):
            key = jax.random.fold_in(own, number)
            weights, rest, state = step(weights, rest, state, rows, key)
    return {"params": weights, **rest}


def vgg(seed: int) -> Case:
    """VGG-11 of a quarter of the width, trained on CIFAR-10 here."""
    from experiments.cifar.run import load  # reads CIFAR-10

    images, labels = map(jnp.asarray, load("train", 50_000, seed))
    choose, rest = (images[:200], labels[:200]), (images[200:], labels[200:])
    test = tuple(map(jnp.asarray, load("test")))
    module = CifarVGG(widths=VGG_WIDTHS, pools=VGG_POOLS)
    params = trained_vgg(module, seed, *rest)
    players = gp.find_players(module.apply, params, images[:4])
    return Case(players, params, choose, test, 4, (1, 2, 4), (0.3, 0.5))


def resnet20(seed: int) -> Case:
    """ResNet-20 with its published weights."""
    from experiments.cifar.run import Bench, load  # reads CIFAR-10

    bench = Bench(20)
    choose = tuple(map(jnp.asarray, load("train", 200, seed)))
    test = tuple(map(jnp.asarray, load("test")))
    return Case(bench.players, bench.params, choose, test, 4, (1, 2, 4), (0.3, 0.5))


CASES: dict[str, tuple[Callable[[int], Case], tuple[int, ...]]] = {
    "transformer": (transformer, (0, 1, 2)),
    "GRU": (gru, (0, 1, 2)),
    "VGG": (vgg, (0,)),
    "ResNet-20": (resnet20, (0,)),
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

    @functools.cache
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
    found["samples"] = {str(k): judge(beta(k, D), scope, (AT,))[0] for k in case.counts}
    found["d"] = {
        str(d): judge(beta(case.samples, d), scope, (AT,))[0] for d in case.biases
    }
    mask = np.asarray(
        gp.top_n(chosen, round(AT * num), players=players, scope="family")
    )
    small = gp.compact(players, params, mask, inputs=(case.choose[0][:8],))
    outputs = predict(small.apply, small.params, case.test[0], batch_size=500)
    really = float((np.asarray(outputs).argmax(-1) == np.asarray(case.test[1])).mean())
    assert abs(really - found["curves"]["beta, by layer"][SIZES.index(AT)]) < 3e-3
    return found


def main() -> None:
    """Every network and seed that is not on file."""
    found: dict[str, Any] = {"command": COMMAND, "sizes": list(SIZES), "runs": {}}
    if PLACE.is_file():
        found = json.loads(PLACE.read_text())
    wanted = [word.lower() for word in sys.argv[1:]] or [n.lower() for n in CASES]
    for name, (make, seeds) in CASES.items():
        if name.lower() not in wanted:
            continue
        done = found["runs"].setdefault(name, [])
        for seed in seeds:
            if seed not in {run["seed"] for run in done}:
                done.append(study(make(seed), seed))
                print(name, seed, done[-1], flush=True)
                write_json(PLACE, found)


if __name__ == "__main__":
    main()
