"""Time to a rank correlation of 0.95: ours, pyDVL's and shapiq's.

python -m experiments.gtap.speed

LeNet-300-100, 10,000 rows of MNIST, the accuracy of coalitions of its 400 neurons.
Ours twice: "auto", whose sweeps look at all rows, and "sampled", where each sweep looks
at 512 of its own (`ValueFunction.sample_rows`); the peers have all rows, always.
Needs torch, pyDVL and shapiq beside the library, and MNIST where GAMEPRUNING_DATA says.
The network and the reference indices are made once and kept in the folder of the cache.
What speed.json has already is not measured again, unless --fresh is given.
"""

import argparse
import importlib.metadata
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import gamepruning as gp
from experiments.gtap.speed_game import Net, TorchGame, load_net, rate_of
from experiments.gtap.speed_peers import (
    Step,
    pydvl_steps,
    rank_correlation,
    reuse_steps,
    shapiq_steps,
)
from experiments.gtap.speed_reference import VALUES, make_reference
from gamepruning.coalitions.values import value_function
from gamepruning.files.paths import cache_folder
from gamepruning.files.versions import versions
from gamepruning.run.devices import use_cores_as_devices

OUT = Path(__file__).with_name("speed.json")
LEVEL, WANTED = 0.95, 0.995
LEAST_RATIO = 10.0
MARGIN = 1.2  # a peer is given up at this many times what proves the ratio
PEERS = {"banzhaf": "pyDVL", "shapley": "shapiq"}
FIRST_BUDGET, LAST_BUDGET = 800, 2**20
SAMPLED, SAMPLED_ROWS = "sampled", 512  # a method, and how many rows its sweeps see
FIRST_SAMPLED = 8000  # where sweeps begin to be chosen
PYDVL_SECONDS = 30.0


class Setting(NamedTuple):
    """What every measurement gets."""

    make_ours: Callable[[], Any]
    ours: Any
    torch_game: TorchGame
    references: dict[str, np.ndarray]
    cap: float


# -- what is measured ------------------------------------------------------------------


def follow_ours(setting: Setting, index: str, key: int, method: str) -> list[Step]:
    """A fresh estimate at every budget, doubled until it is near enough."""
    game, steps, spent = game_of(setting.ours, method), [], 0.0
    budget = FIRST_SAMPLED if method == SAMPLED else FIRST_BUDGET
    while budget <= LAST_BUDGET and spent < setting.cap:
        start = time.perf_counter()
        value, used = estimate(game, index, key, budget, method)
        seconds = time.perf_counter() - start
        spent += seconds
        rank = rank_correlation(value, setting.references[index])
        steps.append(Step(used, seconds, rank))
        if rank >= LEVEL:
            break
        budget *= 2
    return steps


def game_of(game, method: str):
    return game.sample_rows(SAMPLED_ROWS) if method == SAMPLED else game


def estimate(game, index: str, key: int, budget: int, method: str):
    given: dict[str, Any] = {"num_evaluations": budget, "method": method}
    if method == SAMPLED:  # a sweep takes a millisecond: many between two looks
        given |= {"method": "auto", "round_size": 2**15}
    scores = VALUES[index](jax.random.key(key), game, game.num_players, **given)
    return np.asarray(scores.value), scores.num_evaluations


def measure_compilation(setting: Setting, index: str, method: str) -> float:
    """Seconds that the first estimate takes longer than the second, from nothing."""
    start = time.perf_counter()
    game = game_of(setting.make_ours(), method)
    times, budget = [], FIRST_SAMPLED if method == SAMPLED else FIRST_BUDGET
    for _ in range(2):
        estimate(game, index, 99, budget, method)
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return max(times[0] - times[1], 0.0)


def follow_shapiq(setting: Setting, key: int, enough: float) -> list[Step]:
    return shapiq_steps(
        setting.torch_game,
        setting.references["shapley"],
        seed=key,
        done=lambda step: step.spearman >= LEVEL or step.seconds > enough,
    )


def follow_pydvl(setting: Setting, key: int, enough: float) -> dict:
    """pyDVL for some seconds, then its own coalitions and sums without its bookkeeping.

    pyDVL takes minutes for what its estimate gets from the sums in a second, and its
    time for a batch does not change: so the evaluations to the level are counted on the
    sums, and its seconds an evaluation are measured on pyDVL.
    """
    game, reference = setting.torch_game, setting.references["banzhaf"]
    steps, value = pydvl_steps(game, reference, seed=key, seconds=PYDVL_SECONDS)
    sums, difference = [], None

    def done(step: Step) -> bool:
        return step.spearman >= LEVEL or step.seconds > enough

    for step, found in reuse_steps(game, reference, seed=key, done=done):
        sums.append(step)
        if step.num_evaluations == steps[-1].num_evaluations:
            difference = float(np.abs(np.nan_to_num(found - value)).max())
    each = steps[-1].seconds / steps[-1].num_evaluations
    return {"steps": steps, "sums": sums, "each": each, "difference": difference}


# -- time to the level -----------------------------------------------------------------


def time_to_level(steps: list[Step]) -> dict:
    """Evaluations and seconds to the level, between two steps or beyond the last.

    Beyond it, 1 / rho^2 - 1 is taken to fall as 1 / evaluations, as it does for an
    average of independent terms.
    """
    last = steps[-1]
    if last.spearman < LEVEL:
        tail = steps[len(steps) // 2 :]
        noise = [
            s.num_evaluations * (s.spearman**-2 - 1) for s in tail if s.spearman > 0
        ]
        num = float(np.median(noise)) / (LEVEL**-2 - 1) if noise else np.inf
        num = max(num, last.num_evaluations)
        seconds = last.seconds / last.num_evaluations * num
        return {"evaluations": num, "seconds": seconds, "reached": False}
    if len(steps) == 1:
        return {
            "evaluations": last.num_evaluations,
            "seconds": last.seconds,
            "reached": True,
        }
    before = steps[-2]
    share = (LEVEL - before.spearman) / (last.spearman - before.spearman)
    both = np.log([before[:2], last[:2]])
    num, seconds = np.exp(both[0] + share * (both[1] - both[0]))
    return {"evaluations": float(num), "seconds": float(seconds), "reached": True}


def thin(steps: list[Step]) -> list[tuple]:
    """The first steps at or after every doubling, and the last."""
    kept: list[Step] = []
    for step in steps:
        if not kept or step.num_evaluations >= 2 * kept[-1].num_evaluations:
            kept.append(step)
    kept += [steps[-1]] if kept[-1] is not steps[-1] else []
    return [
        (s.num_evaluations, round(s.seconds, 3), round(s.spearman, 4)) for s in kept
    ]


# -- rows ------------------------------------------------------------------------------


def row_of(setting: Setting, rows: dict, name: str) -> dict:
    """Measure one row; its name is who/index/key."""
    who, index, key = name.split("/")
    load = os.getloadavg()[0]
    if who in PEERS.values():
        enough = time_to_give_up(rows, index, setting.cap)
        row = _peer_row(setting, who, int(key), enough)
    else:
        steps = follow_ours(setting, index, int(key), who)
        row = {"ladder": thin(steps), **time_to_level(steps)}
        row["compilation"] = measure_compilation(setting, index, who)
    return {**row, "load average": (round(load, 1), round(os.getloadavg()[0], 1))}


def _peer_row(setting: Setting, who: str, key: int, enough: float) -> dict:
    if who == "shapiq":
        steps = follow_shapiq(setting, key, enough)
        return {"ladder": thin(steps), "ran for": steps[-1].seconds} | time_to_level(
            steps
        )
    found = follow_pydvl(setting, key, enough)
    sums = time_to_level(found["sums"])
    return {
        "ladder": thin(found["steps"]),
        "ladder without bookkeeping": thin(found["sums"]),
        "seconds an evaluation": found["each"],
        "difference of the two": found["difference"],
        "without bookkeeping": sums,
        "ran for": found["steps"][-1].seconds,
        "evaluations": sums["evaluations"],
        "seconds": sums["evaluations"] * found["each"],
        "reached": False,
    }


def time_to_give_up(rows: dict, index: str, cap: float) -> float:
    """When a peer that has not reached the level is slow enough to be sure."""
    ours = [r["seconds"] for n, r in rows.items() if n.startswith(f"auto/{index}/")]
    return min(cap, MARGIN * LEAST_RATIO * max(ours)) if ours else cap


def names_of_rows(methods: list[str], keys: int, peer_keys: int) -> list[str]:
    names = []
    for key in range(keys):
        for index, peer in PEERS.items():
            names += [f"{method}/{index}/{key}" for method in methods]
            names += [f"{peer}/{index}/{key}"] if key < peer_keys else []
    return names


# -- what is said ----------------------------------------------------------------------


def summarise(rows: dict) -> dict:
    """Medians over the keys, and how they compare."""
    summary = {}
    for (index, peer), method in itertools.product(PEERS.items(), ("auto", SAMPLED)):
        ours = [r for n, r in rows.items() if n.startswith(f"{method}/{index}/")]
        theirs = [r for n, r in rows.items() if n.startswith(f"{peer}/{index}/")]
        if not ours or not theirs:
            continue
        name = index if method == "auto" else f"{index}, {SAMPLED_ROWS} rows a sweep"
        mine, other = median(ours, "seconds"), median(theirs, "seconds")
        whole = mine + median(ours, "compilation")
        reached = all(r["reached"] for r in ours)
        summary[name] = {
            "ours, evaluations": median(ours, "evaluations"),
            "ours, seconds": mine,
            "ours, seconds with compilation": whole,
            f"{peer}, evaluations": median(theirs, "evaluations"),
            f"{peer}, seconds": other,
            f"{peer} is extrapolated": not all(r["reached"] for r in theirs),
            f"{peer}, spearman when it was stopped": theirs[0]["ladder"][-1][2],
            f"{peer} ran for": median(theirs, "ran for"),
            "ratio": other / mine,
            "ratio with compilation": other / whole,
            "verdict": "met" if reached and other / whole >= LEAST_RATIO else "missed",
        }
        if peer == "pyDVL":
            bare = float(
                np.median([r["without bookkeeping"]["seconds"] for r in theirs])
            )
            summary[name]["pyDVL without bookkeeping, seconds"] = bare
            summary[name]["ratio without bookkeeping"] = bare / mine
    return summary


def median(rows: list[dict], name: str) -> float:
    return float(np.median([row[name] for row in rows]))


def measure_rates(setting: Setting, seconds: float = 4.0) -> dict:
    """Coalition values a second, in turns."""
    num = setting.torch_game.num_players
    rng = np.random.default_rng(0)
    masks = rng.random((512, num)) < 0.5
    orders = rng.permuted(np.tile(np.arange(num), (4, 1)), axis=1)
    few = setting.ours.sample_rows(SAMPLED_ROWS)
    games = {
        "ours": (setting.ours, masks),
        "torch": (setting.torch_game, masks[:128]),
        "ours, prefixes of orders": (setting.ours.prefixes, orders),
        "ours, toggles": (setting.ours.toggles, masks[:4]),
        "ours, prefixes of orders, sampled": (few.prefixes, orders),
        "ours, toggles, sampled": (few.toggles, masks[:4]),
    }
    rates: dict[str, list[float]] = {name: [] for name in games}
    for _ in range(3):
        for name, (game, given) in games.items():
            per_row = num + 1 if len(given) == 4 else 1
            call = _first_part(game)
            rates[name].append(per_row * rate_of(call, given, seconds / 3))
    return {name: round(float(np.median(found)), 1) for name, found in rates.items()}


def _first_part(game) -> Callable:
    def call(given):
        found = game(given)
        return found[0] if isinstance(found, tuple) else found

    return call


def check_agreement(setting: Setting) -> float:
    """The largest difference between the two games, over random coalitions."""
    rng = np.random.default_rng(1)
    masks = rng.random((64, setting.ours.num_players)) < rng.random((64, 1))
    gap = np.abs(np.asarray(setting.ours(masks)) - setting.torch_game(masks)).max()
    if gap > 5e-4:
        raise RuntimeError(f"the two games differ by {gap}")
    return float(gap)


def prepare(folder: Path, cap: float, most: int) -> tuple[Net, Setting, dict]:
    net = load_net(folder / "net.npz")
    players = gp.find_players(net.model.apply, net.params, net.rows.inputs[:8])

    def make_ours():
        return value_function(
            players, net.params, gp.accuracy, net.rows.inputs, net.rows.labels
        )

    ours, found = make_ours(), {}
    for index in PEERS:
        print(f"reference: {index}", flush=True)
        path = folder / f"{index}.npz"
        given: dict[str, Any] = {"wanted": WANTED, "piece": 40_100, "most": most}
        found[index] = make_reference(path, ours, index, **given)
    values = {index: part.pop("value") for index, part in found.items()}
    torch_game = TorchGame(net)
    return net, Setting(make_ours, ours, torch_game, values, cap), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=3)
    parser.add_argument("--peer-keys", type=int, default=1)
    parser.add_argument("--cap", type=float, default=180.0, help="seconds a row")
    parser.add_argument(
        "--methods", default=f"auto,{SAMPLED}", help="ours, with commas between"
    )
    parser.add_argument("--reference", type=int, default=4_000_000, help="evaluations")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--fresh", action="store_true", help="measure all rows again")
    args = parser.parse_args()
    use_cores_as_devices()  # torch has all cores as threads
    begun = time.perf_counter()
    folder = args.cache or cache_folder(None) / "gtap-speed"
    net, setting, references = prepare(folder, args.cap, args.reference)
    data = {
        "command": "python -m experiments.gtap.speed",
        "machine": versions() | {name: version(name) for name in LIBRARIES},
        "network": {"accuracy": net.accuracy, "rows": len(net.rows.labels)},
        "reference": references,
        "largest difference of the games": check_agreement(setting),
        "rows": {},
    }
    if args.out.exists() and not args.fresh:
        data["rows"] = json.loads(args.out.read_text())["rows"]
    setting.torch_game.tune()
    game = setting.torch_game
    data["torch game"] = {
        "rows at a time": game.block,
        "coalitions a product": game.chunk,
        "threads": game.num_threads,
        "chunk a thread": game.shares_chunks,
    }
    data["values a second"] = measure_rates(setting)
    for name in names_of_rows(args.methods.split(","), args.keys, args.peer_keys):
        if name not in data["rows"]:
            print(f"{time.perf_counter() - begun:6.0f} s  {name}", flush=True)
            data["rows"][name] = row_of(setting, data["rows"], name)
            write(args.out, data)
    data["seconds of this run"] = round(time.perf_counter() - begun)
    data["summary"] = summarise(data["rows"])
    write(args.out, data)
    print(json.dumps(data["summary"], indent=2))


LIBRARIES = ("torch", "pyDVL", "shapiq", "numpy")
version = importlib.metadata.version


def write(path: Path, data: dict) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
