"""The tables of README.md, from results.json."""

from typing import Any

import numpy as np

from experiments.markdown import Table, percent, percents, read, table

SOURCE = "alexnet/results.json"


def by_method() -> dict[str, np.ndarray]:
    """Test accuracies of each method, [seeds, sizes]."""
    found: dict[str, list[list[float]]] = {}
    for key, rows in read(SOURCE)["curves"].items():
        name = key.rsplit(" ", 1)[0]
        found.setdefault(name, []).append([row["test"] for row in rows])
    return {name: np.array(values) for name, values in found.items()}


def curves() -> list[str]:
    """Accuracy by share of the neurons."""
    heads = ("share of neurons kept", *(percent(s, 0) for s in read(SOURCE)["sizes"]))
    rows = [(name, *map(_spread, values.T)) for name, values in by_method().items()]
    return table(heads, "l" + "r" * (len(heads) - 1), rows)


def repaired() -> list[str]:
    """The same choices after closed-form repair, by share of the neurons."""
    found: dict[str, dict[float, list[float]]] = {}
    for key, row in read(SOURCE)["repaired"].items():
        name, _, size = key.rsplit(" ", 2)
        found.setdefault(name, {}).setdefault(float(size), []).append(row["test"])
    sizes = sorted({size for values in found.values() for size in values})
    rows = [
        (name, *(_spread(np.array(v[s])) if s in v else "" for s in sizes))
        for name, v in found.items()
    ]
    heads = ("share of neurons kept", *(percent(size, 0) for size in sizes))
    return table(heads, "l" + "r" * len(sizes), rows)


def _spread(values: np.ndarray) -> str:
    if len(values) == 1:
        return percent(float(values[0]))
    return percents((float(values.mean()), float(values.std(ddof=1))))


def peak_of(title: str) -> dict[str, Any]:
    """The band of the predicted class as a number, as the paper has it."""
    found = read(SOURCE)["bands"][title]["definitions"]
    return next(row for row in found if row["output"] == "label")


def bands() -> list[str]:
    """Where the uncertainty is largest."""
    rows = []
    for title in read(SOURCE).get("bands", {}):
        peak = peak_of(title)
        if peak["peak"] is None:
            rows.append((title, "none: largest at an end", ""))
        else:
            at = f"{peak['peak']:.3f} ± {peak['stderr']:.3f}"
            rows.append((title, at, percent(peak["share left"])))
    return table(("who plays", "t*", "left there, (1 - t*)², %"), "lrr", rows)


def by_layer(kind: str, what: str) -> dict[str, np.ndarray]:
    """What was found of each layer by one kind of index, by seed."""
    found: dict[str, list[float]] = {}
    for row in read(SOURCE)["indices"]["rows"]:
        if row["kind"] == kind:
            found.setdefault(row["family"], []).append(row[what])
    return {name: np.array(values) for name, values in found.items()}


def correlations() -> list[str]:
    """Figure 8 in numbers."""
    found = read(SOURCE)["indices"]
    sizes = {row["family"]: row["players"] for row in found["rows"]}
    columns: list[dict[str, str]] = []
    for kind in ("loss", "own"):
        ranks = by_layer(kind, "rank correlation")
        columns.append({name: f"{v.mean():.2f}" for name, v in ranks.items()})
    noise = {
        name: f"{np.mean(error / by_layer('loss', 'spread')[name]):.2f}"
        for name, error in by_layer("loss", "median stderr").items()
    }
    between = found["between seeds"].get("own", {})
    columns += [noise, {name: f"{rank:.2f}" for name, rank in between.items()}]
    bias = {name: f"{v[0]:.2f}" for name, v in by_layer("loss", "bias").items()}
    rows = [
        (name, f"{size:,}", bias.get(name, ""), *(c.get(name, "") for c in columns))
        for name, size in sizes.items()
    ]
    heads = (
        "layer",
        "neurons",
        "bias",
        "loss and magnitude",
        "calibrated and magnitude",
    )
    more = ("stderr / spread, loss", "two seeds, calibrated")
    return table((*heads, *more), "lrrrrrr", rows)


TABLES: dict[str, Table] = {
    "alexnet-bands": bands,
    "alexnet-correlations": correlations,
    "alexnet-curves": curves,
    "alexnet-repaired": repaired,
}
