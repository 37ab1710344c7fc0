"""What a model must be before it is trained or pruned: pure, and one row at a time.

A module that was left in training mode is neither: it keeps batch statistics and draws
dropout. Its trace would be of another network than the one in use.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.verify import relative_error, tolerance
from gamepruning.files.fingerprint import fingerprint
from gamepruning.trees.finite import blame_not_finite, count_not_finite
from gamepruning.trees.paths import named_leaves
from gamepruning.trees.trainable import is_trainable
from gamepruning.types import InputError

ROWS_TRIED = 4  # first ones, each alone
EVALUATE = "return it in evaluation mode, such as module.eval() or train=False"


def check_pure(apply: Callable[..., Any], params: Any, *inputs: Any) -> None:
    """Check that a model gives the same outputs twice, and leaves `params` alone.

    It is called twice, not traced: what leaks out of a trace hides its cause.

    Args:
      apply: apply(params, *inputs) -> outputs.
      params: its parameters, arrays.
      *inputs: example inputs, arrays.

    Raises:
      InputError: the model is not pure.

    Example:
      >>> import itertools
      >>> calls = itertools.count()
      >>> try:
      ...     check_pure(lambda w, x: w * x + next(calls), 2.0, 3.0)
      ... except InputError as error:
      ...     print(str(error).split(":")[0])
      apply(params, *inputs) gives other outputs when it is called again
    """
    before = fingerprint(params)
    one, two = apply(params, *inputs), apply(params, *inputs)
    if fingerprint(params) != before:
        raise InputError(
            "apply(params, *inputs) changes params in place, as batch norm in training "
            f"mode does: {EVALUATE}"
        )
    if relative_error(one, two) > 0:
        if any(map(count_not_finite, jax.tree.leaves(one))):
            raise InputError(
                "apply(params, *inputs) gives NaN or infinity on the example inputs"
                f"{blame_not_finite(params, inputs)}"
            )
        raise InputError(
            "apply(params, *inputs) gives other outputs when it is called again: it "
            f"draws random numbers, such as dropout, or counts; {EVALUATE}"
        )


def check_rows_alone(apply: Callable[..., Any], params: Any, inputs: Any) -> None:
    """Check that the outputs of an example depend on neither its place nor the others.

    Args:
      apply: apply(params, inputs) -> outputs.
      params: its parameters, arrays.
      inputs: two examples or more, [B, ...], that are not all the same.

    Raises:
      InputError: they do, by more than rounding.
    """

    def row(tree: Any, number: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[number : number + 1], tree)

    together = apply(params, inputs)
    count = len(jax.tree.leaves(inputs)[0])
    for number in sorted({*range(min(count, ROWS_TRIED)), count - 1}):
        alone = apply(params, row(inputs, number))
        error = relative_error(row(together, number), alone)
        if not error <= tolerance(params, together):
            raise InputError(
                f"the outputs of an example change by {error:.2g} of the largest "
                "output with its place in the batch or with the other examples there, "
                "as by batch norm in training mode, or by dropout that is on: "
                f"{EVALUATE}"
            )


def state_of(
    train_apply: Callable[..., Any] | None, params: Any, inputs: Any
) -> frozenset[str]:
    """The paths of what training keeps up to date by itself, such as batch statistics.

    These are the batch statistics, the leaves that `train_apply` returns changed, and
    those that are not real numbers.

    Args:
      train_apply: (params, inputs, key) -> (outputs, params), or None.
      params: the parameters, arrays.
      inputs: some examples, [B, ...], that are not all the same.

    Raises:
      InputError: `train_apply` returns something else, or batch statistics that are
        still 0 and 1 as they were.
    """
    old = named_leaves(params)
    statistics = statistics_in(old)
    if train_apply is None:
        return frozenset(statistics)
    before = fingerprint(params)
    made = train_apply(params, inputs, jax.random.key(0))
    if fingerprint(params) != before:
        raise InputError(
            "it changes params in place: work on a copy, such as nnx.merge(graphdef, "
            "params, copy=True)"
        )
    is_pair = isinstance(made, tuple) and len(made) == 2
    if not is_pair or _forms(made[1]) != _forms(params):
        raise InputError(
            "expected (outputs, params), params of the shapes and types it was given"
        )
    new = named_leaves(made[1])
    same = {k for k, x in old.items() if np.array_equal(x, new[k], equal_nan=True)}
    if statistics and same.issuperset(statistics) and are_fresh(params):
        raise InputError(
            f"it returns the batch statistics ({', '.join(statistics[:2])}, ...) as "
            "they were, 0 and 1: put what the module returns for them into params, "
            "such as {**params, **updated} with linen's mutable=['batch_stats']"
        )
    own = {name for name, leaf in old.items() if not is_trainable(leaf)}
    return frozenset({*statistics, *own, *(old.keys() - same)})


def are_fresh(params: Any) -> bool:
    """Return True if all batch statistics are where training begins: 0 and 1.

    Example:
      >>> are_fresh({"bn": {"mean": np.zeros(2), "var": np.ones(2)}})
      True
    """
    leaves = named_leaves(params)
    found = {name: np.asarray(leaves[name]) for name in statistics_in(leaves)}
    return all((leaf == name.endswith("var")).all() for name, leaf in found.items())


def _forms(tree: Any) -> dict[str, tuple]:
    """The shapes and number types of a tree's leaves by path."""
    leaves = named_leaves(tree)
    return {k: (np.shape(own), jnp.result_type(own)) for k, own in leaves.items()}


def statistics_in(names: Iterable[str]) -> list[str]:
    """The paths that look like batch statistics: of linen, nnx, and their like.

    Example:
      >>> statistics_in(["batch_stats/a", "bn/mean", "bn/var", "dense/mean"])
      ['batch_stats/a', 'bn/mean', 'bn/var']
    """
    names, pair = set(names), ("mean", "var")
    layers = {name.rpartition("/")[0] for name in names}
    both = {x for x in layers if all(f"{x}/{end}".lstrip("/") in names for end in pair)}
    found = {f"{layer}/{end}".lstrip("/") for layer in both for end in pair}
    return sorted(found | {n for n in names if n.startswith("batch_stats/")})
