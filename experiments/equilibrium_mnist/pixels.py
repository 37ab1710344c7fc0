"""Pixels as players too: 784-300-100 down to 97-71-33, the size of VIBNet's row.

    python -m experiments.equilibrium_mnist.pixels

Twenty epochs of the market, then sixty of training what is left; three seeds. The test
error is that of the last epoch.
"""

from typing import Any

import jax

from experiments.equilibrium_mnist.common import (
    HERE,
    Clock,
    Member,
    Recipe,
    Shrinking,
    market,
    mnist,
    percent_right,
    spread,
    train_many,
    write_json,
)

SEEDS, KEEP = (0, 1, 2), (97, 71, 33)
RANKINGS = ("equilibrium", "magnitude", "random")
RECIPE = Recipe(60, batch_size=128, learning_rate=5e-3, dropout=0.1, bend=0.0)
VIBNET = {"kept": list(KEEP), "test error": 1.6}  # arXiv 1802.10399, Table 1


def run(ranking: str) -> dict[str, Any]:
    """All seeds of one ranking."""
    clock = Clock()
    how = Shrinking((300, 100), KEEP, epochs=20, ranking=ranking, pixels=True)
    data, cuts = [], []
    for seed in SEEDS:
        full = mnist(seed)
        cut = market(seed, full, how, RECIPE._replace(dropout=0.0))
        kept = cut.small.input_kept[0][1]

        def pixels(split, kept=kept):
            return split._replace(inputs=split.inputs[:, kept])

        cuts.append(cut)
        data.append(
            full._replace(
                train=pixels(full.train),
                validation=pixels(full.validation),
                test=pixels(full.test),
            )
        )
    members = [
        Member(cut.small.params, k, jax.random.key(1000 + k))
        for k, cut in enumerate(cuts)
    ]
    apply = cuts[0].small.apply
    trained = train_many(apply, members, data, RECIPE)
    pairs = list(zip(trained, data, strict=True))
    errors = [round(100 - percent_right(apply, p, d.test), 2) for p, d in pairs]
    return {
        "kept": [list(cut.kept) for cut in cuts],
        "test error": spread(errors),
        "validation": spread([percent_right(apply, p, d.validation) for p, d in pairs]),
        "seconds": clock(),
    }


def main() -> None:
    found: dict[str, Any] = {
        "command": "python -m experiments.equilibrium_mnist.pixels",
        "seeds": list(SEEDS),
        "recipe": RECIPE._asdict(),
        "VIBNet": VIBNET,
    }
    for ranking in RANKINGS:
        found[ranking] = run(ranking)
        print(ranking, found[ranking], flush=True)
        write_json(HERE / "pixels.json", found)


if __name__ == "__main__":
    main()
