"""The tables of README.md, from results.json, published.json and another study."""

from collections.abc import Iterable
from functools import partial
from statistics import fmean

from experiments.markdown import Table, percent, percents, read, shape, table

NETWORKS = ("64-512-256-10", "64-256-128-10")
OURS = "ours, auto"
SCRATCH = "from scratch, better of two rates"


def here(network: str) -> list[str]:
    """The equilibrium and its rivals on one network."""
    rows = []
    for row in read("peers/results.json")[network]["networks"]:
        is_own = row["network"].startswith(("dense", "equilibrium"))
        name = SCRATCH if row["network"] == "from scratch" else row["network"]
        kept = _range(row["kept"]) if is_own else "the same"
        values = (percents(row[stage]) for stage in ("after removal", "fine-tuned"))
        rows.append((name, kept, *values))
    return table((network, "kept", "after removal", "fine-tuned"), "llrr", rows)


def _range(shapes: list[list[int]]) -> str:
    """Fewest to most kept players of every layer over the seeds."""
    ends = [(min(layer), max(layer)) for layer in zip(*shapes, strict=True)]
    return "/".join(str(low) if low == high else f"{low}-{high}" for low, high in ends)


def beside_others() -> list[str]:
    """Other libraries on 64-256-128-10, then the equilibrium in two ways."""
    rows: list[tuple[str, ...]] = [
        (
            f"{row['library']}, {row['method']}" if row["library"] else row["method"],
            shape(row["kept"]),
            percent(row["before fine-tuning"]),
            _after(row),
        )
        for row in read("peers/published.json")["networks"]
    ]
    own = read("peers/results.json")["64-256-128-10"]["networks"][1]
    cells = (percents(own[stage]) for stage in ("after removal", "fine-tuned"))
    name = f"**gamepruning**, {own['network']}"
    rows.append((name, _range(own["kept"]), *cells))
    budget = read("equilibrium_mnist/digits.json")
    for size in ("26/13", "13/6"):
        found = budget[size]["rows"]["equilibrium"]["test"]
        value = f"{found['mean']:.1f} ± {found['std']:.1f}"
        rows.append(("**gamepruning**, equilibrium with a budget", size, "", value))
    return table(("", "kept", "before fine-tuning", "after"), "llrr", rows)


def _after(row: dict) -> str:
    value = row["after"]
    if isinstance(value, dict):
        return f"{percent(value['lowest'])} to {percent(value['highest'])}"
    if "std" in row:
        return percents((value, row["std"]))
    return percent(value, 2)


def beside_shapiq(index: str) -> list[str]:
    """Relative errors of a power index, by game and budget; the best in bold."""
    found = read("peers/shapiq.json")
    errors, rows = found["relative errors"][index], []
    methods = list(next(iter(errors.values())))
    for method in sorted(methods, key=OURS.__eq__):
        cells = [
            " / ".join(_error(own, method, times) for times in _times(own, method))
            for own in errors.values()
        ]
        rows.append((method, *cells))
    heads = [f"{game} {found['players'][game]}" for game in errors]
    return table([index.capitalize(), *heads], "l" + "r" * len(heads), rows)


def _times(by_method: dict, method: str) -> list[str]:
    return sorted(by_method.get(method, ()), key=int)


def _error(by_method: dict, method: str, times: str) -> str:
    means = _means(by_method, times)
    text = f"{means[method]:.3f}"
    return f"**{text}**" if means[method] == min(means.values()) else text


def _means(by_method: dict, times: str) -> dict[str, float]:
    """Over the seeds, of the methods that played at this budget."""
    return {
        name: fmean(own[times].values())
        for name, own in by_method.items()
        if times in own
    }


def beside_shapiq_summary() -> list[str]:
    """How often ours is best, and how far above the best it is at worst."""
    found = read("peers/shapiq.json")["relative errors"]
    ratios = {}
    for index, errors in found.items():
        for game, by_method in errors.items():
            for times in by_method["RegressionMSR"]:
                means = _means(by_method, times)
                ours = means.pop(OURS)
                case = f"{index.capitalize()}, {game}, {times} N"
                ratios[case] = ours / min(means.values())
    worst = max(ratios, key=ratios.__getitem__)
    values = ratios.values()
    rows = [
        ("cells", str(len(ratios)), ""),
        (
            "ours at most as far off as the best of shapiq",
            str(_count(values, 1.0)),
            "half",
        ),
        ("at most 15 % above it", str(_count(values, 1.15)), "all"),
        (
            "worst: times the best of shapiq's error",
            f"{ratios[worst]:.1f} ({worst})",
            "1.15",
        ),
    ]
    return table(["", "measured", "target"], "lrr", rows)


def _count(ratios: Iterable[float], bound: float) -> int:
    return sum(ratio <= bound for ratio in ratios)


TABLES: dict[str, Table] = {
    **{f"peers-{network}": partial(here, network) for network in NETWORKS},
    "peers-others": beside_others,
    "peers-shapiq-shapley": partial(beside_shapiq, "shapley"),
    "peers-shapiq-banzhaf": partial(beside_shapiq, "banzhaf"),
    "peers-shapiq-summary": beside_shapiq_summary,
}
