"""Networks of one size, arrived at in different ways and trained alike.

Whoever is compared has the same number of players in every family, starts from the same
dense network (or, from scratch, from a new one), and gets the same epochs, batches,
optimizer and fine-tuning.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.compact import CompactModel, compact_or_keep
from gamepruning.compaction.gates import TOLERANCE, Absorbed, run_gated
from gamepruning.compaction.slicing import slice_tree
from gamepruning.compaction.start import fit_variance
from gamepruning.compaction.user_network import ignore_unread
from gamepruning.compaction.verify import relative_error
from gamepruning.run.batches import predict
from gamepruning.trees.paths import named_shapes
from gamepruning.workbench.methods.subject import checked_inputs
from gamepruning.workbench.training.task import Task


class SmallNetwork(NamedTuple):
    """A compacted network that can be trained on."""

    apply: Callable[..., Any]  # (params, inputs) -> outputs
    train_apply: Callable[..., Any]  # (params, inputs, key) -> (outputs, params)
    params: Any
    compacted: CompactModel
    state: frozenset[str] = frozenset()  # paths that train_apply keeps, not optimizers


def make_small(task: Task, full: Absorbed) -> SmallNetwork:
    """Take the players out for real, verified against the gated network."""
    inputs = checked_inputs(task)
    small = compact_or_keep(full.players, full.params, full.mask, (inputs,))
    state = task.network.state
    if task.network.is_plain or full.how == "gates":
        if full.how == "gates":
            state = frozenset(f"params/{name}" for name in state)

        def train_apply(params, x, key):
            return small.apply(params, x), params

    else:
        call = (inputs, jax.random.key(0))  # the mask is over both kinds of players
        trained = compact_or_keep(task.train_players, full.params, full.mask, call)
        train_apply = trained.apply
        params = slice_tree(full.params, _kept(task, full, full.mask))
        if _shapes(params) != _shapes(small.params):
            small = small._replace(apply=ignore_unread(small.apply, small.params))
        small = small._replace(params=params)
    return SmallNetwork(small.apply, train_apply, small.params, small, state)


def as_rival(full: Absorbed, dense: Any, mask: np.ndarray) -> Absorbed:
    """The dense weights in the place of `full`'s; bool [N] over `task.players`."""
    return full._replace(params=full.wrap(dense), mask=full.convert(mask))


def cut_alike(task: Task, full: Absorbed, small: SmallNetwork) -> SmallNetwork:
    """The small network of `full`, which has as many players as `small` has.

    It shares the compiled small network where that computes what it should.
    """
    params = slice_tree(full.params, _kept(task, full, full.mask))
    if _shapes(params) == _shapes(small.params):
        inputs = checked_inputs(task)
        gates = jnp.asarray(full.mask, jnp.float32)
        expected = run_gated(full.players, full.params, gates, inputs)
        found = predict(small.apply, params, inputs)
        if relative_error(expected, found) <= TOLERANCE:
            return small._replace(params=params)
    return make_small(task, full)


def scratch_params(key: jax.Array, task: Task, full: Absorbed, mask: np.ndarray) -> Any:
    """A random start for a network of the small size.

    A new start of the dense network is cut down, and its variance fitted to the width.
    """
    params = full.wrap(task.network.init(key))
    kept = _kept(task, full, full.convert(mask))
    return fit_variance(full.players, slice_tree(params, kept), named_shapes(params))


def _kept(task: Task, full: Absorbed, mask: np.ndarray) -> dict:
    """The indices that stay, also of what only training reads."""
    kept = full.players.kept_indices(mask)
    if task.network.is_plain or full.how == "gates":
        return kept
    return {**task.train_players.kept_indices(mask), **kept}


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]
