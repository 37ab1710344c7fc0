"""The curve of one method on one network: choose, take out, judge on test data."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from gamepruning import metrics
from gamepruning.compaction.gates import Absorbed, gated_network
from gamepruning.compaction.verify import check_value
from gamepruning.files.fingerprint import fingerprint
from gamepruning.files.run_folder import RunFolder
from gamepruning.run.batches import evaluate, predict
from gamepruning.selection import SelectionTrace, compression_curve, masks_at, top_n
from gamepruning.selection.top_n import as_count
from gamepruning.workbench.jobs.rivals import Tuner, mend, train_dense
from gamepruning.workbench.jobs.run import prepare
from gamepruning.workbench.methods import small_networks
from gamepruning.workbench.methods.rank import Source, count_evaluations, rank
from gamepruning.workbench.methods.small_networks import SmallNetwork
from gamepruning.workbench.methods.subject import Rounds, Subject, counting_bar
from gamepruning.workbench.registry import Method, find_method
from gamepruning.workbench.settings.parts import RateSettings
from gamepruning.workbench.settings.studies import CurveSettings
from gamepruning.workbench.training import sizes
from gamepruning.workbench.training.stages import Trainer, make_trainer
from gamepruning.workbench.training.task import Prepared

LOW, HIGH = 0.05, 0.6  # the area is taken there, as far as the curve reaches


class Trained:
    """The network of one seed; what is compiled for it serves all methods."""

    def __init__(
        self,
        made: Prepared,
        settings: CurveSettings,  # what the curves are to be
        params: Any,
        trainer: Trainer,  # with which networks cut from it are fine-tuned
        seed: int,
        label: str,  # of its checkpoints
    ):
        self.made, self.task, self.params = made, made.task, params
        self.settings, self.trainer = settings, trainer
        self.seed, self.label = seed, label
        self.subject = Subject(made.task, params, settings.scoring, made.keys.choose)
        self._tune = Tuner(made.keys.rest, made.task, trainer, params)
        self._smalls: dict[tuple[int, ...], SmallNetwork] = {}

    def judge(self, apply: Callable, params: Any, metric: Any = None) -> float:
        """The test metric, or another one on the test data."""
        metric = metric or self.task.metric
        return evaluate(apply, params, self.task.dataset.test, metric)

    def judge_masks(self, masks: np.ndarray) -> np.ndarray:
        """Masks [K, N] -> the same without the players left out, [K]."""
        return np.array([self.judge(*gated) for gated in self.gate(masks)])

    def gate(self, masks: np.ndarray) -> Iterator[tuple[Callable, Any]]:
        """The networks without the players left out, and their parameters."""
        gated = gated_network(self.task.players)
        for mask in masks:
            yield gated, (self.full(mask).params, jnp.asarray(mask, jnp.float32))

    def full(self, mask: np.ndarray) -> Absorbed:
        """The full network of those who stay, bool [N], repaired with --repair."""
        apply, players = self.task.network.apply, self.task.players
        full, name = Absorbed(apply, self.params, players, mask), fingerprint(mask)
        found = mend(f"{self.label}-{name}", self.task, self.trainer, full)
        return full if found is None else full._replace(params=found.params)

    def score_classes(
        self, networks: Iterable[tuple[Callable, Any]], stage: str = ""
    ) -> dict[str, list]:
        """What test data say of each network's classes; nothing of a regression."""
        test = self.task.dataset.test
        if self.task.dataset.task == "regression":
            return {}
        outputs = (predict(apply, params, test.inputs) for apply, params in networks)
        scores = [metrics.class_scores(made, test.labels) for made in outputs]
        return {
            f"balanced{stage}": [own.balanced_accuracy for own in scores],
            f"recalls{stage}": [own.recalls for own in scores],
        }

    def cut(self, mask: np.ndarray) -> SmallNetwork:
        """The network of those who stay, bool [N], verified by `compact`.

        Networks of the same size in every family share one compiled program.
        """
        task, smalls, full = self.task, self._smalls, self.full(mask)
        counts = sizes.counts_of(task.players, mask)
        if counts in smalls:
            return small_networks.cut_alike(task, full, smalls[counts])
        return smalls.setdefault(counts, small_networks.make_small(task, full))

    def tune(self, small: SmallNetwork, method: str) -> Any:
        """The parameters of a network cut from this, fine-tuned; None without."""
        shapes = fingerprint(jax.tree.map(np.shape, small.params))
        name, told = f"{method}-{self.label}", f"{method}, network {self.seed}"
        return self._tune(f"{name}-{shapes}", told, small, small.params)


def prepare_curve(settings: CurveSettings, seed: int) -> Prepared:
    """The task of a seed; its networks are fine-tuned as the settings say."""
    rates = RateSettings(fine_tune=settings.fine_tune, repair=settings.repair)
    return prepare(settings, seed, rates=rates)


def train_networks(
    folder: RunFolder,
    progress: Progress,
    settings: CurveSettings,
    first: Prepared,
    prefix: str = "",
) -> Iterator[Trained]:
    """The networks of all seeds, as `gamepruning prune` trains them, one by one.

    `first` is the task of seed 0, and `prefix` begins the names of their checkpoints.
    """
    for seed in range(settings.seeds):
        made = prepare_curve(settings, seed) if seed else first
        label, told = f"{prefix}{seed}", f"train network {seed}"
        trainer = make_trainer(made.task, made.training, folder, progress)
        params = train_dense(made, trainer, name=f"dense_{label}", label=told)
        yield Trained(made, settings, params, trainer, seed, label)


def draw_curve(
    name: str,
    network: Trained,
    *,
    tuned: Sequence[float] | None = None,
    counts: Sequence[int] | None = None,
) -> dict[str, Any]:
    """The curve of one method on one network, as a row of `curve.json`.

    "values" are test metrics after removal (and repair), "tuned" those after fine-
    tuning, at the sizes `tuned`, or at all; "balanced" and "balanced tuned" are the
    balanced accuracies of classes, "recalls" and "recalls tuned" the recalls of each.
    Methods that score all players once keep `counts` in each family at the
    size that has as many in all.
    """
    method, shares = find_method(name), sorted(network.settings.sizes)
    start = time.perf_counter()
    source, masks = choose_at(method, network, counts)
    seconds = round(time.perf_counter() - start, 3)
    curve = compression_curve(masks, network.judge_masks, shares)
    low, high = max(LOW, curve.fractions[0]), min(HIGH, curve.fractions[-1])
    row = {
        "method": name,
        "seed": network.seed,
        "evaluations": count_evaluations(method, source),
        "seconds": seconds,
        **network.subject.settled(method),
        "area": curve.area(low, high) if low < high else None,
        **curve.to_dict(),
        "compacted": _check_removal(network, masks[0], float(curve.values[0])),
    }
    smalls = [
        network.cut(mask)
        for share, mask in zip(shares, masks, strict=True)
        if network.settings.fine_tune and (tuned is None or share in tuned)
    ]
    after = [(small.apply, network.tune(small, name)) for small in smalls]
    row |= network.score_classes(network.gate(masks))
    if after:
        row["tuned"] = [network.judge(*one) for one in after]
        row |= network.score_classes(after, " tuned")
    return row


def choose_at(
    method: Method, network: Trained, counts: Sequence[int] | None = None
) -> tuple[Source, np.ndarray]:
    """What ranks the players, and who stays at each size, bool [K, N].

    At a single size these are the players that `gamepruning prune` keeps. Rounds pass
    all sizes on one path, on which exchanges at one size change what follows.
    """
    players, trainer = network.task.players, network.trainer
    shares, name = sorted(network.settings.sizes), method.name
    told = f"choose by {name}, network {network.seed}"
    rounds = Rounds(
        smallest=as_count(shares[0], players.num_players),
        largest=as_count(shares[-1], players.num_players),
        checkpoint=trainer.folder.checkpoints / f"{name}-{network.label}.npz",
        progress=counting_bar(trainer.progress, told),
    )
    source = rank(method, network.subject, rounds)
    masks = masks_at(source, shares, players=players, scope=method.scope)
    if counts is not None and not isinstance(source, SelectionTrace):
        same = masks.sum(axis=1) == sum(counts)
        masks[same] = top_n(source, counts, players=players)
    return source, masks


def _check_removal(network: Trained, mask: np.ndarray, expected: float) -> float:
    """The metric after the players were taken out for real; must be as expected."""
    small, task = network.cut(mask), network.task
    found = network.judge(small.apply, small.params)
    check_value(found, expected, task.metric, task.dataset.test.labels)
    return found
