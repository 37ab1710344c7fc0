"""Every kind of players keeps the same promises."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.players.branch_players import BranchPlayers
from gamepruning.players.layer_players import LayerPlayers
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.players.weight_players import WeightPlayers
from tests.small import apply_mlp, make_mlp

KINDS = {"unit": 7, "layer": 2, "weight": 5 * 4 + 4 * 3 + 3 * 2}


@pytest.fixture(params=KINDS)
def found(request, key):
    _, params, inputs, _ = make_mlp(key)
    kind = request.param
    players = gp.find_players(apply_mlp, params, inputs, granularity=kind)
    return players, params, inputs


def test_the_kinds_are_siblings():
    for kind in (UnitPlayers, LayerPlayers, BranchPlayers, WeightPlayers):
        assert kind.__bases__ == (gp.Players,)


def test_players_are_numbered_through_the_families(found):
    players, _, _ = found
    assert isinstance(players, gp.Players)
    assert players.num_players == KINDS[players.granularity]
    starts = [family.start for family in players.families]
    stops = [family.stop for family in players.families]
    assert [0, *stops] == [*starts, players.num_players]
    assert len(players.names) == len(set(players.names)) == players.num_players
    expected = [k for k, f in enumerate(players.families) for _ in range(f.size)]
    assert players.family_of.tolist() == expected


def test_everybody_in_is_the_model_itself(found):
    players, params, inputs = found
    everybody = np.ones(players.num_players, bool)
    np.testing.assert_allclose(
        players.gated(params, everybody, inputs), apply_mlp(params, inputs), rtol=1e-6
    )
    for same in (players.exclude, players.participate):
        jax.tree.map(np.testing.assert_array_equal, same(params, everybody), params)
    assert players.kept_indices(everybody) == {} and players.input_kept(everybody) == {}


def test_parts_of_the_model_are_the_model(found, key):
    players, params, inputs = found
    gates = jax.random.uniform(key, (players.num_players,))
    expected = players.gated(params, gates, inputs)
    hoisted = players.hoist(params, inputs)
    split = players.split(params, (inputs,), players.select())
    for prefix, suffix in (hoisted, split[:2]):
        outputs = suffix(prefix(params, gates, inputs), gates)
        np.testing.assert_allclose(outputs, expected, rtol=1e-5)
    assert len(split.by_input) == len(split.prefix(params, gates, inputs))
    assert any(split.by_input) and split.widest > 0


def test_excluded_players_are_gone(found):
    players, params, inputs = found
    mask = np.arange(players.num_players) % 2 == 0
    np.testing.assert_allclose(
        apply_mlp(players.exclude(params, mask), inputs),
        players.gated(params, mask, inputs),
        rtol=1e-5,
        atol=1e-6,
    )


def test_own_parameters_scale_with_the_gate(found):
    """|s theta|^2 = s^2 |theta|^2."""
    players, params, _ = found
    squares = players.sum_owned(jax.tree.map(jnp.square, params))
    half = players.participate(params, jnp.full(players.num_players, 0.5))
    scaled = players.sum_owned(jax.tree.map(jnp.square, half))
    assert squares.shape == (players.num_players,)
    np.testing.assert_allclose(scaled, 0.25 * squares, rtol=1e-6)


def test_what_is_told_is_short_and_true(found):
    players, _, _ = found
    told = players.to_dict()
    assert told["granularity"] == players.granularity
    assert [f["name"] for f in told["families"]] == [f.name for f in players.families]
    assert f"{players.num_players} players" in players.explain()
    for shown in (players, players.model, *players.families, *players.frozen[:3]):
        assert 10 < len(repr(shown)) < 200, repr(shown)
    for piece in players.families[0].slices:
        assert len(repr(piece)) < 200


def test_parameters_of_another_model_are_refused(found):
    players, params, inputs = found
    other = {**params, "dense0": {**params["dense0"], "kernel": jnp.ones((5, 9))}}
    everybody = np.ones(players.num_players, bool)
    for call in (
        lambda: players.gated(other, everybody, inputs),
        lambda: players.participate(other, everybody),
        lambda: players.exclude(other, everybody),
        lambda: players.sum_owned(other),
        lambda: (
            players.hoist(other, inputs).prefix(other, everybody, inputs)
            if players.granularity != "weight"
            else players.split(other, (inputs,), everybody)
        ),
    ):
        with pytest.raises(gp.InputError, match=r"dense0/kernel has shape \(5, 9\)"):
            call()


def test_nobody_reads_what_players_keep_to_themselves():
    package = Path(gp.__file__).parent
    inside = re.compile(r"\b(players|units|model|trace)\._(?!replace|asdict)[a-z]")
    found = [
        f"{path.relative_to(package)}: {line.strip()}"
        for path in sorted(package.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if inside.search(line) and "import" not in line
    ]
    assert not found, "\n".join(found)
