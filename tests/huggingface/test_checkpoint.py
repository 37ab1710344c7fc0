"""Checkpoints of Hugging Face: read, pruned, written, and refused in a line."""

import jax
import numpy as np
import pytest

import gamepruning as gp
from tests.huggingface import tiny

hf = gp.huggingface


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A checkpoint, its players, and a mask that keeps equally many in each layer."""
    folder = tiny.write(tmp_path_factory.mktemp("llama"), "llama")
    (folder / "tokenizer.json").write_text("{}")
    checkpoint = hf.load(folder)
    players = hf.find_players(checkpoint, tiny.IDS)
    return checkpoint, players


def masked(players, checkpoint, keep: dict[str, list[int]]):
    """So many of each kind, layer by layer; the others stay."""
    kinds = hf.kinds_of(players, checkpoint)
    mask = np.ones(players.num_players, bool)
    counts = {kind: list(numbers) for kind, numbers in keep.items()}
    for family in players.families:
        if kinds[family.name] in counts:
            number = counts[kinds[family.name]].pop(0)
            mask[family.start + number : family.stop] = False
    return mask


def test_a_smaller_checkpoint_has_a_smaller_configuration(llama, tmp_path):
    checkpoint, players = llama
    mask = masked(players, checkpoint, {"neurons": [7, 7], "groups": [2, 2]})
    small = gp.compact(players, checkpoint.params, mask)
    hf.save(tmp_path / "small", small, checkpoint)
    again = hf.load(tmp_path / "small")
    assert again.config == checkpoint.config | {
        "intermediate_size": 7,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
    }
    assert again.params.keys() == checkpoint.params.keys()
    assert again.params["model.layers.1.mlp.down_proj.weight"].shape == (24, 7)
    assert (tmp_path / "small" / "tokenizer.json").exists()
    with pytest.raises(gp.InputError, match="exists and holds something else"):
        hf.save(tmp_path / "small", small, checkpoint)
    hf.save(tmp_path / "small", small, checkpoint, overwrite=True)
    outputs = jax.jit(again.apply)(again.params, tiny.IDS)
    wanted = jax.jit(small.apply)(small.params, tiny.IDS)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-4, atol=1e-4)
