"""Every model of the zoo: the players that we expect, and equal when they leave.

The costly tests take `light` and are for the models that `tests/zoo/turns.py` names.
With GAMEPRUNING_THOROUGH=1 they are for all light models.
"""

import contextlib
import functools
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.compaction.slicing import slice_tree
from gamepruning.trees.paths import named_shapes
from tests.compare import (
    float_leaves,
    projection,
    random_mask,
    relative_error,
    shrink_inputs,
    shrink_outputs,
)
from tests.trace.test_primitive_table import check_homes, names_in
from tests.zoo import CASES, Case
from tests.zoo.turns import SINGLE, TURNS

KEEP = 0.6
UNITS = ("players", "params", "bytes", "macs")
THOROUGH = os.environ.get("GAMEPRUNING_THOROUGH", "0") != "0"


class Bench:
    """A model in one floating type; what several tests need is made once."""

    def __init__(self, case: Case, dtype: str):
        self.case, self.dtype = case, dtype
        self.bound = case.tolerance[dtype]
        self.model = case.model(dtype, seed=0)
        arguments = (self.model.apply, self.model.params, *self.model.inputs)
        self.players = gp.find_players(*arguments, **self.model.options)
        self.gated: Callable = jax.jit(self.players.gated)
        self.apply: Callable = jax.jit(self.model.apply)
        self.mask = self.random_mask(0)

    def random_mask(self, seed: int, keep: float = KEEP) -> np.ndarray:
        return random_mask(np.random.default_rng(seed), self.players, keep)

    @functools.cached_property
    def other(self) -> Any:
        """The players of the model with other numbers, by their shapes only."""
        model = self.case.model(self.dtype, seed=1)
        params, inputs = jax.eval_shape(lambda *x: x, model.params, model.inputs)
        return gp.find_players(model.apply, params, *inputs, **model.options)

    @functools.cached_property
    def reference(self) -> Any:
        """The outputs with the players off that `mask` leaves out."""
        return self.gated(self.model.params, self.mask, *self.model.inputs)

    @functools.cached_property
    def small(self) -> Any:
        return self.compact(self.mask)

    def compact(self, mask: np.ndarray, **options: Any) -> Any:
        params, inputs = self.model.params, self.model.inputs
        return gp.compact(self.players, params, mask, inputs=inputs, **options)

    def shrink(self, outputs: Any) -> Any:
        kept = self.players.kept_indices(self.mask)
        return shrink_outputs(self.model, kept, outputs)


@contextlib.contextmanager
def types_of(dtype: str) -> Iterator[None]:
    """Settings under which a model of this floating type is traced and run."""
    with jax.enable_x64(dtype == "float64"), jax.numpy_rank_promotion("allow"):
        yield


ALL = list(CASES.values())
SIZED = """mlp_with_input_players tied_autoencoder lenet5_linen resnext unet train_lenet
    group_norm_pad_transposed grouped_query_attention elman_network conv3d""".split()
LIGHT = [case for case in ALL if THOROUGH or not case.heavy]
TWICE = [
    case for case in LIGHT if len(case.dtypes) > 1 and (THOROUGH or case.name in SINGLE)
]


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A model in one floating type; pytest runs all tests of one model in a row."""
    case, dtype = request.param
    with types_of(dtype):
        yield Bench(case, dtype)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A costly test is for the models whose turn it is, all others for all models."""
    names = metafunc.fixturenames
    if "single" in names:
        pairs = [(case, case.dtypes[0]) for case in TWICE]  # float32
    elif "light" in names:
        turn = TURNS[metafunc.function.__name__]
        cases = [case for case in LIGHT if THOROUGH or case.name in turn]
        pairs = [(case, case.dtypes[-1]) for case in cases]
    elif "sized" in names:
        pairs = [(CASES[name], CASES[name].dtypes[-1]) for name in SIZED]
    elif "bench" in names:
        pairs = [(case, case.dtypes[-1]) for case in ALL]  # float64, where it can be
    else:
        return
    ids = [case.name for case, _ in pairs]
    metafunc.parametrize("bench", pairs, ids=ids, indirect=True, scope="module")


@pytest.fixture
def single(bench: Bench) -> Bench:
    """A model in single precision."""
    return bench


@pytest.fixture
def sized(bench: Bench) -> Bench:
    """A model whose parameters and operations are counted."""
    return bench


@pytest.fixture
def light(bench: Bench) -> Bench:
    """A model that compiles quickly."""
    return bench


def test_every_light_model_has_two_turns():
    turns = [name for names in TURNS.values() for name in names]
    assert {name: turns.count(name) for name in turns} == {
        case.name: 2 for case in CASES.values() if not case.heavy
    }, "name the model in two of the checks of tests/zoo/turns.py"


@pytest.fixture(autouse=True, scope="module")
def compile_quickly() -> Iterator[None]:
    """Nearly all the time goes into compiling what runs once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# -- who plays -------------------------------------------------------------------------


def test_the_players_are_those_we_expect(bench: Bench):
    case, players = bench.case, bench.players
    sizes = tuple(sorted(family.size for family in players.families))
    assert sizes == case.families
    assert players.num_players == case.num_players
    assert players.opaque == case.opaque


def test_what_stays_is_on_record(bench: Bench):
    players = bench.players
    reasons = {(row.path, row.axis): row.reason for row in players.frozen}
    shrinks = {(s.path, s.axis) for f in players.families for s in f.slices}
    for place in bench.case.frozen:
        assert place not in shrinks
        assert len(reasons[place]) > 10
    told = players.explain()
    assert max(map(len, told.splitlines())) <= 100
    names = [re.split(r"\d", f.name)[0][:20] for f in players.families]  # others fold
    assert [name for name in names if name not in told] == []
    assert json.loads(json.dumps(players.to_dict()))


def test_players_depend_on_shapes_only(bench: Bench):
    """Shapes instead of arrays, and other numbers, give the same players."""
    assert bench.other.to_dict() == bench.players.to_dict()


def test_masks_travel_by_path_axis_and_index(bench: Bench):
    """To another trace of the same model, whose parameters are others."""
    for seed in range(3):
        mask = bench.random_mask(seed)
        kept = bench.players.kept_indices(mask)
        inputs = bench.players.input_kept(mask)
        np.testing.assert_array_equal(bench.other.mask_from_kept(kept, inputs), mask)


def test_every_primitive_has_a_home(bench: Bench):
    check_homes(set(names_in(bench.players.model.base.program.graph)))


def test_slices_lie_within_the_parameters(bench: Bench):
    shapes = named_shapes(bench.model.params)
    for family in bench.players.families:
        for part in family.slices:
            assert len(part.index) == family.size
            if part.role != "input":
                size = shapes[part.path][part.axis]
                assert all(k.min() >= 0 for k in part.index)
                assert all(k.max() < size for k in part.index)


def test_the_size_of_a_mask_is_that_of_the_smaller_network(sized: Bench):
    players, mask = sized.players, sized.mask
    small = slice_tree(sized.model.params, players.kept_indices(mask))
    inputs = shrink_inputs(sized.model, players.input_kept(mask))
    macs = gp.compaction.count_macs(players.compact_apply(mask), small, *inputs)
    found = {unit: gp.players.size_of(players, unit) for unit in UNITS}
    size = {unit: float(found[unit](mask)) for unit in UNITS}
    assert size["params"] == gp.compaction.count_params(small)
    assert size["macs"] == pytest.approx(macs, rel=1e-6)
    assert size["players"] == mask.sum()
    assert found["params"].count(mask) == gp.compaction.count_params(small)
    assert found["bytes"].count(mask) == gp.compaction.measure.count_bytes(small)
    assert found["macs"].count(mask) == macs


# -- equal when they leave -------------------------------------------------------------


def test_gates_of_one_change_nothing(light: Bench):
    model = light.model
    everyone = np.ones(light.players.num_players, bool)
    ours = light.gated(model.params, everyone, *model.inputs)
    full = light.apply(model.params, *model.inputs)
    assert relative_error(ours, full) <= light.bound


def test_smaller_model_equals_gated_model(bench: Bench):
    inputs = shrink_inputs(bench.model, bench.small.input_kept)
    ours = jax.jit(bench.small.apply)(bench.small.params, *inputs)
    reference = bench.shrink(bench.reference)
    assert relative_error(ours, reference) <= bench.bound
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(ours)]
    assert dtypes == [leaf.dtype for leaf in jax.tree.leaves(reference)]


def test_other_masks(light: Bench):
    """By the comparison that `compact` makes itself."""
    fewer = light.random_mask(1, keep=0.3)
    assert light.compact(fewer).report.max_error <= light.bound


def test_excluded_model_equals_gated_model(light: Bench):
    """Zeroed parameters in the model as it is, or a refusal."""
    check_excluded(light)


def check_excluded(bench: Bench) -> None:
    case, model = bench.case, bench.model
    try:
        zeroed = bench.players.exclude(model.params, bench.mask)
    except ValueError as refusal:
        assert case.refuses in (True, None), refusal
        return
    assert case.refuses in (False, None)
    ours = bench.shrink(bench.apply(zeroed, *model.inputs))
    assert relative_error(ours, bench.shrink(bench.reference)) <= bench.bound


def test_single_precision(single: Bench):
    """The same in float32."""
    assert single.small.report.max_error <= single.bound
    check_excluded(single)


def test_whole_family_may_leave(light: Bench):
    """Layers of no width: convolutions, products and reshapes of empty arrays."""
    bench = light
    family = bench.players.families[-1]
    mask = np.ones(bench.players.num_players, bool)
    mask[family.start : family.stop] = False
    reference = bench.gated(bench.model.params, mask, *bench.model.inputs)
    if not all(np.isfinite(leaf).all() for leaf in float_leaves(reference)):
        pytest.skip("0 / 0: the model divides by what has left")
    small = bench.compact(mask, min_units=0)
    assert small.report.max_error <= bench.bound


# -- the smaller model is a function like any other ------------------------------------


def test_gradient_of_the_smaller_model_is_the_gated_one_sliced(light: Bench):
    bench = light
    if bench.case.gradient == "forward":
        pytest.skip("nothing runs backwards through a while_loop")
    model, small = bench.model, bench.small
    inputs = shrink_inputs(model, small.input_kept)

    def gated_loss(params):
        outputs = bench.players.gated(params, bench.mask, *model.inputs)
        return projection(0, bench.shrink(outputs))

    def small_loss(params):
        return projection(0, small.apply(params, *inputs))

    ours = gradient(small_loss, small.params)
    reference = gradient(gated_loss, model.params)
    reference = slice_tree(reference, bench.players.kept_indices(bench.mask))
    scale = max(np.abs(leaf).max(initial=0) for leaf in float_leaves(reference))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        difference = np.abs(np.asarray(a, float) - np.asarray(b, float))
        assert difference.max(initial=0) <= 1e2 * bench.bound * scale


def gradient(loss: Callable, params: Any) -> Any:
    """Gradient with respect to the real leaves of a tree; others give 0."""
    leaves, treedef = jax.tree.flatten(params)
    real = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]

    def of_real(chosen):
        values = iter(chosen)
        pairs = zip(leaves, real, strict=True)
        filled = [next(values) if is_real else leaf for leaf, is_real in pairs]
        return loss(jax.tree.unflatten(treedef, filled))

    chosen = [leaf for leaf, is_real in zip(leaves, real, strict=True) if is_real]
    grads = iter(jax.jit(jax.grad(of_real))(chosen))
    pairs = zip(leaves, real, strict=True)
    filled = [next(grads) if ok else jnp.zeros(jnp.shape(leaf)) for leaf, ok in pairs]
    return jax.tree.unflatten(treedef, filled)


def test_other_batch_size_and_vmap(light: Bench):
    """Every example by itself, mapped: batches of one, and a mapped axis before."""
    case, model, small = light.case, light.model, light.small
    if not case.batched:
        pytest.skip("there is no batch")
    axes = [0 if k in case.batched else None for k in range(len(model.inputs))]

    def alone(fn, params, inputs):
        pairs = zip(inputs, axes, strict=True)
        one = [x if axis is None else x[:, None] for x, axis in pairs]
        mapped = jax.vmap(lambda *xs: fn(params, *xs), in_axes=tuple(axes))
        return jax.jit(mapped)(*one)

    def gated(params, *xs):
        return light.players.gated(params, light.mask, *xs)

    reference = alone(gated, model.params, model.inputs)
    inputs = shrink_inputs(model, small.input_kept)
    ours = alone(small.apply, small.params, inputs)
    assert relative_error(ours, reference) <= light.bound


# -- gates -----------------------------------------------------------------------------


def test_gates_are_differentiable(light: Bench):
    """d outputs / d gates against a central difference."""
    model, players = light.model, light.players
    numbers = np.random.default_rng(5)
    gates = jnp.asarray(numbers.uniform(0.3, 0.9, players.num_players))
    step = jnp.asarray(numbers.standard_normal(players.num_players), gates.dtype)

    def loss(gates):
        return projection(1, players.gated(model.params, gates, *model.inputs))

    def backwards(gates):
        value, slopes = jax.value_and_grad(loss)(gates)
        return value, jnp.vdot(slopes, step)

    def forwards(gates):
        return jax.jvp(loss, (gates,), (step,))

    either = forwards if light.case.gradient == "forward" else backwards
    value_and_slope, h = jax.jit(either), 1e-6
    value, slope = value_and_slope(gates)
    assert np.isfinite(slope)
    if light.dtype == "float64" and light.case.smooth:
        above, below = (value_and_slope(gates + s * step)[0] for s in (h, -h))
        expected = (above - below) / (2 * h)
        assert abs(slope - expected) <= 1e-5 * (abs(expected) + abs(value) + 1)


def test_gates_map(light: Bench):
    """vmap over coalitions."""
    model, players = light.model, light.players
    masks = np.stack([light.random_mask(2), light.mask])
    mapped = jax.vmap(lambda mask: players.gated(model.params, mask, *model.inputs))
    second = jax.tree.map(lambda leaf: leaf[1], jax.jit(mapped)(masks))
    assert relative_error(second, light.reference) <= light.bound


def test_hoisted_equals_gated(light: Bench):
    """The gates of the last family (the deepest, mostly) vary alone."""
    model, last = light.model, light.players.families[-1]
    numbers = np.random.default_rng(6)
    other = light.mask.copy()
    other[last.start : last.stop] = numbers.random(last.size) < 0.5
    prefix, suffix = light.players.hoist(
        model.params, *model.inputs, varying=[last.name]
    )
    residuals = jax.jit(prefix)(model.params, other, *model.inputs)
    ours = jax.jit(suffix)(residuals, light.mask)
    assert relative_error(ours, light.reference) <= light.bound
