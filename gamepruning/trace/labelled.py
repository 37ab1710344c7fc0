"""One trace of a model at one set of shapes, labelled and with its units found."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from gamepruning.trace.branches import Branch, find_branches
from gamepruning.trace.call import CallSpec, as_struct
from gamepruning.trace.counts import find_counts
from gamepruning.trace.flatten import trace
from gamepruning.trace.labels import LabelAnalysis, Labels
from gamepruning.trace.program import Lit, Operand, Program
from gamepruning.trace.rules import RULES
from gamepruning.trace.stacks import Stack, find_stacks
from gamepruning.trace.units import Columns, Numbers, UnitGroup, find_units
from gamepruning.trees.paths import InputKey, array_paths
from gamepruning.types import Apply, InputError

_NEEDS_A_VALUE = ("concrete", "static", "Tracer", "traced")


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """How a model is labelled.

    Attributes:
      input_axes: for an array of the inputs, by number, the axes whose entries are
        players too.
      outputs_like: params, or params and inputs -> a tree like the outputs, with None
        at an ordinary output and a leaf of params or inputs at an output of its shape;
        None if all are ordinary.
      reductions: "freeze", "gate" or "width", what becomes of an axis that is summed
        over; see `LabelAnalysis`.
      frozen_leaves: arrays of params, by number, to leave alone, with the reason.
    """

    input_axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    outputs_like: Callable[..., Any] | None = None
    reductions: str = "freeze"
    frozen_leaves: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """A labelled program, the units in it, and which player each of them is.

    Attributes:
      program: the traced program.
      analysis: the labels of its values, and where axes are summed over.
      units: the structural units that could leave, in groups.
      param_labels: for each array of params one label an axis.
      input_labels: the same for the inputs.
      out_leaves: for each output the array of params, then of the inputs, that it is
        shaped like, or None.
      number_of: the player of each atom, int [number of nodes]; -1 where none is.
    """

    program: Program
    analysis: LabelAnalysis
    units: list[UnitGroup]
    param_labels: list[Labels]
    input_labels: list[Labels]
    out_leaves: tuple[int | None, ...]
    number_of: np.ndarray

    @cached_property
    def columns(self) -> Columns:
        """The players of each entry of an axis, by the axis's label."""
        return Columns(self.analysis, self.number_of)

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The scans over stacked parameters, and who lives within one of the layers."""
        size = 2 + int(self.number_of.max(initial=-1))

        def players_in(operand: Operand) -> np.ndarray:
            found = np.zeros(size, bool)
            known = not isinstance(operand, Lit) and operand in self.analysis.facts
            for label in self.analysis.label(operand) if known else ():
                columns = self.columns(label)
                if columns is not None:
                    found[columns] = True
            found[0] = False
            return found

        return find_stacks(self.program, players_in, len(self.param_labels))

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches of the program."""
        return find_branches(self.program, len(self.param_labels))

    @property
    def num_units(self) -> int:
        """How many structural units could leave."""
        return sum(map(len, self.units))

    def numbered(self, numbers: Numbers) -> "Trace":
        """The same trace with units that play under these numbers."""
        number_of = numbers.of(self.units, self.analysis.atoms.num_nodes)
        return replace(self, number_of=number_of)

    def __repr__(self) -> str:
        nodes = len(self.program.graph.nodes)
        return f"Trace({nodes} nodes, {self.num_units} units)"


def trace_call(apply: Apply, call: CallSpec, options: TraceOptions) -> Trace:
    """Trace a model at the shapes of a call, and label it.

    Args:
      apply: apply(params, *inputs) -> outputs.
      call: its arguments, arrays or shapes.
      options: how to label it.

    Raises:
      InputError: the model needs the value of a number beforehand.
      InputError: `outputs_like` does not fit the outputs.
    """

    def flat(*arrays):
        params, *inputs = call.rebuild(arrays)
        return apply(params, *inputs)

    program = _trace(flat, call)
    analysis = LabelAnalysis(program, RULES, options.reductions)
    params = _label_params(analysis, call, options)
    inputs = _label_inputs(analysis, call, options)
    promoted: list[Labels] = [()] * call.num_promoted
    outs = analysis.run(program.graph, [*params, *inputs, *promoted])
    analysis.picks.settle(program.graph.outputs)
    out_leaves = _out_leaves(program, call, options.outputs_like)
    owners = [*params, *inputs]
    for out, leaf in zip(outs, out_leaves, strict=True):
        if leaf is None:
            analysis.freeze(out, "it is an output of the model")
        else:
            analysis.unify_all(out, owners[leaf])
    playing = [
        labels if k in options.input_axes else () for k, labels in enumerate(inputs)
    ]
    if options.reductions == "width":
        analysis.counts.update(find_counts(analysis))
    units = find_units(analysis, [*params, *playing])
    nobody = np.full(analysis.atoms.num_nodes, -1)
    return Trace(program, analysis, units, params, inputs, out_leaves, nobody)


def _label_params(
    analysis: LabelAnalysis, call: CallSpec, options: TraceOptions
) -> list[Labels]:
    program = analysis.program
    labels = [
        tuple(analysis.fresh(size) for size in program.shape(value))
        for value in program.graph.inputs[: call.num_params]
    ]
    for leaf, reason in options.frozen_leaves.items():
        labels[leaf] = analysis.frozen(labels[leaf], reason)
    return labels


def _label_inputs(
    analysis: LabelAnalysis, call: CallSpec, options: TraceOptions
) -> list[Labels]:
    values = [analysis.program.graph.inputs[k] for k in call.input_range]
    analysis.mark_inputs(values)
    shapes = [analysis.program.shape(value) for value in values]
    return [
        _input_labels(analysis, key, shape, options.input_axes.get(k, ()))
        for k, (key, shape) in enumerate(zip(call.input_keys, shapes, strict=True))
    ]


def _input_labels(analysis: LabelAnalysis, key: InputKey, shape, axes) -> Labels:
    axes = {axis % len(shape) for axis in axes}
    return tuple(
        analysis.fresh(size)
        if dim in axes
        else None
        if isinstance(size, int) and size == 1
        else f"it meets axis {dim} of input {key}"
        for dim, size in enumerate(shape)
    )


def _trace(fn: Callable[..., Any], call: CallSpec) -> Program:
    try:
        return trace(fn, *map(as_struct, call.arrays))
    except InputError:
        raise
    except Exception as error:
        text = str(error)
        if not call.number_leaves or not any(word in text for word in _NEEDS_A_VALUE):
            _explain(call, error)
            raise
        names = ", ".join(dict.fromkeys(map(call.describe, call.number_leaves)))
        raise InputError(
            f"{names}: numbers are traced like arrays here, but the model seems to "
            f"need a value beforehand ({text.splitlines()[0]}); bind what is not an "
            "array, by functools.partial(apply, flag=True) or "
            "lambda params, x: apply(params, x, True)"
        ) from error


def _explain(call: CallSpec, error: Exception) -> None:
    """Say what the model was called with; its own errors come through as they are.

    Raises:
      InputError: an output is not a tree of arrays, or params lack a key.
    """
    _check_has_params(call, error)
    line = next(iter(str(error).splitlines()), "")
    if "not a valid JAX type" in line:
        raise InputError(
            "the model returns what is not a tree of arrays (a "
            f"{line.partition('a value of ')[2]:.200}): "
            "return arrays in tuples, lists or dictionaries, or register the class as "
            "a pytree (jax.tree_util.register_dataclass)"
        ) from error
    shapes = ", ".join(str(tuple(np.shape(call.arrays[k]))) for k in call.input_range)
    where = f"inputs of shape {shapes}" if shapes else "no inputs"
    error.add_note(f"The model was called with params and {where}.")


def _check_has_params(call: CallSpec, error: Exception) -> None:
    """Raise InputError if the model failed for want of a parameter."""
    params, *_ = call.rebuild(call.arrays)
    paths, told = array_paths(params), f"{type(error).__name__}: {error}"
    if not paths:
        raise InputError(
            f"expected params with arrays, got {params!r:.60}; the model failed with "
            f"{told:.200}"
        ) from error
    key = str(error.args[0]) if isinstance(error, KeyError) and error.args else None
    if key is not None and not any(key in path.split("/") for path in paths):
        raise InputError(
            f"the model looks up {key!r}, which is not in params: they have "
            f"{', '.join(paths[:20])}"
        ) from error


def _out_leaves(
    program: Program, call: CallSpec, outputs_like: Callable[..., Any] | None
) -> tuple[int | None, ...]:
    """For each output leaf the number of the array that it is shaped like."""
    count = len(program.graph.outputs)
    if outputs_like is None:
        return (None,) * count
    arrays: list[Any] = [None] * len(call.arrays)
    known = call.num_params + len(call.input_range)
    arrays[:known] = map(_Leaf, range(known))
    params, *inputs = call.rebuild(arrays)
    given = (params, *inputs) if _takes_inputs(outputs_like, inputs) else (params,)
    like = jax.tree_util.tree_leaves(
        outputs_like(*given), is_leaf=lambda x: x is None or isinstance(x, _Leaf)
    )
    if len(like) != count:
        raise InputError(
            f"outputs_like gave {len(like)} leaves for {count} outputs: return a tree "
            "like the outputs, with None or a leaf of params at each place"
        )
    return tuple(x.number if isinstance(x, _Leaf) else None for x in like)


def _takes_inputs(outputs_like: Callable[..., Any], inputs: Sequence) -> bool:
    """True for a function of params and inputs, False for one of params."""
    try:
        inspect.signature(outputs_like).bind(None, *inputs)
    except (TypeError, ValueError):
        return False
    return True


class _Leaf:
    """Stands for an array of params or inputs."""

    def __init__(self, number: int):
        self.number = number
