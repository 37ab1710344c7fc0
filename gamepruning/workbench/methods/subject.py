"""What a method is given to choose players, and what it gives back."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from gamepruning.coalitions import measures
from gamepruning.coalitions.values import ValueFunction, value_function
from gamepruning.compaction.gates import Absorbed
from gamepruning.files.together import shared_mesh
from gamepruning.metrics import cross_entropy
from gamepruning.trees.examples import draw_rows
from gamepruning.types import Scores
from gamepruning.uncertainty.mcue import Bands, mcue
from gamepruning.workbench.registry import Method
from gamepruning.workbench.settings.parts import ScoringSettings
from gamepruning.workbench.training.task import Task

CHECKED = 64  # validation examples on which exactness is checked
UNSURE_ON = 500  # validation examples on which the bias is looked for
BIAS_STREAM = 2**32 - 1  # of the key; no round has this number


@dataclasses.dataclass(frozen=True)
class Subject:
    """A trained network whose players are ranked; its game serves all methods."""

    task: Task
    params: Any  # the trained weights
    scoring: ScoringSettings  # budgets, and what a coalition is worth
    key: jax.Array  # that players are ranked with

    @property
    def bias(self) -> float:
        """The probability of a player to be in a coalition, for biased_banzhaf.

        As given, or d = 1 - t*: there outputs vary most between coalitions.
        """
        given = self.scoring.bias
        return float(np.clip(self._bands.bias, 0.05, 0.95)) if given is None else given

    def settled(self, method: Method) -> dict[str, Any]:
        """What a power index is estimated with, where settings left it open."""
        if method.kind != "index":
            return {}
        rows = min(self.scoring.rows, len(self.task.dataset.validation.labels))
        told = {"value": _value_of(self.task, self.scoring.value), "rows": rows}
        if method.scorer == "biased_banzhaf":
            is_at_edge = self.scoring.bias is None and self._bands.is_at_end
            told |= {"bias": self.bias, "is_bias_at_edge": is_at_edge}
        return told

    @functools.cached_property
    def _bands(self) -> Bands:
        data, players = self.task.dataset, self.task.players
        output = "outputs" if data.task == "regression" else "probabilities"
        key = jax.random.fold_in(self.key, BIAS_STREAM)
        inputs = jnp.asarray(draw_rows(data.validation.inputs, UNSURE_ON))
        how: dict[str, Any] = {"output": output, "mesh": shared_mesh()}
        return mcue(key, players, self.params, inputs, **how)

    @functools.cached_property
    def game(self) -> ValueFunction:
        """The game of the players on some validation examples."""
        return self.game_on(_measure(self.task, self.scoring.value), self.scoring.rows)

    def game_on(self, measure: Callable[..., Any], rows: int) -> ValueFunction:
        """The game of the players by a measure on so many validation examples."""
        examples = map(jnp.asarray, draw_rows(self.task.dataset.validation, rows))
        players, mesh = self.task.players, shared_mesh()
        return value_function(players, self.params, measure, *examples, mesh=mesh)


def _value_of(task: Task, value: str) -> str:
    """The value of a coalition, by its name; that of auto."""
    usual = "metric" if task.is_metric_named else "loss"
    return usual if value == "auto" else value


def _measure(task: Task, value: str) -> Callable[..., Any]:
    value = _value_of(task, value)
    if value == "metric":
        return task.metric
    if value == "calibrated":
        return measures.calibrated_likelihood
    if task.dataset.task == "classification" and task.loss is cross_entropy:
        return measures.negative_cross_entropy
    return lambda outputs, labels: -task.loss(outputs, labels)


class Rounds(NamedTuple):
    """How far a selection in rounds goes, where it can resume, and who is told."""

    smallest: int  # players left when removal ends
    largest: int  # players in when building ends
    checkpoint: Path  # a `.npz` file
    progress: Callable[[int, int], None]  # called with (done, total)
    max_drop: float | None = None  # of the validation metric, before removal ends
    fits: Callable[[np.ndarray], bool] | None = None  # within a limit of another unit


class Choice(NamedTuple):
    """The players that stay, and the full network that says so."""

    mask: np.ndarray  # True for players that stay, bool [N]
    value: np.ndarray  # what they were ranked by, gates or scores, float [N]
    full: Absorbed  # the full network with the gates in its weights
    params: Any  # the full network's weights without the gates
    rescued: tuple[int, ...]  # kept in each family only because it would be empty
    gates: jax.Array | None = None  # participation at the end of a game, float [N]
    trace: np.ndarray | None = None  # participation after its epochs, float [E, N]
    means: Scores | None = None  # estimates behind the value, with standard errors
    measure: str = "score"  # what a figure shows of the means, or of the value
    settled: Mapping[str, Any] = {}  # what settings left open, as it was
    num_evaluations: int = 0  # coalitions or pulls, in all rounds


def checked_inputs(task: Task) -> jax.Array:
    """The validation examples on which exactness is checked."""
    return jnp.asarray(draw_rows(task.dataset.validation.inputs, CHECKED))


def counting_bar(
    progress: Progress, label: str, note: str = ""
) -> Callable[[int, int], None]:
    """A new progress bar; returns (done, total) -> None, which moves it."""
    bar = progress.add_task(label, total=None, note=note)
    return lambda done, total: progress.update(bar, completed=done, total=total)
