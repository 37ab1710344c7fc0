"""The table of README.md, from results.json."""

from experiments.markdown import Table, percent, read, table


def networks() -> list[str]:
    """What the random networks were, and how many came out wrong."""
    found = read("fuzz/results.json")
    ways = ", ".join(f"{name} {count:,}" for name, count in found["traced_as"].items())
    refused = found["share_where_exclude_refuses"]
    rows = [
        ("networks", f"{found['networks']:,}"),
        ("wrong", str(len(found["wrong"]))),
        ("largest error", f"{found['largest_error']:.1e}"),
        ("kinds of operation", str(found["kinds_of_operation"])),
        ("networks with players", f"{percent(found['share_with_players'])} %"),
        ("of these, `exclude` refuses", f"{percent(refused)} %"),
        ("players of a network, mean", f"{found['mean_players']:.1f}"),
        ("families of a network, mean", f"{found['mean_families']:.1f}"),
        ("traced as", ways),
    ]
    return table(("", "result"), "lr", rows)


def repairs() -> list[str]:
    """The same after repair, where no reader may be worse than untouched."""
    found = read("fuzz/repairs.json")
    alone = found["share_where_exclude_refuses"]  # here: with a reader left alone
    rows = [
        ("networks", f"{found['networks']:,}"),
        ("wrong", str(len(found["wrong"]))),
        ("kinds of operation", str(found["kinds_of_operation"])),
        ("networks with players", f"{percent(found['share_with_players'])} %"),
        ("of these, some reader is left alone", f"{percent(alone)} %"),
    ]
    return table(("", "result"), "lr", rows)


TABLES: dict[str, Table] = {"fuzz": networks, "fuzz-repairs": repairs}
