"""What the equilibrium game does: mild prices, competition, gaps, equilibria.

    python -m experiments.equilibrium_mnist.dynamics            # resumes
    python -m experiments.equilibrium_mnist.dynamics figure     # draws Figures 1 and 2

The network is 64-64-32-10 on the digits of scikit-learn, with as many steps and as
large batches as the paper has on MNIST (20 times 422 of 128), three seeds; one part has
six hidden layers of 64. Each part is written to dynamics.json when it is done.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from experiments.equilibrium_mnist import statics
from experiments.equilibrium_mnist.common import HERE, flat, write_json
from experiments.equilibrium_mnist.games import Group, play
from experiments.equilibrium_mnist.table2 import PAPER, READINGS
from gamepruning.equilibrium.presets import EQUILIBRIUM_PRESETS
from gamepruning.workbench.datasets import Dataset, load_dataset

PATH = HERE / "dynamics.json"
COMMAND = "python -m experiments.equilibrium_mnist.dynamics"
SEEDS = (0, 1, 2)
WIDTHS, DEEP = (64, 32), (64,) * 6
MILD = (1e-4, 5e-4, 1e-3, 5e-3)
ETAS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
PRINTED, DESCENT = "as printed", "descent, gates by Adam, SGD"
PLAIN = "descent, plain ascent"
PRESETS = {
    name: {key: EQUILIBRIUM_PRESETS[name].number(key) for key in ("beta", "gamma")}
    for name in PAPER
}


def groups() -> dict[str, Group]:
    """The games, by the name of their part."""
    mild = {f"beta {beta:g}": {"beta": beta} for beta in MILD}
    rivals = {
        f"eta {eta:g}": {"beta": 0.001, "gamma": 0.01, "eta": eta} for eta in ETAS
    }
    kinds = {PRINTED: "as printed", DESCENT: "descent", PLAIN: "plain descent"}
    made = {}
    for name, kind in kinds.items():
        if name != PLAIN:
            made[f"mild, {kind}"] = Group(READINGS[name], WIDTHS, mild, SEEDS)
        made[f"presets, {kind}"] = Group(READINGS[name], WIDTHS, PRESETS, SEEDS)
    made["competition"] = Group(READINGS[DESCENT], WIDTHS, rivals, SEEDS)
    made["deep"] = Group(READINGS[DESCENT], DEEP, PRESETS, SEEDS[:1])
    return made


def parts(data: Dataset) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is to be done, by its name."""
    found: dict[str, Callable[[], dict[str, Any]]] = {
        name: partial(play, group, data) for name, group in groups().items()
    }
    for seed in SEEDS:
        given = (data, WIDTHS, seed)
        found[f"equilibria, seed {seed}"] = partial(statics.equilibria, *given)
        found[f"heuristics, seed {seed}"] = partial(statics.heuristics, *given)
    return found


def main() -> None:
    """Do what is not on file."""
    found: dict[str, Any] = {"command": COMMAND, "seeds": list(SEEDS), "parts": {}}
    if PATH.is_file():
        found = json.loads(PATH.read_text())
    for name, make in parts(flat(load_dataset("digits", seed=0))).items():
        if name not in found["parts"]:
            print(name, flush=True)
            found["parts"][name] = make()
            write_json(PATH, found)


if __name__ == "__main__":
    if sys.argv[1:] == ["figure"]:
        from experiments.equilibrium_mnist.figure import draw

        draw()
    else:
        main()
