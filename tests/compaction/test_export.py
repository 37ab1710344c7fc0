"""Files that come back as they were, and damaged ones that do not."""

import dataclasses
import functools
import json
import pickle

import equinox as eqx
import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gamepruning as gp
from gamepruning.compaction.compact import CompactModel
from gamepruning.compaction.export import (
    export_model,
    export_orbax,
    export_safetensors,
    export_stablehlo,
    import_orbax,
    import_safetensors,
    load_stablehlo,
)
from gamepruning.compaction.plan import KeptFamily, Plan
from gamepruning.compaction.report import make_report
from gamepruning.compaction.stablehlo import read_manifest
from gamepruning.files.atomic import new_file, new_folder
from gamepruning.types import InputError

NOTHING = {"families": [], "max_error": 0.0}
WEIGHTS = {
    "safetensors": (export_safetensors, import_safetensors),
    "orbax": (export_orbax, import_orbax),
}
weights = pytest.mark.parametrize("write,read", WEIGHTS.values(), ids=WEIGHTS)


def make_params():
    rng = np.random.default_rng(0)
    return {
        "dense": {
            "kernel": jnp.asarray(rng.standard_normal((3, 4)), jnp.bfloat16),
            "bias": jnp.arange(4.0),
        },
        "step": jnp.int32(7),
        "host": rng.standard_normal(5),
        "flags": jnp.array([True, False]),
    }


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    for one, two in pairs:
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


@weights
def test_nested_dictionaries_come_back(write, read, tmp_path):
    params = make_params()
    back = read(write(params, tmp_path / "weights"))
    assert_same(back, jax.tree.map(np.asarray, params))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(back))


@weights
def test_a_template_gets_its_own_kind_of_arrays(write, read, tmp_path):
    params = make_params()
    path = write(params, tmp_path / "weights")
    back = read(path, like=params)
    assert_same(back, params)
    assert isinstance(back["host"], np.ndarray)
    assert isinstance(back["dense"]["bias"], jax.Array)
    shapes = jax.eval_shape(lambda: {**params, "host": jnp.zeros(5)})
    single = read(write(params | {"host": jnp.zeros(5)}, path), like=shapes)
    assert isinstance(single["host"], jax.Array)


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
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


TREES = {
    "bare array": lambda: jnp.arange(6.0).reshape(2, 3),
    "list": lambda: [jnp.ones((3, 4)), (jnp.zeros(4),)],
    "haiku": lambda: {"net/~/linear": {"w": jnp.ones((3, 4))}},
    "frozen dict": lambda: flax.core.freeze({"a": {"w": jnp.ones((3, 4))}}),
    "dataclass": lambda: Stack([Stack([jnp.ones(4)], "inner")], "outer"),
    "nnx": lambda: nnx.state(Net()),
    "equinox": lambda: eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)),
    "random key": lambda: {"key": jax.random.key(3), "w": jnp.ones(2)},
    "not in C order": lambda: {"w": np.arange(12.0).reshape(3, 4).T},
}


@weights
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_any_tree_comes_back(tree, write, read, tmp_path):
    params = tree()
    back = read(write(params, tmp_path / "weights"), like=params)
    assert jax.tree.structure(back) == jax.tree.structure(params)

    def plain(leaf):
        is_key = jnp.issubdtype(getattr(leaf, "dtype", int), jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    jax.tree.map(np.testing.assert_array_equal, *jax.tree.map(plain, (back, params)))


def test_arrays_and_dictionaries_without_a_template(tmp_path):
    path = export_safetensors(jnp.ones(3), tmp_path / "weights")
    assert list(import_safetensors(path)) == ["array"]
    path = export_safetensors([jnp.ones(3), {"a": jnp.ones(2)}], tmp_path / "weights")
    assert import_safetensors(path)["1"]["a"].shape == (2,)


def test_plain_orbax_reads_the_checkpoint(tmp_path):
    import orbax.checkpoint as ocp

    params = make_params()
    path = export_orbax(params, tmp_path / "weights")
    with ocp.StandardCheckpointer() as checkpointer:
        assert_same(checkpointer.restore(path, params), params)


def test_plain_safetensors_reads_the_file(tmp_path):
    from safetensors.numpy import load_file

    path = export_safetensors(make_params(), tmp_path / "weights")
    assert load_file(path)["dense/kernel"].shape == (3, 4)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float16", "complex64", "uint16"])
def test_types_come_back(dtype, tmp_path):
    params = {"w": jnp.ones((2, 3), dtype), "empty": jnp.zeros((0, 3), dtype)}
    path = export_safetensors(params, tmp_path / "weights")
    assert_same(import_safetensors(path, like=params), params)


def test_types_that_safetensors_lacks_are_refused(tmp_path):
    with pytest.raises(InputError, match='safetensors cannot hold this: .*"int4"'):
        export_safetensors({"w": jnp.ones(3, jnp.int4)}, tmp_path / "weights")
    assert list(tmp_path.iterdir()) == []


def test_empty_arrays_are_left_out_of_orbax_and_come_back(tmp_path):
    params = {"w": {"up": jnp.ones((0, 3))}, "out": jnp.ones(2)}
    path = export_orbax(params, tmp_path / "weights")
    assert import_orbax(path).keys() == {"out"}
    assert_same(import_orbax(path, like=params), params)


def test_no_array_is_refused_by_orbax(tmp_path):
    with pytest.raises(InputError, match="orbax cannot hold no array at all"):
        export_orbax({"w": jnp.ones((0, 3))}, tmp_path / "weights")
    with pytest.raises(InputError, match="orbax cannot hold no array at all"):
        export_orbax({}, tmp_path / "weights")
    assert list(tmp_path.iterdir()) == []


def change(path, leaf):
    tree = make_params()
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = leaf
    return tree


MISFITS = {
    "more": (change(["new"], jnp.ones(2)), "the file has no parameter 'new'"),
    "fewer": ({"step": jnp.int32(0)}, "the tree to fill has no parameter 'dense/bias'"),
    "shape": (
        change(["dense", "bias"], jnp.ones(5)),
        r"parameter 'dense/bias': expected float32 \(5,\), got float32 \(4,\)",
    ),
    "type": (
        change(["dense", "kernel"], jnp.ones((3, 4))),
        r"'dense/kernel': expected float32 \(3, 4\), got bfloat16 \(3, 4\)",
    ),
}


@weights
@pytest.mark.parametrize("like,message", MISFITS.values(), ids=MISFITS)
def test_a_template_that_does_not_fit_is_refused(write, read, like, message, tmp_path):
    path = write(make_params(), tmp_path / "weights")
    with pytest.raises(InputError, match=message) as error:
        read(path, like=like)
    assert str(path) in str(error.value)


@weights
def test_shapes_alone_are_refused(write, read, tmp_path):
    with pytest.raises(InputError, match="expected parameters, got only their shapes"):
        write(jax.eval_shape(lambda: jnp.ones(3)), tmp_path / "weights")


@weights
def test_an_older_file_is_replaced(write, read, tmp_path):
    write({"old": jnp.ones(3)}, tmp_path / "run" / "weights")
    path = write({"new": jnp.ones(2)}, tmp_path / "run" / "weights")
    assert list(read(path)) == ["new"]
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["weights"]


def test_other_folders_are_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for write in (export_orbax, export_safetensors):
        with pytest.raises(InputError, match="holds something else|got the folder"):
            write(make_params(), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\xff" * 64, None],
    ids=["empty", "short", "long header", "cut"],
)
def test_damaged_safetensors_are_refused(content, tmp_path):
    path = export_safetensors(make_params(), tmp_path / "weights")
    path.write_bytes(path.read_bytes()[:-3] if content is None else content)
    with pytest.raises(InputError, match="is not a whole safetensors file") as error:
        import_safetensors(path)
    assert "\n" not in str(error.value)


def test_missing_files_are_named(tmp_path):
    for read in (import_safetensors, import_orbax, load_stablehlo):
        with pytest.raises(InputError, match=r"no .* at .*gone.*"):
            read(tmp_path / "gone")


def remove(name):
    return lambda path: (path / name).unlink()


def garble(name):
    return lambda path: (path / name).write_text("{")


def cut(path):
    for file in (path / "d").iterdir():
        file.write_bytes(file.read_bytes()[:-40])


DAMAGE = {
    "no metadata": (remove("_METADATA"), "no orbax checkpoint at"),
    "metadata": (garble("_METADATA"), "is damaged: _METADATA"),
    "no manifest": (remove("manifest.ocdbt"), "is damaged: manifest.ocdbt"),
    "cut": (cut, "is damaged: d/"),
    "checksums": (garble("checksums.json"), "is damaged: checksums.json"),
}


@pytest.mark.parametrize("damage,message", DAMAGE.values(), ids=DAMAGE)
def test_damaged_checkpoints_are_refused(damage, message, tmp_path):
    path = export_orbax(make_params(), tmp_path / "weights")
    damage(path)
    with pytest.raises(InputError, match=message) as error:
        import_orbax(path, like=make_params())
    assert "\n" not in str(error.value)


def test_checkpoints_by_others(tmp_path):
    import orbax.checkpoint as ocp

    path, params = tmp_path / "weights", make_params()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, params)
    assert_same(import_orbax(path, like=params), params)
    garble("_METADATA")(path)
    with pytest.raises(InputError, match="is damaged"):
        import_orbax(path)


def test_nothing_is_left_when_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), new_file(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    for _ in range(2):
        with (
            pytest.raises(RuntimeError),
            new_folder(tmp_path / "folder", may_replace=lambda _: True) as temporary,
        ):
            temporary.mkdir()
            (temporary / "half").write_text("half")
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_old_folder_stays_when_writing_fails(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    with (
        pytest.raises(InputError, match="cannot write .*folder: No such file"),
        new_folder(tmp_path / "folder", may_replace=lambda _: True),
    ):
        pass  # nothing was written, so nothing can take the old one's place
    assert (tmp_path / "folder" / "old").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


# -- StableHLO -------------------------------------------------------------------------


def apply(params, x):
    return jax.nn.relu(x @ params["w"] + params["b"][None]) @ params["v"]


MODEL = {
    "w": jnp.arange(12.0).reshape(3, 4) - 5,
    "b": jnp.ones(4),
    "v": jnp.arange(8.0).reshape(4, 2),
}
SPEC = jax.ShapeDtypeStruct((1, 3), jnp.float32)


def images(size):
    return jnp.sin(jnp.arange(3.0 * size)).reshape(size, 3)


def test_any_batch_size(tmp_path):
    path = export_stablehlo(apply, MODEL, [SPEC], tmp_path / "model.stablehlo")
    loaded = load_stablehlo(path)
    for size in (1, 2, 7):
        x = images(size)
        np.testing.assert_allclose(loaded(x), apply(MODEL, x), rtol=1e-6)
    manifest = json.loads((tmp_path / "model.stablehlo.json").read_text())
    assert manifest == read_manifest(path)
    assert manifest["inputs"] == [{"path": "0", "shape": ["b", 3], "dtype": "float32"}]
    assert manifest["outputs"] == [{"path": "", "shape": ["b", 2], "dtype": "float32"}]
    assert manifest["batch"] == "symbolic"
    assert manifest["platforms"] == ["cpu"]


def test_one_batch_size(tmp_path):
    x = images(4)
    path = export_stablehlo(apply, MODEL, [x], tmp_path / "model", batch="fixed")
    np.testing.assert_allclose(load_stablehlo(path)(x), apply(MODEL, x), rtol=1e-6)
    assert read_manifest(path)["inputs"][0]["shape"] == [4, 3]
    with pytest.raises(ValueError, match="Shape mismatch"):
        load_stablehlo(path)(images(5))


def test_a_batch_of_any_size_of_flattened_tokens(key, tmp_path):
    """Heads are split from the features, whatever the batch is flattened with."""
    names = dict(zip("qkvo", jax.random.split(key, 4), strict=True))
    params = {n: jax.random.normal(k, (6, 8)) for n, k in names.items()}
    params["o"] = params["o"].T

    def attend(params, x):
        flat = x.reshape(-1, 6)
        q, k, v = ((flat @ params[n]).reshape(x.shape[0], 4, 2, 4) for n in "qkv")
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k))
        heads = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return (heads.reshape(-1, 8) @ params["o"]).reshape(x.shape)

    x = jax.random.normal(key, (3, 4, 6))
    players = gp.find_players(attend, params, x)
    mask = np.arange(players.num_players) % 5 != 0
    small = gp.compact(players, params, mask, inputs=(x,), min_units=0)
    path = export_stablehlo(small.apply, small.params, [x], tmp_path / "model")
    one = load_stablehlo(path)(x[:1])
    np.testing.assert_allclose(one, small.apply(small.params, x[:1]), atol=1e-5)


def test_several_inputs_and_outputs(tmp_path):
    def both(params, inputs, scale):
        y = apply(params, inputs["x"]) * scale
        return {"y": y, "parts": [y.sum(-1), (inputs["x"],)]}

    inputs = [{"x": SPEC}, 2.0]
    path = export_stablehlo(both, MODEL, inputs, tmp_path / "model")
    loaded = load_stablehlo(path)
    actual = loaded({"x": images(3)}, 2.0)
    expected = both(MODEL, {"x": images(3)}, 2.0)
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-6), actual, expected
    )
    manifest = read_manifest(path)
    assert [spec["path"] for spec in manifest["inputs"]] == ["0/x", "1"]
    assert [spec["shape"] for spec in manifest["outputs"]] == [
        ["b"],
        ["b", 3],
        ["b", 2],
    ]


def test_a_loaded_model_can_be_traced(tmp_path):
    path = export_stablehlo(apply, MODEL, [SPEC], tmp_path / "model")
    loaded = load_stablehlo(path)
    rows = jax.jit(lambda x: loaded(x).sum(-1))(images(3))
    np.testing.assert_allclose(rows, apply(MODEL, images(3)).sum(-1), rtol=1e-6)


def test_several_platforms(tmp_path):
    path = tmp_path / "model"
    export_stablehlo(apply, MODEL, [SPEC], path, platforms=("cpu", "cuda"))
    assert read_manifest(path)["platforms"] == ["cpu", "cuda"]
    assert load_stablehlo(path)(images(2)).shape == (2, 2)


def test_what_is_exported_on_an_accelerator_runs_on_a_laptop(tmp_path, monkeypatch):
    path = tmp_path / "m.stablehlo"
    with monkeypatch.context() as patch:
        patch.setattr(jax.export, "default_export_platform", lambda: "cuda")
        export_stablehlo(apply, MODEL, [SPEC], path)
    assert read_manifest(path)["platforms"] == ["cuda", "cpu"]
    x = jnp.ones((2, *SPEC.shape[1:]), SPEC.dtype)
    assert jnp.allclose(load_stablehlo(path)(x), apply(MODEL, x), atol=1e-5)


def test_what_runs_on_one_platform_alone_is_exported_for_it(tmp_path, monkeypatch):
    def alone(run, *, platforms=None):
        if platforms is not None and len(platforms) > 1:
            raise NotImplementedError("no rule for cuda")
        return whole(run, platforms=platforms)

    whole = jax.export.export
    monkeypatch.setattr(jax.export, "export", alone)
    with monkeypatch.context() as patch:
        patch.setattr(jax.export, "default_export_platform", lambda: "cuda")
        path = export_stablehlo(apply, MODEL, [SPEC], tmp_path / "m.stablehlo")
    assert read_manifest(path)["platforms"] == ["cuda"]
    x = jnp.ones((2, *SPEC.shape[1:]), SPEC.dtype)
    with pytest.raises(InputError, match="exported for cuda, and JAX runs on cpu here"):
        load_stablehlo(path)(x)


def test_a_model_of_one_batch_size_says_so(tmp_path):
    def stuck(params, x):
        return jnp.stack(list(x)) @ params["w"]

    with pytest.raises(InputError, match="use batch='fixed'") as error:
        export_stablehlo(stuck, MODEL, [SPEC], tmp_path / "model")
    assert "\n" not in str(error.value)
    path = export_stablehlo(stuck, MODEL, [SPEC], tmp_path / "model", batch="fixed")
    assert load_stablehlo(path)(images(1)).shape == (1, 4)


def test_outputs_of_a_class_of_its_own_are_refused(tmp_path):
    with pytest.raises(InputError, match="only tuples, lists and dictionaries"):
        export_stablehlo(
            lambda p, x: Stack([apply(p, x)], "a"), MODEL, [SPEC], tmp_path / "model"
        )
    assert list(tmp_path.iterdir()) == []


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match="symbolic, fixed, auto, got 'any'"):
        export_stablehlo(apply, MODEL, [SPEC], tmp_path / "model", batch="any")
    shapes = jax.eval_shape(lambda: MODEL)
    with pytest.raises(InputError, match="got only their shapes"):
        export_stablehlo(apply, shapes, [SPEC], tmp_path / "model")


def test_damaged_models_are_refused(tmp_path):
    path = export_stablehlo(apply, MODEL, [SPEC], tmp_path / "model")
    whole = path.read_bytes()
    for damaged in (b"", whole[:-5], whole[:100] + b"\0" * 8 + whole[108:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged: its checksum"):
            load_stablehlo(path)
    path.unlink()
    with pytest.raises(InputError, match="no StableHLO model at"):
        load_stablehlo(path)


@pytest.mark.parametrize(
    "content,message",
    [
        ("{", "not JSON"),
        ("[]", 'no "format"'),
        ('{"format": "else"}', 'no "format"'),
        ('{"format": "gamepruning stablehlo", "version": 9}', "version 1, got 9"),
        ('{"format": "gamepruning stablehlo", "version": 1}', "no checksum"),
        (None, "no manifest at"),
    ],
)
def test_damaged_manifests_are_refused(content, message, tmp_path):
    path = export_stablehlo(apply, MODEL, [SPEC], tmp_path / "model")
    manifest = tmp_path / "model.json"
    manifest.unlink()
    if content is not None:
        manifest.write_text(content)
    with pytest.raises(InputError, match=message):
        load_stablehlo(path)


# -- everything ------------------------------------------------------------------------


@pytest.fixture
def small():
    shapes = {path: leaf.shape for path, leaf in MODEL.items()}
    families = (KeptFamily("w", 4, np.arange(4)),)
    return CompactModel(
        apply=apply,
        params=MODEL,
        opt_state=None,
        plan=Plan(model=shapes, kept={}, input_kept={}, families=families),
        report=make_report((apply, (MODEL, SPEC)), (apply, (MODEL, SPEC)), **NOTHING),
        input_kept={},
        mask=np.ones(4, bool),
    )


def test_a_model_with_everything(small, tmp_path):
    paths = export_model(small, tmp_path / "small")
    assert_same(import_safetensors(paths["safetensors"], like=MODEL), MODEL)
    assert_same(import_orbax(paths["orbax"], like=MODEL), MODEL)
    outputs = load_stablehlo(paths["stablehlo"])(images(2))
    np.testing.assert_allclose(outputs, apply(MODEL, images(2)), rtol=1e-6)
    assert Plan.load(paths["plan"]) == small.plan
    assert sorted(p.name for p in (tmp_path / "small").iterdir()) == [
        "export.json",
        "model.safetensors",
        "model.stablehlo",
        "model.stablehlo.json",
        "orbax",
        "plan.json",
    ]


def test_some_formats_replace_an_older_export(small, tmp_path):
    export_model(small, tmp_path / "small", formats=("safetensors",))
    paths = export_model(small, tmp_path / "small", formats=("orbax",))
    assert list(paths) == ["plan", "orbax"]
    assert sorted(p.name for p in (tmp_path / "small").iterdir()) == [
        "export.json",
        "orbax",
        "plan.json",
    ]


def test_nothing_half_written(small, tmp_path):
    small = small._replace(
        params=MODEL | {"w": jnp.ones((3, 0))},
        report=pickle.loads(pickle.dumps(small.report)),  # which leaves the models out
    )
    with pytest.raises(InputError, match="cannot be exported"):
        export_model(small, tmp_path / "small", inputs=[SPEC])
    with pytest.raises(InputError, match="formats: expected .*, got 'onnx'"):
        export_model(small, tmp_path / "small", formats=("onnx",))
    with pytest.raises(InputError, match="stablehlo needs example inputs"):
        export_model(small, tmp_path / "small")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        export_model(small, tmp_path, formats=("safetensors",))
