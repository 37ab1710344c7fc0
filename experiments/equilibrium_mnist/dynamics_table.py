"""The tables of the dynamics, from dynamics.json."""

from functools import cache
from typing import Any

import numpy as np

from experiments.markdown import Table, plus_minus, read, table

FILE = "equilibrium_mnist/dynamics.json"
STARTS = 7  # of the gates, for one equilibrium or several
READINGS = ("as printed", "descent", "plain descent")
NAMES = {"plain descent": "descent, plain ascent", "descent": "descent, Adam"}


@cache
def parts() -> dict[str, Any]:
    return read(FILE)["parts"]


def games(part: str) -> dict[str, Any]:
    return parts()[part]["games"]


def mean(entry: dict[str, float] | None, digits: int = 2) -> str:
    return "none" if entry is None else plus_minus(entry, digits)


def configurations() -> list[str]:
    """Every configuration: accuracy, sparsity, where its gates lie, two modes?"""
    rows = []
    for part, found in parts().items():
        kind, _, reading = part.partition(", ")
        if kind not in ("mild", "presets", "deep") or "games" not in found:
            continue
        title = NAMES.get(reading, reading) or "descent, Adam"
        for name, game in found["games"].items():
            title_of = f"{name.replace('_', ' ')}{', deep' * (kind == 'deep')}"
            rows.append((title, title_of, *cells(game)))
    heads = ("reading", "configuration", "after removal, %", "sparsity, %")
    heads += ("below 0.01", "to 0.1", "to 0.9", "above 0.9", "bimodal", "Nash gap")
    return table(heads, "llrrrrrrlr", rows)


def cells(game: dict[str, Any]) -> tuple[str, ...]:
    """What stands in a row of one configuration."""
    shares = [f"{100 * share:.0f} %" for share in game["gates"].values()]
    gap = game["curves"]["Nash gap"][-1]
    modes = "yes" if is_bimodal(game) else "no"
    accuracy, sparsity = mean(game["removed"]), mean(game["sparsity"])
    return (accuracy, sparsity, *shares, modes, f"{gap:.2g}")


def is_bimodal(game: dict[str, Any]) -> bool:
    """As the paper says it: mass near zero and near one, little between."""
    gates = game["gates"]
    near_one, near_zero = gates["above 0.9"], gates["below 0.01"]
    return min(near_one, near_zero) > 0.05 and near_one + near_zero > 0.8


def competition() -> list[str]:
    """Sparsity, accuracy, likeness of the survivors and gap by eta."""
    rows = [
        (
            name.removeprefix("eta "),
            mean(game["removed"]),
            mean(game["sparsity"], 1),
            mean(game["correlation of survivors"], 3),
            "yes" if is_bimodal(game) else "no",
            f"{game['curves']['Nash gap'][-1]:.2g}",
        )
        for name, game in games("competition").items()
    ]
    heads = ("eta", "after removal, %", "sparsity, %", "correlation", "bimodal")
    return table((*heads, "Nash gap"), "rrrrlr", rows)


def static(seeds_key: str) -> list[dict[str, Any]]:
    return [p for name, p in parts().items() if name.startswith(seeds_key)]


def equilibria() -> list[str]:
    """How many equilibria seven starts find, and the radius of the best responses."""
    runs = static("equilibria")
    rows = []
    for own in zip(*(run["rows"] for run in runs), strict=True):
        first = own[0]
        rows.append(
            (
                f"{first['beta']:g}",
                f"{first['eta']:g}",
                _range([row["spectral radius"] for row in own]),
                _range([row["spectral radius, linearised"] for row in own]),
                _range([row["converged"] for row in own]),
                _range([row["equilibria"] for row in own]),
                _range([row["sets of survivors"] for row in own]),
                *(_range([row[f"{k} from {s}"] for row in own]) for k, s in ENDS),
            )
        )
    heads = ("beta", "eta", "radius", "linearised", "of 7 converged", "equilibria")
    heads += ("sets of survivors", *(f"{k} from {s}, %" for k, s in ENDS))
    return table(heads, "rr" + "r" * (len(heads) - 2), rows)


ENDS = (("accuracy", "ones"), ("sparsity", "ones"), ("accuracy", "zeros"))


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def dominated() -> list[str]:
    """Who is dominated at the start, after two epochs, and who left."""
    rows = []
    for part in ("presets, as printed", "presets, descent", "competition"):
        for name, game in games(part).items():
            for place, when in ((0, "start"), (2, "epoch 2")):
                own = game["dominated"][place]
                rows.append(
                    (
                        part.removeprefix("presets, "),
                        name.replace("_", " "),
                        when,
                        str(own["there"]),
                        str(own["dominated"]),
                        str(own["left later"]),
                        _share(own["of the dominated, left"]),
                        _share(own["of those who left, dominated"]),
                    )
                )
    heads = ("game", "configuration", "when", "there", "dominated", "left later")
    heads += ("of the dominated, left", "of those who left, dominated")
    return table(heads, "lllrrrrr", rows)


def _share(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.0f} %"


def conditions() -> list[str]:
    """The largest condition number of a family along training (section 9.3)."""
    rows = []
    for part in ("presets, descent", "deep", "competition"):
        for name, game in games(part).items():
            own = [game["condition number"][epoch] for epoch in (0, 5, 10, 20)]
            values = ["not finite" if v is None else f"{v:,.0f}" for v in own]
            where = {"deep": "six layers"}.get(part, "two layers")
            rows.append((where, name.replace("_", " "), *values))
    return table(("network", "configuration", "start", "5", "10", "20"), "llrrrr", rows)


def heuristics() -> list[str]:
    """Section 5.4: which special case is which ranking, means over the seeds."""
    runs = static("heuristics")
    rows = []
    for name, first in runs[0]["cases"].items():
        same = [run["cases"][name]["same sets"] for run in runs]
        others = first["rank correlations"]
        means = [
            np.mean([run["cases"][name]["rank correlations"][o] for run in runs])
            for o in others
        ]
        share = f"{100 * np.mean(same):.0f} %"
        rows.append((name, first["heuristic"], share, *(f"{m:.2f}" for m in means)))
    heads = ("special case", "heuristic", "same sets")
    heads += tuple(runs[0]["cases"]["benefit alone"]["rank correlations"])
    return table(heads, "ll" + "r" * (len(heads) - 2), rows)


def answers() -> list[str]:
    """One sentence with its figure for each question."""
    return table(("question", "answer"), "ll", questions().items())


def questions() -> dict[str, str]:
    """The questions and their answers, from the file."""
    printed, descent = (games(f"mild, {name}") for name in READINGS[:2])
    rivals = games("competition")
    none, most = rivals["eta 0"], rivals["eta 0.1"]
    likeness = "correlation of survivors"
    return {
        "Does a mild beta never collapse?": (
            f"As printed, at most {largest(printed, 'sparsity'):.1f} % leave at beta "
            f"1e-4 to 5e-3; read as a descent with Adam, up to "
            f"{largest(descent, 'sparsity'):.1f} % do, at "
            f"{smallest(descent, 'removed'):.1f} % accuracy or more."
        ),
        "What does competition do?": (
            f"From eta 0 to 0.1, the mean correlation of survivors falls from "
            f"{none[likeness]['mean']:.3f} to {most[likeness]['mean']:.3f}, sparsity "
            f"from {none['sparsity']['mean']:.0f} to {most['sparsity']['mean']:.0f} %, "
            f"and accuracy goes from {mean(none['removed'])} to "
            f"{mean(most['removed'])} %."
        ),
        "How many equilibria are there, and do best responses contract?": contract(),
        "Does training end in an equilibrium?": (
            f"Without competition the largest gain from leaving one's gate is still "
            f"{none['curves']['Nash gap'][-1]:.2g} after 20 epochs (start: "
            f"{none['curves']['Nash gap'][0]:.2g}); with eta 0.1 it is "
            f"{most['curves']['Nash gap'][-1]:.1g}."
        ),
        "Are the dominated those who leave?": foreseen(),
        "Do weights become ill-conditioned?": worst_condition(),
        "Are the gates bimodal?": modes(),
        "Are heuristics special cases?": special(),
        "Is the collapse smooth?": smooth(),
    }


def largest(found: dict[str, Any], key: str) -> float:
    return max(game[key]["mean"] for game in found.values())


def smallest(found: dict[str, Any], key: str) -> float:
    return min(game[key]["mean"] for game in found.values())


def is_one_equilibrium(row: dict[str, Any]) -> bool:
    """All starts converge, and to the same gates."""
    return row["equilibria"] == 1 and row["converged"] == STARTS


def contract() -> str:
    """Radius and number of equilibria by beta."""
    rows = [row for run in static("equilibria") for row in run["rows"]]
    told = []
    for beta in sorted({row["beta"] for row in rows}):
        own = [row for row in rows if row["beta"] == beta]
        below = sum(row["spectral radius"] < 1 for row in own)
        one = sum(map(is_one_equilibrium, own))
        ended = [row["converged"] for row in own]
        gone = [row["sparsity from ones"] for row in own]
        told.append(
            f"at beta {beta:g} the radius is below 1 in {below} of {len(own)} games "
            f"(eta 0 to 0.1), {_range(ended)} of seven starts converge, all of them to "
            f"one equilibrium in {one}, and "
            f"{_range([round(share) for share in gone])} % have left there"
        )
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}."


def foreseen() -> str:
    """Of the dominated at the start, the share that left, by reading."""
    told = []
    for reading in READINGS[:2]:
        own = [g["dominated"][0] for g in games(f"presets, {reading}").values()]
        named = sum(d["dominated"] for d in own)
        left = sum(
            round(d["dominated"] * (d["of the dominated, left"] or 0)) for d in own
        )
        mild = [g["dominated"][2] for g in games(f"mild, {reading}").values()]
        stayed = sum(
            round(d["dominated"] * (1 - (d["of the dominated, left"] or 0)))
            for d in mild
        )
        told.append(
            f"{NAMES.get(reading, reading)}: of {named} dominated at the start in the "
            f"presets {100 * left / named:.0f} % left, but of "
            f"{sum(d['dominated'] for d in mild)} after two epochs of a mild beta "
            f"{stayed} stayed"
        )
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}."


def worst_condition() -> str:
    """The largest condition numbers on two and on six layers."""

    def worst(part: str) -> str:
        values = [v for g in games(part).values() for v in g["condition number"][1:]]
        finite = [v for v in values if v is not None]
        return (
            f"up to {max(finite):,.0f}, and not finite after "
            f"{len(values) - len(finite)} of {len(values)} epochs"
        )

    start = games("deep")["l1_l2"]["condition number"][0]
    return (
        f"Yes: in the presets (descent) with two layers {worst('presets, descent')}, "
        f"with six {worst('deep')} (start: {start:,.0f}), as gates near 0 make rows "
        "vanish."
    )


def modes() -> str:
    """How many configurations have two modes."""
    counts = []
    for part, title in (
        *((f"presets, {r}", f"of the presets, {NAMES.get(r, r)}") for r in READINGS),
        ("competition", "with eta"),
    ):
        found = games(part).values()
        counts.append(f"{sum(map(is_bimodal, found))} of {len(found)} {title}")
    return (
        f"{'; '.join(counts)}. Where half of the players leave by costs alone, no gate "
        "is near one; competition also pays players whose weights point away from "
        "those of others."
    )


def special() -> str:
    """The shares of sizes with the same sets."""
    runs = [run["cases"] for run in static("heuristics")]
    shares = {
        case["heuristic"]: 100 * np.mean([run[name]["same sets"] for run in runs])
        for name, case in runs[0].items()
    }
    told = ", ".join(f"{name} {share:.0f} %" for name, share in shares.items())
    return f"The same sets at so many of all sizes: {told}."


def smooth() -> str:
    """The largest share of all leaving that one epoch of twenty has."""
    own = {
        name: game["largest share of the leaving in one epoch"]
        for name, game in games("presets, descent").items()
    }
    told = ", ".join(
        f"{name.replace('_', ' ')} {100 * share:.0f} %" for name, share in own.items()
    )
    return f"Of all who leave, one epoch of twenty takes: {told}."


TABLES: dict[str, Table] = {
    "dynamics-answers": answers,
    "dynamics-configurations": configurations,
    "dynamics-competition": competition,
    "dynamics-equilibria": equilibria,
    "dynamics-dominated": dominated,
    "dynamics-conditions": conditions,
    "dynamics-heuristics": heuristics,
}
