"""Claims of arXiv 2512.22106 beside the figures of experiments/equilibrium_mnist."""

from typing import Any

from experiments.claims.row import (
    Row,
    command_of,
    of_checks,
    of_figure,
)
from experiments.markdown import plus_minus, read

TABLE2, BEST = "equilibrium_mnist/table2.json", "equilibrium_mnist/best.json"
TITLES = {
    "very_high_beta": "very high beta",
    "extreme_beta": "extreme beta",
    "l1_strong": "L1 strong",
    "l1_l2": "L1 + L2",
}
PRINTED, DESCENT = "as printed", "descent, gates by Adam, SGD"
WIDTHS, INPUTS, CLASSES = (512, 256), 784, 10


def rows() -> list[Row]:
    """All rows, in the paper's order."""
    return [*setting(), *table2(), *reading()]


def num_parameters() -> tuple[int, int]:
    """Weights and biases of the paper's network, and its neurons."""
    sizes = [INPUTS, *WIDTHS, CLASSES]
    pairs = zip(sizes, sizes[1:], strict=False)
    return sum((n + 1) * m for n, m in pairs), sum(WIDTHS)


def setting() -> list[Row]:
    """Section 7.1: the network."""
    weights, neurons = num_parameters()
    printed = 536_586
    return [
        Row(
            "Section 7.1",
            "784-512-256-10 has so many trainable weights",
            f"{printed:,}",
            f"{weights:,}",
            f"{weights - printed:,} (the {neurons} gates)",
            of_checks([weights == printed]),
            command_of(TABLE2),
            TABLE2,
        ),
        Row(
            "Section 7.3",
            "so many configurations",
            "5 announced, 4 listed",
            f"{len(read(TABLE2)['readings'][PRINTED]['rows'])}",
            "-1",
            "four can be run",
            command_of(TABLE2),
            TABLE2,
        ),
    ]


def entry(reading_name: str, configuration: str) -> dict[str, Any]:
    return read(TABLE2)["readings"][reading_name]["rows"][configuration]


def table2() -> list[Row]:
    """Table 2, as printed and as a descent; accuracies after removal."""
    made = []
    for configuration, title in TITLES.items():
        paper = entry(PRINTED, configuration)["paper"]
        for key, column in (("accuracy", "removed"), ("sparsity", "sparsity")):
            wanted = paper[key]
            found = [entry(name, configuration)[column] for name in (PRINTED, DESCENT)]
            verdicts = [of_figure(f["mean"], wanted, f["std"]) for f in found]
            made.append(
                Row(
                    "Table 2",
                    f"{title}: {key}, % (as printed; as a descent)",
                    f"{wanted:.2f}",
                    "; ".join(map(plus_minus, found)),
                    "; ".join(f"{f['mean'] - wanted:+.2f}" for f in found),
                    "; ".join(verdicts),
                    command_of(TABLE2),
                    TABLE2,
                )
            )
    return made


def reading() -> list[Row]:
    """Sections 8 and 9, as far as Table 2 decides them."""
    sparse = [name for name in TITLES if name != "very_high_beta"]
    common = (command_of(TABLE2), TABLE2)
    dense = entry(DESCENT, "very_high_beta")
    linear = read(BEST)["references"]["linear 784-10"]["mean"]
    papers = {name: entry(PRINTED, name)["paper"]["accuracy"] for name in TITLES}
    l1, l2 = entry(DESCENT, "l1_strong"), entry(DESCENT, "extreme_beta")
    both = [
        [entry(name, c)["removed"]["mean"] for c in ("l1_l2", "l1_strong")]
        for name in ("descent, gates by Adam, mean norm", DESCENT)
    ]
    best_l2 = read(BEST)["15 of 768"]["rows"]["equilibrium"]["test"]
    return [
        Row(
            "Section 8.1",
            "very high beta: gates stay at small positive values, nobody leaves",
            "0 % leave",
            f"{dense['sparsity']['mean']:.1f} % leave, mean gate "
            f"{dense['mean gate']['mean']:.3f}",
            f"{dense['sparsity']['mean']:+.1f} points",
            of_checks([dense["sparsity"]["mean"] == 0, dense["mean gate"]["mean"] > 0]),
            *common,
        ),
        Row(
            "Section 8.3",
            "less than 2 % of the neurons with more than 91 % (after removal)",
            "1.95 %, 91.54 %",
            f"15 of 768 (1.95 %): {plus_minus(best_l2)}",
            f"{best_l2['mean'] - papers['l1_l2']:+.2f} points",
            of_figure(best_l2["mean"], papers["l1_l2"], best_l2["std"]),
            command_of(BEST),
            BEST,
        ),
        Row(
            "Section 8.3",
            "sparse networks are competitive: above a linear model",
            ", ".join(f"{papers[name]:.2f}" for name in sparse),
            f"linear model {linear:.2f}",
            ", ".join(f"{papers[name] - linear:+.2f}" for name in sparse),
            of_checks([papers[name] > linear for name in sparse]),
            command_of(BEST),
            BEST,
        ),
        Row(
            "Section 8.3",
            "L1 + L2 is above L1 strong (after removal; Adam for the weights and the "
            "mean norm, SGD and the sum)",
            f"{papers['l1_l2'] - papers['l1_strong']:+.2f} points",
            "; ".join(f"{first:.2f} and {second:.2f}" for first, second in both),
            "; ".join(f"{first - second:+.2f} points" for first, second in both),
            of_checks([first > second for first, second in both]),
            *common,
        ),
        Row(
            "Section 9.2",
            "L1 alone rarely gives zeros, L2 gives them: accuracy after removal",
            "L1 weaker",
            f"L1 strong {plus_minus(l1['removed'])} at {l1['sparsity']['mean']:.1f} %, "
            f"extreme beta {plus_minus(l2['removed'])}",
            f"{l1['removed']['mean'] - l2['removed']['mean']:+.1f} points for L1",
            of_checks([l1["removed"]["mean"] < l2["removed"]["mean"]]),
            *common,
        ),
        against_magnitude(),
    ]


def against_magnitude() -> Row:
    """Sections 9.1 and abstract: better than an importance score?"""
    found = {
        size: read(BEST)[size]["ours against"]["magnitude"]
        for size in ("15 of 768", "37 of 768")
    }
    checks = [part["p"] < 0.05 for part in found.values()]
    return Row(
        "Section 9.1",
        "an alternative to magnitude, under the same schedule: ahead by",
        "competitive",
        "; ".join(f"{s}: {f['mean difference']:+.2f}" for s, f in found.items()),
        "; ".join(f"p = {f['p']:.2f}" for f in found.values()),
        "ahead" if any(checks) else "level",
        command_of(BEST),
        BEST,
    )
