"""Claims of arXiv 2311.10468 (GTAP) beside the figures of experiments/gtap."""

import itertools
from typing import Any

import numpy as np

from experiments.alexnet.table import by_layer, by_method, peak_of
from experiments.claims.row import (
    Row,
    command_of,
    counted,
    is_there,
    of_checks,
    of_figure,
    points,
    unmeasured,
)
from experiments.markdown import percent, percents, read

LENET5, LENET300 = "gtap/lenet5.json", "gtap/lenet300.json"
SOLUTIONS, ARCHITECTURES = "gtap/solutions.json", "gtap/architectures.json"
TEXTS = {"topic": "gtap/topic.json", "emotion": "gtap/emotion.json"}
BANDS = "gtap/bands.json"
LONG = {
    "transformer": "a small transformer",
    "GRU": "a GRU that reads texts",
    "ResNet-20": "ResNet-20 on CIFAR-10",
    "VGG": "a narrow VGG-11 on CIFAR-10",
}
CRITICAL = 0.225
INDICES = ("beta", "shapley", "banzhaf")
WEIGHTS = ("magnitude_l1", "magnitude_l2", "weight_gradient")
ALL_BASELINES = (*WEIGHTS, "taylor", "loss_oracle", "random")
PROCEDURES = {
    "top-n": "top-n {} likelihood",
    "iterated pruning": "pruning {}",
    "iterated building": "building {}",
}
ALEXNET = "alexnet/results.json"


def rows() -> list[Row]:
    """All rows, in the paper's order."""
    return [*bands(), *lenet5(), *texts(), *alexnet(), *outlook()]


def definition(network: str, output: str = "label") -> dict[str, Any]:
    """The bands of a network, by what its output is."""
    found = read(BANDS)[network]["definitions"]
    return next(row for row in found if row["output"] == output)


def width_of(network: str) -> float:
    """The width at half of the maximum, on the diagonal, from the grid's steps."""
    diagonal = np.asarray(definition(network)["diagonal"])
    step = np.diff(read(BANDS)[network]["p"]).mean()
    return float(step * (diagonal >= diagonal.max() / 2).sum())


def asymmetry_of(network: str) -> float:
    """Above less below the diagonal, as a share of both."""
    plane = np.asarray(definition(network)["variance"])
    above = np.triu_indices(len(plane), 1)
    upper, lower = plane[above].sum(), plane.T[above].sum()
    return float((upper - lower) / (upper + lower))


def bands() -> list[Row]:
    """Figure 2: where the variance is largest."""
    command, made = command_of(BANDS), []
    for part, network, left in (("a", "LeNet-300-100", 0.175), ("b", "LeNet-5", 0.225)):
        found, place = definition(network), f"Figure 2{part}"
        paper = read(BANDS)[network]["paper's peak"]
        made.append(
            Row(
                place,
                f"{network}: largest variance at p = q =",
                f"{paper:.3f}",
                f"{found['peak']:.3f} ± {found['stderr']:.3f}",
                f"{found['peak'] - paper:+.3f}",
                of_figure(found["peak"], paper, found["stderr"]),
                command,
                BANDS,
            )
        )
        share = found["share left"]
        error = 2 * (1 - found["peak"]) * found["stderr"]
        made.append(
            Row(
                place,
                f"{network}: share of neurons at the peak, 1 - t* in the paper; "
                "what is left there is (1 - t*)²",
                f"{left:.3f}",
                f"{share:.3f} ± {error:.3f}",
                f"{share - left:+.3f}",
                of_figure(share, left, error),
                command,
                BANDS,
            )
        )
    small, large = (
        definition(name)["share left"] for name in ("LeNet-300-100", "LeNet-5")
    )
    made.append(
        Row(
            "Section IV-A",
            "the ticket of LeNet-300-100 is smaller than that of LeNet-5 (share left)",
            "0.175 < 0.225",
            f"{small:.3f}, {large:.3f}",
            f"{small - large:+.3f}",
            of_checks([small < large]),
            command,
            BANDS,
        )
    )
    return [*made, *two_digits(command)]


def two_digits(command: str) -> list[Row]:
    """Figure 2c: digits 0 against 1."""
    all_ten, two = "LeNet-5", "LeNet-5, 0 against 1"
    peaks = [definition(name)["peak"] for name in (all_ten, two)]
    errors = [definition(name)["stderr"] for name in (all_ten, two)]
    widths = [width_of(name) for name in (all_ten, two)]
    skews = [asymmetry_of(name) for name in (all_ten, two)]
    low = [
        np.asarray(definition(n)["diagonal"])[:10].max()
        / max(definition(n)["diagonal"])
        for n in ("LeNet-300-100", all_ten)
    ]
    return [
        Row(
            "Section IV-A",
            "low variance in the lower half of p and q (largest there, of the peak)",
            "low",
            f"LeNet-300-100 {100 * low[0]:.0f} %, LeNet-5 {100 * low[1]:.0f} %",
            "not of a number",
            of_checks([share < 0.5 for share in low]),
            command,
            BANDS,
        ),
        Row(
            "Figure 2c",
            "digits 0 against 1: the band is at the same place",
            "same place",
            f"t* {peaks[1]:.3f} (ten digits {peaks[0]:.3f})",
            f"{peaks[1] - peaks[0]:+.3f}",
            of_checks([abs(peaks[1] - peaks[0]) <= 2 * np.hypot(*errors)]),
            command,
            BANDS,
        ),
        Row(
            "Figure 2c",
            "digits 0 against 1: the band is narrower (width at half height)",
            "narrower",
            f"{widths[1]:.2f} (ten digits {widths[0]:.2f})",
            f"{widths[1] - widths[0]:+.2f}",
            of_checks([widths[1] < widths[0]]),
            command,
            BANDS,
        ),
        Row(
            "Section IV-A",
            "ten digits: symmetric about the diagonal; 0 against 1: not "
            "(the halves' difference over their sum)",
            "0; clearly not 0",
            f"{skews[0]:+.4f}; {skews[1]:+.4f}",
            "not of a number",
            of_checks([abs(skews[0]) < 0.01, abs(skews[1]) > 0.05]),
            command,
            BANDS,
        ),
    ]


def mean_of(source: str, method: str, size: float | None = None) -> Any:
    """Mean test accuracies of a method at all sizes, or at one."""
    found = read(source)
    means = np.asarray(found["methods"][method]["test mean"])
    return means if size is None else means[found["sizes"].index(size)]


def spread_of(source: str, method: str) -> float:
    found = read(source)
    return found["methods"][method]["test std"][found["sizes"].index(CRITICAL)]


def accuracy(source: str, place: str, title: str, method: str, paper: float) -> Row:
    """The test accuracy at 22.5 %."""
    mean, std = mean_of(source, method, CRITICAL), spread_of(source, method)
    return Row(
        place,
        f"LeNet-5 at 22.5 %, {title}: test accuracy, %",
        f"{100 * paper:.1f}",
        percents((mean, std)),
        points(mean, paper),
        of_figure(mean, paper, std),
        command_of(source),
        source,
    )


def deviations(claim: str, paper: str, low: str, high: str, times: float) -> Row:
    """LeNet-5 at 22.5 %: one method's deviation over the runs beside another's."""
    first, second = spread_of(LENET5, low), spread_of(LENET5, high)
    return Row(
        "Section IV-B1",
        claim,
        paper,
        f"{first:.3f}, {second:.3f}",
        f"{first - second:+.3f}",
        of_checks([first < times * second]),
        command_of(LENET5),
        LENET5,
    )


def wins(source: str, methods, rivals) -> list[bool]:
    """For every method and size: is it above all rivals?"""
    best = np.max([mean_of(source, rival) for rival in rivals], axis=0)
    return [bool(x) for m in methods for x in mean_of(source, m) > best]


def all_methods(source: str) -> list[str]:
    """Three procedures by three indices; iterated pruning by the bias of the paper."""
    made = [f"top-n {index} likelihood" for index in INDICES]
    made += [f"building {index}" for index in INDICES]
    return [*made, "printed pruning", "pruning shapley", "pruning banzhaf"]


def above(source: str, place: str, claim: str, methods, rivals) -> Row:
    """A claim that methods are above rivals at every size."""
    checks = wins(source, methods, rivals)
    return Row(
        place,
        claim,
        "all",
        counted(checks, "means"),
        f"{sum(checks) - len(checks)} means",
        of_checks(checks),
        command_of(source),
        source,
    )


def order(place: str, claim: str, values: dict[str, float], source: str) -> Row:
    """A claim that values fall in the given order."""
    names = list(values)
    pairs = list(itertools.pairwise(values.values()))
    checks = [bool(first > second) for first, second in pairs]
    return Row(
        place,
        claim,
        " > ".join(names),
        ", ".join(f"{name} {100 * value:.1f}" for name, value in values.items()),
        ", ".join(points(first, second) for first, second in pairs),
        of_checks(checks),
        command_of(source),
        source,
    )


def gaps(place: str, claim: str, paper: str, pairs, source: str) -> Row:
    """A claim that the first of each pair of named means is above the second."""
    named = dict(itertools.chain(*pairs))
    checks = [bool(first > second) for (_, first), (_, second) in pairs]
    return Row(
        place,
        claim,
        paper,
        ", ".join(f"{name} {100 * value:.1f}" for name, value in named.items()),
        ", ".join(points(first, second) for (_, first), (_, second) in pairs),
        of_checks(checks),
        command_of(source),
        source,
    )


def single_weights(source: str, place: str, network: str) -> Row:
    """Magnitude of single weights, as the paper describes its baseline."""
    own = mean_of(source, "printed magnitude of single weights")
    methods = all_methods(source)
    best = np.max([mean_of(source, method) for method in methods], axis=0)
    checks = [bool(b > o) for b, o in zip(best, own, strict=True)]
    at = read(source)["sizes"].index(CRITICAL)
    return Row(
        place,
        f"{network}: the best index and procedure is above magnitude of single weights "
        '"anywhere in the entire network", at the same share of weights',
        "all sizes",
        counted(checks, "sizes"),
        f"at 22.5 % {points(best[at], own[at])}",
        of_checks(checks),
        command_of(source),
        source,
    )


def lenet5() -> list[Row]:
    """Figures 3 and 4, and the sentences about them."""
    section = "Section IV-B1"
    figures = [
        ("top-n, the biased index, as printed", "printed top-n", 0.585),
        ("top-n, ours (estimate and family shares chosen on validation data)",)
        + ("top-n, chosen on validation", 0.585),
        ("iterated pruning, Shapley", "pruning shapley", 0.871),
        ("iterated pruning, Banzhaf", "pruning banzhaf", 0.871),
        ("iterated pruning, the biased index, as printed", "printed pruning", 0.871),
        ("greedy removal by exact marginals, ours", "pruning beta", 0.871),
        ("iterated building, as printed", "printed building", 0.916),
        ("iterated building, our bias and value, no exchanges", "building beta", 0.916),
        ("iterated building, ours with exchanges",)
        + ("building beta + exchanges", 0.916),
    ]
    at = {
        index: mean_of(LENET5, f"top-n {index} likelihood", CRITICAL)
        for index in INDICES
    }
    random = mean_of(LENET5, "random", CRITICAL)
    pruned = {
        "Shapley": mean_of(LENET5, "pruning shapley", CRITICAL),
        "Banzhaf": mean_of(LENET5, "pruning banzhaf", CRITICAL),
        "biased": mean_of(LENET5, "printed pruning", CRITICAL),
    }
    top, built = (
        mean_of(LENET5, f"printed {procedure}", CRITICAL)
        for procedure in ("top-n", "building")
    )
    biased = ("biased", pruned["biased"])
    best = max(pruned, key=pruned.__getitem__)
    most = (f"pruning ({best})", pruned[best])
    return [
        *(accuracy(LENET5, section, *figure) for figure in figures),
        deviations(
            "the deviation between runs of iterated pruning (Shapley) is less than "
            "half that of top-n",
            "0.016, 0.055",
            "pruning shapley",
            "printed top-n",
            0.5,
        ),
        deviations(
            "the deviation between runs of iterated building is lower than that of "
            "iterated pruning (Shapley)",
            "0.012, 0.019",
            "printed building",
            "pruning shapley",
            1.0,
        ),
        above(
            LENET5,
            "Figure 3",
            "every index and procedure is above magnitude of neurons and weight x "
            "gradient at every size",
            all_methods(LENET5),
            WEIGHTS,
        ),
        above(
            LENET5,
            "Section IV-B1",
            "the same above all of our baselines, Taylor and chance among them",
            all_methods(LENET5),
            ALL_BASELINES,
        ),
        single_weights(LENET5, "Figure 3", "LeNet-5"),
        order(
            "Figure 3a",
            "top-n at 22.5 %: the biased index is above Shapley, and that above chance",
            {"biased": at["beta"], "Shapley": at["shapley"], "random": random},
            LENET5,
        ),
        order(
            "Figure 3a",
            "top-n at 22.5 %: Banzhaf with 1/2 is below the biased index",
            {"biased": at["beta"], "Banzhaf": at["banzhaf"]},
            LENET5,
        ),
        gaps(
            "Figure 3b",
            "iterated pruning: the biased index is worse than Shapley and Banzhaf",
            "Shapley, Banzhaf > biased",
            [(("Shapley", pruned["Shapley"]), biased)]
            + [(("Banzhaf", pruned["Banzhaf"]), biased)],
            LENET5,
        ),
        gaps(
            section,
            "iterated pruning is above top-n at 22.5 %",
            "pruning > top-n",
            [(most, ("top-n", top))],
            LENET5,
        ),
        gaps(
            "Figure 4",
            "iterated building is above iterated pruning at 22.5 %, as printed "
            "(no exchanges)",
            "building > pruning",
            [(("building", built), most)],
            LENET5,
        ),
        above(
            LENET300,
            "Footnote 7",
            "LeNet-300-100: every index and procedure above magnitude of neurons and "
            "weight x gradient",
            all_methods(LENET300),
            WEIGHTS,
        ),
        single_weights(LENET300, "Footnote 7", "LeNet-300-100"),
    ]


def texts() -> list[Row]:
    """Figure 5."""
    made = []
    for part, (name, source) in zip("ab", TEXTS.items(), strict=True):
        place = f"Figure 5{part}"
        made.append(
            above(
                source,
                place,
                f"{name}: every index and procedure above magnitude of neurons and "
                "weight x gradient",
                all_methods(source),
                WEIGHTS,
            )
        )
        made.append(single_weights(source, place, name))
        for title, kind in PROCEDURES.items():
            shapley, banzhaf = (
                mean_of(source, kind.format(index)) for index in ("shapley", "banzhaf")
            )
            checks = (shapley > banzhaf).tolist()
            at = read(source)["sizes"].index(CRITICAL)
            made.append(
                Row(
                    place,
                    f"{name}, {title}: Shapley above Banzhaf",
                    "Shapley > Banzhaf",
                    counted(checks, "sizes"),
                    f"at 22.5 % {points(shapley[at], banzhaf[at])}",
                    of_checks(checks),
                    command_of(source),
                    source,
                )
            )
    return made


def alexnet() -> list[Row]:
    """Section IV-C and Figures 6 to 8."""
    found, command = read(ALEXNET), command_of(ALEXNET)
    training = found["training"]
    ours, epochs = training["test"], training["epochs"]
    common = (command, ALEXNET)
    return [
        Row(
            "Section IV-C",
            f"AlexNet, all neurons: accuracy, % (here after {epochs} epochs)",
            "51.6",
            percent(ours),
            points(ours, 0.516),
            "below" if ours < 0.516 else "above",
            *common,
        ),
        *alexnet_bands(common),
        *alexnet_curves(common),
        *alexnet_indices(common),
    ]


def alexnet_bands(common: tuple[str, str]) -> list[Row]:
    """Figure 6."""
    lenets = {n: definition(n)["peak"] for n in ("LeNet-300-100", "LeNet-5")}
    convs, dense = (peak_of(title)["peak"] for title in ("convolutions", "dense"))
    whole = peak_of("all")
    peak, error = whole["peak"], whole["stderr"]
    gap = peak - min(lenets.values())
    clear = abs(gap) > 2 * error
    return [
        Row(
            "Figure 6a",
            "the band lies lower than the LeNets': t*",
            "lower p",
            f"{peak:.3f} ± {error:.3f} ("
            + ", ".join(f"{n} {p:.3f}" for n, p in lenets.items())
            + ")",
            f"{gap:+.3f}",
            of_checks([gap < 0]) if clear else "too wide to tell",
            *common,
        ),
        Row(
            "Figure 6b, c",
            "convolutions have a larger critical size than dense layers: 1 - t*",
            "larger",
            f"{1 - convs:.3f}; {1 - dense:.3f}",
            f"{dense - convs:+.3f}",
            of_checks([convs < dense]),
            *common,
        ),
    ]


def alexnet_curves(common: tuple[str, str]) -> list[Row]:
    """Figure 7, and footnotes 8 and 9."""
    found = {name: values.mean(0) for name, values in by_method().items()}
    same = "Taylor's shares"
    printed, ours = (
        found[f"index (loss), {shares}"]
        for shares in ("magnitude's shares at 30 %", same)
    )
    sizes = read(ALEXNET)["sizes"]
    late = [sizes.index(size) for size in (0.4, 0.5, 0.6)]
    rivals = ("magnitude_l2", "weight_gradient")
    claims = [
        (
            "Figure 7",
            f"{name} is slightly above GTAP by layer in magnitude's shares at 30 %",
            found[name] - printed,
        )
        for name in rivals
    ]
    claims += [
        (
            "Figure 7",
            f"the same with the indices in {same}: {name} above them",
            found[name] - ours,
        )
        for name in (*rivals, "taylor")
    ]
    together = f"index (all), {same}"
    if together in found:
        claims.append(
            (
                "Footnote 8",
                f"sampling all layers at once is worse than layer by layer ({same})",
                ours - found[together],
            )
        )
    on_test = f"index (test), {same}"
    if on_test in found:
        best = np.max([found[name] for name in rivals], axis=0)
        claims.append(
            (
                "Footnote 9",
                f"indices on test images beat the baselines at 40 to 60 % ({same})",
                (found[on_test] - best)[late],
            )
        )
    measured = {place for place, *_ in claims}
    missing = [
        unmeasured(place, claim, "worse" if place == "Footnote 8" else "slightly", word)
        for place, claim, word in (
            ("Footnote 8", "sampling all layers at once is worse", common[0]),
            ("Footnote 9", "indices on test images beat the baselines", common[0]),
        )
        if place not in measured
    ]
    rows = [
        Row(
            place,
            claim,
            "slightly" if place != "Footnote 8" else "worse",
            counted(gaps > 0, "sizes"),
            ", ".join(f"{100 * gap:+.1f}" for gap in gaps) + " points",
            of_checks([bool(gap > 0) for gap in gaps]),
            *common,
        )
        for place, claim, gaps in claims
    ]
    return [*rows, *missing, alexnet_building(found, common)]


def alexnet_building(found: dict[str, Any], common: tuple[str, str]) -> Row:
    """Figure 7: where iterated building begins to rise."""
    place, claim = "Figure 7", "building: a rise at 10 %, linear from 20 %"
    if "building" not in found:
        return unmeasured(place, claim, "10 %; 20 %", common[0])
    curve, sizes = found["building"], read(ALEXNET)["sizes"]
    line = np.corrcoef(sizes[1:], curve[1:])[0, 1] ** 2
    return Row(
        place,
        f"{claim} (here accuracy at 10, 20, ... 60 %)",
        "10 %; 20 %",
        ", ".join(percent(x) for x in curve),
        f"from 20 % on R² of a line {line:.2f}",
        of_checks([bool(curve[1] > curve[0] + 0.01), bool(line > 0.98)]),
        *common,
    )


def alexnet_indices(common: tuple[str, str]) -> list[Row]:
    """Figure 8 and footnote 10."""
    ranks = {name: v.mean() for name, v in by_layer("loss", "rank correlation").items()}
    values = list(ranks.values())
    return [
        Row(
            "Figure 8",
            "index and magnitude correlate most in the first convolutions "
            "(rank correlation from the first convolution to the last dense layer)",
            "most in early layers",
            ", ".join(f"{r:.2f}" for r in values),
            "not of a number",
            of_checks([bool(np.argmax(values) < 2)]),
            *common,
        ),
        Row(
            "Figure 8",
            "index and magnitude correlate somewhat in all layers",
            "above 0",
            counted([value > 0 for value in values], "layers"),
            f"smallest {min(values):.2f}",
            of_checks([value > 0 for value in values]),
            *common,
        ),
        Row(
            "Footnote 10",
            "neurons of weights below 0.002 are left out of Figure 8",
            "some",
            "none left out",
            "not of a number",
            "not needed",
            *common,
        ),
    ]


def outlook() -> list[Row]:
    """What the paper says that others may find."""
    others = open_architectures()
    place, claim = "Section IV-C", "Core and Nucleolus may do better than power indices"
    if not is_there(SOLUTIONS):
        command = "python -m experiments.gtap.solutions"
        return [unmeasured(place, claim, "may", command), *others]
    found = read(SOLUTIONS)
    means = {
        name: float(np.mean([run["rows"][name]["test"] for run in found["runs"]]))
        for name in found["runs"][0]["rows"]
    }
    indices = {n: means[n] for n in ("Shapley", "Banzhaf", "Banzhaf, bias 0.3")}
    cores = {n: means[n] for n in ("least core", "nucleolus")}
    best = max(indices.values())
    row = Row(
        place,
        f"{claim} (narrow LeNet-5, mean of three sizes, {len(found['runs'])} seeds)",
        "may",
        ", ".join(f"{n} {100 * v:.1f}" for n, v in {**cores, **indices}.items()),
        ", ".join(points(v, best) for v in cores.values()),
        of_checks([v > best for v in cores.values()]),
        command_of(SOLUTIONS),
        SOLUTIONS,
    )
    return [row, *others]


def open_architectures() -> list[Row]:
    """Other architectures: the biased value against magnitude, each at its best."""
    return [
        architecture(name, runs) for name, runs in read(ARCHITECTURES)["runs"].items()
    ]


def architecture(name: str, runs: list[dict[str, Any]]) -> Row:
    """The biased value above magnitude: both by layer, and both of all together."""
    curves = {
        ranking: np.mean([run["curves"][ranking] for run in runs], axis=0)
        for ranking in runs[0]["curves"]
    }
    own, rival = (
        np.maximum(curves[f"{what}, together"], curves[f"{what}, by layer"])
        for what in ("beta", "magnitude")
    )
    checks = [bool(b > m) for b, m in zip(own, rival, strict=True)]
    seeds = f"{len(runs)} seed" + "s" * (len(runs) > 1)
    return Row(
        "Section IV-C",
        "other architectures, such as transformers, might do differently: the biased "
        f"value above magnitude on {LONG.get(name, name)} ({seeds}; the better of "
        "together and by layer)",
        "unknown",
        counted(checks, "sizes (60, 40, 25 and 15 % kept)"),
        ", ".join(points(b, m) for b, m in zip(own, rival, strict=True)),
        of_checks(checks),
        command_of(ARCHITECTURES),
        ARCHITECTURES,
    )
