"""A network that a user brings as a function in a Python file, read and checked."""

from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import treedef_is_leaf

from gamepruning import metrics
from gamepruning.compaction.export import import_safetensors
from gamepruning.compaction.purity import are_fresh, check_pure, statistics_in
from gamepruning.files.functions import check_factory, check_plain
from gamepruning.files.python import load_function, told
from gamepruning.players import Players
from gamepruning.players.find import check_apply
from gamepruning.run.batches import Measure
from gamepruning.trees.arrays import is_array
from gamepruning.trees.examples import as_inputs
from gamepruning.trees.paths import flatten, named_leaves, named_shapes
from gamepruning.trees.trainable import is_trainable
from gamepruning.types import InputError

MEASURED = 2000  # examples on which loss and metric are tried


class UserNetwork(NamedTuple):
    """What a factory returned: the first three, and whatever it likes of the others."""

    apply: Callable[..., Any]  # (params, *inputs) -> outputs, in evaluation mode
    params: Any
    inputs: tuple[Any, ...]  # examples
    train_apply: Callable[..., Any] | None = None  # (params, inputs, key) -> both anew
    loss: Callable[..., Any] | None = None  # (outputs, labels) -> scalar, to minimise
    metric: Callable[..., Any] | None = None  # (outputs, labels) -> scalar, to maximise
    init: Callable[..., Any] | None = None  # key -> params, for other starts


def load_user_network(spec: str) -> UserNetwork:
    """Import `path.py` and call `factory()`.

    The factory takes no arguments and returns (apply, params, inputs), inputs a tuple
    or one array, or a dictionary or named tuple of these and others of `UserNetwork`.
    Whatever goes wrong is an InputError, also that `apply` is not pure.
    """
    factory, path = load_function(spec), spec.rpartition(":")[0]
    with told(f"{spec} failed", path):
        network = _read(check_factory(factory)())
    apply, params, inputs = network[:3]
    with told(f"{spec} failed", path):
        check_apply(apply)
        _check_arrays(params)
    with told(f"{spec}: apply(params, *inputs) failed", path):
        leaves = jax.tree.leaves((params, inputs))
        if not any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
            check_pure(apply, params, *inputs)
        jax.eval_shape(apply, params, *inputs)
    return network


def _read(made: Any) -> UserNetwork:
    """What a factory returned, by name."""
    fields = UserNetwork._fields
    given: Any = made
    if hasattr(made, "_asdict"):
        given = made._asdict()
    elif isinstance(made, tuple) and len(made) in (3, 4):
        given = dict(zip(fields, made, strict=False))
    if not isinstance(given, dict) or not given.keys() >= set(fields[:3]):
        size = f" of {len(made)}" if isinstance(made, tuple) else ""
        got = "nothing (no return)" if made is None else type(made).__name__ + size
        raise InputError(
            "expected it to return (apply, params, inputs), or a dictionary with "
            f"these, got {got}"
        )
    for key, value in given.items():
        if key not in fields:
            known = ", ".join(fields)
            raise InputError(f"it returned {key!r}: expected some of {known}")
        if key in ("params", "inputs"):
            continue
        if not (callable(value) or value is None):
            what = f"{type(value).__name__} {' '.join(str(value).split()):.40}"
            raise InputError(f"expected {key} as a function, got {what}")
        check_plain(key, value)
    if given["inputs"] is None:
        raise InputError("expected inputs as examples, such as x[:2], got None")
    return UserNetwork(**{**given, "inputs": as_inputs(given["inputs"])})


def _check_arrays(params: Any) -> None:
    if callable(params) and treedef_is_leaf(jax.tree.structure(params)):
        raise InputError(
            "expected params of arrays, got a function or a class: call it, as in "
            "params = module.init(key, x)"
        )
    flatten(params)
    for name, leaf in named_leaves(params).items():
        if not isinstance(leaf, bool | int | float | complex) and not is_array(leaf):
            raise InputError(
                f"expected params of arrays, but {name!r} is {type(leaf).__name__}: "
                "leave it to apply, as eqx.partition(module, eqx.is_inexact_array) does"
            )


def statistics_note(spec: str, params: Any, *, is_loaded: bool) -> str:
    """What comes of batch statistics that training does not keep up to date."""
    if are_fresh(params) and not is_loaded:
        found = statistics_in(named_leaves(params))
        raise InputError(
            f"{spec} has batch statistics ({', '.join(found[:2])}, ...) at their "
            "start, 0 and 1, where training would leave them: return train_apply, too, "
            "as in docs/guide/own-network.md"
        )
    return (
        f"the batch statistics of {spec} stay as they are: training has no train_apply "
        "to bring them up to date."
    )


def check_same_players(name: str, one: Players, other: Players) -> None:
    """Check that a network has the same players in training as in use."""
    both, names = (one, other), []
    for players in both:
        names.append(", ".join(f"{f.name} {f.size}" for f in players.families))
    is_same, kept, again = one.num_players == other.num_players, {}, {}
    if is_same:
        mask = np.arange(one.num_players) % 3 > 0
        kept, again = (players.kept_indices(mask) for players in both)
        is_same = all(np.array_equal(kept[k], again[k]) for k in kept.keys() & again)
    if not is_same:
        opaque = f" (not understood: {', '.join(other.opaque)})" if other.opaque else ""
        raise InputError(
            f"expected one network, but apply of {name} has the players "
            f"{names[0]}, and train_apply {names[1]}{opaque}"
        )
    if alone := sorted(kept.keys() - again.keys()):
        path, axis = alone[0]
        raise InputError(
            f"train_apply of {name} does not use {path!r}, whose axis {axis} gets "
            "smaller with the players of apply: return it changed, as batch statistics "
            "are, or use it as apply does"
        )


def check_outputs(
    network: Any,
    params: Any,
    dataset: Any,
    examples: tuple[Any, Any],
    measures: Sequence[Measure],
    path: str,
) -> None:
    """Check that a network's outputs are what data, loss and metric need.

    Args:
      network: has name and apply.
      params: its parameters.
      dataset: has name, task, num_outputs, and train: inputs and labels.
      examples: some inputs [B, ...] and their labels, or more of them.
      measures: the loss and the metric, (outputs, labels) -> scalar each.
      path: of the user's file; "" for a network that is not a user's.

    Raises:
      InputError: they do not fit, a measure is not finite on training examples, or the
        loss has no gradient.
    """
    inputs = examples[0]
    labels = jnp.asarray(examples[1][: len(inputs)])
    try:
        outputs = jax.eval_shape(network.apply, params, inputs)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{network.name} cannot read inputs of shape {inputs.shape}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    shape, wanted = getattr(outputs, "shape", ()), (len(inputs), dataset.num_outputs)
    is_own = not {metrics.cross_entropy, metrics.squared_error}.intersection(measures)
    is_free = dataset.task == "regression" and (is_own or len(shape) == 1)
    if shape != wanted and not (is_free and shape[:1] == wanted[:1]):
        raise InputError(
            f"expected {network.name} to return outputs of shape {wanted} for "
            f"{dataset.name}, got {shape or type(outputs).__name__}"
        )
    for name, measure in zip(("loss", "metric"), measures, strict=True):
        with told(f"{network.name}: {name}(outputs, labels) failed", path):
            found = jax.eval_shape(measure, outputs, labels)
        if getattr(found, "shape", None) != ():
            raise InputError(
                f"expected the {name} of {network.name} to return one number, got "
                f"{found}"
            )
    if path:
        _check_measures(network, params, dataset.train, measures, path)


def _check_measures(
    network: Any,
    params: Any,
    split: Any,
    measures: Sequence[Measure],
    path: str,
) -> None:
    """Check that a loss can be trained on, and that the metric is a number."""
    inputs, labels = (jnp.asarray(x[:MEASURED]) for x in (split.inputs, split.labels))
    outputs = network.apply(params, inputs)
    for name, measure in zip(("loss", "metric"), measures, strict=True):
        with told(f"{network.name}: {name}(outputs, labels) failed", path):
            value = measure(outputs, labels)
        if not np.isfinite(value):
            raise InputError(
                f"the {name} of {network.name} is {value} on the first {len(inputs):,} "
                "training examples: expected a finite number"
            )
    with told(f"{network.name}: the gradient of loss(outputs, labels) failed", path):
        slopes = jax.grad(lambda outputs: measures[0](outputs, labels))(outputs)
    if not jnp.any(slopes):
        raise InputError(
            f"the loss of {network.name} has no gradient: it does not change with the "
            "outputs, as after argmax, rounding or a comparison; expected a smooth "
            "loss, and such a number as the metric"
        )


def programs_of(
    network: Any, params: Any, measures: Sequence[Measure], examples: tuple[Any, Any]
) -> tuple[str, ...]:
    """What a network computes, in use and in training, and its measures, as text.

    Args:
      network: has apply and train_apply.
      params: its parameters.
      measures: the loss and the metric, (outputs, labels) -> scalar each.
      examples: inputs [B, ...] and their labels.
    """
    inputs, labels = (jnp.asarray(part[:1]) for part in examples)
    outputs = jax.eval_shape(network.apply, params, inputs)
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (network.apply, (params, inputs)),
        (network.train_apply, (params, inputs, jax.random.key(0))),
        *((measure, (outputs, labels)) for measure in measures),
    ]
    return tuple(jax.jit(call).lower(*args).as_text() for call, args in calls)


def shuffled_start(params: Any, state: Container[str]) -> Callable[[jax.Array], Any]:
    """key -> other parameters, the entries of each matrix in a new random order.

    Vectors, what is not a real number and the paths in `state` stay as they are.
    """

    def shuffled(name, key, leaf):
        if leaf.ndim < 2 or name in state or not is_trainable(leaf):
            return leaf
        return jax.random.permutation(key, leaf.ravel()).reshape(leaf.shape)

    def init(key):
        leaves, treedef = named_leaves(params), jax.tree.structure(params)
        keys = jax.random.split(key, len(leaves))
        made = map(shuffled, leaves.keys(), keys, leaves.values())
        return jax.tree.unflatten(treedef, list(made))

    return init


def start_of(
    spec: str, network: UserNetwork, state: Container[str]
) -> Callable[[jax.Array], Any]:
    """key -> other parameters: by the network's own `init`, checked, or shuffled."""
    init, like = network.init, network.params
    if init is None:
        return shuffled_start(like, state)
    path, wanted = spec.rpartition(":")[0], named_shapes(like)

    def start(key):
        with told(f"{spec}: init(key) failed", path):
            params = init(key)
            given = named_shapes(params)
            if given != wanted:
                names = [*wanted, *given]
                name = next(n for n in names if given.get(n) != wanted.get(n))
                raise InputError(
                    f"expected {name!r} of shape {wanted.get(name)} as the factory "
                    f"returned it, got {given.get(name)}"
                )
        return params

    return start


def probabilities_note(spec: str, outputs: Any) -> tuple[str, ...]:
    """A note if the outputs for some examples look like probabilities.

    Example:
      >>> probabilities_note("net.py:make", np.array([[0.1, 0.9], [0.5, 0.5]]))[0][:37]
      'net.py:make returns probabilities: an'
    """
    if getattr(outputs, "ndim", 0) != 2 or outputs.shape[1] < 2:
        return ()
    shares = np.asarray(outputs, float)
    sums = shares.sum(axis=1)
    if (shares < 0).any() or not np.allclose(sums, 1, atol=1e-3):
        return ()
    told = "an output of logits, before softmax, is what the usual loss needs"
    return (f"{spec} returns probabilities: {told}",)


def load_weights(path: Path, like: Any) -> Any:
    """Read the weights of a `.safetensors` file or a run folder, in the form of `like`.

    It is an InputError if they are of another model, or not finite.
    """
    path = path / "dense.safetensors" if path.is_dir() else path
    params = import_safetensors(path, like=like)
    for name, leaf in named_leaves(params).items():
        if not np.isfinite(np.asarray(leaf, np.float64)).all():
            raise InputError(f"checkpoint {path} holds NaN or infinity in {name!r}")
    return params


def ignore_unread(apply: Callable[..., Any], like: Any) -> Callable[..., Any]:
    """`apply` of parameters of which those that only training reads are cut, too."""
    shapes = jax.eval_shape(lambda: like)

    def fit(leaf, shape):
        is_read = leaf.shape == shape.shape
        return leaf if is_read else jnp.zeros(shape.shape, shape.dtype)

    return lambda params, x: apply(jax.tree.map(fit, params, shapes), x)
