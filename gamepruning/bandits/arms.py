"""Arms = players: a pull takes one out on a mini-batch and measures the loss."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float

from gamepruning.metrics import as_labels
from gamepruning.options import make_options
from gamepruning.players import Players
from gamepruning.players.examples import check_examples, examples_are_apart
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.run.toggle import Residuals, ToggleEvaluator
from gamepruning.trees.arrays import split_arrays
from gamepruning.trees.examples import as_inputs, count_rows, same_length
from gamepruning.trees.keys import as_key
from gamepruning.trees.layout import COALITIONS, are_split, make_layout
from gamepruning.trees.row_tiles import full_tiles
from gamepruning.types import InputError, KeyLike, Loss

MOST_BYTES = 2**29  # of states that are kept for all mini-batches
SIDE_BY_SIDE = 32  # pulls that are one product, where many are made at once


class ArmsKeywords(TypedDict, total=False):
    """The rarer keywords of `removal_arms`; see there."""

    most_bytes: int
    mesh: Mesh | None
    coalition_axis: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmsOptions:
    """Where arms are pulled, and what is kept for it; see `removal_arms`."""

    most_bytes: int = MOST_BYTES
    mesh: Mesh | None = None
    coalition_axis: str = COALITIONS


def removal_arms(
    players: Players,
    params: Any,
    loss_fn: Loss,
    inputs: Any,
    labels: Any,
    *,
    batch_size: int = 128,
    key: KeyLike | None = None,
    **options: Unpack[ArmsKeywords],
) -> "RemovalArms":
    """One arm a player: pulling it asks what the loss would be without the player.

    loss change of player i on batch b = loss(b; all but i) - loss(b; all)

    Both losses are taken on the same mini-batch, so that what is hard about a batch
    cancels. The examples are cut into mini-batches once. The loss of the full network
    on each of them, and what a single player does not change, are computed once; where
    the trace shows the player's product, a pull is an update of rank one and the
    layers after it. Where examples depend on each other (batch norm over the batch,
    graphs), all of them are the one mini-batch.

    Over a mesh, groups of devices share the first pulls of a game, those of
    `loss_changes`, and the games of `gp.bandits.record_bandits`; the bits are those of
    one device.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (outputs, labels) -> scalar, a mean over examples.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: what the loss compares with, leaves [B, ...].
      batch_size: examples of a mini-batch; all, if there are fewer.
      key: shuffles the examples before they are cut; None leaves their order. The
        examples that do not fill a mini-batch are left out.
      most_bytes: what may be kept of the mini-batches; above it, what comes before the
        players is kept alone, or is computed again in every pull.
      mesh: devices of one process or of several that share the arms; one device if
        None. Parameters and examples that are split over its other axes stay so, a
        mini-batch takes as many examples of each part, and nothing is gathered that a
        forward pass does not gather: where parameters are split, a pull is a whole
        pass.
      coalition_axis: the axis of the mesh that arms and games go over.

    Returns:
      The `RemovalArms`.

    Raises:
      InputError: no examples, lengths that differ, a size below 1, or arrays lie on
        devices of other processes and there is no mesh.
      LostProcess: another process of the mesh has ended.
      TypeError: an unknown keyword.

    Cost: one pass over the examples.

    Example: f = 3 s_0 + s_1 with the target 4, so removal costs 3^2 and 1^2.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0]]), "out": jnp.ones((2, 1))}
      >>> x, y = jnp.ones((4, 1)), jnp.full(4, 4.0)
      >>> players = gp.find_players(apply, params, x)
      >>> arms = removal_arms(players, params, gp.squared_error, x, y, batch_size=2)
      >>> arms
      RemovalArms(2 arms, 2 mini-batches, a pull costs 0.833 of a pass)
      >>> arms.loss_changes(1).tolist()
      [9.0, 1.0]

    References:
      arXiv 2606.07615: a pull masks the neuron, measures the change in loss on a
      sampled mini-batch, and restores it.
    """
    chosen = make_options(ArmsOptions, options, removal_arms)
    return RemovalArms(
        players, params, loss_fn, inputs, labels, batch_size, key, chosen
    )


class RemovalArms:
    """The arms of a network; made by `removal_arms`.

    Attributes:
      num_arms: N.
      num_batches: M mini-batches.
      is_open: who is in the network, bool [N]; the others cannot be pulled.
      data: what `pull` reads, a pytree of arrays: an argument of compiled functions.
      share: mean cost of a pull as estimated from shapes; a full pass has 1.
      layout: where parameters and mini-batches lie, and which groups of devices share
        the arms.
    """

    def __init__(
        self, players, params, loss_fn, inputs, labels, batch_size, key, options
    ):
        if batch_size < 1:
            raise InputError(f"expected batch_size >= 1, got {batch_size}")
        self.layout = make_layout(None, options.mesh, options.coalition_axis)
        if same_length(as_inputs(inputs)) is not None:
            count_rows((as_inputs(inputs), as_labels(labels)))
        self._players, self._loss_fn = players, loss_fn
        self._most_bytes, self._batch_size = options.most_bytes, batch_size
        params, inputs, labels = self._place(params, inputs, labels, key)
        self.num_arms = players.num_players
        self._arrays, self._rebuild = split_arrays(params)
        self._is_whole = not examples_are_apart(players, params, inputs)
        self._cut(inputs, labels, key)
        self.compiled: dict[Any, Any] = {}  # shared by all copies
        self._updates: Any = None  # for weights, scanned layers, dependent examples
        self.share = 1.0
        in_full = self._is_whole or (self.layout.is_given and are_split(params))
        if isinstance(players, UnitPlayers) and not in_full:
            one = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype),
                self._batches[0],
            )
            everyone = np.ones(self.num_arms, bool)
            self._updates = ToggleEvaluator(players.model, params, one, everyone)
            self.share = self._updates.moves.share
        self.is_open = np.ones(self.num_arms, bool)
        self._prepare()

    def __repr__(self) -> str:
        closed = "" if self.is_open.all() else f", {int(self.is_open.sum())} open"
        return (
            f"RemovalArms({self.num_arms} arms{closed}, {self.num_batches} "
            f"mini-batches, a pull costs {self.share:.3g} of a pass)"
        )

    def without(self, kept: ArrayLike) -> "RemovalArms":
        """The same arms when only some players are in: losses change, and who is open.

        Args:
          kept: who is in, bool [N].

        Returns:
          `RemovalArms` with the same players and mini-batches. Cost: one pass.

        Raises:
          InputError: not bool [N], or nobody is in.
        """
        kept = np.asarray(kept)
        if kept.shape != (self.num_arms,) or kept.dtype != bool or not kept.any():
            raise InputError(
                f"expected who is in as bool [{self.num_arms}] with somebody in, got "
                f"{kept.dtype} {list(kept.shape)}"
            )
        other = copy.copy(self)
        other.is_open = kept
        other._prepare()
        return other

    def renewed(
        self, params: Any, inputs: Any, labels: Any, *, key: KeyLike | None = None
    ) -> "RemovalArms":
        """The same arms on other weights and examples of the same shapes.

        What is compiled is shared: a study of many splits compiles once.

        Args:
          params: other parameters; leaves that are not arrays as they were.
          inputs: other examples, of the same number and shape.
          labels: their labels.
          key: see `removal_arms`.

        Returns:
          `RemovalArms` with everybody in. Cost: one pass.
        """
        params, inputs, labels = self._place(params, inputs, labels, key)
        other = copy.copy(self)
        other._arrays, other._rebuild = split_arrays(params)
        other._cut(inputs, labels, key)
        other.is_open = np.ones(self.num_arms, bool)
        other._prepare()
        return other

    def pull(self, data: Any, player: ArrayLike, batch: ArrayLike) -> Float[Array, ""]:
        """Loss without a player minus loss with it, on a mini-batch; traceable.

        Args:
          data: this object's `data`.
          player: an open arm, an integer.
          batch: the number of the mini-batch, in [0, M).
        """
        inputs, labels = jax.tree.map(lambda x: x[batch], data["batches"])
        gates = self.layout.whole(data["gates"])
        after = self.layout.whole(gates.at[player].set(0.0))
        outputs = self._outputs(data, inputs, batch, gates, after, player)
        return self._loss_fn(outputs, labels) - data["losses"][batch]

    def pull_many(
        self, data: Any, players: Array, batches: Array
    ) -> Float[Array, " P"]:
        """`pull` of some players, each on its own mini-batch; traceable.

        Groups of devices share them by 32, as many as are one product.

        Args:
          data: this object's `data`.
          players: open arms, int [P].
          batches: the number of the mini-batch of each, int [P].
        """
        pulls, num_tiles = (players, batches), len(players) // SIDE_BY_SIDE
        if not self.layout.is_given or num_tiles < 2:
            return self._in_turn(data, pulls)
        cut = num_tiles * SIDE_BY_SIDE
        shared = self.layout.by_group(self._shared)
        found = shared(data, [part[:cut] for part in pulls])
        rest = self._in_turn(data, tuple(part[cut:] for part in pulls))
        return jnp.concatenate([found, rest]) if cut < len(players) else found

    def _in_turn(self, data: Any, pulls: tuple) -> Array:
        return lax.map(
            lambda one: self.pull(data, *one), pulls, batch_size=SIDE_BY_SIDE
        )

    def _shared(self, data: Any, pulls: list) -> Array:
        players, batches = (part.reshape(-1, SIDE_BY_SIDE) for part in pulls)
        tile = jax.vmap(functools.partial(self.pull, data))
        like = jnp.zeros(players.shape, data["losses"].dtype)
        found = self.layout.share(
            lambda k: tile(players[k], batches[k]), len(players), like
        )
        return found.ravel()

    def of_open(
        self, fn: Callable[[Array], Array], data: Any, is_open: Array
    ) -> Float[Array, " N"]:
        """fn(arm) of every open arm, 0 for the others; groups of devices share them.

        Args:
          fn: the number of an arm -> a loss change; traceable.
          data: this object's `data`.
          is_open: bool [N].
        """
        order = jnp.argsort(~is_open, stable=True)  # open arms first
        zeros = jnp.zeros(self.num_arms, data["losses"].dtype)
        found = self.layout.share(lambda k: fn(order[k]), is_open.sum(), zeros)
        return self.layout.whole(zeros.at[order].set(found))

    def loss_changes(self, num_batches: int | None = None) -> Float[Array, " N"]:
        """The mean loss change of every player over the first mini-batches.

        Args:
          num_batches: how many; all if None, which is the greedy oracle on these
            examples.

        Returns:
          float [N]; players that are not in get 0.

        Raises:
          InputError: it is not a number of these mini-batches.
        """
        count = self.num_batches if num_batches is None else num_batches
        if count not in range(1, self.num_batches + 1):
            raise InputError(
                f"expected num_batches in [1, {self.num_batches}], got {count}"
            )
        run = self.compile_once(
            ("changes", count), lambda: _all_changes(self, count), is_shared=True
        )
        return run(self.data, self.is_open)

    def alone(self) -> "RemovalArms":
        """The same arms in a program of one group of devices; see `Layout.by_group`."""
        other = copy.copy(self)
        other.layout, other.compiled = self.layout.within, {}
        return other

    def lower(self) -> jax.stages.Lowered:
        """The program of one pull in every group of devices, to look at."""
        return jax.jit(self.layout.by_group(self.pull)).lower(self.data, 0, 0)

    # -- what is kept ------------------------------------------------------------------

    def _place(
        self, params: Any, inputs: Any, labels: Any, key: KeyLike | None
    ) -> tuple[Any, tuple, Any]:
        """Parameters, inputs and labels, checked, where arms are pulled."""
        layout = self.layout
        layout.check_same((params, inputs, labels, key))
        params = layout.place(params, "parameter")
        inputs = layout.place(as_inputs(inputs), "input")
        inputs, labels = check_examples(
            self._players, params, self._loss_fn, inputs, labels
        )
        (*inputs, labels) = layout.place_rows((*inputs, labels), "input")
        return params, tuple(inputs), labels

    def _cut(self, inputs: tuple, labels: Any, key: KeyLike | None) -> None:
        """The examples in mini-batches."""
        data = jax.tree.map(jnp.asarray, (inputs, labels))
        if self._is_whole:
            self.num_batches = 1
            self._batches = jax.tree.map(lambda x: x[None], data)
            return
        rows, parts = count_rows(data), self.layout.row_parts(data)
        own, size = rows // parts, max(1, min(self._batch_size, rows) // parts)
        self.num_batches, order = own // size, None
        if key is not None:
            order = np.asarray(jax.random.permutation(as_key(key), own))
        self._batches = full_tiles(
            data, self.layout, self.num_batches, size * parts, order
        )

    def compile_once(
        self,
        name: Any,
        make: Callable[[], Callable[..., Any]],
        *,
        is_shared: bool = False,
    ) -> Callable[..., Any]:
        """A compiled function, made on first use; all copies share it.

        Args:
          name: of the function.
          make: makes it, a program of each group of devices.
          is_shared: True if the groups exchange something in it.
        """
        if name not in self.compiled:
            program = jax.jit(self.layout.by_group(make()))
            self.compiled[name] = functools.partial(
                self.layout.launch, program, is_shared=is_shared
            )
        return self.compiled[name]

    def _prepare(self) -> None:
        """Compute what pulls share: losses, and residuals and states where they fit."""
        gates = jnp.asarray(self.is_open, jnp.result_type(float))
        gates = self.layout.place(gates, "gates")
        if self._updates is None:
            run = self.compile_once("losses", lambda: _losses(self))
            losses = run(self._arrays, gates, self._batches)
            self.data = {"batches": self._batches, "losses": losses}
        else:
            keep = self._how_much_fits(gates)
            run = self.compile_once(("kept", keep), lambda: _kept(self, keep))
            self.data = run(self._arrays, gates, self._batches)
        self.data |= {"arrays": self._arrays, "gates": gates}

    def _how_much_fits(self, gates) -> str:
        rows, states = self._sizes(gates)
        if rows > self._most_bytes:
            return "inputs"
        return "states" if rows + states <= self._most_bytes else "rows"

    def _residuals(self, arrays, inputs) -> Residuals:
        return self._updates.prepare(self._rebuild(arrays), inputs)

    def _sizes(self, gates) -> tuple[int, int]:
        """Bytes of the residuals and of the states of all mini-batches."""
        first = jax.tree.map(lambda x: x[0], self._batches[0])

        def all_of(arrays, inputs):
            residuals = self._residuals(arrays, inputs)
            return residuals.rows, self._updates.start(residuals, gates)[0]

        found = jax.eval_shape(all_of, self._arrays, first)
        rows, states = (sum(map(_num_bytes, part)) for part in found)
        return rows * self.num_batches, states * self.num_batches

    def _outputs(self, data, inputs, batch, gates, after, player):
        if self._updates is None:
            params = self._rebuild(data["arrays"])
            return self._players.gated(params, after, *inputs)
        if "rows" in data:
            residuals = Residuals(data["shared"], [x[batch] for x in data["rows"]])
        else:
            residuals = self._residuals(data["arrays"], inputs)
        if "states" in data:
            states = [x[batch] for x in data["states"]]
        else:
            states, _ = self._updates.start(residuals, gates)

        def make_branch(kind):
            def branch(states, residuals, gates, after, player):
                both = gates, after
                return self._updates.move(kind, residuals, states, both, player)[1]

            return branch

        kinds = range(len(self._updates.moves.kinds))
        kind_of = jnp.asarray(self._updates.moves.kind_of)
        operands = (states, residuals, gates, after, player)
        return lax.switch(kind_of[player], list(map(make_branch, kinds)), *operands)


def _losses(arms: RemovalArms) -> Callable[..., Any]:
    """(arrays, gates, batches) -> the losses of all mini-batches, [M]."""

    def run(arrays, gates, batches):
        params, gates = arms._rebuild(arrays), arms.layout.whole(gates)

        def one(batch):
            inputs, labels = batch
            return arms._loss_fn(arms._players.gated(params, gates, *inputs), labels)

        return lax.map(one, batches)

    return run


def _kept(arms: RemovalArms, keep: str) -> Callable[..., Any]:
    """(arrays, gates, batches) -> what pulls read, as much of it as `keep` says."""

    def run(arrays, gates, batches):
        gates = arms.layout.whole(gates)

        def one(batch):
            inputs, labels = batch
            residuals = arms._residuals(arrays, inputs)
            states, outputs = arms._updates.start(residuals, gates)
            kept = {"rows": residuals.rows, "states": states}
            names = {"inputs": (), "rows": ("rows",), "states": ("rows", "states")}
            return arms._loss_fn(outputs, labels), {k: kept[k] for k in names[keep]}

        inputs, labels = batches
        losses, kept = lax.map(one, batches)
        data = {"losses": losses, **kept}
        data["batches"] = (inputs if keep == "inputs" else (), labels)
        if keep != "inputs":
            first = jax.tree.map(lambda x: x[0], inputs)
            data["shared"] = arms._residuals(arrays, first).shared
        return data

    return run


def _all_changes(arms: RemovalArms, num_batches: int) -> Callable[..., Any]:
    """(data, is_open) -> the mean loss change of every arm, [N]."""

    def run(data, is_open):
        def of_arm(arm):
            batches = jnp.arange(num_batches)
            return lax.map(lambda b: arms.pull(data, arm, b), batches).mean()

        return arms.of_open(of_arm, data, is_open)

    return run


def _num_bytes(array: Any) -> int:
    return int(np.prod(array.shape)) * array.dtype.itemsize
