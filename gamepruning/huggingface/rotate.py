"""`rotate`: the residual stream along its principal components."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from gamepruning.huggingface.architecture import Architecture
from gamepruning.huggingface.checkpoint import Checkpoint, architecture_of
from gamepruning.huggingface.layers import check_tokens
from gamepruning.huggingface.llama import DEFAULTS
from gamepruning.huggingface.players import STREAM, find_players
from gamepruning.run.gated import Gated
from gamepruning.trace.primitives import MATRIX_PRODUCTS
from gamepruning.trace.program import Lit, Node
from gamepruning.types import InputError

# The norms of a layer, and the linear maps that read what they give.
NORMS = {
    "input_layernorm.weight": [f"self_attn.{x}_proj.weight" for x in "qkv"],
    "post_attention_layernorm.weight": [f"mlp.{x}_proj.weight" for x in ("gate", "up")],
}
HEAD = "lm_head.weight"
TOLERANCE = 1e-3  # of the largest output
AT_ONCE = 4  # sequences of a pass


class Rotated(NamedTuple):
    """A checkpoint whose stream lies along its principal components.

    Attributes:
      checkpoint: computes what the one before did; its norms have a scale of one, and
        its head is a matrix of its own.
      energy: the share of each entry in the mean square of what is read from the
        stream, in falling order, [D].
    """

    checkpoint: Checkpoint
    energy: Float[np.ndarray, " D"]

    def __repr__(self) -> str:
        half = int(np.searchsorted(np.cumsum(self.energy), 0.5)) + 1
        return f"Rotated({self.checkpoint!r}, half of the energy in {half} entries)"


def rotate(checkpoint: Checkpoint, input_ids: Int[ArrayLike, "B T"]) -> Rotated:
    """Turn the residual stream so that its first entries hold most of what is read.

    A root-mean-square norm does not see a rotation, once its scale is folded into the
    weights that read it. So the stream may be turned by any orthogonal matrix, here by
    the eigenvectors of the second moments of what is read from it, over all norms and
    tokens alike. Afterwards the first n entries are the ones to keep. There is one
    rotation for all layers, so that the small model is a standard one.

    Args:
      checkpoint: a Llama, Mistral, Qwen2, Qwen3 or Gemma with a language head.
      input_ids: calibration texts without padding.

    Returns:
      The rotated checkpoint, checked on some of the texts to give the same outputs. A
      head that was tied to the embedding is untied: it takes up the last norm's scale.

    Raises:
      InputError: the model has other norms, no head, or norms whose scale cannot be
        told from zero, or the outputs differ.

    Cost: a forward pass over the texts, and D^2 multiply-adds a token and norm.

    References:
      Ashkboos, Croci, Gennari do Nascimento, Hoefler, Hensman, SliceGPT, 2024,
      arXiv 2401.15024, which has a rotation for each block.
    """
    if not isinstance(checkpoint, Checkpoint):
        raise InputError(
            "expected a checkpoint, as gp.huggingface.load(folder) returns, got a "
            f"{type(checkpoint).__name__}"
        )
    architecture = architecture_of(checkpoint.config, checkpoint.params)
    check_tokens(architecture.sizes, input_ids)
    folded = _folded(checkpoint, architecture)
    texts = jnp.asarray(input_ids)
    moments = stream_moments(folded, texts)
    values, vectors = np.linalg.eigh(moments.mean(axis=0))
    values, vectors = values[::-1], vectors[:, ::-1]
    params = _turned(folded, vectors)
    found = folded._replace(params=params)
    few = texts[:1]
    one = jax.jit(checkpoint.apply)(checkpoint.params, few)
    two = jax.jit(found.apply)(params, few)
    error = float(abs(one - two).max() / abs(one).max())
    if not error <= TOLERANCE:
        raise InputError(
            f"the rotated model's outputs differ by {error:.1e} of the largest: load "
            'the checkpoint with dtype="float32"'
        )
    return Rotated(found, values / values.sum())


def _folded(checkpoint: Checkpoint, architecture: Architecture) -> Checkpoint:
    """The checkpoint with norms of scale one, and a head of its own."""
    kind = checkpoint.config["model_type"]
    if kind not in DEFAULTS:
        raise InputError(
            f"model_type {kind!r} has norms that see a rotation: expected one of "
            f"{', '.join(DEFAULTS)}, whose norms take the root mean square alone"
        )
    head = architecture.tied.get(HEAD, HEAD)
    if head not in checkpoint.params:
        raise InputError(
            "the model returns its residual stream, which must stay as it is: expected "
            "a model with a language head"
        )
    offset = 1 if kind == "gemma" else 0
    params = {**checkpoint.params, HEAD: checkpoint.params[head]}
    stem = architecture.stem
    prefix = stem.removesuffix("layers.")
    readers = {f"{prefix}norm.weight": [HEAD]}
    for k in range(architecture.sizes["layers"]):
        for norm, names in NORMS.items():
            readers[f"{stem}{k}.{norm}"] = [f"{stem}{k}.{name}" for name in names]
    for norm, names in readers.items():
        for name in names:
            params[name] = params[name] * (params[norm] + offset)[None]
        params[norm] = jnp.full_like(params[norm], 1 - offset)
    config = {**checkpoint.config, "tie_word_embeddings": False}
    apply = architecture_of(config, params).apply
    return checkpoint._replace(apply=apply, params=params, config=config)


def _turned(checkpoint: Checkpoint, basis: np.ndarray) -> dict[str, jax.Array]:
    """Tensors whose axes of the stream are turned into another basis, [D, D]."""
    tensors = architecture_of(checkpoint.config, checkpoint.params).tensors()
    params: dict[str, jax.Array] = {}
    for name, array in checkpoint.params.items():
        axes = [k for k, dim in enumerate(tensors[name]) if dim == (STREAM,)]
        is_norm = array.ndim == 1 and "norm" in name
        for axis in () if is_norm else axes:
            turned = jnp.tensordot(array, jnp.asarray(basis, array.dtype), (axis, 0))
            array = jnp.moveaxis(turned, -1, axis)
        params[name] = array
    return params


def stream_moments(
    checkpoint: Checkpoint, input_ids: Int[jax.Array, "B T"]
) -> Float[np.ndarray, "R D D"]:
    """Second moments of what linear maps read from the stream, the mean over tokens.

    Args:
      checkpoint: the model.
      input_ids: texts without padding.

    Returns:
      One matrix for each norm, in the order of the program.
    """
    players = find_players(checkpoint, input_ids[:1], kinds=STREAM)
    model = players.model

    @jax.jit
    def moments(params: Mapping[str, Any], tokens: Any) -> jax.Array:
        call = model.call(params, tokens)
        trace = model.trace(call)
        everyone = jnp.ones(players.num_players, bool)
        run = _Watching(trace.analysis, trace.columns, everyone)
        run.run(trace.program.graph, call.arrays)
        return jnp.stack(list(run.moments.values()))

    total = np.zeros(())
    for k in range(0, len(input_ids), AT_ONCE):
        tokens = input_ids[k : k + AT_ONCE]
        part = moments(checkpoint.params, tokens)
        total = total + np.asarray(part, np.float64) * len(tokens)
    return total / len(input_ids)


class _Watching(Gated):
    """A run that notes the second moments of what matrix products read, [D, D]."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.moments: dict[int, jax.Array] = {}

    def step(self, node: Node, args: list) -> list:
        """Note what is read; several products that read one value count once."""
        for operand, dim, _ in self.sites.get(node, ()):
            value = node.ins[operand]
            if node.name in MATRIX_PRODUCTS and not isinstance(value, Lit):
                rows = jnp.moveaxis(args[operand], dim, -1)
                rows = rows.reshape(-1, rows.shape[-1]).astype(jnp.float32)
                self.moments[value] = rows.T @ rows / len(rows)
        return super().step(node, args)
