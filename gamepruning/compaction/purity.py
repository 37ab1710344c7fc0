"""What a model must be before it is trained or pruned: pure, and one row at a time.

A module that was left in training mode is neither: it keeps batch statistics and draws
dropout. Its trace would be of another network than the one in use.
"""

from collections.abc import Callable
from typing import Any

import jax

from gamepruning.compaction.verify import relative_error, tolerance
from gamepruning.files.fingerprint import fingerprint
from gamepruning.types import InputError

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
        raise InputError(
            "apply(params, *inputs) gives other outputs when it is called again: it "
            f"draws random numbers, such as dropout, or counts; {EVALUATE}"
        )


def check_rows_alone(apply: Callable[..., Any], params: Any, inputs: Any) -> None:
    """Check that the outputs of an example do not depend on the others of its batch.

    Args:
      apply: apply(params, inputs) -> outputs.
      params: its parameters, arrays.
      inputs: two examples or more, [B, ...], that are not all the same.

    Raises:
      InputError: they do, by more than rounding.
    """
    together = apply(params, inputs)
    alone = apply(params, jax.tree.map(lambda leaf: leaf[:1], inputs))
    first = jax.tree.map(lambda leaf: leaf[:1], together)
    error = relative_error(first, alone)
    if not error <= tolerance(params, together):
        raise InputError(
            f"the outputs of an example change by {error:.2g} of the largest output "
            "with the other examples of its batch, as by batch norm in training mode: "
            f"{EVALUATE}"
        )
