"""The figures of a pruning run, with their captions."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from gamepruning.workbench.report.family_plots import (
    MAX_FAMILIES,
    plot_dynamics,
    plot_gates,
    plot_participation,
    plot_receptive_fields,
    plot_scores,
)
from gamepruning.workbench.report.plots import plot_contest, plot_training
from gamepruning.workbench.report.results import RunResult


class Outcome(NamedTuple):
    """What a method found out about each player.

    Attributes:
      mask: who stays, bool [N].
      scores: by which they were chosen, float [N].
      measure: what a score is.
      gates: participation after each epoch, float [E, N]; None without a game.
      threshold: players with a smaller gate left.
      fields: incoming weights over the image, float [K, H, W]; None without images.
    """

    mask: np.ndarray
    scores: np.ndarray
    measure: str
    gates: np.ndarray | None
    threshold: float
    fields: np.ndarray | None


class Drawing(NamedTuple):
    """A figure with its title, its caption, and its section of the page."""

    figure: Figure
    title: str
    caption: str
    section: str


def draw_run(
    result: RunResult, records: Sequence[Mapping], outcome: Outcome
) -> dict[str, Drawing]:
    """All figures by file name.

    Args:
      result: what the run found.
      records: lines of `metrics.jsonl`.
      outcome: what was found out about each player.
    """
    spread = ", with its standard error" if result.metric == "accuracy" else ""
    drawings = {
        "contest": Drawing(
            plot_contest(result),
            "Same size, same training.",
            f"Test {result.metric}{spread}; the dashed line is the dense network.",
            "result",
        ),
        "training": Drawing(
            plot_training(records, result=result),
            "Validation, epoch by epoch.",
            "The dashed line marks the removal of players.",
            "training",
        ),
        **_draw_players(result, records, outcome),
    }
    if outcome.fields is not None:
        drawings["weights"] = Drawing(
            plot_receptive_fields(outcome.fields),
            "What the kept players look at.",
            "Incoming weights of the first family: blue excites, red inhibits.",
            "players",
        )
    return drawings


def _draw_players(
    result: RunResult, records: Sequence[Mapping], outcome: Outcome
) -> dict[str, Drawing]:
    families, gates, threshold = result.families, outcome.gates, outcome.threshold
    count = len(families)
    few = f" {MAX_FAMILIES} of {count} families shown." if count > MAX_FAMILIES else ""
    if gates is None:
        figure = plot_scores(
            outcome.scores, families, outcome.mask, measure=outcome.measure
        )
        caption = f"Sorted; kept players are in colour.{few}"
        return {"players": Drawing(figure, "Scores.", caption, "players")}
    return {
        "players": Drawing(
            plot_gates(gates, families, outcome.mask),
            "Participation.",
            f"One line per player; kept players are in colour.{few}",
            "players",
        ),
        "dynamics": Drawing(
            plot_dynamics(
                records, gates, families, threshold=threshold, metric=result.metric
            ),
            "The game, epoch by epoch.",
            "Validation data, gates on.",
            "training",
        ),
        "participation": Drawing(
            plot_participation(gates[-1], families, threshold=threshold),
            "Final participation.",
            f"The dashed line is the threshold, {threshold:g}.{few}",
            "players",
        ),
    }
