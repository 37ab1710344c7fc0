"""Plans: what was decided, saved, read back and applied."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gamepruning.compaction.plan import Plan, make_plan
from gamepruning.compaction.plan_format import format_indices, parse_indices
from gamepruning.players.find import find_players
from gamepruning.types import InputError


def apply(params, x):
    for name in ("first", "second"):
        x = jax.nn.relu(x @ params[name]["kernel"] + params[name]["bias"][None])
    return x @ params["head"]["kernel"]


WHY = {"method": "magnitude", "order": 2, "scores": [0.5, 1.5], "note": None}


def params(value=1.0):
    return {
        "first": {"kernel": jnp.full((3, 5), value), "bias": jnp.zeros(5)},
        "second": {"kernel": jnp.full((5, 4), value), "bias": jnp.zeros(4)},
        "head": {"kernel": jnp.full((4, 2), value)},
        "step": jnp.zeros(()),
    }


X = jnp.ones((2, 3))
# The features of the input, and the hidden units of two layers.
PLAYERS = find_players(apply, params(), X, input_axes={0: 1})
NAMES = [family.name for family in PLAYERS.families]
MASK = np.array([1, 0, 1] + [1, 1, 1, 0, 1] + [0, 0, 1, 1], bool)


@pytest.fixture
def plan():
    return make_plan(PLAYERS, params(), MASK, why=WHY)


def test_a_plan_slices_any_checkpoint(plan):
    small = plan.apply(params(value=7.0))
    assert small["first"]["kernel"].shape == (2, 4)
    assert small["second"]["kernel"].shape == (4, 2)
    assert small["head"]["kernel"].shape == (2, 2)
    assert small["step"].shape == ()
    np.testing.assert_array_equal(small["head"]["kernel"], 7.0)
    assert plan.num_players == 12
    assert plan.num_kept == 8
    assert repr(plan).startswith("Plan(8 of 12 players stay, 5 of 6 parameters")


def test_a_plan_slices_the_optimizer_too(plan):
    tx = optax.adam(1e-3)
    state = plan.apply_opt_state(tx.init(params()), params())
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(
        jnp.shape, tx.init(plan.apply(params()))
    )
    with pytest.raises(InputError, match="plan for another model"):
        plan.apply_opt_state(state, plan.apply(params()))


def test_a_plan_selects_the_features_to_feed(plan):
    (x,) = plan.select_inputs(np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(x, [[0, 2], [3, 5]])
    small = apply(plan.apply(params()), x)
    gated = PLAYERS.gated(params(), MASK, np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_allclose(small, gated, rtol=1e-6)


def test_the_mask_comes_back(plan):
    np.testing.assert_array_equal(plan.mask(), MASK)
    np.testing.assert_array_equal(plan.mask(PLAYERS), MASK)
    assert plan.mask().dtype == bool


def test_the_mask_moves_to_a_trace_with_other_players():
    # Without the features of the input, all of which stay.
    plan = make_plan(PLAYERS, params(), np.r_[np.ones(3, bool), MASK[3:]])
    hidden = find_players(apply, params(), X)
    np.testing.assert_array_equal(plan.mask(hidden), MASK[3:])


def test_the_mask_moves_to_players_in_another_order():
    def branches(params, x, order):
        parts = [jnp.tanh(x @ params[n]["in"]) @ params[n]["out"] for n in order]
        return parts[0] + parts[1]

    leaf = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
    tree = {"a": leaf, "b": leaf}
    ab = find_players(lambda p, x: branches(p, x, "ab"), tree, X)
    ba = find_players(lambda p, x: branches(p, x, "ba"), tree, X)
    assert [f.name for f in ab.families] == [f.name for f in ba.families][::-1]
    plan = make_plan(ab, tree, np.array([1, 0, 0, 0, 1, 1, 1, 0], bool))
    np.testing.assert_array_equal(plan.mask(ba), [1, 1, 1, 0, 1, 0, 0, 0])


def test_whole_layers_are_players_too():
    layers = find_players(apply, params(), X, granularity="layer")
    plan = make_plan(layers, params(), np.array([True, False]))
    assert plan.apply(params())["head"]["kernel"].shape == (0, 2)
    np.testing.assert_array_equal(plan.mask(layers), [True, False])


def test_players_of_another_model_are_refused(plan):
    other = find_players(
        lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"],
        {"w": jnp.ones((3, 4)), "v": jnp.ones((4, 2))},
        X,
    )
    with pytest.raises(InputError, match="plan for another model"):
        plan.mask(other)


def test_saved_and_read_back_it_is_the_same(plan, tmp_path):
    plan.save(tmp_path / "run" / "plan.json")
    again = Plan.load(tmp_path / "run" / "plan.json")
    assert again == plan
    assert again.why == WHY
    np.testing.assert_array_equal(again.mask(PLAYERS), MASK)
    np.testing.assert_array_equal(again.input_kept[0][1], [0, 2])
    assert again.apply(params())["first"]["bias"].shape == (4,)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["plan.json"]


def test_the_file_is_for_people(plan, tmp_path):
    plan.save(tmp_path / "plan.json")
    lines = (tmp_path / "plan.json").read_text().splitlines()
    family = f'{{"name": "{NAMES[1]}", "kept": 4, "total": 5, "indices": "0-2,4"}}'
    assert f"    {family}," in lines
    kernel = '"first/kernel": {"shape": [3, 5], "kept": {"0": "0,2", "1": "0-2,4"}}'
    assert f"    {kernel}," in lines
    assert '    "0": {"1": "0,2"}' in lines


def test_everybody_may_stay(tmp_path):
    plan = make_plan(PLAYERS, params(), np.ones(12, bool))
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert plan.kept == {}
    assert plan.mask(PLAYERS).all()


def test_reasons_may_hold_arrays(tmp_path):
    scores = np.array([1.0, 2.0], np.float32)
    why = {"scores": scores, "best": jnp.float32(2), "file": tmp_path, "at": (1, 2)}
    plan = make_plan(PLAYERS, params(), MASK, why=why)
    assert plan.why["scores"] == [1.0, 2.0]
    assert plan.why["best"] == 2.0
    assert plan.why["at"] == [1, 2]


@pytest.mark.parametrize(
    "why", [{"f": len}, {"score": float("nan")}, {"a": {(1, 2): 3}}]
)
def test_reasons_that_json_cannot_hold_are_refused(why):
    with pytest.raises(InputError, match="why: expected data that JSON can hold"):
        make_plan(PLAYERS, params(), MASK, why=why)


@pytest.mark.parametrize(
    "mask", [np.ones(11, bool), np.ones(12), np.ones((1, 12), bool), True]
)
def test_a_mask_of_another_kind_is_refused(mask):
    with pytest.raises(InputError, match="mask has (shape|dtype)"):
        make_plan(PLAYERS, params(), mask)


def without(tree, name):
    return {key: value for key, value in tree.items() if key != name}


OTHERS = {
    "missing": (
        without(params(), "second"),
        r"it has a parameter 'second/bias' of shape \(4,\), these have none",
    ),
    "shape": (
        params() | {"head": {"kernel": jnp.zeros((4, 3))}},
        r"'head/kernel' has shape \(4, 2\) there, \(4, 3\) here",
    ),
    "more": (
        params() | {"tail": jnp.zeros(2)},
        "it has no parameter 'tail', these have",
    ),
}


@pytest.mark.parametrize("other,message", OTHERS.values(), ids=OTHERS)
def test_another_model_is_refused_and_the_difference_named(plan, other, message):
    with pytest.raises(InputError, match=f"plan for another model: {message}"):
        plan.apply(other)


def test_a_small_model_is_another_model(plan):
    with pytest.raises(InputError, match="plan for another model: 'first/bias'"):
        plan.apply(plan.apply(params()))


# -- damaged files ---------------------------------------------------------------------


def change(**fields):
    return lambda data: data | fields


def change_first(field, **fields):
    def damage(data):
        first = data[field][0] if field == "families" else data[field]["first/bias"]
        first.update(fields)
        return data

    return damage


DAMAGE = {
    "not an object": (lambda data: [1, 2], '"format": "gamepruning plan"'),
    "another format": (change(format="else"), '"format": "gamepruning plan"'),
    "newer": (change(version=3), "expected version 1 or 2 of the format, got 3"),
    "no version": (lambda d: without(d, "version"), "1 or 2 of the format, got No"),
    "missing": (lambda d: without(d, "inputs"), "the field 'inputs' is missing"),
    "unknown": (change(color="red"), "unknown field 'color'"),
    "families": (change(families={}), "'families' must be a list"),
    "family": (change(families=[3]), "a family: expected a JSON object, got 3"),
    "why": (change(why=[]), "'why' must be a dict"),
    "family field": (change_first("families", a=1), "a family: unknown field 'a'"),
    "total": (change_first("families", total="3"), "'total' must be a int, got '3'"),
    "bool": (change_first("families", total=True), "'total' must be a int, got True"),
    "count": (change_first("families", kept=3), "says 3 kept, lists 2"),
    "beyond": (change_first("families", total=2), "expected indices below 2"),
    "huge": (
        change_first("families", indices="0-999999999"),
        "expected indices below 3",
    ),
    "text": (change_first("families", indices="0,,2"), 'such as "0-3,7", got'),
    "list": (change_first("families", indices=[0, 2]), 'such as "0-3,7", got'),
    "order": (
        change_first("families", indices="2,0"),
        "kept indices must increase, got 0 after 2",
    ),
    "shape": (change_first("parameters", shape=[-1]), "expected a shape, got"),
    "shape text": (change_first("parameters", shape="5"), "'shape' must be a list"),
    "axis": (change_first("parameters", kept={"1": "0"}), "'first/bias'.*no axis '1'"),
    "minus": (change_first("parameters", kept={"-1": "0"}), "it has no axis '-1'"),
    "index": (
        change_first("parameters", kept={"0": "0,5"}),
        "axis 0 of parameter 'first/bias': expected indices below 5",
    ),
    "axes": (change_first("parameters", kept="0,5"), "expected {axis: indices}"),
    "input": (change(inputs={"a": {}}), "inputs: expected a position, got 'a'"),
    "input axes": (change(inputs={"0": 3}), "input 0: expected {axis: indices}"),
}


@pytest.mark.parametrize("damage,message", DAMAGE.values(), ids=DAMAGE)
def test_damaged_plans_get_one_clear_line(plan, tmp_path, damage, message):
    path = tmp_path / "plan.json"
    data = damage(json.loads(json.dumps(plan.to_dict())))
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as error:
        Plan.load(path)
    assert str(error.value).startswith(f"{path} is not a plan: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_files_that_are_not_json_are_refused(tmp_path, content):
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a plan: not JSON"):
        Plan.load(tmp_path / "plan.json")


def test_a_plan_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no plan at .*none\.json: No such file"):
        Plan.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="no plan at .*: Is a directory"):
        Plan.load(tmp_path)


def test_the_old_plan_stays_when_writing_fails(plan, tmp_path, monkeypatch):
    path = tmp_path / "plan.json"
    plan.save(path)
    before = path.read_text()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(InputError, match="cannot write .*: disk full"):
        make_plan(PLAYERS, params(), ~MASK).save(path)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    "indices,text",
    [
        ([], ""),
        ([3], "3"),
        ([0, 1], "0-1"),
        ([0, 1, 2, 7, 9, 10], "0-2,7,9-10"),
        ([1, 3, 5], "1,3,5"),
    ],
)
def test_indices_as_text(indices, text):
    assert format_indices(np.array(indices, np.int64)) == text
    np.testing.assert_array_equal(parse_indices("these", text, 11), indices)


def test_indices_out_of_order_are_told():
    with pytest.raises(InputError, match="in order, got '7-3'"):
        parse_indices("axis 0", "7-3", 10)
