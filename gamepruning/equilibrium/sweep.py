"""Many games at once: one compiled program for all prices, rates and seeds.

A point of a sweep is one choice of prices, learning rates and start. All points see the
same batch at each step, so that the first product of all networks is one large one.
"""

import dataclasses
import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array, Float, Int, PyTree

from gamepruning.equilibrium.ascent import joint_optimizer
from gamepruning.equilibrium.config import WEIGHTS, UtilityConfig
from gamepruning.equilibrium.step import (
    THRESHOLD,
    EquilibriumStep,
    make_equilibrium_step,
)
from gamepruning.options import as_config
from gamepruning.players import Players
from gamepruning.trees.trainable import is_numeric
from gamepruning.types import InputError, Loss

RATES = ("weight_learning_rate", "gate_learning_rate")


class SweepPoints(NamedTuple):
    """The points of a sweep, P of them.

    Attributes:
      alpha: weight of the benefit, float [P].
      beta: weight of the quadratic cost, float [P].
      gamma: weight of the linear cost, float [P].
      eta: weight of the competition, float [P].
      weight_learning_rate: float [P].
      gate_learning_rate: float [P].
      seed: what the random start follows from, int [P].
    """

    alpha: Float[Array, " P"]
    beta: Float[Array, " P"]
    gamma: Float[Array, " P"]
    eta: Float[Array, " P"]
    weight_learning_rate: Float[Array, " P"]
    gate_learning_rate: Float[Array, " P"]
    seed: Int[Array, " P"]

    @property
    def num_points(self) -> int:
        """P."""
        return len(self.seed)

    def __repr__(self) -> str:
        columns = {name: np.asarray(column) for name, column in self._asdict().items()}
        spans = [
            f"{name} {column.min():.4g} to {column.max():.4g}"
            for name, column in columns.items()
            if column.min() < column.max()
        ]
        return f"SweepPoints({self.num_points} points: {', '.join(spans) or 'equal'})"

    def rows(self) -> list[dict[str, float]]:
        """One dict a point."""
        columns = {name: np.asarray(column) for name, column in self._asdict().items()}
        return [
            {name: float(f"{column[k]:.7g}") for name, column in columns.items()}
            | {"seed": int(columns["seed"][k])}
            for k in range(self.num_points)
        ]


def sweep_grid(**values: float | Sequence[float]) -> SweepPoints:
    """Every combination of the values, the last named varying fastest.

    Args:
      **values: numbers or sequences of them for the fields of `SweepPoints`; the
        others have the values of `UtilityConfig` and `joint_optimizer`. Seeds are whole
        numbers below 2^31.

    Returns:
      The points.

    Raises:
      InputError: an unknown name, no values, or values out of range.

    Example:
      >>> points = sweep_grid(beta=[0.01, 0.05], seed=[0, 1, 2])
      >>> points.num_points, points.seed.tolist()
      (6, [0, 1, 2, 0, 1, 2])
    """
    default: dict[str, Any] = {
        "alpha": 1.0,
        "beta": 0.0,
        "gamma": 0.0,
        "eta": 0.0,
        "weight_learning_rate": 0.1,
        "gate_learning_rate": 1e-3,
        "seed": 0,
    }
    lists = {}
    for name, value in values.items():
        if name not in default:
            raise InputError(f"expected one of {', '.join(default)}, got {name!r}")
        is_one = not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0
        lists[name] = [value] if is_one else list(value)  # type: ignore[arg-type]
        if not lists[name]:
            raise InputError(f"expected at least one value of {name}")
        for number in lists[name]:
            _check_value(name, number)
    combinations = list(itertools.product(*lists.values()))
    columns = {
        name: [default[name]] * len(combinations)
        if name not in lists
        else [row[list(lists).index(name)] for row in combinations]
        for name in default
    }
    seed = jnp.asarray([int(k) for k in columns.pop("seed")], jnp.int32)
    floats = {name: jnp.asarray(c, jnp.float32) for name, c in columns.items()}
    return SweepPoints(**floats, seed=seed)


def _check_value(name: str, value: Any) -> None:
    """Check that this is a number that the field `name` can have."""
    is_real = isinstance(value, numbers.Real) or (
        is_numeric(value) and np.isrealobj(value) and not np.ndim(value)
    )
    if not is_real:
        raise InputError(
            f"expected numbers for {name}, got {type(value).__name__} {value!r:.60}"
        )
    number, sign = float(value), ">" if name in RATES else ">="
    if not (number > 0 if name in RATES else number >= 0) or number == math.inf:
        raise InputError(f"expected {name} {sign} 0, got {value}")
    if name == "seed" and not (number < 2**31 and number.is_integer()):
        raise InputError(f"expected seed as a whole number below 2^31, got {value}")


def make_sweep_step(
    players: Players,
    loss_fn: Loss,
    points: SweepPoints,
    config: UtilityConfig | None = None,
    *,
    optimizer: Callable[..., optax.GradientTransformation] | None = None,
    threshold: float = THRESHOLD,
    merge_fn: Callable[[PyTree, Any], PyTree] | None = None,
    devices: Sequence[Any] | None = None,
) -> EquilibriumStep:
    """The training step of Algorithm 1 at all points of a sweep at once.

    The points are shared out among the devices and mapped on each of them; nothing is
    exchanged. One CPU counts as one device unless `jax_num_cpu_devices` says more;
    with a device for each core the networks train side by side, which small networks
    take better than having each of their products split among the cores.

    Args:
      players: the `Players` of the network.
      loss_fn: (outputs, labels) -> scalar to be minimised.
      points: prices, rates and seeds.
      config: how the terms are read (`benefit`, `norm`); its weights are not used.
      optimizer: (weight_learning_rate=, gate_learning_rate=) -> transform over
        {"params", "gates"}; `joint_optimizer` at these rates if None.
      threshold: a player with a smaller gate is not counted as active.
      merge_fn: see `make_equilibrium_step`.
      devices: where the points go, the first so many of them as divide P; all local
        devices if None. Both functions are compiled for them.

    Returns:
      `EquilibriumStep(init, step)` whose params, states and infos have a leading axis
      [P]; the batch has none, all points share it. For other batches at each point, or
      chunks of points, map `make_equilibrium_step` yourself: a `UtilityConfig` is a
      pytree.

    Example: two prices, two seeds.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> def fresh(seed):
      ...     key = jax.random.key(seed)
      ...     return {"in": jax.random.normal(key, (2, 3)), "out": jnp.ones((3, 1))}
      >>> players = gp.find_players(apply, fresh(0), jnp.ones((1, 2)))
      >>> points = gp.equilibrium.sweep_grid(gamma=[0.01, 0.1], seed=[0, 1])
      >>> points
      SweepPoints(4 points: gamma 0.01 to 0.1, seed 0 to 1)
      >>> init, step = gp.equilibrium.make_sweep_step(players, gp.squared_error, points)
      >>> state = init(jax.vmap(fresh)(points.seed))
      >>> state, info = step(state, (jnp.ones((4, 2)), jnp.ones(4)))
      >>> state.gates.shape, info.loss.shape
      ((4, 3), (4,))
    """
    base = as_config(config, UtilityConfig)

    def at(point: SweepPoints) -> EquilibriumStep:
        prices = {name: getattr(point, name) for name in WEIGHTS}
        if not np.asarray(points.eta).any():
            prices["eta"] = 0.0  # leaves the term out
        rates = {name: getattr(point, name) for name in RATES}
        tx = (optimizer or _default_optimizer)(**rates)
        return make_equilibrium_step(
            players,
            loss_fn,
            tx,
            dataclasses.replace(base, **prices),
            threshold=threshold,
            merge_fn=merge_fn,
        )

    spread = _spread_over(points.num_points, devices)

    begin = spread(jax.vmap(lambda point, own: at(point).init(own)), num_shared=0)
    move = jax.vmap(lambda p, own, batch: at(p).step(own, batch), in_axes=(0, 0, None))
    move = spread(move, num_shared=1)

    def init(params):
        return begin(points, params)

    def step(state, batch):
        return move(points, state, batch)

    return EquilibriumStep(init, step)


def _default_optimizer(
    weight_learning_rate: Array, gate_learning_rate: Array
) -> optax.GradientTransformation:
    return joint_optimizer(weight_learning_rate, gate_learning_rate)


def _spread_over(
    num_points: int, devices: Sequence[Any] | None
) -> Callable[..., Callable[..., Any]]:
    """Share the leading axis of the first two arguments among devices."""
    places = jax.local_devices() if devices is None else devices
    most = max(n for n in range(1, len(places) + 1) if num_points % n == 0)
    mesh = Mesh(np.asarray(places[:most]), ("points",))
    mine, whole = PartitionSpec("points"), PartitionSpec()

    def spread(fun: Callable[..., Any], *, num_shared: int) -> Callable[..., Any]:
        if most == 1:
            named = None if devices is None else SingleDeviceSharding(places[0])
            return jax.jit(fun, out_shardings=named)
        specs = (mine, mine, *[whole] * num_shared)
        split = jax.shard_map(
            fun, mesh=mesh, in_specs=specs, out_specs=mine, check_vma=False
        )
        return jax.jit(split)

    return spread


def pareto_front(
    values: Mapping[str, Sequence[float]], *, maximise: str, minimise: str
) -> list[int]:
    """The points that no other beats in both respects, by rising size.

    Args:
      values: columns of numbers, one a point; a point with nan in either of the two is
        left out.
      maximise: the column to be large, such as accuracy.
      minimise: the column to be small, such as players kept.

    Returns:
      Their positions, sorted by `minimise`, smallest first.

    Example:
      >>> columns = {"accuracy": [0.9, 0.8, 0.7, 0.85], "kept": [10, 5, 6, 20]}
      >>> pareto_front(columns, maximise="accuracy", minimise="kept")
      [1, 0]
    """
    good = np.asarray(values[maximise], float)
    size = np.asarray(values[minimise], float)
    known = ~(np.isnan(good) | np.isnan(size))
    front, best = [], -np.inf
    for k in np.lexsort((-good, size)):
        if known[k] and good[k] > best:
            front.append(int(k))
            best = good[k]
    return front
