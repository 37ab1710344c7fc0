"""What a network is judged by: pure functions of (outputs, labels), each one number.

Losses (lower is better) train a network; metrics (higher is better) judge it. All of
them are means over the leading axis, so that the value over a whole set is the
size-weighted mean of the values over its parts; `r2` and what counts classes alike need
the whole set. `METRICS` names all that judge.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from gamepruning.spelling import helpful
from gamepruning.types import InputError

__all__ = [
    "METRICS",
    "ClassFacts",
    "ClassScores",
    "accuracy",
    "balanced_accuracy",
    "balanced_class_weights",
    "class_divergence",
    "class_facts",
    "class_recalls",
    "class_scores",
    "cross_entropy",
    "macro_f1",
    "r2",
    "squared_error",
]
__getattr__, __dir__ = helpful(__name__, __all__)


def cross_entropy(
    outputs: ArrayLike,
    labels: ArrayLike,
    *,
    class_weights: Float[ArrayLike, " C"] | None = None,
) -> Float[jax.Array, ""]:
    """Mean softmax cross-entropy: -log softmax(outputs)[label], in nats.

    Args:
      outputs: logits, float [..., C].
      labels: the true classes, integers [...] in [0, C). A label outside that range
        makes the loss NaN, which is loud, where an index would be clipped in silence.
      class_weights: what an example of each class counts, float [C], such as those of
        `balanced_class_weights`; 1 each by default. The mean is over examples.

    Returns:
      The mean over all examples, a scalar.

    Raises:
      InputError: labels are not integers, their shape is not that of outputs without
        the last axis, there is one class only, or not one weight for each.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))
      >>> round(float(loss), 4)  # log 4
      1.3863
    """
    outputs, labels = _check_classes(outputs, labels)
    log_probs = jax.nn.log_softmax(outputs, axis=-1)
    picked = jnp.take_along_axis(
        log_probs, labels[..., None], axis=-1, mode="fill", fill_value=jnp.nan
    )
    inside = labels[..., None] >= 0  # a negative index would count from the end
    surprise = -jnp.where(inside, picked, jnp.nan)
    if class_weights is not None:
        weights = jnp.asarray(class_weights)
        if weights.shape != (one_each := jnp.shape(outputs)[-1:]):
            raise InputError(
                f"expected class_weights of shape {one_each}, one for each class, got "
                f"{weights.shape}"
            )
        surprise *= weights[labels][..., None]
    return surprise.mean()


def class_divergence(full: ArrayLike, outputs: ArrayLike) -> Float[jax.Array, ""]:
    """Kullback-Leibler divergence of a network's classes from the full network's.

    Args:
      full: logits of the full network, float [..., C]; a class that is masked out there
        (minus infinity) adds nothing.
      outputs: logits of the other, float [..., C].

    Returns:
      KL(softmax(full) || softmax(outputs)), the mean over all examples, in nats, in
      single precision at least.

    Example:
      >>> import jax.numpy as jnp
      >>> logits = jnp.array([[2.0, 0.0, -jnp.inf]])
      >>> float(class_divergence(logits, logits + 5))  # a shift changes nothing
      0.0
    """
    kind = jnp.promote_types(jnp.result_type(full, outputs), jnp.float32)
    true, own = (jax.nn.log_softmax(jnp.asarray(x, kind)) for x in (full, outputs))
    is_possible = true > -jnp.inf
    lost = jnp.where(is_possible, true - jnp.where(is_possible, own, 0), 0)
    return (jnp.exp(true) * lost).sum(axis=-1).mean()


def accuracy(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Fraction of examples whose largest output is that of the true class.

    Args:
      outputs: logits or probabilities, float [..., C].
      labels: the true classes, integers [...].

    Returns:
      A scalar in [0, 1]; NaN if an output is NaN, which is loud, where the largest
      would be class 0. Ties go to the lower class.

    Raises:
      InputError: labels are not integers, their shape is not that of outputs without
        the last axis, or there is one class only.

    Example:
      >>> import jax.numpy as jnp
      >>> float(accuracy(jnp.array([[2.0, 1.0], [0.0, 3.0]]), jnp.array([0, 0])))
      0.5
    """
    outputs, labels = _check_classes(outputs, labels)
    hits = jnp.argmax(outputs, axis=-1) == labels
    known = _are_classes(outputs, labels) & ~jnp.isnan(outputs).any(-1)
    return jnp.where(known, hits, jnp.nan).mean(dtype=jnp.float32)


def class_recalls(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, " C"]:
    """Fraction of the examples of each class that are given this class.

    Args:
      outputs: logits or probabilities, float [..., C].
      labels: the true classes, integers [...] in [0, C).

    Returns:
      The recalls, [C]; NaN for a class without examples.

    Example:
      >>> import jax.numpy as jnp
      >>> class_recalls(jnp.array([[2.0, 1.0]] * 3), jnp.array([0, 0, 1])).tolist()
      [1.0, 0.0]
    """
    hits, _, labelled = _class_counts(outputs, labels)
    return jnp.where(labelled > 0, hits / jnp.maximum(labelled, 1), jnp.nan)


def balanced_accuracy(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Mean recall over the classes that occur: each class counts alike.

    One that always names the same of C classes has 1/C, however frequent that is.

    Args:
      outputs: logits or probabilities, float [..., C].
      labels: the true classes, integers [...] in [0, C).

    Returns:
      A scalar in [0, 1].

    Example:
      >>> import jax.numpy as jnp
      >>> float(balanced_accuracy(jnp.array([[2.0, 1.0]] * 3), jnp.array([0, 0, 1])))
      0.5
    """
    hits, _, labelled = _class_counts(outputs, labels)
    recalls = hits / jnp.maximum(labelled, 1)
    return recalls.sum() / jnp.maximum((labelled > 0).sum(), 1)


class ClassScores(NamedTuple):
    """How well a network does by class."""

    accuracy: float
    balanced_accuracy: float  # the mean recall
    recalls: tuple[float | None, ...]  # of each class; None without examples


@dataclass(frozen=True, kw_only=True)
class ClassFacts:
    """The classes, and how well the dumbest guess does on the test data."""

    names: tuple[str, ...]
    counts: tuple[int, ...]  # test examples of each
    majority: str  # the most frequent class of training
    majority_share: float  # of the test examples: the accuracy of always naming it


def class_facts(
    train_labels: ArrayLike, test_labels: ArrayLike, names: Sequence[str]
) -> ClassFacts:
    """How often each class occurs, and what naming the most frequent one is worth.

    Args:
      train_labels: classes of the training examples, integers [B] in [0, C).
      test_labels: those of the test examples, integers [T].
      names: of the C classes.

    Raises:
      InputError: a label is out of range.

    Example:
      >>> train, test = np.array([0, 1, 1]), np.array([0, 0, 0, 1])
      >>> facts = class_facts(train, test, ("red", "blue"))
      >>> facts.counts, facts.majority, facts.majority_share
      ((3, 1), 'blue', 0.25)
    """
    train, test = np.asarray(train_labels), np.asarray(test_labels)
    check_range(np.concatenate([train, test]), len(names), "labels")
    most = int(np.bincount(train).argmax())
    return ClassFacts(
        names=tuple(names),
        counts=tuple(np.bincount(test, minlength=len(names)).tolist()),
        majority=names[most],
        majority_share=float((test == most).mean()),
    )


def class_scores(outputs: ArrayLike, labels: ArrayLike) -> ClassScores:
    """Accuracy, balanced accuracy and the recall of each class, as plain numbers.

    Args:
      outputs: logits or probabilities, float [..., C].
      labels: the true classes, integers [...] in [0, C).

    Example:
      >>> import jax.numpy as jnp
      >>> outputs, labels = jnp.array([[2.0, 1.0, 0.0]] * 4), jnp.array([0, 0, 0, 1])
      >>> class_scores(outputs, labels)
      ClassScores(accuracy=0.75, balanced_accuracy=0.5, recalls=(1.0, 0.0, None))
    """
    recalls = class_recalls(outputs, labels).tolist()
    return ClassScores(
        float(accuracy(outputs, labels)),
        float(balanced_accuracy(outputs, labels)),
        tuple(None if math.isnan(recall) else recall for recall in recalls),
    )


def macro_f1(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Mean F1 over the classes that occur or are named: 2 hits / (named + labelled).

    Args:
      outputs: logits or probabilities, float [..., C].
      labels: the true classes, integers [...] in [0, C).

    Returns:
      A scalar in [0, 1].

    Example:
      >>> import jax.numpy as jnp
      >>> f1 = macro_f1(jnp.array([[2.0, 1.0]] * 3), jnp.array([0, 0, 1]))
      >>> round(float(f1), 3)  # the mean of 4/5 and 0
      0.4
    """
    hits, named, labelled = _class_counts(outputs, labels)
    either = named + labelled
    scores = 2 * hits / jnp.maximum(either, 1)
    return scores.sum() / jnp.maximum((either > 0).sum(), 1)


def balanced_class_weights(
    labels: ArrayLike, num_classes: int
) -> Float[jax.Array, " C"]:
    """Weights under which all classes count alike: B / (C times the class's examples).

    Args:
      labels: the true classes of B examples, integers [B] in [0, num_classes).
      num_classes: C.

    Returns:
      The weights, float [C]; their mean over the examples is 1. A class without
      examples has 0.

    Raises:
      InputError: a label is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> balanced_class_weights(jnp.array([0, 0, 0, 1, 0, 0, 0, 1]), 2)[1].item()
      2.0
    """
    labels = jnp.asarray(labels)
    check_range(labels, num_classes, "labels")
    counts = jnp.bincount(labels, length=num_classes)
    seen = (counts > 0).sum()
    fair = counts.sum() / (seen * jnp.maximum(counts, 1))
    return jnp.where(counts > 0, fair, 0.0).astype(jnp.float32)


def squared_error(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Mean squared error: (outputs - labels)^2.

    Args:
      outputs: predictions, float [...] or [..., 1].
      labels: targets, [...] or the shape of outputs.

    Returns:
      The mean over all entries, a scalar >= 0.

    Raises:
      InputError: the shapes do not match.

    Example:
      >>> import jax.numpy as jnp
      >>> float(squared_error(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 4.0])))
      2.0
    """
    outputs, labels = _check_targets(outputs, labels)
    return jnp.square(outputs - labels).mean()


def r2(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Coefficient of determination: 1 - sum (y - f)^2 / sum (y - mean y)^2.

    Args:
      outputs: predictions, float [B, ...] or [B, ..., 1].
      labels: targets, [B, ...] or the shape of outputs; means are over B.

    Returns:
      A scalar, at most 1; 0 for the mean as the prediction. Where the targets do not
      vary it is 0, unless the prediction is perfect (then 1).

    Raises:
      InputError: the shapes do not match.

    Example:
      >>> import jax.numpy as jnp
      >>> float(r2(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 2.0, 3.0])))
      1.0
    """
    outputs, labels = _check_targets(outputs, labels)
    residual = jnp.square(labels - outputs).sum()
    first = labels[:1]  # a mean is rounded, so that equal numbers would differ from it
    varies = (labels != first).any(axis=0, keepdims=True)
    mean = jnp.where(varies, labels.mean(axis=0, keepdims=True), first)
    total = jnp.square(labels - mean).sum()
    explained = 1.0 - residual / jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, explained, jnp.where(residual > 0, 0.0, 1.0))


METRICS: dict[str, Callable[..., jax.Array]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "r2": r2,
}


def _class_counts(outputs, labels):
    """Of each class: the hits, how often it is named, and how often it is true.

    The first two are NaN if an output is, and all are if a label is out of range.
    """
    outputs, labels = _check_classes(outputs, labels)
    named = jax.nn.one_hot(jnp.argmax(outputs, axis=-1), outputs.shape[-1])
    named = jnp.where(jnp.isnan(outputs).any(-1, keepdims=True), jnp.nan, named)
    labelled = jax.nn.one_hot(labels, outputs.shape[-1])
    labelled = jnp.where(_are_classes(outputs, labels)[..., None], labelled, jnp.nan)
    axes = tuple(range(labels.ndim))
    return (named * labelled).sum(axes), named.sum(axes), labelled.sum(axes)


def check_range(
    values: Any, number: int, what: str, where: str = "", hint: str = ""
) -> None:
    """Check that integers are in [0, number), where they are known.

    Args:
      values: an array of integers; traced ones are not looked at.
      number: how many there are to choose from.
      what: they are called.
      where: said of the range.
      hint: said at the end.

    Raises:
      InputError: one is not.

    Example:
      >>> check_range(np.array([0, 2]), 2, "labels")
      Traceback (most recent call last):
      gamepruning.types.InputError: expected labels from 0 to 1, got 2
    """
    if isinstance(values, jax.core.Tracer):
        return
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high >= number:
        raise InputError(
            f"expected {what} from 0 to {number - 1}{where}, got "
            f"{low if low < 0 else high}{hint}"
        )


def _are_classes(outputs, labels) -> jax.Array:
    """Which labels are in range, bool [...]."""
    return (labels >= 0) & (labels < outputs.shape[-1])


def check_classes(outputs: Any, labels: Any) -> None:
    """Check that labels are classes of these outputs.

    Args:
      outputs: logits, float [..., C], or their shape.
      labels: the true classes, integers [...]. They are compared with C where their
        values are known.

    Raises:
      InputError: they are not; the message says what they seem to be.
    """
    _check_class_shapes(outputs, labels)
    if isinstance(labels, jax.core.Tracer | jax.ShapeDtypeStruct) or not labels.size:
        return
    if isinstance(labels, jax.Array) and not labels.is_fully_addressable:
        return
    num, known = outputs.shape[-1], np.asarray(labels)
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= num:
        outside = int(((known < 0) | (known >= num)).sum())
        raise InputError(
            f"the network has {num} outputs, for the classes 0 to {num - 1}, but "
            f"labels run from {low} to {high} ({outside} of {known.size} are outside): "
            f"{_renumber(known, low, high, num)}"
        )


def _check_class_shapes(outputs: Any, labels: Any) -> None:
    if not hasattr(outputs, "shape"):
        raise InputError(
            f"expected outputs [..., classes], got {_kind(outputs)}: take the logits "
            "out of it, as in lambda outputs, labels: accuracy(outputs[0], labels)"
        )
    shape, own = tuple(outputs.shape), tuple(labels.shape)
    if jnp.issubdtype(labels.dtype, jnp.inexact) and shape[:-1] == own:
        raise InputError(
            f"expected integer class labels, got {labels.dtype}: cast them with "
            "astype(int), or use squared_error for real-valued targets"
        )
    if len(shape) < 1 or shape[:-1] != own:
        raise InputError(
            "expected outputs [..., classes] and labels [...], got outputs "
            f"{shape} and labels {own}: {_reshape(labels, shape, own)}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise InputError(
            f"expected integer class labels, got {labels.dtype}: cast them with "
            "astype(int)"
        )
    if shape[-1] == 1:
        raise InputError(
            f"the network has one output for each example (outputs {shape}), and one "
            "class cannot be told from another: give it two outputs, or pass a metric "
            "of your own for a single logit, as in lambda outputs, labels: "
            "((outputs[:, 0] > 0) == labels).mean()"
        )


def _reshape(labels: Any, outputs: tuple[int, ...], own: tuple[int, ...]) -> str:
    """How labels of another shape can be mended."""
    if own == outputs and len(own) > 1:
        return _one_hot(labels)
    if own == (*outputs[:-1], 1):
        return "drop the last axis of the labels, labels[..., 0]"
    if own == outputs:
        return (
            "the network gives one number for each example; classes need one output "
            "each, real-valued targets squared_error"
        )
    if own[:1] != outputs[:1]:
        few, many = (f"{n[0]:,}" if n else "no" for n in (own, outputs))
        return f"there are {few} labels for {many} examples; pass those of the inputs"
    if own and own[:-1] == outputs[:-1]:
        return (
            f"labels have {own[-1]} columns, the network {outputs[-1]} outputs; pass "
            "one class for each example"
        )
    return "pass one class for each row of outputs"


def _one_hot(labels: Any) -> str:
    hint = "for one-hot labels pass labels.argmax(-1)"
    if isinstance(labels, jax.core.Tracer | jax.ShapeDtypeStruct):
        return hint
    known = np.asarray(labels)
    if np.isin(known, (0, 1)).all() and (known.sum(axis=-1) == 1).all():
        return hint
    return (
        f"{hint}, but these rows are no one-hot classes (not one 1 in each): "
        "several labels for an example, or probabilities, need a metric of your own"
    )


def _renumber(labels: np.ndarray, low: int, high: int, num: int) -> str:
    """What labels out of range seem to be."""
    if low == 1 and high == num:
        return "they seem to count from 1, pass labels - 1"
    if num == 2 and set(np.unique(labels).tolist()) == {-1, 1}:
        return "they are signs, pass (labels + 1) // 2"
    if low < 0 <= high < num:
        return f"leave out the examples whose label is negative, such as {low}"
    return "number the classes from 0, or give the network more outputs"


def _kind(outputs: Any) -> str:
    size = f" of {len(outputs)}" if isinstance(outputs, tuple | list | dict) else ""
    return f"{type(outputs).__name__}{size}"


def _check_classes(outputs, labels):
    """As arrays, checked; values are looked at while outputs are traced.

    Called with numbers, a metric of a label out of range is NaN, which a caller may
    want to see.
    """
    labels = as_labels(labels)
    if jax.tree.structure(outputs) == jax.tree.structure(0):
        outputs = jnp.asarray(outputs)
    if isinstance(outputs, jax.core.Tracer):
        check_classes(outputs, labels)
    else:
        _check_class_shapes(outputs, labels)
    return outputs, jnp.asarray(labels)


def as_labels(labels: Any) -> Any:
    """Labels as an array; traced ones, and trees of arrays, as they are.

    Raises:
      InputError: they are text, missing, or lists of different lengths.

    Example:
      >>> as_labels([0, 1, 1]).shape
      (3,)
    """
    if isinstance(labels, jax.core.Tracer | jax.Array | jax.ShapeDtypeStruct):
        return labels
    leaves = jax.tree.leaves(labels)
    if any(hasattr(leaf, "shape") and not _is_text(leaf) for leaf in leaves):
        return labels
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise InputError(f"labels are lists that make no array: {error}") from error
    if _is_text(array) and leaves:
        first = str(array.flat[0]) if array.size else ""
        raise InputError(
            f"labels are text or objects ({first!r:.40}), not numbers: number the "
            "classes, as in np.unique(labels, return_inverse=True)[1]"
        )
    return array if leaves else labels


def _is_text(array: Any) -> bool:
    return getattr(array.dtype, "kind", "") in "OSUM"


def _check_targets(outputs, labels):
    outputs, labels = jnp.asarray(outputs), jnp.asarray(as_labels(labels))
    if outputs.shape == (*labels.shape, 1):
        outputs = outputs[..., 0]
    if outputs.shape != labels.shape:
        hint = ""
        if outputs.shape[:1] != labels.shape[:1]:
            few, many = (x.shape[0] if x.ndim else 1 for x in (labels, outputs))
            hint = f": there are {few:,} labels for {many:,} examples"
        elif outputs.shape[:-1] == labels.shape:
            hint = ": class labels are compared by cross_entropy or accuracy"
        raise InputError(
            "expected outputs and labels of one shape, or outputs with one more axis "
            f"of length 1, got outputs {outputs.shape} and labels {labels.shape}{hint}"
        )
    return outputs, labels.astype(jnp.result_type(outputs, float))
