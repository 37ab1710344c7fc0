"""What changes when one player enters or leaves: which products, and by how much.

Players that the same nodes read move alike: they are of one kind. A product that reads
them, and whose operands do not depend on them, is updated; what follows it is computed
again; everything else stays.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gamepruning.run.gated import Sites
from gamepruning.trace.primitives import CUSTOM_CALLS, HEAVY
from gamepruning.trace.program import Lit, Node, Program
from gamepruning.trace.rules import contraction_of

MAX_KINDS = 32  # each kind of move is compiled on its own
PASS_COST = 1.0  # multiply-adds that take as long as an entry of a cheap operation
WRITE_COST = 4.0  # and as an entry of a result that is kept


class ToggleSite(NamedTuple):
    """How a product reads the players of one kind.

    Attributes:
      operand: the operand with the players, 0 or 1.
      dims: the contracted axis, of operand 0 and of operand 1.
      columns: the players of each entry of the axis, int [size, k], as in `Columns`.
      entries: the entries of each player, int [N, r].
      is_entry: which of those are real, bool [N, r].
    """

    operand: int
    dims: tuple[int, int]
    columns: np.ndarray
    entries: np.ndarray
    is_entry: np.ndarray

    def is_run(self) -> bool:
        """True if the entries of each player lie side by side."""
        played = self.is_entry.any(axis=1)
        steps = np.diff(self.entries[played], axis=1)
        return bool(self.is_entry[played].all() and (steps == 1).all())


class ToggleKind(NamedTuple):
    """What happens when a player of this kind moves.

    Attributes:
      changed: the nodes whose results change.
      sites: those of them that are updated; the others run again.
    """

    changed: frozenset[Node]
    sites: dict[Node, ToggleSite]


class ToggleKinds(NamedTuple):
    """The moves of all varying players.

    Attributes:
      kinds: the kinds of move.
      kind_of: the kind of each player, int [N]; players that do not vary have 0.
      is_updated: whose moves are updates, bool [N]; the others' run everything again.
      share: mean cost of a move, as estimated from shapes; a full pass has 1.
    """

    kinds: tuple[ToggleKind, ...]
    kind_of: np.ndarray
    is_updated: np.ndarray
    share: float


def find_toggle_kinds(
    program: Program, sites: Sites, late: Sequence[Node], varying: np.ndarray
) -> ToggleKinds:
    """Sort the varying players, bool [N], into kinds.

    Args:
      program: the traced model.
      sites: where the players are gated.
      late: the nodes that depend on varying players, in order.
      varying: who may move.
    """
    reads = {node: readers(node, sites, len(varying)) for node in late}
    groups: dict[tuple, list[int]] = {}
    for player in np.flatnonzero(varying):
        nodes = tuple(node for node, read in reads.items() if read[player])
        groups.setdefault(nodes, []).append(int(player))
    full = sum(node_cost(program, node) for node in late)
    found = []
    for nodes, members in groups.items():
        kind = _kind(sites, late, nodes, members, len(varying))
        found.append((_move_cost(program, late, kind) / full, kind, members))
    return _number(sorted(found, key=lambda row: row[0]), late, varying)


def _number(found: list, late: Sequence[Node], varying: np.ndarray) -> ToggleKinds:
    """Number the kinds; players without an update share one that runs everything."""
    kind_of, is_updated = np.zeros(len(varying), np.int32), np.zeros(len(varying), bool)
    kinds: list[ToggleKind] = []
    total, others = 0.0, []
    for cost, kind, members in found:
        if not kind.sites or len(kinds) == MAX_KINDS:
            others += members
            continue
        kind_of[members], is_updated[members] = len(kinds), True
        kinds.append(kind)
        total += cost * len(members)
    if others:
        kind_of[others] = len(kinds)
        kinds.append(ToggleKind(frozenset(late), {}))
    share = (total + len(others)) / max(int(varying.sum()), 1)
    return ToggleKinds(tuple(kinds), kind_of, is_updated, share)


def _kind(
    sites: Sites,
    late: Sequence[Node],
    nodes: Sequence[Node],
    members: Sequence[int],
    num_players: int,
) -> ToggleKind:
    """The move of players that are read by these nodes."""
    changed = downstream(late, set(nodes))
    touched: set[int] = set()
    updated = {}
    for node in late:
        if node in nodes and touched.isdisjoint(operands(node)):
            site = _site(node, sites, members, num_players)
            if site is not None:
                updated[node] = site
        if node in changed:
            touched.update(node.outs)
    return ToggleKind(frozenset(changed), updated)


def _site(
    node: Node, sites: Sites, members: Sequence[int], num_players: int
) -> ToggleSite | None:
    """Where a product reads these players; None where no update is due."""
    contraction = contraction_of(node)
    if contraction is None or not contraction.is_plain:
        return None
    numbers = np.asarray(members) + 1
    found = [site for site in sites.get(node, ()) if np.isin(site[2], numbers).any()]
    if len(found) != 1:
        return None
    ((operand, dim, columns),) = found
    dims = next(pair for pair in contraction.summed if pair[operand] == dim)
    entries, is_entry = _entries(columns, numbers, num_players)
    if entries.shape[1] > 1 and 2 * entries.shape[1] > len(columns):
        return None
    return ToggleSite(operand, dims, columns, entries, is_entry)


def _entries(columns: np.ndarray, numbers: np.ndarray, num_players: int):
    """The entries of each of some players, padded to equal length, and which are."""
    lists = [np.flatnonzero((columns == number).any(axis=1)) for number in numbers]
    entries = np.zeros((num_players, max(map(len, lists))), np.int32)
    is_entry = np.zeros(entries.shape, bool)
    for number, found in zip(numbers, lists, strict=True):
        entries[number - 1, : len(found)] = found
        is_entry[number - 1, : len(found)] = True
    return entries, is_entry


# -- costs -------------------------------------------------------------------------


def node_cost(program: Program, node: Node) -> float:
    """About how many multiply-adds a node is worth."""
    entries = _num_entries(program, node)
    if contraction_of(node) is not None:
        return entries * (_num_terms(program, node) + WRITE_COST)
    if node.subs:
        body = node.subs[-1] if "body_jaxpr" in node.params else node.subs[0]
        inner = sum(node_cost(program, n) for n in body.nodes)
        return inner * node.params.get("length", 1)
    return entries * PASS_COST


def _move_cost(program: Program, late: Sequence[Node], kind: ToggleKind) -> float:
    total = 0.0
    for node in late:
        site = kind.sites.get(node)
        if site is not None:
            entries = _num_entries(program, node)
            share = site.entries.shape[1] / len(site.columns)
            summed = share * _num_terms(program, node)
            total += entries * (summed + WRITE_COST)
        elif node in kind.changed:
            total += node_cost(program, node)
    return total


def _num_entries(program: Program, node: Node) -> int:
    return sum(math.prod(program.shape(value)) for value in node.outs)


def _num_terms(program: Program, node: Node) -> int:
    """How many terms each entry of a product's result is the sum of."""
    contraction = contraction_of(node)
    return contraction.num_terms(program.shape(node.ins[1])) if contraction else 0


# -- the graph ---------------------------------------------------------------------


def readers(node: Node, sites: Sites, num_players: int) -> np.ndarray:
    """The players that are gated in a node, bodies included, bool [N]."""
    found = np.zeros(num_players + 1, bool)
    for _, _, columns in sites.get(node, ()):
        found[columns] = True
    for graph in node.subs:
        for inner in graph.nodes:
            found[1:] |= readers(inner, sites, num_players)
    return found[1:]


def downstream(nodes: Sequence[Node], sources: set[Node]) -> set[Node]:
    """Those of the nodes that are among the sources or read from them."""
    found: set[Node] = set()
    touched: set[int] = set()
    for node in nodes:
        if node in sources or not touched.isdisjoint(operands(node)):
            found.add(node)
            touched.update(node.outs)
    return found


def operands(node: Node) -> Iterator[int]:
    """The values that a node reads, in its bodies too."""
    yield from (v for v in node.ins if not isinstance(v, Lit))
    for graph in node.subs:
        for inner in graph.nodes:
            yield from operands(inner)


def is_heavy(node: Node) -> bool:
    """True if a node's result is worth keeping."""
    if node.name in HEAVY:
        return True
    inner = (n for graph in node.subs for n in graph.nodes)
    return node.name in CUSTOM_CALLS and any(map(is_heavy, inner))
