"""Compiling a function of parameters that may hold more than arrays."""

from collections.abc import Callable, Sequence
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

    def rebuild(arrays: Sequence) -> Any:
        given = iter(arrays)
        filled = [next(given) if is_array(leaf) else leaf for leaf in leaves]
        return jax.tree.unflatten(treedef, filled)

    return [leaf for leaf in leaves if is_array(leaf)], rebuild


def compiled(fn: Callable[[Any, Any], Any], params: Any, data: Any) -> Any:
    """fn(params, data) as one program, whose arguments are the arrays among them.

    Closing over large parameters would compile them in as constants. A result that is
    one of the arguments is that array itself and no copy of it.
    """
    arrays, rebuild = split_arrays(params)
    given, treedef = jax.tree.flatten((arrays, data))
    told: list[tuple[Any, list[int | None]]] = []

    def run(*values: Any) -> list:
        arrays, data = jax.tree.unflatten(treedef, values)
        outs, out_tree = jax.tree.flatten(fn(rebuild(arrays), data))
        number = {id(value): k for k, value in enumerate(values)}  # alive all along
        places = [number.get(id(out)) for out in outs]
        told.append((out_tree, places))
        pairs = zip(outs, places, strict=True)
        return [out for out, place in pairs if place is None]

    made = iter(jax.jit(run)(*given))
    out_tree, places = told[0]
    outs = [next(made) if place is None else given[place] for place in places]
    return jax.tree.unflatten(out_tree, outs)
