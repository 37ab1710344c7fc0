"""The tables of README.md, from the JSON files of the commands beside it."""

from typing import Any

from experiments.markdown import HERE, Table, percent, read, table

STAGES = ("as_cut", "one_shot", "repaired")
RANKINGS = {
    "influence": "influence (ShortGPT)",
    "magnitude": "magnitude",
    "one_out": "one branch out",
    "one_by_one": "one branch out, ranked anew after each",
    "banzhaf": "Banzhaf values, 0.9",
    "shapley": "Shapley values",
}


def _found(name: str) -> dict[str, Any]:
    path = f"language/results/{name}.json"
    return read(path) if (HERE / path).exists() else {}


def perplexities() -> list[str]:
    """A row a method and size."""
    found = _found("smollm2")
    rows = [
        (
            percent(row["removed"], 1),
            row["method"],
            ", ".join([*_branches(row), *row["kinds"]]),
            f"{row['calibration_tokens']:,}",
            *(_perplexity(row, stage) for stage in STAGES),
        )
        for row in found["rows"]
    ]
    heads = ("parameters gone, %", "method", "players", "calibration tokens")
    return table((*heads, "as cut", "one-shot", "in order"), "rllrrrr", rows)


def _branches(row: dict[str, Any]) -> list[str]:
    number = len(row.get("branches", []))
    return [f"{number} branches"] if number else []


def _perplexity(row: dict[str, Any], stage: str) -> str:
    if stage not in row:
        return ""
    return f"{row[stage]:.2f} ({row[f'{stage}_ratio']:.3f} x)"


def depth() -> list[str]:
    """A row a ranking, a column a number of branches."""
    found = _found("depth")
    methods = [method for method in RANKINGS if method in found]
    counts = sorted({int(n) for m in methods for n in found[m].get("perplexity", {})})
    rows = [
        (
            RANKINGS[method],
            f"{found[method]['evaluations']}",
            *(_at(found[method].get("perplexity", {}), n) for n in counts),
        )
        for method in methods
    ]
    heads = ("ranking", "evaluations", *(f"{n} out" for n in counts))
    return table(heads, "lr" + "r" * len(counts), rows)


def _at(curve: dict[str, float], count: int) -> str:
    return f"{curve[str(count)]:.1f}" if str(count) in curve else ""


def width() -> list[str]:
    """A row a network."""
    found = _found("width")
    names = {"as_cut": "as cut", "matched": "norms matched"}
    rows = [
        (
            percent(row["removed"], 1),
            f"{row['hidden_size']}",
            row["method"],
            names.get(row["stage"]) or "repaired",
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['perplexity']:.2f} ({row['ratio']:.3f} x)",
        )
        for row in found["rows"]
    ]
    heads = ("parameters gone, %", "hidden size", "who stays", "", "all, millions")
    return table((*heads, "perplexity"), "rrllrr", rows)


def distil() -> list[str]:
    """A row a network that was trained."""
    rows = _found("distil").get("rows", [])
    alike = {_course(row): row["test"] for row in rows if row["method"] == "dense"}
    found = [
        (
            percent(row.get("removed", 0.0), 1),
            *_learned(row),
            *(_against(row[k], row["test_dense"]) for k in ("test_before", "test")),
            _over(row["test"], alike.get(_course(row))),
        )
        for row in rows
    ]
    heads = ("parameters gone, %", *LEARNED, "before", "after")
    return table((*heads, "over the full one trained alike"), "rlrrlrrrr", found)


LEARNED = ("method", "tokens read", "of a text of", "loss", "tokens a second")


def _learned(row: dict[str, Any]) -> tuple[str, ...]:
    adapters = f", rank {row['lora']}" if row["lora"] else ""
    stage = f", {row['stage'].replace('_', ' ')}" if "stage" in row else ""
    return (
        row["method"] + stage,
        f"{row['tokens_read']:,}",
        f"{row['tokens_of_text']:,}",
        f"{row['weight']:g} teacher, T {row['temperature']:g}{adapters}",
        "" if "beside_other_work" in row else f"{row['tokens_per_second']:.0f}",
    )


def _course(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("text", "tokens", "rate", "weight", "temperature", "lora", "products")
    return tuple(row[name] for name in names)


def _against(perplexity: float, dense: float) -> str:
    return f"{perplexity:.2f} ({perplexity / dense:.3f} x)"


def _over(perplexity: float, other: float | None) -> str:
    return "" if other is None else f"{perplexity / other:.3f} x"


def distil_held_out() -> list[str]:
    """A row a network, trials included; perplexity at a quarter, a half, the end."""
    found = _found("distil")
    rows = [
        (
            percent(row.get("removed", 0.0), 1),
            *_learned(row),
            f"{row['rate']:g}",
            *(f"{value:.2f}" for value in _quarters(row["validation"])),
        )
        for row in [*found.get("trials", []), *found.get("rows", [])]
    ]
    heads = ("parameters gone, %", *LEARNED, "rate", "before", "a half", "after")
    return table(heads, "rlrrlrrrrr", rows)


def _quarters(curve: dict[str, float]) -> list[float]:
    """Before, about half-way, after."""
    values = list(curve.values())
    return [values[0], values[len(values) // 2], values[-1]]


def minilm() -> list[str]:
    """A row an encoder; two columns a task."""
    found = _found("minilm")
    rows = [("", "", "full", *_accuracies(found["full"]))]
    for row in found["rows"]:
        for stage, name in (("as_cut", "as cut"), ("repaired", "repaired")):
            kept = percent(row["keep"], 0)
            rows.append((kept, row["method"], name, *_accuracies(row[stage])))
    heads = ("kept, %", "who stays", "", "topic", "topic, same head")
    return table((*heads, "emotion", "emotion, same head"), "rllrrrr", rows)


def _accuracies(found: dict[str, Any]) -> list[str]:
    return [
        percent(found[task][kind], 1)
        for task in ("topic", "emotion")
        for kind in ("fitted", "as_it_was")
    ]


TABLES: dict[str, Table] = {
    "language-perplexity": perplexities,
    "language-depth": depth,
    "language-width": width,
    "language-distil": distil,
    "language-distil-held-out": distil_held_out,
    "language-minilm": minilm,
}
