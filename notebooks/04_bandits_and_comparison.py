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
# # Bandits, and a fair comparison
#
# Each hidden neuron is an arm of a bandit. A pull removes the neuron on one mini-batch
# and measures the change in loss (arXiv 2606.07615). Pulls are cheap but noisy, and a
# policy decides where the next one is worth most. This notebook plays the game on a
# small network, compares several policies with the exact answer and with each other,
# removes neurons round by round, and ends with ranks and tests over several methods and
# networks.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import gamepruning as gp
from gamepruning.bandits import record_bandit
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.method_plots import plot_ranks

plt.style.use(["gamepruning.workbench.report.figures", {"figure.dpi": 90}])
digits = load_dataset("digits", seed=0)
train, validation, test = digits.train, digits.validation, digits.test
model = build_model(
    "mlp", input_shape=digits.input_shape, num_outputs=10, widths=(64, 32)
)


def fit(seed, steps=600):
    """A trained network."""
    params, tx = model.init(jax.random.key(seed)), optax.adam(3e-3)

    @jax.jit
    def run(params, key):
        def step(carry, key):
            params, state = carry
            rows = jax.random.randint(key, (64,), 0, len(train.labels))
            x, y = jnp.asarray(train.inputs)[rows], jnp.asarray(train.labels)[rows]
            grads = jax.grad(lambda p: gp.cross_entropy(model.apply(p, x), y))(params)
            updates, state = tx.update(grads, state)
            return (optax.apply_updates(params, updates), state), None

        keys = jax.random.split(key, steps)
        return jax.lax.scan(step, (params, tx.init(params)), keys)[0][0]

    return run(params, jax.random.key(seed + 1))


params = fit(0)
players = gp.find_players(model.apply, params, train.inputs[:4])
print(
    players.num_players,
    "neurons;",
    f"test {gp.accuracy(model.apply(params, test.inputs), test.labels):.3f}",
)

# %% [markdown]
# ## Pulls, and the exact answer
#
# `gp.removal_arms` keeps what a single neuron does not change, so a pull costs an
# update of rank one and the layers after it. With as many pulls per arm as there are
# mini-batches, every mean is exact: that is the greedy oracle.

# %%
arms = gp.removal_arms(
    players,
    params,
    gp.cross_entropy,
    train.inputs,
    train.labels,
    batch_size=16,
    key=jax.random.key(1),
)
oracle = np.asarray(arms.loss_changes())
policies = {
    name: gp.POLICIES[name]() for name in ("uniform", "softmax", "ucb1", "thompson")
}
games = {
    name: record_bandit(jax.random.key(2), policy, arms)
    for name, policy in policies.items()
}
order = np.argsort(oracle)
figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.4))
line = [0, oracle.max()]
for axis, name in zip(axes, ("ucb1", "softmax"), strict=True):
    scores, colour = games[name].scores, theme.look_of(name)["color"]
    error = 1.96 * scores.stderr
    axis.errorbar(oracle, scores.value, error, fmt=".", lw=0.8, color=colour)
    axis.plot(line, line, color=theme.INK, ls=":", lw=1)
    axis.set(xlabel="exact loss change", title=f"{name}: means, 95 % intervals")
axes[0].set_ylabel("estimate")
plt.show()

# %%
figure, axes = plt.subplots(figsize=(8.6, 3))
for name, game in games.items():
    axes.plot(game.pulls[order], label=name, **theme.look_of(name) | {"marker": ""})
axes.set(xlabel="neurons, the safest first", ylabel="pulls", title="Where they look")
theme.put_legend_outside(axes)
plt.show()

# %% [markdown]
# The regret of a choice says how much more loss the removed neurons cost, one by one,
# than those that the oracle would remove. 1 is the regret of a random choice.


# %%
def regret(value, count):
    best = np.sort(oracle)[:count].sum()
    found = oracle[np.argsort(value)[:count]].sum()
    return (found - best) / (oracle.mean() * count - best)


for name, game in games.items():
    print(
        name.ljust(9),
        [round(float(regret(game.scores.value, k)), 3) for k in (10, 24, 48)],
    )

# %% [markdown]
# ## At once, or round by round
#
# A neuron that is safe to remove alone may not be safe once others are gone.
# `gp.safe_removal` removes a share in each round and plays again in the network that is
# left; `max_drop` would stop it before the validation accuracy falls too far. After few
# pulls, the lowest means belong to noisy neurons, some of them important: `caution=2`
# ranks by the mean plus two standard errors. The figure has every policy both ways, as
# the mean of three games, on validation data. On the left the exact answer shows what
# more pulls could win.

# %%
value_fn = gp.value_function(
    players, params, gp.accuracy, validation.inputs, validation.labels
)
sizes = [10, 15, 20, 30, 40, 55, 70, 85]
keys = jax.random.split(jax.random.key(3), 3)


def remove(key, policy, arms, value_fn, n):
    """Who leaves round by round, down to n neurons."""
    return gp.safe_removal(
        key, policy, arms, value_fn, n, step=0.15, caution=2, players=players
    )


def curve(sources):
    """Mean validation accuracy of traces or scores, at every size."""
    kept = [gp.selection.masks_at(one, sizes, players=players) for one in sources]
    return np.mean([value_fn(masks) for masks in kept], axis=0)


at_once = {
    name: curve([gp.play_bandit(key, policy, arms, caution=2) for key in keys])
    for name, policy in policies.items()
}
in_rounds = {
    name: curve([remove(key, policy, arms, value_fn, 10) for key in keys])
    for name, policy in policies.items()
}
exact, magnitude = curve([oracle]), curve([gp.magnitude_scores(players, params)])
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True)
axes[0].plot(sizes, exact, color=theme.INK, lw=1)
for axis, ways in zip(axes, (at_once, in_rounds), strict=True):
    for name, values in ways.items():
        axis.plot(sizes, values, label=name, ms=4, **theme.look_of(name))
    axis.plot(sizes, magnitude, label="magnitude", ms=4, **theme.look_of("magnitude"))
    axis.set(xlabel="neurons left of 96")
axes[0].set(title="At once (thin line: exact)", ylabel="validation accuracy, not tuned")
axes[1].set_title("Round by round")
theme.put_legend_outside(axes[1])
plt.show()
best = max(in_rounds, key=lambda name: in_rounds[name].mean())
print({name: round(float(values.mean()), 3) for name, values in in_rounds.items()})
print("best round by round:", best)

# %% [markdown]
# On the left all policies fall like the exact answer, and none is clearly above
# magnitude: no number of pulls mends a choice made at once. On the right every policy
# keeps more than magnitude from 55 neurons down, and they lie close together. So rounds
# matter much more than the policy; the rest of the notebook takes the policy that is
# best on the right.
#
# What is left is a smaller network, checked against the large one:

# %%
trace = remove(keys[0], policies[best], arms, value_fn, 10)
small = gp.compact(players, params, trace.mask_at(40), inputs=(test.inputs,))
print(small.report)

# %% [markdown]
# ## Are the methods different?
#
# One network proves little, and the policy was chosen on it. Here it prunes eight other
# networks to 30 of 96 neurons, in rounds and at once, beside three baselines. The mean
# ranks go to Friedman's test (with the correction by Iman and Davenport) and to
# Nemenyi's, whose bars join what the test does not tell apart. The blocks here are
# seeds of one data set. For a claim about the methods as such they should be data sets,
# as in `gamepruning compare --datasets ...` and in `experiments/bandits`.


# %%
@jax.jit
def test_accuracy(params, mask):
    gates = mask.astype(float)
    return gp.accuracy(players.gated(params, gates, test.inputs), test.labels)


rows = []
for seed, key in enumerate(jax.random.split(jax.random.key(4), 8)):
    own = fit(10 + seed)
    arms = arms.renewed(own, train.inputs, train.labels, key=key)
    own_value = gp.value_function(
        players, own, gp.accuracy, validation.inputs, validation.labels
    )
    sources = {
        best: remove(key, policies[best], arms, own_value, 30),
        f"{best} at once": gp.play_bandit(key, policies[best], arms, caution=2),
        "magnitude": gp.magnitude_scores(players, own),
        "activation": gp.baselines.activation_scores(players, own, train.inputs),
        "random": gp.baselines.random_scores(key, players),
    }
    masks = [gp.selection.masks_at(s, [30], players=players) for s in sources.values()]
    rows.append([float(test_accuracy(own, jnp.asarray(mask[0]))) for mask in masks])
found = gp.compare_methods(rows, list(sources))
means = dict(zip(sources, np.mean(rows, axis=0), strict=True))
print({name: round(float(mean), 3) for name, mean in means.items()})
print(f"Iman and Davenport: p = {found.friedman.f_p_value:.1g}")
diagram = plot_ranks(found, title="Eight networks, 30 of 96 neurons kept")
diagram.set_dpi(90)
diagram

# %% [markdown]
# Chosen on one network, the rounds have the best mean rank on eight others, and the
# same policy at once is not told apart from chance. A bar still joins the rounds with
# magnitude: eight networks do not settle that pair. So prune by bandits round by round
# (`gamepruning prune --method ucb1` does, and so do the other policies), choose the
# policy on validation data, and ask `gamepruning compare` on several data sets of your
# own before you prefer one method.
