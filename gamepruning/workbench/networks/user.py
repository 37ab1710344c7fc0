"""What users bring: a network, named as `path.py:factory`, and weights."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.export import import_safetensors
from gamepruning.compaction.purity import check_rows_alone, state_of
from gamepruning.compaction.stablehlo import symbolic_problem
from gamepruning.compaction.user_network import UserNetwork, statistics_note
from gamepruning.files.python import told
from gamepruning.trees.paths import named_leaves
from gamepruning.trees.trainable import is_trainable
from gamepruning.types import InputError
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
    if problem := symbolic_problem(apply, params, [inputs]):
        notes.append(
            f"{spec} cannot be exported for any batch size: model.stablehlo will have "
            f"one. The cause: {problem} (write x.shape[0] for len(x))"
        )
    if state and network.train_apply is None:
        notes.append(statistics_note(spec, params, is_loaded=is_loaded))

    def shuffled(name, key, leaf):
        if leaf.ndim < 2 or name in state or not is_trainable(leaf):
            return leaf
        return jax.random.permutation(key, leaf.ravel()).reshape(leaf.shape)

    def init(key):
        leaves, treedef = named_leaves(params), jax.tree.structure(params)
        keys = jax.random.split(key, len(leaves))
        made = map(shuffled, leaves.keys(), keys, leaves.values())
        return jax.tree.unflatten(treedef, list(made))

    def as_in_use(params, x, key):
        return apply(params, x), params

    model = Model(
        name=f"{Path(path).name}:{factory}",
        init=network.init or init,
        apply=apply,
        train_apply=network.train_apply or as_in_use,
        is_plain=network.train_apply is None and not state,
        state=state,
    )
    return model, tuple(notes)


def load_weights(path: Path, like: Any) -> Any:
    """Read the weights of a `.safetensors` file or a run folder, in the form of `like`.

    It is an InputError if they are of another model, or not finite.
    """
    path = path / "dense.safetensors" if path.is_dir() else path
    params = import_safetensors(path, like=like)
    for name, leaf in named_leaves(params).items():
        if not np.isfinite(np.asarray(leaf, np.float64)).all():
            raise InputError(f"checkpoint {path} holds NaN or infinity in {name!r}")
    return params
