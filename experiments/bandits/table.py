"""The tables of README.md, from the JSON files beside it."""

import numpy as np

from experiments.markdown import Table, percent, read, table

NAMES = {
    "epsilon_greedy": "epsilon-greedy",
    "exp3": "EXP3",
    "uniform": "uniform",
    "ucb1": "UCB1",
    "hedge": "Hedge",
    "softmax": "softmax",
    "thompson": "Thompson",
    "thompson_beta": "Thompson, Beta",
    "taylor": "Taylor",
    "magnitude": "magnitude",
    "activation": "activation variation",
    "loss_oracle": "loss oracle, at once",
    "random": "random",
}
TABULAR = {
    "full network": "unpruned",
    "UCB1, round by round": "ucb1",
    "Thompson sampling, round by round": "thompson",
    "uniform pulls, round by round": "uniform",
    "UCB1, ranked without caution": "ucb1, by the mean",
    "magnitude": "magnitude",
    "activation variation": "activation",
    "random": "random",
}


def name_of(method: str) -> str:
    name = NAMES[method.removesuffix("-family")]
    return f"{name}, by family" if method.endswith("-family") else name


def tabular() -> list[str]:
    """Mean accuracy and R² of a quarter of the neurons, before and after training."""
    found = read("bandits/tabular.json")
    stages = ("25 % kept, before", "25 % kept, after")
    rows = [
        (
            title,
            *(percent(_mean(found, "classification", s, method)) for s in stages),
            *(f"{_mean(found, 'regression', s, method):.3f}" for s in stages),
        )
        for title, method in TABULAR.items()
    ]
    heads = ("", "accuracy, %", "fine-tuned", "R²", "fine-tuned")
    return table(heads, "lrrrr", rows)


def _mean(found: dict, task: str, stage: str, method: str) -> float:
    return found[task]["ranks"][stage]["means"][method]


def networks() -> list[str]:
    """A quarter of the neurons of five networks, after removal and fine-tuned (FT)."""
    found = read("bandits/networks.json")
    runs = [_rows(name) for name in found["networks"]]
    ranks = [
        found[f"25% kept, {stage}"]["mean ranks"] for stage in ("before", "fine-tuned")
    ]
    heads = [*map(_short, found["networks"]), "mean rank"]
    rows = [["full network", *_values(runs, "dense"), "", ""]]
    for method in sorted(ranks[1], key=ranks[1].__getitem__):
        means = [f"{rank[method]:.1f}" for rank in ranks]
        rows.append([name_of(method), *_values(runs, method), *means])
    titles = ["", *(x for head in heads for x in (head, "FT"))]
    return table(titles, "l" + "r" * (len(titles) - 1), rows)


def _rows(network: str) -> list[dict]:
    slug = network.lower().replace(",", "").replace(" ", "-")
    return read(f"bandits/results/networks-{slug}.json")["rows"]


def _short(network: str) -> str:
    """The data of the text networks, which share a model; else the network."""
    name, data = network.split(", ")
    return data if name == "text MLP" else name


def _values(runs: list[list[dict]], method: str) -> list[str]:
    """Means over the seeds: every network, before and after."""
    return [
        percent(float(np.mean([r[stage] for r in rows if r["method"] == method])))
        for rows in runs
        for stage in ("before", "after")
    ]


def reasoning() -> list[str]:
    """A quarter of the players of the reasoning networks, cut and fine-tuned (FT)."""
    found = read("bandits/all_networks.json")
    names = found["networks"][len(read("bandits/networks.json")["networks"]) :]
    places = [found["networks"].index(name) for name in names]
    parts = [found["25% kept, before"], found["25% kept, fine-tuned"]]
    dense = [found["dense"][stage] for stage in ("before", "after")]
    rows = [["full network"]]
    rows[0] += [percent(own[name]) for name in names for own in dense]
    rows[0] += ["", ""]
    ranks = parts[1]["mean ranks"]
    for method in sorted(ranks, key=ranks.__getitem__):
        column = parts[0]["methods"].index(method)
        values = [percent(p["table"][k][column]) for k in places for p in parts]
        means = [f"{part['mean ranks'][method]:.1f}" for part in parts]
        rows.append([name_of(method), *values, *means])
    short = [name.replace("transformer", "TF").replace("mlp", "MLP") for name in names]
    titles = ["", *(x for name in [*short, "mean rank of all"] for x in (name, "FT"))]
    return table(titles, "l" + "r" * (len(titles) - 1), rows)


def ranks_of_all() -> list[str]:
    """Friedman's and Nemenyi's tests on all networks."""
    found = read("bandits/all_networks.json")
    stages = [name for name in found if name.endswith(("before", "fine-tuned"))]
    policies = ("epsilon_greedy", "softmax", "ucb1", "thompson", "hedge", "exp3")
    rows = []
    for stage in stages:
        part = found[stage]
        own = part["mean ranks"]
        order = sorted(policies, key=own.__getitem__)
        told = ", ".join(f"{name_of(n)} {own[n]:.1f}" for n in order)
        rivals = ("uniform", "magnitude-family", "magnitude", "activation")
        told_rivals = ", ".join(f"{name_of(n)} {own[n]:.1f}" for n in rivals)
        p, limit = part["friedman p"], part["critical difference"]
        rows.append((stage, f"{p:.1g}", f"{limit:.1f}", told, told_rivals))
    heads = ("", "Friedman p", "critical difference", "policies", "others")
    return table(heads, "lrrll", rows)


def families() -> list[str]:
    """The texts: family shares, and pulls on repaired networks."""
    found = read("bandits/families.json")["rows"]
    networks = list(dict.fromkeys((row["set"], row["training"]) for row in found))
    methods = list(dict.fromkeys(row["method"] for row in found))

    def cell(method: str, network: tuple[str, str], stage: str) -> str:
        keys = ("method", "set", "training")
        own = [
            row[stage]
            for row in found
            if tuple(row[key] for key in keys) == (method, *network)
        ]
        spread = f" ± {percent(float(np.std(own, ddof=1)))}" if len(own) > 1 else ""
        return f"{percent(float(np.mean(own)))}{spread}" if own else ""

    columns = [
        (network, stage) for network in networks for stage in ("cut", "repaired")
    ]
    heads = [f"{name}, {training}, {stage}" for (name, training), stage in columns]
    rows = [(m, *(cell(m, *column) for column in columns)) for m in methods]
    return table(("", *heads), "l" + "r" * len(heads), rows)


def regret() -> list[str]:
    """Five and ten pulls a neuron: by the mean, and by the mean and two errors."""
    found = read("bandits/regret.json")
    cautious = "regret by mean + 2 standard errors"
    rows = []
    for pulls in (5, 10):
        for policy in dict.fromkeys(row["policy"] for row in found["rows"]):
            own = [
                row
                for row in found["rows"]
                if (row["policy"], row["pulls an arm"]) == (policy, pulls)
            ]
            plain = np.mean([row["regret"] for row in own], axis=0)[0]
            careful = np.mean([row[cautious] for row in own], axis=0)
            values = [f"{value:.2f}" for value in (plain, *careful)]
            rows.append([str(pulls), policy, *values])
    first, *rest = map(str, found["removed"])
    heads = ["pulls a neuron", "policy", f"by the mean: {first} removed"]
    return table([*heads, f"cautious: {first}", *rest], "ll" + "r" * 6, rows)


def speed() -> list[str]:
    """Pulls a second of every policy, and how many times those of the loops."""
    found = read("bandits/speed.json")
    rates = dict(found["pulls per second, median"])
    loops = {name: rates.pop(name) for name in found["ucb1 over"]}
    rows = []
    for policy in sorted(rates, key=lambda name: -rates[name]):
        times = (rates[policy] / loop for loop in loops.values())
        cells = (f"{x:.1f}" if x < 10 else f"{x:.0f}" for x in times)
        rows.append((name_of(policy), f"{round(rates[policy], -2):,}", *cells))
    rows += [(_title(name), str(rate), "", "") for name, rate in loops.items()]
    heads = ("", "pulls a second", "times the Python loop", "times torch")
    return table(heads, "lrrr", rows)


def beta() -> list[str]:
    """Pulls a second of Thompson sampling, and the error of its Beta draws."""
    found = read("bandits/beta.json")
    rates = found["pulls per second, median"]
    errors = found["largest distance of the distribution functions"]
    told = "; ".join(f"{100 * errors[k]:.1f} % for {k}" for k in list(errors)[:2])
    notes = {"thompson_beta": told, "thompson_beta, by rejection": "none"}
    names = {"thompson_beta, by rejection": "Thompson, Beta by rejection"}
    rows = [
        (names.get(name) or name_of(name), f"{rate:,}", notes.get(name, ""))
        for name, rate in rates.items()
    ]
    heads = ("", "pulls a second", "largest error of the distribution function")
    return table(heads, "lrl", rows)


def _title(loop: str) -> str:
    return loop[0].upper() + loop[1:]


TABLES: dict[str, Table] = {
    "bandits-tabular": tabular,
    "bandits-networks": networks,
    "bandits-regret": regret,
    "bandits-speed": speed,
    "bandits-beta": beta,
    "bandits-families": families,
    "bandits-reasoning": reasoning,
    "bandits-all-networks": ranks_of_all,
}
