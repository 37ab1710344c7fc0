"""What the players of a family are: heads, head dimensions, rotary pairs, units.

Attention is found where two activations are multiplied: what lies along an axis that
both have, and that is not summed over, are heads; what lies along their other axes are
dimensions of heads. Everything else is a unit: a neuron, a filter, an embedding column.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.model import TracedModel
from gamepruning.trace.primitives import MATRIX_PRODUCTS
from gamepruning.trace.program import Graph, Node, Operand
from gamepruning.trace.rules.contract import dot_numbers
from gamepruning.trace.units import Family
from gamepruning.trace.usage import UsageAnalysis

UNITS, HEADS, GROUPS, QUERIES = "units", "heads", "head groups", "queries of a group"
DIMENSIONS, PAIRS, WHOLE, INPUTS = (
    "head dimensions",
    "rotary pairs",
    "one whole axis",
    "input entries",
)


def kinds_of(model: TracedModel, families: Sequence[Family]) -> tuple[str, ...]:
    """What the players of each family are.

    Args:
      model: the traced model, whose units have numbers.
      families: the families of its units.

    Returns:
      For each family "heads" (of attention; "head groups" are a head of keys and values
      with all its queries, "queries of a group" the same query in all groups), "head
      dimensions", "rotary pairs" (two dimensions that turn together), "one whole axis"
      (one player that owns all entries of a parameter's axis), "input entries", or
      "units".
    """
    base = model.base
    roles: dict[int, set[str]] = {}
    for product in _products_of_activations(model.usage, base.program.graph):
        for atom, role in _roles(base.analysis, product):
            roles.setdefault(int(base.number_of[atom]), set()).add(role)
    found = [_kind(model, family, roles) for family in families]
    places = [_places(family) for family in families]
    grouped = [k for k, kind in enumerate(found) if kind in (HEADS, QUERIES)]
    for k in grouped:
        for j in grouped:
            if found[k] != QUERIES and places[j] < places[k]:  # keys and values, too
                found[k], found[j] = GROUPS, QUERIES
    return tuple(found)


def _places(family: Family) -> frozenset[tuple[str, int]]:
    return frozenset((piece.path, piece.axis) for piece in family.slices)


def _kind(model: TracedModel, family: Family, roles: dict[int, set[str]]) -> str:
    if family.size == 1 and _is_whole(model, family):
        return WHOLE
    own = roles.get(family.start, set())
    for kind in (HEADS, PAIRS, QUERIES, DIMENSIONS):
        if kind in own:
            return kind
    is_input = all(piece.role in ("input", "in") for piece in family.slices)
    has_input = any(piece.role == "input" for piece in family.slices)
    return INPUTS if is_input and has_input else UNITS


def _is_whole(model: TracedModel, family: Family) -> bool:
    """True for one player that owns all entries of a parameter's axis."""
    shapes = model.shapes
    return any(
        piece.path in shapes and 1 < shapes[piece.path][piece.axis] == len(rows)
        for piece in family.slices
        for rows in piece.index
    )


def _products_of_activations(usage: UsageAnalysis, graph: Graph) -> Iterator[Node]:
    """Sums of products neither of which is computed from parameters, entry by entry."""
    for node in graph.nodes:
        is_sum = node.name in MATRIX_PRODUCTS and any(dot_numbers(node)[0])
        if is_sum and not any(map(usage.origin, node.ins[:2])):
            yield node
        for inner in node.subs:
            yield from _products_of_activations(usage, inner)


def _roles(analysis: LabelAnalysis, node: Node) -> Iterator[tuple[int, str]]:
    """What a product of two activations says of the units on its axes."""
    sums, batch = dot_numbers(node)
    heads = _counted(analysis, node.ins[0], batch[0])
    if not heads:
        return
    summed = _counted(analysis, node.ins[0], sums[0])
    for atom in heads:
        yield atom, HEADS
    for atom, count in summed.items():
        yield atom, PAIRS if count == 2 else DIMENSIONS
    for operand, own_sums, own_batch in zip(node.ins[:2], sums, batch, strict=True):
        axes = range(len(analysis.shape(operand)))
        free = (axis for axis in axes if axis not in (*own_sums, *own_batch))
        for atom in _counted(analysis, operand, free):
            yield atom, QUERIES if summed else DIMENSIONS


def _counted(
    analysis: LabelAnalysis, operand: Operand, axes: Iterable[int]
) -> Counter[int]:
    """By atom how many entries of these axes it has."""
    found: Counter[int] = Counter()
    labels = analysis.label(operand)
    for axis in axes:
        label = labels[axis]
        if isinstance(label, np.ndarray):
            for atoms in analysis.atoms.sets(label):
                found.update(atoms)
    return found
