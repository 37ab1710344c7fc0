"""How many players stay."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from gamepruning.compaction.latency import LatencySize, latency_of
from gamepruning.equilibrium import Budget
from gamepruning.errors import InputError
from gamepruning.players import Players, Size, size_of
from gamepruning.selection import SizeLimit, limit_size, top_n
from gamepruning.selection.curves import possible_sizes
from gamepruning.selection.top_n import as_count
from gamepruning.workbench.settings.prune import SizeSettings
from gamepruning.workbench.settings.studies import SIZES
from gamepruning.workbench.training.task import EXAMPLES, Task

LATENCY_BATCH = 1000
# of what the trace counted: multiply-adds of all its examples, or nanoseconds
PER_SIZE = {"macs": EXAMPLES, "latency": 10**6}


def fit_sizes(
    sizes: tuple[float, ...], players: Players, *own: float
) -> tuple[float, ...]:
    """The sizes and one's own, without defaults that a small network cannot have."""
    if sizes == SIZES:
        sizes = possible_sizes((*SIZES, *own), players) or SIZES
    return tuple(sorted({*sizes, *own})) if own else sizes


def measure_latency(task: Task, path: Path) -> Task:
    """The task, and the time of its network by who stays: read, or else measured."""
    if jax.process_count() > 1:
        raise InputError(
            "--unit latency is measured by one process: drop --distributed"
        )
    if path.is_file():  # of a run that is resumed, which is to choose alike
        return task._replace(latency=LatencySize.load(path))
    found = latency_of(task.players, task.dataset.train.inputs[:LATENCY_BATCH])
    return task._replace(latency=found)


def limit_of(task: Task, size: SizeSettings) -> SizeLimit | None:
    """The limit that --unit and --speed-up mean; None where players are counted.

    Multiply-adds are those of one example, of which the trace saw several.
    """
    if size.counted == "players" or not size.is_given:
        return None
    check_round_to(task.players, size)
    count, per = _size_of(task, size).count, PER_SIZE.get(size.counted, 1)
    keep: Any = size.target  # no count for each family, which counts players
    try:
        scaled = lambda mask: count(mask) / per  # noqa: E731
        return limit_size(task.players, scaled, keep, round_to=size.round_to)
    except InputError as error:
        raise InputError(f"{size.told}: {error}") from error


def game_budget(task: Task, size: SizeSettings) -> Budget:
    """What the equilibrium game may keep; of multiply-adds those of all examples."""
    limit, keep = limit_of(task, size), size.target
    if limit is not None and (size.speed_up or isinstance(keep, int)):
        keep = int(limit.limit * PER_SIZE.get(size.counted, 1))
    unit: Any = "players" if limit is None else _size_of(task, size)
    return Budget(keep=keep, unit=unit)


def _size_of(task: Task, size: SizeSettings) -> Size:
    return size_of(task.players, task.latency or size.counted)


def check_keep(players: Players, size: SizeSettings) -> int | tuple[int, ...]:
    """A count, or one for each family; raises `InputError` if it cannot be met."""
    check_round_to(players, size)
    keep, families = size.target, len(players.families)
    if isinstance(keep, float):
        keep = as_count(keep, players.num_players)
    least, nobody = size.round_to * families, np.zeros(players.num_players)
    if isinstance(keep, int) and keep < least:
        raise InputError(
            f"--keep {size.keep} keeps {keep}, fewer than the {least} that {families} "
            f"families keep with {size.round_to} each"
        )
    try:
        top_n(nobody, keep, players=players, round_to=size.round_to)
    except InputError as error:
        raise InputError(f"--keep {size.keep}: {error}") from error
    return keep


def check_round_to(players: Players, size: SizeSettings) -> None:
    """Raise `InputError` if a family has fewer players than --round-to keeps."""
    smallest = min(players.families, key=lambda family: family.size)
    if size.round_to > smallest.size:
        raise InputError(
            f"--round-to {size.round_to} is more than the {smallest.size} players of "
            f"{smallest.name}"
        )


def counts_of(players: Players, mask: np.ndarray) -> tuple[int, ...]:
    """How many stay in each family."""
    return tuple(int(mask[f.start : f.stop].sum()) for f in players.families)
