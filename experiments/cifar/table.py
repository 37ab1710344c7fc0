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
            plain = row.get("repaired", row.get("repaired_0"))
            refined = row.get("repaired_5")
            seconds = row.get("repair_seconds", row.get("repair_seconds_5"))
            chosen = found["score_seconds"] + row.get("trade_seconds", 0)
            rows.append(
                (
                    f"ResNet-{depth}",
                    f"{row['speed_up']:.2f}",
                    percent(found["full"], 2),
                    percent(row["cut"], 2),
                    percent(plain, 2),
                    "" if refined is None else percent(refined, 2),
                    f"{chosen:.0f} + {seconds:.0f}",
                )
            )
    heads = ("network", "speed-up", "full", "as cut", "repaired", "refined", "seconds")
    return table(heads, "lrrrrrr", rows)


TABLES: dict[str, Table] = {"cifar-resnets": resnets}
