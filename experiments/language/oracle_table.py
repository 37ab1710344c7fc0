"""The table of HUGGINGFACE.md, from the JSON file of oracle.py."""

from experiments.markdown import Table, read, table

MODELS = ("full", "small", "padded", "dropped")


def oracle() -> list[str]:
    """A row an architecture: how far transformers is from here."""
    found = read("language/results/oracle.json")
    lines = []
    for kind, row in found["rows"].items():
        apart = [f"{1e6 * row['largest difference'][name]:.1f}" for name in MODELS]
        before, after = row["parameters"]
        fields = ", ".join(f"{k} {v}" for k, v in row["small config"].items())
        size = f"{row['largest output']:.1f}"
        lines.append((kind, f"{before:,} → {after:,}", fields, size, *apart))
    versions = found["versions"]
    heads = (f"transformers {versions['transformers']}", "parameters", "small config")
    heads += ("largest output", "full", "half", "filled up", "a layer less")
    return table(heads, "llllrrrr", lines)


def checkpoints() -> list[str]:
    """A row a checkpoint: how far both are apart, and from themselves."""
    rows = [
        (
            row["name"],
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['largest logit']:.1f}",
            *(f"{1e6 * row[name]:.0f}" for name in APART),
        )
        for row in read("language/results/oracle.json")["checkpoints"]
    ]
    heads = ("checkpoint", "parameters, millions", "largest logit", *APART)
    return table(heads, "lrrrrrr", rows)


APART = ("float32", "float64", "transformers' rounding", "ours")
TABLES: dict[str, Table] = {"oracle": oracle, "oracle-checkpoints": checkpoints}
