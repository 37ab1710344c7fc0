"""Many games of one network side by side, and which of them are worth having."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gamepruning import equilibrium
from gamepruning.compaction.compact import compact_or_keep
from gamepruning.compaction.gates import absorb_gates, gated_network
from gamepruning.equilibrium import SweepPoints
from gamepruning.equilibrium.step import EquilibriumState
from gamepruning.errors import Diverged
from gamepruning.files.together import gather_shares, mean_finite, own_share
from gamepruning.metrics import class_scores
from gamepruning.run import batches
from gamepruning.run.devices import use_cores_as_devices
from gamepruning.workbench.jobs.run import Run, Where, open_run, prepare
from gamepruning.workbench.methods.equilibrium import open_players
from gamepruning.workbench.methods.subject import checked_inputs
from gamepruning.workbench.report.formats import format_count, format_metric
from gamepruning.workbench.report.table import Heading, Row, Table, rows_to_csv
from gamepruning.workbench.settings.parts import SettledTraining
from gamepruning.workbench.settings.studies import SweepSettings
from gamepruning.workbench.training import loop, optimizers, stages
from gamepruning.workbench.training.sizes import counts_of
from gamepruning.workbench.training.task import Prepared, Task

JUDGED_AT_ONCE = 4  # points whose activations on the validation data are held at once


def run_sweep(settings: SweepSettings, **where: Unpack[Where]) -> Path:
    """Play all games of a sweep in one compiled program and write a folder.

    Returns the folder: `report.html`, `sweep.json`, `sweep.csv`, `figures/pareto.png`.
    """
    use_cores_as_devices()
    run = open_run(settings, (settings.dataset, settings.network.name, "sweep"), where)
    with run.console.status("reading data"):
        made = prepare(run.settings, 0)
    points = points_of(run.settings, made.training)
    with run.writing(made):
        rows = _play(run, made, points)
        _write(run, made.task, rows)
    run.console.print(_table(made.task, rows))
    return run.tell("report", "report.html")


def points_of(settings: SweepSettings, training: SettledTraining) -> SweepPoints:
    """Every combination of the settings' lists, with the usual rates if none given."""
    return equilibrium.sweep_grid(
        alpha=settings.alpha,
        beta=settings.beta,
        gamma=settings.gamma,
        eta=settings.eta,
        weight_learning_rate=settings.learning_rate or training.learning_rate,
        gate_learning_rate=settings.gate_learning_rate or training.gate_learning_rate,
        seed=tuple(range(settings.seeds)),
    )


def _play(run: Run[SweepSettings], made: Prepared, points: SweepPoints) -> list[dict]:
    """Train all points, then say of each what is left of it."""
    task, training, settings = made.task, made.training, run.settings
    judge, own, total = _make_judge(task), own_share(points), points.num_points
    init, step = _make_step(settings, made, own)

    def record(state) -> dict[str, Any]:
        values = np.asarray(judge(state.game.params, state.game.gates))
        active = (np.asarray(state.game.gates) >= settings.game.threshold).sum(axis=1)
        values, active = gather_shares((values, active), total)
        return {
            "validation": float(values.mean()),
            "points": [round(value, 5) for value in np.asarray(values).tolist()],
            "active": active.tolist(),
        }

    key = jax.random.key(0)
    fresh = jax.vmap(lambda seed: task.network.init(jax.random.key(seed)))
    start = init(key, fresh(own.seed))
    label = f"train and play {format_count(total, 'game')}"
    with stages.new_progress(run.console) as progress:
        trainer = stages.make_trainer(task, training, run.folder, progress)
        stage = stages.Stage("sweep", label, training.epochs, key, start, step, record)
        game = stages.run_stage(stage._replace(loss_of=mean_finite), trainer).state.game
    game = jax.tree.map(jnp.asarray, gather_shares(jax.device_get(game), total))
    with run.console.status("judging"):
        return _judge_points(task, settings, points, game, judge)


def _make_step(
    settings: SweepSettings, made: Prepared, points: SweepPoints
) -> loop.TrainStep:
    """The step of all points at once."""
    game = settings.game

    def optimizer(weight_learning_rate, gate_learning_rate):
        scale = optax.scale_by_adam()
        gate_tx = equilibrium.projected_gate_ascent(gate_learning_rate, scale)
        weight_tx = optimizers.optimizer_at(made.training, weight_learning_rate)
        return equilibrium.joint_optimizer(weight_tx, gate_tx)

    return optimizers.game_for_training(
        made.task,
        lambda loss_fn, merge_fn: equilibrium.make_sweep_step(
            made.task.train_players,
            loss_fn,
            points,
            equilibrium.UtilityConfig(benefit=game.benefit, norm=game.norm),
            optimizer=optimizer,
            threshold=game.threshold,
            merge_fn=merge_fn,
        ),
    )


def _make_judge(task: Task) -> Callable[[Any, jax.Array], jax.Array]:
    """(params [P, ...], gates [P, N]) -> the metric on the validation data, [P]."""
    validation = jax.device_put(task.dataset.validation)

    @jax.jit
    def judge(points, split):
        def one(point):
            return task.metric(gated(point, split.inputs), split.labels)

        return jax.lax.map(one, points, batch_size=JUDGED_AT_ONCE)

    gated = gated_network(task.players)
    return lambda *points: judge(jax.device_get(points), validation)  # on one device


def _judge_points(
    task: Task,
    settings: SweepSettings,
    points: SweepPoints,
    game: EquilibriumState,
    judge: Callable[[Any, jax.Array], jax.Array],
) -> list[dict[str, Any]]:
    """The facts of each point; those on the front are also judged on the test data."""
    players, threshold = task.players, settings.game.threshold
    gates, sound = jnp.nan_to_num(game.gates), np.isfinite(game.gates).all(axis=1)
    masks = np.stack([open_players(players, g, threshold)[1] for g in gates])
    left = jnp.where(jnp.asarray(masks), game.gates, 0.0)
    on = np.asarray(judge(game.params, game.gates)).tolist()
    removed = np.where(sound, judge(game.params, left), np.nan).tolist()
    kept = masks.sum(axis=1).tolist()
    columns = {"value": removed, "kept": kept}
    front = equilibrium.pareto_front(columns, maximise="value", minimise="kept")
    rows = []
    if not front:
        told = f"all {format_count(points.num_points, 'game')} diverged"
        raise Diverged(f"{told}: choose a lower --learning-rate")
    for k, point in enumerate(points.rows()):
        row = point | {
            "kept": kept[k],
            "kept per family": list(counts_of(players, masks[k])),
            "sparsity": round(1 - kept[k] / players.num_players, 4),
            "validation gates on": on[k],
            "validation removed": removed[k],
            "front": k in front,
        }
        if row["front"]:
            params = jax.tree.map(lambda leaf, k=k: leaf[k], game.params)
            row |= _test(task, params, game.gates[k], masks[k])
        rows.append(row)
    return rows


def _test(task: Task, params: Any, gates: jax.Array, mask: np.ndarray) -> dict:
    """The network on the test data after its players were really taken out."""
    inputs = checked_inputs(task)
    full = absorb_gates(task.network.apply, task.players, params, gates, mask, inputs)
    small = compact_or_keep(full.players, full.params, full.mask, (inputs,))
    test = task.dataset.test
    outputs = batches.predict(small.apply, small.params, test.inputs)
    found = {"test removed": float(task.metric(outputs, jnp.asarray(test.labels)))}
    if task.needs_balance:
        scores = class_scores(outputs, test.labels)
        found |= {"test balanced": scores.balanced_accuracy, "recalls": scores.recalls}
    return found


def _write(run: Run[SweepSettings], task: Task, rows: list[dict[str, Any]]) -> None:
    from gamepruning.workbench.report import plots  # matplotlib is slow to import

    names = list(dict.fromkeys(n for row in rows for n in row if n != "recalls"))
    counts = [row | {"kept per family": _counts(row)} for row in rows]
    lines = [[row.get(name, "") for name in names] for row in counts]
    facts = {"metric": task.metric_name, "rows": rows}
    total = len(task.dataset.validation.labels)
    figure = plots.plot_pareto(rows, metric=task.metric_name, num_examples=total)
    tables = [_table(task, rows)]
    run.write(facts, rows_to_csv(names, lines), {"pareto": figure}, tables)


def _counts(row: dict[str, Any]) -> str:
    return "/".join(map(str, row["kept per family"]))


def _table(task: Task, rows: list[dict[str, Any]]) -> Table:
    """The front, smallest network first, with what differs between the points."""
    names = [n for n in SweepPoints._fields if len({row[n] for row in rows}) > 1]
    front = sorted((row for row in rows if row["front"]), key=lambda row: row["kept"])
    values = {"gates on": "validation gates on", "removed": "validation removed"}
    values["test"] = "test removed"
    if task.needs_balance:
        values["balanced accuracy"] = "test balanced"

    def number(value: float) -> str:
        return format_metric(value, task.metric_name)

    columns = [Heading(name, format="{:g}".format) for name in names]
    columns += [Heading("kept")]
    columns += [Heading(n, format=number, is_key=n == "test") for n in values]
    lines = []
    for row in front:
        found = [row[name] for name in values.values()]
        lines.append(Row([*(row[name] for name in names), _counts(row), *found]))
    title = f"{len(front)} of {len(rows)} games are not beaten in both respects"
    return Table(columns, lines, title)
