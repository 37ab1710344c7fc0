"""Scanned layers one by one: a model whose stacked parameters are an array a layer.

What follows a program node by node, such as repair, then meets every layer by itself.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool

from gamepruning.players.layer_players import LayerPlayers
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.run.interpret import Interpreter
from gamepruning.run.layer_axes import entries_of
from gamepruning.trace.call import as_struct, split_call
from gamepruning.trace.labelled import Trace, TraceOptions
from gamepruning.trace.model import TracedModel
from gamepruning.trace.program import Node, apply_as_is, bind
from gamepruning.trace.rules.control import scan_parts
from gamepruning.trace.stacks import LayerAxis
from gamepruning.trees.arrays import map_arrays
from gamepruning.types import InputError, Outputs, Params


class Unrolled(NamedTuple):
    """A model with an array for each layer, and the way there and back.

    Attributes:
      of: the (layer, unit) players.
      players: those of the unrolled model.
    """

    of: LayerPlayers
    players: UnitPlayers

    def params(self, params: Params) -> dict[str, Any]:
        """The parameters by path, stacked ones as `path[layer]`."""
        return _split(self.of.tied.model, params)

    def stacked(self, given: Params, params: Mapping[str, Any]) -> Params:
        """The parameters like those given, stacked again.

        Args:
          given: parameters of the scanned model.
          params: those of the unrolled one.
        """
        model, (leaves, treedef) = self.of.tied.model, jax.tree.flatten(given)
        for leaf, (path, layers) in enumerate(_homes(model).items()):
            place = model.example.leaf_positions[leaf]
            if layers is None:
                leaves[place] = params[path]
            else:
                rows = [params[f"{path}[{k}]"] for k in range(len(layers.turns))]
                leaves[place] = jnp.stack(rows, layers.axis)
        return jax.tree.unflatten(treedef, leaves)

    def mask(self, mask: ArrayLike) -> Bool[np.ndarray, " M"]:
        """The same players of the unrolled model.

        Raises:
          InputError: there, other units leave together.
        """
        stays = self.of.mask(mask)
        homes = list(_homes(self.of.tied.model).items())
        kept: dict[tuple[str, int], np.ndarray] = {}
        for entries in entries_of(self.of.model):
            path, layers = homes[entries.leaf]
            own = entries.stay(stays)
            if layers is None:
                rows = {path: own}
            else:
                each = own if entries.layers is not None else [own] * len(layers.turns)
                rows = {f"{path}[{k}]": row for k, row in enumerate(each)}
            before = layers is not None and layers.axis < entries.axis
            for name, row in rows.items():
                if not row.all():
                    kept[name, entries.axis - before] = np.flatnonzero(row)
        return self.players.mask_from_kept(kept, self.of.input_kept(stays))


def unroll(players: LayerPlayers, params: Params) -> Unrolled:
    """The same model with an array for each layer.

    Args:
      players: its players.
      params: its parameters, or their shapes.

    Raises:
      InputError: outputs are shaped like parameters, or layers are told apart by more
        than their parameters.
    """
    model = players.tied.model
    if model.options.outputs_like is not None:
        raise InputError("layers are not taken apart where outputs_like is given")
    known = model.example.rebuild(list(map(as_struct, model.example.arrays)))[0]

    def apply(params: Mapping[str, Any], *inputs: Any) -> Outputs:
        call = model.call(known, *inputs)
        trace = model.trace(call)
        arrays = [
            params[path]
            if layers is None
            else [params[f"{path}[{k}]"] for k in layers.turns]
            for path, layers in _homes(model).items()
        ]
        run = _OneByOne(trace)
        outs = run.run(trace.program.graph, [*arrays, *call.arrays[call.num_params :]])
        return jax.tree.unflatten(trace.program.out_tree, outs)

    options = TraceOptions(
        input_axes=model.options.input_axes, reductions=model.options.reductions
    )
    split = map_arrays(as_struct, _split(model, params))
    call = split_call(split, players.example_inputs())
    units = UnitPlayers(TracedModel.of(apply, call, options), (), "unit")
    return Unrolled(players, units)


def _homes(model: TracedModel) -> dict[str, LayerAxis | None]:
    """By path the axis of layers of each parameter, in the order of the parameters."""
    axes = {k: layers for s in _taken_apart(model.base) for k, layers in s.items()}
    return {path: axes.get(leaf) for leaf, path in enumerate(model.paths)}


def _taken_apart(trace: Trace) -> list[Mapping[int, LayerAxis]]:
    return [stack.leaves for stack in trace.stacks if stack.own.any()]


def _split(model: TracedModel, params: Params) -> dict[str, Any]:
    leaves, found = jax.tree.leaves(params), {}
    for leaf, (path, layers) in enumerate(_homes(model).items()):
        array = leaves[model.example.leaf_positions[leaf]]
        if layers is None:
            found[path] = array
            continue
        shape = np.delete(np.shape(array), layers.axis)
        for k in range(len(layers.turns)):
            is_shape = isinstance(array, jax.ShapeDtypeStruct)
            place = (*[slice(None)] * layers.axis, k)
            one = as_struct(array, tuple(shape)) if is_shape else array[place]
            found[f"{path}[{k}]"] = one
    return found


class _OneByOne(Interpreter):
    """Full size; stacks are lists with an array for each turn, and scans loops."""

    def __init__(self, trace: Trace):
        super().__init__(trace.analysis, trace.columns)
        inputs = trace.program.graph.inputs
        stacks = [stack for stack in trace.stacks if stack.own.any()]
        self._scans = {stack.node for stack in stacks}
        self._axes = {
            inputs[leaf]: layers.axis
            for stack in stacks
            for leaf, layers in stack.leaves.items()
        }

    def step(self, node: Node, args: list) -> list:
        """A node as it is, for each layer where it acts on a stack."""
        if node in self._scans:
            return self._loop(node, args)
        if any(isinstance(array, list) for array in args):
            return [self._of_each(node, args)]
        return apply_as_is(node, args)

    def _of_each(self, node: Node, args: list) -> list:
        """What is computed on the way to a scan: elementwise, or axes in order."""
        number = next(k for k, array in enumerate(args) if isinstance(array, list))
        before = after = self._axes[node.ins[number]]  # type: ignore[index]
        if "permutation" in node.params:
            after = list(node.params["permutation"]).index(before)
        self._axes[node.outs[0]] = after
        if any(not isinstance(array, list) and np.ndim(array) for array in args):
            raise InputError(
                "layers are taken apart where one array for all of them meets their "
                f"stacked parameters ({node.name} in {node.where or 'the model'}): "
                "use it inside of the layer"
            )
        rows = []
        for k in range(len(args[number])):
            one = [
                jnp.expand_dims(array[k], before) if isinstance(array, list) else array
                for array in args
            ]
            rows.append(jnp.squeeze(bind(node.primitive, node.params, one)[0], after))
        return rows

    def _loop(self, node: Node, args: list) -> list:
        (body,) = node.subs
        consts, carry, stacked = scan_parts(node, args)
        order = range(node.params["length"])
        made: dict[int, list] = {}
        for k in reversed(order) if node.params["reverse"] else order:
            outs = self.run(body, [*consts, *carry, *(x[k] for x in stacked)])
            carry, made[k] = outs[: len(carry)], outs[len(carry) :]
        rows = zip(*(made[k] for k in order), strict=True)
        return [*carry, *map(jnp.stack, rows)]
