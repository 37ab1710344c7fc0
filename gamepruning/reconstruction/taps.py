"""What a network computes at its repaired readers, alongside its outputs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool

from gamepruning.players import Players
from gamepruning.players.examples import check_players
from gamepruning.players.layer_players import LayerPlayers
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.reconstruction.readers import find_readers
from gamepruning.run.kept import input_kept, kept_indices
from gamepruning.run.shrunk import Shrunk
from gamepruning.run.small import full_call
from gamepruning.trace.call import check_paths, split_call
from gamepruning.trace.labelled import Trace
from gamepruning.trace.program import take
from gamepruning.types import InputError, Outputs, Params, brief_repr


class OutputsAndTaps(NamedTuple):
    """The outputs of a network, and what it has at its taps.

    Attributes:
      outputs: as `apply` returns them.
      taps: {path: result}, float [B, ...]; see `Taps.paths`.
    """

    outputs: Outputs
    taps: Mapping[str, jax.Array]

    __repr__ = brief_repr


class Taps:
    """A full network and its small one, both with taps; see `tap_readers`.

    Attributes:
      paths: the parameters at whose results the taps are, in the order of the program;
        with a number behind where one is read several times, joined by + where a
        matrix is made of several.
    """

    def __init__(self, players: UnitPlayers, mask: Bool[np.ndarray, " N"]):
        self._model, self._names, self._mask = players.model, players.paths, mask
        ends = self._ends(self._model.base)
        if not ends:
            raise InputError(f"no tap: {self._reason()}")
        self.paths = tuple(ends)

    def __repr__(self) -> str:
        return f"Taps({', '.join(self.paths)})"

    def full(self, params: Params, *inputs) -> OutputsAndTaps:
        """The full network; its taps are cut to the entries that the small one keeps.

        Args:
          params: of the full network, a tree.
          *inputs: as `apply` takes them, [B, ...].

        Returns:
          Its outputs, and the taps [B, ...]. Cost: a forward pass. Under `jax.jit` the
          program is looked through once; otherwise in every call.

        Raises:
          InputError: params or inputs are not those of the network.
        """
        call = self._model.call(params, *inputs)
        trace = self._model.trace(call)
        found = self._run(trace, np.ones_like(self._mask), call.arrays)
        ends, cut = self._ends(trace), self._shrunk(trace, self._mask)

        def left(path: str) -> jax.Array:
            array = found.taps[path]
            for axis, kept in enumerate(cut.kept(ends[path])):
                if kept is not None:
                    array = take(array, kept, axis)
            return array

        return found._replace(taps={path: left(path) for path in self.paths})

    def small(self, params: Params, *inputs) -> OutputsAndTaps:
        """The small network, as `gp.compact(players, params, mask)` makes it.

        Args:
          params: of the small network, a tree.
          *inputs: as the small network takes them, [B, ...].

        Returns:
          Its outputs, and the taps, of the shapes that `full` gives. Cost: as there.

        Raises:
          InputError: params or inputs are not those of the network.
        """
        model, mask = self._model, self._mask
        check_paths(params, model.example)
        call = split_call(params, inputs, model.example)
        kept = kept_indices(model, mask), input_kept(model, mask)
        trace = model.trace(full_call(model, call, *kept))
        return self._run(trace, mask, call.arrays)

    def _shrunk(self, trace: Trace, mask: np.ndarray) -> "_Tapping":
        return _Tapping(trace.analysis, trace.columns, mask)

    def _run(self, trace: Trace, mask: np.ndarray, arrays: Sequence) -> OutputsAndTaps:
        ends = self._ends(trace)
        run = self._shrunk(trace, mask)
        outs, seen = run.run_tapped(arrays, list(ends.values()))
        outputs = jax.tree_util.tree_unflatten(trace.program.out_tree, outs)
        return OutputsAndTaps(outputs, dict(zip(ends, seen, strict=True)))

    def _ends(self, trace: Trace) -> dict[str, int]:
        """By parameter the value at the end of its affine way."""
        readers = find_readers(trace, self._names, self._mask)
        graph = trace.program.graph
        made = {value for node in graph.nodes for value in node.outs}
        place = {step: k for k, step in enumerate(readers.line.steps)}
        found = [
            (place[reader.step], shared.path, reader.chain.end)
            for shared in readers.shared
            for reader in shared.readers
            if reader.chain.end in made
        ]
        times, seen = Counter(path for _, path, _ in found), Counter()
        ends: dict[str, int] = {}
        for _, path, end in sorted(found):
            name = path if times[path] == 1 else f"{path} {seen[path]}"
            seen[path] += 1
            if end not in ends.values():  # two products may end in one sum
                ends[name] = end
        return ends

    def _reason(self) -> str:
        """Why there is no tap."""
        readers = find_readers(self._model.base, self._names, self._mask)
        if readers.shared:
            return (
                "what reads the axes that this mask cuts is in loops and branches, "
                "where values cannot be taken out: write the layers as a Python loop"
            )
        if readers.alone:
            path, reason = readers.alone[0]
            return f"nothing that reads a cut axis can be fitted; {path}: {reason}"
        return "this mask cuts no axis that a product reads"


class _Tapping(Shrunk):
    """A program whose values can be read: without `jax.checkpoint`."""

    in_the_open = True

    def run_tapped(self, args: Sequence, values: Sequence[int]) -> tuple[list, list]:
        """(outputs of the program, these values)."""
        graph = self.program.graph
        env = dict(zip(graph.inputs, args, strict=True))
        self.run_nodes(graph.nodes, env)
        read = lambda out: self.read(env, out)  # noqa: E731
        return list(map(read, graph.outputs)), list(map(read, values))


def tap_readers(players: Players, mask: ArrayLike) -> Taps:
    """Let a small network learn from the full one inside, not only at its outputs.

    A tap is where the result of a product that reads a cut axis ends: behind its bias,
    and behind the residual stream that it adds to. At these points the small network
    should match the full one; `gp.repair` fits the same values.

    Args:
      players: what `find_players` found, N players, units or layers.
      mask: who stays, bool [N]: that of `gp.compact(...).mask`.

    Returns:
      `Taps`: `taps.full(params, *inputs)` and `taps.small(small.params, *inputs)` both
      return `OutputsAndTaps(outputs, taps)`, with taps of the same shapes;
      `gp.distillation.tap_divergence` compares them. Cost: one forward pass each; what
      `jax.checkpoint` would compute again is kept.

    Raises:
      InputError: the mask does not fit the players, these are not units or layers, or
        it leaves nothing to tap. Products in loops and branches have no tap, nor has
        what `gp.repair` leaves alone.

    Example:
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(3), "out": jnp.ones((3, 2))}
      >>> x = jnp.ones((5, 3))
      >>> players = gp.find_players(apply, params, x)
      >>> small = gp.compact(players, params, jnp.array([True, True, False]))
      >>> taps = gp.reconstruction.tap_readers(players, small.mask)
      >>> taps.paths
      ('out',)
      >>> taps.small(small.params, x).taps["out"].shape
      (5, 2)

    References:
      Romero and others, FitNets: Hints for Thin Deep Nets, arXiv 1412.6550, section
      2.2; here no regressor is needed, as small and full network agree on axes.
    """
    check_players(players)
    if isinstance(players, LayerPlayers):
        raise InputError(
            "scanned layers have no taps, as values cannot be taken out of a loop: "
            "write the layers as a Python loop"
        )
    if not isinstance(players, UnitPlayers):
        raise InputError(
            f"expected players that are units or layers, not {players.granularity} "
            "players, who are on no axis that is cut: find_players(granularity='unit')"
        )
    return Taps(players, np.asarray(players.mask(mask)))
