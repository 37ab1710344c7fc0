"""Print the tables of README.md from the JSON files beside it.

python -m experiments.equilibrium_mnist.table
"""

import json
from pathlib import Path

HERE = Path(__file__).parent


def pair(entry: dict) -> str:
    return f"{entry['mean']:.2f} ± {entry['std']:.2f}"


def print_table2() -> None:
    found = json.loads((HERE / "table2.json").read_text())
    print("| reading | configuration | gates on | removed | sparsity, % | kept |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    for name, reading in found["readings"].items():
        for configuration, row in reading["rows"].items():
            kept = ", ".join(f"{a}/{b}" for a, b in row["kept"])
            if len({tuple(k) for k in row["kept"]}) == 1:
                kept = f"{row['kept'][0][0]}/{row['kept'][0][1]} (all)"
            print(
                f"| {name} | {configuration} | {pair(row['on'])} | "
                f"{pair(row['removed'])} | {pair(row['sparsity'])} | {kept} |"
            )


def print_best() -> None:
    found = json.loads((HERE / "best.json").read_text())
    for size in ("15 of 768", "37 of 768"):
        part = found[size]
        print(f"\n{size}, {'/'.join(map(str, part['shape']))}\n")
        print("| | validation | test | ours ahead by | p |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, row in part["rows"].items():
            test = part["ours against"].get(name)
            ahead = f"{test['mean difference']:+.2f} | {test['p']:.3f}" if test else "|"
            print(
                f"| {name} | {pair(row['validation'])} | {pair(row['test'])} | "
                f"{ahead} |"
            )


def print_budgets() -> None:
    found = json.loads((HERE / "budgets.json").read_text())
    print("\n| network | budget | asked | used | kept |")
    print("| --- | --- | ---: | ---: | --- |")
    for name in ("mlp", "lenet_5"):
        for budget, row in found[name].items():
            kept = "/".join(map(str, row.get("kept", ()))) or row["note"]
            used = f"{row['used']:,}" if "used" in row else ""
            print(f"| {name} | {budget} | {row['asked']:,} | {used} | {kept} |")


if __name__ == "__main__":
    print_table2()
    print_best()
    print_budgets()
