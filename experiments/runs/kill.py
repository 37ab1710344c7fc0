"""`gamepruning prune`, killed at 30 random moments and resumed, against whole runs.

python -m experiments.runs.kill

Each kill is a SIGKILL at a random moment of a run or of its resumption, from about when
it writes its first file to its end. Before five of them the disk is full (a small file
system where the user may mount one, else a limit on the size of files) or the data file
has changed: then the run must end by itself, with one line. Every run that was killed
must at last leave the files of a run that was not, bit for bit. Takes ten minutes.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gamepruning.files.npz import load
from gamepruning.files.versions import versions

OUT = Path(__file__).with_name("kill.json")
SMALL = "--widths 24 12 --fine-tune 4 --no-rivals"
RUNS = {
    "equilibrium, digits": f"{SMALL} --epochs 80",
    "magnitude, table": f"{SMALL} --epochs 4000 --method magnitude --keep 0.4",
    "ucb1, table": f"{SMALL} --epochs 4000 --method ucb1 --keep 0.4",
    "banzhaf, digits": f"{SMALL} --epochs 80 --method banzhaf --keep 0.3",
}
ACCIDENTS = ("full disk", "data changed", "full disk", "data changed", "full disk")
SAME = (
    *("metrics.jsonl", "dense.safetensors", "full.safetensors", "players.npz"),
    *("plan.json", "model/model.safetensors", "model/model.stablehlo"),
)
TIMED = ("seconds", "cost_dense", "cost_small", "versions", "command")


class Place(NamedTuple):
    """Where all this happens."""

    folder: Path
    is_mounted: bool  # as a file system of its own, which can be filled

    @property
    def table(self) -> Path:
        """The data file."""
        return self.folder / "table.csv"

    def command(self, name: str, out: str, *, resume: bool) -> list[str]:
        """The words of a run, or of its resumption."""
        words = [sys.executable, "-m", "gamepruning.workbench.cli.console", "prune"]
        words += ["--out", str(self.folder / out)]
        if resume:
            return [*words, "--resume"]
        data = [] if "digits" in name else ["--dataset", str(self.table)]
        return [*words, *RUNS[name].split(), *data]


@contextlib.contextmanager
def small_disk() -> Iterator[Place]:
    """A folder, on a small file system if this user may mount one."""
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(folder)]
    has_mount = shutil.which("mount") is not None
    is_mounted = has_mount and not subprocess.run(mount, capture_output=True).returncode
    try:
        yield Place(folder, is_mounted)
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def write_table(path: Path, *, scale: float = 1.0) -> None:
    """A table of three classes; another scale is another table."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 6))
    labels = np.digitize(x[:, 0] + x[:, 1] * x[:, 2], [-0.5, 0.5])
    rows = [
        ",".join([*(f"{scale * value:.4f}" for value in row), "abc"[label]])
        for row, label in zip(x, labels, strict=True)
    ]
    path.write_text("\n".join(["a,b,c,d,e,f,target", *rows]) + "\n", encoding="utf-8")


@contextlib.contextmanager
def accident(place: Place, kind: str, room: int) -> Iterator[dict[str, Any]]:
    """What goes wrong while the block runs, as options of the process to start.

    A disk that is full has still room for so many bytes.
    """
    filler, options = place.folder / "filler", {}
    if kind == "data changed":
        write_table(place.table, scale=1.5)
    elif place.is_mounted:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        os.truncate(filler, max(filler.stat().st_size - room, 0))
    else:
        limit = (2048, 2048)
        options["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    yield options
    filler.unlink(missing_ok=True)
    write_table(place.table)


def work_on_file(partial: Path) -> int:
    """Epochs and rounds that the checkpoints of an interrupted run hold."""
    total = 0
    for path in (partial / "checkpoints").glob("[!.]*.npz"):
        stored = load(path)
        total += int(stored.settings.get("epochs", 0)) or 1
    return total


def kill_after(command: list[str], delay: float) -> bool:
    """Start a process and kill it; return True if it was still running."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(delay)
        is_running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    return is_running


def finish(command: list[str], **options: Any) -> tuple[int, list[str]]:
    """Let a process end; its exit code and the lines that it says on stderr."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return done.returncode, done.stderr.strip().splitlines()


def time_whole(command: list[str], partial: Path) -> tuple[float, float]:
    """The seconds until a run has begun, and until it has ended."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (partial / "config.json").is_file():
            time.sleep(0.02)
        begun = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{shlex.join(command)} ended with {process.returncode}")
    return begun, time.perf_counter() - start


def untimed(data: Any) -> Any:
    """What a result file says, but for how long anything took and where it ran."""
    if isinstance(data, list):
        return [untimed(item) for item in data]
    if not isinstance(data, dict):
        return data
    return {name: untimed(own) for name, own in data.items() if name not in TIMED}


def differences(whole: Path, found: Path) -> list[str]:
    """The files of two runs that are not the same."""
    wrong = [x for x in SAME if (whole / x).read_bytes() != (found / x).read_bytes()]
    one, two = (
        untimed(json.loads((x / "result.json").read_text())) for x in (whole, found)
    )
    left = {path.name for path in whole.iterdir()} ^ {p.name for p in found.iterdir()}
    return [*wrong, *(["result.json"] if one != two else []), *sorted(left)]


def suffer(place: Place, name: str, out: str, kind: str, room: int) -> dict[str, Any]:
    """Resume a killed run amid an accident: it must end by itself, in one line."""
    partial = place.folder / f"{out}.partial"
    before = work_on_file(partial)
    with accident(place, kind, room) as options:
        code, lines = finish(place.command(name, out, resume=True), **options)
    kept = work_on_file(partial)
    return {
        "accident": kind,
        "room": room,
        "exit code": code,
        "lines": [line.replace(str(place.folder), "FOLDER") for line in lines][:3],
        "lost": kept < before,
        "well": code == 2 and len(lines) == 1 and kept >= before,
    }


def study(place: Place, *, kills: int, seed: int) -> dict[str, Any]:
    """Kill runs in turns until there were enough kills; all found, as JSON."""
    rng, wholes, seconds = random.Random(seed), {}, {}
    for name in RUNS:
        whole = wholes[name] = place.folder / f"whole {name}"
        command = place.command(name, whole.name, resume=False)
        seconds[name] = time_whole(command, whole.with_name(f"{whole.name}.partial"))
    history, ends, number = [], [], 0
    accidents = list(ACCIDENTS)
    gap = max(kills // (len(accidents) + 1), 1)
    while len(history) < kills:
        name = list(RUNS)[number % len(RUNS)]
        out, number = f"run {number}", number + 1
        partial = place.folder / f"{out}.partial"
        for _ in range(rng.randint(1, 4)):
            is_begun = (partial / "config.json").is_file()
            before = work_on_file(partial)
            begun, end = seconds[name]
            delay = rng.uniform(0.9 * begun, end)
            if not kill_after(place.command(name, out, resume=is_begun), delay):
                break
            row = {"run": name, "after": round(delay, 2), "had begun": is_begun}
            row["on file"] = work_on_file(partial)  # epochs, and rounds of scores
            row["finished"] = (place.folder / out / "result.json").is_file()
            row["lost"] = row["on file"] < before and not row["finished"]
            is_table = "table" in name
            can_change = accidents and (accidents[0] == "full disk" or is_table)
            if row["finished"]:  # killed while it said so
                history.append(row)
                break
            is_due = len(history) >= gap * (len(ACCIDENTS) - len(accidents) + 1) - 1
            if can_change and is_due and work_on_file(partial):
                room = rng.randrange(100_000)
                row |= suffer(place, name, out, accidents.pop(0), room)
            history.append(row)
            print(json.dumps(row), flush=True)
        if not (place.folder / out).exists():
            is_begun = (partial / "config.json").is_file()
            code, lines = finish(place.command(name, out, resume=is_begun))
            if code:
                ends.append({"run": name, "differs": lines[-1:]})
                continue
        wrong = differences(wholes[name], place.folder / out)
        ends.append({"run": name, "differs": wrong})
        shutil.rmtree(place.folder / out)
        print(json.dumps(ends[-1]), flush=True)
    told = {
        name: dict(zip(("begun", "end"), own, strict=True))
        for name, own in seconds.items()
    }
    return {"seconds without a kill": told, "kills": history, "ends": ends}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    with small_disk() as place:
        write_table(place.table)
        found = study(place, kills=args.kills, seed=args.seed)
        disk = "a file system of 40 MB" if place.is_mounted else "files of 2 kB at most"
    kills, ends = found["kills"], found["ends"]
    amid = [row for row in kills if "accident" in row]
    verdict = {
        "kills": len(kills),
        "with work on file": sum(row["on file"] > 0 for row in kills),
        "after the run was finished": sum(row["finished"] for row in kills),
        "with work lost": sum(row["lost"] for row in kills),
        "accidents": len(amid),
        "accidents that ended in one line with nothing lost": sum(
            row["well"] for row in amid
        ),
        "runs resumed to their end": len(ends),
        "equal to a run without a kill": sum(not row["differs"] for row in ends),
    }
    data = {
        "command": "python -m experiments.runs.kill",
        "machine": versions() | {"load average": f"{os.getloadavg()[0]:.1f}"},
        "full disk": disk,
        **verdict,
        **found,
    }
    args.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(verdict, indent=1))


if __name__ == "__main__":
    main()
