"""A user's network, named as `path.py:factory`, as one of the workbench's."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from gamepruning.compaction.purity import check_rows_alone, state_of
from gamepruning.compaction.stablehlo import symbolic_problem
from gamepruning.compaction.user_network import (
    UserNetwork,
    probabilities_note,
    start_of,
    statistics_note,
)
from gamepruning.files.python import told
from gamepruning.workbench.networks.models import Model


def as_model(
    spec: str, network: UserNetwork, inputs: Any, *, is_loaded: bool
) -> tuple[Model, tuple[str, ...]]:
    """A user's network as one of the workbench's, and notes on it, or an `InputError`.

    A new start draws on the parameters that the factory returned: the entries of each
    matrix or kernel in a new random order.

    Args:
      spec: where it comes from.
      network: what the factory returned.
      inputs: some examples of the data, in the shape that it reads.
      is_loaded: other weights take the place of the factory's.
    """
    apply, params = network.apply, jax.tree.map(jnp.asarray, network.params)
    network, notes = network._replace(params=params), []
    path, _, factory = spec.rpartition(":")
    with told(f"{spec}: apply(params, inputs) failed", path):
        check_rows_alone(apply, params, inputs)
    with told(f"{spec}: train_apply(params, inputs, key) failed", path):
        state = state_of(network.train_apply, params, inputs)
    if network.loss is None:
        notes += probabilities_note(spec, apply(params, inputs))
    if problem := symbolic_problem(apply, params, [inputs]):
        notes.append(
            f"{spec} cannot be exported for any batch size: model.stablehlo will have "
            f"one. The cause: {problem} (write x.shape[0] for len(x))"
        )
    if state and network.train_apply is None:
        notes.append(statistics_note(spec, params, is_loaded=is_loaded))

    def as_in_use(params, x, key):
        return apply(params, x), params

    model = Model(
        name=f"{Path(path).name}:{factory}",
        init=start_of(spec, network, state),
        apply=apply,
        train_apply=network.train_apply or as_in_use,
        is_plain=network.train_apply is None and not state,
        state=state,
    )
    return model, tuple(notes)
