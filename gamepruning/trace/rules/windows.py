"""Primitives that slide a window: pooling and its derivatives."""

from gamepruning.trace import primitives
from gamepruning.trace.atoms import Label
from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Node
from gamepruning.trace.rules.parts import zero_same
from gamepruning.trace.rules.registry import define


def label_window(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """Axes that the window does not cover pass."""
    out = _windowed_all(analysis, node, labels[0])
    return [out for _ in node.outs]


def _windowed_all(analysis: LabelAnalysis, node: Node, labels: Labels) -> Labels:
    return tuple(_windowed(analysis, node, labels, d) for d in range(len(labels)))


def _windowed(analysis: LabelAnalysis, node: Node, labels: Labels, dim: int) -> Label:
    ones = (1,) * len(labels)
    window = (
        node.params["window_dimensions"][dim],
        node.params["window_strides"][dim],
        tuple(node.params["padding"][dim]),
        (node.params.get("base_dilation") or ones)[dim],
        (node.params.get("window_dilation") or ones)[dim],
    )
    if window == (1, 1, (0, 0), 1, 1):
        return labels[dim]
    reason = f"it is slid over by {explain_node(node)}"
    analysis.freeze([labels[dim]], reason)
    return reason


define(primitives.POOLING, label=label_window, zero=zero_same)
define(primitives.WINDOWS - primitives.POOLING, label=label_window)


def label_select_and_scatter_add(
    analysis: LabelAnalysis, node: Node, source: Labels, operand: Labels
) -> list[Labels]:
    """The gradient of max pooling."""
    out = _windowed_all(analysis, node, operand)
    for dim, label in enumerate(source):
        analysis.unify(label, out[dim])
    return [out]


def label_select_and_gather_add(
    analysis: LabelAnalysis, node: Node, tangents: Labels, operand: Labels
) -> list[Labels]:
    """The forward derivative of max pooling."""
    analysis.unify_all(tangents, operand)
    return [_windowed_all(analysis, node, operand)]


define("select_and_scatter_add", label=label_select_and_scatter_add)
define("select_and_gather_add", label=label_select_and_gather_add)
