"""Networks small enough to work through by hand."""

import jax

from gamepruning.players import Players, find_players


def apply_mlp(params: dict, inputs: jax.Array) -> jax.Array:
    """Layers dense0, dense1, ... with relu between them."""
    *hidden, last = (params[name] for name in sorted(params))
    for layer in hidden:
        inputs = jax.nn.relu(inputs @ layer["kernel"] + layer["bias"][None])
    return inputs @ last["kernel"] + last["bias"][None]


def make_mlp(
    key: jax.Array, widths: tuple[int, ...] = (5, 4, 3, 2), num_examples: int = 8
) -> tuple[Players, dict, jax.Array, jax.Array]:
    """A random MLP with its players, inputs and class labels."""
    input_key, label_key, *layer_keys = jax.random.split(key, len(widths) + 1)
    params = {}
    for number, layer_key in enumerate(layer_keys):
        fan_in, fan_out = widths[number : number + 2]
        kernel_key, bias_key = jax.random.split(layer_key)
        params[f"dense{number}"] = {
            "kernel": jax.random.normal(kernel_key, (fan_in, fan_out)) / fan_in**0.5,
            "bias": 0.1 * jax.random.normal(bias_key, (fan_out,)),
        }
    inputs = jax.random.normal(input_key, (num_examples, widths[0]))
    labels = jax.random.randint(label_key, (num_examples,), 0, widths[-1])
    return find_players(apply_mlp, params, inputs), params, inputs, labels
