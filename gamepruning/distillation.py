"""Distillation: a small network learns from what the full one says, too.

    outputs = gp.distillation.teacher_outputs(apply, params, inputs)   # once
    loss = gp.distillation.distillation_loss(small_outputs, labels, outputs)
    loss += gp.distillation.tap_divergence(ours.taps, teacher.taps)      # optional

The teacher's probabilities say more of an example than its label does: which other
classes it resembles, and how sure one can be.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PyTree

from gamepruning.metrics import class_divergence, cross_entropy, squared_error
from gamepruning.run.batches import predict
from gamepruning.spelling import helpful
from gamepruning.trees.arrays import Constant, is_array, split_arrays
from gamepruning.trees.examples import as_inputs, count_rows
from gamepruning.types import InputError, Loss, Params

__all__ = [
    "TEMPERATURE",
    "WEIGHT",
    "distillation_loss",
    "softened_divergence",
    "student_loss",
    "tap_divergence",
    "teacher_outputs",
]
__getattr__, __dir__ = helpful(__name__, __all__)


TEMPERATURE = 4.0
WEIGHT = 0.9  # of the teacher; the labels have the rest


def distillation_loss(
    outputs: ArrayLike,
    labels: Any,
    teacher: ArrayLike,
    *,
    loss_fn: Loss = cross_entropy,
    temperature: float | jax.Array | None = TEMPERATURE,
    weight: float | jax.Array = WEIGHT,
) -> Float[jax.Array, ""]:
    """Loss on labels and distance from a teacher, mixed.

    L = (1 - weight) loss(outputs, labels) + weight D(teacher, outputs)

    Args:
      outputs: of the network that learns, float [..., C].
      labels: what `loss_fn` takes.
      teacher: the outputs of the full network for the same examples, float [..., C];
        no gradient flows there.
      loss_fn: (outputs, labels) -> scalar, to be minimised.
      temperature: for logits; see `softened_divergence`. None for numbers: D is the
        mean squared difference.
      weight: of the teacher, in [0, 1]. At the number 0 the teacher is not looked at,
        at the number 1 neither the labels nor `loss_fn`.

    Returns:
      A scalar.

    Raises:
      InputError: the outputs differ in shape, the temperature is not above 0, or the
        weight is not in [0, 1]; numbers that jit traces are not checked.

    Example: outputs like the teacher's, far from the label.
      >>> outputs = jnp.array([[2.0, 0.0]])
      >>> loss = distillation_loss(outputs, jnp.array([1]), outputs)
      >>> round(float(loss), 4)  # a tenth of 2.1269
      0.2127

    References:
      Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network,
      arXiv 1503.02531, section 2.
    """
    known = _known(weight)
    if known is not None and not 0 <= known <= 1:
        raise InputError(f"expected a weight of the teacher in [0, 1], got {weight}")
    if known == 0:
        return jnp.asarray(loss_fn(outputs, labels))
    if temperature is None:
        _check_shapes(outputs, teacher)
        distance = squared_error(outputs, jax.lax.stop_gradient(teacher))
    else:
        distance = softened_divergence(outputs, teacher, temperature=temperature)
    if known == 1:
        return distance
    return (1 - weight) * loss_fn(outputs, labels) + weight * distance


def _known(number: Any) -> float | None:
    """The number; None if it is traced."""
    return None if isinstance(number, jax.core.Tracer) else float(number)


def student_loss(loss_fn: Loss) -> Callable[[Any, tuple[Any, Any]], jax.Array]:
    """The loss for examples whose labels come with what the teacher says of them.

    The outputs are taken to be logits where `loss_fn` is `cross_entropy` (with class
    weights or not), else they are compared as they are.

    Args:
      loss_fn: (outputs, labels) -> scalar, to be minimised.

    Returns:
      (outputs, (labels, those of the teacher)) -> scalar; see `distillation_loss`.

    Example:
      >>> outputs = jnp.array([[2.0, 0.0]])
      >>> loss = student_loss(cross_entropy)(outputs, (jnp.array([1]), outputs))
      >>> round(float(loss), 4)
      0.2127
    """
    is_logits = getattr(loss_fn, "func", loss_fn) is cross_entropy
    temperature = TEMPERATURE if is_logits else None

    def loss(outputs, known):
        labels, teacher = known
        return distillation_loss(
            outputs, labels, teacher, loss_fn=loss_fn, temperature=temperature
        )

    return loss


def softened_divergence(
    outputs: ArrayLike,
    teacher: ArrayLike,
    *,
    temperature: float | jax.Array = TEMPERATURE,
) -> Float[jax.Array, ""]:
    """How far softened probabilities are from the teacher's.

    T^2 KL(softmax(teacher / T) || softmax(outputs / T)), in nats. The factor keeps the
    size of the gradient whatever T is.

    Args:
      outputs: logits, float [..., C], C >= 2.
      teacher: the teacher's logits, float [..., C]; no gradient flows there.
      temperature: T > 0; a higher one tells more of the unlikely classes.

    Returns:
      The mean over all examples, a scalar >= 0.

    Raises:
      InputError: the outputs differ in shape, there is one class only, or the
        temperature is not above 0.

    Example:
      >>> logits = jnp.array([[2.0, 0.0, 1.0]])
      >>> float(softened_divergence(logits + 5, logits))  # a shift changes nothing
      0.0
    """
    _check_shapes(outputs, teacher)
    known = _known(temperature)
    if known is not None and not 0 < known < np.inf:
        raise InputError(f"expected a temperature above 0, got {temperature}")
    if np.shape(outputs)[-1:] in ((), (1,)):
        raise InputError(
            f"expected logits of two classes or more, got shape {np.shape(outputs)}: "
            "take temperature=None for numbers"
        )
    said = jax.lax.stop_gradient(jnp.asarray(teacher)) / temperature
    return temperature**2 * class_divergence(said, jnp.asarray(outputs) / temperature)


def tap_divergence(
    taps: Mapping[str, ArrayLike], teacher: Mapping[str, ArrayLike]
) -> Float[jax.Array, ""]:
    """How far a network is from its teacher inside.

    The mean over all taps of E (a - b)^2 / E b^2, b the teacher's; of E a^2 where b is
    0 everywhere. In float32 at least.

    Args:
      taps: of the network that learns, {name: float [B, ...]}; see
        `gp.reconstruction.tap_readers`.
      teacher: those of the full network for the same examples, of the same shapes; no
        gradient flows there.

    Returns:
      A scalar >= 0: 0 where all are equal, 1 for a network that has 0 everywhere.
      Cost: a pass over the taps.

    Raises:
      InputError: the names or shapes differ, or `taps` is empty.

    Example:
      >>> float(tap_divergence({"a": jnp.array([1.0, 3.0])}, {"a": jnp.ones(2)}))
      2.0

    References:
      Romero and others, FitNets: Hints for Thin Deep Nets, arXiv 1412.6550, equation 3.
    """
    for given in (taps, teacher):
        if not isinstance(given, Mapping):
            raise InputError(
                f"expected taps by name, got {type(given).__name__}: give the .taps of "
                "what taps.full and taps.small return"
            )
    if not taps or taps.keys() != teacher.keys():
        raise InputError(
            f"expected the same taps of both, got {sorted(taps)} and {sorted(teacher)}"
        )
    shares = []
    for name, ours in taps.items():
        theirs = jax.lax.stop_gradient(jnp.asarray(teacher[name]))
        if np.shape(ours) != theirs.shape:
            raise InputError(
                f"tap {name!r} has shape {np.shape(ours)}, the teacher's {theirs.shape}"
            )
        kind = jnp.promote_types(jnp.result_type(ours, theirs), jnp.float32)
        ours, theirs = jnp.asarray(ours, kind), theirs.astype(kind)
        scale = jnp.square(theirs).mean()
        distance = jnp.square(ours - theirs).mean()
        shares.append(distance / jnp.where(scale > 0, scale, 1))
    return jnp.stack(shares).mean()


def teacher_outputs(
    apply: Callable[..., Any],
    params: Params,
    inputs: PyTree,
    *,
    batch_size: int = 256,
) -> jax.Array:
    """What the teacher says of all examples: evaluated once, to be kept.

    Row k belongs to example k, whatever batches come later. Where examples are changed
    at random in each epoch, there is nothing to keep: call the teacher in the step.

    Args:
      apply: apply(params, *inputs) -> outputs [B, ...], the full network in use.
      params: its parameters.
      inputs: examples, [B, ...], or a tuple of inputs.
      batch_size: examples a pass.

    Returns:
      The outputs, [B, ...]. Cost: one forward pass over the examples. Another call
      with the same `apply` and shapes compiles nothing.

    Raises:
      InputError: there are several outputs, one is NaN or infinite (minus infinity is a
        class that is masked out), or the batch size is below 1.

    Example:
      >>> apply = lambda params, x: x @ params
      >>> outputs = teacher_outputs(apply, jnp.eye(3), jnp.ones((500, 3)))
      >>> outputs.shape
      (500, 3)
    """
    inputs = as_inputs(inputs)
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: expected at least 1")
    size = min(batch_size, count_rows(inputs))
    arrays, _ = split_arrays(params)
    outputs = predict(_Teacher.of(apply, params), arrays, inputs, batch_size=size)
    found = np.asarray(outputs, np.float32)
    bad = np.isnan(found) | (found == np.inf)
    if bad.any():
        row = int(np.argwhere(bad)[0, 0])
        raise InputError(
            f"the teacher's outputs are not finite, first for example {row}: look for "
            "NaN in its weights or in the inputs"
        )
    return outputs


@dataclasses.dataclass(frozen=True)
class _Teacher:
    """(arrays of the parameters, inputs) -> one array of outputs.

    Two of them are equal, and compiled once, if their networks and what of the
    parameters is not an array are.
    """

    apply: Callable[..., Any]
    treedef: Any
    constants: tuple[Constant | None, ...]  # None for arrays
    rebuild: Callable[..., Any] = dataclasses.field(compare=False)

    @classmethod
    def of(cls, apply: Callable[..., Any], params: Params) -> "_Teacher":
        leaves, treedef = jax.tree.flatten(params)
        try:
            hash(apply)
        except TypeError:  # each of its own kind
            apply = functools.partial(apply)
        constants = [None if is_array(leaf) else Constant(leaf) for leaf in leaves]
        return cls(apply, treedef, tuple(constants), split_arrays(params)[1])

    def __call__(self, arrays: list, inputs: tuple) -> jax.Array:
        outputs = self.apply(self.rebuild(arrays), *inputs)
        if not isinstance(outputs, jax.Array):
            raise InputError(
                f"expected one array of outputs, got a {type(outputs).__name__}: give "
                "an apply that returns those to learn from"
            )
        return outputs


def _check_shapes(outputs: ArrayLike, teacher: ArrayLike) -> None:
    if np.shape(outputs) != np.shape(teacher):
        raise InputError(
            f"expected the teacher's outputs of shape {np.shape(outputs)}, as the "
            f"network's own, got {np.shape(teacher)}"
        )
