"""Tiny checkpoints: configurations as hubs have them, weights by the tensors' names.

`expected.json` holds what transformers computes with them; to write it anew:

    python -m experiments.language.oracle --python PYTHON_WITH_TRANSFORMERS
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from gamepruning.huggingface.architecture import size_of
from gamepruning.huggingface.checkpoint import architecture_of

HERE = Path(__file__).parent
_DECODER = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "max_position_embeddings": 64,
}
_ENCODER = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "max_position_embeddings": 64,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": _DECODER
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "rms_norm_eps": 1e-5,
        "rope_theta": 5000.0,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
    },
    "llama3": _DECODER
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "rope_theta": 5000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    },
    "mistral": _DECODER
    | {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "head_dim": 8,
        "sliding_window": 32,
    },
    "qwen2": _DECODER | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "qwen3": _DECODER
    | {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "head_dim": 8,
        "tie_word_embeddings": True,
    },
    "gemma": _DECODER
    | {
        "architectures": ["GemmaForCausalLM"],
        "model_type": "gemma",
        "head_dim": 8,
        "hidden_act": "gelu",
        "hidden_activation": "gelu_pytorch_tanh",
    },
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": 50,
        "n_positions": 64,
        "n_embd": 24,
        "n_layer": 2,
        "n_head": 3,
    },
    "bert": _ENCODER | {"architectures": ["BertModel"], "model_type": "bert"},
    "vit": _ENCODER
    | {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "image_size": 16,
        "patch_size": 8,
        "id2label": {"0": "cat", "1": "dog", "2": "owl"},
        "label2id": {"cat": 0, "dog": 1, "owl": 2},
    },
}
FIRST = {  # names that show what the others begin with
    "gpt2": ["transformer.wte.weight"],
    "bert": [],
    "vit": ["vit.layernorm.weight", "classifier.weight"],
}
IDS = (np.arange(12).reshape(2, 6) * 7 % 50).astype(np.int32)


def inputs_of(kind: str) -> np.ndarray:
    """What the model of a kind is run on."""
    if CONFIGS[kind]["model_type"] == "vit":
        return np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    return IDS


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random weights that depend on the tensor's name and shape alone."""
    values = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape) * 0.3
    is_scale = "norm" in name.lower() or ".ln_" in name
    return (values + (is_scale and name.endswith("weight"))).astype(np.float32)


def tensors(kind: str) -> dict[str, np.ndarray]:
    """All tensors of the checkpoint of a kind."""
    first = FIRST.get(kind, ["model.embed_tokens.weight"])
    architecture = architecture_of(CONFIGS[kind], first)
    return {
        name: fill(name, tuple(size_of(dim, architecture.sizes) for dim in dims))
        for name, dims in architecture.tensors().items()
    }


def write(folder: Path, kind: str, **changes: Any) -> Path:
    """Write the checkpoint of a kind, with fields of its configuration changed."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIGS[kind] | changes
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors(kind), folder / "model.safetensors", {"format": "pt"})
    return folder
