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
# small network, compares the policies with the exact answer, removes neurons round by
# round, and ends with ranks and tests over several methods and networks.

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
from gamepruning.workbench.report.method_plots import plot_ranks

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
    name: record_bandit(
        jax.random.key(2), policy, arms, num_pulls=20 * players.num_players
    )
    for name, policy in policies.items()
}
order = np.argsort(oracle)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, game in games.items():
    axes[0].plot(game.pulls[order], lw=1.2, label=name)
axes[0].set(xlabel="neurons, the safest first", ylabel="pulls", title="Where they look")
axes[0].legend()
ucb1 = games["ucb1"]
stderr = 1.96 * ucb1.scores.stderr
axes[1].errorbar(oracle, ucb1.scores.value, stderr, fmt=".", lw=0.8)
axes[1].plot([oracle.min(), oracle.max()], [oracle.min(), oracle.max()], "k:", lw=1)
axes[1].set(xlabel="exact loss change", ylabel="estimate", title="ucb1, 95 % intervals")
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
# ## Round by round
#
# A neuron that is safe to remove alone may not be safe once others are gone.
# `gp.safe_removal` removes a share in each round and plays again in the network that is
# left; `max_drop` stops it before the validation accuracy falls too far. After few
# pulls, the lowest means belong to noisy neurons, some of them important: `caution=2`
# ranks by the mean plus two standard errors.

# %%
value_fn = gp.value_function(
    players, params, gp.accuracy, validation.inputs, validation.labels
)
trace = gp.safe_removal(
    jax.random.key(3),
    gp.ucb1(),
    arms,
    value_fn,
    10,
    step=0.15,
    caution=2,
    players=players,
)
num_pulls = sum(round.scores.num_evaluations for round in trace.rounds)
at_once = gp.play_bandit(
    jax.random.key(3), gp.ucb1(), arms, num_pulls=num_pulls, caution=2
)
sizes = [10, 15, 20, 30, 40, 55, 70, 85]


def judge(params, masks):
    """Test accuracy without the neurons left out."""
    gated = jax.jit(lambda gates: players.gated(params, gates, test.inputs))
    return [
        float(gp.accuracy(gated(jnp.asarray(m, float)), test.labels)) for m in masks
    ]


magnitude = gp.magnitude_scores(players, params)
ways = {"ucb1, round by round": trace, "ucb1, at once": at_once, "magnitude": magnitude}
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name, source in ways.items():
    masks = gp.selection.masks_at(source, sizes, players=players)
    axis.plot(sizes, judge(params, masks), marker=".", label=name)
axis.set(xlabel="neurons left of 96", ylabel="test accuracy, no fine-tuning")
axis.legend()
plt.show()

# %% [markdown]
# What is left is a smaller network, checked against the large one:

# %%
small = gp.compact(players, params, trace.mask_at(40), inputs=(test.inputs,))
print(small.report)

# %% [markdown]
# ## Are the methods different?
#
# One curve proves little. Here four methods prune eight networks to 20 of 96 neurons.
# The mean ranks go to Friedman's test (with the correction by Iman and Davenport) and
# to Nemenyi's, whose bars join what the test does not tell apart. The blocks here are
# seeds of one data set. For a claim about the methods as such they should be data sets,
# as in `gamepruning compare --datasets ...` and in `experiments/bandits`.

# %%
rows = []
for seed in range(8):
    own = fit(10 + seed)
    arms = arms.renewed(own, train.inputs, train.labels, key=jax.random.key(seed))
    key = jax.random.key(seed)
    scores = {
        "ucb1": gp.play_bandit(key, gp.ucb1(), arms),
        "magnitude": gp.magnitude_scores(players, own),
        "activation": gp.baselines.activation_scores(players, own, train.inputs),
        "random": gp.baselines.random_scores(key, players),
    }
    masks = [gp.top_n(value, 20, players=players) for value in scores.values()]
    rows.append(judge(own, masks))
found = gp.compare_methods(rows, list(scores))
print(f"Iman and Davenport: p = {found.friedman.f_p_value:.1g}")
diagram = plot_ranks(found, title="Eight networks, 20 of 96 neurons kept")
diagram.set_dpi(90)
diagram

# %% [markdown]
# The bars say what eight networks can support: methods that a bar joins are not told
# apart, whatever the order of their names. On a network of your own, ask
# `gamepruning compare` before you prefer one.
