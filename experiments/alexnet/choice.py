"""Who stays of the trained AlexNet: by power indices, magnitude, and others.

Indices come in kinds: "own", where the others of a layer are in with the probability
that Taylor's choice keeps them with; "loss", the same, but the value is minus the
cross-entropy as it is, and not at the best of five temperatures; "printed", with 0.3 in
every layer, as the paper has it; "test", the same on test images; and "all", of all
layers at once.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from experiments.alexnet.network import load, trained_params, untrained
from experiments.gtap.common import counts_of
from gamepruning.workbench.datasets import Split

SIZES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
PROPORTIONS = 0.3  # magnitude's choice that says how much each layer keeps
KINDS = ("loss", "own", "printed", "test", "all")
AS_PRINTED = "magnitude's shares at 30 %"
SHARES_OF = {
    "Taylor's shares": "taylor",
    "weight x gradient's shares": "weight_gradient",
}


class Trained:
    """The trained network, its players, and who is chosen by what.

    Attributes:
      parts: train, validation and test.
      params: the trained parameters.
      players: the filters and hidden units.
    """

    def __init__(self, folder: Path, images: Path, epochs: int):
        self.folder = folder
        self.parts = load(folder, images)
        self.params = trained_params(folder, self.parts, epochs)
        example = jnp.asarray(self.parts["train"].inputs[:4])
        self.players = gp.find_players(untrained().apply, self.params, example)

    def rows(self, count: int, seed: int, part: str = "validation") -> Split:
        """Some examples, in an order of the seed."""
        split = self.parts[part]
        order = np.random.default_rng(seed).permutation(len(split.labels))[:count]
        return Split(jnp.asarray(split.inputs[order]), jnp.asarray(split.labels[order]))

    def value_fn(self, rows: Split, *, is_loss: bool = False, **options: Any) -> Any:
        """The value of coalitions on some examples."""
        calibrated = gp.coalitions.calibrated_likelihood
        metric = gp.negative_cross_entropy if is_loss else calibrated
        return gp.value_function(self.players, self.params, metric, *rows, **options)

    @functools.cache  # noqa: B019
    def baseline(self, name: str) -> np.ndarray:
        """Scores of a baseline, on 1,000 validation images where it reads any."""
        score, rows = gp.BASELINES[name], self.rows(1000, 0)
        key, params = jax.random.key(0), self.params
        found = score(key, self.players, params, gp.cross_entropy, *rows)
        return np.asarray(found.value)

    def index(self, kind: str, seed: int) -> np.ndarray:
        """Biased Banzhaf values of one of `KINDS`, all but "all" layer by layer."""
        names = ["all"] if kind == "all" else [f.name for f in self.players.families]
        paths = [self.path(kind, name, seed) for name in names]
        return np.concatenate([np.load(path)["value"] for path in paths])

    def path(self, kind: str, name: str, seed: int) -> Path:
        """Where the values of a layer, or of all at once, are kept."""
        return self.folder / f"index-{kind}-{name}-{seed}.npz"

    def masks(self, name: str, seed: int) -> list[np.ndarray]:
        """Who stays at each size, by a name such as "index (own), Taylor's shares"."""
        players = self.players
        sizes = counts_of(players.num_players, SIZES)
        if name == "building":
            order = np.load(self.folder / f"building-{seed}.npz")["order"]
            return [np.isin(np.arange(players.num_players), order[:n]) for n in sizes]
        scores, _, shares = name.partition(", ")
        ranking, counts = self.ranking(scores, seed), sizes
        how = {"scope": "family" if shares == "equal shares" else "global"}
        if shares in SHARES_OF:
            how = {"scope": "proportions", "proportions_from": self.source(shares)}
        elif shares == AS_PRINTED:
            counts = [self.printed(n) for n in sizes]
        chosen = [gp.top_n(ranking, n, players=players, **how) for n in counts]
        return list(map(np.asarray, chosen))

    def ranking(self, name: str, seed: int) -> np.ndarray:
        """The scores of a method."""
        if name.startswith("index"):
            return self.index(name.split("(")[1].rstrip(")"), seed)
        return self.baseline(name)

    def source(self, shares: str) -> np.ndarray:
        """The scores whose choice says how much each layer keeps."""
        return self.baseline(SHARES_OF[shares])

    def printed(self, total: int) -> list[int]:
        """`total` neurons in the shares that magnitude gives to layers at 30 %."""
        kept = self.kept_at("magnitude_l2", PROPORTIONS)
        full = [family.size for family in self.players.families]
        return scaled_counts(np.array(kept) / sum(kept), np.array(full), total)

    def kept_at(self, name: str, size: float) -> list[int]:
        """How many of each layer a baseline keeps."""
        players = self.players
        at = round(size * players.num_players)
        chosen = np.asarray(gp.top_n(self.baseline(name), at, players=players))
        return [int(chosen[f.start : f.stop].sum()) for f in players.families]

    def biases(self, kind: str) -> list[float]:
        """With what probability the others of a layer are in, layer by layer."""
        families = self.players.families
        if kind not in ("own", "loss"):
            return [PROPORTIONS] * len(families)
        kept = self.kept_at("taylor", PROPORTIONS)
        shares = [k / f.size for k, f in zip(kept, families, strict=True)]
        return [float(np.clip(share, 0.1, 0.9)) for share in shares]


def scaled_counts(shares: np.ndarray, full: np.ndarray, total: int) -> list[int]:
    """`total` players dealt out by shares; a layer that is full leaves the rest."""
    low, high = 0.0, float(total / shares[shares > 0].min() + full.max())
    for _ in range(80):
        level = (low + high) / 2
        few = np.minimum(full, level * shares).sum() < total
        low, high = (level, high) if few else (low, level)
    exact = np.minimum(full, high * shares)
    counts = np.maximum(1, np.floor(exact)).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    for place in order[: max(0, total - int(counts.sum()))]:
        counts[place] += counts[place] < full[place]
    return counts.tolist()
