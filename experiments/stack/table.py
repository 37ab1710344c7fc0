"""The tables of README.md, from results.json."""

from typing import Any

from experiments.markdown import Table, read, table


def figures() -> list[str]:
    """A row for each part that trains, stores or quantises."""
    found = read("stack/results.json")["parts"]
    rows = [
        ("MaxText's layout", what, _stored(row))
        for what, row in found["maxtext"]["found"].items()
    ]
    tunix = found["tunix"]["found"]
    rows.append(
        (
            "Tunix, `DistillationTrainer`",
            f"{tunix['steps']} steps",
            f"divergence from the teacher {tunix['divergence_before']:.3f} before, "
            f"{tunix['divergence_after']:.3f} after",
        )
    )
    rows += [
        ("Qwix", what, f"{error:.1%} of the largest logit")
        for what, error in found["qwix"]["found"]["max_error"].items()
    ]
    return table(("with", "what", "found"), "lll", rows)


def _stored(row: dict[str, Any]) -> str:
    fields = ", ".join(
        f"`{name}={new}`" for name, new in row["student_overrides"].items()
    )
    before, after = row["params"]["before"], row["params"]["after"]
    return (
        f"{after:,} of {before:,} parameters; {fields}; read back: "
        f"{row['max_error']:.0e} from `small.apply`"
    )


def converters() -> list[str]:
    """A row for each model: the error of each converter, or its limit."""
    found = read("stack/results.json")["parts"]
    names = list(found["onnx"]["found"])
    rows = [
        (name, *(_converted(found[part]["found"][name]) for part in ("onnx", "litert")))
        for name in names
    ]
    return table(("small model", "ONNX, by jax2onnx", "LiteRT"), "lll", rows)


def _converted(row: dict[str, Any]) -> str:
    if "max_error" in row:
        return f"{row['max_error']:.0e}"
    full = row["full_model"]
    both = "the full model, too" if isinstance(full, str) else "the full model converts"
    return f"{row['limit'].replace('|', '/')} ({both})"


def packages() -> list[str]:
    """The versions of the packages."""
    return table(
        ("package", "version"), "ll", read("stack/results.json")["versions"].items()
    )


TABLES: dict[str, Table] = {
    "stack": figures,
    "stack-converters": converters,
    "stack-packages": packages,
}
