"""Functions that users bring and that give no result when called are told so."""

import jax.numpy as jnp
import pytest

from gamepruning.compaction.user_network import load_user_network
from gamepruning.errors import InputError

HEAD = """
import jax.numpy as jnp
import flax.linen as nn

def made(apply=lambda params, x: x @ params, params=None, inputs=None, **more):
    params = jnp.ones((4, 3)) if params is None else params
    inputs = jnp.ones((2, 4)) if inputs is None else inputs
    return {"apply": apply, "params": params, "inputs": inputs, **more}

class Net:
    pass

"""


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "async def make():\n return made()",
            "a coroutine: write def instead",
        ),
        ("def make():\n yield made()", "a generator: return the result instead"),
        ("async def make():\n yield made()", "a generator"),
        ("def make():\n made()", "got nothing \\(no return\\)"),
        ("def make(width, *, depth):\n return made()", "needs width, depth: give them"),
        ("make = Net", "takes nothing and returns .*, got the class Net"),
        ("make = Net()", "no function 'make': make is Net"),
        ("make = nn.Dense(3)", "got a module, Dense"),
        ("def make():\n return made(Net)", "expected apply .* got the class Net"),
        ("def make():\n return made(3)", "expected apply as a function, got int 3"),
        (
            "def make():\n return made(params=Net)",
            "params of arrays, got a func",
        ),
        (
            "def make():\n return made(inputs=3) | {'inputs': None}",
            "such as x.:2., got None",
        ),
        (
            "async def loss(outputs, labels):\n return 0.0\n"
            "def make():\n return made(loss=loss)",
            "expected loss as a plain function, got a coroutine",
        ),
    ],
)
def test_what_gives_no_network_when_called_is_one_clear_line(code, told, tmp_path):
    (tmp_path / "net.py").write_text(HEAD + code)
    with pytest.raises(InputError, match=told) as caught:
        load_user_network(f"{tmp_path / 'net.py'}:make")
    assert "\n" not in str(caught.value)


def test_functions_of_any_other_kind_are_called(tmp_path):
    lines = [
        "import functools",
        "def one(width=3, *rest, **more):\n    return made()",
        "two = functools.partial(made)",
        "three = lambda: made()",
    ]
    (tmp_path / "net.py").write_text(HEAD + "\n".join(lines))
    for name in ("one", "two", "three"):
        network = load_user_network(f"{tmp_path / 'net.py'}:{name}")
        assert jnp.shape(network.params) == (4, 3)
