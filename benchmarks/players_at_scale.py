"""The command `python -m benchmarks.players_at_scale`: up to a million players.

Each part runs in a process of its own, so that its largest memory is its own. The game
is free, a quadratic function of the coalition: what is timed is the estimator, and its
indices are known, so that its intervals can be counted.
"""

import argparse
import functools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from benchmarks.coalitions import peak_mib, small_mlp
from benchmarks.gpt2 import make_gpt2
from benchmarks.llama import SIZES, llama, llama_shapes
from benchmarks.timing import at_most, timed
from gamepruning.coalitions import Semivalue, banzhaf, estimate_indices, shapley
from gamepruning.files.atomic import new_file
from gamepruning.files.versions import versions
from gamepruning.players import find_players
from gamepruning.types import InputError

Figures: TypeAlias = dict[str, Any]
MEANS, SPREADS = (1.0, 0.0, 0.0), (1.0, 0.7, 0.7)  # of a, b and c


class Scale(NamedTuple):
    """How large everything is.

    Attributes:
      players: N of the two estimates.
      budgets: evaluations of the Banzhaf and of the Shapley values.
      gpt2: sizes of GPT-2; {} for GPT-2 small.
      gpt2_budgets: evaluations without a regression, and with one.
      llama: sizes of Llama.
      decades: players, coalitions and rows from 10^2 to 10 to these.
    """

    players: int = 100_000
    budgets: tuple[int, int] = (20_000, 200_000)
    gpt2: dict[str, int] = {}
    gpt2_budgets: tuple[int, int] = (4_000, 80_000)
    llama: dict[str, int] = SIZES
    decades: tuple[int, int, int] = (6, 6, 6)


FULL = Scale()
TINY = {"layers": 2, "width": 32, "heads": 2}
SMALL = Scale(
    5000,
    (300, 400),
    {**TINY, "vocabulary": 64, "context": 8},
    (200, 400),
    {**TINY, "hidden": 48},
    (3, 3, 3),
)


class FreeGame:
    """v(S) = a(S) + b(S)^2 + c(S)^3, for additive a, b, c; its indices are known.

    Attributes:
      num_players: N.
      seconds: spent in values so far.
    """

    is_deterministic = True

    def __init__(self, num_players: int):
        rng = np.random.default_rng(0)
        scale = num_players**-0.5
        self.num_players = num_players
        self.seconds = 0.0
        self._parts = scale * rng.normal(MEANS, SPREADS, (num_players, 3))
        parts = jnp.asarray(self._parts, jnp.float32)
        self._sums = jax.jit(lambda masks: masks.astype(jnp.float32) @ parts)

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        """bool [S, N] -> float64 [S]."""
        start = time.perf_counter()
        sums = np.asarray(self._sums(masks), np.float64)
        self.seconds += time.perf_counter() - start
        return (sums ** [1, 2, 3]).sum(axis=1)

    def indices(self, law: Semivalue) -> np.ndarray:
        """Shapley values, or Banzhaf indices of bias 1/2."""
        one, two = (0.5, 0.25) if law.bias else (0.5, 1 / 3)  # means of t and t^2
        a, b, c = self._parts.T
        others, squares = c.sum() - c, (c**2).sum() - c**2
        mean_square = one * squares + two * (others**2 - squares)
        cubes = 3 * c * mean_square + 3 * c**2 * one * others + c**3
        return a + b**2 + 2 * b * one * (b.sum() - b) + cubes


def estimate(law: Semivalue, num_evaluations: int, method: str = "auto") -> Figures:
    """An estimate of a free game: seconds, memory, how often intervals are right."""
    game, n = FreeGame(law.num_players), law.num_players
    before, start, busy = peak_mib(), time.perf_counter(), time.process_time()
    found = estimate_indices(
        jax.random.key(0), game, law, num_evaluations=num_evaluations, method=method
    )
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    wanted = game.indices(law)
    off = np.asarray(found.scores.value) - wanted
    stderr = np.asarray(found.scores.stderr)
    return {
        "index": repr(law),
        "method": found.method,
        "players": n,
        "evaluations": found.scores.num_evaluations,
        "seconds": seconds,
        "processor seconds": busy,
        "seconds in values": game.seconds,
        "peak MiB": peak_mib(),
        "MiB before": before,
        "share of 95 % intervals that are right": float(
            (abs(off) < 1.96 * stderr).mean()
        ),
        "median standard error": float(np.median(stderr)),
        "standard deviation of the indices": float(wanted.std()),
    }


def banzhaf_part(scale: Scale) -> Figures:
    """Banzhaf indices from fewer evaluations than players."""
    found = estimate(banzhaf(scale.players), scale.budgets[0])
    return found | {"verdict": _within(found, 60.0, 2e9)}


def shapley_part(scale: Scale) -> Figures:
    """Shapley values at two evaluations a player."""
    found = estimate(shapley(scale.players), scale.budgets[1])
    return found | {"verdict": _within(found, 300.0, 2e9)}


def _within(found: Figures, seconds: float, most_bytes: float) -> Figures:
    met = found["seconds"] <= seconds and found["peak MiB"] * 2**20 <= most_bytes
    bounds = {"seconds at most": seconds, "bytes at most": most_bytes}
    return {**bounds, "met": bool(met)}


def overhead_part(scale: Scale) -> Figures:
    """What estimators do themselves, a coalition, over a forward pass of GPT-2."""
    apply, params = make_gpt2(jax.random.key(0), **scale.gpt2)
    tokens = jnp.zeros((2, scale.gpt2.get("context", 128)), jnp.int32)
    n = find_players(apply, params, tokens).num_players
    forward = functools.partial(jax.jit(apply), params, tokens)
    pass_seconds = timed(forward, 5.0, least=3).median
    runs = {}
    for method, law, budget in (
        ("sample_reuse", banzhaf(n), scale.gpt2_budgets[0]),
        ("centred_reuse", shapley(n), scale.gpt2_budgets[0]),
        ("paired_regression", banzhaf(n), scale.gpt2_budgets[1]),
    ):
        found = estimate(law, max(budget, _least(method, n)), method)
        own = (found["seconds"] - found["seconds in values"]) / found["evaluations"]
        found["own ms an evaluation"] = 1e3 * own
        runs[method] = found | {"own / forward": own / pass_seconds}
    worst = max(run["own / forward"] for run in runs.values())
    return {
        "players": n,
        "seconds a forward pass": pass_seconds,
        **runs,
        "verdict": at_most("own work / forward pass", worst, 0.01),
    }


def _least(method: str, num_players: int) -> int:
    return 2 * num_players + 2 if method == "paired_regression" else 0


def find_gpt2_part(scale: Scale) -> Figures:
    """Finding the players of GPT-2, layers unrolled, after a call that imports."""
    apply, params = make_gpt2(jax.random.key(0), layers=1, width=32, heads=2)
    tokens = jnp.zeros((2, scale.gpt2.get("context", 128)), jnp.int32)
    find_players(apply, params, tokens)
    apply, params = make_gpt2(jax.random.key(0), **scale.gpt2)
    found = _finding(apply, params, tokens)
    return found | {"verdict": at_most("seconds", found["seconds"], 1.0)}


def find_llama_part(scale: Scale) -> Figures:
    """Finding the players of Llama-7B, layers unrolled, from shapes."""
    tokens = jax.ShapeDtypeStruct((1, 128), jnp.int32)
    found = _finding(llama, llama_shapes(**scale.llama), tokens)
    met = found["seconds"] <= 10.0 and found["peak MiB"] <= 1e9 / 2**20
    bounds = {"seconds at most": 10.0, "bytes at most": 1e9}
    return found | {"verdict": {**bounds, "met": bool(met)}}


def _finding(apply: Callable[..., Any], *args: Any) -> Figures:
    before, start, busy = peak_mib(), time.perf_counter(), time.process_time()
    players = find_players(apply, *args)
    return {
        "players": players.num_players,
        "seconds": time.perf_counter() - start,
        "processor seconds": time.process_time() - busy,
        "peak MiB": peak_mib(),
        "MiB before": before,
    }


def growth_part(scale: Scale) -> Figures:
    """Processor seconds against players, coalitions and rows, from 10^2 on.

    Players: Banzhaf indices from 1000 coalitions, all of them drawn inside the program.
    Coalitions: of 5000 players. Rows: 20 values of a network 64-64-32-10.
    """
    players, coalitions, rows = (
        [10**k for k in range(2, most + 1)] for most in scale.decades
    )
    few = 200 if scale is SMALL else 1000

    def draws(n: int, num: int) -> float:
        estimate(banzhaf(n), min(num, 64), "sample_reuse")  # compiles
        return estimate(banzhaf(n), num, "sample_reuse")["processor seconds"]

    def values(num: int) -> float:
        value_fn = small_mlp(num)
        masks = np.random.default_rng(0).random((20, value_fn.num_players)) < 0.5
        value_fn(masks)
        start = time.process_time()
        value_fn(masks)
        return time.process_time() - start

    found = {
        "players": [(n, draws(n, few)) for n in players],
        "coalitions": [(num, draws(5000, num)) for num in coalitions],
        "rows": [(num, values(num)) for num in rows],
    }
    slopes = {name: _slope(pairs) for name, pairs in found.items()}
    worst = max(slopes.values())
    return {**found, "exponents": slopes, "verdict": at_most("exponent", worst, 1.1)}


def _slope(pairs: Sequence[tuple[int, float]]) -> float:
    """The exponent over the last two decades: below, what is fixed counts."""
    (small, first), (large, last) = pairs[-3 if len(pairs) > 2 else 0], pairs[-1]
    return math.log(last / first) / math.log(large / small)


def plot_growth(found: Figures) -> Figure:
    """Processor seconds against players, coalitions and rows, and a linear slope."""
    figure = Figure(figsize=(8.6, 3.0), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, name in zip(panels, ("players", "coalitions", "rows"), strict=True):
        sizes, seconds = np.array(found[name]).T
        axes.loglog(sizes, seconds, "o-", label="measured")
        axes.loglog(sizes, seconds[-1] * sizes / sizes[-1], ":", label="linear")
        axes.set_xlabel(name)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("processor seconds")
    panels[0].legend(frameon=False)
    return figure


PARTS: dict[str, Callable[[Scale], Figures]] = {
    "banzhaf": banzhaf_part,
    "shapley": shapley_part,
    "overhead": overhead_part,
    "find_gpt2": find_gpt2_part,
    "find_llama": find_llama_part,
    "growth": growth_part,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts, each in its own process, and write them down as they are done.

    Args:
      argv: the words after the command; None for those of the process.

    Returns:
      The exit code.
    """
    options = _parser().parse_args(argv)
    if options.inside:
        found = PARTS[options.inside](SMALL if options.small else FULL)
        print(json.dumps(found))
        return 0
    data: Figures = {}
    if options.out is not None and options.out.exists():
        data = json.loads(options.out.read_text(encoding="utf-8"))
    data["command"] = "python -m benchmarks.players_at_scale"
    data["machine"] = versions()
    for name in options.part or PARTS:
        data.setdefault("parts", {})[name] = _run(name, options.small)
        print(name, json.dumps(data["parts"][name], indent=1))
        if options.out is not None:
            with new_file(options.out) as temporary:
                text = json.dumps(data, indent=2) + "\n"
                temporary.write_text(text, encoding="utf-8")
    if options.figure is not None:
        plot_growth(data["parts"]["growth"]).savefig(options.figure, dpi=150)
    return 0


def _run(name: str, is_small: bool) -> Figures:
    words = [sys.executable, "-m", "benchmarks.players_at_scale", "--inside", name]
    words += ["--small"] if is_small else []
    load = f"{os.getloadavg()[0]:.1f}"
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"part {name} ended with exit code {done.returncode}")
    return {"load average": load, **json.loads(done.stdout.splitlines()[-1])}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.players_at_scale",
        description="Time power indices and find_players with very many players.",
    )
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="only this; may be given again"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.json",
        help="write the figures here, beside those of parts that are there already",
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE.png", help="draw the growth here"
    )
    parser.add_argument("--small", action="store_true", help="only show that it runs")
    parser.add_argument("--inside", choices=PARTS, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
