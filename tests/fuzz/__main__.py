"""The command: thousands of networks, resumable, with a summary in JSON."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.xla import quick_to_compile


def main() -> int:
    """Check networks, or replay one; the exit code is 1 if any was wrong."""
    options = _options()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{quick_to_compile()} {flags}".strip()
    if options.seed_of is not None:
        return _replay(options)
    seeds = range(options.start, options.start + options.networks)
    done = _read(options.output)
    todo = [seed for seed in seeds if seed not in done]
    for record in _records(todo, options):
        done[record["seed"]] = record
        if len(done) % 10 == 0 or not record["ok"]:
            _write(options.output, done)
    _write(options.output, done)
    summary = summarise([done[seed] for seed in seeds])
    text = json.dumps(summary, indent=2)
    print(text)
    if options.summary is not None:
        options.summary.write_text(text + "\n")
    return 1 if summary["wrong"] else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--networks", type=int, default=100, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, help="operations in each (3 to 12)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--seed-of", type=int, metavar="SEED", help="replay one network"
    )
    parser.add_argument("--repair", action="store_true", help="repair them instead")
    parser.add_argument(
        "--layers", action="store_true", help="scanned layers with players of their own"
    )
    name = Path("runs/fuzz.json")
    parser.add_argument("--output", type=Path, default=name, help="records, resumable")
    parser.add_argument("--summary", type=Path, help="where the summary goes as well")
    return parser.parse_args()


def _replay(options: argparse.Namespace) -> int:
    import jax

    from tests.fuzz.check import check
    from tests.fuzz.grow import grow
    from tests.fuzz.stacks import grow_stack

    seed, steps = options.seed_of, options.steps
    with jax.enable_x64(True):
        print(grow_stack(seed) if options.layers else grow(seed, steps))
    record = check(seed, steps, options.repair, options.layers)
    for name, value in record._asdict().items():
        print(f"{name}: {value}")
    return 0 if record.ok else 1


def _records(seeds: list[int], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Check seeds behind a progress bar; wrong ones are printed as they come."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("networks", total=len(seeds))
        for record in _in_processes(seeds, options):
            if not record["ok"]:
                progress.print(f"network {record['seed']}: {record['wrong']}")
            progress.advance(bar)
            yield record


def _in_processes(seeds: list[int], options: argparse.Namespace):
    from tests.fuzz.check import check

    kind = {"repair": options.repair, "by_layer": options.layers}
    one = partial(check, num_steps=options.steps, **kind)
    if options.processes == 1:
        yield from (one(seed)._asdict() for seed in seeds)
        return
    # compiled code is never given back, so a process is renewed now and then
    with get_context("spawn").Pool(options.processes, maxtasksperchild=400) as pool:
        for record in pool.imap_unordered(one, seeds):
            yield record._asdict()


def _read(path: Path) -> dict[int, dict[str, Any]]:
    if not path.exists():
        return {}
    networks = json.loads(path.read_text())["networks"]
    return {record["seed"]: record for record in networks}


def _write(path: Path, done: dict[int, dict[str, Any]]) -> None:
    """All at once: a reader never sees half a file."""
    records = [done[seed] for seed in sorted(done)]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ",\n".join(json.dumps(record) for record in records)
    summary = json.dumps(summarise(records), indent=1)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(f'{{"summary": {summary},\n"networks": [\n{text}\n]}}\n')
    draft.replace(path)


def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What all the networks say together."""
    count = max(len(records), 1)
    playing = [record for record in records if record["players"]]
    ops = Counter(op for record in records for op in record["ops"])
    return {
        "networks": len(records),
        "wrong": [record["seed"] for record in records if not record["ok"]],
        "share_with_players": len(playing) / count,
        "mean_players": sum(record["players"] for record in records) / count,
        "mean_families": sum(len(record["families"]) for record in records) / count,
        "share_where_exclude_refuses": sum(r["refused"] for r in playing)
        / max(len(playing), 1),
        "largest_error": max((r["error"] for r in records if r["ok"]), default=0.0),
        "kinds_of_operation": len(ops),
        "networks_with_operation": dict(sorted(ops.items())),
        "traced_as": dict(Counter(record["traced_as"] for record in records)),
        "opaque": dict(Counter(name for r in records for name in r["opaque"])),
        "seconds": sum(record["seconds"] for record in records),
    }


if __name__ == "__main__":
    sys.exit(main())
