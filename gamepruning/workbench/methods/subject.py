"""What a method is given to choose players, and what it gives back."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.coalitions.measures import (
    calibrated_likelihood,
    negative_cross_entropy,
)
from gamepruning.coalitions.values import ValueFunction, value_function
from gamepruning.errors import InputError
from gamepruning.metrics import squared_error
from gamepruning.workbench.methods.gates import Absorbed
from gamepruning.workbench.settings.parts import ScoringSettings
from gamepruning.workbench.training.task import Task

CHECKED = 64  # validation examples on which exactness is checked


@dataclasses.dataclass(frozen=True)
class Subject:
    """A trained network whose players are ranked; its game serves all methods.

    Attributes:
      task: data, network, players.
      params: the trained weights.
      scoring: budgets, and what a coalition is worth.
      bias: probability with which a player is in a coalition, for biased_banzhaf.
    """

    task: Task
    params: Any
    scoring: ScoringSettings
    bias: float

    @functools.cached_property
    def game(self) -> ValueFunction:
        """The game of the players on the first validation examples."""
        return self.game_on(_measure(self.task, self.scoring.value), self.scoring.rows)

    def game_on(self, measure: Callable[..., Any], rows: int) -> ValueFunction:
        """The game of the players by a measure on so many validation examples."""
        split = self.task.dataset.validation
        inputs, labels = (jnp.asarray(x[:rows]) for x in (split.inputs, split.labels))
        return value_function(self.task.players, self.params, measure, inputs, labels)


def _measure(task: Task, value: str) -> Callable[..., Any]:
    if value == "metric":
        return task.metric
    if task.metric_name == "accuracy":
        is_calibrated = value == "calibrated"
        return calibrated_likelihood if is_calibrated else negative_cross_entropy
    if value == "calibrated":
        raise InputError("--value calibrated is for classes: take loss or metric")
    return lambda outputs, labels: -squared_error(outputs, labels)


class Rounds(NamedTuple):
    """How far a selection in rounds goes, where it can resume, and who is told.

    Attributes:
      smallest: players left when removal ends.
      largest: players in when building ends.
      checkpoint: a `.npz` file.
      progress: (done, total) -> None.
      max_drop: removal ends before the validation metric drops by more, if not None.
    """

    smallest: int
    largest: int
    checkpoint: Path
    progress: Callable[[int, int], None]
    max_drop: float | None = None


class Choice(NamedTuple):
    """The players that stay, and the full network that says so.

    Attributes:
      mask: players that stay, bool [N].
      value: what they were ranked by, gates or scores, float [N].
      full: the full network with the gates in its weights.
      params: the full network's weights without the gates.
      rescued: players of each family kept only because it would be empty.
      gates: participation at the end, float [N]; None without the equilibrium game.
      trace: participation after each epoch, float [E, N]; None without the game.
      measure: what the value is, for an axis.
    """

    mask: np.ndarray
    value: np.ndarray
    full: Absorbed
    params: Any
    rescued: tuple[int, ...]
    gates: jax.Array | None = None
    trace: np.ndarray | None = None
    measure: str = "score"
