"""Smaller checkpoints: who can leave, what the configuration says, or one line."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from tests.huggingface import tiny

hf = gp.huggingface


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tiny.write(tmp_path_factory.mktemp("llama"), "llama")
    (folder / "tokenizer.json").write_text("{}")
    checkpoint = hf.load(folder)
    return checkpoint, hf.find_players(checkpoint, tiny.IDS)


def without(players, **kept: list[int]):
    """So many of a kind in each layer, the others whole."""
    mask = np.ones(players.num_players, bool)
    for family in players.families:
        _, layer, kind = family.name.rsplit(".", 2)
        if kind in kept:
            mask[family.start + kept[kind][int(layer)] : family.stop] = False
    return mask


def test_players_are_those_that_a_configuration_can_do_without(llama):
    checkpoint, players = llama
    sizes = {family.name: family.size for family in players.families}
    kinds = {"groups": 3, "queries": 2, "neurons": 20}
    assert sizes == {
        f"model.layers.{layer}.{kind}": size
        for layer in range(2)
        for kind, size in kinds.items()
    }
    assert hf.find_players(checkpoint, tiny.IDS, kinds="neurons").num_players == 40
    with pytest.raises(
        gp.InputError, match="fewer 'head': expected kinds among neurons"
    ):
        hf.find_players(checkpoint, tiny.IDS, kinds=("neurons", "head"))


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("gpt2", {"head", "heads", "neurons"}),
        ("vit", {"head", "heads", "neurons"}),
        ("gemma", {"head", "groups", "queries", "neurons"}),
    ],
)
def test_every_unit_of_a_layer_is_a_player(kind, found, tmp_path):
    checkpoint = hf.load(tiny.write(tmp_path, kind))
    inputs = tiny.inputs_of(kind)
    players = gp.find_players(checkpoint.apply, checkpoint.params, inputs)
    assert set(hf.kinds_of(players, checkpoint).values()) == found
    own = hf.find_players(checkpoint, inputs)
    fixed = {"head", "heads"} if kind == "gpt2" else {"head"}  # must be named
    assert {f.name.rsplit(".", 1)[1] for f in own.families} == found - fixed


def test_a_smaller_checkpoint_has_a_smaller_configuration(llama, tmp_path):
    checkpoint, players = llama
    mask = without(players, neurons=[7, 7], groups=[2, 2])
    small = gp.compact(players, checkpoint.params, mask)
    folder = hf.save(tmp_path / "small", small, checkpoint)
    again = hf.load(folder)
    assert again.config == checkpoint.config | {
        "intermediate_size": 7,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
    }
    assert again.params["model.layers.1.mlp.down_proj.weight"].shape == (24, 7)
    assert (folder / "tokenizer.json").exists()
    with pytest.raises(gp.InputError, match="holds a model already: .*overwrite=True"):
        hf.save(folder, small, checkpoint)
    hf.save(folder, small, checkpoint, overwrite=True)
    (folder / "checkpoint-5").mkdir()
    with pytest.raises(gp.InputError, match="holds checkpoint-5, too, which would be"):
        hf.save(folder, small, checkpoint, overwrite=True)
    assert (folder / "checkpoint-5").exists()
    with pytest.raises(gp.InputError, match="drop layers before compact"):
        inspect.unwrap(hf.drop_layers)(small, [1])
    with pytest.raises(gp.InputError, match="expected the checkpoint that the small"):
        hf.save(tmp_path / "other", small)
    # What the configuration says is not what the small model computes.
    wrong = checkpoint.config | {"rope_theta": 10.0}
    with pytest.raises(gp.InputError, match="outputs at the new configuration differ"):
        hf.save(tmp_path / "wrong", small, wrong)
    assert not (tmp_path / "wrong").exists()


def test_unequal_layers_are_filled_up_on_request(tmp_path):
    checkpoint = hf.load(tiny.write(tmp_path / "gpt2", "gpt2"))
    players = hf.find_players(checkpoint, tiny.IDS, kinds=("neurons", "heads"))
    mask = without(players, neurons=[95, 94], heads=[2, 1])
    small = gp.compact(players, checkpoint.params, mask)
    told = "layer 0 has 95 neurons, layer 1 has 94; keep equally many.*pad=True"
    with pytest.raises(gp.InputError, match=told):
        hf.save(tmp_path / "small", small, checkpoint)
    hf.save(tmp_path / "small", small, checkpoint, pad=True)  # checks the outputs
    again = hf.load(tmp_path / "small")
    assert again.config == checkpoint.config | {"n_inner": 95}
    attention = again.params["transformer.h.1.attn.c_attn.weight"]
    assert attention.shape == (24, 72)
    stays = np.asarray(attention).reshape(24, 3, 3, 8).any(axis=(0, 1, 3))
    assert stays.tolist() == [True, False, False]


def cut(params, axes):
    """Tensors without their last entries: {part of a name: (axis, how many left)}."""
    return {
        name: next(
            (
                jnp.take(x, np.arange(n), axis)
                for k, (axis, n) in axes.items()
                if k in name
            ),
            x,
        )
        for name, x in params.items()
    }


def test_dimensions_of_heads_are_told_to_stay(llama):
    checkpoint, _ = llama
    heads = {"k_proj": (0, 6), "v_proj": (0, 6), "q_proj": (0, 12)}
    params = cut(checkpoint.params, heads | {"o_proj.weight": (1, 12)})
    told = "axis 0 of .*k_proj.* has 6 entries.*dimensions of heads; let them stay"
    with pytest.raises(gp.InputError, match=told):
        hf.fit(params, checkpoint.config)


def test_heads_of_which_the_hidden_size_is_no_multiple_are_refused_or_padded(llama):
    checkpoint, _ = llama
    config = checkpoint.config | {"num_key_value_heads": 6, "tie_word_embeddings": True}
    params = {
        name: jnp.concatenate([x, x]) if re.search("[kv]_proj", name) else x
        for name, x in checkpoint.params.items()
    }
    five = {"k_proj": (0, 20), "v_proj": (0, 20), "q_proj": (0, 20)}
    params = cut(params, five | {"o_proj.weight": (1, 20)})
    told = "hidden_size 24 to be a multiple of num_attention_heads, which would be 5"
    with pytest.raises(gp.InputError, match=told):
        hf.fit(params, config)
    filled, found = hf.fit(params, config, pad=True)
    assert (found["num_attention_heads"], found["num_key_value_heads"]) == (6, 6)
    assert not filled["model.layers.0.self_attn.v_proj.weight"][20:].any()


def test_queries_are_filled_up_where_groups_do_not_help(tmp_path):
    config = tiny.CONFIGS["llama"] | {"num_key_value_heads": 1, "hidden_size": 24}
    shapes = {"q_proj": (0, 20), "o_proj.weight": (1, 20), "k_proj": (0, 4)}
    checkpoint = hf.load(tiny.write(tmp_path, "llama"))
    params = cut(checkpoint.params, shapes | {"v_proj": (0, 4)})
    with pytest.raises(gp.InputError, match="which would be 5: keep another number"):
        hf.fit(params, config)
    _, found = hf.fit(params, config, pad=True)
    assert found == config


def test_a_branch_that_left_is_zero_on_request(llama):
    checkpoint, _ = llama
    gone = re.compile(r"layers\.1\.(mlp|post_attention)")
    params = {k: x for k, x in checkpoint.params.items() if not gone.search(k)}
    with pytest.raises(gp.InputError, match="layer 0 has 20 neurons, layer 1 has 0"):
        hf.fit(params, checkpoint.config)
    filled, config = hf.fit(params, checkpoint.config, pad=True)
    assert config == checkpoint.config
    assert not filled["model.layers.1.mlp.down_proj.weight"].any()


def test_layers_without_neurons_are_refused_or_padded(llama):
    checkpoint, _ = llama
    none = {"gate_proj": (0, 0), "up_proj": (0, 0), "down_proj.weight": (1, 0)}
    params = cut(checkpoint.params, none)
    with pytest.raises(gp.InputError, match="no configuration has layers without neur"):
        hf.fit(params, checkpoint.config)
    filled, config = hf.fit(params, checkpoint.config, pad=True)
    assert config["intermediate_size"] == 1
    assert not filled["model.layers.1.mlp.down_proj.weight"].any()


def test_layers_that_left_are_not_counted(llama):
    checkpoint, _ = llama
    params = {k: x for k, x in checkpoint.params.items() if ".layers.0." not in k}
    renamed, config = hf.fit(params, checkpoint.config)
    dropped = hf.drop_layers(checkpoint, [0])
    assert config == dropped.config == checkpoint.config | {"num_hidden_layers": 1}
    assert renamed.keys() == dropped.params.keys()
    for name, tensor in dropped.params.items():
        old = name.replace("layers.0.", "layers.1.")
        np.testing.assert_array_equal(tensor, checkpoint.params[old])
        np.testing.assert_array_equal(tensor, renamed[name])
    outputs = jax.eval_shape(dropped.apply, dropped.params, tiny.IDS)
    assert outputs.shape == (2, 6, 50)
    with pytest.raises(gp.InputError, match="no layer 2: there are 2, from 0"):
        hf.drop_layers(checkpoint, [0, 2])
    with pytest.raises(gp.InputError, match="expected a layer to stay"):
        hf.drop_layers(checkpoint, range(2))
    with pytest.raises(gp.InputError, match="expected numbers of layers"):
        hf.drop_layers(checkpoint, [True, False])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"small": {"model.layers.0.x": [1.0]}}, "expected arrays by name, got a list"),
        ({"checkpoint": None}, "expected the checkpoint that the small model"),
        ({"source": "nowhere"}, "no folder nowhere to copy the tokenizer from"),
        ({"shard_bytes": 0}, "shard_bytes as an integer of at least 1, got 0"),
    ],
)
def test_arguments_that_cannot_be_written_are_refused(llama, changes, told, tmp_path):
    checkpoint, _ = llama
    given = {"folder": tmp_path / "out", "small": checkpoint.params} | changes
    with pytest.raises(gp.InputError, match=told):
        hf.save(**{"checkpoint": checkpoint} | given)
    assert not (tmp_path / "out").exists()


def test_players_are_not_found_without_inputs(llama):
    with pytest.raises(gp.InputError, match="expected example inputs"):
        hf.find_players(llama[0])


def test_branches_that_left_are_layers_that_left_or_zeros(llama, tmp_path):
    checkpoint, _ = llama
    params = checkpoint.params
    players = gp.find_players(checkpoint.apply, params, tiny.IDS, granularity="branch")
    names = [
        f"model.layers.{k}.{part}" for k in range(2) for part in ("self_attn", "mlp")
    ]
    assert players.names == tuple(names)
    small = gp.compact(players, params, np.array([0, 0, 1, 1], bool))
    folder = hf.save(tmp_path / "whole", small, checkpoint)
    assert hf.load(folder).config == hf.drop_layers(checkpoint, [0]).config
    small = gp.compact(players, params, np.array([0, 1, 1, 1], bool))
    with pytest.raises(gp.InputError, match="no configuration has layers of different"):
        hf.save(tmp_path / "part", small, checkpoint)
    again = hf.load(hf.save(tmp_path / "part", small, checkpoint, pad=True))
    assert not again.params["model.layers.0.self_attn.o_proj.weight"].any()


@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_the_hidden_width_shrinks_and_the_configuration_says_so(kind, tmp_path):
    checkpoint = hf.load(tiny.write(tmp_path / "large", kind))
    players = hf.find_players(checkpoint, tiny.IDS, kinds="hidden")
    assert [(f.name, f.size) for f in players.families] == [("model.embed_tokens", 24)]
    small = gp.compact(players, checkpoint.params, np.arange(24) % 4 > 0)
    assert small.report.reference != "the gated full model"
    read = hf.load(hf.save(tmp_path / "small", small, checkpoint))
    assert (read.config["hidden_size"], read.config["num_attention_heads"]) == (18, 6)
    found = jax.jit(read.apply)(read.params, tiny.IDS)
    expected = jax.jit(small.apply)(small.params, tiny.IDS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_a_rotated_stream_computes_the_same_and_is_cut_at_its_end(kind, tmp_path):
    checkpoint = hf.load(tiny.write(tmp_path / "large", kind))
    texts = np.random.default_rng(0).integers(0, 50, (8, 6)).astype(np.int32)
    rotated = hf.rotate(checkpoint, texts)
    found, energy = rotated.checkpoint, rotated.energy
    full = jax.jit(checkpoint.apply)(checkpoint.params, texts)
    same = jax.jit(found.apply)(found.params, texts)
    np.testing.assert_allclose(same, full, atol=1e-4)
    assert abs(energy.sum() - 1) < 1e-6 and (np.diff(energy) <= 0).all()
    players = hf.find_players(found, texts, kinds="hidden")
    small = gp.compact(players, found.params, np.arange(24) < 18)
    read = hf.load(hf.save(tmp_path / "small", small, found))
    assert read.config["hidden_size"] == 18
    assert read.params["lm_head.weight"].shape == (50, 18)


def test_streams_that_norms_do_not_allow_to_rotate_are_refused(tmp_path):
    bert = hf.load(tiny.write(tmp_path, "bert"))
    with pytest.raises(gp.InputError, match="'bert' has norms that see a rotation"):
        hf.rotate(bert, tiny.IDS)


def test_a_hidden_width_without_its_heads_is_told_to_need_other_players(tmp_path):
    """The configuration has no field for the size of a head."""
    checkpoint = hf.load(tiny.write(tmp_path / "large", "gpt2"))
    players = hf.find_players(checkpoint, tiny.IDS, kinds="hidden")
    small = gp.compact(players, checkpoint.params, np.arange(24) % 4 > 0)
    for pad, told in ((False, "pad=True does not help"), (True, "zeros do not help")):
        with pytest.raises(gp.InputError, match=f"not hidden_size 18.*{told}"):
            hf.save(tmp_path / "small", small, checkpoint, pad=pad)


def test_half_a_precision_is_checked_in_single(tmp_path):
    """In bfloat16 itself two orders of sums may differ by several percent."""
    checkpoint = hf.load(tiny.write(tmp_path / "large", "llama"), dtype=jnp.bfloat16)
    players = hf.find_players(checkpoint, tiny.IDS, kinds="neurons")
    mask = without(players, neurons=[12, 12])
    small = gp.compact(players, checkpoint.params, mask)
    read = hf.load(hf.save(tmp_path / "small", small, checkpoint))
    assert {str(x.dtype) for x in read.params.values()} == {"bfloat16"}
    other = checkpoint._replace(config=checkpoint.config | {"rms_norm_eps": 0.05})
    with pytest.raises(gp.InputError, match="outputs at the new configuration differ"):
        hf.save(tmp_path / "other", small, other)
