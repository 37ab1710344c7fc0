"""`compact`: remove players for good, and prove that nothing else changed."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gamepruning.baselines import magnitude_scores
from gamepruning.compaction.evidence import (
    are_same,
    check_finite,
    looks_constant,
    random_params,
)
from gamepruning.compaction.fold import fold_constants
from gamepruning.compaction.plan import Plan, make_plan
from gamepruning.compaction.report import (
    GATED,
    WIDTH,
    CompactionReport,
    make_report,
)
from gamepruning.compaction.slicing import select_inputs, slice_opt_state, slice_tree
from gamepruning.compaction.verify import relative_error, sample_inputs, tolerance
from gamepruning.options import make_options
from gamepruning.players import Players
from gamepruning.players.examples import check_players
from gamepruning.run.gated import shortens_means
from gamepruning.selection.alike import RoundTo
from gamepruning.selection.round_mask import round_mask
from gamepruning.trees.arrays import is_array, split_arrays
from gamepruning.trees.paths import InputKey
from gamepruning.trees.placement import replicated_note
from gamepruning.types import Apply, InputError, Scores

RANDOM_DRAWS = 8  # before nothing is called proved


class CompactModel(NamedTuple):
    """A smaller model.

    Attributes:
      apply: apply(params, *inputs) -> outputs, like the original on the smaller
        parameters: jit, grad, vmap, export it; any batch size.
      params: the smaller parameters, a tree like the original.
      opt_state: the optimizer state, sliced along; None if there was none.
      plan: what was kept and why, as data that outlives the program.
      report: sizes, multiply-adds and latency before and after; the measured error.
      input_kept: {input position: {axis: kept indices}}, where input features left;
        "1/k" stands for array `k` of input 1, a tree. `plan.select_inputs` cuts inputs.
      mask: who stayed, bool [N].
    """

    apply: Callable[..., Any]
    params: Any
    opt_state: Any
    plan: Plan
    report: CompactionReport
    input_kept: dict[InputKey, dict[int, np.ndarray]]
    mask: np.ndarray

    def __repr__(self) -> str:
        players, params = self.report.players, self.report.params
        state = "without" if self.opt_state is None else "with"
        return (
            f"CompactModel({players.after} of {players.before} players, "
            f"{params.after:,} of {params.before:,} parameters, {state} optimizer "
            "state)"
        )


class CompactKeywords(TypedDict, total=False):
    """What sizes `compact` allows; see there."""

    min_units: int
    round_to: RoundTo
    scores: Scores | ArrayLike | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompactOptions:
    """What sizes `compact` allows; see there."""

    min_units: int = 1
    round_to: RoundTo = 1
    scores: Scores | ArrayLike | None = None


def compact(
    players: Players,
    params: Any,
    mask: ArrayLike,
    *,
    opt_state: Any = None,
    inputs: Sequence[Any] | Any | None = None,
    fold: bool = False,
    why: Mapping[str, Any] | None = None,
    **sizes: Unpack[CompactKeywords],
) -> CompactModel:
    """Remove the players that are not in `mask` and return the smaller model.

    The traced program is interpreted again at the smaller sizes, so no module has to be
    rebuilt. Before anything is handed out, the small model's outputs are compared with
    those of the full model with these players gated off. With `reductions="width"` that
    model takes its means over what stays, which is another function than the full model
    with zeros; `report.reference` says which of the two it was.

    Args:
      players: the players.
      params: the full parameters.
      mask: bool [N], True = kept.
      opt_state: an optax state for `params`; it is sliced along.
      inputs: inputs for the verification, a sequence of them or one array; by default
        those given to `find_players`, or random ones of their shapes.
      min_units: fewest units a family may keep; 0 allows a layer to vanish.
      round_to: widths become multiples of it, by `round_mask`: players come back or
        leave by `scores`. It may be a number for each family, by name; layers of a
        stack keep equally many.
      scores: ranks players for `round_to`; default `magnitude_scores`.
      fold: the removed players' incoming weights are zero in `params`, but their
        constant output (act(bias), batch-norm shift) still counts: fold it into the
        next bias. Verified against `apply(params)` as it is.
      why: anything that JSON can hold, recorded in the plan.

    Returns:
      The smaller model. Its parameters and optimizer state keep their shardings and
      kinds of memory; an axis that its devices do not divide any more is replicated,
      and a note in the report says so.

    Raises:
      InputError: the mask, the parameters, the inputs or the optimizer state do not
        fit, the mask empties a family, or no output is finite. Where some outputs are
        NaN, or all are the same whoever stays, a note in the report says so.
      VerificationError: the outputs differ; nothing is handed out.
      TypeError: an unknown keyword.

    Example:
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"]
      >>> one, two, three = jax.random.split(jax.random.key(0), 3)
      >>> params = {
      ...     "w1": jax.random.normal(one, (4, 8)),
      ...     "b1": jnp.ones(8),
      ...     "w2": jax.random.normal(two, (8, 3)),
      ... }
      >>> x = jax.random.normal(three, (2, 4))
      >>> players = gp.find_players(apply, params, x)
      >>> mask = gp.top_n(gp.magnitude_scores(players, params), 3)
      >>> small = gp.compact(players, params, mask)
      >>> small.params["w1"].shape, small.apply(small.params, x).shape
      ((4, 3), (2, 3))
      >>> small
      CompactModel(3 of 8 players, 24 of 64 parameters, without optimizer state)
    """
    allowed = make_options(CompactOptions, sizes, compact)
    check_players(players)
    stays = players.mask(mask)
    players.model.check_params(params)
    _check_known(params)
    if allowed.round_to != 1:
        stays = _rounded(players, params, stays, allowed)
    _check_families(players, stays, allowed.min_units)
    full_params = params
    if fold:
        params = fold_constants(players, params, stays)
    kept = players.kept_indices(stays)
    small_params = slice_tree(players.prepare(params, stays), kept)
    apply = players.compact_apply(stays)
    inputs = (inputs,) if is_array(inputs) else inputs
    examples = sample_inputs(players.example_inputs() if inputs is None else inputs)
    input_kept = players.input_kept(stays)
    small_inputs = select_inputs(examples, input_kept)
    pair = _Pair(players, stays, apply, examples, small_inputs)
    if fold:
        whole = _jit(players.apply, full_params, examples)
        expected = players.slice_outputs(whole, stays)
    else:
        expected = pair.gated(params, stays)
    left_out = check_finite(expected, full_params, examples)
    error = _verify(expected, _jit(apply, small_params, small_inputs), full_params)
    again, doubt = _look_again(pair, params, expected)
    spread = replicated_note(full_params, small_params)
    remarks = (left_out, doubt, spread, *players.remarks(stays))
    notes = tuple(note for note in remarks if note)
    if left_out:
        warnings.warn(f"compact: {left_out}", stacklevel=2)
    small_state = None
    if opt_state is not None:
        small_state = slice_opt_state(opt_state, full_params, kept)
    families = [
        (f.name, f.size, int(stays[f.start : f.stop].sum())) for f in players.families
    ]
    report = make_report(
        (players.apply, (full_params, *examples)),
        (apply, (small_params, *small_inputs)),
        families=families,
        max_error=max(error, again),
        notes=notes,
        reference=WIDTH if shortens_means(players.model, stays) else GATED,
    )
    plan = make_plan(players, full_params, stays, why=why)
    return CompactModel(
        apply, small_params, small_state, plan, report, input_kept, stays
    )


def compact_or_keep(
    players: Players, params: Any, mask: np.ndarray, inputs: Sequence[Any]
) -> CompactModel:
    """The smaller model of `compact`; the same model where nobody leaves.

    Args:
      players: the players.
      params: the full parameters.
      mask: bool [N], True = kept.
      inputs: inputs for the verification.

    Returns:
      The smaller model.

    Raises:
      InputError: see `compact`, which does not take a mask that keeps everybody.

    Example:
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> apply = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((2, 4)), "out": jnp.ones((4, 3))}
      >>> x = jnp.ones((1, 2))
      >>> players = gp.find_players(apply, params, x)
      >>> same = compact_or_keep(players, params, np.ones(4, bool), [x])
      >>> same.params is params, same.report.params.ratio
      (True, 1.0)
    """
    if not mask.all():
        return compact(players, params, mask, inputs=inputs)
    call = (players.apply, (params, *inputs))
    families = [(f.name, f.size, f.size) for f in players.families]
    report = make_report(call, call, families=families, max_error=0.0)
    plan = make_plan(players, params, mask)
    return CompactModel(players.apply, params, None, plan, report, {}, mask)


class VerificationError(AssertionError):
    """The small model does not compute what the gated full model does."""


def _check_known(params) -> None:
    leaves = jax.tree_util.tree_leaves(params)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        raise InputError(
            "the parameters are traced (by jit, vmap or grad), but compact compares "
            "outputs, and so needs their values: call it outside, and jit small.apply"
        )


def _rounded(
    players: Players, params: Any, mask: np.ndarray, allowed: CompactOptions
) -> np.ndarray:
    scores = allowed.scores
    if scores is None:
        scores = magnitude_scores(players, params)
    rounded = round_mask(
        players,
        mask,
        scores,
        allowed.round_to,
        allowed.min_units,
        uniform=players.model.layers is not None,
    )
    return np.asarray(rounded)


def _check_families(players, mask: np.ndarray, min_units: int) -> None:
    if mask.all():
        raise InputError(
            "nothing would be removed: the mask keeps all "
            f"{players.num_players} players"
        )
    if players.granularity != "unit":
        return
    for family in players.families:
        count = int(mask[family.start : family.stop].sum())
        if count < min(min_units, family.size):
            raise InputError(
                f"the mask keeps {count} of the {family.size} players of "
                f"{family.name}, fewer than min_units={min_units}: keep more of "
                "them (round_mask does "
                "it by score), or pass min_units=0 to let the layer vanish"
            )


class _Pair(NamedTuple):
    """The full and the small model, and inputs to compare them on."""

    players: Players
    stays: np.ndarray
    apply: Apply
    examples: tuple
    small_inputs: tuple

    def gated(self, params: Any, mask: np.ndarray) -> Any:
        """Outputs of the full model with those in `mask`."""
        gates = jnp.asarray(mask)
        run = lambda p, *x: self.players.gated(p, gates, *x)  # noqa: E731
        outputs = _jit(run, params, self.examples)
        return self.players.slice_outputs(outputs, self.stays)

    def small(self, params: Any) -> Any:
        """Outputs of the small model; its parameters are cut from `params`."""
        kept = self.players.kept_indices(self.stays)
        cut = slice_tree(self.players.prepare(params, self.stays), kept)
        return _jit(self.apply, cut, self.small_inputs)

    def says_nothing(self, params: Any, outputs: Any) -> bool:
        """True if these outputs of the full model are the same whoever stays."""
        nobody = np.zeros_like(self.stays)
        return looks_constant(outputs) and are_same(outputs, self.gated(params, nobody))

    @property
    def empties_a_family(self) -> bool:
        """True if outputs that depend on nobody are what the mask means."""
        families = self.players.families
        return not all(self.stays[f.start : f.stop].any() for f in families)


def _look_again(pair: _Pair, params: Any, outputs: Any) -> tuple[float, str]:
    """Compare with random parameters where those at hand prove nothing.

    A last layer of zeros, or dead units before it, gives outputs that are equal
    whatever is cut out. So may one random draw where few units stay: several are tried.

    Returns:
      The error, and a note; (0, "") where the outputs depend on who stays.
    """
    if not pair.says_nothing(params, outputs):
        return 0.0, ""
    note = "with these parameters the outputs are the same whoever stays"
    for seed in range(RANDOM_DRAWS):
        other = random_params(params, seed)
        expected = pair.gated(other, pair.stays)
        if relative_error(expected, expected) or pair.says_nothing(other, expected):
            continue
        error = _verify(expected, pair.small(other), other)
        return error, f"{note}; the models were compared with random ones, too"
    note += ", and with random ones, too: nothing is proved on these inputs"
    if not pair.empties_a_family:
        warnings.warn(f"compact: {note}; pass others as inputs=", stacklevel=3)
    return 0.0, note


def _jit(fn: Callable[..., Any], params, inputs):
    """Evaluate under jit; leaves that are not arrays stay outside of it."""
    arrays, rebuild = split_arrays((params, *inputs))
    return jax.jit(lambda arrays: fn(*rebuild(arrays)))(arrays)


def _verify(expected, actual, params) -> float:
    error, allowed = relative_error(expected, actual), tolerance(expected, params)
    if not error <= allowed:
        raise VerificationError(
            f"the small model's outputs differ from the gated full model's by "
            f"{error:.2e} (relative, allowed {allowed:.0e}): this is a bug; "
            "please report the model"
        )
    return error
