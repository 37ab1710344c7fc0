"""The table of README.md, from the JSON files of run.py."""

from experiments.markdown import HERE, Table, percent, read, table


def resnets() -> list[str]:
    """A row a network and speed-up."""
    rows = []
    for depth in (20, 56):
        if not (HERE / f"cifar/resnet{depth}.json").exists():
            continue
        found = read(f"cifar/resnet{depth}.json")
        for row in found["rows"]:
            rows.append(
                (
                    f"ResNet-{depth}",
                    f"{row['speed_up']:.2f}",
                    percent(found["full"], 2),
                    percent(row["cut"], 2),
                    percent(row["repaired"], 2),
                    f"{found['score_seconds']:.0f} + {row['repair_seconds']:.0f}",
                )
            )
    heads = ("network", "speed-up", "full", "as cut", "repaired", "seconds")
    return table(heads, "lrrrrr", rows)


TABLES: dict[str, Table] = {"cifar-resnets": resnets}
