"""The command `python -m benchmarks.wide`: coalitions of one very wide layer.

All players are in one hidden layer, so a coalition is a product of the hidden units
with output weights of its own. Its rate stands beside that of the plain product of the
same size, taken in turns.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import in_turns
from gamepruning.coalitions.values import value_function
from gamepruning.files.atomic import new_file
from gamepruning.files.versions import versions
from gamepruning.metrics import cross_entropy
from gamepruning.players import find_players

WIDTHS, ROWS, OUTPUTS, COALITIONS = (10_000, 50_000), 512, 10, 64


def negative(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Minus the cross-entropy."""
    return -cross_entropy(outputs, labels)


def measure(width: int, repeats: int) -> dict[str, Any]:
    """GFLOP/s of coalitions, and of the product alone."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape, dtype=np.float32) / 8)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x @ params["in"]) @ params["out"]

    params = {"in": draw(64, width), "out": draw(width, OUTPUTS)}
    x, labels = draw(ROWS, 64), jnp.arange(ROWS) % OUTPUTS
    players = find_players(apply, params, x[:8])
    value_fn = value_function(players, params, negative, x, labels)
    masks = rng.random((COALITIONS, width)) < 0.5
    hidden, columns = draw(ROWS, width), draw(width, OUTPUTS * COALITIONS)
    product = jax.jit(jnp.matmul)
    calls = {
        "coalitions": lambda: value_fn(masks),
        "product": lambda: product(hidden, columns),
    }
    seconds = {name: np.array(s) for name, s in in_turns(calls, repeats).items()}
    flops = 2.0 * ROWS * width * OUTPUTS * COALITIONS
    shares = seconds["product"] / seconds["coalitions"]
    return {
        "players": width,
        "rows": ROWS,
        "coalitions": COALITIONS,
        **{
            f"GFLOP/s, {name}": round(flops / float(np.median(s)) / 1e9, 1)
            for name, s in seconds.items()
        },
        "share of the product's rate": round(float(np.median(shares)), 2),
        "shares": [round(float(share), 2) for share in shares],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wide", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    data = {
        "command": "python -m benchmarks.wide --out wide.json",
        "machine": versions(),
        "rows": [measure(width, args.repeats) for width in args.widths],
    }
    text = json.dumps(data, indent=1) + "\n"
    sys.stdout.write(text)
    if args.out:
        with new_file(args.out) as path:
            path.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
