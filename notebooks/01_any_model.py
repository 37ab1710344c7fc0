# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Any model: find the players, remove some, keep a proven-equal smaller model
#
# gamepruning reads a model by tracing it. Nothing is declared layer by layer: a
# function `apply(params, *inputs)` is enough. This notebook takes two networks that a
# user might bring along, a residual network in Flax linen and an attention network in
# Flax nnx. It
#
# 1. finds the *players*: the units that can leave, and what leaves with them;
# 2. scores them and selects who stays;
# 3. makes the network physically smaller and checks it against the full one;
# 4. exports it.

# %%
import tempfile
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

import gamepruning as gp
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.report import theme

plt.style.use(["gamepruning.workbench.report.figures", {"figure.dpi": 90}])
digits = load_dataset("digits", seed=0)
train, validation, test = (
    (jnp.asarray(part.inputs).reshape(-1, 8, 8, 1), jnp.asarray(part.labels))
    for part in (digits.train, digits.validation, digits.test)
)
train[0].shape, validation[0].shape, test[0].shape

# %% [markdown]
# ## A residual network in linen
#
# The network has batch norms, a shortcut and a pooled head. The shortcut ties the
# channels of three convolutions together: they can only leave together.


# %%
class Residual(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        def norm(x):
            return nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)

        x = nn.relu(norm(nn.Conv(16, (3, 3))(x)))
        y = nn.relu(norm(nn.Conv(32, (3, 3))(x)))
        x = nn.relu(x + norm(nn.Conv(16, (3, 3))(y)))
        x = nn.max_pool(x, (2, 2), (2, 2)).reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(10)(x)


module = Residual()
variables = module.init(jax.random.key(0), train[0][:1])


def accuracy(apply, params, part):
    return float(gp.accuracy(jax.jit(apply)(params, part[0]), part[1]))


# %%
def fit(key, apply_train, params, tx, epochs=8, batch_size=64):
    """Mini-batch training; apply_train returns (outputs, params with new stats)."""
    state = tx.init(params)

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            outputs, fresh = apply_train(params, x)
            return gp.cross_entropy(outputs, y), fresh

        grads, fresh = jax.grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(fresh, updates), state

    for epoch_key in jax.random.split(key, epochs):
        order = jax.random.permutation(epoch_key, len(train[1]))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            rows = order[start : start + batch_size]
            params, state = step(params, state, train[0][rows], train[1][rows])
    return params, state


def train_residual(variables, x):
    outputs, fresh = module.apply(variables, x, train=True, mutable=["batch_stats"])
    return outputs, {**variables, **fresh}


# Batch statistics are no weights: their gradient is zero; `fresh` updates them.
variables, _ = fit(jax.random.key(1), train_residual, variables, optax.adam(2e-3))
print(f"dense: test accuracy {accuracy(module.apply, variables, test):.3f}")

# %% [markdown]
# ## Who plays?

# %%
apply, params = gp.from_linen(module, variables)
players = gp.find_players(apply, params, validation[0][:8])
print(players.explain())

# %% [markdown]
# Because of the shortcut, `Conv_0` is one family for the stem, the second convolution
# of the block, their batch norms and everything that reads them. Everything that stays
# has its reason on record.
#
# Gates switch players off without changing a shape. A gate multiplies the activation
# where it is read, so one set of weights serves many coalitions at once:

# %%
coalitions = jax.random.bernoulli(jax.random.key(2), 0.8, (64, players.num_players))


@jax.jit
def coalition_accuracy(masks):
    outputs = jax.vmap(lambda m: players.gated(params, m, validation[0]))(masks)
    return (outputs.argmax(-1) == validation[1][None]).mean(-1)


values = coalition_accuracy(coalitions)
figure, axes = plt.subplots(figsize=(7, 2.6))
axes.hist(np.asarray(values), bins=16)
axes.set(xlabel="validation accuracy", ylabel="coalitions", yticks=range(0, 13, 4))
axes.set_title("64 random coalitions, four players in five")
plt.show()

# %% [markdown]
# ## Who stays?
#
# Every scorer returns `Scores`: one number per player, and higher means keep. The
# figure compares Taylor scores from the training data, magnitude, and a random order at
# several sizes. The choice is made on validation data.

# %%
scores = {
    "taylor": gp.taylor_scores(players, params, gp.cross_entropy, *train),
    "magnitude": gp.magnitude_scores(players, params, ord=2),
    "random": gp.baselines.random_scores(jax.random.key(3), players),
}
shares = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
masks = {
    name: gp.selection.masks_at(score, shares, players=players)
    for name, score in scores.items()
}
curves = {name: np.asarray(coalition_accuracy(kept)) for name, kept in masks.items()}
figure, axes = plt.subplots(figsize=(8, 3))
for name, curve in curves.items():
    axes.plot(shares, curve, label=name, **theme.look_of(name))
axes.set(xlabel="share of players kept", ylabel="validation accuracy")
axes.set_title("Right after removal, without any fine-tuning")
axes.invert_xaxis()
theme.put_legend_outside(axes)
plt.show()

# %% [markdown]
# Who keeps the network alive depends on where the cuts fall. The same masks, layer by
# layer:

# %%
figure, panels = plt.subplots(1, 3, figsize=(9, 2.8), sharey=True)
for axes, (name, kept) in zip(panels, masks.items(), strict=True):
    for family in players.families:
        left = kept[:, family.start : family.stop].mean(axis=1)
        axes.plot(shares, left, marker="o", ms=4, label=f"{family.name}: {family.size}")
    axes.set(title=name, xlabel="share of players kept", ylim=(0, 1.05))
    axes.invert_xaxis()
panels[0].set_ylabel("share of the layer kept")
theme.put_legend_outside(panels[-1])
plt.show()

# %%
best = max(curves, key=lambda name: curves[name][shares.index(0.5)])
half = players.num_players // 2
mask = gp.top_n(scores[best], half, players=players, round_to=4)
small = gp.compact(players, params, mask, inputs=(validation[0],))
print(f"the best half is that of {best}")
print(small.report)

# %%
figure, axes = plt.subplots(figsize=(7, 1.8))
for place, family in enumerate(players.families):
    left = int(mask[family.start : family.stop].sum())
    axes.barh(place, family.size, color=theme.GRID)
    axes.barh(place, left)
    axes.annotate(f" {left} of {family.size}", (family.size, place), va="center")
axes.set_yticks(range(len(players.families)), [f.name for f in players.families])
axes.set(title="Units kept by layer", xlabel="units")
axes.invert_yaxis()
axes.grid(False, axis="y")
plt.show()

# %% [markdown]
# The small network is an ordinary function. It can be fine-tuned with its own small
# parameters.

# %%
print(f"after removal    {accuracy(small.apply, small.params, test):.3f}")
hold = {"params": "train", "batch_stats": "hold"}
tx = optax.partition({"train": optax.adam(1e-3), "hold": optax.set_to_zero()}, hold)


def train_small(params, x):
    return small.apply(params, x), params


tuned, _ = fit(jax.random.key(4), train_small, small.params, tx, epochs=5)
print(f"after fine-tuning {accuracy(small.apply, tuned, test):.3f}")

# %% [markdown]
# ## An attention network in nnx
#
# `gp.from_nnx` splits the module into a function and its state; the rest is the same.
# Heads, query-key dimensions, value dimensions and hidden units are found as separate
# families.


# %%
class Attentive(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Linear(8, 24, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            num_heads=4, in_features=24, decode=False, rngs=rngs
        )
        self.norm = nnx.LayerNorm(24, rngs=rngs)
        self.up = nnx.Linear(24, 64, rngs=rngs)
        self.down = nnx.Linear(64, 24, rngs=rngs)
        self.head = nnx.Linear(24, 10, rngs=rngs)

    def __call__(self, images):
        x = self.embed(images[..., 0])  # a row of pixels is a token
        x = x + self.attention(x)
        x = x + self.down(nnx.gelu(self.up(self.norm(x))))
        return self.head(x.mean(1))


apply2, state = gp.from_nnx(Attentive(nnx.Rngs(0)), params=[nnx.Param])
state, _ = fit(
    jax.random.key(5),
    lambda p, x: (apply2(p, x), p),
    state,
    optax.adam(3e-3),
    epochs=25,
)
players2 = gp.find_players(apply2, state, validation[0][:8])
for family in players2.families:
    print(f"{family.name:40} {family.size:3} players")
print(f"test accuracy {accuracy(apply2, state, test):.3f}")

# %%
taylor = gp.taylor_scores(players2, state, gp.cross_entropy, *train, order=2)
mask2 = gp.top_n(taylor, int(0.7 * players2.num_players), players=players2)
small2 = gp.compact(players2, state, mask2, inputs=(validation[0],))
print(small2.report)
print(f"test accuracy after removal {accuracy(small2.apply, small2.params, test):.3f}")

# %% [markdown]
# ## Export
#
# `export_model` writes the smaller parameters as safetensors, the smaller program as
# StableHLO with a symbolic batch size, and the plan: the kept indices by parameter
# path, which apply to any checkpoint of the same network.

# %%
with tempfile.TemporaryDirectory() as folder:
    files = gp.export_model(
        small2, Path(folder) / "small", formats=("safetensors", "stablehlo")
    )
    for kind, path in files.items():
        print(f"{kind:12} {path.name:20} {path.stat().st_size:7} bytes")
    run = gp.load_stablehlo(files["stablehlo"])
    again = gp.Plan.load(files["plan"]).apply(state)

difference = jnp.abs(run(test[0]) - small2.apply(small2.params, test[0])).max()
same = jax.tree.map(lambda a, b: bool((a == b).all()), again, small2.params)
print(f"the loaded program differs by {float(difference):.1e}")
print("the plan gives the same parameters:", all(jax.tree.leaves(same)))

# %% [markdown]
# Half of the players left the residual network, nearly all of them from the two layers
# that the shortcut does not tie, and a few epochs won back most of what that had cost.
# On a network of your own, draw the same two figures on validation data first: the
# curve says how far to go and by which scorer, the layers say who pays for it. Where a
# layer is all but empty, keep more players, raise `min_units`, or cut every layer alike
# with `scope="family"`; then fine-tune.
