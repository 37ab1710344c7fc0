"""Which array entries live and die together: a union-find over single indices.

Every index of every axis of every intermediate array carries one *node*. A node is
an atom (a thing that can leave on its own), a link to another node, or a product:
the index stays if and only if all the atoms that it resolves to stay. Node 0 stays
for ever. This module knows nothing of JAX.

The *label* of an axis is one of

* ``None``: the axis has one entry, nothing to decide;
* a string: the whole axis stays, and this is why;
* an int array with one node for each index.
"""

from collections.abc import Iterable, Sequence

import numpy as np

Label = None | str | np.ndarray
Node = int | np.integer
FROZEN = 0
_MAX_PRODUCTS = 1 << 20
_LESS_OFTEN = "it is tied to an entry that leaves less often"
Sets = Sequence[frozenset[int]]


class Atoms:
    """The union-find. Soundness rests on freeze, unify, merge and split."""

    def __init__(self):
        self._parent = np.zeros(1024, np.int64)
        self._block = np.zeros(1024, np.int64)
        self._why = np.zeros(1024, np.int64)
        self._is_product = np.zeros(1024, bool)
        self._count = 1
        self._num_blocks = 1
        self._products: dict[int, frozenset[int]] = {}
        self._product_of: dict[frozenset[int], int] = {}
        self._reasons = ["it stays"]

    # -- nodes ---------------------------------------------------------------------

    def _grow(self, num: int) -> np.ndarray:
        need = self._count + num
        if need > len(self._parent):
            size = max(need, 2 * len(self._parent))
            for name in ("_parent", "_block", "_why", "_is_product"):
                grown = np.zeros(size, getattr(self, name).dtype)
                grown[: self._count] = getattr(self, name)[: self._count]
                setattr(self, name, grown)
        nodes = np.arange(self._count, need)
        self._parent[nodes] = nodes
        self._count = need
        return nodes

    def new(self, size: int) -> np.ndarray:
        """`size` new atoms, one block."""
        nodes = self._grow(size)
        self._block[nodes] = self._num_blocks
        self._num_blocks += 1
        return nodes

    @property
    def num_nodes(self) -> int:
        """How many nodes there are."""
        return self._count

    def blocks(self) -> np.ndarray:
        """The allocation block of every node."""
        return self._block[: self._count].copy()

    def roots(self, nodes: np.ndarray) -> np.ndarray:
        """The representatives of `nodes` (atoms, products or FROZEN)."""
        found, why = self._parent[nodes], self._why[nodes]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                break
            why = np.where(why == 0, self._why[found], why)
            found = above
        self._parent[nodes], self._why[nodes] = found, why
        return found

    def _root(self, node: Node) -> int:
        node = int(node)
        while self._parent[node] != node:
            node = int(self._parent[node])
        return node

    def resolve(self, node: Node) -> frozenset[int]:
        """The atoms that all have to stay for `node` to stay, if any."""
        root = self._root(int(node))
        if root == FROZEN:
            return frozenset()
        members = self._products.get(root)
        if members is None:
            return frozenset((root,))
        atoms = frozenset().union(*(self.resolve(member) for member in members))
        if len(atoms) < 2:  # the product has become plain
            if not atoms:
                self._why[root] = self._reason(self.why(root))
            self._drop_product(root)
            self._parent[root] = next(iter(atoms), FROZEN)
        elif atoms != members:
            self._products[root] = atoms
        return atoms

    def product(self, atoms: frozenset[int]) -> int:
        """A node that stays if and only if all of `atoms` do."""
        if len(atoms) < 2:
            return next(iter(atoms), FROZEN)
        node = self._product_of.get(atoms)
        if node is None or self._root(node) != node:
            node = int(self._grow(1)[0])
            self._product_of[atoms] = node
            self._products[node] = atoms
            self._is_product[node] = True
        return node

    def _drop_product(self, node: int) -> None:
        del self._products[node]
        self._is_product[node] = False

    def sets(self, nodes: np.ndarray) -> list[frozenset[int]]:
        """`resolve` of every entry, each distinct root resolved once."""
        found, back = np.unique(self.roots(nodes), return_inverse=True)
        products = found[self._is_product[found]].tolist()
        settled = self._are_settled(products)
        known = {k: self._products[k] for k in settled}
        known |= {k: self.resolve(k) for k in products if k not in known}
        known[FROZEN] = frozenset()
        sets = [known.get(k) for k in found.tolist()]
        sets = [
            frozenset((k,)) if atoms is None else atoms
            for k, atoms in zip(found.tolist(), sets, strict=True)
        ]
        return [sets[k] for k in back.tolist()]

    def members(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`resolve` of every entry as pairs (number of the entry, atom), by entry.

        Example: the second of three entries needs two atoms, the third is frozen.
          >>> atoms = Atoms()
          >>> one, two = atoms.new(2).tolist()
          >>> both = atoms.product(frozenset((one, two)))
          >>> [part.tolist() for part in atoms.members(np.array([one, both, 0]))]
          [[0, 1, 1], [1, 1, 2]]
        """
        roots = self.roots(nodes)
        is_product = self._is_product[roots]
        index = np.flatnonzero(~is_product & (roots != FROZEN))
        if not is_product.any():
            return index, roots[index]
        places = np.flatnonzero(is_product)
        products, back = np.unique(roots[places], return_inverse=True)
        sets = self.sets(products)
        counts = np.fromiter(map(len, sets), np.int64, len(sets))
        flat = np.fromiter((atom for atoms in sets for atom in atoms), np.int64)
        starts = np.cumsum(counts) - counts
        each = counts[back]
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        index = np.concatenate([index, np.repeat(places, each)])
        atoms = np.concatenate(
            [
                roots[index[: len(index) - len(within)]],
                flat[np.repeat(starts[back], each) + within],
            ]
        )
        order = np.lexsort([atoms, index])
        return index[order], atoms[order]

    def _are_settled(self, products: list[int]) -> list[int]:
        """Those of some products whose members are all atoms that can leave."""
        if not products:
            return []
        members = [self._products[node] for node in products]
        flat = np.fromiter((m for atoms in members for m in atoms), np.int64)
        plain = (self._parent[flat] == flat) & ~self._is_product[flat]
        starts = np.cumsum([0, *map(len, members[:-1])])
        whole = np.logical_and.reduceat(plain & (flat != FROZEN), starts)
        return [node for node, ok in zip(products, whole, strict=True) if ok]

    # -- what stays ----------------------------------------------------------------

    def _reason(self, text: str) -> int:
        self._reasons.append(text)
        return len(self._reasons) - 1

    def why(self, node: Node) -> str:
        """Why a frozen node is frozen."""
        node = int(node)
        while node != FROZEN:
            if self._why[node]:
                return self._reasons[self._why[node]]
            members = self._products.get(node)
            if members:
                return self.why(next(iter(members)))
            node = int(self._parent[node])
        return self._reasons[0]

    def is_frozen(self, label: Label) -> bool:
        """True if no index of the axis can leave."""
        if not isinstance(label, np.ndarray):
            return True
        roots = np.unique(self.roots(label))
        live = roots[roots != FROZEN]
        if not self._is_product[live].all():
            return False
        return not any(self.resolve(node) for node in live)

    def reasons(self, nodes: np.ndarray) -> dict[str, int]:
        """How many of these frozen nodes are frozen for each reason, in order."""
        self.roots(nodes)
        numbers, first, counts = np.unique(
            self._why[nodes], return_index=True, return_counts=True
        )
        found: dict[str, int] = {}
        for k in np.argsort(first):
            known = numbers[k] > 0
            same = nodes[[first[k]]] if known else nodes[self._why[nodes] == 0]
            for node in same:
                text = self.why(node)
                found[text] = found.get(text, 0) + (int(counts[k]) if known else 1)
        return found

    def freeze(self, label: Label, reason: str) -> None:
        """All indices of the axis stay for ever, because of `reason`."""
        if not isinstance(label, np.ndarray):
            return
        roots = np.unique(self.roots(label))
        roots = roots[roots != FROZEN]
        if not len(roots):
            return
        number = self._reason(reason)
        plain = ~self._is_product[roots]
        self._set_frozen(roots[plain], number)
        for node in roots[~plain]:
            atoms = np.fromiter(self.resolve(node), np.int64)
            self._set_frozen(atoms, number)
            if self._is_product[node]:
                self._drop_product(int(node))
            self._set_frozen(np.array([node]), number)

    def _set_frozen(self, atoms: np.ndarray, number: int) -> None:
        self._parent[atoms] = FROZEN
        self._why[atoms] = number

    # -- unify ---------------------------------------------------------------------

    def unify(self, first: Label, second: Label) -> Label:
        """Index k of one axis stays if and only if index k of the other does.

        Returns the label to go on with.
        """
        if first is None or second is None:
            return second if first is None else first
        if isinstance(first, str) or isinstance(second, str):
            reason = first if isinstance(first, str) else second
            assert isinstance(reason, str)
            self.freeze(first, reason)
            self.freeze(second, reason)
            return reason
        if first is second:
            return first
        if len(first) != len(second):
            raise ValueError(f"cannot unify {len(first)} with {len(second)} indices")
        one, two = self.roots(first), self.roots(second)
        differ = one != two
        if differ.any():
            self._freeze_partners(first, one, second, two)
            self._unify_roots(one[differ], two[differ], first, second)
        return first

    def _freeze_partners(self, first, one, second, two) -> None:
        """What meets a frozen index is frozen for the same reason."""
        for label, frozen, other in ((first, one, two), (second, two, one)):
            hits = np.flatnonzero((frozen == FROZEN) & (other != FROZEN))
            if len(hits):
                self.freeze(other[hits], self.why(label[hits[0]]))

    def _unify_roots(self, one, two, first, second) -> None:
        pairs = np.unique(np.stack([self.roots(one), self.roots(two)], 1), axis=0)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        one, two = pairs[:, 0], pairs[:, 1]
        flat = pairs.reshape(-1)
        plain = bool(flat.all()) and not self._is_product[flat].any()
        if plain and len(np.unique(flat)) == len(flat):
            self._parent[np.maximum(one, two)] = np.minimum(one, two)
        elif plain or not self._unify_by_pattern(first, second):
            for x, y in pairs:
                self._unify_sets(self.resolve(x), self.resolve(y))

    def _unify_by_pattern(self, first: np.ndarray, second: np.ndarray) -> bool:
        """Merged axes, joined or not: tie the factors that occur at the same indices.

        A factor of one side alone stays: the other's entries do not leave with it.
        """
        one, two = self.sets(first), self.sets(second)
        for parts in (_parts(one), _parts(two)):
            is_joined = len(parts) > 1
            found = [
                _matched([one[k] for k in part], [two[k] for k in part], is_joined)
                for part in parts
            ]
            matches = [match for match in found if match is not None]
            if len(matches) < len(parts):
                continue
            for pairs, _ in matches:
                for atoms in pairs:
                    self._link(*atoms)
            alone = {self._root(atom) for _, atoms in matches for atom in atoms}
            if alone:
                reason = self._reason(_LESS_OFTEN)
                self._set_frozen(np.fromiter(alone, np.int64), reason)
            return True
        return False

    def _link(self, one: int, two: int) -> None:
        one, two = self._root(one), self._root(two)
        if one != two:
            self._parent[max(one, two)] = min(one, two)

    def _unify_sets(self, one: frozenset[int], two: frozenset[int]) -> None:
        if one == two:
            return
        common = one & two
        one, two = one - common, two - common
        if not one or not two:
            for atom in one | two:
                self._set_frozen(
                    np.array([atom]),
                    self._reason(_LESS_OFTEN),
                )
        elif len(one) == 1:
            (atom,) = one
            self._point(atom, two)
        elif len(two) == 1:
            (atom,) = two
            self._point(atom, one)
        else:
            head, *rest = sorted(one | two)
            for atom in rest:
                self._parent[atom] = head

    def _point(self, atom: int, atoms: frozenset[int]) -> None:
        """Atom `atom`, which is not one of `atoms`, becomes their product."""
        if len(atoms) == 1:
            self._link(atom, next(iter(atoms)))
        else:
            self._parent[atom] = self.product(atoms)

    # -- reshape -------------------------------------------------------------------

    def merge(self, labels: Sequence[Label], sizes: Sequence[int]) -> Label:
        """The label of the axis that flattening these axes (row-major) gives."""
        live = [k for k, label in enumerate(labels) if not self.is_frozen(label)]
        if not live:
            return self.reason_of(labels)
        total = int(np.prod(sizes))
        if total > _MAX_PRODUCTS:
            reason = f"flattened into an axis of {total} entries, too long to follow"
            for label in labels:
                self.freeze(label, reason)
            return reason
        grids = np.indices(tuple(sizes)).reshape(len(sizes), -1)
        given = np.stack([labels[k][grids[k]] for k in live], 1)  # type: ignore[index]
        columns = np.stack([self.roots(labels[k])[grids[k]] for k in live], 1)  # type: ignore[index]
        if len(live) == 1:
            nodes = columns[:, 0]
        else:
            rows, back = np.unique(columns, axis=0, return_inverse=True)
            made = [
                self.product(frozenset().union(*(self.resolve(n) for n in row)))
                for row in rows
            ]
            nodes = np.array(made)[back.reshape(-1)]
        # a node that was frozen knows why; FROZEN itself does not
        return np.where(nodes == FROZEN, given[:, 0], nodes)

    def split(self, label: Label, sizes: Sequence[int]) -> list[Label]:
        """The labels of the axes into which an axis is reshaped (row-major)."""
        wide = [k for k, size in enumerate(sizes) if size != 1]
        labels: list[Label] = [None] * len(sizes)
        if len(wide) == 1:
            labels[wide[0]] = label
        elif not isinstance(label, np.ndarray) or self.is_frozen(label):
            for k in wide:
                labels[k] = self.reason_of([label])
        elif len(label) > _MAX_PRODUCTS:
            reason = f"split from an axis of {len(label)} entries, too long to follow"
            self.freeze(label, reason)
            return self.split(self.reason_of([label]), sizes)
        else:
            grid = label.reshape([sizes[k] for k in wide])
            for k, factor in zip(wide, self._factors(grid), strict=True):
                labels[k] = factor
        return labels

    def _factors(self, grid: np.ndarray) -> list[np.ndarray]:
        """One label an axis of `grid` whose products are the entries of `grid`."""
        found = self._known_factors(grid)
        if found is None:
            found = [self.new(size) for size in grid.shape]
            products = self.merge(found, grid.shape)
            for x, y in zip(grid.reshape(-1), products, strict=True):  # type: ignore[arg-type]
                self._unify_sets(self.resolve(x), self.resolve(y))
        return found

    def _known_factors(self, grid: np.ndarray) -> list[np.ndarray] | None:
        """The factorisation that is there already, if there is one."""
        roots = self.roots(grid.reshape(-1))
        if len(np.unique(roots)) == len(roots) and not self._is_product[roots].any():
            return None
        sets = np.empty(grid.size, object)
        sets[:] = self.sets(grid.reshape(-1))
        sets = sets.reshape(grid.shape)
        factors = []
        for axis in range(grid.ndim):
            fibres = np.moveaxis(sets, axis, 0).reshape(grid.shape[axis], -1)
            factors.append([frozenset.intersection(*fibre) for fibre in fibres])
        for index in np.ndindex(*grid.shape):
            known = frozenset().union(
                *(f[k] for f, k in zip(factors, index, strict=True))
            )
            if known != sets[index]:
                return None
        found = [np.array([self.product(atoms) for atoms in f]) for f in factors]
        for factor in found:
            if (factor == FROZEN).any():
                factor[factor == FROZEN] = self._frozen_like(grid)
        return found

    def _frozen_like(self, grid: np.ndarray) -> int:
        """A new frozen node, for the reason of some frozen entry of a grid."""
        nodes = grid.reshape(-1)
        frozen = nodes[self.roots(nodes) == FROZEN]
        reason = self.why(frozen[0]) if len(frozen) else "nothing on it leaves alone"
        (node,) = self.new(1)
        self._set_frozen(np.array([node]), self._reason(reason))
        return int(node)

    def reason_of(self, labels: Iterable[Label]) -> str | None:
        """Why these frozen axes are frozen; None if all have one entry."""
        for label in labels:
            if isinstance(label, str):
                return label
        for label in labels:
            if isinstance(label, np.ndarray):
                return self.why(int(label[0])) if len(label) else "it is empty"
        return None


def _parts(sets: Sets) -> list[list[int]]:
    """The entries that hang together by the atoms that they share, as numbers."""
    holders: dict[int, list[int]] = {}
    for k, atoms in enumerate(sets):
        for atom in atoms:
            holders.setdefault(atom, []).append(k)
    seen: set[int] = set()
    parts = []
    for first in range(len(sets)):
        part, rows = [], [first]
        while rows:
            k = rows.pop()
            if k not in seen:
                seen.add(k)
                part.append(k)
                rows += (j for atom in sets[k] for j in holders.pop(atom, ()))
        if part:
            parts.append(sorted(part))
    return parts


def _matched(
    one: Sets, two: Sets, may_freeze: bool
) -> tuple[list[tuple[int, int]], set[int]] | None:
    """Pairs of atoms that are at the same entries, and the atoms without a partner.

    None if two atoms of one side cannot be told apart, or if atoms without a partner
    are on both sides, or on one where they may not be frozen.
    """
    patterns = []
    for sets in (one, two):
        where: dict[int, list[int]] = {}
        for k, atoms in enumerate(sets):
            for atom in atoms:
                where.setdefault(atom, []).append(k)
        patterns.append({tuple(ks): atom for atom, ks in where.items()})
        if len(patterns[-1]) != len(where):
            return None
    both = patterns[0].keys() & patterns[1].keys()
    alone = [{found[ks] for ks in found.keys() - both} for found in patterns]
    if all(alone) or any(alone) and not may_freeze:
        return None
    return [(patterns[0][ks], patterns[1][ks]) for ks in both], alone[0] | alone[1]
