"""From the networks of a run to its result: judged on the test data, and measured."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from gamepruning import metrics
from gamepruning.compaction import measure
from gamepruning.compaction.gates import gated_network, removal_error
from gamepruning.compaction.measure import Cost
from gamepruning.files.versions import versions
from gamepruning.run.batches import evaluate, predict
from gamepruning.workbench.jobs.rivals import Comparison, Entrant
from gamepruning.workbench.methods.subject import Choice, checked_inputs
from gamepruning.workbench.report.page import render
from gamepruning.workbench.report.results import Contender, FamilyRow, RunResult
from gamepruning.workbench.settings.parts import SettledTraining
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.sizes import LATENCY_BATCH, limit_of
from gamepruning.workbench.training.task import Task

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
    data, costs = task.dataset, measure_costs(task, compared)
    shipped, report = choose_shipped(task, compared.pruned), compared.repair
    pruned = _judge(task, compared.pruned, shipped)
    return RunResult(
        command=settings.command(),
        dataset=data.name,
        model=task.network.name,
        method=settings.method,
        settings=settings.to_dict() | training._asdict() | dict(choice.settled),
        num_evaluations=choice.num_evaluations,
        metric=task.metric_name,
        num_train=len(data.train.labels),
        num_validation=len(data.validation.labels),
        num_test=len(data.test.labels),
        families=_family_rows(task, choice),
        dense=_judge(task, compared.dense),
        pruned=_with_gates(task, choice, pruned),
        rivals=tuple(_judge(task, rival) for rival in compared.rivals),
        cost_dense=costs["dense"],
        cost_small=costs["small"],
        max_error=removal_error(
            task.players, choice, compared.small.compacted, checked_inputs(task)
        ),
        shipped=shipped,
        seconds=dict(seconds),
        notes=(
            *make_notes(task, settings, choice, costs, pruned.recalls),
            *(() if report is None else report.notes),
            *compared.notes,
        ),
        versions=versions(),
        data_notes=data.notes,
        classes=None
        if data.task == "regression"
        else metrics.class_facts(data.train.labels, data.test.labels, data.class_names),
        repair=None if report is None else report.to_dict(),
    )


def _judge(task: Task, entrant: Entrant, shipped: str = "") -> Contender:
    """A network on the test data, at each stage; its classes as shipped, or at last."""
    apply, data, last = entrant.network.apply, task.dataset, entrant.last
    values: dict[str, Any] = {
        stage: evaluate(apply, params, data.test, task.metric)
        for stage, params in entrant.stages.items()
    }
    values["validation"] = evaluate(apply, last, data.validation, task.metric)
    if data.task == "classification":
        outputs = predict(apply, entrant.stages.get(shipped, last), data.test.inputs)
        values |= metrics.class_scores(outputs, data.test.labels)._asdict()
    return Contender(key=entrant.key, label=entrant.label, kept=entrant.kept, **values)


def _with_gates(task: Task, choice: Choice, pruned: Contender) -> Contender:
    if choice.gates is None:
        return pruned
    gated, joint = gated_network(task.players), (choice.params, choice.gates)
    value = evaluate(gated, joint, task.dataset.test, task.metric)
    return dataclasses.replace(pruned, gated=value)


def choose_shipped(task: Task, pruned: Entrant) -> str:
    """The stage whose weights the run folder gets: the best on the validation data."""

    def worth(stage: str) -> float:
        apply, data = pruned.network.apply, task.dataset.validation
        value = evaluate(apply, pruned.stages[stage], data, task.metric)
        return -math.inf if math.isnan(value) else value

    return max(reversed(pruned.stages), key=worth)  # of equal ones the last


def measure_costs(task: Task, compared: Comparison) -> dict[str, Cost]:
    """Size and speed of the dense and the small network, timed in turns."""
    examples = jnp.asarray(task.dataset.train.inputs[:LATENCY_BATCH])
    both = {"dense": compared.dense, "small": compared.pruned}
    networks = {n: (one.network.apply, one.first) for n, one in both.items()}
    return measure.measure_costs(networks, examples, budget=LATENCY_BUDGET)


def _family_rows(task: Task, choice: Choice) -> tuple[FamilyRow, ...]:
    return tuple(
        FamilyRow(f.name, int(choice.mask[f.start : f.stop].sum()), f.size, rescued)
        for f, rescued in zip(task.players.families, choice.rescued, strict=True)
    )


def make_notes(
    task: Task,
    settings: PruneSettings,
    choice: Choice,
    costs: Mapping[str, Cost],
    recalls: Sequence[float | None] = (),
) -> tuple[str, ...]:
    """What a reader must know, one sentence each."""
    size, budget = settings.size, None
    if (limit := limit_of(task, size)) is not None:
        budget = {"told": size.told, "unit": size.counted, "most": limit.limit}
        budget |= {"reckoned": limit.size(choice.mask)}
    text = render(
        "notes.txt",
        budget=budget,
        costs=costs,
        missed=[task.dataset.class_names[k] for k, r in enumerate(recalls) if r == 0],
        families=_family_rows(task, choice),
        all_stay=choice.mask.all(),
        has_gates=choice.full.how == "gates",
        asked=settings,
        settled=choice.settled,
    )
    return (*task.notes, *text.splitlines())
