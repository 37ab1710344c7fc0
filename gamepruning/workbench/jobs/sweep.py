"""Many games of one network side by side, and which of them are worth having."""

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from gamepruning.compaction.compact import compact
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
from gamepruning.selection import round_mask
from gamepruning.workbench.methods.equilibrium import CHECKED
from gamepruning.workbench.methods.gates import absorb_gates
from gamepruning.workbench.methods.small_networks import counts_of
from gamepruning.workbench.settings.defaults import settle
from gamepruning.workbench.settings.sweep import SweepSettings
from gamepruning.workbench.training.loop import (
    Split,
    TrainInfo,
    evaluate,
    keep_statistics,
)
from gamepruning.workbench.training.optimizers import optimizer_at
from gamepruning.workbench.training.run_folder import (
    RunFolder,
    open_folder,
    working_in,
    write_config,
)
from gamepruning.workbench.training.stages import (
    Stage,
    make_trainer,
    new_progress,
    run_stage,
)
from gamepruning.workbench.training.task import Task, make_task

JUDGED_AT_ONCE = 4  # points whose activations on the validation data are held at once


def points_of(
    settings: SweepSettings, learning_rate: float, gate_learning_rate: float
) -> SweepPoints:
    """Every combination of the settings' lists.

    Args:
      settings: what to do.
      learning_rate: of the weights, where none was asked for.
      gate_learning_rate: the same of the gates.
    """
    return sweep_grid(
        alpha=settings.alpha,
        beta=settings.beta,
        gamma=settings.gamma,
        eta=settings.eta,
        weight_learning_rate=settings.learning_rate or learning_rate,
        gate_learning_rate=settings.gate_learning_rate or gate_learning_rate,
        seed=tuple(range(settings.seeds)),
    )


class _SweepState(NamedTuple):
    game: EquilibriumState
    key: jax.Array


def run_sweep(
    settings: SweepSettings,
    *,
    out: Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Path:
    """Play all games of a sweep in one compiled program and write a folder.

    Args:
      settings: what to do.
      out: the folder to make; `runs/<data>-<model>-sweep-<n>` if None.
      resume: go on with the interrupted sweep of `out`, under its own settings.
      console: where progress and tables go; the terminal if None.

    Returns:
      The folder: `sweep.json`, `sweep.csv`, `figures/pareto.png`.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to go on.
    """
    console = console or Console()
    stem = (settings.dataset, settings.network.name, "sweep")
    folder, settings = open_folder(
        settings, stem, out=out, resume=resume, console=console
    )
    with console.status("reading data"):
        task = make_task(
            settings.dataset,
            settings.data,
            settings.network,
            seed=0,
            key=jax.random.key(0),
        )
        num_train = len(task.dataset.train.labels)
        training = settle(
            settings.training,
            network=settings.network.name,
            num_train=num_train,
            task=task.dataset.task,
        )
    points = points_of(settings, training.learning_rate, training.gate_learning_rate)
    with working_in(folder, "gamepruning sweep"):
        write_config(folder, settings, training)
        rows = _play(task, settings, training, points, folder, console)
        _write(folder, task, settings, rows)
    console.print(_table(task, rows))
    console.print(f"all rows: {folder.out / 'sweep.csv'}", markup=False, soft_wrap=True)
    return folder.out


def _play(task: Task, settings, training, points, folder, console) -> list[dict]:
    """Train all points, then say of each what is left of it."""
    plain = task.network.is_plain

    def optimizer(weight_learning_rate, gate_learning_rate):
        gate_tx = projected_gate_ascent(gate_learning_rate, optax.scale_by_adam())
        return joint_optimizer(optimizer_at(training, weight_learning_rate), gate_tx)

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

    fresh = jax.vmap(lambda seed: task.network.init(jax.random.key(seed)))
    judge = _judge(task)
    validation = jax.device_put(task.dataset.validation)

    def record(state: _SweepState) -> dict[str, Any]:
        values = judge(state.game.params, state.game.gates, validation)
        active = (state.game.gates >= settings.game.threshold).sum(axis=1)
        return {
            "validation": float(values.mean()),
            "points": [round(float(v), 5) for v in values],
            "active": [int(a) for a in active],
        }

    key = jax.random.key(0)
    start = _SweepState(init(fresh(points.seed)), key)
    with new_progress(console) as progress:
        trainer = make_trainer(task, training, folder, progress)
        label = f"{points.num_points} games"
        stage = Stage("sweep", label, training.epochs, key, start, step, record)
        game = run_stage(stage, trainer).state.game
    game = jax.tree.map(jnp.asarray, jax.device_get(game))  # on one device again
    with console.status("judging"):
        return _judge_points(task, settings, points, game, judge, validation)


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


def _judge_points(task, settings, points, game, judge, validation) -> list[dict]:
    players = task.players
    masks = np.stack(
        [
            np.asarray(
                round_mask(
                    players,
                    np.asarray(surviving_players(g, threshold=settings.game.threshold)),
                    g,
                    1,
                    min_units=1,
                )
            )
            for g in game.gates
        ]
    )
    left = jnp.where(jnp.asarray(masks), game.gates, 0.0)
    on = judge(game.params, game.gates, validation)
    removed = judge(game.params, left, validation)
    rows = points.rows()
    for k, row in enumerate(rows):
        row["kept"] = int(masks[k].sum())
        row["kept per family"] = list(counts_of(players, masks[k]))
        row["sparsity"] = round(1 - row["kept"] / players.num_players, 4)
        row["validation gates on"] = float(on[k])
        row["validation removed"] = float(removed[k])
    front = pareto_front(
        {
            "value": [row["validation removed"] for row in rows],
            "kept": [row["kept"] for row in rows],
        },
        maximise="value",
        minimise="kept",
    )
    for k, row in enumerate(rows):
        row["front"] = k in front
        if row["front"]:
            params = jax.tree.map(lambda leaf, k=k: leaf[k], game.params)
            row["test removed"] = _test(task, params, game.gates[k], masks[k])
    return rows


def _test(task: Task, params: Any, gates: jax.Array, mask: np.ndarray) -> float:
    """The test metric of the network after its players were really taken out."""
    inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
    full = absorb_gates(task.network.apply, task.players, params, gates, mask, inputs)
    apply, small = full.apply, full.params
    if not full.mask.all():
        cut = compact(full.players, full.params, full.mask, inputs=(inputs,))
        apply, small = cut.apply, cut.params
    return evaluate(apply, small, task.dataset.test, task.metric)


def _write(
    folder: RunFolder, task: Task, settings: SweepSettings, rows: list[dict]
) -> None:
    from gamepruning.workbench.report import plots, theme

    data = {"command": settings.command(), "metric": task.metric_name, "rows": rows}
    folder.write_text("sweep.json", json.dumps(data, indent=1) + "\n")
    text = io.StringIO()
    names = [*rows[0], *(() if "test removed" in rows[0] else ("test removed",))]
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for row in rows:
        counts = "/".join(map(str, row["kept per family"]))
        writer.writerow(row | {"kept per family": counts})
    folder.write_text("sweep.csv", text.getvalue())
    (folder.partial / "figures").mkdir(exist_ok=True)
    figure = plots.plot_pareto(rows, metric=task.metric_name)
    theme.save_png(figure, folder.partial / "figures" / "pareto.png")


def _table(task: Task, rows: list[dict]) -> Table:
    """The front, smallest network first, with what differs between the points."""
    names = [
        name for name in SweepPoints._fields if len({row[name] for row in rows}) > 1
    ]
    front = [row for row in rows if row["front"]]
    table = Table(
        title=f"{len(front)} of {len(rows)} games are not beaten in both respects",
        title_justify="left",
    )
    for name in (*names, "kept", "gates on", "removed", "test"):
        table.add_column(name, justify="right")
    for row in sorted(front, key=lambda row: row["kept"]):
        values = [
            row["validation gates on"],
            row["validation removed"],
            row["test removed"],
        ]
        counts = "/".join(map(str, row["kept per family"]))
        shown = [
            f"{100 * v:.1f} %" if task.metric_name == "accuracy" else f"{v:.3f}"
            for v in values
        ]
        table.add_row(*(f"{row[name]:g}" for name in names), counts, *shown)
    return table
