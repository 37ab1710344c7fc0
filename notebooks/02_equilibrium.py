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
# # The equilibrium game, step by step
#
# Every hidden neuron of a network is a player. It chooses its participation $s_i$ in
# $[0, 1]$, earns what it takes off the loss, and pays for its presence
# (arXiv 2512.22106):
#
# $$U_i = \alpha\, s_i b_i - \beta \lVert\theta_i\rVert^2 s_i^2 - \gamma s_i
#   - \eta\, s_i \sum_{j \neq i} s_j \langle\theta_i, \theta_j\rangle$$
#
# This notebook plays the game on a small network. It shows what players earn, what
# their best responses are, where the equilibria lie, how the game collapses when it is
# read as printed, what removal costs, and how a price makes the players fit a budget.

# %%
import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import gamepruning as gp
from gamepruning.equilibrium import own_terms
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.report import theme

plt.style.use(["gamepruning.workbench.report.figures", {"figure.dpi": 90}])
digits = load_dataset("digits", seed=0)
x, y = jnp.asarray(digits.train.inputs), jnp.asarray(digits.train.labels)
held_x, held_y = jnp.asarray(digits.test.inputs), jnp.asarray(digits.test.labels)
model = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=(48, 24))
start = model.init(jax.random.key(0))
players = gp.find_players(model.apply, start, x[:8])
print(players.explain())

# %% [markdown]
# ## What a player earns and pays
#
# We train the network, hold its weights, and compute the marginal benefit $b_i =
# -\partial L / \partial s_i$ of each player. A trained network is near a minimum of the
# loss, so with everybody in, benefits scatter around zero; what a player is worth is in
# the curvature. With everybody's participation halved, the benefits show.


# %%
def batches(key, num_steps, size=64):
    rows = jax.random.randint(key, (num_steps, size), 0, len(x))
    return x[rows], y[rows]


def train(params, num_steps=1500):
    tx = optax.adam(2e-3)

    def step(carry, batch):
        params, state = carry

        def loss(params):
            return gp.cross_entropy(model.apply(params, batch[0]), batch[1])

        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    data = batches(jax.random.key(1), num_steps)
    return jax.jit(lambda c, d: jax.lax.scan(step, c, d)[0][0])(
        (params, tx.init(params)), data
    )


def loss(params, gates):
    return gp.cross_entropy(players.gated(params, gates, x), y)


def slopes(params, gates):
    grads = jax.grad(loss, (0, 1))(params, gates)
    return {"params": grads[0], "gates": grads[1]}


trained = train(start)
config = gp.UtilityConfig(beta=0.002, gamma=0.02, eta=0.0005)
half = jnp.full(players.num_players, 0.5)
terms = own_terms(players, trained, slopes(trained, half), half, config)
answer = gp.equilibrium.best_response(
    players, trained, slopes(trained, half), half, config
)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
order = np.argsort(-np.asarray(terms.slope))
axes[0].bar(range(players.num_players), terms.slope[order])
axes[0].set(title="Gain of a first bit of participation", xlabel="players, sorted")
own = jnp.linspace(0, 1, 50)
curves = jax.vmap(terms.utility)(jnp.tile(own[:, None], (1, players.num_players)))
for rank in (0, 12, 30, 50, 65):
    player = order[rank]
    (line,) = axes[1].plot(own, curves[:, player], label=f"player {player}")
    best = answer[player]
    peak = terms.utility(answer)[player]
    axes[1].plot(best, peak, "o", color=line.get_color())
axes[1].set(title="Utility by one's own choice, and the best", xlabel="own $s_i$")
theme.put_legend_outside(axes[1])
plt.show()

# %% [markdown]
# Each utility is a parabola in the player's own choice (eq. 8-10 with the others held
# fixed), so the best response (eq. 13-15) has a closed form: the dots.
#
# ## Equilibria
#
# In an equilibrium nobody gains by changing alone; the *Nash gap* is the most that
# anybody could gain. In the linearised game, benefits stay as they are. Projected
# ascent and sequential best responses find the same equilibrium of it; simultaneous
# best responses do not always find one.

# %%
linear = dataclasses.replace(config, beta=0.01, eta=0.002)
for dynamics in ("ascent", "sequential", "simultaneous"):
    found = gp.solve(
        players,
        trained,
        loss,
        linear,
        gates=half,
        dynamics=dynamics,
        linearised=True,
        max_steps=3000,
    )
    print(
        f"{dynamics:>12}: {found.status}, gap {found.nash_gap:.1e}, "
        f"{found.steps} steps, mean participation {found.gates.mean():.3f}"
    )

# %% [markdown]
# ## Collapse, and its cause
#
# The paper prints the benefit as $+\langle\nabla_{\theta_i} L, \theta_i\rangle$.
# Training minimises the loss, so this pays a player for raising it, and the payment
# fades with the gate. Read as a descent on the loss, $-\partial L/\partial s_i$, the
# same game keeps the players that are needed. Weights and gates move together
# (Algorithm 1).


# %%
def play(config, num_steps=3000, gate_rate=3e-3):
    tx = gp.joint_optimizer(gate_tx=gate_rate)
    init, step = gp.make_equilibrium_step(players, gp.cross_entropy, tx, config)
    data = batches(jax.random.key(2), num_steps)

    def record(state, batch):
        state, info = step(state, batch)
        return state, (info, state.gates)

    return jax.jit(lambda s, d: jax.lax.scan(record, s, d))(init(start), data)


def accuracy(params, gates):
    outputs = players.gated(params, gates, held_x)
    return 100 * float((outputs.argmax(-1) == held_y).mean())


figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True)
price = gp.UtilityConfig(beta=0.02, gamma=0.03, norm="mean")
for axis, benefit in zip(axes, ("descent", "literal"), strict=True):
    state, (info, gates) = play(dataclasses.replace(price, benefit=benefit))
    mask = gp.equilibrium.surviving_players(state.gates)
    removed = jnp.where(mask, state.gates, 0.0)
    steps = np.arange(0, len(gates), 20)
    axis.plot(steps, gates[steps], color=theme.HERO, alpha=0.25, lw=0.8)
    axis.set(title=f'benefit="{benefit}"', xlabel="step")
    print(
        f"{benefit}: {int(mask.sum())} of {players.num_players} stay; test accuracy "
        f"{accuracy(state.params, state.gates):.1f} % with gates on, "
        f"{accuracy(state.params, removed):.1f} % after removal"
    )
axes[0].set_ylabel("participation")
plt.show()

# %% [markdown]
# ## What removal costs
#
# A player with a small gate can still be needed: $s_i\theta_i$ does not change when the
# gate shrinks and the weights grow. A quadratic cost shrinks everybody and removes
# nobody. Who leaves then depends on the threshold (here 0.025), and accuracy *with
# gates on* says nothing about the network after removal. Players of fixed norm
# (`normalise=True`) cannot make up for small gates in their own weights. A linear cost
# gives exact zeros, and removal costs nothing.


# %%
def ends(config, **options):
    tx = gp.joint_optimizer(
        optax.adam(2e-3), gp.projected_gate_ascent(3e-3, optax.scale_by_adam())
    )
    init, step = gp.make_equilibrium_step(
        players, gp.cross_entropy, tx, config, **options
    )
    data = batches(jax.random.key(3), 4000)
    state, _ = jax.jit(lambda s, d: jax.lax.scan(step, s, d))(init(start), data)
    return state


quadratic = gp.UtilityConfig(beta=0.1)
cases = {
    "quadratic cost": ends(quadratic),
    "the same, fixed norms": ends(quadratic, normalise=True),
    "linear cost": ends(gp.UtilityConfig(gamma=0.05)),
}
figure, axes = plt.subplots(1, 3, figsize=(11, 3))
for axis, (name, state) in zip(axes, cases.items(), strict=True):
    mask = gp.equilibrium.surviving_players(state.gates, threshold=0.025)
    left = jnp.where(mask, state.gates, 0.0)
    on, off = accuracy(state.params, state.gates), accuracy(state.params, left)
    axis.hist(np.asarray(state.gates), bins=np.geomspace(1e-4, 1, 30))
    axis.axvline(0.025, color=theme.INK, ls="--", lw=1)
    axis.set(
        xscale="log",
        xlabel="participation (0 is not shown)",
        title=f"{name}\n{int(mask.sum())} stay: {on:.1f} % on, {off:.1f} % removed",
    )
plt.show()

# %% [markdown]
# ## A budget, and the price that meets it
#
# Nobody wants to search for $\beta$. `make_market_step` takes the target size and finds
# the price of participation at which demand fits it, while the budget falls from the
# whole network to the target. Gates end at 0 and 1, so removal costs nothing.

# %%
num_steps = 3000
tx = gp.joint_optimizer(optax.adam(2e-3), gp.projected_gate_ascent(0.01))
budget = gp.Budget(keep=0.2, unit="params")
init, step = gp.make_market_step(
    players, gp.cross_entropy, tx, budget, num_steps=num_steps
)
data = batches(jax.random.key(4), num_steps)
state, info = jax.jit(lambda s, d: jax.lax.scan(step, s, d))(init(start), data)
figure, axes = plt.subplots(1, 3, figsize=(11, 3))
axes[0].plot(info.budget, color=theme.INK, lw=1)
axes[0].plot(info.size)
axes[0].set(title="Parameters, and the budget (thin)", xlabel="step")
axes[1].plot(info.price)
axes[1].set(title="Price of a parameter", xlabel="step")
axes[2].plot(info.loss, lw=0.5)
axes[2].set(title="Loss, gates on", xlabel="step", yscale="log")
plt.show()

# %%
mask = np.asarray(state.gates) > 0
small = gp.compact(players, state.params, mask, inputs=(x[:64],))
whole, left = (
    gp.compaction.count_params(state.params),
    gp.compaction.count_params(small.params),
)
outputs = small.apply(small.params, held_x)
print(
    f"{whole:,} parameters, a fifth is {whole / 5:,.0f}; the small model has {left:,}"
)
print(f"test accuracy {100 * float((outputs.argmax(-1) == held_y).mean()):.1f} %")

# %% [markdown]
# Two things decide whether the game prunes: its sign and its cost. With the descent
# sign the players that the loss needs stay, with the literal one nobody does. A
# quadratic cost leaves small gates on players that are still needed, so its accuracy
# with gates on is not that of the smaller network; a linear cost, or the price of a
# budget, ends at 0 or well above it, and removal is free. So start from
# `make_market_step` with the size that you need (`gamepruning prune --keep` does), and
# judge every equilibrium by the accuracy after removal.
