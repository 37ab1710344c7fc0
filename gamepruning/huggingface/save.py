"""`save`: a smaller model as a folder of Hugging Face."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gamepruning.compaction import CompactModel
from gamepruning.files.atomic import new_folder
from gamepruning.huggingface.architecture import Config
from gamepruning.huggingface.checkpoint import Checkpoint, architecture_of
from gamepruning.huggingface.files import CONFIG, write_json, write_tensors
from gamepruning.huggingface.fit import fit
from gamepruning.types import InputError

TOLERANCE = 1e-4  # of the largest output
SHARD_BYTES = 5_000_000_000
# Beside tokenizers, templates and ways to generate, which are copied.
_NOT_COPIED = re.compile(
    r"config\.json|README\.md|\..*|.*\.index\.json"
    r"|.*\.(safetensors|bin|pt|pth|h5|msgpack|onnx|gguf|ot)"
)
_FOLDERS = re.compile(r"\d+_\w+")  # of sentence-transformers


def save(
    folder: str | os.PathLike[str],
    small: CompactModel | Checkpoint | Mapping[str, Any],
    checkpoint: Checkpoint | Config | None = None,
    *,
    pad: bool = False,
    source: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Write a smaller model as a folder of Hugging Face.

    The sizes are read off the tensors, and the fields of `config.json` follow. What
    `compact` returned is run at the new configuration and must compute the same.

    Args:
      folder: where; it must be new or empty, unless `overwrite`.
      small: what `compact` or `drop_layers` returned, or tensors by the checkpoint's
        names.
      checkpoint: the checkpoint that it was made of, or its configuration; not needed
        for one that is a checkpoint itself.
      pad: fill layers up with weights that are zero, to the sizes of the largest layer
        and to sizes that a configuration can express; the outputs are the same.
      source: the folder whose tokenizer and other small files are copied; by default
        that of the checkpoint.
      overwrite: replace a folder that holds such a model.
      shard_bytes: the most bytes of one file.

    Returns:
      The folder.

    Raises:
      InputError: no configuration has the sizes of the model, or computes what it
        computes; tensors are missing; the folder exists, or cannot be written.
    """
    if checkpoint is None and isinstance(small, Checkpoint):
        checkpoint = small
    if isinstance(checkpoint, Checkpoint):
        before, rest = checkpoint.config, checkpoint.rest
        source = checkpoint.folder if source is None else source
    elif isinstance(checkpoint, Mapping):
        before, rest = checkpoint, {}
    else:
        raise InputError(
            "expected the checkpoint that the small model was made of, or its "
            "configuration: save(folder, small, checkpoint)"
        )
    _check_arguments(folder, small, source, overwrite, shard_bytes)
    whole = isinstance(small, CompactModel | Checkpoint)
    params, config = fit(_left(small.params if whole else small), before, pad=pad)
    if isinstance(small, CompactModel):
        _verify(small, params, config)
    _check_rest(rest, before, config)
    with new_folder(
        folder, may_replace=lambda path: overwrite and _is_model_alone(path)
    ) as temporary:
        temporary.mkdir()
        if source is not None:
            _copy_others(Path(source), temporary)
        write_json(temporary / CONFIG, config)
        write_tensors(temporary, {**params, **rest}, shard_bytes)
    return Path(folder)


def _is_model_alone(folder: Path) -> bool:
    """True if a folder holds a model and nothing that `save` would not write.

    Raises:
      InputError: the name of what would be lost.
    """
    if not (folder / CONFIG).is_file():
        return False
    for path in sorted(folder.iterdir()):
        is_known = path.is_file() or _FOLDERS.fullmatch(path.name)
        if not is_known:
            raise InputError(
                f"{folder} holds {path.name}, too, which would be lost: move it away, "
                "or name a new folder"
            )
    return True


def _left(params: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors without those of which nothing is left, as of a branch."""
    return {name: x for name, x in params.items() if np.size(x) or not np.ndim(x)}


def _check_arguments(
    folder: Any, small: Any, source: Any, overwrite: bool, shard_bytes: Any
) -> None:
    """Check what can be checked before anything is computed."""
    if not isinstance(folder, str | os.PathLike):
        raise InputError(
            f"expected save(folder, small, checkpoint), got a {type(folder).__name__} "
            "for the folder"
        )
    if not isinstance(small, CompactModel | Checkpoint | Mapping):
        raise InputError(
            "expected what compact or drop_layers returned, or tensors by name, got a "
            f"{type(small).__name__}"
        )
    if not isinstance(shard_bytes, int) or shard_bytes < 1:
        raise InputError(
            f"expected shard_bytes as an integer of at least 1, got {shard_bytes!r}"
        )
    if not overwrite and (Path(folder) / CONFIG).is_file():
        raise InputError(
            f"{folder} holds a model already: name a new folder, or give overwrite=True"
        )
    if source is not None and not Path(source).is_dir():
        raise InputError(
            f"there is no folder {source} to copy the tokenizer from: give "
            "source=FOLDER, or checkpoint._replace(folder=None) to copy none"
        )


def _check_rest(rest: Mapping[str, Any], before: Config, config: Config) -> None:
    """Check that tensors which are written as they are still fit."""
    name = next((field for field in ("hidden_size", "n_embd") if field in before), "")
    if rest and name and before[name] != config[name]:
        raise InputError(
            f"{next(iter(rest))!r} is not run here and still has {name} "
            f"{before[name]}, which is {config[name]} now: give the checkpoint "
            "without it, checkpoint._replace(rest={})"
        )


def _verify(small: CompactModel, params: Mapping[str, Any], config: Config) -> None:
    """Check that the configuration computes what the small model does."""
    inputs = small.report.small_inputs
    if inputs is None:
        return
    own, params, inputs = map(_wide, (small.params, params, inputs))
    one = np.asarray(jax.jit(small.apply)(own, *inputs))
    apply = architecture_of(config, params).apply
    two = np.asarray(jax.jit(apply)(params, *inputs))
    error = float(np.abs(one - two).max() / max(np.abs(one).max(), 1e-30))
    if not error <= TOLERANCE:
        raise InputError(
            f"the outputs at the new configuration differ by {error:.1e} of the "
            "largest from those of the small model: players left that no "
            "configuration can do without, such as dimensions of heads; let them stay, "
            "by gp.huggingface.find_players"
        )


def _wide(tree: Any) -> Any:
    """Arrays of half a precision in float32, in which two orders of sums agree."""
    kinds = (jax.numpy.bfloat16, jax.numpy.float16)
    return jax.tree.map(
        lambda x: x.astype(np.float32) if jax.numpy.asarray(x).dtype in kinds else x,
        tree,
    )


def _copy_others(source: Path, folder: Path) -> None:
    """Copy the small files of a folder: those of tokenizers, and their like."""
    for path in sorted(source.iterdir()):
        if path.is_dir() and _FOLDERS.fullmatch(path.name):
            shutil.copytree(path, folder / path.name)
        elif path.is_file() and not _NOT_COPIED.fullmatch(path.name):
            shutil.copyfile(path, folder / path.name)
