"""The command `python -m benchmarks.processes`: one game over several processes.

The processes are of this machine and talk over gloo. Parts:

| part | question |
| --- | --- |
| mesh | what a 2 x 2 mesh holds and exchanges, from the compiled program |
| bits | whether two and four processes find the bits of one, in everything |
| speed | how much faster two processes are than one, one core each |
| kills | whether runs that are killed at random end with the bits of whole runs |

A part that is on file is not measured again.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.process_work import LOST
from benchmarks.timing import at_least
from gamepruning.files.atomic import new_file
from gamepruning.files.versions import versions

ONE_CORE = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
FASTER = 1.7  # by two processes
KILLS = 20
NUMBERS = (1, 2, 4)
PATIENCE = 240.0  # seconds for a process to end


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str

    def told(self) -> dict[str, Any]:
        """Its line of JSON."""
        lines = [line for line in self.out.splitlines() if line.startswith("{")]
        if self.code or len(lines) != 1:
            raise RuntimeError(f"a process ended with {self.code}: {self.out[-2000:]}")
        return json.loads(lines[0])


class Group:
    """Some processes that work together."""

    def __init__(self, task: str, num: int, *files: str, devices: int = 1):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        flags = f"--xla_force_host_platform_device_count={devices} {ONE_CORE}"
        command = [sys.executable, "-m", "benchmarks.process_work", task, str(num)]
        self.running = [
            subprocess.Popen(
                [*command, str(index), port, *files],
                env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(num)
        ]

    def until_ready(self) -> bool:
        """Wait until the first process has made its value function."""
        out = self.running[0].stdout
        assert out is not None
        return any(line.startswith("READY") for line in out)

    def end(self) -> list[Ended]:
        """Wait for all of them."""
        outs = [p.communicate(timeout=PATIENCE)[0] for p in self.running]
        pairs = zip(self.running, outs, strict=True)
        return [Ended(process.returncode, out) for process, out in pairs]


def run(task: str, num: int, *, devices: int = 1) -> list[dict[str, Any]]:
    """What each of `num` processes tells of a task."""
    return [each.told() for each in Group(task, num, devices=devices).end()]


def _mesh() -> dict[str, Any]:
    (told,) = run("mesh", 1, devices=4)
    return told


def _bits() -> dict[str, Any]:
    """Every estimator and selection by one, two and four processes."""
    (alone,) = run("bits", 1)
    found: dict[str, Any] = {"cases": list(alone)}
    for num in NUMBERS[1:]:
        different = sorted(
            {
                name
                for told in run("bits", num)
                for name in alone
                if told[name] != alone[name]
            }
        )
        found[f"different by {num} processes"] = different
    count = sum(len(found[f"different by {num} processes"]) for num in NUMBERS[1:])
    return found | {"verdict": {"different": count, "at most": 0, "met": not count}}


def _speed() -> dict[str, Any]:
    """One process of one core, two of them, and one with a device for each core."""
    groups = {"one process": (1, 1), "two processes": (2, 1), "two devices": (1, 2)}
    told = {
        name: run("speed", num, devices=devices)
        for name, (num, devices) in groups.items()
    }
    found: dict[str, Any] = {}
    for kind in told["one process"][0]:  # of products one device does all
        rows = {name: [one[kind] for one in each] for name, each in told.items()}
        seconds = {
            name: max(float(np.median(one["seconds"])) for one in each)
            for name, each in rows.items()
        }
        ratio = seconds["one process"] / seconds["two processes"]
        found[kind] = {
            "seconds": seconds,
            "same bits": len({one["bits"] for each in rows.values() for one in each})
            == 1,
            "verdict": at_least("times as fast by two processes", ratio, FASTER),
        }
    limit = found["products"].pop("verdict")["times as fast by two processes"]
    return found | {"matrix products by two processes, times as fast": limit}


def _kills() -> dict[str, Any]:
    """Kill one process at random, again and again, and resume with other numbers."""
    chance, kills, jobs, waits = random.Random(0), [], 0, []
    with tempfile.TemporaryDirectory() as folder:
        (whole,) = [one.told() for one in Group("job", 1, f"{folder}/whole").end()]
        different = 0
        while len(kills) < KILLS:
            jobs += 1
            while True:
                num = chance.choice(NUMBERS)
                group = Group("job", num, f"{folder}/job{jobs}")
                if not group.until_ready():
                    raise RuntimeError(f"no process is ready: {group.end()}")
                time.sleep(chance.uniform(0.2, 3.0))
                victim = chance.choice(group.running)
                is_killed = len(kills) < KILLS and victim.poll() is None
                if is_killed:
                    victim.send_signal(signal.SIGKILL)
                start = time.perf_counter()
                ended = group.end()
                if all(one.code == 0 for one in ended):
                    different += sum(one.told() != whole for one in ended)
                    break
                waits.append(time.perf_counter() - start)
                kills.append({"processes": num, "codes": [one.code for one in ended]})
    others = [
        code for kill in kills for code in kill["codes"] if code != -signal.SIGKILL
    ]
    return {
        "jobs": jobs,
        "kills": kills,
        "seconds until the others ended": {
            "median": float(np.median(waits)),
            "most": max(waits),
        },
        "others that ended by themselves with one line": others.count(LOST),
        "others": len(others),
        "verdict": {
            "kills": len(kills),
            "results that differ": different,
            "met": not different and len(kills) >= KILLS,
        },
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "mesh": _mesh,
    "bits": _bits,
    "speed": _speed,
    "kills": _kills,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that are not on file.

    Args:
      argv: the words after `python -m benchmarks.processes`; None for the process's.

    Returns:
      The exit code: 0, or 1 if a target was missed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes")
    parser.add_argument("--out", type=Path, metavar="FILE.json", required=True)
    parser.add_argument("--part", nargs="+", choices=PARTS, help="some parts only")
    options = parser.parse_args(argv)
    data: dict[str, Any] = {
        "command": f"python -m benchmarks.processes --out {options.out}"
    }
    if options.out.exists():
        data = json.loads(options.out.read_text(encoding="utf-8"))
    for name in options.part or PARTS:
        if name in data and not options.part:
            continue
        start = time.perf_counter()
        data[name] = PARTS[name]() | {"machine": versions()}
        data[name]["seconds in all"] = time.perf_counter() - start
        with new_file(options.out) as temporary:
            temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        print(f"{name}: {data[name].get('verdict', '')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
