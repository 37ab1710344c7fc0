"""Claims of arXiv 2606.07615, of its abstract, beside those of experiments/bandits."""

from typing import Any

from scipy.stats import wilcoxon

from experiments.claims.row import Row, command_of, counted, is_there, of_checks
from experiments.markdown import read

TABULAR, NETWORKS = "bandits/tabular.json", "bandits/networks.json"
SPEED = "bandits/speed.json"
ALL_NETWORKS = "bandits/all_networks.json"
VARIANTS = ("ucb1, by the mean", "ucb1, at once")
POLICIES = ("epsilon_greedy", "softmax", "ucb1", "thompson", "hedge", "exp3")
SIZES = ("75 % kept", "50 % kept", "25 % kept", "10 % kept")
STAGES = {"before": "as cut", "after": "fine-tuned"}


def rows() -> list[Row]:
    """All rows, in the abstract's order."""
    kinds = ("classification", "regression")
    tables = [row for kind in kinds for row in tabular(kind)]
    return [*differences(), *tables, *standard_models(), *networks(), *cost()]


def ranks(task: str, size: str, stage: str) -> dict[str, Any]:
    return read(TABULAR)[task]["ranks"][f"{size}, {stage}"]


def differences() -> list[Row]:
    """Friedman's test sees differences."""
    made = []
    for task in ("classification", "regression"):
        found = {
            (size, stage): ranks(task, size, stage)["friedman"]["f_p_value"]
            for stage in STAGES
            for size in SIZES
        }
        checks = [p < 0.05 for p in found.values()]
        made.append(
            tables_row(
                f"Friedman (Iman-Davenport) sees differences on {task} tables",
                "p < 0.05",
                (
                    counted(checks, "sizes and stages"),
                    f"largest p {max(found.values()):.2g}",
                ),
                checks,
            )
        )
    return made


def tables_row(claim: str, paper: str, here: tuple[str, str], checks) -> Row:
    return Row(
        "Abstract",
        claim,
        paper,
        *here,
        of_checks(checks),
        command_of(TABULAR),
        TABULAR,
    )


def parts(task: str) -> list[dict[str, Any]]:
    return [ranks(task, size, stage) for stage in STAGES for size in SIZES]


def ahead_of(task: str, rival: str) -> list[float]:
    """By how many mean ranks UCB1 is above a rival, at every size and stage."""
    means = [part["mean ranks"] for part in parts(task)]
    return [mean[rival] - mean["ucb1"] for mean in means]


def in_ranks(gaps: list[float]) -> str:
    return f"ahead by {min(gaps):+.2f} to {max(gaps):+.2f} ranks"


def tabular(task: str) -> list[Row]:
    """UCB1 first, and above unpruned and other prunings."""
    firsts, gaps = [], []
    for part in parts(task):
        own = {name: part["mean ranks"][name] for name in POLICIES}
        firsts.append(min(own, key=own.__getitem__) == "ucb1")
        gaps.append(own["ucb1"] - min(own.values()))
    unpruned = ahead_of(task, "unpruned")
    above = [gap > 0 for gap in unpruned]
    what = "sizes and stages"
    made = [
        tables_row(
            f"{task}: UCB1 has the best mean rank of the policies",
            "first",
            (counted(firsts, what), f"behind by at most {max(gaps):.2f}"),
            firsts,
        ),
        tables_row(
            f"{task}: UCB1 is above the unpruned network in the mean rank",
            "above",
            (counted(above, what), in_ranks(unpruned)),
            above,
        ),
    ]
    for rival in ("magnitude", "activation"):
        gaps, checks = ahead_of(task, rival), significant(task, "ucb1", rival)
        others = ", ".join(
            f"{name.removeprefix('ucb1, ')} {sum(significant(task, name, rival))}"
            for name in VARIANTS
        )
        made.append(
            tables_row(
                f"{task}: UCB1 is significantly above {rival} (Nemenyi; in rounds, "
                "ranked with caution)",
                "significant",
                (f"{counted(checks, what)} ({others})", in_ranks(gaps)),
                checks,
            )
        )
    return made


def significant(task: str, name: str, rival: str) -> list[bool]:
    """Is a method more than a critical difference above another, place by place?"""
    return [
        part["mean ranks"][rival] - part["mean ranks"][name]
        > part["critical difference"]
        for part in parts(task)
    ]


def standard_models() -> list[Row]:
    """UCB1's networks beside standard models."""
    part = read(TABULAR)["regression"]["beside standard models, 50 % kept, after"]
    own = part["mean ranks"]["ucb1"]
    models = ("linear", "svm", "random forest", "gradient boosting")
    gaps = {name: part["mean ranks"][name] - own for name in models}
    checks = [gap > -part["critical difference"] for gap in gaps.values()]
    said = ", ".join(f"{name} {gap:+.2f}" for name, gap in gaps.items())
    level = counted(checks, "models")
    return [
        tables_row(
            "regression: UCB1's network is competitive with or above standard models "
            "(half of the neurons, fine-tuned)",
            "competitive",
            (f"mean rank {own:.2f}; {level} level or behind", said),
            checks,
        )
    ]


def networks() -> list[Row]:
    """The deep networks: five, or all with the reasoning problems."""
    source = ALL_NETWORKS if is_there(ALL_NETWORKS) else NETWORKS
    found, command = read(source), command_of(source)
    stages = [name for name in found if name.endswith(("before", "fine-tuned"))]
    made = []

    def row(claim: str, paper: str, here: str, deviation: str, checks) -> None:
        claim = f"{networks_of(found)}: {claim}"
        cells = (paper, here, deviation, of_checks(checks), command, source)
        made.append(Row("Abstract", claim, *cells))

    values = [found[stage]["friedman p"] for stage in stages]
    row(
        "Friedman sees differences",
        "p < 0.05",
        counted([p < 0.05 for p in values], "sizes and stages"),
        f"largest p {max(values):.2g}",
        [p < 0.05 for p in values],
    )
    tops = []
    for stage in stages:
        own = {n: found[stage]["mean ranks"][n] for n in POLICIES}
        tops.append({"ucb1", "thompson"} == set(sorted(own, key=own.get)[:2]))
    first = found[stages[-1]]["mean ranks"]
    said = ", ".join(f"{n} {first[n]:.1f}" for n in sorted(POLICIES, key=first.get))
    row(
        "UCB1 and Thompson sampling have the strongest ranks of the policies",
        "the first two",
        counted(tops, "sizes and stages"),
        f"{stages[-1]}: {said}",
        tops,
    )
    for rival, title in (
        ("magnitude", "magnitude"),
        ("activation", "greedy activation variation"),
        ("magnitude-family", "magnitude by family"),
        ("activation-family", "activation variation by family"),
    ):
        gaps, several = [], []
        for stage in stages:
            own = found[stage]["mean ranks"]
            ahead = [own[rival] - own[name] for name in POLICIES]
            gaps.append(max(ahead))
            several.append(
                sum(a > found[stage]["critical difference"] for a in ahead) >= 2
            )
        row(
            f"several policies are significantly above {title} (Nemenyi)",
            "significant",
            counted(several, "sizes and stages"),
            f"best policy {min(gaps):+.1f} to {max(gaps):+.1f} ranks",
            several,
        )
    made.append(against_dense(found, stages, source))
    return made


def networks_of(found: dict[str, Any]) -> str:
    """How many networks there are, and how many of them were trained once."""
    names = found["networks"]
    once = set(names) - set(read(NETWORKS)["networks"])
    if len(found.get("seeds of the reasoning networks", ())) != 1:
        return f"{len(names)} networks"
    return f"{len(names)} networks ({len(once)} of one seed)"


def against_dense(found: dict, stages: list[str], source: str) -> Row:
    """Above the unpruned network with the same fine-tuning?"""
    stage = stages[-1]
    dense = [found["dense"]["after"][name] for name in found["networks"]]
    methods = found[stage]["methods"]
    places = [methods.index(name) for name in POLICIES]
    best = [max(line[k] for k in places) for line in found[stage]["table"]]
    checks = [b > d for b, d in zip(best, dense, strict=True)]
    gaps = [100 * (b - d) for b, d in zip(best, dense, strict=True)]
    p_value = float(wilcoxon(best, dense, alternative="greater").pvalue)
    return Row(
        "Abstract",
        f"{networks_of(found)}: policies are significantly above the unpruned network "
        f"({stage}; the best policy of each network, chosen after the fact; Wilcoxon)",
        "p < 0.05",
        f"above on {counted(checks, 'networks')}, p = {p_value:.2g}",
        f"{min(gaps):+.1f} to {max(gaps):+.1f} points",
        of_checks([p_value < 0.05]),
        command_of(source),
        source,
    )


def cost() -> list[Row]:
    """Practical: pulls a second."""
    rates = read(SPEED)["pulls per second, median"]
    times = read(SPEED)["ucb1 over"]["python loop, jitted loss"]
    return [
        Row(
            "Abstract",
            "computationally practical: pulls a second of UCB1, 400 arms",
            "practical",
            f"{rates['ucb1']:,}",
            f"{times:.0f} x a Python loop",
            of_checks([rates["ucb1"] > 1000]),
            command_of(SPEED),
            SPEED,
        )
    ]
