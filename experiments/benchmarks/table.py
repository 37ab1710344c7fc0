"""The tables of README.md: claim, measured, target, command."""

from typing import NamedTuple

from experiments.markdown import Table, read, table


class Claim(NamedTuple):
    """One row: a number of a file, and what it has to be."""

    claim: str
    measured: str
    target: str
    command: str


def claims() -> list[str]:
    """Every ratio that is claimed, with its target."""
    rows = [
        *_networks(),
        *_coalitions(),
        *_processes(),
        *_studies(),
    ]
    return table([*Claim._fields], "lrrl", [(*row[:3], f"`{row[3]}`") for row in rows])


def _networks() -> list[Claim]:
    latency, gating, sweep, trace = (
        read(f"benchmarks/{name}.json")
        for name in ("latency", "gating", "sweep", "trace")
    )
    return [
        Claim(
            "LeNet-300-100 with 90 % of its hidden neurons removed, batch 10,000: "
            "time over that of the dense network",
            f"{latency['verdict']['small / dense']:.2f}",
            _most(latency["verdict"]),
            latency["command"],
        ),
        Claim(
            "A training step of 784-512-256-10 with gates, batch 128: "
            "time over that of the step without",
            f"{gating['verdict']['gated / plain']:.2f}",
            _most(gating["verdict"]),
            gating["command"],
        ),
        Claim(
            "The same for the whole step of the game (gradients of the gates, all "
            "terms of the utilities, both optimizers)",
            f"{gating['verdict of the game']['game / plain']:.2f}",
            _most(gating["verdict of the game"]),
            gating["command"],
        ),
        Claim(
            "Eight games of 64-512-256-10 in one program: time over that of one",
            f"{sweep['verdict']['8 games / one']:.1f}",
            _most(sweep["verdict"]),
            sweep["command"],
        ),
        Claim(
            f"{trace['model']}: finding its {trace['players']:,} players after "
            "`jax.make_jaxpr`",
            f"{trace['verdict']['seconds of analysis']:.2f} s",
            f"{_most(trace['verdict'])} s",
            trace["command"],
        ),
    ]


def _coalitions() -> list[Claim]:
    values, scaling, repair, memory = (
        read(f"benchmarks/{name}.json")
        for name in ("coalitions", "scaling", "repair", "memory")
    )
    return [
        Claim(
            "Coalition values of LeNet-300-100, 10,000 rows "
            f"({values['values_per_second']:.0f} a second): share of what the "
            "measured speed of large matrix products allows",
            f"{values['verdict'][_SHARE]:.2f}",
            _least(values["verdict"]),
            values["command"],
        ),
        Claim(
            f"Values of the prefixes of an order of its {values['players']} players: "
            "times as many a second as full values",
            f"{values['verdict of prefixes']['prefixes / full values']:.1f}",
            _least(values["verdict of prefixes"]),
            values["command"],
        ),
        Claim(
            "A value after repair: time over that of one without",
            f"{repair['verdict']['repaired / plain']:.2f}",
            _most(repair["verdict"]),
            repair["command"],
        ),
        Claim(
            "Memory of 100,000 coalitions over that of 100, masks apart",
            f"{scaling['verdict'][_MEMORY]:.1f} MiB",
            f"{_most(scaling['verdict'])} MiB",
            scaling["command"],
        ),
        Claim(
            "Memory of a value function beside network and examples, over that of one "
            "tile of forward passes and two activations: the largest of four networks",
            f"{memory['verdict']['largest share of the limit']:.2f}",
            _most(memory["verdict"]),
            memory["command"],
        ),
        Claim(
            "Seconds by number of coalitions: exponent",
            f"{scaling['exponent in coalitions']:.2f}",
            "",
            scaling["command"],
        ),
        Claim(
            "Seconds by number of rows: exponent",
            f"{scaling['exponent in rows']:.2f}",
            "",
            scaling["command"],
        ),
    ]


_SHARE = "share of the products' rate"
_MEMORY = "MiB from fewest to most, masks apart"


def _processes() -> list[Claim]:
    found = read("benchmarks/processes.json")
    bits, speed, mesh, kills = (found[n] for n in ("bits", "speed", "mesh", "kills"))
    verdict = mesh["verdict"]
    gathers = mesh["verdict of all-gathers"]
    rows = [
        (
            f"{len(bits['cases'])} estimates, selections and the like by two and four "
            "processes: results whose bits are not those of one",
            f"{bits['verdict']['different']}",
            _most(bits["verdict"]),
        ),
        *(
            (
                f"{what} of 64-300-100-10, 4,096 rows, by two processes of one core: "
                "times as fast as by one",
                f"{speed[kind]['verdict'][_FASTER]:.2f}",
                _least(speed[kind]["verdict"]),
            )
            for kind, what in {
                "coalitions": "Values of coalitions",
                "orders": "Prefixes of orders",
            }.items()
        ),
        (
            "Matrix products of such sizes, the same: what the machine allows",
            f"{speed[_PRODUCTS]:.2f}",
            "",
        ),
        (
            f"Runs of one to four processes killed at random {len(kills['kills'])} "
            "times, resumed by other numbers of them: results whose bits are not those "
            "of a whole run",
            f"{kills['verdict']['results that differ']}",
            "at most 0",
        ),
        (
            "Parameters split over two devices of a 2 x 2 mesh: arguments of a device "
            "over the parameters' bytes",
            f"{verdict['arguments / parameters']:.2f}",
            _most(verdict),
        ),
        (
            "The same: all-gathers in the program of a tile; in a forward pass",
            f"{gathers['all-gathers of a tile']:.0f}",
            _most(gathers),
        ),
    ]
    return [Claim(*row, found["command"].split(" --out")[0]) for row in rows]


_PRODUCTS = "matrix products by two processes, times as fast"
_FASTER = "times as fast by two processes"


def _studies() -> list[Claim]:
    indices, pulls = read("gtap/speed.json"), read("bandits/speed.json")
    shapley = "Shapley values of LeNet-300-100 to a rank correlation of 0.95: seconds "
    shapley += "of shapiq's permutation sampling on the same network in torch over ours"
    summary, over = indices["summary"], pulls["ucb1 over"]
    ours = "Bandit pulls of its 400 players a second (UCB1) over those of "
    return [
        Claim(
            shapley,
            f"{summary['shapley']['ratio']:.1f}",
            "at least 10",
            indices["command"],
        ),
        Claim(
            "The same with 512 rows a sweep",
            f"{summary['shapley, 512 rows a sweep']['ratio']:.0f}",
            "at least 10",
            indices["command"],
        ),
        Claim(
            ours + "a Python loop around a jitted loss",
            f"{over['python loop, jitted loss']:.1f}",
            "at least 50",
            pulls["command"],
        ),
        Claim(
            ours + "a Python loop around torch",
            f"{over['python loop, torch']:.1f}",
            "at least 20",
            pulls["command"],
        ),
    ]


def _most(verdict: dict) -> str:
    return f"at most {verdict['at most']:.3g}"


def _least(verdict: dict) -> str:
    return f"at least {verdict['at least']:.3g}"


def removal() -> list[str]:
    """ResNet-18 before and after half of its players are removed."""
    found = read("benchmarks/trace.json")
    names = ("parameters", "params", 1e6, "M"), ("multiply-adds", "macs", 1e9, "G")
    rows = [
        (title, *(f"{value / unit:.2f} {letter}" for value in found[key]))
        for title, key, unit, letter in names
    ]
    kept = f"{found['players']:,}", f"{found['kept']:,}"
    rows = [("players", *kept), *rows]
    rows.append(("largest relative difference", "", f"{found['max_error']:.0e}"))
    return table(("", "before", "after"), "lrr", rows)


def accelerator() -> list[str]:
    """What the library reaches on one card, with its goals."""
    found = read("benchmarks/device-h100.json")
    parts = found["parts"]
    rows = [_of_products(parts, *case) for case in _CARD_CASES]
    games, walks = parts["gpt2_banzhaf"]["gpt2"], parts["prefixes"]
    outside = games["verdict"]
    rows += [
        (
            f"Banzhaf values of all {games['players']:,} players of GPT-2 small by "
            f"sample reuse, {games['evaluations']:,} evaluations in "
            f"{games['seconds']:.0f} s: median standard error; deviation of the values",
            f"{games['median standard error']:.1e}; "
            f"{games['standard deviation of the indices']:.1e}",
            "",
        ),
        (
            "The same: seconds outside the forward passes over those in them",
            f"{outside['seconds outside / in forwards']:.2f}",
            _most(outside),
        ),
        (
            "LeNet-300-100: prefixes of an order by updates of rank one over those by "
            "full passes, values a second; with all rows in a tile",
            "; ".join(f"{w['prefixes']['updates / full']:.2g}" for w in walks.values()),
            "",
        ),
    ]
    names = {"mlp": "784-512-256-10", "gpt2": "GPT-2 small"}
    for name, entry in parts["gating"].items():
        verdict = entry["verdict"]
        step = f"A training step of {names[name]} with gates: time over that without"
        rows.append((step, f"{verdict['gated / plain']:.2f}", _most(verdict)))
    search = parts["find_players"]["gpt2"]["verdict"]
    claim = f"Finding the {games['players']:,} players of GPT-2 small"
    rows.append((claim, f"{search['seconds']:.1f} s", f"{_most(search)} s"))
    return table([found["card"], "measured", "goal"], "lrr", rows)


def players() -> list[str]:
    """Estimates and find_players with very many players."""
    found = read("benchmarks/players.json")
    parts = found["parts"]
    rows = [
        (_estimate_claim(parts[name]), _cost(parts[name]), f"{seconds} s; 2 GB")
        for name, seconds in (("banzhaf", 60), ("shapley", 300))
    ]
    overhead = parts["overhead"]
    names = {
        "sample_reuse": "sample reuse",
        "centred_reuse": "centred reuse",
        "paired_regression": "paired regression by conjugate gradients",
    }
    for method, name in names.items():
        claim = (
            f"{overhead['players']:,} players: own work of {name} over a forward pass "
            f"of GPT-2 small ({overhead['seconds a forward pass']:.2f} s), a coalition"
        )
        share = overhead[method]["own / forward"]
        rows.append((claim, f"{100 * share:.2f} %", "1 %"))
    for part, name, bound in (
        ("find_gpt2", "GPT-2 small, unrolled", "1 s"),
        ("find_llama", "Llama-7B, unrolled, from shapes", "10 s; 1 GB"),
    ):
        claim = f"Finding the {parts[part]['players']:,} players of {name}"
        measured = f"{parts[part]['seconds']:.1f} s"
        if part == "find_llama":
            measured += f"; {parts[part]['peak MiB'] * 2**20 / 1e9:.2f} GB"
        rows.append((claim, measured, bound))
    for name, slope in parts["growth"]["exponents"].items():
        size = f"10^{len(parts['growth'][name]) + 1}"
        rows.append(
            (f"Seconds by {name} up to {size}: exponent", f"{slope:.2f}", "1.1")
        )
    return table(["claim", "measured", "at most"], "lrr", rows)


def wide() -> list[str]:
    """Coalitions of one wide layer, beside the product of the same size."""
    rates = ("GFLOP/s, coalitions", "GFLOP/s, product")
    rows = []
    for row in read("benchmarks/wide.json")["rows"]:
        share = row["share of the product's rate"]
        cells = (f"{row[name]:.0f}" for name in rates)
        rows.append((f"{row['players']:,}", *cells, f"{share:.2f}"))
    heads = ("players in the layer", "GFLOP/s of coalitions", "of the product alone")
    return table((*heads, "share"), "rrrr", rows)


def _estimate_claim(part: dict) -> str:
    index = part["index"].split("(")[0].title()
    return (
        f"{index} values of {part['players']:,} players from {part['evaluations']:,} "
        f"evaluations ({part['method']}); of the 95 % intervals "
        f"{100 * part['share of 95 % intervals that are right']:.1f} % are right"
    )


def _cost(part: dict) -> str:
    return f"{part['seconds']:.0f} s; {part['peak MiB'] * 2**20 / 1e9:.2f} GB"


_CARD_CASES = (
    ("lenet_300_100", "LeNet-300-100, 10,000 rows"),
    ("resnet56", "ResNet-56, 1,024 rows of 32x32"),
    ("gpt2", "GPT-2 small, 4 sequences of 128"),
)


def _of_products(parts: dict, name: str, what: str) -> tuple[str, str, str]:
    """Values a second of one network, in both precisions, and their share."""
    pair = [parts["coalitions"][f"{name} {kind}"] for kind in ("float32", "bfloat16")]
    rates = " and ".join(f"{entry['values a second']:,.0f}" for entry in pair)
    shares = "; ".join(f"{entry['verdict'][_SHARE]:.2f}" for entry in pair)
    claim = (
        f"Coalition values of {what}, float32 and bfloat16 ({rates} a second): share "
        "of the measured rate of large matrix products in that precision"
    )
    return claim, shares, _least(pair[0]["verdict"])


TABLES: dict[str, Table] = {
    "benchmarks": claims,
    "accelerator": accelerator,
    "players": players,
    "resnet18": removal,
    "wide": wide,
}
