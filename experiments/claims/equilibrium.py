"""Claims of arXiv 2512.22106 beside the figures of experiments/equilibrium_mnist."""

from typing import Any

from experiments.claims.row import (
    Row,
    command_of,
    of_checks,
    of_figure,
)
from experiments.equilibrium_mnist import dynamics_table as found
from experiments.markdown import plus_minus, read

DYNAMICS = "equilibrium_mnist/dynamics.json"
TABLE2, BEST = "equilibrium_mnist/table2.json", "equilibrium_mnist/best.json"
TITLES = {
    "very_high_beta": "very high beta",
    "extreme_beta": "extreme beta",
    "l1_strong": "L1 strong",
    "l1_l2": "L1 + L2",
}
SPECIAL = {  # of the game: (the claim, beside which rankings, is that by construction)
    "benefit proportional to the norm": (
        "benefits proportional to norms: players leave as by magnitude",
        ("magnitude",),
        True,
    ),
    "benefit alone": (
        "the benefit alone aligns with gradient-based pruning (rank correlation above "
        "0.9; with the signed product it is 1 by construction)",
        ("weight x gradient", "Taylor"),
        False,
    ),
    "competition alone": (
        "competition alone penalises correlated parameters",
        ("likeness of weights", "likeness of activations"),
        True,
    ),
}
PRINTED, DESCENT = "as printed", "descent, gates by Adam, SGD"
WIDTHS, INPUTS, CLASSES = (512, 256), 784, 10


def rows() -> list[Row]:
    """All rows, in the paper's order."""
    return [*setting(), *table2(), *reading(), *dynamics()]


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
    readings = read(TABLE2)["readings"]
    zeros = [
        [entry(name, c)["sparsity"]["mean"] for c in ("l1_strong", "extreme_beta")]
        for name in readings
    ]
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
            of_checks([dense["sparsity"]["mean"] == 0]),
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
            "L1 alone rarely gives zeros, L2 gives them: sparsity of L1 strong and of "
            f"extreme beta, % ({'; '.join(readings)})",
            "L1 low, L2 high",
            "; ".join(f"{one:.1f} and {two:.1f}" for one, two in zeros),
            "; ".join(f"{two - one:+.1f} points" for one, two in zeros),
            of_checks([one < 50 < two for one, two in zeros]),
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


def dynamics() -> list[Row]:
    """Sections 5 and 7 to 9: what the game does, on digits."""
    made = [mild(name) for name in found.READINGS[:2]]
    return [*made, *gates(), *equilibria(), *heuristics(), *training()]


def row(place: str, claim: str, paper: str, here: tuple[str, str], checks) -> Row:
    """A row whose file is dynamics.json, of the network on digits."""
    verdict = of_checks(checks)
    if "digits" not in claim:
        claim = (
            f"{claim.removesuffix(')')}; digits)"
            if ")" in claim
            else (f"{claim} (digits)")
        )
    return Row(place, claim, paper, *here, verdict, command_of(DYNAMICS), DYNAMICS)


def mild(reading_name: str) -> Row:
    games = found.games(f"mild, {reading_name}").values()
    values = [game["sparsity"]["mean"] for game in games]
    title = found.NAMES.get(reading_name, reading_name)
    return row(
        "Section 7.3",
        f"beta 1e-4 to 5e-3: nobody leaves ({title}; digits)",
        "0 %",
        (f"{min(values):.1f} to {max(values):.1f} %", f"+{max(values):.1f} points"),
        [value == 0 for value in values],
    )


def gates() -> list[Row]:
    """Section 8.2 and Figure 2: two modes where players leave, one where not."""
    made = []
    for name in found.READINGS:
        games = found.games(f"presets, {name}")
        pruned = [g for g in games.values() if g["sparsity"]["mean"] > 50]
        checks = [found.is_bimodal(game) for game in pruned]
        above = [100 * game["gates"]["above 0.9"] for game in pruned]
        if pruned:
            made.append(
                row(
                    "Section 8.2",
                    "gates near 0 and near 1 where more than half leave "
                    f"({found.NAMES.get(name, name)}; digits)",
                    "bimodal",
                    (
                        f"{sum(checks)} of {len(pruned)} configurations",
                        f"{max(above):.0f} % of the gates above 0.9 at most",
                    ),
                    checks,
                )
            )
    dense = [
        game
        for name in found.READINGS
        for part in ("presets", "mild")
        if f"{part}, {name}" in found.parts()
        for game in found.games(f"{part}, {name}").values()
        if game["sparsity"]["mean"] <= 50
    ]
    small = [g["gates"]["0.01 to 0.1"] > 0.8 for g in dense]
    made.append(
        row(
            "Section 8.2",
            "one mode at small gates above 0 where no more than half leave (more than "
            "80 % of the gates between 0.01 and 0.1; presets and mild betas)",
            "all",
            (
                f"{sum(small)} of {len(small)} configurations",
                f"{sum(g['gates']['above 0.9'] > 0.8 for g in dense)} have their mode "
                "above 0.9",
            ),
            small,
        )
    )
    rivals = found.games("competition")
    with_eta = {n: g for n, g in rivals.items() if n != "eta 0"}
    checks = [found.is_bimodal(game) for game in with_eta.values()]
    made.append(
        row(
            "Section 8.2",
            "the same with competition, eta 0.001 to 0.1, which the paper leaves out",
            "not played",
            (
                f"{sum(checks)} of {len(checks)} configurations",
                f"{100 * rivals['eta 0.1']['gates']['above 0.9']:.0f} % above 0.9 at "
                "eta 0.1",
            ),
            checks,
        )
    )
    return made


def equilibria() -> list[Row]:
    """Section 5.3: contraction, one equilibrium, and starting from s = 1."""
    rows = [r for run in found.static("equilibria") for r in run["rows"]]
    small = [r for r in rows if r["eta"] <= 0.001]
    radius = [r["spectral radius"] for r in small]
    one = [found.is_one_equilibrium(r) for r in small]
    empty = [r["sparsity from ones"] == 100 for r in rows]
    full = [r["accuracy from ones"] - r["accuracy from zeros"] for r in rows]
    kept = [r["accuracy from ones"] > 90 for r in rows]
    return [
        row(
            "Section 5.3",
            "best responses contract where eta is small (radius below 1; eta 0 and "
            "0.001, beta 0.001 and 0.1)",
            "below 1",
            (
                f"{sum(r < 1 for r in radius)} of {len(radius)} games; "
                f"in {sum(r['sparsity from ones'] == 100 for r in small)} all leave",
                f"radius {min(radius):.2g} to {max(radius):.2g}",
            ),
            [r < 1 for r in radius],
        ),
        row(
            "Section 5.3",
            "one equilibrium where eta is small (seven starts, all of which converge)",
            "1",
            (
                f"1 in {sum(one)} of {len(small)}; in "
                f"{sum(r['sparsity from ones'] == 100 for r in small)} of them all "
                "leave",
                f"{min(r['converged'] for r in small)} to "
                f"{max(r['converged'] for r in small)} starts converge",
            ),
            one,
        ),
        row(
            "Section 5.3",
            "from s = 1, only redundant players leave: above 90 % at the equilibrium",
            "preserved",
            (
                f"{sum(kept)} of {len(kept)} games; in {sum(empty)} all leave",
                f"{min(full):+.1f} to {max(full):+.1f} points against s = 0",
            ),
            kept,
        ),
    ]


def heuristics() -> list[Row]:
    """Section 5.4: special cases, beside rankings that the field uses."""
    runs = [run["cases"] for run in found.static("heuristics")]
    made = []
    for name, (claim, rivals, is_identity) in SPECIAL.items():
        ranks = {
            rival: [run[name]["rank correlations"][rival] for run in runs]
            for rival in rivals
        }
        told = (f"{n} {min(own):.2f} to {max(own):.2f}" for n, own in ranks.items())
        checks = [value > 0.9 for own in ranks.values() for value in own]
        made.append(
            Row(
                "Section 5.4",
                f"{claim} (digits)",
                "the same",
                f"rank correlation: {', '.join(told)}",
                "not of a number",
                "by construction" if is_identity else of_checks(checks),
                command_of(DYNAMICS),
                DYNAMICS,
            )
        )
    return made


def training() -> list[Row]:
    """Sections 5.2, 8.1 and 9.3: who is dominated, smoothness, condition."""
    made = []
    for name in found.READINGS[:2]:
        for kind in ("presets", "mild"):
            games = found.games(f"{kind}, {name}").values()
            seen = [game["dominated"][2] for game in games]
            shares = [d["of the dominated, left"] for d in seen]
            known = [share for share in shares if share is not None]
            made.append(
                row(
                    "Section 5.2",
                    f"who is dominated after two epochs leaves ({kind}, "
                    f"{found.NAMES.get(name, name)}; 90 % or more do)",
                    "all",
                    (
                        ", ".join(f"{100 * share:.0f} %" for share in known),
                        f"{sum(d['dominated'] for d in seen)} dominated",
                    ),
                    [share >= 0.9 for share in known],
                )
            )
    games = found.games("presets, descent")
    jumps = {
        n: g["largest share of the leaving in one epoch"] for n, g in games.items()
    }
    worst = [
        max((v for v in g["condition number"] if v is not None), default=0)
        for g in games.values()
    ]
    broken = [None in g["condition number"] for g in games.values()]
    return [
        *made,
        row(
            "Section 8.1",
            "the collapse is smooth: no epoch of twenty takes half of all who leave",
            "smooth",
            (
                ", ".join(f"{100 * share:.0f} %" for share in jumps.values()),
                "not of a number",
            ),
            [share < 0.5 for share in jumps.values()],
        ),
        row(
            "Section 9.3",
            "two layers stay well-conditioned without any care (below 1e6, and finite)",
            "stable",
            (
                f"{sum(not b for b in broken)} of {len(broken)} configurations",
                f"at most {max(worst):,.0f} where finite",
            ),
            [not b and w < 1e6 for b, w in zip(broken, worst, strict=True)],
        ),
    ]
