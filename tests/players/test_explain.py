"""Players as text: what they are, how much can leave, in 100 columns."""

import jax
import jax.numpy as jnp
import pytest

import gamepruning as gp
from tests.zoo import attention
from tests.zoo.case import Draw

SHAPES = {
    "embed": (6, 10),
    **{
        f"a_long_name_of_an_encoder/layer_{k}/{name}/kernel": shape
        for k in range(3)
        for name, shape in {"up": (10, 20), "down": (20, 10)}.items()
    },
    "out": (10, 3),
}
PARAMS = {path: jnp.ones(shape) for path, shape in SHAPES.items()}


def apply(params, x):
    x = x @ params["embed"]
    for k in range(3):
        up, down = (
            params[f"a_long_name_of_an_encoder/layer_{k}/{name}/kernel"]
            for name in ("up", "down")
        )
        x = x + jnp.tanh(x @ up) @ down
    return jnp.sort(x) @ params["out"]


def test_equal_layers_are_one_row_and_shares_are_those_of_parameters():
    told = gp.find_players(apply, PARAMS, jnp.ones((2, 6))).explain()
    lines = told.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "60 players; 93.0 % of the 1,290 parameters can leave"
    rows = [line for line in lines if "3 x 20" in line]
    assert len(rows) == 1 and " 93.0 % " in rows[0] and " units " in rows[0]
    assert "in:a_long_name_of_an_encoder/layer_{0-2}/down" in told
    assert "100.0 %  it is sorted by sort" in told
    assert "layer_{0-2}/down/kernel[1] 10" in told.replace("\n          ", " ")


def test_layers_that_differ_are_rows_of_their_own():
    params = {"one": jnp.ones((3, 4)), "two": jnp.ones((4, 5)), "out": jnp.ones((5, 2))}

    def stack(params, x):
        hidden = jnp.tanh(jnp.tanh(x @ params["one"]) @ params["two"])
        return hidden @ params["out"]

    players = gp.find_players(stack, params, jnp.ones((1, 3)))
    told = players.explain()
    assert "100.0 % of the 42 parameters" in told
    assert " 76.2 %  out:one[1]" in told and " 71.4 %  out:two[1]" in told
    assert [family["kind"] for family in players.to_dict()["families"]] == ["units"] * 2


KINDS = {
    "fused_qkv_rotary_swiglu": ["rotary pairs", "heads", "units"],
    "grouped_query_attention": [
        "head dimensions",
        "head groups",
        "queries of a group",
        "head dimensions",
    ],
    "repeated_key_value_heads": [
        "head dimensions",
        "head groups",
        "head dimensions",
        "queries of a group",
    ],
    "perceiver": ["units", "head dimensions", "head dimensions", "heads", "units"],
}


@pytest.mark.parametrize("name", KINDS)
def test_what_plays_in_attention_is_named(name, key):
    model = getattr(attention, name)(Draw(key, "float32"))
    players = gp.find_players(model.apply, model.params, *model.inputs, **model.options)
    assert list(players.kinds) == KINDS[name]
    assert all(kind in players.explain() for kind in players.kinds)


def test_an_axis_that_can_only_leave_whole_and_entries_of_inputs_are_named():
    params = {"one": jnp.ones((3, 5)), "two": jnp.ones((5, 2))}

    def rolled(params, x):
        hidden = x @ params["one"]
        return jnp.tanh(hidden + jnp.roll(hidden, 2, axis=1)) @ params["two"]

    players = gp.find_players(rolled, params, jnp.ones((1, 3)), input_axes={0: 1})
    kinds = dict(zip((f.name for f in players.families), players.kinds, strict=True))
    assert kinds == {"input 0": "input entries", "one": "one whole axis"}


def test_scanned_layers_have_the_kinds_of_their_families():
    def scanned(params, x):
        def layer(x, w):
            return x + jnp.tanh(x @ w["up"]) @ w["down"], None

        return jax.lax.scan(layer, x, params)[0]

    params = {"up": jnp.ones((2, 3, 4)), "down": jnp.ones((2, 4, 3))}
    for how in ({}, {"granularity": "layer"}):
        players = gp.find_players(
            scanned, params, jnp.ones((1, 3)), layers="each", **how
        )
        assert len(players.kinds) == len(players.families)
        assert "100.0 % of the 48 parameters can leave" in players.explain()


def test_what_stays_says_because_of_what():
    """Families that were named, and parameters that nothing is computed from."""

    def apply(params, x):
        hidden = jax.nn.relu(jax.nn.relu(x @ params["w1"]) @ params["w2"])
        hidden @ params["unused"]
        return hidden @ params["w3"]

    shapes = {"w1": (6, 8), "w2": (8, 7), "unused": (7, 4), "w3": (7, 3)}
    params = {name: jnp.ones(shape) for name, shape in shapes.items()}
    players = gp.find_players(apply, params, jnp.ones((4, 6)), keep="w1")
    reasons = {(row.path, row.axis): row.reason for row in players.frozen}
    assert reasons["w1", 1] == reasons["w2", 0] == "kept on request (w1)"
    assert reasons["unused", 0] == reasons["unused", 1] == "no output depends on it"
    assert reasons["w3", 1] == "it is an output of the model"
    assert "kept on request (w1)" in players.explain()
