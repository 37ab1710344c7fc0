"""The command `python -m benchmarks`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import BENCHES, run_bench
from gamepruning.types import InputError

EXAMPLES = """examples:
  python -m benchmarks latency     LeNet-300-100 with 90 % removed against the dense one
  python -m benchmarks gating      a training step with gates against one without
  python -m benchmarks trace       finding and removing half the players of ResNet-18
  python -m benchmarks sweep       eight games in one program against one
  python -m benchmarks coalitions  values per second against what matrix products allow
  python -m benchmarks repair      a value after repair against one without
  python -m benchmarks scaling     the cost of values by coalitions and by examples
  python -m benchmarks memory      what a value function holds beside the network
  python -m benchmarks.players_at_scale   up to a million players
  python -m benchmarks.wide        coalitions of one layer of 50,000 players
  python -m benchmarks.device      all of these that count on an accelerator, there
  python -m benchmarks latency --repeats 50 --out experiments/benchmarks/latency.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark.

    Args:
      argv: the words after `python -m benchmarks`; None for those of the process.

    Returns:
      The exit code: 0, or 2 after bad input.
    """
    options = _parser().parse_args(argv)
    try:
        run_bench(options.name, out=options.out, repeats=options.repeats)
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure gamepruning on this machine, from a checkout.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=BENCHES, help="what to measure")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.json",
        help="also write the result, with the command and the machine, as JSON",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        metavar="N",
        help="calls to time, instead of a budget of a few seconds",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
