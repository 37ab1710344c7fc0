"""Folders of Hugging Face: config.json, and safetensors whole or in shards."""

import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.export import DTYPES
from gamepruning.types import InputError

CONFIG, WHOLE, INDEX = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
)
_POINTER = b"version https://git-lfs"
Arrays = dict[str, np.ndarray]


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What config.json says.

    Raises:
      InputError: there is no such file, or it is no JSON object.
    """
    return _read_json(Path(folder), CONFIG)


def read_tensors(folder: str | os.PathLike[str]) -> Arrays:
    """All tensors of a folder, mapped from the disk: nothing is read before it is used.

    Raises:
      InputError: a file is missing or damaged.
    """
    folder = Path(folder)
    if (folder / WHOLE).is_file():  # first, as transformers does
        return _read_file(folder / WHOLE)
    if (folder / INDEX).is_file():
        return _read_shards(folder)
    other = next(iter(sorted(folder.glob("*.bin"))), None)
    mend = f"; {other.name} must be converted to safetensors first" if other else ""
    raise InputError(f"{folder} has neither {WHOLE} nor {INDEX}{mend}")


def _read_shards(folder: Path) -> Arrays:
    places = _read_json(folder, INDEX).get("weight_map")
    if not isinstance(places, dict):
        raise InputError(f"{folder / INDEX} has no 'weight_map'")
    if other := [file for file in places.values() if not isinstance(file, str)]:
        raise InputError(f"{folder / INDEX} has {other[0]!r} for the name of a file")
    files = sorted(set(places.values()))
    if gone := [file for file in files if not (folder / file).is_file()]:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise InputError(f"{folder} lacks {gone[0]}{more}, which {INDEX} names")
    shards = {file: _read_file(folder / file) for file in files}
    for name, file in places.items():
        if name not in shards[file]:
            raise InputError(f"{folder / file} lacks {name!r}, which {INDEX} places")
    return {name: shards[file][name] for name, file in places.items()}


def _read_file(path: Path) -> Arrays:
    """The tensors of a safetensors file: a length, a JSON header, and the data."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if data[: len(_POINTER)] == _POINTER:
            raise InputError(
                f"{path} is a pointer of Git LFS, not the file itself: run `git lfs "
                "pull` there"
            )
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        return {
            name: _array(data, start, name, entry)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {error}") from error


def _array(data: mmap.mmap, start: int, name: str, entry: Mapping) -> np.ndarray:
    if entry["dtype"] not in DTYPES:
        raise InputError(
            f"{name!r} has the type {entry['dtype']}, which is not supported"
        )
    dtype = jnp.dtype(DTYPES[entry["dtype"]])
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    count = int(np.prod(shape, dtype=np.int64))
    if end - begin != count * dtype.itemsize:
        raise ValueError(f"{name!r} of shape {shape} has {end - begin} bytes")
    return np.frombuffer(data, dtype, count, start + begin).reshape(shape)


def write_tensors(folder: Path, tensors: Mapping[str, Any], shard_bytes: int) -> None:
    """Write tensors into a folder: one file, or shards and their index.

    Args:
      folder: it exists.
      tensors: arrays by name.
      shard_bytes: the most bytes of one file, unless one tensor alone has more.
    """
    from safetensors.numpy import save_file

    shards = _partition(tensors, shard_bytes)
    total = len(shards)
    files = [f"model-{k + 1:05d}-of-{total:05d}.safetensors" for k in range(total)]
    if total == 1:
        files = [WHOLE]
    for file, names in zip(files, shards, strict=True):
        # safetensors writes memory as it lies: it must lie in C order.
        shard = {name: np.asarray(tensors[name], order="C") for name in names}
        save_file(shard, folder / file, metadata={"format": "pt"})
    if total > 1:
        places = {n: f for f, names in zip(files, shards, strict=True) for n in names}
        size = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": size}, "weight_map": places}
        write_json(folder / INDEX, index)


def _partition(tensors: Mapping[str, Any], shard_bytes: int) -> list[list[str]]:
    """The names of the tensors of each file."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, tensor in tensors.items():
        if shards[-1] and filled + tensor.nbytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += tensor.nbytes
    return shards


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except OSError as error:
        if folder.is_file():
            raise InputError(
                f"expected the model's folder, got the file {folder}"
            ) from error
        if not folder.is_dir():
            raise InputError(
                f"there is no folder {folder}: download a model first, by `hf download "
                "NAME --local-dir FOLDER`"
            ) from error
        raise InputError(
            f"{folder} has no {name}: expected a folder of Hugging "
            f"Face, with {CONFIG} and {WHOLE}"
        ) from error
    except ValueError as error:
        raise InputError(f"{folder / name} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{folder / name} holds no JSON object")
    return content
