"""Checkpoints of Hugging Face are read: the numbers of transformers, or one line."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import gamepruning as gp
from gamepruning.huggingface.checkpoint import architecture_of
from gamepruning.huggingface.layers import check_tokens, layer_norm
from tests.huggingface import tiny

hf = gp.huggingface
EXPECTED = json.loads((tiny.HERE / "expected.json").read_text())
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize("kind", tiny.CONFIGS)
def test_outputs_are_those_of_transformers(kind, tmp_path):
    checkpoint = hf.load(tiny.write(tmp_path, kind))
    outputs = jax.jit(checkpoint.apply)(checkpoint.params, tiny.inputs_of(kind))
    shown = outputs.reshape(-1, outputs.shape[-1])[-1, : len(EXPECTED[kind])]
    np.testing.assert_allclose(shown, np.array(EXPECTED[kind]), atol=1e-4)
    assert checkpoint.params.keys() == tiny.tensors(kind).keys()


def test_padding_is_not_seen(tmp_path):
    checkpoint = hf.load(tiny.write(tmp_path, "bert"))
    mask = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    other = np.where(mask, tiny.IDS, 0)
    apply = jax.jit(checkpoint.apply)
    one = apply(checkpoint.params, tiny.IDS, mask)
    two = apply(checkpoint.params, other, mask)
    np.testing.assert_allclose(one[0, :4], two[0, :4], atol=1e-5)
    assert jnp.abs(one[0, 5] - two[0, 5]).max() > 0.1


def test_norms_may_have_the_names_of_tensorflow(tmp_path):
    folder = tiny.write(tmp_path / "new", "bert")
    new = hf.load(folder)
    tensors = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): x
        for name, x in load_file(folder / "model.safetensors").items()
    }
    save_file(tensors, folder / "model.safetensors")
    old = hf.load(folder)
    assert old.params.keys() == tensors.keys()
    shapes = jax.eval_shape(old.apply, old.params, tiny.IDS)
    assert shapes == jax.eval_shape(new.apply, new.params, tiny.IDS)


def test_a_model_without_its_prefix_is_the_same_model(tmp_path):
    """As the hub has GPT-2: names without "transformer.", and buffers."""
    folder = tiny.write(tmp_path, "gpt2")
    path = folder / "model.safetensors"
    buffer = {"h.0.attn.bias": np.ones((1, 1, 64, 64), np.float32)}
    tensors = {k.removeprefix("transformer."): x for k, x in load_file(path).items()}
    save_file(tensors | buffer, path)
    checkpoint = hf.load(folder)
    assert checkpoint.params.keys() == tensors.keys()
    outputs = jax.eval_shape(checkpoint.apply, checkpoint.params, tiny.IDS)
    assert outputs.shape == (2, 6, 50)
    (folder / "config.json").write_text(
        json.dumps(tiny.CONFIGS["gpt2"] | {"architectures": ["GPT2Model"]})
    )
    bare = hf.load(folder)
    outputs = jax.eval_shape(bare.apply, bare.params, tiny.IDS)
    assert outputs.shape == (2, 6, 24)


def test_what_is_not_run_stays_and_buffers_do_not(tmp_path):
    folder = tiny.write(tmp_path / "bert", "bert")
    path = folder / "model.safetensors"
    pooler = np.ones((24, 24), np.float32)
    more = {"pooler.dense.weight": pooler, "embeddings.position_ids": np.arange(64)}
    save_file(load_file(path) | more, path)
    checkpoint = hf.load(folder)
    assert list(checkpoint.rest) == ["pooler.dense.weight"]
    hf.save(tmp_path / "again", checkpoint)
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert again.keys() == tiny.tensors("bert").keys() | {"pooler.dense.weight"}
    np.testing.assert_array_equal(again["pooler.dense.weight"], pooler)


def test_shards_and_small_floats_come_back(tmp_path):
    checkpoint = hf.load(tiny.write(tmp_path / "one", "qwen3"), dtype=jnp.bfloat16)
    config = checkpoint.config | {"dtype": "float32"}
    hf.save(tmp_path / "two", checkpoint.params, config, shard_bytes=4000)
    assert not (tmp_path / "two" / "model.safetensors").exists()
    assert len(list((tmp_path / "two").glob("model-*-of-*.safetensors"))) > 2
    again = hf.load(tmp_path / "two")
    assert again.config == config | {"dtype": "bfloat16"}
    for name, tensor in checkpoint.params.items():
        assert again.params[name].dtype == jnp.bfloat16
        np.testing.assert_array_equal(again.params[name], tensor)


def test_positions_of_too_many_tokens_are_refused(tmp_path):
    for kind, most in (("mistral", 32), ("gpt2", 64), ("bert", 64)):
        checkpoint = hf.load(tiny.write(tmp_path / kind, kind))
        ids = jax.ShapeDtypeStruct((1, most + 1), jnp.int32)
        with pytest.raises(gp.InputError, match=f"{most + 1} tokens are more than"):
            jax.eval_shape(checkpoint.apply, checkpoint.params, ids)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "mamba"}, "'mamba' is not supported: expected llama, mistral"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"quantised \(gptq\)"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "type 'yarn'"),
        ({"layer_types": ["sliding_attention"] * 2}, "sliding window"),
        ({"hidden_act": "mish"}, "activation 'mish' is not supported"),
        ({"num_attention_heads": 5}, "5 is not a multiple of num_key_value_heads 3"),
        (
            {"intermediate_size": 21},
            r"\[20, 24\], but .* \[neurons, hidden\] = \[21, 24\]",
        ),
        ({"num_hidden_layers": 1}, "has 'model.layers.1.* and 13 more, which config"),
        ({"num_hidden_layers": 3}, "lacks 'model.layers.2.* and 13 more"),
        ({"tie_word_embeddings": False}, "lacks 'lm_head.weight'"),
        ({"model_type": ["llama"]}, "model_type .*, expected a string"),
        ({"hidden_size": "24"}, "hidden_size '24', expected an integer of at least 1"),
        ({"num_attention_heads": 0}, "num_attention_heads 0, expected an integer"),
        ({"rope_scaling": "linear"}, "rope_scaling 'linear', expected an object"),
        ({"rope_theta": "fast"}, "field of a wrong type: .*'fast'"),
        ({"head_dim": 5}, "heads have 5 entries, expected an even number"),
    ],
)
def test_a_configuration_that_is_not_understood_is_refused(changes, told, tmp_path):
    folder = tiny.write(tmp_path, "llama", **changes)
    with pytest.raises(gp.InputError, match=told) as error:
        hf.load(folder)
    assert "\n" not in str(error.value)


def test_a_field_that_is_null_has_its_default(tmp_path):
    changes = {"rms_norm_eps": None, "hidden_act": None, "layer_types": None}
    checkpoint = hf.load(tiny.write(tmp_path, "qwen2", **changes))
    outputs = jax.eval_shape(checkpoint.apply, checkpoint.params, tiny.IDS)
    assert outputs.shape == (2, 6, 50)


def test_a_field_that_is_missing_is_named(tmp_path):
    folder = tiny.write(tmp_path, "llama")
    config = {k: v for k, v in tiny.CONFIGS["llama"].items() if k != "hidden_size"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(gp.InputError, match="config.json lacks 'hidden_size'"):
        hf.load(folder)


def spoil(folder, what):
    weights = folder / "model.safetensors"
    if what == "no config":
        (folder / "config.json").unlink()
    elif what == "damaged config":
        (folder / "config.json").write_text("{")
    elif what == "no weights":
        weights.rename(folder / "pytorch_model.bin")
    elif what == "cut off":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif what == "empty":
        weights.write_bytes(b"")
    elif what == "pointer":
        weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1")
    elif what == "no embedding":
        tensors = load_file(weights)
        del tensors["model.embed_tokens.weight"]
        save_file(tensors, weights)
    elif what == "integers":
        save_file({k: x.astype("i1") for k, x in load_file(weights).items()}, weights)
    elif what == "untied":
        tensors = load_file(weights)
        head = {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}
        save_file(tensors | head, weights)
    elif what == "index of numbers":
        index = {"weight_map": dict.fromkeys(load_file(weights), 1)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        weights.unlink()
    elif what in ("missing shard", "missing in its shard"):
        name = "model-00001-of-00001.safetensors"
        tensors = load_file(weights)
        index = {"weight_map": dict.fromkeys(tensors, name)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        weights.unlink()
        if what == "missing in its shard":
            del tensors[UP]
            save_file(tensors, folder / name)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("no config", "has no config.json: expected a folder of Hugging Face"),
        ("damaged config", "config.json is damaged"),
        ("no weights", "pytorch_model.bin must be converted to safetensors first"),
        ("cut off", "model.safetensors is not a whole safetensors file"),
        ("empty", "model.safetensors is not a whole safetensors file"),
        ("pointer", "model.safetensors is a pointer of Git LFS"),
        ("no embedding", "lacks 'model.embed_tokens.weight'$"),
        ("integers", "has the type int8, expected a floating-point type"),
        ("untied", "'lm_head.weight' differs from .* tie_word_embeddings to false"),
        ("index of numbers", "index.json has 1 for the name of a file"),
        ("missing shard", "lacks model-00001-of-00001.safetensors"),
        ("missing in its shard", f"lacks '{re.escape(UP)}'"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(what, told, tmp_path):
    folder = tiny.write(tmp_path, "llama")
    spoil(folder, what)
    with pytest.raises(gp.InputError, match=told) as error:
        hf.load(folder)
    assert "\n" not in str(error.value)


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(gp.InputError, match="no folder org/name: download a model"):
        hf.load("org/name")
    file = tiny.write(tmp_path, "llama") / "config.json"
    with pytest.raises(gp.InputError, match="expected the model's folder, got the fil"):
        hf.load(file)


@pytest.mark.parametrize("dtype", ["flot", "int8", int])
def test_a_type_that_is_not_floating_is_refused(dtype, tmp_path):
    with pytest.raises(gp.InputError, match="expected dtype as a floating-point type"):
        hf.load(tmp_path, dtype=dtype)


def test_the_single_file_is_read_where_there_is_an_index_too(tmp_path):
    folder = tiny.write(tmp_path, "llama")
    index = {"weight_map": {UP: "gone.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert hf.load(folder).params.keys() == tiny.tensors("llama").keys()


def test_a_head_equal_to_the_embedding_it_is_tied_to_is_not_kept(tmp_path):
    folder = tiny.write(tmp_path, "llama")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    save_file(tensors, folder / "model.safetensors")
    assert "lm_head.weight" not in hf.load(folder).params


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ((tiny.IDS.tolist(),), "input_ids as an array of integers, got list"),
        ((tiny.IDS.astype("f"),), "input_ids as an array of integers, got float32"),
        ((tiny.IDS > 3,), "input_ids as an array of integers, got bool"),
        ((tiny.IDS[0],), r"input_ids of shape \(batch, length\), got \(6,\)"),
        ((tiny.IDS[:, :0],), r"input_ids of shape \(batch, length\), got \(2, 0\)"),
        ((tiny.IDS + 44,), r"tokens from 0 to 49 \(vocab_size 50\), got "),
        ((tiny.IDS - 1,), r"tokens from 0 to 49 \(vocab_size 50\), got -1"),
        ((tiny.IDS, np.ones(6, int)), r"the shape of input_ids, \(2, 6\), got \(6,\)"),
        ((tiny.IDS, np.ones((2, 5), int)), r"\(2, 6\), got \(2, 5\)"),
        ((tiny.IDS, np.eye(2, 6, -1, int)), r"no token of text 0 \(and 0 more\)"),
    ],
)
def test_inputs_that_are_no_tokens_are_refused(inputs, told):
    with pytest.raises(gp.InputError, match=told):
        check_tokens({"vocab": 50}, *inputs)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
def test_tokens_of_another_vocabulary_are_refused(kind):
    apply = architecture_of(tiny.CONFIGS[kind], []).apply
    with pytest.raises(gp.InputError, match="use the tokenizer of this checkpoint"):
        apply({}, jnp.asarray(tiny.IDS + 44))


def test_token_types_of_another_model_are_refused():
    apply = architecture_of(tiny.CONFIGS["bert"], []).apply
    with pytest.raises(gp.InputError, match="token types from 0 to 1, got 2"):
        apply({}, jnp.asarray(tiny.IDS), None, jnp.full_like(tiny.IDS, 2))


def test_players_are_not_found_by_tokens_of_another_vocabulary(tmp_path):
    checkpoint = hf.load(tiny.write(tmp_path, "llama"))
    with pytest.raises(gp.InputError, match="use the tokenizer of this checkpoint"):
        hf.find_players(checkpoint, tiny.IDS + 44)


def test_layer_norm_is_computed_in_single_precision():
    """Squares of float16 overflow above 256, and an epsilon of 1e-12 is 0 there."""
    x = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    x[:, 3] = 3000
    scale, shift = jnp.ones(64), jnp.zeros(64)
    expected = layer_norm(scale, shift, jnp.asarray(x), 1e-5)
    for kind, tolerance in ((jnp.float16, 1e-2), (jnp.bfloat16, 5e-2)):
        given = [jnp.asarray(part, kind) for part in (scale, shift, x)]
        found = layer_norm(*given, 1e-5)
        assert found.dtype == kind
        np.testing.assert_allclose(found.astype(float), expected, atol=tolerance)
    flat = layer_norm(*given[:2], jnp.full((1, 64), 2, jnp.float16), 1e-12)
    assert not np.asarray(flat, float).any()


def test_layers_whose_attention_goes_by_their_number_stay_in_place(tmp_path):
    config = tiny.CONFIGS["gpt2"] | {"scale_attn_by_inverse_layer_idx": True}
    checkpoint = hf.load(tiny.write(tmp_path, "gpt2"))._replace(config=config)
    with pytest.raises(gp.InputError, match="drop the last layers alone"):
        hf.drop_layers(checkpoint, [0])
    last = checkpoint.config["n_layer"] - 1
    assert hf.drop_layers(checkpoint, [last]).config["n_layer"] == last
