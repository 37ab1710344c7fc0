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
from gamepruning.workbench.networks.models import MODELS
from gamepruning.workbench.networks.user import UserNetwork, load_user_network
from gamepruning.workbench.settings.base import flag_of
from gamepruning.workbench.settings.parts import DataSettings, NetworkSettings
from gamepruning.workbench.training.task import EXAMPLES, workbench_network

NUM_OUTPUTS = 10  # of a network that no data are named for


def explained_network(
    chosen: NetworkSettings, dataset: str | None, data: DataSettings
) -> UserNetwork:
    """A network of the workbench, by shapes alone, or a user's own.

    Args:
      chosen: which network.
      dataset: whose inputs it reads; None for inputs of the size it was made for.
      data: how the data set is read.

    Returns:
      The network with example inputs.

    Raises:
      InputError: there is no such network or data, or they do not fit each other.
    """
    for name, _ in data.given():
        if dataset is None:
            flag = flag_of(name)
            raise InputError(f"{flag} goes with --dataset: name one, or leave it out")
    if chosen.module is None:
        return _by_shapes(chosen, dataset, data)
    if dataset is not None:
        raise InputError(
            "--module brings its own inputs, which --dataset does not change: leave "
            "one of them out"
        )
    return load_user_network(chosen.module)


def _by_shapes(
    chosen: NetworkSettings, dataset: str | None, data: DataSettings
) -> UserNetwork:
    if dataset is None:
        kind = MODELS.get(chosen.name)
        shape, num_outputs = kind.example if kind else (), NUM_OUTPUTS
    else:
        read = load_dataset(dataset, data_dir=data.data_dir, seed=0, **data.options())
        shape, num_outputs = read.input_shape, read.num_outputs
    network = workbench_network(chosen, shape, num_outputs)
    params = jax.eval_shape(network.init, jax.random.key(0))
    inputs = jax.ShapeDtypeStruct((EXAMPLES, *shape), jnp.float32)
    return UserNetwork(network.apply, params, (inputs,))


def find_players_of(
    network: UserNetwork, *, granularity: str = "unit", reductions: str = "freeze"
) -> Players:
    """The players of a network, as `find_players` finds them in its example inputs.

    Raises:
      InputError: nothing can leave.
    """
    return find_players(
        network.apply,
        network.params,
        *network.inputs,
        granularity=granularity,
        reductions=reductions,
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
