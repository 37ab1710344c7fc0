"""One network, checked: every way to leave players out gives the same outputs."""

import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from gamepruning.compaction.plan import make_plan
from gamepruning.compaction.slicing import slice_tree, unslice_tree
from gamepruning.players.layer_players import LayerPlayers
from gamepruning.players.unrolled import unroll
from gamepruning.reconstruction.repair import MODES, RepairConfig
from gamepruning.selection.round_mask import round_mask
from gamepruning.trees.paths import same_rows
from tests.compare import (
    projection,
    random_mask,
    relative_error,
    shrink_inputs,
    shrink_outputs,
)
from tests.fuzz.grow import grow
from tests.fuzz.network import Network
from tests.fuzz.stacks import grow_stack
from tests.xla import forget_lowered
from tests.zoo.case import Model

TOLERANCE = 1e-9
KEEP = (0.6, 0.3)
NOTHING = "nothing to prune"


class Record(NamedTuple):
    """What came out for one network.

    Attributes:
      seed: the network.
      ok: nothing was wrong.
      wrong: what was, or "".
      players: how many; 0 where the tracing says that nothing can leave.
      families: their sizes.
      ops: the kinds of operation.
      traced_as: what the network was traced as: "model", "loop" (a model that has no
        gradient), "training step", "gated reductions" or "input players".
      refused: `exclude` said that zeroed parameters would not be exact.
      opaque: primitives that were not understood.
      error: the largest relative error of the comparisons.
      seconds: how long it took.
    """

    seed: int
    ok: bool
    wrong: str
    players: int
    families: list[int]
    ops: list[str]
    traced_as: str
    refused: bool
    opaque: list[str]
    error: float
    seconds: float


def as_model(network: Network) -> tuple[str, Model]:
    """The network as one of the things that can be traced."""
    model = _on_device(network)
    if network.seed % 6 == 1 and network.is_differentiable:
        return "training step", _training_step(model)
    if network.seed % 6 == 2:
        return "gated reductions", model._replace(options={"reductions": "gate"})
    if network.seed % 6 == 3 and network.inputs[0].dtype.kind == "f":
        last = network.inputs[0].ndim - 1
        return "input players", model._replace(options={"input_axes": {0: last}})
    return ("model" if network.is_differentiable else "loop", model)


def _on_device(network: Network) -> Model:
    """The network itself, its arrays put where nothing has to be compiled for them."""
    return Model(network.apply, *jax.device_put((network.params, network.inputs)))


def _is_finite(tree: Any) -> bool:
    return all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(tree))


def _training_step(model: Model) -> Model:
    def step(params, *inputs):
        def loss(params):
            outputs = model.apply(params, *inputs)
            return sum(jnp.sin(out).mean() for out in outputs)

        grads = jax.grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    options = {"outputs_like": lambda params: params}
    return Model(step, model.params, model.inputs, options)


def check(
    seed: int,
    num_steps: int | None = None,
    repair: bool = False,
    by_layer: bool = False,
) -> Record:
    """Grow the network of a seed and compare, in 64-bit arithmetic.

    With `repair` it is repaired after a random mask, and nothing else is compared. With
    `by_layer` it is one of scanned layers, each with its own players.
    """
    start = time.perf_counter()
    forget_lowered()
    found: dict[str, Any] = {
        "seed": seed,
        "players": 0,
        "families": [],
        "ops": [],
        "traced_as": "",
        "refused": False,
        "opaque": [],
        "error": 0.0,
    }
    wrong = ""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        try:
            network = grow_stack(seed) if by_layer else grow(seed, num_steps)
            one = _check_layers if by_layer else _check_repair if repair else _check
            one(network, found)
        except AssertionError as failure:
            wrong = f"{failure}"
        except gp.InputError as error:
            wrong = "" if NOTHING in str(error) else _where(error)
        except Exception as error:  # any exception of ours is a finding
            wrong = _where(error)
    seconds = time.perf_counter() - start
    return Record(ok=not wrong, wrong=wrong, seconds=seconds, **found)


def _where(error: Exception) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.line]
    ours = [f for f in frames if "/gamepruning/" in f.filename] or frames
    place = f"{ours[-1].filename.rsplit('/', 1)[-1]}:{ours[-1].lineno}"
    return f"{type(error).__name__} at {place}: {str(error)[:400]}"


def _check(network: Network, found: dict[str, Any]) -> None:
    found["ops"] = network.ops
    found["traced_as"], model = as_model(network)
    apply = Finite(model.apply)
    full = apply(model.params, *model.inputs)
    if not _is_finite(full):
        raise ValueError("the network itself is not finite: mend the generator")
    players = gp.find_players(model.apply, model.params, *model.inputs, **model.options)
    found["players"] = players.num_players
    found["families"] = [family.size for family in players.families]
    found["opaque"] = list(players.opaque)
    gated = Finite(players.gated)
    everyone = np.ones(players.num_players, bool)
    ours = gated(model.params, everyone, *model.inputs)
    _compare(found, "gated by ones", ours, full)
    mask, reference = everyone, full
    for number, keep in enumerate(KEEP):
        mask = _mask(network.seed, number, players, keep)
        reference = gated(model.params, mask, *model.inputs)
        _check_plan(found, model, gated, players, mask, reference)
        by_hand = number == 0 or network.seed % 16 != 1 or gated.failed
        _check_smaller(found, model, players, mask, reference, by_hand, number == 0)
        _check_excluded(found, model, apply, players, mask, reference)
    if network.seed % 2:
        gates = jnp.asarray(mask, float)
        ours = gated(model.params, gates, *model.inputs)
        _compare(found, "gated by floats", ours, reference)
    if network.seed % 3 == 0:
        _check_hoisted(found, model, players, gated)


def _check_repair(network: Network, found: dict[str, Any]) -> None:
    """No reader is worse than it was, and a mask that keeps all changes nothing."""
    found["ops"] = network.ops
    found["traced_as"], model = as_model(network)
    players = gp.find_players(model.apply, model.params, *model.inputs, **model.options)
    found["players"] = players.num_players
    found["families"] = [family.size for family in players.families]
    found["opaque"] = list(players.opaque)
    everyone = np.ones(players.num_players, bool)
    same = gp.repair(players, model.params, everyone, model.inputs)
    _demand(not same.report.readers, "a mask that keeps all is repaired")
    mask = _mask(network.seed, 0, players, KEEP[0])
    gated = jax.jit(players.gated)
    was_finite = _is_finite(gated(model.params, mask, *model.inputs))
    alone = False
    for mode in MODES:
        config = RepairConfig(mode=mode)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer rows than inputs
            repaired = gp.repair(
                players, model.params, mask, model.inputs, config=config
            )
        for reader in repaired.report.readers:
            limit = reader.before * (1 + TOLERANCE) + TOLERANCE
            _demand(reader.after <= limit, f"{reader.path} is worse, {mode}")
        after = gated(repaired.params, mask, *model.inputs)
        is_fine = _is_finite(after) or not was_finite  # of XLA's least optimisation
        _demand(is_fine, f"not finite after a repair, {mode}")
        alone = bool(repaired.report.alone)
    found["refused"] = alone


def _check_layers(network: Network, found: dict[str, Any]) -> None:
    """(Layer, unit) players, against those that are one in all layers, and smaller."""
    found["ops"], found["traced_as"] = network.ops, "model"
    model = _on_device(network)
    apply = jax.jit(model.apply)
    full = apply(model.params, *model.inputs)
    reductions = "gate" if network.seed % 3 == 0 else "freeze"
    arguments = model.apply, model.params, *model.inputs
    players = gp.find_players(*arguments, reductions=reductions, layers="each")
    tied = gp.find_players(*arguments, reductions=reductions)
    found["players"] = players.num_players
    found["families"] = [family.size for family in players.families]
    found["opaque"] = list(players.opaque)
    gated = jax.jit(players.gated)
    everyone = np.ones(players.num_players, bool)
    ours = gated(model.params, everyone, *model.inputs)
    _compare(found, "gated by ones", ours, full)
    numbers = np.random.default_rng(network.seed)
    same = random_mask(numbers, tied, 0.5)
    of_tied = np.arange(tied.num_players)
    if isinstance(players, LayerPlayers):
        of_tied = players.model.layers.unit_of
    _compare(
        found,
        "the same units in all layers",
        gated(model.params, same[of_tied], *model.inputs),
        tied.gated(model.params, same, *model.inputs),
    )
    for keep in KEEP:
        mask = np.asarray(
            round_mask(
                players,
                random_mask(numbers, players, keep),
                numbers.random(players.num_players),
                uniform=True,
            )
        )
        if mask.all():
            continue
        reference = gated(model.params, mask, *model.inputs)
        _check_excluded_by_layer(found, model, apply, players, mask, reference)
        _check_plan(found, model, gated, players, mask, reference)
        _check_unrolled(found, model, players, mask, reference)
        try:
            players.compact_apply(mask)
        except gp.InputError as error:
            _demand(
                "has_halves" in str(error) or "same parts" in str(error), str(error)
            )
            found["refused"] = True
            continue
        kept = players.kept_indices(mask)
        small = slice_tree(list(map(np.asarray, model.params)), kept)
        ours = jax.jit(players.compact_apply(mask))(small, *model.inputs)
        _compare(found, "smaller", ours, reference)
        back = unslice_tree(small, list(map(np.asarray, model.params)), kept)
        _compare(found, "put back", gated(back, mask, *model.inputs), reference)
    _check_hoisted(found, model, players, gated)


def _check_unrolled(found, model: Model, players, mask, reference):
    """The layers one by one, where the same units leave there."""
    if not isinstance(players, LayerPlayers):
        return
    try:
        each = unroll(players, model.params)
        there = each.mask(mask)
    except gp.InputError as error:
        told = "taken apart", "plan for another model"
        _demand(any(text in str(error) for text in told), str(error))
        return
    params = each.params(model.params)
    ours = jax.jit(each.players.gated)(params, there, *model.inputs)
    _compare(found, "unrolled", ours, reference)
    again = each.stacked(model.params, params)
    same = map(np.array_equal, again, model.params)
    _demand(all(same), "layers do not come back")


def _check_excluded_by_layer(found, model: Model, apply, players, mask, reference):
    try:
        zeroed = players.exclude(model.params, mask)
    except ValueError:
        return
    _compare(found, "excluded", apply(zeroed, *model.inputs), reference)


def _mask(seed: int, number: int, players, keep: float) -> np.ndarray:
    """A random mask; now and then the second empties a family."""
    numbers = np.random.default_rng((seed, number))
    mask = random_mask(numbers, players, keep)
    if number and seed % 5 == 4:
        family = players.families[int(numbers.integers(len(players.families)))]
        mask[family.start : family.stop] = False
    return mask


def _check_plan(found, model: Model, gated, players, mask, reference) -> None:
    """A plan says who stays; kept indices do but for those who lost every entry.

    Where such a player stays or not makes no difference to what is left, unless it
    holds entries that are no parameter's: those that padding adds.
    """
    plan = gp.Plan.from_dict(make_plan(players, model.params, mask).to_dict())
    _demand(np.array_equal(plan.mask(players), mask), "a plan has another mask")
    kept = players.kept_indices(mask)
    stays = players.mask_from_kept(kept, players.input_kept(mask))
    again = players.kept_indices(stays)
    same = [place in kept and same_rows(kept[place], again[place]) for place in again]
    _demand(all(same) and len(again) == len(kept), "kept indices do not come back")
    if not np.array_equal(stays, mask):
        _demand((stays <= mask).all(), "mask_from_kept brings players back")
        if "pad" in found["ops"]:
            return
        ours = gated(model.params, stays, *model.inputs)
        ours, shown = (shrink_outputs(model, kept, out) for out in (ours, reference))
        _compare(found, "gated by mask_from_kept", ours, shown)


def _check_smaller(
    found, model: Model, players, mask, reference, by_hand, with_gradient
) -> None:
    """By our own comparison, or by the one that `compact` makes itself.

    The latter compiles the full network once more, so few networks have it.
    """
    if not by_hand:
        options = {"inputs": model.inputs, "min_units": 0}
        params = list(map(np.asarray, model.params))
        small = gp.compact(players, params, mask, **options)
        found["error"] = max(found["error"], small.report.max_error)
        _demand(small.report.max_error <= TOLERANCE, "smaller differs by its report")
        return
    kept = players.kept_indices(mask)
    apply, params = players.compact_apply(mask), _cut(model.params, kept)
    inputs = shrink_inputs(model, players.input_kept(mask))
    shown = shrink_outputs(model, kept, reference)
    ours = Finite(apply)(params, *inputs)
    _compare(found, "smaller", ours, shown)
    if found["traced_as"] == "model" and found["seed"] % 4 == 0 and with_gradient:
        _check_gradient(found, model, players, mask, (apply, params))


def _cut(params: Sequence[Any], kept) -> list[np.ndarray]:
    """What `compact` makes of the parameters, in NumPy: nothing to compile."""
    cut = list(map(np.asarray, params))
    for (path, axis), indices in kept.items():
        cut[int(path)] = np.take(cut[int(path)], indices, axis)
    return cut


def _check_excluded(found, model: Model, apply, players, mask, reference) -> None:
    kept = players.kept_indices(mask)
    try:
        zeroed = players.exclude(list(map(np.asarray, model.params)), mask)
    except ValueError:
        found["refused"] = True
        return
    ours = shrink_outputs(model, kept, apply(zeroed, *model.inputs))
    _compare(found, "excluded", ours, shrink_outputs(model, kept, reference))


def _check_gradient(found, model: Model, players, mask, small) -> None:
    def full_loss(params):
        return projection(0, players.gated(params, mask, *model.inputs))

    apply, params = small

    def small_loss(params):
        return projection(0, apply(params, *model.inputs))

    ours = _gradient(small_loss, params)
    reference = _cut(_gradient(full_loss, model.params), players.kept_indices(mask))
    flat = [
        np.concatenate([np.asarray(leaf).reshape(-1) for leaf in tree])
        for tree in (ours, reference)
    ]
    _demand(flat[0].shape == flat[1].shape, "gradients differ in shape")
    scale = max(float(np.abs(flat[1]).max(initial=0)), 1e-3)
    error = float(np.abs(flat[0] - flat[1]).max(initial=0)) / scale
    found["error"] = max(found["error"], error)
    _demand(error <= 10 * TOLERANCE, f"gradients differ: {error:.1e}")


def _gradient(loss: Callable, params: Sequence[Any]) -> list[np.ndarray]:
    return list(map(np.asarray, Finite(jax.grad(loss))(params)))


class Finite:
    """One program of a function; operation by operation where XLA makes NaN of it.

    Without optimisation XLA may compute a maximum twice with other roundings. No entry
    equals it then, and its gradient is 0 / 0 in every network, full or small.

    Attributes:
      failed: the program made NaN.
    """

    def __init__(self, fn: Callable[..., Any]):
        self._fn, self._program = fn, jax.jit(fn)
        self.failed = False

    def __call__(self, *args: Any) -> Any:
        found = self._program(*args)
        if _is_finite(found):
            return found
        self.failed = True
        return self._fn(*args)


def _check_hoisted(found, model: Model, players, gated) -> None:
    """The gates of one family vary."""
    numbers = np.random.default_rng(players.num_players)
    family = players.families[int(numbers.integers(len(players.families)))]
    mask = random_mask(numbers, players, 0.7)
    prefix, suffix = players.hoist(model.params, *model.inputs, varying=[family.name])
    residuals = jax.jit(prefix)(model.params, mask, *model.inputs)
    mask[family.start : family.stop] = numbers.random(family.size) < 0.5
    reference = gated(model.params, mask, *model.inputs)
    _compare(found, "hoisted", jax.jit(suffix)(residuals, mask), reference)


def _compare(found: dict[str, Any], what: str, ours: Any, reference: Any) -> None:
    error = relative_error(ours, reference)
    zeros = [not np.asarray(leaf).any() for leaf in jax.tree.leaves(reference)]
    if np.isinf(error) and any(zeros):  # no scale to measure by: compare as they are
        error = _absolute_error(ours, reference)
    found["error"] = max(found["error"], error)
    _demand(error <= TOLERANCE, f"{what} differs from gated: {error:.1e}")


def _absolute_error(ours: Any, reference: Any) -> float:
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True)
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max(initial=0))
        if np.shape(a) == np.shape(b)
        else np.inf
        for a, b in pairs
    )


def _demand(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)
