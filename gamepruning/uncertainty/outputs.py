"""What MCUE takes as the output of a sub-network: the choice that moves its peak."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gamepruning.trees.arrays import is_array
from gamepruning.types import InputError
from gamepruning.uncertainty.names import McueOutput

MCUE_OUTPUTS: tuple[str, ...] = get_args(McueOutput)
OutputFn: TypeAlias = Callable[[Any], Array]  # of the network's outputs


class Reading(NamedTuple):
    """One definition of the model output.

    Attributes:
      name: of the definition.
      read: outputs of the network -> values t, [B, K].
      total: True if the variance is over inputs, too.
    """

    name: str
    read: OutputFn
    total: bool


def make_reading(output: str | OutputFn, labels: Array | None) -> Reading:
    """The definition of a name of `MCUE_OUTPUTS`, or a user's own.

    Args:
      output: the name, or a function of the network's outputs.
      labels: true classes [B], for the definitions that compare with them.

    Returns:
      The definition.

    Raises:
      InputError: there is no such name, or labels are needed.
    """
    if callable(output):
        return Reading(getattr(output, "__name__", "output"), _rows_of(output), False)
    if output not in MCUE_OUTPUTS:
        raise InputError(
            f"output={output!r}: expected one of {', '.join(MCUE_OUTPUTS)}, or a "
            "function of the network's outputs"
        )
    kind = output.removeprefix("total_")
    if kind == "outputs":
        return Reading(output, _rows_of(lambda x: x), output != kind)
    if kind == "correct" and labels is None:
        raise InputError(f"output={output!r} compares with labels: pass labels [B]")
    true = jnp.zeros(0, int) if labels is None else labels
    readers: dict[str, Callable[[Array], Array]] = {
        "label": lambda x: jnp.argmax(x, axis=-1)[:, None],
        "vote": lambda x: jax.nn.one_hot(jnp.argmax(x, axis=-1), x.shape[-1]),
        "probabilities": lambda x: jax.nn.softmax(x, axis=-1),
        "correct": lambda x: jnp.argmax(x, axis=-1)[:, None] == true[:, None],
    }
    return Reading(output, _of_classes(output, readers[kind], true), output != kind)


def has_nan(outputs: Any) -> Bool[Array, ""]:
    """True if any output of the network is NaN."""
    floats = [
        x for x in jax.tree.leaves(outputs) if jnp.issubdtype(x.dtype, jnp.inexact)
    ]
    return jnp.asarray([jnp.isnan(x).any() for x in floats], bool).any()


def _rows_of(function: Callable[[Any], Any]) -> OutputFn:
    """Values as float [B, K], whatever their shape; a scalar is one row."""

    def read(outputs) -> Float[Array, "B K"]:
        values = function(outputs)
        if not is_array(values):
            raise InputError(
                f"MCUE needs the variance of one array, got {type(values).__name__}: "
                "pass output=a function of the network's outputs that returns one"
            )
        rows = values.reshape(values.shape[0] if values.ndim else 1, -1)
        return rows.astype(jnp.result_type(float))

    return read


def _of_classes(name: str, read: Callable[[Array], Array], labels: Array) -> OutputFn:
    def checked(outputs) -> Array:
        shape = getattr(outputs, "shape", None)
        if shape is None or len(shape) != 2 or shape[1] < 2:
            raise InputError(
                f"output={name!r} needs logits of two or more classes, [B, C], got "
                f"{shape or type(outputs).__name__}: use 'outputs', or a function"
            )
        if name.endswith("correct") and jnp.shape(labels) != shape[:1]:
            raise InputError(
                f"expected labels of shape {shape[:1]}, one for each input, got "
                f"{jnp.shape(labels)}"
            )
        return _rows_of(read)(outputs)

    return checked
