"""The networks of docs/guide/own-network.md train, and bad ones are refused at once."""

import io
import re
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from gamepruning.compaction.export import export_safetensors
from gamepruning.files.python import told_own
from gamepruning.trees.paths import named_leaves
from gamepruning.types import InputError
from gamepruning.workbench.jobs.prune import run_prune
from gamepruning.workbench.jobs.run import prepare
from gamepruning.workbench.settings.parts import (
    DataSettings,
    NetworkSettings,
    TrainingSettings,
)
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.loop import Split, make_train_step
from gamepruning.workbench.training.task import make_task

PAGE = Path(__file__).parents[3] / "docs/guide/own-network.md"


def task_of(path, **options):
    network = NetworkSettings(module=f"{path}:make")
    key = jax.random.key(0)
    with jax.numpy_rank_promotion("allow"):
        return make_task("digits", DataSettings(), network, seed=0, key=key, **options)


def page_networks():
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = re.findall(
        r"^## ([^\n]+)\n.*?```python\n(.*?)^```", text, flags=re.M | re.S
    )
    return [pytest.param(code, id=name.replace(" ", "-")) for name, code in found]


@pytest.mark.parametrize("code", page_networks())
def test_a_template_trains_and_its_statistics_move(code, tmp_path):
    """A step of training changes weights, and statistics where there are any."""
    import optax

    (tmp_path / "net.py").write_text(code)
    task = task_of(tmp_path / "net.py")
    assert task.players.num_players >= 32 and not task.notes
    init, step = make_train_step(task.network, task.loss, optax.sgd(0.1))
    rows = jax.tree.map(lambda leaf: jnp.asarray(leaf[:32]), task.dataset.train)
    with jax.numpy_rank_promotion("allow"):
        state, info = jax.jit(step)(init(jax.random.key(1), task.params), Split(*rows))
    assert np.isfinite(info.loss)
    old, new = named_leaves(task.params), named_leaves(state.params)
    moved = {name for name in old if not np.array_equal(old[name], new[name])}
    if "BatchNorm" in code:
        statistics = {n for n in task.network.state if "key" not in n}
        assert len(statistics) >= 2 and statistics <= moved | {
            n for n in statistics if "count" in n
        }
    if "mean_recall" in code:
        assert task.metric_name == "mean recall"
    assert task.network.is_plain == ("train_apply" not in code)
    assert moved - task.network.state


BAD = {
    "batch norm that looks at the batch": (
        "apply = lambda p, x: (x - x.mean(0)) @ p['w'] @ p['v']",
        "outputs of an example change by .* with the other examples there",
    ),
    "dropout with a key of its own": (
        "apply = lambda p, x: x @ p['w'] * jax.random.bernoulli(key, 0.5, (len(x), 8)) "
        "@ p['v']",
        "outputs of an example change by .* with its place in the batch",
    ),
    "dropout that is on": (
        "import itertools; count = itertools.count()\n"
        "apply = lambda p, x: x @ p['w'] @ p['v'] + next(count)",
        "other outputs when it is called again",
    ),
    "params changed in place": (
        "def apply(p, x):\n    p['w'] = p['w'] + 1.0\n    return x @ p['w'] @ p['v']",
        "changes params in place",
    ),
    "statistics that nothing updates": (
        "params['bn'] = {'mean': jnp.zeros(8), 'var': jnp.ones(8)}\n"
        "def apply(p, x):\n"
        "    h = (x @ p['w'] - p['bn']['mean'][None]) / p['bn']['var'][None]\n"
        "    return h @ p['v']",
        "batch statistics .*bn/mean, bn/var.* return train_apply",
    ),
    "statistics that training makes and drops": (
        "params['bn'] = {'mean': jnp.zeros(8), 'var': jnp.ones(8)}\n"
        "def apply(p, x):\n"
        "    h = (x @ p['w'] - p['bn']['mean'][None]) / p['bn']['var'][None]\n"
        "    return h @ p['v']\n"
        "more = {'train_apply': lambda p, x, key: (apply(p, x), p)}",
        "it returns the batch statistics .bn/mean, bn/var, .* as they were, 0 and 1",
    ),
    "statistics that training does not use": (
        "params['bn'] = {'mean': jnp.ones(8), 'var': 2 * jnp.ones(8)}\n"
        "def apply(p, x):\n"
        "    h = (x @ p['w'] - p['bn']['mean'][None]) / p['bn']['var'][None]\n"
        "    return h @ p['v']\n"
        "more = {'train_apply': lambda p, x, key: (x @ p['w'] @ p['v'], p)}",
        "train_apply of .* does not use 'bn/mean', whose axis 0 gets smaller",
    ),
    "a loss of each example": (
        "more = {'loss': lambda outputs, labels: outputs.sum(-1)}",
        "expected the loss of net.py:make to return one number",
    ),
    "a loss without a gradient": (
        "more = {'loss': lambda o, labels: (o.argmax(-1) != labels).mean()}",
        "the loss of net.py:make has no gradient",
    ),
    "a metric that is not a number": (
        "more = {'metric': lambda o, labels: o.mean() * jnp.nan}",
        "the metric of net.py:make is nan on the first 1,077 training examples",
    ),
    "a metric that fails": (
        "more = {'metric': lambda outputs, labels: outputs @ outputs}",
        "metric.outputs, labels. failed",
    ),
    "a name that nobody knows": (
        "more = {'los': None}",
        "returned 'los': expected some of",
    ),
    "training another network": (
        "train = lambda p, x, key: (x @ p['w'] @ p['u'] @ p['v'], p)\n"
        "params['u'] = jnp.eye(8); more = {'train_apply': train}",
        "expected one network",
    ),
    "params that are not arrays": (
        "import math; params['act'] = math.sin",
        "params of arrays, but 'act' is builtin_function_or_method: leave it to apply",
    ),
    "keys of several types": ("params[0] = 1.0", "got 'v' .str. and 0 .int."),
    "weights that are NaN": (
        "params['w'] = params['w'] * jnp.nan",
        "gives NaN or infinity .* .parameter 'w' holds NaN",
    ),
    "a module in the place of apply": (
        "import equinox as eqx; apply = eqx.nn.Linear(64, 10, key=key)",
        "a function .params, .inputs. -> outputs, got Linear: lambda params, x",
    ),
    "outputs in a dictionary": (
        "apply = lambda p, x: {'y': x @ p['w'] @ p['v']}",
        "outputs of shape .8, 10. for digits, got dict",
    ),
    "a start of another shape": (
        "more = {'init': lambda key: {**params, 'w': jnp.ones((64, 9))}}",
        r"init.key.: expected 'w' of shape .64, 8. .* got .64, 9.",
    ),
    "a start that takes no key": (
        "more = {'init': lambda: params}",
        "init.key. failed: TypeError",
    ),
    "training in other numbers": (
        "more = {'train_apply': lambda p, x, key: (apply(p, x), "
        "jax.tree.map(jnp.float16, p))}",
        "expected .outputs, params., params of the shapes and types",
    ),
    "a file of another folder": (
        "more = {'init': lambda key: open('weights.npy')}",
        "FileNotFoundError.*; Path.__file__..parent is the folder of the module",
    ),
    "training that returns no params": (
        "more = {'train_apply': lambda p, x, key: apply(p, x)}",
        "train_apply.*: expected .outputs, params.",
    ),
}

FACTORY = """
import jax, jax.numpy as jnp
key = jax.random.key(0)
params = {"w": jax.random.normal(key, (64, 8)), "v": jax.random.normal(key, (8, 10))}
apply, more = (lambda p, x: x @ p["w"] @ p["v"]), {}
%s
def make():
    return {"apply": apply, "params": params, "inputs": jnp.ones((1, 64)), **more}
"""


@pytest.mark.parametrize("name", BAD)
def test_a_network_that_cannot_be_pruned_is_refused_at_once(name, tmp_path):
    code, message = BAD[name]
    (tmp_path / "net.py").write_text(FACTORY % textwrap.dedent(code))
    with pytest.raises(InputError, match=message):
        task_of(tmp_path / "net.py")


def test_probabilities_are_told(tmp_path):
    code = "apply = lambda p, x: jax.nn.softmax(x @ p['w'] @ p['v'])"
    (tmp_path / "net.py").write_text(FACTORY % code)
    assert "returns probabilities" in task_of(tmp_path / "net.py").notes[0]


def test_a_module_with_neighbours_and_late_annotations(tmp_path):
    """What a factory imports lies beside its file; annotations are text."""
    (tmp_path / "beside_net.py").write_text("WIDTH = 8")
    late = "    from beside_net import WIDTH\n    assert Shape(WIDTH).width\n    return"
    code = "import dataclasses\n@dataclasses.dataclass\nclass Shape:\n    width: int\n"
    text = "from __future__ import annotations" + (FACTORY % code)
    (tmp_path / "net.py").write_text(text.replace("    return", late))
    assert task_of(tmp_path / "net.py").players.num_players == 8


def test_statistics_that_were_trained_elsewhere_stay_with_a_note(tmp_path):
    code = BAD["statistics that nothing updates"][0]
    (tmp_path / "net.py").write_text(FACTORY % code.replace("zeros(8)", "ones(8)"))
    task = task_of(tmp_path / "net.py")
    assert "stay as they are" in task.notes[0]
    assert task.network.state == {"bn/mean", "bn/var"} and not task.network.is_plain


def test_one_batch_size_only_is_told_before_training(tmp_path):
    code = "apply = lambda p, x: x.reshape(len(x), -1) @ p['w'] @ p['v']"
    (tmp_path / "net.py").write_text(FACTORY % code)
    (note,) = task_of(tmp_path / "net.py").notes
    assert "cannot be exported for any batch size" in note and "x.shape[0]" in note


RAISED_IN_USE = {
    "loss": (
        "def loss(outputs, labels):\n"
        "    if len(labels) > 8:\n        raise KeyError('temperature')\n"
        "    return outputs.mean()\nmore = {'loss': loss}",
        r"failed: KeyError: 'temperature' \(net.py, line 8\)",
    ),
    "metric": (
        "def metric(outputs, labels):\n    return helper(outputs, len(labels))\n"
        "def helper(outputs, n):\n    assert n <= 8, 'too many'\n"
        "    return outputs.mean()\nmore = {'metric': metric}",
        r"failed: AssertionError: too many \(net.py, line 9\)",
    ),
    "a callback in the loss": (
        "calls = []\ndef check(value):\n    calls.append(0)\n"
        "    if len(calls) > 3:\n        raise ValueError('too large')\n"
        "def loss(outputs, labels):\n    jax.debug.callback(check, outputs.mean())\n"
        "    return outputs.mean()\nmore = {'loss': loss}",
        r"failed: ValueError: too large \(net.py, line 10\)",
    ),
    "init": (
        "more = {'init': lambda key: params['nothing']}",
        r"failed: KeyError: 'nothing' \(net.py, line 6\)",
    ),
}


@pytest.mark.parametrize("name", RAISED_IN_USE)
def test_an_error_of_the_users_code_in_training_names_its_line(name, tmp_path):
    """What was trained until then stays; the one line says how to resume."""
    code, message = RAISED_IN_USE[name]
    (tmp_path / "net.py").write_text(FACTORY % code)
    settings = PruneSettings.of(
        module=f"{tmp_path}/net.py:make", method="magnitude", keep="0.5", epochs=1,
        fine_tune=0, rivals=False,
    )  # fmt: skip
    with (
        jax.numpy_rank_promotion("allow"),
        pytest.raises(InputError, match=message) as caught,
    ):
        run_prune(settings, out=tmp_path / "run", console=Console(file=io.StringIO()))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_error_of_the_package_is_not_the_users(tmp_path):
    (tmp_path / "net.py").write_text("")
    for spec in (f"{tmp_path}/net.py:make", None):
        with pytest.raises(KeyError), told_own(spec):
            {}["bug"]


@pytest.mark.parametrize("shape", ["64", "8, 8, 1"])
def test_crops_are_for_networks_that_read_images(shape, tmp_path):
    code = f"""
        import jax.numpy as jnp

        def make():
            params = {{"a": jnp.ones((64, 6)) / 64, "b": jnp.eye(6, 10)}}
            flat = lambda x: x.reshape(x.shape[0], -1)
            apply = lambda p, x: jnp.tanh(flat(x) @ p["a"]) @ p["b"]
            return apply, params, jnp.ones((1, {shape}))
    """
    (tmp_path / "net.py").write_text(textwrap.dedent(code))
    judged = TrainingSettings(augment=True)
    if shape == "64":
        with pytest.raises(InputError, match="--augment is for images, net.py:make re"):
            task_of(tmp_path / "net.py", judged=judged)
    else:
        assert task_of(tmp_path / "net.py", judged=judged).players.num_players == 6


def test_weights_under_names_like_pytorchs_are_taken_as_they_are(tmp_path):
    code = """
        import jax
        import jax.numpy as jnp

        def make():
            one, two = jax.random.split(jax.random.key(0))
            params = {"a.weight": jax.random.normal(one, (64, 64)) / 8}
            params["b.weight"] = jax.random.normal(two, (64, 10)) / 8
            apply = lambda p, x: jnp.tanh(x @ p["a.weight"]) @ p["b.weight"]
            return apply, params, jnp.ones((1, 64))
    """
    (tmp_path / "net.py").write_text(textwrap.dedent(code))
    wanted = task_of(tmp_path / "net.py").params
    path = export_safetensors(wanted, tmp_path / "own.safetensors")
    settings = PruneSettings.of(module=f"{tmp_path / 'net.py'}:make", load=path)
    with jax.numpy_rank_promotion("allow"):
        task = prepare(settings, 0, load=path).task
    assert jax.tree.all(jax.tree.map(jnp.array_equal, task.params, wanted))
    assert "ImageNet" not in str(task.dataset.notes)
    assert task.dataset.train.inputs.min() >= 0  # in [0, 1], as in training
