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
# # Power indices of the trees of a forest
#
# A game needs players and a value, not a network. Here the players are the trees of a
# scikit-learn forest, and the value of a coalition is the accuracy of the forest of
# these trees alone. arXiv 2311.10468 names trees and forests as its next step.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

import gamepruning as gp
from gamepruning.workbench.report import theme

plt.style.use(["gamepruning.workbench.report.figures", {"figure.dpi": 90}])

# %% [markdown]
# Half of the digits train forty small trees, a quarter says what trees are worth, and
# a quarter is kept for the end.

# %%
x, y = load_digits(return_X_y=True)
x, held_x, y, held_y = train_test_split(x, y, test_size=0.5, random_state=0, stratify=y)
held_x, test_x, held_y, test_y = train_test_split(
    held_x, held_y, test_size=0.5, random_state=0, stratify=held_y
)
forest = RandomForestClassifier(40, max_depth=5, random_state=0).fit(x, y)
num = len(forest.estimators_)
print(f"{num} trees: {forest.score(test_x, test_y):.3f} on test data")

# %% [markdown]
# ## The game
#
# A forest averages the class probabilities of its trees, so these are computed once. A
# value function takes any number of coalitions as the rows of a boolean array.


# %%
def forest_game(x, y):
    """Coalitions, bool [S, trees] -> the accuracy of these trees together, [S]."""
    each = np.stack([tree.predict_proba(x) for tree in forest.estimators_])

    def value_fn(masks):
        sums = np.tensordot(np.asarray(masks, float), each, 1)
        return (sums.argmax(-1) == y).mean(-1)

    return value_fn


value_fn, test_fn = forest_game(held_x, held_y), forest_game(test_x, test_y)
everybody = np.ones((1, num), bool)
assert np.isclose(test_fn(everybody)[0], forest.score(test_x, test_y))

# %% [markdown]
# ## What a tree is worth
#
# The Shapley value of a tree is its mean contribution to the trees that came before it
# in a random order. It is not the tree's accuracy alone: a tree that errs where others
# err is worth less than its accuracy says.

# %%
shapley = gp.shapley_values(
    jax.random.key(0), value_fn, num_players=num, num_evaluations=100 * num
)
small = gp.banzhaf_values(
    jax.random.key(1), value_fn, bias=0.2, num_players=num, num_evaluations=100 * num
)
alone = value_fn(np.eye(num, dtype=bool))
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3), sharex=True)
looks = ((shapley, "shapley", "Shapley value"), (small, "banzhaf", "Banzhaf, bias 0.2"))
for axis, (scores, name, title) in zip(axes, looks, strict=True):
    colour = theme.look_of(name)["color"]
    error = 1.96 * np.asarray(scores.stderr)
    axis.errorbar(alone, scores.value, error, fmt="o", ms=3, lw=0.8, color=colour)
    correlation = np.corrcoef(alone, scores.value)[0, 1]
    axis.set(title=f"{title}: r = {correlation:.2f}", xlabel="accuracy of the tree")
plt.show()

# %% [markdown]
# ## A smaller forest
#
# `top_n` keeps the best trees by one estimate, `iterated_pruning` looks again after
# each few that left, and exchanges put right what was chosen badly. Beside them stand
# the best trees by their own accuracy, and the mean of a hundred random choices.

# %%
sizes = [4, 6, 8, 12, 16, 24]
trace = gp.iterated_pruning(
    jax.random.key(2),
    value_fn,
    min(sizes),
    step=4,
    num_players=num,
    num_evaluations=20 * num,
    swaps=6,
)
rng = np.random.default_rng(0)


def random_choices(size):
    return np.array([rng.permutation(num) < size for _ in range(100)])


own = gp.Scores(alone, np.zeros(num), num)
best = {"Shapley": shapley, "accuracy": own}
curves = {
    "iterated pruning": [test_fn(trace.mask_at(n)[None])[0] for n in sizes],
    **{
        f"top-n, {name}": [
            test_fn(np.asarray(gp.top_n(scores, n))[None])[0] for n in sizes
        ]
        for name, scores in best.items()
    },
    "random": [test_fn(random_choices(n)).mean() for n in sizes],
}
figure, axis = plt.subplots(figsize=(7, 3))
for number, (name, values) in enumerate(curves.items()):
    axis.plot(sizes, values, "o-", ms=3, color=theme.COLOURS[number], label=name)
axis.axhline(test_fn(everybody)[0], **theme.DENSE)
axis.set(xlabel="trees kept", ylabel="test accuracy", title="Forests of some trees")
theme.put_legend_outside(axis)
plt.show()

# %% [markdown]
# The pruned forest is a scikit-learn forest with fewer trees. It predicts what the
# coalition was worth.

# %%
kept = np.flatnonzero(trace.mask_at(8))
pruned = RandomForestClassifier(len(kept), max_depth=5, random_state=0).fit(
    x[:50], y[:50]
)
pruned.estimators_ = [forest.estimators_[k] for k in kept]
pruned.classes_, pruned.n_classes_ = forest.classes_, forest.n_classes_
accuracy = pruned.score(test_x, test_y)
assert np.isclose(accuracy, test_fn(trace.mask_at(8)[None])[0])
random_mean = test_fn(random_choices(8)).mean()
print(f"{len(kept)} of {num} trees: {accuracy:.3f}; eight by chance: {random_mean:.3f}")
