"""The curve of one method on one network: choose, take out, judge on test data."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from gamepruning.compaction.measure import count_params
from gamepruning.selection import Curve, SelectionTrace, compression_curve, masks_at
from gamepruning.workbench.jobs.run import (
    Keys,
    Prepared,
    prepare,
    train_dense,
)
from gamepruning.workbench.jobs.tuning import Tuner
from gamepruning.workbench.methods.gates import without_gates
from gamepruning.workbench.methods.rank import rank
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.methods.sizes import best_of_each, counts_of
from gamepruning.workbench.methods.small_networks import (
    SmallNetwork,
    cut_rival,
    make_small,
)
from gamepruning.workbench.methods.subject import CHECKED, Rounds, Subject
from gamepruning.workbench.settings.parts import RateSettings
from gamepruning.workbench.settings.studies import CurveSettings
from gamepruning.workbench.training.loop import evaluate
from gamepruning.workbench.training.run_folder import RunFolder
from gamepruning.workbench.training.stages import Trainer, make_trainer
from gamepruning.workbench.training.task import Task

LOW, HIGH = 0.05, 0.6  # where the area under a curve is taken


@dataclasses.dataclass(frozen=True)
class Trained:
    """The network of one seed; what is compiled for it serves all methods.

    Attributes:
      task: data, network, players.
      keys: of its seed.
      settings: what the curves are to be.
      params: its weights.
      trainer: with what networks cut from it are fine-tuned.
      seed: of data, start and training.
      label: of its checkpoints.
    """

    task: Task
    keys: Keys
    settings: CurveSettings
    params: Any
    trainer: Trainer
    seed: int
    label: str

    def judge(self, apply: Callable, params: Any) -> float:
        """The test metric."""
        return evaluate(apply, params, self.task.dataset.test, self.task.metric)

    @functools.cached_property
    def subject(self) -> Subject:
        """What methods rank."""
        scoring, bias = self.settings.scoring, self.settings.bias
        return Subject(self.task, self.params, scoring, bias)

    @functools.cached_property
    def judge_masks(self) -> Callable[[np.ndarray], np.ndarray]:
        """Masks [K, N] -> the test metric without the players left out, [K]."""
        players = self.task.players

        def gated(joint, inputs):
            return players.gated(*joint, inputs)

        def judge(masks: np.ndarray) -> np.ndarray:
            gates = [jnp.asarray(mask, jnp.float32) for mask in masks]
            return np.array([self.judge(gated, (self.params, g)) for g in gates])

        return judge

    def cut(self, mask: np.ndarray) -> SmallNetwork:
        """The network of those who stay, bool [N], verified by `compact`.

        Networks of the same size in every family share one compiled program.
        """
        task, counts = self.task, counts_of(self.task.players, mask)
        full = without_gates(task.network.apply, task.players, self.params, mask)
        if counts in self._smalls:
            return cut_rival(task, full, self._smalls[counts], self.params, mask)
        inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
        self._smalls[counts] = make_small(task, full, inputs)
        return self._smalls[counts]

    @functools.cached_property
    def _smalls(self) -> dict[tuple[int, ...], SmallNetwork]:
        return {}

    def tune(self, small: SmallNetwork, name: str) -> float | None:
        """The test metric after fine-tuning, alike for all; None where there is none.

        Args:
          small: a network cut from this one.
          name: of the method.
        """
        size = count_params(small.params)
        name = f"{name}-{self.label}"
        params = self._tuner(f"{name}-{size}", f"{name}, {size}", small, small.params)
        return None if params is None else self.judge(small.apply, params)

    @functools.cached_property
    def _tuner(self) -> Tuner:
        return Tuner(self.keys.rest, self.task, self.trainer)


def prepare_curve(settings: CurveSettings, seed: int) -> Prepared:
    """The task of a seed; its networks are fine-tuned as the settings say."""
    return prepare(settings, seed, rates=RateSettings(fine_tune=settings.fine_tune))


def train_networks(
    folder: RunFolder,
    progress: Progress,
    settings: CurveSettings,
    first: Prepared,
    prefix: str = "",
) -> Iterator[Trained]:
    """The networks of all seeds, as `gamepruning prune` trains them, one by one.

    Args:
      folder: where to.
      progress: shows a bar for each stage.
      settings: what the curves are to be.
      first: the task of seed 0, which was made for the checks.
      prefix: of the names of their checkpoints.
    """
    for seed in range(settings.seeds):
        made = prepare_curve(settings, seed) if seed else first
        label = f"{prefix}{seed}"
        trainer = make_trainer(made.task, made.training, folder, progress)
        params = train_dense(
            made, trainer, name=f"dense_{label}", label=f"train network {seed}"
        )
        yield Trained(made.task, made.keys, settings, params, trainer, seed, label)


def draw_curve(
    name: str,
    network: Trained,
    *,
    tuned: Sequence[float] | None = None,
    counts: Sequence[int] | None = None,
) -> dict[str, Any]:
    """The curve of one method on one network, as a row of `curve.json`.

    Args:
      name: of the method.
      network: the trained network.
      tuned: the sizes to fine-tune at, if there is fine-tuning; all if None.
      counts: players that stay in each family at the size that has as many in all;
        for methods that score all players once.

    Returns:
      JSON-able facts; "values" are test metrics right after removal, and "tuned" those
      after fine-tuning, where there is some.
    """
    method, players = find_method(name), network.task.players
    shares = sorted(network.settings.sizes)
    rounds = _rounds(name, network, shares)
    found = rank(network.keys.choose, method, network.subject, rounds)
    scope = "family" if method.selection == "family" else "global"
    masks = masks_at(found.source, shares, players=players, scope=scope)
    if counts is not None and not isinstance(found.source, SelectionTrace):
        same = masks.sum(axis=1) == sum(counts)
        masks[same] = best_of_each(players, np.asarray(found.source.value), counts)
    curve = compression_curve(masks, network.judge_masks, shares)
    row = {
        "method": name,
        "seed": network.seed,
        "evaluations": found.num_evaluations,
        "seconds": round(found.seconds, 3),
        "area": _area(curve),
        **curve.to_dict(),
        "compacted": check_removal(network, masks[0], float(curve.values[0])),
    }
    if network.settings.fine_tune:
        row["tuned"] = [
            network.tune(network.cut(mask), name)
            for share, mask in zip(shares, masks, strict=True)
            if tuned is None or share in tuned
        ]
    return row


def _rounds(name: str, network: Trained, shares: Sequence[float]) -> Rounds:
    """From the smallest size to the largest, with a bar."""
    trainer, total = network.trainer, network.task.players.num_players
    label = f"{name}-{network.label}"
    bar = trainer.progress.add_task(label, total=None, note="")

    def show(done: int, total: int) -> None:
        trainer.progress.update(bar, completed=done, total=total)

    smallest, largest = (round(share * total) for share in (shares[0], shares[-1]))
    return Rounds(smallest, largest, trainer.folder.checkpoints / f"{label}.npz", show)


def check_removal(network: Trained, mask: np.ndarray, expected: float) -> float:
    """Take the players out for real and judge what is left.

    `compact` compares all outputs; the metric may still differ where rounding decides
    between two classes, in one example of a thousand.

    Args:
      network: the trained network.
      mask: players that stay, bool [N].
      expected: the metric with the others gated off.

    Returns:
      The metric of the small network.

    Raises:
      RuntimeError: it is another one.
    """
    small = network.cut(mask)
    found = network.judge(small.apply, small.params)
    if abs(found - expected) > max(1e-3, 1.5 / len(network.task.dataset.test.labels)):
        raise RuntimeError(
            f"a network of {int(mask.sum())} players has {network.task.metric_name} "
            f"{found}, and {expected} with the others gated off"
        )
    return found


def _area(curve: Curve) -> float | None:
    """The mean height from 5 to 60 %, as far as the curve reaches."""
    low, high = curve.fractions[[0, -1]]
    low, high = max(LOW, low), min(HIGH, high)
    return curve.area(low, high) if low < high else None
