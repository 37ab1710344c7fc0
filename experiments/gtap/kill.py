"""A run that is killed 20 times and resumed, against one that is never killed.

python -m experiments.gtap.kill

The players are the neurons of an MLP on digits; a process that estimates their Banzhaf
indices is killed (SIGKILL) after random times, started again on its checkpoint, and at
last let finish. Takes about four minutes.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import optax

import gamepruning as gp
from experiments.fitting import fit
from gamepruning import metrics
from gamepruning.coalitions.indices import banzhaf_values
from gamepruning.coalitions.values import value_function
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.training.loop import make_train_step
from gamepruning.workbench.training.run_folder import versions

OUT = Path(__file__).with_name("kill.json")
WIDTHS = (128, 64)
NUM_EVALUATIONS = 1_000_000
ROUND = 256  # evaluations between checkpoints


def make_model():
    return build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=WIDTHS)


def train(path: Path, *, seed: int = 0) -> None:
    """Train the network and leave its parameters there."""
    data, model = load_dataset("digits", seed=seed), make_model()
    first, second = jax.random.split(jax.random.key(seed))
    init, step = make_train_step(model, metrics.cross_entropy, optax.adam(1e-3))
    state = init(first, model.init(first))
    params = fit(second, step, state, data.train, epochs=5, batch_size=64).state.params
    leaves = {str(k): leaf for k, leaf in enumerate(jax.tree.leaves(params))}
    np.savez(path, allow_pickle=False, **leaves)


def make_game(path: Path, *, seed: int = 0):
    """Validation accuracy of the coalitions of that network."""
    rows, model = load_dataset("digits", seed=seed).validation, make_model()
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    with np.load(path) as leaves:
        params = jax.tree.unflatten(
            jax.tree.structure(shapes), [leaves[str(k)] for k in range(len(leaves))]
        )
    players = gp.find_players(model.apply, params, rows.inputs[:8])
    return value_function(players, params, metrics.accuracy, rows.inputs, rows.labels)


def estimate(game, num_evaluations: int, **options):
    given = {"num_evaluations": num_evaluations, **options}
    return banzhaf_values(jax.random.key(1), game, game.num_players, **given)


def work(folder: Path, checkpoint: bool) -> None:
    """Estimate, and leave the result in the folder."""
    game = make_game(folder.parent / "net.npz")
    estimate(game, 40 * game.num_players)  # compile before the work begins
    print("begun", flush=True)
    kept = {"checkpoint": folder / "state.npz", "round_size": ROUND}
    scores = estimate(game, NUM_EVALUATIONS, **(kept if checkpoint else {}))
    result = {name: np.asarray(part) for name, part in scores._asdict().items()}
    np.savez(folder / "result.npz", allow_pickle=False, **result)


def start(folder: Path, *, checkpoint: bool = True) -> subprocess.Popen:
    command = [sys.executable, "-m", "experiments.gtap.kill", "--work", str(folder)]
    command += [] if checkpoint else ["--no-checkpoint"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> float:
    """Wait for the end.

    Returns:
      Seconds from the first evaluation.
    """
    process.stdout.readline()
    begun = time.perf_counter()
    if process.wait():
        raise RuntimeError(f"the worker ended with code {process.returncode}")
    return time.perf_counter() - begun


def kill_once(process: subprocess.Popen, delay: float, early: bool) -> bool:
    """Kill it some time after it was started, or after its first evaluation.

    Returns:
      True if it was still running.
    """
    if not early:
        process.stdout.readline()
    time.sleep(delay)
    running = process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return running


def evaluations_in(folder: Path) -> int:
    """Samples that the checkpoint holds."""
    path = folder / "state.npz"
    return int(np.load(path)["progress"][0]) if path.exists() else 0


def kill_and_go_on(folder: Path, *, kills: int, seconds: float, seed: int) -> dict:
    """Kill the run `kills` times, then let it finish.

    Args:
      folder: where it keeps its state.
      kills: how often.
      seconds: what a run that is not killed takes.
      seed: decides when.
    """
    rng = random.Random(seed)
    history, latest = [], 0.7 * seconds / kills
    for number in range(kills):
        early = number % 10 == 9  # before it has begun
        delay = rng.uniform(0, 1.0 if early else latest)
        running = kill_once(start(folder), delay, early)
        history.append((round(delay, 3), early, running, evaluations_in(folder)))
    finish(start(folder))
    return {
        "kills": sum(running for _, _, running, _ in history),
        "kills after new work was on file": count_amid(history),
        "history": history,
        "left behind": sorted(path.name for path in folder.glob(".*")),
    }


def count_amid(history: list[tuple]) -> int:
    """Kills of a running process that had added to the file since the kill before."""
    before, amid = 0, 0
    for _, _, running, on_file in history:
        amid += running and on_file > before
        before = on_file
    return amid


def is_bit_equal(first: Path, second: Path) -> bool:
    a, b = np.load(first / "result.npz"), np.load(second / "result.npz")
    return a.files == b.files and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes()
        for name in a.files
    )


def verdict(equal: bool, found: dict) -> str:
    """Equality says something only if most kills came amid the work."""
    if not equal:
        return "DIFFERENT"
    amid = found["kills after new work was on file"]
    return "bit-equal" if 2 * amid >= found["kills"] else "too few kills amid the work"


def largest_gap(first: Path, second: Path) -> float:
    a, b = np.load(first / "result.npz"), np.load(second / "result.npz")
    return float(np.abs(a["value"] - b["value"]).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--work", type=Path, help="for the process that is killed")
    parser.add_argument("--no-checkpoint", action="store_true", help="likewise")
    args = parser.parse_args()
    if args.work is not None:
        work(args.work, not args.no_checkpoint)
        return
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder) / "net.npz")
        killed, whole = Path(folder) / "killed", Path(folder) / "whole"
        killed.mkdir()
        whole.mkdir()
        seconds = finish(start(whole, checkpoint=False))
        found = kill_and_go_on(
            killed, kills=args.kills, seconds=seconds, seed=args.seed
        )
        equal, gap = is_bit_equal(killed, whole), largest_gap(killed, whole)
    data = {
        "command": "python -m experiments.gtap.kill",
        "machine": versions() | {"load average": f"{os.getloadavg()[0]:.1f}"},
        "players": sum(WIDTHS),
        "evaluations": NUM_EVALUATIONS,
        "evaluations between checkpoints": ROUND,
        "seconds without a kill": round(seconds, 1),
        "largest difference of a value": gap,
        "verdict": verdict(equal, found),
        **found,
    }
    args.out.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    print(f"{found['kills']} kills: {data['verdict']}")


if __name__ == "__main__":
    main()
