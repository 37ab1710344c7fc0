"""The figures of a pruning run; their captions are in the template of its page."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from gamepruning.workbench.report.family_plots import (
    plot_dynamics,
    plot_gates,
    plot_participation,
    plot_receptive_fields,
    plot_scores,
)
from gamepruning.workbench.report.plots import plot_contest, plot_training
from gamepruning.workbench.report.results import RunResult


def draw_run(
    result: RunResult,
    records: Sequence[Mapping],
    *,
    mask: Bool[np.ndarray, " N"],
    scores: Float[np.ndarray, " N"],
    measure: str,
    gates: Float[np.ndarray, "E N"] | None,
    threshold: float,
    fields: Float[np.ndarray, "K H W"] | None,
) -> dict[str, Figure]:
    """All figures by file name.

    Args:
      result: what the run found.
      records: lines of `metrics.jsonl`.
      mask: who stays.
      scores: by which they were chosen.
      measure: what a score is.
      gates: participation after each epoch; None without a game.
      threshold: players with a smaller gate left.
      fields: incoming weights over the image; None without images.
    """
    families = result.families
    figures = {
        "contest": plot_contest(result),
        "training": plot_training(records, result=result),
    }
    if gates is None:
        figures["players"] = plot_scores(scores, families, mask, measure=measure)
    else:
        figures["players"] = plot_gates(gates, families, mask)
        figures["dynamics"] = plot_dynamics(
            records, gates, families, threshold=threshold, metric=result.metric
        )
        figures["participation"] = plot_participation(
            gates[-1], families, threshold=threshold
        )
    if fields is not None:
        figures["weights"] = plot_receptive_fields(fields)
    return figures
