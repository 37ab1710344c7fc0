"""Residual branches: what additions add to a stream that they are computed from.

In `y = x + f(x)` the stream is x and the branch f(x): without it, y is x. So a branch
can leave whatever it computes, and the model without it is exact. This module reads
them off a program; nothing about layers or frameworks is known here.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gamepruning.trace.primitives import (
    ADDITIONS,
    COUNTED_LOOPS,
    CUSTOM_CALLS,
    ELEMENTWISE,
    HEAVY,
    LINEAR,
    PRODUCTS,
    VIEWS,
)
from gamepruning.trace.program import Graph, Lit, Node, Program, is_inexact
from gamepruning.trace.rules.control import scan_parts

Shortcut = tuple[set[Node], set[int]]  # its nodes, and where it may have started
Site = tuple[Node, int]  # an addition, and which of its operands the branch is


class Branch(NamedTuple):
    """One residual branch.

    Attributes:
      sites: where it is added, and where the bias is that is added right after it.
      stream: what it is added to and computed from; the shortcut, if there is one.
      end: what is added.
      reads: what it reads that does not depend on the inputs of the model: inputs of
        the graph that it stands in.
      shortcut: what a projection reads that carries the stream on in another shape; it
        stays when the branch leaves. None where there is no projection.
      loop: the loop over layers, or over anything, in whose body it stands, if any.
      is_layered: the loop runs over stacked parameters, so each turn is a layer.
    """

    sites: tuple[Site, ...]
    stream: int
    end: int
    reads: frozenset[int]
    shortcut: frozenset[int] | None = None
    loop: Node | None = None
    is_layered: bool = False

    @property
    def first(self) -> Node:
        """The addition."""
        return self.sites[0][0]

    @property
    def length(self) -> int:
        """How many layers have one; 1 if it is one in all turns."""
        return self.loop.params["length"] if self.loop and self.is_layered else 1


def find_branches(program: Program, num_params: int) -> tuple[Branch, ...]:
    """The residual branches of a program, in the order in which it adds them.

    They are looked for in the program itself and in the bodies of its loops of a known
    length; what stands in other bodies belongs to the branch around it, if any.

    Args:
      program: the program, whose first inputs are the parameters.
      num_params: how many those are.
    """
    graph = program.graph
    reader = _Reader(program, graph, graph.inputs[num_params:])
    found = reader.branches()
    for node in graph.nodes:
        if node.name in COUNTED_LOOPS:
            found += _in_loop(program, node, reader.moving)
    place = {node: k for k, node in enumerate(graph.nodes)}
    return tuple(sorted(found, key=lambda b: place[b.loop or b.first]))


def _in_loop(program: Program, node: Node, moving: set[int]) -> Iterator[Branch]:
    """The branches in the body of a loop; what it carries depends on the inputs."""
    (body,) = node.subs
    parts, inside = scan_parts(node, node.ins), scan_parts(node, body.inputs)
    outer, inner = [*parts.consts, *parts.stacked], [*inside.consts, *inside.stacked]
    moves = [v for x, v in zip(outer, inner, strict=True) if x in moving]
    is_layered = any(_is_stacked(program, x, moving) for x in parts.stacked)
    reader = _Reader(program, body, [*inside.carry, *moves])
    for branch in reader.branches():
        yield branch._replace(loop=node, is_layered=is_layered)


def leaves_read(
    program: Program, branch: Branch, reads: frozenset[int], num_params: int
) -> frozenset[int]:
    """The parameters, by number, behind what a branch reads.

    Args:
      program: the program, whose first inputs are the parameters.
      branch: the branch.
      reads: its `reads` or its `shortcut`.
      num_params: how many parameters there are.
    """
    rows = list(reads)
    if branch.loop is not None:
        (body,) = branch.loop.subs
        pairs = zip(branch.loop.ins, body.inputs, strict=True)
        rows = _values([operand for operand, value in pairs if value in reads])
    makers = {value: node for node in program.graph.nodes for value in node.outs}
    found: set[int] = set()
    while rows:
        value = rows.pop()
        if value not in found:
            found.add(value)
            rows += _values(makers[value].ins) if value in makers else []
    leaves = program.graph.inputs[:num_params]
    return frozenset(k for k, value in enumerate(leaves) if value in found)


def _is_stacked(program: Program, operand, moving: set[int]) -> bool:
    """True for parameters, or what follows from them alone: an array of numbers."""
    return not isinstance(operand, Lit) and (
        operand not in moving
        and operand not in program.constants
        and is_inexact(program.aval(operand))
    )


class _Reader:
    """Reads the branches off one graph.

    Attributes:
      moving: the values that depend on the inputs of the model.
    """

    def __init__(self, program: Program, graph: Graph, moving: Iterable[int]):
        self._program, self._graph = program, graph
        self.moving = set(moving)
        for node in graph.nodes:
            if not self.moving.isdisjoint(_values(node.ins)):
                self.moving.update(node.outs)
        self._makers = {value: node for node in graph.nodes for value in node.outs}
        self._sums = [node for node in graph.nodes if self._is_sum(node)]
        self._bit: dict[int, int] = {}
        for node in self._sums:
            for value in _values(node.ins):
                self._bit.setdefault(value, 1 << len(self._bit))
        self._before: dict[int, int] = {}
        for node in graph.nodes:
            ins = _values(node.ins)
            bits = 0
            for value in ins:
                bits |= self._before.get(value, 0) | self._bit.get(value, 0)
            self._before.update(dict.fromkeys(node.outs, bits))
        self._stream_of: dict[int, int] = {}

    def _is_sum(self, node: Node) -> bool:
        """True for a sum of two arrays of its own type that depend on the inputs."""
        if node.name not in ADDITIONS or len(_values(node.ins)) != 2:
            return False
        out, *ins = map(self._program.aval, (*node.outs, *node.ins))
        alike = all(x.dtype == out.dtype for x in ins)
        return alike and out.ndim > 0 and is_inexact(out) and self._all_move(node.ins)

    def _is_whole(self, node: Node, value: int) -> bool:
        """True if an operand of a sum has its shape, and is not spread over it."""
        return self._program.shape(value) == self._program.shape(node.outs[0])

    def _all_move(self, operands: Sequence) -> bool:
        return self.moving.issuperset(_values(operands))

    def branches(self) -> list[Branch]:
        """All of them, in order."""
        found: list[Branch] = []
        for node in self._sums:
            stream = self._stream(node)
            if stream is None:
                found += self._beside_shortcut(node)
                continue
            which, origin = stream
            self._stream_of[node.outs[0]] = node.ins[which]  # type: ignore[assignment]
            parts = list(self._parts(node, 1 - which, origin))
            if len(parts) == 1:
                parts = [self._with_biases(parts[0], node.outs[0])]
            found += parts
        return found

    def _with_biases(self, branch: Branch, total: int) -> Branch:
        """The branch and the parameters that are added to the sum at once.

        So in `x + h @ w + b`, which Python adds from the left.
        """
        sites, reads = list(branch.sites), branch.reads
        while len(after := self._program.readers.get(total, ())) == 1:
            (node,) = after
            if not isinstance(node, Node) or not self._adds_parameter(node, total):
                break
            operand = 1 - node.ins.index(total)
            sites.append((node, operand))
            reads |= self._read_by([node])
            self._stream_of[node.outs[0]] = total
            (total,) = node.outs
        return branch._replace(sites=tuple(sites), reads=reads)

    def _adds_parameter(self, node: Node, total: int) -> bool:
        """True if a node adds to a sum, in its type, what depends on no input."""
        if node.name not in ADDITIONS or len(values := _values(node.ins)) != 2:
            return False
        aval = self._program.aval
        alike = aval(node.outs[0]).dtype == aval(total).dtype
        others = self.moving.intersection(values) - {total}
        return alike and self._is_whole(node, total) and not others

    def _stream(self, node: Node) -> tuple[int, int] | None:
        """Which operand is the stream, and which value of it the other is made from."""
        one, two = _values(node.ins)
        for which, (stream, other) in enumerate([(one, two), (two, one)]):
            if self._is_before(stream, other):
                return (which, stream) if self._is_whole(node, stream) else None
        origins = [
            self._origin(value, other) if self._is_whole(node, value) else None
            for value, other in ((one, two), (two, one))
        ]
        which = 0 if origins[1] is None else 1
        origin = origins[which]
        if origin is None or None not in origins:
            return None
        return which, origin

    def _is_before(self, value: int, other: int) -> bool:
        """True if the other is computed from the value."""
        return bool(self._before.get(other, 0) & self._bit.get(value, 0))

    def _origin(self, value: int, other: int) -> int | None:
        """An earlier stage of the stream from which the other is computed.

        So in `(x + f(x)) + g(x)`: the sum carries x on.
        """
        while True:
            node = self._makers.get(value)
            if value in self._stream_of:
                value = self._stream_of[value]
            elif node is not None and node.name in VIEWS:
                value = _values(node.ins)[0]
            else:
                return None
            if self._is_before(value, other):
                return value

    def _parts(self, node: Node, operand: int, origin: int) -> Iterator[Branch]:
        """The branch at an operand; several where it is a sum of branches itself."""
        end = _values(node.ins)[operand]
        maker = self._makers.get(end)
        if maker in self._sums and self._program.readers[end] == {node}:
            both = _values(maker.ins)  # type: ignore[union-attr]
            if end not in self._stream_of and all(
                self._is_heavy_between(origin, value) and self._is_whole(maker, value)  # type: ignore[arg-type]
                for value in both
            ):
                for k in range(2):
                    yield from self._parts(maker, k, origin)  # type: ignore[arg-type]
                return
        if self._is_heavy_between(origin, end):
            reads = self._read_by(self._between(origin, end))
            yield Branch(((node, operand),), origin, end, reads)

    def _is_heavy_between(self, start: int, end: int) -> bool:
        """True if a product, or what costs as much, lies between."""
        return _has_heavy(self._between(start, end))

    def _between(self, start: int, end: int) -> set[Node]:
        """The nodes on the way from one value to another."""
        found: set[Node] = set()
        rows = [end]
        while rows:
            value = rows.pop()
            node = self._makers.get(value)
            if value == start or node is None or node in found:
                continue
            if self._is_before(start, value):
                found.add(node)
                rows += _values(node.ins)
        return found

    def _read_by(self, nodes: Iterable[Node]) -> frozenset[int]:
        """The inputs of the graph that nodes read and that do not move."""
        rows = [v for node in nodes for v in _values(node.ins)]
        found: set[int] = set()
        while rows:
            value = rows.pop()
            if value not in self.moving and value not in found:
                found.add(value)
                node = self._makers.get(value)
                rows += _values(node.ins) if node is not None else []
        return frozenset(found.intersection(self._graph.inputs))

    # -- shortcuts -----------------------------------------------------------------

    def _beside_shortcut(self, node: Node) -> Iterator[Branch]:
        """The branch beside a shortcut from what both are computed from.

        The shortcut gives the stream the shape of the sum: by strides, padding or
        pooling, and then the branch has a product; or by one product with a parameter,
        and then the branch has more than one, and an activation.
        """
        one, two = _values(node.ins)
        for operand, (short, end) in enumerate([(two, one), (one, two)]):
            if not self._is_whole(node, short):
                continue
            kinds = (self._plain, _has_heavy), (self._projection, _bends)
            for find, is_longer in kinds:
                shortcut, forks = find(short)
                inside = self._back_to(forks, end) if forks else None
                if inside is not None and is_longer(inside):
                    reads, beside = self._read_by(inside), self._read_by(shortcut)
                    yield Branch(((node, operand),), short, end, reads, beside)
                    return

    def _plain(self, end: int) -> Shortcut:
        """A shortcut without products; nothing where there is none."""
        nodes, forks = self._chain(end)
        shapes = {self._program.shape(value) for value in (end, *forks)}
        return (nodes, forks) if len(shapes) > 1 else (set(), set())

    def _chain(self, end: int) -> Shortcut:
        """From a value back, as long as each is cheaply made of one real one."""
        nodes, values = set(), [end]
        while (node := self._makers.get(values[-1])) is not None:
            ins = self._moving_ins(node)
            if len(ins) != 1 or not is_inexact(self._program.aval(ins[0])):
                break
            if node.name in PRODUCTS or _is_costly(node):
                break
            nodes.add(node)
            values.append(ins[0])
        return nodes, set(values[1:])

    def _projection(self, end: int) -> Shortcut:
        """A shortcut with one product; nothing where there is none."""
        products: set[Node] = set()
        light: set[Node] = set()
        rows = [end]
        while rows:
            node = self._makers.get(rows.pop())
            if node is None or _is_costly(node):
                return set(), set()
            if node.name in PRODUCTS:
                products.add(node)
            elif node not in light:
                light.add(node)
                rows += self._moving_ins(node)
            if len(products) > 1:
                return set(), set()
        starts = [v for product in products for v in self._moving_ins(product)]
        shape = self._program.shape
        if len(starts) != 1 or shape(starts[0]) == shape(end):
            return set(), set()
        return light | products, {starts[0], *self._chain(starts[0])[1]}

    def _back_to(self, starts: set[int], end: int) -> set[Node] | None:
        """The nodes from any of the values to the end; None if it reads others, too."""
        found: set[Node] = set()
        rows = [end]
        while rows:
            value = rows.pop()
            if value in starts:
                continue
            node = self._makers.get(value)
            if node is None:
                return None
            if node not in found:
                found.add(node)
                rows += self._moving_ins(node)
        return found

    def _moving_ins(self, node: Node) -> list[int]:
        values = dict.fromkeys(_values(node.ins))
        return [value for value in values if value in self.moving]


def _values(operands: Sequence) -> list[int]:
    return [v for v in operands if not isinstance(v, Lit)]


def _is_heavy(node: Node) -> bool:
    inner = (n for body in node.subs[:1] for n in body.nodes)
    return node.name in HEAVY or any(map(_is_heavy, inner))


def _has_heavy(nodes: Iterable[Node]) -> bool:
    return any(map(_is_heavy, nodes))


def _is_costly(node: Node) -> bool:
    """True for what no shortcut has: loops, and calls with products in them."""
    return bool(node.subs) and _is_heavy(node)


def _bends(nodes: Iterable[Node]) -> bool:
    """True for two products or more with something between that is not linear."""
    nodes = list(nodes)
    num_products = sum(node.name in PRODUCTS or _is_costly(node) for node in nodes)
    bent = (ELEMENTWISE - LINEAR) | CUSTOM_CALLS
    return num_products > 1 and any(node.name in bent or node.subs for node in nodes)
