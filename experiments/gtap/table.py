"""The tables of README.md, from the JSON files here.

python -m experiments.gtap.table
"""

from functools import partial

import numpy as np

from experiments.markdown import HERE, Table, percent, percents, read, table

NETWORKS = ("lenet5", "lenet300", "topic", "emotion")
SHAPES = ("25/12", "12/6")
SIZE = 0.225
TARGETS = {"building": 0.95, "pruning": 0.90, "top-n": 0.70}
NAMES = {"beta": "beta", "shapley": "Shapley", "banzhaf": "Banzhaf"}


def curves(name: str) -> list[str]:
    """Mean test accuracy of every method at every size."""
    found = read(f"gtap/{name}.json")
    sizes = [f"{100 * size:.3g} %" for size in found["sizes"]]
    rows = [
        (method, *map(percents, zip(row["test mean"], row["test std"], strict=True)))
        for method, row in found["methods"].items()
    ]
    return table(("method", *sizes), "l" + "r" * len(sizes), rows)


def trained(rows: dict) -> list[str]:
    """Before and after training, one row a method."""
    if not rows:
        return []
    heads = list(next(iter(rows.values())))
    cells = [
        (name, *(percents((v["mean"], v["std"]), 2) for v in row.values()))
        for name, row in rows.items()
    ]
    return table(("", *heads), "l" + "r" * len(heads), cells)


def network(name: str) -> list[str]:
    """Everything that is known of one network."""
    found = read(f"gtap/{name}.json")
    dense = f"Dense: {percent(found['dense']['mean'], 2)} %."
    after = trained(found["tuned"])
    return [dense, "", *curves(name), *(["", *after] if after else [])]


def at_size(name: str) -> dict[str, str]:
    """Mean and deviation of every method at 22.5 %."""
    found = read(f"gtap/{name}.json")
    place = found["sizes"].index(SIZE)
    return {
        method: percents((row["test mean"][place], row["test std"][place]))
        for method, row in found["methods"].items()
    }


def bars() -> list[str]:
    """LeNet-5 at 22.5 %: target, paper, and what came out."""
    here, paper = at_size("lenet5"), read("gtap/lenet5.json")["paper"]
    ours = {
        "building": ("iterated building, with exchanges", "building beta + exchanges"),
        "pruning": ("iterated pruning", "pruning beta"),
        "top-n": (
            "top-n, estimate and family shares chosen on validation data",
            "top-n, chosen on validation",
        ),
    }
    rows = [
        (title, percent(TARGETS[key]), percent(paper[key]), here[method])
        for key, (title, method) in ours.items()
    ]
    rows.insert(1, ("iterated building, without", "", "", here["building beta"]))
    others = {
        "Taylor, the best baseline": "taylor",
        "random": "random",
        "weight x gradient": "weight_gradient",
        "magnitude": "magnitude_l2",
    }
    rows += [(title, "", "", here[name]) for title, name in others.items()]
    return table(("", "target", "GTAP's paper", "here"), "lrrr", rows)


def lenet300() -> list[str]:
    """LeNet-300-100 at 22.5 %, best first."""
    here = at_size("lenet300")
    left_out = ("magnitude_l1", "tilted", "likelihood")
    rows = [row for row in here.items() if not any(x in row[0] for x in left_out)]
    rows.sort(key=lambda row: -float(row[1].split()[0]))
    return table(("method", "test accuracy, %"), "lr", rows)


def texts() -> list[str]:
    """Three indices in two procedures on both texts, at 22.5 %."""
    heads, methods = [""], []
    for procedure in ("building", "pruning"):
        for index in NAMES:
            heads.append(f"{procedure}, {NAMES[index]}")
            methods.append(f"{procedure} {index}")
    rows = [
        (name, *map(at_size(name).__getitem__, methods))
        for name in ("topic", "emotion")
    ]
    return table(heads, "l" + "r" * len(methods), rows)


def digits(size: str) -> list[str]:
    """Before and after training on digits, at one size."""
    return trained(read("gtap/digits.json")[size])


def speed() -> list[str]:
    """Seconds to a rank correlation of 0.95, without and with compilation."""
    found = read("gtap/speed.json")["summary"]
    rows = []
    for index, peer, how in (
        ("banzhaf", "pyDVL", "maximum sample reuse"),
        ("shapley", "shapiq", "permutation sampling"),
    ):
        full, part = found[index], found[f"{index}, 512 rows a sweep"]
        seconds = f"{full[f'{peer}, seconds']:,.0f} ({peer}, {how})"
        rows.append((index.capitalize(), *map(_seconds, (full, part)), seconds))
        rows[-1] += (f"{_ratios(full)}; {_ratios(part)}",)
        bare = f"{peer} without bookkeeping, seconds"
        if bare in full:
            both = "; ".join(
                f"{part[bare] / part['ours, seconds']:.0f}, "
                f"{part[bare] / part['ours, seconds with compilation']:.0f}"
                for part in (full, part)
            )
            name = f"{index.capitalize()}, without {peer}'s bookkeeping"
            rows.append((name, "", "", f"{full[bare]:,.0f}", both))
    heads = ("", "all rows", "512 rows a sweep", "peer", "times as long")
    return table(heads, "lrrrr", rows)


def _seconds(part: dict) -> str:
    times = (part["ours, seconds"], part["ours, seconds with compilation"])
    return ", ".join(f"{time:.2f}" if time < 1 else f"{time:.1f}" for time in times)


def _ratios(part: dict) -> str:
    ratios = (part["ratio"], part["ratio with compilation"])
    return ", ".join(f"{r:.1f}" if r < 20 else f"{r:,.0f}" for r in ratios)


def bands() -> list[str]:
    """The peak t* of every network by definition of the output."""
    found = read("gtap/bands.json")
    names = [name for name, part in found.items() if "definitions" in part]
    outputs = [row["output"] for row in found[names[0]]["definitions"]]
    rows = []
    for k, output in enumerate(outputs):
        peaks = [found[name]["definitions"][k]["peak"] for name in names]
        rows.append((output, *("none" if p is None else f"{p:.3f}" for p in peaks)))
    paper = [found[name]["paper's peak"] for name in names]
    rows.append(("GTAP's paper", *("" if p is None else f"{p:.3f}" for p in paper)))
    return table(("output", *names), "l" + "r" * len(names), rows)


def coverage() -> list[str]:
    """The share of 95 % intervals that hold, from the worst method to the best."""
    rows = read("gtap/coverage.json")["rows"]
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        key = (row["game"], row["num_evaluations"])
        found.setdefault(key, {}).setdefault(row["method"], []).append(row["coverage"])
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = [
        (game, f"{num:,}", *(_range(methods_of.get(m)) for m in methods))
        for (game, num), methods_of in sorted(found.items())
    ]
    return table(("game", "evaluations", *methods), "lr" + "r" * len(methods), cells)


def coverage_auto() -> list[str]:
    """The share of 95 % intervals of the default that hold, by noise and budget."""
    rows = read("gtap/coverage_auto.json")["rows"]
    found: dict[tuple, list[str]] = {}
    for row in rows:
        budgets = found.setdefault((row["game"], row["law"], row["noise"]), [])
        noted = f" ({percent(row['noted'], 0)})" if row["noted"] >= 0.005 else ""
        budgets.append(percent(row["coverage"]) + noted)
    cells = [(*key, *budgets) for key, budgets in found.items()]
    players = {row["game"]: row["num_players"] for row in rows}
    cells = [(f"{game}, {players[game]} players", *rest) for game, *rest in cells]
    heads = ("game", "index", "noise", "10 a player", "20", "50")
    return table(heads, "lllrrr", cells)


def solutions() -> list[str]:
    """Every solution as a criterion on the narrow LeNet-5, best first."""
    found = read("gtap/solutions.json")
    sizes, runs = found["sizes"], found["runs"]
    rows = []
    for name in runs[0]["rows"]:
        tests = np.array([run["rows"][name]["test"] for run in runs])
        rows.append((name, *_spreads(tests), tests.mean()))
    rows.sort(key=lambda row: -row[-1])
    heads = ("", *(f"{size} of 12 filters" for size in sizes), "mean")
    cells = [(*row[:-1], percent(row[-1])) for row in rows]
    return table(heads, "l" + "r" * (len(heads) - 1), cells)


def _spreads(values: np.ndarray) -> list[str]:
    """Mean and deviation of each column, in percent."""
    if len(values) == 1:
        return [percent(value) for value in values[0]]
    both = zip(values.mean(0), values.std(0, ddof=1), strict=True)
    return [percents(pair) for pair in both]


def architectures() -> list[str]:
    """The curves of the networks that the paper leaves open."""
    found = read("gtap/architectures.json")
    rows = []
    for network, runs in found["runs"].items():
        dense = percent(float(np.mean([run["dense"] for run in runs])))
        for name in runs[0]["curves"]:
            values = np.array([run["curves"][name] for run in runs])
            rows.append((f"{network}, full {dense}", name, *_spreads(values)))
    heads = ("network", "ranking", *(f"{100 * s:.0f} % kept" for s in found["sizes"]))
    return table(heads, "ll" + "r" * len(found["sizes"]), rows)


def sensitivity() -> list[str]:
    """Evaluations for each player, and d, at 40 % kept by layer."""
    runs = read("gtap/architectures.json")["runs"]
    rows = []
    for network, own in runs.items():
        for key, title in (("samples", "evaluations a player"), ("d", "d")):
            if key in own[0]:
                values = np.array([list(run[key].values()) for run in own])
                pairs = zip(own[0][key], _spreads(values), strict=True)
                told = ", ".join(f"{name}: {value}" for name, value in pairs)
                rows.append((network, title, told))
    return table(("network", "", "test accuracy, %"), "lll", rows)


def _range(shares: list[float] | None) -> str:
    if not shares:
        return ""
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


TABLES: dict[str, Table] = {
    "gtap-bars": bars,
    "gtap-lenet300-at-22.5": lenet300,
    "gtap-texts": texts,
    "gtap-speed": speed,
    "gtap-bands": bands,
    "gtap-solutions": solutions,
    "gtap-architectures": architectures,
    "gtap-sensitivity": sensitivity,
    "gtap-coverage": coverage,
    "gtap-coverage-auto": coverage_auto,
    **{f"gtap-{name}": partial(network, name) for name in NETWORKS},
    **{f"gtap-digits-{size}": partial(digits, size) for size in SHAPES},
}


def main() -> None:
    for name in NETWORKS:
        if (HERE / f"gtap/{name}.json").is_file():
            found = read(f"gtap/{name}.json")
            print(f"\n**{name}**, dense {found['dense']['mean']:.4f}\n")
            print("\n".join(curves(name)))
            print_trained(found["tuned"])
    for size in SHAPES:
        print(f"\n**digits, {size}**")
        print_trained(read("gtap/digits.json")[size])


def print_trained(rows: dict) -> None:
    if rows:
        print("\n".join(["", *trained(rows)]))


if __name__ == "__main__":
    main()
