"""The tables of README.md, from the JSON files beside it.

python -m experiments.equilibrium_mnist.table
"""

from functools import partial
from statistics import fmean, stdev

from experiments.equilibrium_mnist import dynamics_table
from experiments.markdown import Table, plus_minus, read, shape, table

SIZES = ("15 of 768", "37 of 768")
FOLDER = "equilibrium_mnist"


def table2() -> list[str]:
    """Table 2 of the paper in every reading."""
    heads = ("reading", "configuration", "gates on", "removed", "sparsity, %", "kept")
    rows = [
        (
            name,
            configuration,
            plus_minus(row["on"]),
            plus_minus(row["removed"]),
            plus_minus(row["sparsity"]),
            _kept(row["kept"]),
        )
        for name, reading in read(f"{FOLDER}/table2.json")["readings"].items()
        for configuration, row in reading["rows"].items()
    ]
    return table(heads, "llrrrl", rows)


def _kept(shapes: list[list[int]]) -> str:
    texts = [shape(kept) for kept in shapes]
    return f"{texts[0]} (all)" if len(set(texts)) == 1 else ", ".join(texts)


def best(size: str) -> list[str]:
    """Every ranking at one size, and the test of the equilibrium against it."""
    part = read(f"{FOLDER}/best.json")[size]
    rows = []
    for name, row in part["rows"].items():
        test = part["ours against"].get(name)
        ahead = (f"{test['mean difference']:+.2f}", f"{test['p']:.3f}") if test else ()
        cells = (name, plus_minus(row["validation"]), plus_minus(row["test"]))
        rows.append((*cells, *(ahead or ("", ""))))
    return table(("", "validation", "test", "ours ahead by", "p"), "lrrrr", rows)


def budgets() -> list[str]:
    """Target sizes of the market, and the sizes that it reached."""
    found = read(f"{FOLDER}/budgets.json")
    lines = table(("network", "budget", "target", "used", "kept"), "llrrl", ())
    for name in ("mlp", "lenet_5"):
        for budget, row in found[name].items():
            kept = shape(row.get("kept", ())) or row["note"]
            used = f"{row['used']:,}" if "used" in row else ""
            lines.append(f"| {name} | {budget} | {row['asked']:,} | {used} | {kept} |")
    return lines


def pixels() -> list[str]:
    """Pixels as players: three rankings at one size."""
    found = read(f"{FOLDER}/pixels.json")
    names = {"magnitude": "magnitude (of the weights that read a pixel)"}
    rows = [
        (
            names.get(name, name),
            plus_minus(found[name]["test error"]),
            plus_minus(found[name]["validation"]),
        )
        for name in ("equilibrium", "magnitude", "random")
    ]
    return table(("ranking", "test error, %", "validation accuracy, %"), "lrr", rows)


def digits() -> list[str]:
    """Four ways to a small network of digits, and the best of other libraries."""
    found = read(f"{FOLDER}/digits.json")
    ways = ("equilibrium", "magnitude", "random", "scratch")
    rows = []
    for peer, accuracy in found["peers"].items():
        method, size = peer.split(", ")
        own = [plus_minus(found[size]["rows"][way]["test"]) for way in ways]
        library, _, rest = method.partition(" ")
        rows.append((size, *own, f"{accuracy:.2f} ({library}, {rest})"))
    return table(("kept", *ways, "best of the peers"), "lrrrrr", rows)


def regrowth() -> list[str]:
    """What comes back where it may, and what that is worth."""
    runs = read(f"{FOLDER}/regrowth.json")["runs"]
    rows = []
    for name in dict.fromkeys(key.rpartition(", ")[0] for key in runs):
        free, twice, never = (runs[f"{name}, {how}"] for how in HOW)
        values = [[row["test"] for row in own] for own in (free, twice, never)]
        tests = [
            plus_minus({"mean": fmean(v), "std": stdev(v) if len(v) > 1 else 0.0})
            for v in values
        ]
        counts = [
            f"{fmean(row[what] for row in own):,.1f}"
            for own in (free, twice)
            for what in ("returns", "returned and stay")
        ]
        left = f"{fmean(row['left once'] for row in free):.0f}"
        rows.append((name, len(never), left, *tests, *counts))
    heads = ("network, kept", "seeds", "left once", *HOW)
    heads += ("returns, free", "of these stay", "returns, twice", "of these stay")
    return table(heads, "l" + "r" * 9, rows)


HOW = ("free", "twice", "never")


TABLES: dict[str, Table] = {
    "table2": table2,
    "best-15": partial(best, SIZES[0]),
    "best-37": partial(best, SIZES[1]),
    "budgets": budgets,
    "pixels": pixels,
    "digits": digits,
    "regrowth": regrowth,
    **dynamics_table.TABLES,
}


def main() -> None:
    print("\n".join(table2()))
    for size in SIZES:
        kept = read(f"{FOLDER}/best.json")[size]["shape"]
        print("\n".join(["", f"{size}, {shape(kept)}", "", *best(size)]))
    print("\n".join(["", *budgets()]))


if __name__ == "__main__":
    main()
