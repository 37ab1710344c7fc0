"""Compiling a function of parameters that may hold more than arrays."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax


def is_array(leaf) -> bool:
    """True for arrays and shapes of arrays; other leaves are part of the model."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def shapes_of(inputs: Sequence[Any]) -> str:
    """The types and shapes of inputs, in words.

    Example:
      >>> import numpy as np
      >>> shapes_of([np.zeros((2, 3), np.float32), None, {"x": 0.5}])
      'float32[2, 3], NoneType, dict of (float)'
    """
    return ", ".join(map(_shape_of, inputs)) or "none"


def _shape_of(one: Any) -> str:
    if is_array(one):
        return f"{one.dtype}[{', '.join(map(str, one.shape))}]"
    leaves, name = jax.tree.leaves(one), type(one).__name__
    is_leaf = not leaves or leaves[0] is one
    return name if is_leaf else f"{name} of ({shapes_of(leaves)})"


def map_arrays(fn: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with fn(leaf) for its arrays; functions, names and numbers stay.

    Example:
      >>> import numpy as np
      >>> map_arrays(lambda leaf: leaf + 1, {"w": np.zeros(2), "act": "relu"})
      {'act': 'relu', 'w': array([1., 1.])}
    """
    return jax.tree.map(lambda leaf: fn(leaf) if is_array(leaf) else leaf, tree)


def split_arrays(params: Any) -> tuple[list, Callable[[Sequence], Any]]:
    """The arrays of params, and a function that puts them back.

    Leaves that are not arrays, such as numbers and names, are part of the model: jit
    must not make arrays of them.
    """
    leaves, treedef = jax.tree.flatten(params)
    are_arrays = [is_array(leaf) for leaf in leaves]
    others = [None if mine else x for mine, x in zip(are_arrays, leaves, strict=True)]

    def rebuild(arrays: Sequence) -> Any:
        given, pairs = iter(arrays), zip(are_arrays, others, strict=True)
        filled = [next(given) if mine else other for mine, other in pairs]
        return jax.tree.unflatten(treedef, filled)

    return [leaf for leaf in leaves if is_array(leaf)], rebuild


def compiled(fn: Callable[[Any, Any], Any], params: Any, data: Any) -> Any:
    """fn(params, data) as one program; see `CompiledFunction` for repeated calls."""
    return CompiledFunction(fn)(params, data)


class CompiledFunction:
    """fn(params, data), compiled once for arguments of the same structure and shapes.

    Its arguments are the arrays among the leaves. Closing over large parameters would
    compile them in as constants. A result that is one of the arguments is that array
    itself and no copy of it.

    Example:
      >>> import numpy as np
      >>> double = CompiledFunction(lambda params, x: params["times"] * x)
      >>> [float(double({"times": 2}, np.float32(x))) for x in (1, 3)], double
      ([2.0, 6.0], CompiledFunction(compiled for 1 kind of arguments))
    """

    def __init__(self, fn: Callable[[Any, Any], Any]):
        self._fn = fn
        self._made = Memo()

    def __call__(self, params: Any, data: Any) -> Any:
        arrays, rebuild = split_arrays(params)
        given, treedef = jax.tree.flatten((arrays, data))
        constants = [leaf for leaf in jax.tree.leaves(params) if not is_array(leaf)]
        key = (
            jax.tree.structure(params),
            tuple(map(Constant, constants)),
            treedef,
            tuple(jax.typeof(value) for value in given),
        )
        run, told = self._made.get(key, lambda: self._compile(rebuild, treedef))
        made = iter(run(*given))
        out_tree, places = told[0]
        outs = [next(made) if place is None else given[place] for place in places]
        return jax.tree.unflatten(out_tree, outs)

    def _compile(
        self, rebuild: Callable[..., Any], treedef: Any
    ) -> tuple[Callable[..., Any], list]:
        """A compiled function of arrays; and, once it has run, how to read it."""
        told: list[tuple[Any, list[int | None]]] = []

        def run(*values: Any) -> list:
            arrays, data = jax.tree.unflatten(treedef, values)
            outs, out_tree = jax.tree.flatten(self._fn(rebuild(arrays), data))
            places = [_place(out, values) for out in outs]
            told.append((out_tree, places))
            pairs = zip(outs, places, strict=True)
            return [out for out, place in pairs if place is None]

        return jax.jit(run), told

    def __repr__(self) -> str:
        plural = "" if len(self._made) == 1 else "s"
        kinds = f"{len(self._made)} kind{plural} of arguments"
        return f"CompiledFunction(compiled for {kinds})"


def _place(value: Any, values: tuple[Any, ...]) -> int | None:
    """Where this very object stands among others."""
    return next((k for k, other in enumerate(values) if other is value), None)


class Constant:
    """A leaf that is part of the model: equal if equal in value and type."""

    def __init__(self, leaf: Any):
        self._leaf = leaf

    def __hash__(self) -> int:
        return hash(type(self._leaf))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constant):
            return False
        one, two = self._leaf, other._leaf
        return one is two or (type(one) is type(two) and bool(one == two))


class Memo:
    """The last things that were made, by what they were made for.

    Example:
      >>> memo = Memo(most=2)
      >>> [memo.get(key, lambda: key.upper()) for key in ("a", "b", "a", "c")]
      ['A', 'B', 'A', 'C']
      >>> len(memo), memo.get("b", lambda: "again")  # what is oldest was let go
      (2, 'again')
    """

    def __init__(self, most: int = 32):
        self._most = most
        self._made: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._made)

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What was made for this key; make() if nothing, or if it has no hash."""
        try:
            is_there = key in self._made
        except TypeError:
            return make()
        found = self._made.pop(key) if is_there else make()
        self._made[key] = found
        while len(self._made) > self._most:
            del self._made[next(iter(self._made))]
        return found
