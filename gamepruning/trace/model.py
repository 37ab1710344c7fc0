"""A model that is understood: its traces by shape, and who plays where."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.core
import numpy as np
from jaxtyping import ArrayLike

from gamepruning.trace.branches import Branch
from gamepruning.trace.call import CallSpec, check_params, input_error, split_call
from gamepruning.trace.labelled import Trace, TraceOptions, trace_call
from gamepruning.trace.stacks import LayerNumbers
from gamepruning.trace.units import Numbers
from gamepruning.trace.usage import UsageAnalysis
from gamepruning.trees.arrays import Memo
from gamepruning.trees.masks import as_gates
from gamepruning.trees.paths import array_paths
from gamepruning.trees.placement import NO_MESH
from gamepruning.types import Apply, InputError, Params

OWN_ROLES = ("out", "bias")


class OwnedAxis(NamedTuple):
    """A parameter axis along which players own their slices (theta_i).

    Attributes:
      leaf: the number of the leaf in the flattened params.
      axis: the axis.
      columns: the players of each entry, int [size, k], as in `Columns`.
    """

    leaf: int
    axis: int
    columns: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class TracedModel:
    """A pure function, traced and labelled, and which player each entry belongs to.

    Everything that runs a model without some of its players takes a `TracedModel`; the
    players themselves are those that number its units. Traces are kept by structure,
    shapes, dtypes and constants of the call, and by the mesh around it: another batch
    size is traced anew.

    Attributes:
      apply: apply(params, *inputs) -> outputs.
      options: how it is labelled.
      example: the first call, as shapes or arrays.
      base: the trace at the shapes of `example`.
      usage: how each parameter axis is used in it.
      paths: the paths of the arrays of params.
      array_names: `paths`, then "input k" for the arrays of the inputs ("input k/path"
        for those of a tree).
      numbers: the player of each unit that plays.
      num_players: N.
      layers: who the units of a scanned layer are in each layer, where each layer has
        players of its own; the units themselves are numbered in traces.
      branches: which of the residual branches of a trace play, where those do.
      facts: what was found out by running the model, by what it is about.
      programs: what was compiled of it last, by what it was compiled for.

    Example: two hidden units; nobody plays before the units have numbers.
      >>> import jax.numpy as jnp
      >>> def apply(params, x):
      ...     return jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 2)), "out": jnp.ones((2, 1))}
      >>> call = split_call(params, (jnp.ones((5, 3)),))
      >>> model = TracedModel.of(apply, call, TraceOptions())
      >>> model, model.base.num_units
      (TracedModel(2 arrays of params, 0 players, 1 trace), 2)
      >>> numbers = Numbers([(model.base.units[0], np.arange(2))])
      >>> [owned.leaf for owned in model.with_players(numbers, 2).owned_axes()]
      [0]
    """

    apply: Apply
    example: CallSpec
    options: TraceOptions
    base: Trace
    usage: UsageAnalysis
    paths: tuple[str, ...]
    array_names: tuple[str, ...]
    numbers: Numbers = field(default_factory=Numbers)
    num_players: int = 0
    layers: LayerNumbers | None = None
    branches: tuple[int, ...] | None = None
    facts: dict[Any, Any] = field(default_factory=dict)
    programs: Memo = field(default_factory=Memo)
    _traces: dict[Any, Trace] = field(default_factory=dict)

    @classmethod
    def of(
        cls, apply: Apply, example: CallSpec, options: TraceOptions
    ) -> "TracedModel":
        """The model of a call, traced; nobody plays yet."""
        base = trace_call(apply, example, options)
        params, *_ = example.rebuild(example.arrays)
        paths = tuple(array_paths(params))
        inputs = [f"input {key}" for key in example.input_keys]
        return cls(
            apply=apply,
            example=example,
            options=options,
            base=base,
            usage=UsageAnalysis(base.analysis, example.num_params),
            paths=paths,
            array_names=(*paths, *inputs),
            _traces={example.key(): base},
        )

    def with_players(self, numbers: Numbers, num_players: int) -> "TracedModel":
        """The same model, whose units play under these numbers.

        Args:
          numbers: the player of each unit that plays; several units may be one player.
          num_players: N.
        """
        base = self.base.numbered(numbers)
        return replace(
            self,
            base=base,
            numbers=numbers,
            num_players=num_players,
            programs=Memo(),
            _traces={self.example.key(): base},
        )

    def with_layers(self, layers: LayerNumbers) -> "TracedModel":
        """The same model, whose players are told apart by the layer they live in."""
        num = len(layers.unit_of)
        return replace(self, layers=layers, num_players=num, programs=Memo())

    def with_branches(
        self, branches: Sequence[int], layers: LayerNumbers
    ) -> "TracedModel":
        """The same model, whose players are residual branches.

        Args:
          branches: which of those of a trace play.
          layers: who they are in each layer.
        """
        nobody = self.with_players(Numbers(), 0).with_layers(layers)
        return replace(nobody, branches=tuple(branches))

    def branches_of(self, trace: Trace) -> list[Branch]:
        """The branches that play, in one of the traces.

        Raises:
          InputError: the structure of the model depends on the shape of its inputs.
        """
        assert self.branches is not None
        have, expected = len(trace.branches), len(self.base.branches)
        if have != expected:
            raise InputError(
                f"at these input shapes the model has {have} residual branches, not "
                f"{expected}: its structure depends on the shape of its inputs; call "
                "find_players again with these inputs"
            )
        return [trace.branches[k] for k in self.branches]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the arrays of params, by path."""
        arrays = self.example.arrays[: len(self.paths)]
        return {p: tuple(a.shape) for p, a in zip(self.paths, arrays, strict=True)}

    # -- calls and traces ----------------------------------------------------------

    def check_params(self, params: Params) -> None:
        """Check that `params` have the paths and shapes of the first call's.

        Raises:
          InputError: they do not.
        """
        check_params(params, self.example)

    def call(self, params: Params, *inputs) -> CallSpec:
        """The arguments of a call, checked, as arrays and constants.

        Raises:
          InputError: these are not the parameters of this model.
        """
        self.check_params(params)
        return split_call(params, inputs, self.example)

    def trace(self, call: CallSpec) -> Trace:
        """The trace at the shapes of a call; traced anew for a new batch size.

        Raises:
          InputError: the model cannot run on these inputs.
          InputError: the structure of the model depends on the shape of its inputs.
        """
        if (known := self._known(call)) is not None:
            return known
        try:
            found = trace_call(self.apply, call, self.options)
        except InputError:
            raise
        except (TypeError, ValueError, IndexError) as error:
            cause = next(iter(str(error).splitlines()), type(error).__name__)
            raise input_error(self.example, call, cause) from error
        found = found.numbered(self.numbers)
        expected = self.numbers.num_players
        have = len(np.unique(found.number_of[found.number_of >= 0]))
        if have != expected:
            raise InputError(
                f"at these input shapes the model has {have} of its {expected} "
                "players: its structure depends on the shape of its inputs; call "
                "find_players again with these inputs"
            )
        constants = found.program.constants.values()
        if not any(isinstance(c, jax.core.Tracer) for c in constants):
            self._traces[call.key()] = found
        return found

    def _known(self, call: CallSpec) -> Trace | None:
        """The trace at these shapes, if one fits the mesh of the context.

        One that was made without a mesh fits all. Without a mesh, the first one does.
        """
        own, free = call.key(), call.key(NO_MESH)
        found = self._traces.get(own, self._traces.get(free))
        if found is None and own == free == self.example.key(NO_MESH):
            return self.base
        return found

    # -- players -------------------------------------------------------------------

    def gates(self, gates: ArrayLike) -> jax.Array:
        """Gates as an array, bool or float [N], checked.

        Raises:
          InputError: there is not one gate for each player.
        """
        return as_gates(gates, self.num_players)

    def owned_axes(self) -> list[OwnedAxis]:
        """The parameter axes that hold the players' own parameters.

        A player's own parameters (theta_i in arXiv 2512.22106) are its incoming weights
        and the bias added right after them.
        """
        positions = self.example.leaf_positions
        columns = self.base.columns
        return [
            OwnedAxis(positions[leaf], axis, own)
            for leaf, labels in enumerate(self.base.param_labels)
            for axis, label in enumerate(labels)
            if self.usage.role((leaf, axis)) in OWN_ROLES
            and (own := columns(label)) is not None
        ]

    def __repr__(self) -> str:
        traces = f"{len(self._traces)} trace{'s' * (len(self._traces) != 1)}"
        return (
            f"TracedModel({len(self.paths)} arrays of params, {self.num_players} "
            f"players, {traces})"
        )
