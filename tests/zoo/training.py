"""Whole training steps: the outputs are the next parameters."""

import jax
import jax.numpy as jnp
import optax
from jax.nn import relu

from tests.zoo.attention import TRANSFORMER, transformer_linen
from tests.zoo.case import Draw, Model, case, dense, linen
from tests.zoo.convolution import LENET, STAGES, ResNet, lenet5_linen
from tests.zoo.dense import embedding_masked_mean
from tests.zoo.sequence import lstm_then_gru


def descend(model: Model, rate: float = 0.5) -> Model:
    """params - rate dL/dparams; the loss wants class 0 always.

    Nobody asks for the scores of other classes, so they can leave its softmax. Where
    labels are inputs, as in a real loss, classes stay.
    """

    def step(params, *inputs):
        def loss(params):
            return -jax.nn.log_softmax(model.apply(params, *inputs))[..., 0].mean()

        grads = jax.grad(loss)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, grads)

    options = {**model.options, "outputs_like": lambda params: params}
    return Model(step, model.params, model.inputs, options)


@case((*LENET, 9), batched=(), refuses=None, heavy=True)
def train_lenet(draw: Draw) -> Model:
    return descend(lenet5_linen(draw))


@case((*STAGES * 2, 9), batched=(), refuses=None, heavy=True)
def train_resnet(draw: Draw) -> Model:
    """With one block in a stage: 4 residual streams and 4 insides, 240 players, and
    9 classes."""
    return descend(linen(draw, ResNet(blocks=1), draw.normal(2, 16, 16, 3)))


@case((*TRANSFORMER, 4), batched=(), refuses=None, heavy=True)
def train_transformer(draw: Draw) -> Model:
    return descend(transformer_linen(draw))


@case((16, 12, 3), batched=(), refuses=None, heavy=True)
def train_lstm(draw: Draw) -> Model:
    return descend(lstm_then_gru(draw))


@case((24, 16, 5), batched=(), refuses=None, frozen=(("embed", 0),))
def embedding_gradient(draw: Draw) -> Model:
    """The gradient of a look-up is a scatter-add into the table."""
    return descend(embedding_masked_mean(draw))


@case((14, 9), batched=(), refuses=None)
def train_with_adam(draw: Draw) -> Model:
    """Optimizer state and parameters are one tree, in and out; a loss besides."""
    tx = optax.adam(1e-2, eps_root=1e-8)  # or its slope is infinite at 0

    def forward(params, x):
        return dense(params[2], relu(dense(params[1], jnp.tanh(dense(params[0], x)))))

    def step(state, x, y):
        def loss(params):
            return ((forward(params, x) - y) ** 2).mean()

        value, grads = jax.value_and_grad(loss)(state["params"])
        updates, opt_state = tx.update(grads, state["opt_state"], state["params"])
        return {
            "loss": value,
            "state": {
                "params": optax.apply_updates(state["params"], updates),
                "opt_state": opt_state,
            },
        }

    params = draw.dense(6, 14, 9, 2)
    state = {"params": params, "opt_state": tx.init(params)}
    options = {"outputs_like": lambda state: {"loss": None, "state": state}}
    return Model(step, state, (draw.normal(5, 6), draw.normal(5, 2)), options)


@case((6, 8), batched=(), refuses=None)
def batch_norm_in_training(draw: Draw) -> Model:
    """Statistics of the batch are taken, used, and returned beside the outputs."""
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for channels in (6, 8):
                x = nn.Conv(channels, (3, 3))(x)
                x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
            return nn.Dense(3)(x.mean((1, 2)))

    x = draw.normal(4, 6, 6, 2)
    shapes = jax.eval_shape(Net().init, draw.key, x)

    def apply(variables, x):
        return Net().apply(variables, x, mutable="batch_stats")

    def like(variables):
        return None, {"batch_stats": variables["batch_stats"]}

    return Model(apply, draw.like(shapes), (x,), {"outputs_like": like})


@case((12, 10, 1), batched=(), refuses=None)
def saliency(draw: Draw) -> Model:
    """The gradient of score 0 with respect to the input is the output. The second of
    the two scores is a player on its own: its column only ever meets zeros."""

    def apply(params, x):
        def score(x):
            hidden = jnp.tanh(dense(params[1], jnp.sin(dense(params[0], x))))
            return dense(params[2], hidden)[:, 0].sum()

        return jax.grad(score)(x)

    return Model(apply, draw.dense(6, 12, 10, 2), (draw.normal(4, 6),))


@case((12, 10), batched=(), refuses=None)
def jacobian_product(draw: Draw) -> Model:
    """Forward-mode derivative along a direction, as in physics-informed networks."""

    def apply(params, x, direction):
        def network(x):
            hidden = jnp.tanh(dense(params[1], jax.nn.softplus(dense(params[0], x))))
            return dense(params[2], hidden)

        return jax.jvp(network, (x,), (direction,))

    inputs = (draw.normal(4, 6), draw.normal(4, 6))
    return Model(apply, draw.dense(6, 12, 10, 2), inputs)
