"""The tables of README.md, from the JSON files here.

python -m experiments.gtap.table
"""

import json

from experiments.gtap.common import HERE

NETWORKS = ("lenet5", "lenet300", "topic", "emotion")


def curves(name: str) -> None:
    """Mean test accuracy of every method at every size."""
    found = json.loads((HERE / f"{name}.json").read_text())
    sizes = [f"{100 * size:.3g} %" for size in found["sizes"]]
    print(f"\n**{name}**, dense {found['dense']['mean']:.4f}\n")
    print("| method | " + " | ".join(sizes) + " |")
    print("| --- |" + " ---: |" * len(sizes))
    for method, row in found["methods"].items():
        cells = [
            f"{100 * mean:.1f} ± {100 * std:.1f}"
            for mean, std in zip(row["test mean"], row["test std"], strict=True)
        ]
        print(f"| {method} | " + " | ".join(cells) + " |")
    trained(found["tuned"])


def trained(rows: dict) -> None:
    """Before and after training, one row a method."""
    for number, (name, row) in enumerate(rows.items()):
        if not number:
            print("\n| | " + " | ".join(row) + " |")
            print("| --- |" + " ---: |" * len(row))
        cells = [f"{100 * v['mean']:.2f} ± {100 * v['std']:.2f}" for v in row.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    for name in NETWORKS:
        if (HERE / f"{name}.json").is_file():
            curves(name)
    found = json.loads((HERE / "digits.json").read_text())
    for shape in ("25/12", "12/6"):
        print(f"\n**digits, {shape}**")
        trained(found[shape])


if __name__ == "__main__":
    main()
