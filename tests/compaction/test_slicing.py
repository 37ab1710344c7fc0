"""Slicing trees and optimizer states, and writing them back."""

import dataclasses
import functools

import equinox as eqx
import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gamepruning.compaction.slicing import slice_opt_state, slice_tree, unslice_tree
from gamepruning.trees.paths import check_indices, named_leaves
from gamepruning.types import InputError

SHAPES = {
    "first": {"kernel": (5, 6), "bias": (6,)},
    "second": {"kernel": (6, 7), "bias": (7,)},
    "conv": {"kernel": (3, 3, 2, 6)},
    "scale": (),
}
IN, MID, OUT = np.array([0, 2, 3, 4]), np.array([1, 4]), np.array([0, 5, 6])
KEPT = {
    ("first/kernel", 0): IN,
    ("first/kernel", 1): MID,
    ("first/bias", 0): MID,
    ("second/kernel", 0): MID,
    ("second/kernel", 1): OUT,
    ("second/bias", 0): OUT,
    ("conv/kernel", 3): MID,
}
CALM = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 3, 20)


def is_shape(node):
    return isinstance(node, tuple)


def random_tree(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32),
        SHAPES,
        is_leaf=is_shape,
    )


def zero_removed(tree):
    """Zero every entry that slicing removes."""
    return unslice_tree(
        slice_tree(tree, KEPT), jax.tree.map(jnp.zeros_like, tree), KEPT
    )


def assert_same(actual, expected, rtol=1e-6):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=rtol, atol=1e-7),
        actual,
        expected,
    )


def shapes_and_dtypes(tree):
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


@functools.cache
def jitted(update):
    return jax.jit(update)


def train(tx, params, seeds, transform=lambda tree: tree):
    state = tx.init(params)
    for seed in seeds:
        grads = transform(random_tree(seed))
        updates, state = jitted(tx.update)(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def second_kernel_only(tree):
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "second" in str(path[0]), tree
    )


def labels(tree):
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "first" if "first" in str(path[0]) else "rest", tree
    )


# The update of one entry depends on this entry's own history alone.
ELEMENTWISE = {
    "adam": optax.adam(1e-2),
    "adamw": optax.adamw(1e-2, weight_decay=0.1),
    "adamw bf16 momentum": optax.adamw(1e-2, mu_dtype=jnp.bfloat16),
    "amsgrad": optax.amsgrad(1e-2),
    "sgd": optax.sgd(1e-2),
    "momentum": optax.sgd(1e-2, momentum=0.9),
    "nesterov": optax.sgd(1e-2, momentum=0.9, nesterov=True),
    "lion": optax.lion(1e-2),
    "rmsprop": optax.rmsprop(1e-2, centered=True, momentum=0.9),
    "adagrad": optax.adagrad(1e-2),
    "adadelta": optax.adadelta(1e-2),
    "adan": optax.adan(1e-2),
    "rprop": optax.rprop(1e-2),
    "adafactor, nothing factored": optax.adafactor(
        1e-2,
        factored=False,
        multiply_by_parameter_scale=False,
        clipping_threshold=None,
    ),
    "chain": optax.chain(optax.clip(0.5), optax.adam(CALM)),
    "schedule": optax.adam(CALM),
    "ema": optax.chain(optax.sgd(1e-2), optax.ema(0.9)),
    "accumulate": optax.MultiSteps(
        optax.adam(1e-2), every_k_schedule=2
    ).gradient_transformation(),
    "masked": optax.masked(optax.adam(1e-2), second_kernel_only),
    "partition": optax.partition(
        {"first": optax.adam(1e-2), "rest": optax.sgd(1e-2, momentum=0.9)}, labels
    ),
    "hyperparameters": optax.inject_hyperparams(optax.adam)(learning_rate=CALM),
    "if finite": optax.apply_if_finite(optax.adam(1e-2), 3),
    "zero nans": optax.chain(optax.zero_nans(), optax.adam(1e-2)),
    "flat": optax.flatten(optax.adam(1e-2)),
    "ademamix": optax.contrib.ademamix(1e-2),
    "schedule free": optax.contrib.schedule_free_adamw(1e-2, warmup_steps=2),
    "constrained": optax.chain(optax.adam(1e-2), optax.keep_params_nonnegative()),
}


@pytest.mark.parametrize("tx", ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_the_next_update_is_the_slice_of_the_full_one(tx):
    params, state = train(tx, random_tree(0), seeds=range(1, 4))
    small = slice_tree(params, KEPT)
    small_state = slice_opt_state(state, params, KEPT)
    expected = jax.eval_shape(tx.init, small)
    assert shapes_and_dtypes(small_state) == shapes_and_dtypes(expected)

    grads = random_tree(9)
    updates, next_state = jitted(tx.update)(grads, state, params)
    small_grads = slice_tree(grads, KEPT)
    small_updates, small_next = jitted(tx.update)(small_grads, small_state, small)
    assert_same(small_updates, slice_tree(updates, KEPT))
    assert_same(small_next, slice_opt_state(next_state, params, KEPT))


# The update of one entry depends on a number over all entries, such as a norm: the
# same only if what leaves has never moved.
GLOBAL = {
    "lbfgs": optax.scale_by_lbfgs(memory_size=3),
    "clip by global norm": optax.chain(
        optax.clip_by_global_norm(0.1), optax.adam(1e-2)
    ),
    "prodigy": optax.contrib.prodigy(),
    "dog": optax.contrib.dog(),
}


@pytest.mark.parametrize("tx", GLOBAL.values(), ids=GLOBAL)
def test_the_next_update_is_the_slice_where_the_rest_never_moved(tx):
    params = zero_removed(random_tree(0))
    params, state = train(tx, params, seeds=range(1, 6), transform=zero_removed)
    small = slice_tree(params, KEPT)
    small_state = slice_opt_state(state, params, KEPT)
    grads = zero_removed(random_tree(9))
    updates, _ = jitted(tx.update)(grads, state, params)
    small_grads = slice_tree(grads, KEPT)
    small_updates, _ = jitted(tx.update)(small_grads, small_state, small)
    assert_same(small_updates, slice_tree(updates, KEPT), rtol=1e-5)


def test_lbfgs_weights_follow_the_memory_that_is_left():
    tx = optax.scale_by_lbfgs(memory_size=4)
    params, state = train(tx, random_tree(0), seeds=range(1, 4))
    small = slice_opt_state(state, params, KEPT)
    assert small.diff_params_memory["first"]["kernel"].shape == (4, 4, 2)
    for slot in range(4):
        step, change = jax.tree.map(
            lambda leaf, slot=slot: leaf[slot],
            (small.diff_params_memory, small.diff_updates_memory),
        )
        product = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, step, change)))
        expected = 1 / product if product != 0 else 0.0
        np.testing.assert_allclose(small.weights_memory[slot], expected, rtol=1e-5)


def test_lbfgs_of_one_array_as_long_as_its_memory():
    params = jnp.arange(3.0)
    tx = optax.scale_by_lbfgs(memory_size=3)
    small = slice_opt_state(tx.init(params), params, {("", 0): np.array([0, 2])})
    assert small.weights_memory.shape == (3,)
    assert small.diff_params_memory.shape == (3, 2)


FACTORED = {
    "adafactor": optax.adafactor(1e-2, min_dim_size_to_factor=2),
    "sm3": optax.sm3(1e-2),
    "galore": optax.contrib.galore(1e-2, rank=2),
}


@pytest.mark.parametrize("tx", FACTORED.values(), ids=FACTORED)
@pytest.mark.parametrize(
    "kept",
    [{("w", 0): np.array([1, 3])}, {("w", 1): np.array([0])}],
    ids=["rows", "columns"],
)
@pytest.mark.parametrize("bare", [False, True], ids=["dict", "bare array"])
def test_factored_statistics_are_refused(tx, kept, bare):
    params = jnp.ones((6, 4))
    if bare:
        kept = {("", axis): indices for (_, axis), indices in kept.items()}
    else:
        params = {"w": params}
    with pytest.raises(InputError, match=r"cannot be sliced exactly.*tx\.init"):
        slice_opt_state(tx.init(params), params, kept)


def test_factored_statistics_of_other_parameters_stay():
    params = {"w": jnp.ones((6, 4)), "b": jnp.ones(5)}
    tx = optax.adafactor(1e-2, min_dim_size_to_factor=2)
    small = slice_opt_state(tx.init(params), params, {("b", 0): np.array([0, 1])})
    state = jax.eval_shape(tx.init, {"w": params["w"], "b": jnp.ones(2)})
    assert shapes_and_dtypes(small) == shapes_and_dtypes(state)


def test_small_adafactor_is_not_factored_and_slices():
    params = {"w": jnp.ones((6, 4))}
    tx = optax.adafactor(1e-2)
    small = slice_opt_state(tx.init(params), params, {("w", 0): np.array([0, 1])})
    expected = jax.eval_shape(tx.init, {"w": jnp.ones((2, 4))})
    assert shapes_and_dtypes(small) == shapes_and_dtypes(expected)


def test_leaves_that_follow_no_parameter_stay():
    params = {"w": jnp.ones((6, 4))}
    kept = {("w", 0): np.array([0, 1])}
    state = {
        "key": jax.random.key(0),
        "history": jnp.zeros(6),
        "none": None,
        "empty": optax.EmptyState(),
        "number": 3,
        "w": jnp.zeros(()),
        "ensemble": {"w": jnp.zeros((2, 6, 4))},
    }
    small = slice_opt_state(state, params, kept)
    assert small.pop("ensemble")["w"].shape == (2, 2, 4)
    assert small["history"].shape == (6,)
    assert shapes_and_dtypes(small) == shapes_and_dtypes(
        {name: leaf for name, leaf in state.items() if name != "ensemble"}
    )


def test_the_longest_path_decides():
    params = {"a": jnp.zeros(3), "b": {"a": jnp.zeros(4)}}
    state = optax.sgd(1.0, momentum=0.9).init(params)
    small = slice_opt_state(state, params, {("b/a", 0): np.array([1])})
    assert small[0].trace["a"].shape == (3,)
    assert small[0].trace["b"]["a"].shape == (1,)


def collections(tree):
    return {"params": tree, "batch_stats": {"norm": {"mean": jnp.zeros(6)}}}


@pytest.mark.parametrize("name", ["adam", "momentum", "accumulate", "masked"])
def test_the_state_of_a_part_of_the_parameters(name):
    tx, part = ELEMENTWISE[name], random_tree(0)
    kept = {(f"params/{path}", axis): at for (path, axis), at in KEPT.items()}
    state = tx.init(part)
    small = slice_opt_state(state, collections(part), kept)
    assert_same(small, slice_opt_state(state, part, KEPT))
    assert shapes_and_dtypes(small) != shapes_and_dtypes(state)


def test_factored_statistics_of_a_part_are_refused():
    tx = optax.adafactor(1e-2, min_dim_size_to_factor=2)
    params = collections({"w": jnp.ones((6, 4))})
    with pytest.raises(InputError, match=r"'0/v_.*/w'.*'params/w'.*exactly"):
        state = tx.init(params["params"])
        slice_opt_state(state, params, {("params/w", 0): np.array([0])})


def test_a_state_that_may_be_of_two_parameters_is_refused():
    part = {"dense": {"kernel": jnp.ones((6, 4))}}
    params, state = {"one": part, "two": part}, optax.adam(1.0).init(part)
    with pytest.raises(InputError, match="'one/dense/kernel' or to 'two/dense/kernel'"):
        slice_opt_state(state, params, {("one/dense/kernel", 0): np.array([0])})
    alike = {(f"{name}/dense/kernel", 0): np.array([0]) for name in params}
    small = slice_opt_state(state, params, alike)
    assert small[0].mu["dense"]["kernel"].shape == (1, 4)


def test_a_part_that_shares_a_name_with_another_parameter():
    params = {"params": {"a": jnp.ones((4, 6))}, "a": jnp.ones(6)}
    state = optax.adam(1.0).init(params["params"])
    with pytest.raises(InputError, match="may belong to 'a' or to 'params/a'"):
        slice_opt_state(state, params, {("params/a", 0): np.array([0])})


@pytest.mark.parametrize(
    "params", [{"x": jnp.ones((6, 4))}, {"w": jnp.ones((5, 3))}], ids=["name", "shape"]
)
def test_the_state_of_other_parameters_is_refused(params):
    state = optax.adam(1e-2).init(params)
    with pytest.raises(InputError, match="belongs to none.*tx.init"):
        slice_opt_state(state, {"w": jnp.ones((6, 4))}, {("w", 0): np.array([0])})


def test_a_state_without_arrays_belongs_to_any_parameters():
    tx = optax.chain(optax.add_noise(0.1, 0.1, 0), optax.sgd(CALM))
    params = {"w": jnp.ones((6, 4))}
    state = tx.init(params)
    small = slice_opt_state(state, params, {("w", 0): np.array([0])})
    assert shapes_and_dtypes(small) == shapes_and_dtypes(state)


def test_nothing_to_slice_returns_the_state_itself():
    params = {"w": jnp.ones((6, 4))}
    state = optax.adafactor(1e-2, min_dim_size_to_factor=2).init(params)
    assert slice_opt_state(state, params, {}) is state


def test_slicing_runs_under_jit():
    params, tx = random_tree(0), optax.adam(1e-2)
    state = tx.init(params)
    small = jax.jit(lambda s: slice_opt_state(s, params, KEPT))(state)
    assert_same(small, slice_opt_state(state, params, KEPT))


# -- every kind of tree ----------------------------------------------------------------


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["layers"], meta_fields=["name"]
)
@dataclasses.dataclass(frozen=True)
class Stack:
    layers: list
    name: str


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.norms = nnx.List([nnx.BatchNorm(4, rngs=rngs)])


def make_equinox():
    model = eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    return eqx.filter(model, eqx.is_inexact_array)


TREES = {
    "bare array": (lambda: jnp.ones((3, 4)), "", 1),
    "list": (lambda: [jnp.ones((3, 4)), jnp.ones(4)], "1", 0),
    "tuple": (lambda: (jnp.ones((3, 4)), jnp.ones(4)), "0", 1),
    "dict": (lambda: {"a": {"w": jnp.ones((3, 4))}, "b": jnp.ones(4)}, "a/w", 1),
    "haiku": (lambda: {"net/~/linear": {"w": jnp.ones((3, 4))}}, "net/~/linear/w", 1),
    "frozen dict": (
        lambda: flax.core.freeze({"a": {"w": jnp.ones((3, 4))}}),
        "a/w",
        1,
    ),
    "dataclass": (
        lambda: Stack([Stack([jnp.ones(4)], "inner")], "outer"),
        "layers/0/layers/0",
        0,
    ),
    "nnx": (lambda: nnx.state(Net()), "dense/kernel/value", 1),
    "nnx in a list": (lambda: nnx.state(Net()), "norms/0/mean/value", 0),
    "equinox": (make_equinox, "layers/0/weight", 0),
}


@pytest.mark.parametrize("tree,path,axis", TREES.values(), ids=TREES)
def test_any_tree_is_sliced_written_back_and_takes_its_state_along(tree, path, axis):
    params, tx = tree(), optax.adam(1e-2)
    kept = {(path, axis): np.array([0, 3])}
    small = slice_tree(params, kept)
    named, full = named_leaves(small), named_leaves(params)
    assert named.keys() == full.keys()
    assert named[path].shape[axis] == 2
    assert all(named[p].shape == full[p].shape for p in full if p != path)

    small_state = slice_opt_state(tx.init(params), params, kept)
    assert jax.tree.structure(small_state) == jax.tree.structure(tx.init(small))
    assert shapes_and_dtypes(small_state) == shapes_and_dtypes(tx.init(small))

    back = unslice_tree(small, jax.tree.map(jnp.zeros_like, params), kept)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    keep = np.isin(np.arange(4), kept[path, axis])
    shape = [1] * full[path].ndim
    shape[axis] = 4
    expected = np.asarray(full[path]) * keep.reshape(shape)
    np.testing.assert_array_equal(named_leaves(back)[path], expected)


def test_the_state_of_an_nnx_optimizer():
    model = Net()
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    params = nnx.state(model, nnx.Param)
    for tree in (params, nnx.to_pure_dict(params)):
        path = next(p for p in named_leaves(tree) if p.startswith("dense/kernel"))
        kept = {(path, 1): np.array([0, 3])}
        state = nnx.state(optimizer)["opt_state"]
        small = named_leaves(slice_opt_state(state, tree, kept))
        assert small["0/mu/dense/kernel/value"].shape == (3, 2)
        assert small["0/mu/dense/bias/value"].shape == (4,)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int8, jnp.bool_])
def test_dtypes_stay(dtype):
    tree = {"w": jnp.ones((3, 4), dtype)}
    kept = {("w", 0): np.array([2])}
    small = slice_tree(tree, kept)
    assert small["w"].dtype == dtype
    back = unslice_tree(small, jax.eval_shape(lambda: tree), kept)
    assert back["w"].dtype == dtype
    np.testing.assert_array_equal(back["w"][:, 0], np.array([0, 0, 1], dtype))


def test_numpy_stays_numpy_and_is_not_changed():
    tree = {"w": np.arange(12.0).reshape(3, 4)}
    kept = {("w", 0): np.array([2]), ("w", 1): np.array([0, 1])}
    small = slice_tree(tree, kept)
    assert isinstance(small["w"], np.ndarray)
    np.testing.assert_array_equal(small["w"], [[8, 9]])
    back = unslice_tree({"w": -small["w"]}, tree, kept)
    assert isinstance(back["w"], np.ndarray)
    np.testing.assert_array_equal(
        back["w"], [[0, 1, 2, 3], [4, 5, 6, 7], [-8, -9, 10, 11]]
    )
    np.testing.assert_array_equal(tree["w"][2], [8, 9, 10, 11])


def test_a_whole_axis_may_leave():
    none = np.array([], np.int64)
    small = slice_tree({"w": jnp.ones((3, 4))}, {("w", 1): none})
    assert small["w"].shape == (3, 0)


W = {"w": jnp.ones((3, 4))}
BAD_KEPT = {
    "no such path": ({("v", 0): np.array([0])}, "expected a leaf 'v'.*'w'"),
    "no such axis": ({("w", 2): np.array([0])}, r"shape \(3, 4\).*no axis 2"),
    "negative axis": ({("w", -1): np.array([0])}, "no axis -1"),
    "too large": ({("w", 0): np.array([0, 3])}, r"0\.\.2, got 0\.\.3"),
    "negative": ({("w", 0): np.array([-1, 0])}, r"0\.\.2, got -1"),
    "not sorted": ({("w", 0): np.array([1, 0])}, "must increase"),
    "twice": ({("w", 0): np.array([1, 1])}, "must increase"),
    "a mask": ({("w", 0): np.array([True, False, True])}, "list of kept indices"),
    "a float": ({("w", 0): np.array([0.0])}, "list of kept indices"),
}


@pytest.mark.parametrize("kept,message", BAD_KEPT.values(), ids=BAD_KEPT)
def test_bad_indices_get_one_clear_line(kept, message):
    for call in (
        lambda: slice_tree(W, kept),
        lambda: slice_opt_state((), W, kept),
        lambda: unslice_tree(W, W, kept),
    ):
        with pytest.raises(InputError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_trees_that_do_not_fit_are_refused():
    kept = {("w", 0): np.array([0, 1])}
    with pytest.raises(InputError, match=r"kept shape \(2, 4\), got \(3, 4\)"):
        unslice_tree(W, W, kept)
    with pytest.raises(InputError, match="only one of the two trees has a leaf 'v'"):
        unslice_tree({"w": jnp.ones((2, 4)), "v": jnp.ones(1)}, W, kept)


def test_two_leaves_of_one_name_are_refused():
    with pytest.raises(InputError, match="two leaves are called 'a/b'"):
        named_leaves({"a/b": 1, "a": {"b": 2}})


def test_check_indices_takes_none_at_all():
    check_indices("none", [], 3)
