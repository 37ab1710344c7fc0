"""What each process of `test_processes.py` runs: one game over one mesh.

    python -m tests.coalitions.over_processes NUM INDEX PORT CHECKPOINT

In the end the last process kills itself in the middle of an estimate.
"""

import hashlib
import json
import os
import signal
import sys
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import gamepruning as gp
from tests.small import make_mlp

KILL_AT = 300  # evaluations
ESTIMATE: dict[str, Any] = {
    "method": "antithetic",
    "num_evaluations": 600,
    "round_size": 64,
}


def digest(*arrays: Any) -> str:
    """The bits of some arrays, in short."""
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()[:16]


def make_game(shift: int = 0) -> tuple:
    """The arguments of a value function; the inputs are shifted."""
    players, *rest = make_mlp(jax.random.key(0), (5, 4, 3, 2), 32)
    params, inputs, labels = jax.tree.map(np.asarray, rest)
    return players, params, gp.negative_cross_entropy, inputs + shift, labels


def some_masks() -> np.ndarray:
    """Coalitions, more than there are processes."""
    return np.random.default_rng(0).random((9, 7)) < 0.5


def bits(value_fn: gp.coalitions.ValueFunction) -> dict[str, str]:
    """The bits of everything that a value function is asked for."""
    masks, key = some_masks(), jax.random.key(1)
    banzhaf = gp.banzhaf_values(
        key, value_fn, num_evaluations=100, method="sample_reuse"
    )
    return {
        "masks": digest(value_fn(masks)),
        "one coalition": digest(value_fn(masks[0])),
        "toggles of one coalition": digest(*value_fn.toggles(masks[:1])),
        "toggles": digest(*value_fn.toggles(masks)),
        "prefixes": digest(value_fn.prefixes(np.argsort(masks, axis=1))),
        "Banzhaf": digest(banzhaf.value, banzhaf.stderr),
    }


def trained(mesh: Mesh) -> dict[str, list[float]]:
    """The gates after some steps of each game, examples split over a mesh."""
    players, params, _, *examples = make_game()
    tx = gp.joint_optimizer(optax.adam(0.01))
    prices = gp.equilibrium.EQUILIBRIUM_PRESETS["l1_l2"]
    budget, how = gp.Budget(keep=0.5), {"num_steps": 10, "every": 2}
    loss = gp.cross_entropy
    games = {
        "equilibrium": gp.make_equilibrium_step(players, loss, tx, prices),
        "market": gp.make_market_step(players, loss, tx, budget, **how),
    }
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P(*mesh.axis_names))
    batch = tuple(jax.device_put(array, rows) for array in examples)
    found = {}
    for name, (init, step) in games.items():
        state = init(jax.device_put(params, whole))
        for _ in range(4):
            state, _ = jax.jit(step)(state, batch)
        found[name] = np.asarray(state.gates).tolist()
    return found


def message(call: Any) -> str:
    """The line of an `InputError`."""
    try:
        call()
    except gp.types.InputError as error:
        return str(error)
    return "no error"


def main(num: int, index: int, port: str, checkpoint: str) -> None:
    """One of the processes."""
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        num,
        index,
        heartbeat_timeout_seconds=60,
        shutdown_timeout_seconds=10,
    )
    mesh = Mesh(np.array(jax.devices()), ("coalitions",))
    value_fn = gp.value_function(*make_game(), mesh=mesh)
    told: dict[str, Any] = {"bits": bits(value_fn), "gates": trained(mesh)}
    far = [d for d in jax.devices() if d.process_index != index]
    told["errors"] = [
        message(lambda: gp.value_function(*make_game(), devices=far)),
        message(lambda: gp.value_function(*make_game(index), mesh=mesh)),
    ]
    print("RESULT", json.dumps(told), flush=True)

    def kill(done: int, total: int) -> None:
        if done > KILL_AT and index == num - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    key, given = jax.random.key(1), {"checkpoint": checkpoint, "progress": kill}
    try:
        gp.shapley_values(key, value_fn, **ESTIMATE, **given)
    except gp.types.LostProcess as error:
        print("LOST", error, flush=True)
        os._exit(3)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
