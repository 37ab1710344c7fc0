"""The parts of the stack that are installed take a small model and keep its numbers."""

import pytest

from experiments.stack import parts
from experiments.stack.models import Config

# Sizes that no two fields share: which field became smaller is soon found.
TINY = Config(
    vocab_size=13,
    base_emb_dim=10,
    base_num_query_heads=8,
    base_num_kv_heads=4,
    head_dim=6,
    base_mlp_dim=14,
    base_num_decoder_layers=2,
)


def needs(*packages):
    reason = parts.missing(*packages)
    return pytest.mark.skipif(bool(reason), reason=reason)


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_maxtext_comes_back_at_the_small_configuration(tmp_path):
    found = parts.maxtext_half(tmp_path, TINY)
    assert found["student_overrides"] == {
        "base_num_query_heads": 4,
        "base_num_kv_heads": 2,
        "base_mlp_dim": 7,
    }
    assert found["max_error"] < 1e-6
    assert (tmp_path / "0" / "items").is_dir()


@needs("google-tunix")
@pytest.mark.filterwarnings("ignore")
def test_tunix_distils_into_the_small_student():
    found = parts.distilled(TINY, steps=20)
    assert found["divergence_after"] < found["divergence_before"]


@needs("qwix")
@pytest.mark.filterwarnings("ignore")
def test_qwix_quantises_the_small_module():
    errors = parts.quantised(TINY)["max_error"]
    assert 0 < errors["weights int8"] < 0.1


@needs("jax2onnx", "onnxruntime")
@pytest.mark.filterwarnings("ignore")
def test_onnx_has_the_outputs_of_the_small_model():
    _, half, _ = parts.small_decoder(TINY)
    rows = parts.converted(parts.by_onnx, {"decoder": half})
    assert rows["decoder"]["max_error"] < 1e-5


@needs("litert-converter", "ai-edge-litert")
@pytest.mark.filterwarnings("ignore")
def test_litert_has_the_outputs_of_the_small_model():
    _, half, _ = parts.small_decoder(TINY)
    rows = parts.converted(parts.by_litert, {"decoder": half})
    assert rows["decoder"]["max_error"] < 1e-5


def test_what_a_converter_cannot_do_is_one_line():
    small = parts.Small(lambda p, x: x, {}, None, (1.0,))

    def fails(run, x):
        raise NotImplementedError("no such\n operation")

    row = parts.converted(fails, {"one": small})["one"]
    assert row == {
        "limit": "NotImplementedError: no such operation",
        "full_model": "NotImplementedError: no such operation",
    }
