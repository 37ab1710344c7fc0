"""One network, run from reader to reader over all batches of examples."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gamepruning.players import Players
from gamepruning.players.examples import (
    check_players,
    examples_are_apart,
    output_shapes,
)
from gamepruning.players.layer_players import LayerPlayers
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.reconstruction.line import Operation
from gamepruning.reconstruction.readers import Readers
from gamepruning.reconstruction.stretch import Programs, Runner, Values
from gamepruning.trace.call import CallSpec
from gamepruning.trace.labelled import Trace
from gamepruning.trace.program import Lit, Operand
from gamepruning.trees.examples import count_rows, same_length
from gamepruning.trees.placement import as_placed
from gamepruning.types import InputError, Params


class Passes:
    """What all runs of one model over the same examples share.

    Attributes:
      readers: the model's readers, and its program as a line.
      shared: who can be repaired, in the order of the line.
      runner: evaluates steps of the line.
      programs: what is compiled.
      calls: the batches, as calls of the model.
      num_players: how many players the masks have.
    """

    def __init__(
        self,
        trace: Trace,
        readers: Readers,
        calls: Sequence[CallSpec],
        num_players: int,
    ):
        self.readers = readers
        self.runner = Runner(trace, readers.line, readers.varying, num_players)
        self.programs = Programs()
        self.calls = calls
        self.num_players = num_players
        self._inputs = trace.program.graph.inputs
        self.num_params = calls[0].num_params
        self.position = {step: k for k, step in enumerate(readers.line.steps)}
        shared = [each.sorted_by(self.position) for each in readers.shared]
        shared.sort(key=lambda each: self.position[each.readers[0].step])
        self.shared = tuple(shared)

    @property
    def param_values(self) -> tuple[int, ...]:
        """The values of the line that are parameters."""
        return self._inputs[: self.num_params]

    def start(self, mask: Bool[np.ndarray, " N"]) -> "LineRun":
        """The network before its first step."""
        first, num = self.calls[0], self.num_params
        rows = [
            dict(zip(self._inputs[num:], call.arrays[num:], strict=True))
            for call in self.calls
        ]
        return LineRun(self, list(first.arrays[:num]), mask, 0, rows)

    def batches(self, mask: Bool[np.ndarray, " N"]) -> Iterator["LineRun"]:
        """The network before its first step, batch after batch."""
        start = self.start(mask)
        for values in start.values:
            yield LineRun(self, start.params, mask, 0, [values])

    def used(self, steps: Sequence[Operation]) -> list[int]:
        """The parameters that steps read, by number."""
        number = {value: k for k, value in enumerate(self.param_values)}
        values = (v for step in steps for v in step.ins if not isinstance(v, Lit))
        return sorted({number[v] for v in values if v in number})

    def env(self, used: Sequence[int], leaves: Sequence[Any]) -> Values:
        """Parameters by the value that they are in the line."""
        names = (self.param_values[k] for k in used)
        return dict(zip(names, leaves, strict=True))

    def leaves(self, params: Params) -> list[Any]:
        """The arrays of the model's params; the inverse of `with_params`."""
        call = self.calls[0]
        own = jax.tree.leaves(params)
        places = zip(call.array_index[: len(own)], own, strict=True)
        by_place = {k: leaf for k, leaf in places if k is not None}
        return [by_place[k] for k in range(self.num_params)]

    def with_params(self, leaves: Sequence[Any]) -> Params:
        """The params of the model with these arrays."""
        call = self.calls[0]
        arrays = list(call.arrays)
        for k, leaf in enumerate(leaves):
            if leaf is not arrays[k]:
                arrays[k] = as_placed(leaf, arrays[k])
        return call.rebuild(arrays)[0]


class _Way(NamedTuple):
    """From one place of the line to another.

    Attributes:
      used: the parameters that are read, by number.
      before: the values that are read.
      made: the values that are made, and read later.
      program: (parameters, values, mask) -> what is made.
    """

    used: list[int]
    before: list[int]
    made: list[int]
    program: Callable[..., Any]


class LineRun:
    """One network under one mask: what is alive at one place of the line.

    Attributes:
      params: its parameters; a repair replaces some.
      mask: who is there.
      position: the number of the next step.
      values: for each batch what later steps read.
    """

    def __init__(self, passes: Passes, params: list[Any], mask, position: int, values):
        self.passes = passes
        self.params = params
        self.mask = mask
        self.position = position
        self.values: list[Values] = values

    def at(self, position: int) -> "LineRun":
        """The network further on; this one stays where it is. Parameters are shared."""
        if position == self.position:
            return self
        way, runner = self._way(position), self.passes.runner
        values, mask = [], jnp.asarray(self.mask)
        leaves = [self.params[k] for k in way.used]
        for batch in self.values:
            args = leaves, [batch[v] for v in way.before], mask
            made = zip(way.made, way.program(*args), strict=True)
            kept = {v: x for v, x in batch.items() if runner.is_alive(v, position)}
            values.append({**kept, **dict(made)})
        return LineRun(self.passes, self.params, self.mask, position, values)

    def _way(self, position: int) -> "_Way":
        """The program that leads to a place; compiled once for arrays placed alike."""
        passes, runner = self.passes, self.passes.runner
        steps, before = runner.stretch(self.position, position)
        constants = runner.constants([v for step in steps for v in step.ins])
        used = passes.used([*constants, *steps])
        leaves = [self.params[k] for k in used]
        args = leaves, [self.values[0][v] for v in before], jnp.asarray(self.mask)
        placed = (getattr(x, "sharding", None) for x in jax.tree.leaves(args))
        key = ("way", self.position, position, *placed)
        made = [v for step in steps for v in step.outs if runner.is_alive(v, position)]

        def run(leaves, values, mask):
            env = passes.env(used, leaves)
            env.update(zip(before, values, strict=True))
            runner.run(constants, env, mask)
            runner.run(steps, env, mask)
            return [env[v] for v in made]

        kept = passes.programs.kept
        if key not in kept:
            kept[key] = _Way(used, before, made, passes.programs.prepare(run, *args))
        return kept[key]

    def under(self, mask: Bool[np.ndarray, " N"]) -> "LineRun":
        """The same values, read by a network without some players."""
        return LineRun(self.passes, self.params, mask, self.position, self.values)

    def constant(self, operands: Sequence[Operand]) -> Values:
        """The values of operands that do not depend on the inputs."""
        runner, passes = self.passes.runner, self.passes
        env = passes.env(range(passes.num_params), self.params)
        runner.run(runner.constants(operands), env, jnp.asarray(self.mask))
        return env


def check_units(players: Players, params: Params, inputs: tuple) -> UnitPlayers:
    """Check that these are units or layers of a network that takes these inputs.

    Raises:
      InputError: they are not.
    """
    check_players(players)
    leaves = jax.tree.leaves((params, inputs))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        raise InputError(
            "the parameters or inputs are traced (by jit, vmap or grad), but fits need "
            "their values: call it outside"
        )
    if isinstance(players, LayerPlayers):
        raise InputError(
            "reconstruction chooses among units that are one in all scanned layers "
            "(gp.repair takes others, too): find_players with layers='together', or "
            "unroll the layers"
        )
    if not isinstance(players, UnitPlayers):
        raise InputError(
            f"expected players that are units or layers, not {players.granularity} "
            "players, who are on no axis that is cut"
        )
    output_shapes(players, params, inputs)
    if same_length(inputs) == 0:
        raise InputError("expected at least one calibration example, got none")
    return players


def split_calls(
    players: UnitPlayers, params: Params, inputs: tuple, size: int
) -> list[CallSpec]:
    """The calls of batches of one size.

    Some last examples are left out where the batches do not come out even: fewer than
    there are batches. Examples that depend on each other make one batch.
    """
    if not examples_are_apart(players, params, inputs):
        return [players.model.call(params, *inputs)]
    total = count_rows(inputs)
    number = -(-total // size)
    each = total // number

    def part(k: int):
        return jax.tree.map(lambda leaf: leaf[k * each : (k + 1) * each], inputs)

    return [players.model.call(params, *part(k)) for k in range(number)]
