"""Looking at networks and plans without training anything."""

from pathlib import Path

import jax
import jax.numpy as jnp

from gamepruning.compaction.export import export_safetensors, import_safetensors
from gamepruning.compaction.measure import count_params
from gamepruning.compaction.plan import Plan
from gamepruning.players import Players, find_players
from gamepruning.types import InputError
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.job.task import EXAMPLES, workbench_network
from gamepruning.workbench.settings import PruneSettings
from gamepruning.workbench.usermodule import load_user_network


def find_players_of(
    settings: PruneSettings, *, granularity: str = "unit", reductions: str = "freeze"
) -> Players:
    """The players of a network of the workbench, or of a user's own.

    Args:
      settings: which network; for those of the workbench also which data.
      granularity: what is a player: "unit", "layer" or "weight".
      reductions: "freeze" or "gate"; see `find_players`.

    Returns:
      The players.

    Raises:
      InputError: there is no such network or data, or nothing can leave.
    """
    if settings.module:
        apply, params, inputs = load_user_network(settings.module)
    else:
        dataset = load_dataset(settings.dataset, data_dir=settings.data_dir, seed=0)
        network = workbench_network(settings, dataset)
        apply = network.apply
        params = jax.eval_shape(network.fresh, jax.random.key(0))
        shape = (EXAMPLES, *dataset.input_shape)
        inputs = (jax.ShapeDtypeStruct(shape, jnp.float32),)
    return find_players(
        apply, params, *inputs, granularity=granularity, reductions=reductions
    )


def cut_checkpoint(plan: Path, checkpoint: Path, out: Path) -> str:
    """Apply a plan to a checkpoint and write the small one.

    Args:
      plan: a `plan.json`.
      checkpoint: `.safetensors` of the full network.
      out: the `.safetensors` to write; it must not exist.

    Returns:
      One line that says what was done.

    Raises:
      InputError: a file is missing or damaged, exists already, or is for another model.
    """
    if out.exists():
        raise InputError(f"{out} exists: name another file with --out")
    made = Plan.load(plan)
    params = import_safetensors(checkpoint)
    small = made.apply(params)
    export_safetensors(small, out)
    before, after = count_params(params), count_params(small)
    return f"{out}: {after:,} of {before:,} parameters stay"
