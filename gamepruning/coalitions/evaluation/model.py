"""A network with its data and the metric that says what it is worth."""

from typing import Any, NamedTuple

from jaxtyping import PyTree

from gamepruning.players import Players
from gamepruning.types import Metric


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
