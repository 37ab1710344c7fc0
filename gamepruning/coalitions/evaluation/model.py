"""A network with its data and the metric that says what it is worth."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from gamepruning.players import Players
from gamepruning.trees.arrays import is_array
from gamepruning.trees.examples import same_length
from gamepruning.trees.layout import Layout, near_tree
from gamepruning.types import Metric

_OPERATIONS_A_SECOND = 1e10


class ScoredModel(NamedTuple):
    """A network, and how its performance is measured.

    Attributes:
      players: the `Players`.
      params: its parameters.
      metric: (outputs, labels) -> scalar, higher is better.
      inputs: its inputs, a tuple.
      labels: what the metric compares with.
    """

    players: Players
    params: PyTree
    metric: Metric
    inputs: tuple
    labels: Any

    @property
    def examples(self) -> tuple[tuple, Any]:
        """(inputs, labels)."""
        return self.inputs, self.labels

    @property
    def seconds(self) -> float:
        """About how long a full pass takes: two operations a parameter and example."""
        leaves = filter(is_array, jax.tree.leaves(self.params))
        size = sum(int(np.size(leaf)) for leaf in leaves)
        return 2 * size * (same_length(self.examples) or 1) / _OPERATIONS_A_SECOND


def place(model: ScoredModel, layout: Layout) -> ScoredModel:
    """The model where coalitions are valued; what is there is not copied.

    Where the rows of one example array are split, those of all are.

    Raises:
      InputError: see `Layout.place`.
    """
    params = layout.place(model.params, "parameter")
    (*inputs, labels) = layout.place_rows((*model.inputs, model.labels), "input")
    return model._replace(params=params, inputs=tuple(inputs), labels=labels)


def near(model: ScoredModel) -> ScoredModel | None:
    """The model on the devices of this process; None if a part of it is split."""
    found = near_tree((model.params, model.inputs, model.labels))
    if found is None:
        return None
    params, inputs, labels = found
    return model._replace(params=params, inputs=inputs, labels=labels)
