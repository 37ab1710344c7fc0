"""Looking at networks and plans without training anything."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from gamepruning.compaction.export import export_safetensors, import_safetensors
from gamepruning.compaction.measure import count_params
from gamepruning.compaction.plan import Plan
from gamepruning.compaction.user_network import UserNetwork, load_user_network
from gamepruning.errors import InputError
from gamepruning.files.python import told_own
from gamepruning.players import Players, find_players
from gamepruning.spelling import flag_of
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import MODELS
from gamepruning.workbench.settings.parts import DataSettings, NetworkSettings
from gamepruning.workbench.training.task import EXAMPLES, workbench_network

NUM_OUTPUTS = 10  # of a network that no data are named for


def explained_players(
    chosen: NetworkSettings, dataset: str | None, data: DataSettings, **options: Any
) -> Players:
    """The players of a network, with options of `find_players`.

    The network is one of the workbench, by shapes alone, or a user's own. It reads
    inputs of a data set, or else of the size that it was made for.

    Raises:
      InputError: there is no such network or data, they do not fit each other, or
        nothing can leave.
    """
    for name in data.given() if dataset is None else ():
        flag = flag_of(name)
        raise InputError(f"{flag} goes with --dataset: name one, or leave it out")
    if (spec := chosen.module) is not None and dataset is not None:
        raise InputError(
            "--module brings its own inputs, which --dataset does not change: leave "
            "one of them out"
        )
    network = load_user_network(spec) if spec else _by_shapes(chosen, dataset, data)
    with told_own(spec):
        return find_players(network.apply, network.params, *network.inputs, **options)


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


def cut_checkpoint(plan: Path, checkpoint: Path, out: Path) -> str:
    """Apply a `plan.json` to a `.safetensors` of the full network; say so in a line.

    Raises:
      InputError: a file is missing or damaged, `out` exists, or the plan is for another
        model.
    """
    if out.exists():
        raise InputError(f"{out} exists: name another file with --out")
    made, params = Plan.load(plan), import_safetensors(checkpoint)
    small = made.apply(params)
    export_safetensors(small, out)
    before, after = count_params(params), count_params(small)
    return f"{out}: {after:,} of {before:,} parameters stay"
