"""Why a model has no players: the cause that holds most of its parameters."""

import dataclasses
import re
from collections.abc import Sequence
from math import prod

from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.model import TracedModel
from gamepruning.trace.primitives import ADVICE
from gamepruning.trace.units import Frozen, frozen_axes
from gamepruning.trees.paths import Shapes

# What is so in every model: it is told where there is nothing else to tell.
_ALWAYS = re.compile(r"it meets axis \d+ of input|it is an output of the model")


def nothing_to_prune(model: TracedModel) -> str:
    """Why nothing can leave, in one line, and what would help.

    Args:
      model: a traced model without a unit that could leave.
    """
    base = model.base
    rows = frozen_axes(base.analysis, base.param_labels, model.paths, base.number_of)
    if not rows:
        return "nothing to prune: the model has no parameters"
    text = "nothing to prune: no parameter axis can lose an entry; "
    if base.analysis.opaque:
        text += f"not understood, so left whole: {_not_understood(base.analysis)}; "
    row, share = _main_cause(model, rows)
    where = f"axis {row.axis} of {row.path or 'params'!r}"
    text += f"for example {where} stays because {row.reason}"
    if share < 1:
        text += f", as do {100 * share:.0f} % of the parameters"
    return text + _hint(model)


def _not_understood(analysis: LabelAnalysis) -> str:
    """The opaque primitives, why each is, and what to do."""
    names, causes = sorted(analysis.opaque), {**ADVICE, **analysis.failures}
    told = [name + (f" ({causes[name]})" if name in causes else "") for name in names]
    has_advice = all(name in ADVICE for name in names)
    return ", ".join(told) + ("" if has_advice else " (see register_rule)")


def _main_cause(model: TracedModel, rows: tuple[Frozen, ...]) -> tuple[Frozen, float]:
    """The largest axis of the cause that holds most parameters, and their share.

    What every model has, inputs and outputs, counts only where it is all there is.
    """
    causes = by_cause(rows, model.shapes)
    special = {cause: k for cause, k in causes.items() if not _ALWAYS.match(cause)}
    total = sum(map(prod, model.shapes.values()))
    held_by = {cause: held(found) for cause, found in (special or causes).items()}
    main = max(held_by, key=lambda cause: held_by[cause])
    found = causes[main]
    return max(found, key=lambda row: found[row]), held_by[main] / max(total, 1)


def by_cause(rows: Sequence[Frozen], shapes: Shapes) -> dict[str, dict[Frozen, float]]:
    """By cause, and by axis, how many entries of parameters it holds.

    Args:
      rows: what stays.
      shapes: of the parameters; what is none of them holds nothing.
    """
    causes: dict[str, dict[Frozen, float]] = {}
    for row in rows:
        shape = shapes.get(row.path)
        entries = 0.0
        if shape is not None:
            entries = prod(shape) * row.count / max(shape[row.axis], 1)
        causes.setdefault(row.reason.partition(" in ")[0], {})[row] = entries
    return causes


def held(found: dict[Frozen, float]) -> float:
    """The entries of the parameters of a cause; each parameter counts once."""
    by_path: dict[str, float] = {}
    for row, entries in found.items():
        by_path[row.path] = max(entries, by_path.get(row.path, 0.0))
    return sum(by_path.values())


def _hint(model: TracedModel) -> str:
    """What `reductions="gate"` would find, where it finds anybody."""
    if model.options.reductions != "freeze":
        return ""
    options = dataclasses.replace(model.options, reductions="gate")
    found = TracedModel.of(model.apply, model.example, options).base.num_units
    return f'; reductions="gate" finds {found} players' if found else ""
