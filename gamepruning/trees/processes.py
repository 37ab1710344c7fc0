"""The processes of a mesh: they run the same program, and share what each computes."""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from gamepruning.errors import LostProcess

_WORD = np.uint32


class Processes:
    """The processes whose devices make up a mesh.

    All of them call the same functions with the same arguments in the same order, as
    `jax.distributed` has it.

    Attributes:
      num: how many there are.
      index: the place of this one among them.
    """

    def __init__(self, devices: Sequence[Any]):
        """The processes of some devices, this one among them."""
        first: dict[int, Any] = {}
        for device in devices:
            first.setdefault(device.process_index, device)
        numbers = sorted(first)
        self.num = len(numbers)
        self.index = numbers.index(jax.process_index())
        self._device = first[numbers[self.index]]
        self._mesh = Mesh(np.array([first[k] for k in numbers]), ("processes",))

    def __repr__(self) -> str:
        return f"Processes({self.index} of {self.num})"

    @property
    def is_first(self) -> bool:
        """True for the one that writes and prints."""
        return self.index == 0

    def share(
        self, work: Callable[[np.ndarray], np.ndarray], rows: np.ndarray
    ) -> np.ndarray:
        """work(rows), of which each process does an equal part.

        Args:
          work: some of the rows -> an array, one entry of axis 0 for each of them.
          rows: the same on every process, at least one.

        Returns:
          The same on every process, bit for bit what one alone would have found.
        """
        each = -(-len(rows) // self.num)
        padded = rows[np.minimum(np.arange(each * self.num), len(rows) - 1)]
        mine = work(padded[self.index * each : (self.index + 1) * each])
        return self.gather(mine).reshape(-1, *mine.shape[1:])[: len(rows)]

    def gather(self, own: np.ndarray) -> np.ndarray:
        """The arrays of all processes, [processes, ...]; they have one shape and type.

        Raises:
          LostProcess: another process has ended.
        """
        parts = self._exchange(np.ascontiguousarray(own).tobytes())
        size = own.nbytes
        return np.stack(
            [np.frombuffer(part[:size], own.dtype).reshape(own.shape) for part in parts]
        )

    def broadcast(self, content: bytes) -> bytes:
        """What the first process has; the others may hand in anything.

        No device holds more than two copies of it, however many processes there are.

        Raises:
          LostProcess: another process has ended.
        """
        (size, *_) = self.gather(np.array(len(content), np.int64))
        own = content if self.is_first else b""
        parts = self._lay_out(own.ljust(int(size), b"\0"))
        with together():
            found = np.asarray(summing(self._mesh)(parts))
        return found.tobytes()[: int(size)]

    def first(self, tree: PyTree) -> PyTree:
        """The first process's arrays and numbers; the others have as many, as large.

        Raises:
          LostProcess: another process has ended.
        """
        leaves, treedef = jax.tree.flatten(tree)
        arrays = [np.ascontiguousarray(leaf) for leaf in leaves]
        content = self.broadcast(b"".join(array.tobytes() for array in arrays))
        found, start = [], 0
        for leaf, array in zip(leaves, arrays, strict=True):
            part = content[start : start + array.nbytes]
            own = np.frombuffer(part, array.dtype).reshape(np.shape(leaf)).copy()
            found.append(own if np.ndim(leaf) else own.item())
            start += array.nbytes
        return jax.tree.unflatten(treedef, found)

    def agree(self, *arrays: np.ndarray) -> bool:
        """Return True if all processes hand in the same arrays, on every one of them.

        Raises:
          LostProcess: another process has ended.
        """
        code = 0
        for array in arrays:
            code = zlib.crc32(f"{array.shape} {array.dtype}".encode(), code)
            code = zlib.crc32(array.tobytes(), code)
        return len(np.unique(self.gather(np.array([code], np.int64)))) == 1

    def _exchange(self, own: bytes) -> list[bytes]:
        """The bytes of all processes, of one length."""
        parts = self._lay_out(own)
        with together():
            found = replicate(parts, self._mesh)
        return [row.tobytes() for row in found]

    def _lay_out(self, own: bytes) -> jax.Array:
        """A row for each process, padded to a power of two.

        So that few lengths are compiled. They travel as whole numbers, which no device
        rounds.
        """
        words = -(-len(own) // _WORD().nbytes)
        length = 1 << max(words - 1, 0).bit_length()
        padded = np.frombuffer(own.ljust(length * _WORD().nbytes, b"\0"), _WORD)
        split = NamedSharding(self._mesh, PartitionSpec("processes"))
        here = jax.device_put(padded[None], self._device)
        shape = (self.num, length)
        return jax.make_array_from_single_device_arrays(shape, split, [here])


@contextmanager
def together() -> Iterator[None]:
    """Say in one line that another process has ended, where that is the error.

    Raises:
      LostProcess: what the runtime says when a peer does not answer.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # either, by the moment
        told = (str(error).splitlines() or [""])[0]
        is_runtime = _CODE.match(told) or not isinstance(error, ValueError)
        if not is_runtime or not any(word in told.lower() for word in _LOST):
            raise
        if "initialization failed" in told:  # gloo waits half a minute, but only here
            raise LostProcess(
                "the other processes did not come to the first exchange in time: let "
                "all of them exchange something early, as "
                "jax.experimental.multihost_utils.sync_global_devices('start') does"
            ) from None
        raise LostProcess(
            f"another process has ended, so this one does, too: {told:.200}; start all "
            "of them again, a run with a checkpoint resumes"
        ) from None


_CODE = re.compile(r"[A-Z_]+: ")  # the runtime's errors begin with one
_LOST = ("gloo", "nccl", "connection", "peer", "heartbeat", "coordination", "timed out")


def replicate(array: jax.Array, mesh: Mesh) -> np.ndarray:
    """The whole of an array whose parts lie on the devices of a mesh."""
    return np.asarray(laid_out(array, NamedSharding(mesh, PartitionSpec())))


def laid_out(array: jax.Array, sharding: NamedSharding) -> jax.Array:
    """The array with another sharding of the same devices, also of other processes."""
    return _laying_out(sharding)(array)


@lru_cache(maxsize=64)
def _laying_out(sharding: NamedSharding) -> jax.stages.Wrapped:
    return jax.jit(_same, out_shardings=sharding)


@lru_cache(maxsize=64)
def summing(mesh: Mesh) -> jax.stages.Wrapped:
    """The sum of rows, words [P, L], one on each device: whole on all of them."""
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.jit(lambda rows: jnp.sum(rows, 0, dtype=_WORD), out_shardings=whole)


def _same(array: jax.Array) -> jax.Array:
    return array


def to_host(array: Any) -> np.ndarray:
    """The whole array here, wherever its parts lie; all processes have to ask."""
    is_here = not isinstance(array, jax.Array) or array.is_fully_addressable
    if is_here or array.is_fully_replicated:
        return np.asarray(array)
    return replicate(array, array.sharding.mesh)  # type: ignore[attr-defined]
