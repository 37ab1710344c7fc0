"""Many games of one network side by side, and which of them are worth having."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gamepruning.equilibrium import (
    SweepPoints,
    UtilityConfig,
    joint_optimizer,
    make_sweep_step,
    pareto_front,
    projected_gate_ascent,
    surviving_players,
    sweep_grid,
)
from gamepruning.equilibrium.step import EquilibriumState
from gamepruning.players import Players
from gamepruning.selection import round_mask
from gamepruning.workbench.cores import use_cores_as_devices
from gamepruning.workbench.jobs.run import Prepared, Run, Where, open_run, prepare
from gamepruning.workbench.methods.gates import absorb_gates
from gamepruning.workbench.methods.sizes import counts_of
from gamepruning.workbench.methods.small_networks import compact_or_keep
from gamepruning.workbench.methods.subject import CHECKED
from gamepruning.workbench.report.formats import format_metric
from gamepruning.workbench.report.table import Column, Row, Table, rows_to_csv
from gamepruning.workbench.settings.parts import SettledTraining
from gamepruning.workbench.settings.studies import SweepSettings
from gamepruning.workbench.training.loop import (
    Split,
    TrainInfo,
    evaluate,
    keep_statistics,
)
from gamepruning.workbench.training.optimizers import optimizer_at
from gamepruning.workbench.training.stages import (
    Stage,
    make_trainer,
    new_progress,
    run_stage,
)
from gamepruning.workbench.training.task import Task

JUDGED_AT_ONCE = 4  # points whose activations on the validation data are held at once


class _SweepState(NamedTuple):
    game: EquilibriumState
    key: jax.Array


def run_sweep(settings: SweepSettings, **where: Unpack[Where]) -> Path:
    """Play all games of a sweep in one compiled program and write a folder.

    Args:
      settings: what to do.
      **where: see `Where`.

    Returns:
      The folder: `sweep.json`, `sweep.csv`, `figures/pareto.png`.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to resume.
    """
    use_cores_as_devices()
    network = settings.network.name
    run = open_run(settings, settings.dataset, "sweep", network, where)
    with run.console.status("reading data"):
        made = prepare(run.settings, 0)
    points = points_of(run.settings, made.training)
    with run.writing(made.training):
        rows = _play(run, made, points)
        _write(run, made.task, rows)
    run.console.print(_table(made.task, rows))
    return run.tell("all rows", "sweep.csv")


def points_of(settings: SweepSettings, training: SettledTraining) -> SweepPoints:
    """Every combination of the settings' lists, with the usual rates if none given."""
    return sweep_grid(
        alpha=settings.alpha,
        beta=settings.beta,
        gamma=settings.gamma,
        eta=settings.eta,
        weight_learning_rate=settings.learning_rate or training.learning_rate,
        gate_learning_rate=settings.gate_learning_rate or training.gate_learning_rate,
        seed=tuple(range(settings.seeds)),
    )


def _play(
    run: Run[SweepSettings], made: Prepared, points: SweepPoints
) -> list[dict[str, Any]]:
    """Train all points, then say of each what is left of it."""
    task, training, settings = made.task, made.training, run.settings
    judge = _judge(task)
    validation = jax.device_put(task.dataset.validation)
    init, step = _make_step(run.settings, made, points)

    def record(state: _SweepState) -> dict[str, Any]:
        values = judge(state.game.params, state.game.gates, validation)
        active = (state.game.gates >= settings.game.threshold).sum(axis=1)
        return {
            "validation": float(values.mean()),
            "points": [round(float(v), 5) for v in values],
            "active": [int(a) for a in active],
        }

    key = jax.random.key(0)
    fresh = jax.vmap(lambda seed: task.network.init(jax.random.key(seed)))
    start = _SweepState(init(fresh(points.seed)), key)
    with new_progress(run.console) as progress:
        trainer = make_trainer(task, training, run.folder, progress)
        label = f"{points.num_points} games"
        stage = Stage("sweep", label, training.epochs, key, start, step, record)
        game = run_stage(stage, trainer).state.game
    game = jax.tree.map(jnp.asarray, jax.device_get(game))  # on one device again
    with run.console.status("judging"):
        return _judge_points(task, settings, points, game, judge)


def _make_step(
    settings: SweepSettings, made: Prepared, points: SweepPoints
) -> tuple[Callable[..., EquilibriumState], Callable[..., Any]]:
    """(params -> games, (state, batch) -> (state, info)) of all points at once."""
    task, plain = made.task, made.task.network.is_plain

    def optimizer(weight_learning_rate, gate_learning_rate):
        gate_tx = projected_gate_ascent(gate_learning_rate, optax.scale_by_adam())
        weight_tx = optimizer_at(made.training, weight_learning_rate)
        return joint_optimizer(weight_tx, gate_tx)

    def merge_fn(params, outputs):
        return keep_statistics(params, outputs[1])

    init, inner = make_sweep_step(
        task.train_players,
        lambda out, labels: task.loss(out if plain else out[0], labels),
        points,
        UtilityConfig(benefit=settings.game.benefit, norm=settings.game.norm),
        optimizer=optimizer,
        threshold=settings.game.threshold,
        merge_fn=None if plain else merge_fn,
    )

    def step(state: _SweepState, batch: Split) -> tuple[_SweepState, TrainInfo]:
        key, own = jax.random.split(state.key)
        keys = () if plain else (own,)
        game, info = inner(state.game, (batch.inputs, *keys, batch.labels))
        return _SweepState(game, key), TrainInfo(info.loss.mean())

    return init, step


def _judge(task: Task):
    """(params [P, ...], gates [P, N], split) -> the metric of each point, [P]."""
    players, metric = task.players, task.metric

    @jax.jit
    def judge_all(params, gates, split):
        def one(point):
            own, gate = point
            return metric(players.gated(own, gate, split.inputs), split.labels)

        return jax.lax.map(one, (params, gates), batch_size=JUDGED_AT_ONCE)

    def judge(params, gates, split):
        return judge_all(*jax.device_get((params, gates)), split)

    return judge


def _judge_points(
    task: Task,
    settings: SweepSettings,
    points: SweepPoints,
    game: EquilibriumState,
    judge: Callable[..., jax.Array],
) -> list[dict[str, Any]]:
    """The facts of each point; those on the front are also judged on the test data."""
    players, validation = task.players, jax.device_put(task.dataset.validation)
    masks = np.stack([_mask(players, g, settings.game.threshold) for g in game.gates])
    left = jnp.where(jnp.asarray(masks), game.gates, 0.0)
    on = judge(game.params, game.gates, validation)
    removed = judge(game.params, left, validation)
    rows: list[dict[str, Any]] = [dict(row) for row in points.rows()]
    for k, row in enumerate(rows):
        row["kept"] = int(masks[k].sum())
        row["kept per family"] = list(counts_of(players, masks[k]))
        row["sparsity"] = round(1 - row["kept"] / players.num_players, 4)
        row["validation gates on"] = float(on[k])
        row["validation removed"] = float(removed[k])
    columns = {
        name: [row[name] for row in rows] for name in ("validation removed", "kept")
    }
    front = pareto_front(columns, maximise="validation removed", minimise="kept")
    for k, row in enumerate(rows):
        row["front"] = k in front
        if row["front"]:
            params = jax.tree.map(lambda leaf, k=k: leaf[k], game.params)
            row["test removed"] = _test(task, params, game.gates[k], masks[k])
    return rows


def _mask(players: Players, gates: jax.Array, threshold: float) -> np.ndarray:
    """The players whose gate stayed open, at least one in each family."""
    alive = np.asarray(surviving_players(gates, threshold=threshold))
    return np.asarray(round_mask(players, alive, gates, 1, min_units=1))


def _test(task: Task, params: Any, gates: jax.Array, mask: np.ndarray) -> float:
    """The test metric of the network after its players were really taken out."""
    inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
    full = absorb_gates(task.network.apply, task.players, params, gates, mask, inputs)
    small = compact_or_keep(full.players, full.params, full.mask, (inputs,))
    return evaluate(small.apply, small.params, task.dataset.test, task.metric)


def _write(run: Run[SweepSettings], task: Task, rows: list[dict[str, Any]]) -> None:
    from gamepruning.workbench.report import plots  # matplotlib is slow to import

    run.write_json("sweep.json", {"metric": task.metric_name, "rows": rows})
    names = list(dict.fromkeys(name for row in rows for name in row))
    counts = [row | {"kept per family": _counts(row)} for row in rows]
    lines = [[row.get(name, "") for name in names] for row in counts]
    run.folder.write_text("sweep.csv", rows_to_csv(names, lines))
    run.save_figure("pareto", plots.plot_pareto(rows, metric=task.metric_name))


def _counts(row: dict[str, Any]) -> str:
    return "/".join(map(str, row["kept per family"]))


def _table(task: Task, rows: list[dict[str, Any]]) -> Table:
    """The front, smallest network first, with what differs between the points."""
    names = [
        name for name in SweepPoints._fields if len({row[name] for row in rows}) > 1
    ]
    front = sorted((row for row in rows if row["front"]), key=lambda row: row["kept"])
    values = {
        "gates on": "validation gates on",
        "removed": "validation removed",
        "test": "test removed",
    }
    columns = [Column(name, format="{:g}".format) for name in names]
    columns += [Column("kept")]
    columns += [
        Column(name, format=lambda v: format_metric(v, task.metric_name))
        for name in values
    ]
    lines = [
        Row(
            [*(row[n] for n in names), _counts(row), *(row[n] for n in values.values())]
        )
        for row in front
    ]
    title = f"{len(front)} of {len(rows)} games are not beaten in both respects"
    return Table(columns, lines, title)
