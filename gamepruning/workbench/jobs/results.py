"""From the networks of a run to its result: judged on the test data, and measured."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from gamepruning.compaction.measure import (
    count_bytes,
    count_macs,
    count_params,
    measure_latency,
)
from gamepruning.compaction.verify import relative_error
from gamepruning.workbench.datasets.splits import Split
from gamepruning.workbench.jobs.rivals import Comparison, Entrant
from gamepruning.workbench.methods.gates import run_gated
from gamepruning.workbench.methods.subject import CHECKED, Choice
from gamepruning.workbench.report.results import Contender, Cost, FamilyRow, RunResult
from gamepruning.workbench.settings.defaults import SettledTraining
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.loop import evaluate, predict
from gamepruning.workbench.training.task import Task
from gamepruning.workbench.versions import versions

LATENCY_BATCH = 1000
LATENCY_BUDGET = 0.8  # seconds


def summarise(
    task: Task,
    settings: PruneSettings,
    training: SettledTraining,
    choice: Choice,
    compared: Comparison,
    seconds: Mapping[str, float],
) -> RunResult:
    """Judge every network on the test data, and measure the dense and the small one."""
    cost_dense, cost_small = measure_costs(task, compared)
    data = task.dataset
    pruned = _judge(task, compared.pruned, "removed")
    return RunResult(
        command=settings.command(),
        dataset=data.name,
        model=task.network.name,
        method=settings.method,
        settings=settings.to_dict() | training._asdict(),
        metric=task.metric_name,
        num_train=len(data.train.labels),
        num_validation=len(data.validation.labels),
        num_test=len(data.test.labels),
        families=_family_rows(task, choice),
        dense=_judge(task, compared.dense, "gated"),
        pruned=_with_gates(task, choice, pruned),
        rivals=tuple(
            _judge(task, rival, None if rival.key == "scratch" else "removed")
            for rival in compared.rivals
        ),
        cost_dense=cost_dense,
        cost_small=cost_small,
        max_error=end_to_end_error(task, choice, compared),
        shipped=choose_shipped(task, compared.pruned),
        seconds=dict(seconds),
        notes=make_notes(task, settings, choice),
        versions=versions(),
    )


def _judge(task: Task, entrant: Entrant, before: str | None) -> Contender:
    """`before` names the stage that the parameters before fine-tuning belong to."""
    judge = functools.partial(_evaluate, task, entrant.network.apply)
    test = task.dataset.test
    values = {} if before is None else {before: judge(entrant.before, test)}
    last = entrant.before if entrant.after is None else entrant.after
    if entrant.after is not None or before is None:
        values["tuned"] = judge(last, test)
    return Contender(
        key=entrant.key,
        label=entrant.label,
        kept=entrant.kept,
        validation=judge(last, task.dataset.validation),
        **values,
    )


def _evaluate(task: Task, apply: Callable, params: Any, split: Split) -> float:
    return evaluate(apply, params, split, task.metric)


def _with_gates(task: Task, choice: Choice, pruned: Contender) -> Contender:
    if choice.gates is None:
        return pruned

    def gated(joint, inputs):
        return task.players.gated(*joint, inputs)

    value = _evaluate(task, gated, (choice.params, choice.gates), task.dataset.test)
    return dataclasses.replace(pruned, gated=value)


def end_to_end_error(task: Task, choice: Choice, compared: Comparison) -> float:
    """The small network against the full one with the game's own gates, and against
    the full one with players masked: the larger relative difference."""
    found = float(compared.small.compacted.report.max_error)
    if choice.gates is None:
        return found
    inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
    gates = jnp.where(jnp.asarray(choice.mask), choice.gates, 0.0)
    expected = run_gated(task.players, choice.params, gates, inputs)
    actual = predict(compared.small.apply, compared.small.params, inputs)
    return max(found, relative_error(expected, actual))


def choose_shipped(task: Task, pruned: Entrant) -> str:
    """Which weights the run folder gets: the better ones on the validation data."""
    if pruned.after is None:
        return "removed"
    judge = functools.partial(_evaluate, task, pruned.network.apply)
    before = judge(pruned.before, task.dataset.validation)
    after = judge(pruned.after, task.dataset.validation)
    return "tuned" if after >= before else "removed"


def measure_costs(task: Task, compared: Comparison) -> tuple[Cost, Cost]:
    """Size and speed of the dense and the small network, timed in turns."""
    examples = jnp.asarray(task.dataset.train.inputs[:LATENCY_BATCH])
    entrants = {"dense": compared.dense, "small": compared.pruned}
    latencies = measure_latency(
        {
            name: (entrant.network.apply, (entrant.before, examples))
            for name, entrant in entrants.items()
        },
        budget=LATENCY_BUDGET,
    )

    def cost(name: str) -> Cost:
        entrant, latency = entrants[name], latencies[name]
        return Cost(
            params=count_params(entrant.before),
            num_bytes=count_bytes(entrant.before),
            macs=count_macs(entrant.network.apply, entrant.before, examples[:1]),
            latency_ms=1e3 * latency.median,
            latency_p10_ms=1e3 * latency.p10,
            latency_p90_ms=1e3 * latency.p90,
            latency_batch=len(examples),
        )

    return cost("dense"), cost("small")


def _family_rows(task: Task, choice: Choice) -> tuple[FamilyRow, ...]:
    return tuple(
        FamilyRow(
            name=family.name,
            kept=int(choice.mask[family.start : family.stop].sum()),
            total=family.size,
            rescued=rescued,
        )
        for family, rescued in zip(task.players.families, choice.rescued, strict=True)
    )


def make_notes(task: Task, settings: PruneSettings, choice: Choice) -> tuple[str, ...]:
    """What a reader must know, one sentence each."""
    notes = []
    emptied = [
        f"{family.name} ({rescued:,} of {family.size:,} back)"
        for family, rescued in zip(task.players.families, choice.rescued, strict=True)
        if rescued
    ]
    if emptied:
        notes.append(
            f"The game emptied {', '.join(emptied)}: the players with the highest "
            "gates came back, so that the network remains connected."
        )
    if len(emptied) == len(choice.rescued):
        notes.append(
            "Everyone left: more epochs, a lower --gate-learning-rate or a lower "
            "--price keep more."
        )
    if choice.mask.all():
        notes.append(
            "Nobody left: at these prices everyone's participation stays above "
            f"{settings.game.threshold}. The small network is the dense one."
        )
    if choice.full.how == "gates":
        notes.append(
            "Some gates act between two activations, where no weight can absorb them: "
            "the small model keeps them as parameters named gates."
        )
    if settings.network.module and settings.rivals:
        notes.append(
            "From scratch starts from the factory's parameters, with the entries of "
            "each matrix in a new random order, scaled to the smaller size."
        )
    return tuple(notes)
