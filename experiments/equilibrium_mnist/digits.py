"""digits, 64-256-128-10, at the sizes of the peers: three seeds, stratified splits.

    python -m experiments.equilibrium_mnist.digits

Trained on the training part alone (60 % of the data); the test part is read once.
"""

from typing import Any

import jax

from experiments.equilibrium_mnist.common import (
    HERE,
    Clock,
    Member,
    Recipe,
    Shrinking,
    flat,
    market,
    mlp,
    percent_right,
    spread,
    train_many,
    write_json,
)
from gamepruning.workbench.datasets import load_dataset

WIDTHS, SEEDS = (256, 128), (0, 1, 2)
SHAPES = ((26, 13), (13, 6))
RANKINGS = ("equilibrium", "magnitude", "random")
RECIPE = Recipe(200, batch_size=32, learning_rate=3e-3, decay=3e-4, bend=0.0)
PEERS = {  # measured with their own code on a stratified split, three seeds
    "jaxpruner saliency, 26/13": 97.33,
    "jaxpruner channel magnitude, 13/6": 93.85,
}


def contest(shape: tuple[int, int]) -> dict[str, Any]:
    """All rankings and the network from scratch at one size."""
    clock = Clock()
    data = [flat(load_dataset("digits", seed=s, standardise=True)) for s in SEEDS]
    rows = {}
    for ranking in (*RANKINGS, "scratch"):
        recipe = RECIPE
        if ranking == "scratch":
            model = mlp(shape, 64)
            starts = [model.init(jax.random.key(s)) for s in SEEDS]
            apply, kept = model.apply, [list(shape)] * len(SEEDS)
            recipe = RECIPE._replace(epochs=300)
        else:
            how = Shrinking(WIDTHS, shape, epochs=100, ranking=ranking, batch_size=32)
            cuts = [market(s, d, how, RECIPE) for s, d in zip(SEEDS, data, strict=True)]
            starts, kept = [c.small.params for c in cuts], [list(c.kept) for c in cuts]
            apply = cuts[0].small.apply
        members = [
            Member(start, k, jax.random.key(1000 + k)) for k, start in enumerate(starts)
        ]
        trained = train_many(apply, members, data, recipe)
        pairs = list(zip(trained, data, strict=True))
        rows[ranking] = {
            "kept": kept,
            "test": spread([percent_right(apply, p, d.test) for p, d in pairs]),
            "validation": spread(
                [percent_right(apply, p, d.validation) for p, d in pairs]
            ),
        }
        print(shape, ranking, rows[ranking]["test"], flush=True)
    return {"rows": rows, "seconds": clock()}


def main() -> None:
    data = load_dataset("digits", seed=0)
    found: dict[str, Any] = {
        "command": "python -m experiments.equilibrium_mnist.digits",
        "seeds": list(SEEDS),
        "examples": [len(part.labels) for part in (data.train, data.test)],
        "recipe": RECIPE._asdict(),
        "peers": PEERS,
    }
    for shape in SHAPES:
        found["/".join(map(str, shape))] = contest(shape)
        write_json(HERE / "digits.json", found)


if __name__ == "__main__":
    main()
