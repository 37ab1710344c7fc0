"""Several processes that run one command: the first writes, the others work along.

Each of the others has a folder of its own that disappears in the end. An interrupted
run is resumed from the first one's folder, which all of them get a copy of.
"""

import contextlib
import io
import math
import os
import tarfile
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from gamepruning.errors import InputError
from gamepruning.files.run_folder import RunFolder
from gamepruning.trees.arrays import map_arrays
from gamepruning.trees.layout import COALITIONS, over_mesh
from gamepruning.trees.processes import Processes

WAIT = 300  # seconds for all of them to come
COMMANDS = ("prune", "bands", "curve", "sweep")


class Address(NamedTuple):
    """Where processes meet; what is None is read from the cluster's environment.

    Attributes:
      coordinator: host:port of the first process.
      num_processes: how many there are.
      process_id: which this one is, from 0.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def join_processes(address: Address) -> None:
    """Become one of several processes; before anything is computed.

    Raises:
      InputError: there is no cluster that JAX knows and the address is not whole, or
        the others do not come.
    """
    num, index = address.num_processes, address.process_id
    if num is not None and index is not None and not 0 <= index < num:
        raise InputError(
            f"expected --process-id from 0 to {num - 1}, for --num-processes {num}, "
            f"got {index}"
        )
    try:
        jax.distributed.initialize(
            address.coordinator, num, index, initialization_timeout=WAIT
        )
    except (ValueError, RuntimeError) as error:
        told = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"--distributed found no other processes ({told:.200}): give --coordinator "
            "HOST:PORT, --num-processes N and --process-id K, or start it by Slurm, "
            "GKE or Open MPI"
        ) from None
    _exchange_early()


def _exchange_early() -> None:
    """Let the processes find each other: later, gloo waits half a minute for the last.

    Once by the first device of each, and once by all devices.
    """
    mesh, split = shared_mesh(), PartitionSpec(COALITIONS)
    if mesh is None:
        return
    Processes(list(mesh.devices.flat)).gather(np.zeros(1))
    layout = over_mesh(mesh, COALITIONS)
    layout.fetch([layout.put(np.zeros(mesh.size, np.float32), split)], axis=0)


def shared_mesh() -> Mesh | None:
    """A mesh of all devices for coalitions; None where there is one process."""
    if jax.process_count() == 1:
        return None
    return Mesh(np.asarray(jax.devices()), (COALITIONS,))


def own_share(tree: Any) -> Any:
    """This process's part of axis 0 of each array, as long as that of any other.

    The last rows stand in where there are too few.

    Example:
      >>> own_share(np.arange(3)).tolist()  # of one process
      [0, 1, 2]
    """
    num, index = jax.process_count(), jax.process_index()

    def share(leaf: np.ndarray) -> np.ndarray:
        each = -(-len(leaf) // num)
        rows = np.arange(index * each, (index + 1) * each)
        return leaf[np.minimum(rows, len(leaf) - 1)]

    return jax.tree.map(share, tree) if num > 1 else tree


def gather_shares(tree: Any, length: int) -> Any:
    """The whole of what each process has `own_share` of.

    Args:
      tree: arrays of this process's part.
      length: of axis 0 of the whole.

    Raises:
      LostProcess: another process has ended.
    """
    if jax.process_count() == 1:
        return tree
    processes = Processes(jax.devices())

    def gather(leaf: np.ndarray) -> np.ndarray:
        found = processes.gather(np.asarray(leaf))
        return found.reshape(-1, *leaf.shape[1:])[:length]

    return jax.tree.map(gather, tree)


def of_first_process(tree: Any) -> Any:
    """The arrays of the first process, on all of them; sent leaf by leaf.

    Accelerators do not promise that the same training ends in the same bits.

    Args:
      tree: arrays of the same shapes on every process; other leaves stay.

    Raises:
      LostProcess: another process has ended.
    """
    if jax.process_count() == 1:
        return tree
    processes = Processes(jax.devices())

    def first(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            numbers = first(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
        return jnp.asarray(processes.first(np.asarray(leaf)), leaf.dtype)

    return map_arrays(first, tree)


def mean_finite(value: Any) -> float:
    """The mean of a number over the processes where it is finite; NaN if it is on none.

    Raises:
      LostProcess: another process has ended.

    Example:
      >>> mean_finite(np.float32(0.5))  # of one process
      0.5
    """
    own = np.array(float(value))
    if jax.process_count() == 1:
        return float(own)
    found = Processes(jax.devices()).gather(own)
    finite = found[np.isfinite(found)]
    return float(finite.mean()) if finite.size else math.nan


@contextlib.contextmanager
def working_together(
    command: str,
    out: Path | None,
    resume: bool,
    is_distributed: bool,
    address: Address,
) -> Iterator[Path | None]:
    """Where this process works: `out` in the first, a folder that disappears elsewhere.

    Args:
      command: such as "prune".
      out: the folder of the run.
      resume: True if it is begun; the others get a copy of it then.
      is_distributed: False for one process alone, which works in `out`.
      address: where the processes meet.

    Raises:
      InputError: see `join_processes`; or the command is one for a single process.
      LostProcess: another process has ended.
    """
    if not is_distributed:
        if any(part is not None for part in address):
            raise InputError(
                "--coordinator, --num-processes and --process-id go with --distributed"
            )
        yield out
        return
    if command not in COMMANDS:
        raise InputError(
            f"--distributed is for {', '.join(COMMANDS)}: run {command} by one process"
        )
    join_processes(address)
    processes = Processes(jax.devices())
    begun = b""
    if resume:
        if command == "sweep":
            raise InputError("a sweep of several processes cannot resume: start anew")
        is_there = processes.is_first and out is not None
        begun = processes.broadcast(_pack(out) if is_there and out else b"")
    if processes.is_first:
        yield out
        return
    warnings.simplefilter("ignore")  # the first one tells
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as nowhere:
        own = Path(name) / "run"
        if begun:
            _unpack(begun, RunFolder(own, resume).partial)
        with contextlib.redirect_stdout(nowhere):
            yield own


def _pack(out: Path) -> bytes:
    """The folder of an interrupted run; nothing if there is none."""
    partial, content = RunFolder(out, True).partial, io.BytesIO()
    if not partial.is_dir():
        return b""
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(partial, arcname=".")
    return content.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
