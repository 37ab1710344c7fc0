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
# # Power indices of neurons
#
# The hidden neurons of a network form coalitions. The value of a coalition is the
# performance of the network with these neurons alone. A power index says how much a
# player adds to the coalitions that it could join (arXiv 2311.10468):
#
# $$\varphi_i = \mathbb{E}_C\,[\nu(C \cup i) - \nu(C \setminus i)]$$
#
# The indices differ in the distribution of $C$. For the Shapley value all sizes are
# equally likely. For the Banzhaf index each player is in with probability 1/2, for the
# biased one with probability $d$. This notebook estimates them with error bars, looks
# for the size at which a network falls apart, and builds a small network player by
# player.

# %%
import functools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.stats import kendalltau, spearmanr

import gamepruning as gp
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.report import theme

plt.style.use(["gamepruning.workbench.report.figures", {"figure.dpi": 90}])

# %% [markdown]
# ## A game with known indices
#
# In the Council of the European Economic Community of 1958, twelve of seventeen votes
# passed a law. Luxembourg's one vote never decided, so its power was zero: votes are
# not power. The exact indices come from dynamic programming. The sampled ones come from
# the estimators that are used for networks, and should agree within their error bars.

# %%
countries = ["France", "Germany", "Italy", "Belgium", "Netherlands", "Luxembourg"]
quota, votes = 12, [4, 4, 4, 2, 2, 1]
council = gp.coalitions.voting_game(quota, votes)
exact = gp.coalitions.weighted_voting_shapley(quota, votes)
sampled = gp.shapley_values(jax.random.key(0), council, num_evaluations=600)

figure, axis = plt.subplots(figsize=(8.6, 2.8))
places, error = np.arange(6), 1.96 * sampled.stderr
axis.bar(places, exact.value, color=theme.look_of("shapley")["color"], label="exact")
look = {"fmt": "o", "color": theme.INK, "label": "sampled, 95 %"}
axis.errorbar(places, sampled.value, error, **look)
axis.set_xticks(places, [f"{c}\n{v}" for c, v in zip(countries, votes, strict=True)])
axis.set(title="Twelve votes of seventeen pass a law", ylabel="Shapley value")
theme.put_legend_outside(axis)
plt.show()

# %% [markdown]
# ## A network as a game
#
# We train a small network on handwritten digits. The value of a coalition is the
# negative loss on validation data; the test data are kept for the end.

# %%
digits = load_dataset("digits", seed=0)
model = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=(48, 24))
x, y = jnp.asarray(digits.train.inputs), jnp.asarray(digits.train.labels)
test_x, test_y = jnp.asarray(digits.test.inputs), jnp.asarray(digits.test.labels)


def train(params, num_steps=1500):
    tx = optax.adam(2e-3)

    def step(carry, rows):
        params, state = carry

        def loss(params):
            return gp.cross_entropy(model.apply(params, x[rows]), y[rows])

        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    rows = jax.random.randint(jax.random.key(1), (num_steps, 64), 0, len(x))
    return jax.jit(lambda carry: jax.lax.scan(step, carry, rows)[0][0])(
        (params, tx.init(params))
    )


params = train(model.init(jax.random.key(0)))
players = gp.find_players(model.apply, params, x[:8])


held = digits.validation
value_fn = gp.value_function(
    players, params, gp.negative_cross_entropy, held.inputs, held.labels
)
accuracy_fn = gp.value_function(players, params, gp.accuracy, test_x, test_y)
print(players)

# %% [markdown]
# The value of a coalition depends on its size, and coalitions of one size differ.

# %%
sizes = np.linspace(0.05, 0.95, 19)
keys = jax.random.split(jax.random.key(2), len(sizes))
shape = (60, players.num_players)
draws = [
    np.asarray(jax.random.bernoulli(k, p, shape))
    for k, p in zip(keys, sizes, strict=True)
]
accuracies = np.stack([accuracy_fn(masks) for masks in draws])
figure, axis = plt.subplots(figsize=(7, 2.8))
axis.plot(sizes, accuracies, ".", color=theme.SLATE, markersize=3)
axis.plot(sizes, accuracies.mean(axis=1), color=theme.INK)
axis.set(xlabel="probability that a player is in", ylabel="test accuracy")
axis.set_title("60 coalitions at each size, and their mean")
plt.show()

# %% [markdown]
# ## Indices with error bars
#
# The figure has three indices of the same players, each with its standard error. They
# disagree by more than their errors: a player that matters in a small coalition need
# not matter in a large one.

# %%
num = players.num_players


def estimate(key, num_evaluations):
    """Three indices of every player, by the name of the method."""
    keys = jax.random.split(key, 3)
    spent = {"num_evaluations": num_evaluations}
    return {
        "shapley": gp.shapley_values(keys[0], value_fn, **spent),
        "banzhaf": gp.banzhaf_values(keys[1], value_fn, **spent),
        "biased_banzhaf": gp.banzhaf_values(keys[2], value_fn, bias=0.25, **spent),
    }


indices = estimate(jax.random.key(3), 30 * num)
order = np.argsort(-np.asarray(indices["banzhaf"].value))
figure, axes = plt.subplots(3, 1, figsize=(7, 5), sharex=True)
for axis, (name, scores) in zip(axes, indices.items(), strict=True):
    value, stderr = np.asarray(scores.value)[order], np.asarray(scores.stderr)[order]
    colour = theme.look_of(name)["color"]
    axis.errorbar(np.arange(num), value, 1.96 * stderr, fmt=".", lw=0.8, color=colour)
    axis.axhline(0, color=theme.MUTED, lw=0.6)
    axis.set_title(f"{name}: {scores.num_evaluations:,} evaluations, 95 % intervals")
axes[-1].set_xlabel("players, by Banzhaf's index")
plt.show()

# %% [markdown]
# ## How well they rank
#
# Selection needs the order of the players, not their numbers. The exact indices of 72
# players would take $2^{72}$ coalitions, so twenty times as many evaluations, drawn
# anew, stand for the truth. The figure has the rank correlation of each estimate with
# each true index: Spearman's, and Kendall's, which counts pairs in the right order.
# Three baselines that never look at coalitions are there to compare with.

# %%
truth = estimate(jax.random.key(9), 600 * num)
rankings = indices | {
    "magnitude": gp.magnitude_scores(players, params),
    "taylor": gp.taylor_scores(players, params, gp.cross_entropy, x, y),
    "activation": gp.baselines.activation_scores(players, params, x),
}
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.4), sharey=True)
for axis, correlation in zip(axes, (spearmanr, kendalltau), strict=True):
    found = np.array(
        [
            [correlation(ranked.value, true.value)[0] for true in truth.values()]
            for ranked in rankings.values()
        ]
    )
    axis.imshow(found, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), number in np.ndenumerate(found):
        ink = "white" if abs(number) > 0.6 else theme.INK
        axis.text(column, row, f"{number:.2f}", ha="center", va="center", color=ink)
    axis.set_xticks(range(3), [f"true\n{name}" for name in truth])
    axis.set_yticks(range(len(rankings)), rankings)
    axis.grid(False)
axes[0].set_title("Spearman")
axes[1].set_title("Kendall")
plt.show()

# %% [markdown]
# The estimates of Shapley and Banzhaf values rank either index about equally well, and
# the biased index is best ranked by its own estimate: the size of the coalitions
# matters more than the name of the index. Magnitude and activation variance agree with
# the large coalitions only in part, and nobody but the estimate itself ranks the small
# ones: Taylor scores are slopes at the whole network, and point the wrong way there. So
# choose the index by the size that you prune to; if its intervals still overlap, spend
# more evaluations.
#
# ## Where the network falls apart
#
# Sub-networks that lost few players agree with each other, and those that lost nearly
# all are alike in knowing nothing. In between, their outputs vary most. GTAP removes
# players in two stages of share $p$ each and takes the bias $d = 1 - t^*$ from the peak
# $t^*$. The definition of "output" moves the peak, so the figure compares three.

# %%
figure, axis = plt.subplots(figsize=(8.6, 2.8))
for output in ("probabilities", "label", "correct"):
    bands = gp.mcue(
        jax.random.key(6),
        players,
        params,
        held.inputs,
        held.labels,
        output=output,
        num_samples=60,
    )
    curve = np.asarray(bands.diagonal)
    axis.plot(bands.p, curve / curve.max(), label=f"{output}: d = {bands.bias:.2f}")
axis.set(xlabel="p, the share that each stage takes out", ylabel="variance")
axis.set_title("How much sub-networks vary, the largest variance = 1")
theme.put_legend_outside(axis)
plt.show()

# %% [markdown]
# ## Who stays
#
# Keeping the best of one estimate (top-n) ignores that players can replace each other.
# Building starts with nobody: the best few enter, and the rest are scored again beside
# them. Exchanges after every round, made while they raise the value, correct what a
# step got wrong. All choices are made on validation data; the curves show test accuracy
# right after removal, without any training.

# %%
scorer = functools.partial(gp.shapley_values, num_evaluations=3 * num)
sizes = np.arange(4, num, 4)
magnitude = gp.magnitude_scores(players, params)
building = gp.iterated_building(
    jax.random.key(7), value_fn, int(sizes[-1]), step=4, scorer=scorer
)
exchanging = gp.iterated_building(
    jax.random.key(7),
    value_fn,
    int(sizes[-1]),
    step=4,
    scorer=scorer,
    swaps=16,
    swaps_at_once=4,
)
pruning = gp.iterated_pruning(
    jax.random.key(8), value_fn, int(sizes[0]), step=4, scorer=scorer
)
masks = {
    "building with exchanges": [exchanging.mask_at(int(size)) for size in sizes],
    "iterated building": [building.mask_at(int(size)) for size in sizes],
    "iterated pruning": [pruning.mask_at(int(size)) for size in sizes],
    "top-n, Banzhaf": [gp.top_n(indices["banzhaf"], int(size)) for size in sizes],
    "magnitude": [gp.top_n(magnitude, int(size)) for size in sizes],
}
looks = {
    "building with exchanges": theme.look_of("building"),
    "iterated building": theme.look_of("building") | {"linestyle": "--"},
    "iterated pruning": theme.look_of("pruning"),
    "top-n, Banzhaf": theme.look_of("banzhaf"),
    "magnitude": theme.look_of("magnitude"),
}
figure, axis = plt.subplots(figsize=(8.6, 3.4))
for name, chosen in masks.items():
    axis.plot(sizes, accuracy_fn(np.stack(chosen)), ms=3, label=name, **looks[name])
axis.set(xlabel="players kept", ylabel="test accuracy", title="No retraining")
theme.put_legend_outside(axis)
plt.show()

# %% [markdown]
# ## A smaller network
#
# The value of a coalition is that of the network without the others. `compact` removes
# the others from the arrays and compares the small network with the gated one.

# %%
mask = exchanging.mask_at(32)
small = gp.compact(players, params, mask, inputs=(x[:64],))
outputs = small.apply(small.params, test_x)
print(f"{gp.accuracy(outputs, test_y):.3f} with 32 of {num} players")
print(f"the gated network has {accuracy_fn(mask[None])[0]:.3f}")
print(jax.tree.map(jnp.shape, small.params))

# %% [markdown]
# The ranking of one estimate was good, and yet its top-n curve is among the lowest:
# players that replace each other share one worth, and leave together. Building, above
# all with exchanges, scores them again beside those who are in, and keeps most of the
# accuracy with fewer than half of the players. So let an index build the network
# (`gamepruning prune --method building --keep 0.4`), and fine-tune what is left.
