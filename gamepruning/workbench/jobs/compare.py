"""All methods on one budget and one split: curves, ranks, tests, and a report."""

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from gamepruning.errors import InputError
from gamepruning.files.paths import short_names
from gamepruning.stats import MethodComparison
from gamepruning.workbench.jobs import one_curve
from gamepruning.workbench.jobs.curve import check_curve
from gamepruning.workbench.jobs.forecast import forecast
from gamepruning.workbench.jobs.one_curve import Trained
from gamepruning.workbench.jobs.rivals import mend
from gamepruning.workbench.jobs.run import Run, Where, open_run, settle_for
from gamepruning.workbench.methods.equilibrium import play_equilibrium
from gamepruning.workbench.methods.small_networks import (
    SmallNetwork,
    cut_alike,
    make_small,
)
from gamepruning.workbench.registry import find_method
from gamepruning.workbench.report import comparison
from gamepruning.workbench.report.comparison import DENSE
from gamepruning.workbench.settings.prune import SizeSettings
from gamepruning.workbench.settings.studies import CompareSettings, CurveSettings
from gamepruning.workbench.training.sizes import check_keep, fit_sizes
from gamepruning.workbench.training.stages import new_progress
from gamepruning.workbench.training.task import Prepared


def run_compare(settings: CompareSettings, **where: Unpack[Where]) -> Path:
    """Prune the same networks by all methods to one size, and rank the methods.

    Every method starts from the same trained network of each seed (the equilibrium
    game, which trains while it prunes, from the same start and for as many epochs),
    removes players for real, and gets the same epochs of fine-tuning. Choices use
    training and validation data; the metric is that on test data. Returns the folder:
    `compare.html`, `compare.json`, `compare.csv`, `figures/*.png`.
    """
    stem = (settings.datasets[0], settings.network.name, "compare")
    run = open_run(settings, stem, where)
    settings = run.settings
    with run.console.status("reading data"):
        curves = map(settings.as_curve, settings.datasets)
        prepared = [one_curve.prepare_curve(curve, 0) for curve in curves]
        prepared = [*map(_called, prepared, short_names(settings.datasets).values())]
        names = {made.task.metric_name: made.task.dataset.name for made in prepared}
        if len(names) > 1:  # one cannot take the mean over all data sets
            told = " and ".join(f"{metric} of {name}" for metric, name in names.items())
            raise InputError(f"--datasets are judged by {told}: compare them apart")
        for dataset, made in zip(settings.datasets, prepared, strict=True):
            check_keep(made.task.players, SizeSettings(keep=settings.keep))
            check_curve(_curve_of(settings, dataset, made), made.task)
    with run.writing(*prepared):
        rows = _run_all(run, prepared)
        found = comparison.rank(settings, rows)
        _write(run, prepared, rows, found)
    run.console.print(comparison.headline(settings, found))
    run.console.print(comparison.comparison_table(settings, rows, found))
    if note := comparison.sizes_note(settings):
        run.console.print(note, style="dim")
    return run.tell("report", "compare.html")


def _called(made: Prepared, name: str) -> Prepared:
    """The same with a name of the data set that no other has."""
    dataset = made.task.dataset._replace(name=name)
    return made._replace(task=made.task._replace(dataset=dataset))


def _curve_of(settings: CompareSettings, dataset: str, made: Prepared) -> CurveSettings:
    share = settings.share_of(made.task.players.num_players)
    sizes = fit_sizes(settings.sizes, made.task.players, share)
    return settings.as_curve(dataset).but(sizes=sizes)


def _run_all(run: Run[CompareSettings], prepared: Sequence[Prepared]) -> list[dict]:
    """A row for each data set, seed and method; those on file are not done again."""
    rows, settings, start = [], run.settings, time.monotonic()
    todo = len(settings.datasets) * settings.seeds
    with new_progress(run.console) as progress:
        for number, dataset in enumerate(settings.datasets):
            first, draw = prepared[number], functools.partial(_run, settings, dataset)
            curve = _curve_of(settings, dataset, first)
            for network in one_curve.train_networks(
                run.folder, progress, curve, first, f"{number}_"
            ):
                is_first = number == network.seed == 0 and not run.folder.resume
                if is_first:
                    told = forecast(settings, network, time.monotonic() - start)
                    run.console.print(told)
                for name in (DENSE, *settings.methods):
                    rows.append(run.row(f"{name}-{network.label}", draw, name, network))
                if is_first and todo > 1:
                    left = (todo - 1) * (time.monotonic() - start) / 60
                    run.console.print(f"About {left:.2g} min for the other networks")
    return rows


def _run(settings: CompareSettings, dataset: str, name: str, network: Trained) -> dict:
    """The row of a method, or of the dense network."""
    names: dict[str, Any] = {"dataset": dataset, "seed": network.seed, "method": name}
    names["metric"] = network.task.metric_name
    names["unbalanced"] = network.task.needs_balance
    if name == DENSE:
        everybody = np.ones(network.task.players.num_players, bool)
        return names | _facts(network, everybody, network.cut(everybody), DENSE)
    if find_method(name).kind == "equilibrium":
        return names | _equilibrium(settings, dataset, network)
    share = settings.share_of(network.task.players.num_players)
    row = one_curve.draw_curve(name, network, tuned=(share,), counts=settings.counts)
    place = sorted(network.settings.sizes).index(share)
    return names | {
        "kept": row["sizes"][place],
        "of": row["num_players"],
        "before": row["values"][place],
        "after": row["tuned"][0] if "tuned" in row else None,
        **_of_classes(row, place),
        **{key: row[key] for key in ("seconds", "evaluations", "sizes", "values")},
    }


def _equilibrium(settings: CompareSettings, dataset: str, network: Trained) -> dict:
    """The game for the same budget, from the network's own start."""
    task = network.task
    asked = settings.as_equilibrium(dataset, network.seed)
    training = settle_for(task, asked, asked.rates, has_budget=True)
    made = network.made._replace(training=training)
    trainer = network.trainer._replace(training=training)
    choice = play_equilibrium(made, asked, trainer, f"equilibrium_{network.label}")
    small, full = make_small(task, choice.full), choice.full
    if (found := mend(f"equilibrium_{network.label}", task, trainer, full)) is not None:
        small = cut_alike(task, full._replace(params=found.params), small)
    return _facts(network, choice.mask, small, "equilibrium")


def _facts(network: Trained, mask: np.ndarray, small: SmallNetwork, name: str) -> dict:
    """What a network is worth that no scores led to, before and after fine-tuning."""
    after = network.tune(small, name)
    last = small.params if after is None else after
    return {
        "kept": int(mask.sum()),
        "of": len(mask),
        "before": network.judge(small.apply, small.params),
        "after": None if after is None else network.judge(small.apply, after),
        **_of_classes(network.score_classes([(small.apply, last)]), 0),
        "seconds": None,
        "evaluations": 0,
    }


def _of_classes(row: dict[str, Any], place: int) -> dict[str, Any]:
    """Balanced accuracy and recalls, after fine-tuning if there was any."""
    stage, place = (" tuned", 0) if "balanced tuned" in row else ("", place)
    found = {kind: row.get(f"{kind}{stage}") for kind in ("balanced", "recalls")}
    return {k: None if values is None else values[place] for k, values in found.items()}


def _write(
    run: Run[CompareSettings],
    prepared: Sequence[Prepared],
    rows: Sequence[dict],
    found: MethodComparison | None,
) -> None:
    names = {made.task.dataset.name: made.task.dataset.class_names for made in prepared}
    facts: dict[str, Any] = {"classes": names, "rows": list(rows)}
    if found is not None:
        facts["ranks"] = {
            "methods": list(found.names),
            "mean_ranks": found.ranks.tolist(),
            "friedman": found.friedman._asdict(),
            "nemenyi": found.nemenyi.tolist(),
            "wilcoxon_holm": found.wilcoxon.tolist(),
            "critical_difference": found.critical_difference,
            "blocks": [list(block) for block in comparison.blocks_of(run.settings)],
        }
    figures = comparison.make_figures(run.settings, rows, found)
    run.write(facts, comparison.comparison_csv(rows), figures, ())
    data = run.folder.read_config()["data"]
    page = comparison.render_compare(run.settings, rows, found, figures, data)
    run.folder.write_text("compare.html", page)
