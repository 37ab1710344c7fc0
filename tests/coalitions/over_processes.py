"""What each process of `test_processes.py` runs: one game over one mesh.

    python -m tests.coalitions.over_processes NUM INDEX PORT CHECKPOINT

In the end the last process kills itself in the middle of an estimate.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import optax
from jax.random import key_data
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import gamepruning as gp
from gamepruning.coalitions import ESTIMATORS
from gamepruning.files.together import mean_finite, of_first_process
from tests.small import apply_mlp, make_mlp

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


def differing(index: int, value_fn: gp.coalitions.ValueFunction) -> dict[str, Any]:
    """What each process finds for itself, with an error of its own in every score."""
    method = "sample_reuse"
    plain = ESTIMATORS[method]

    def finish(problem: Any, state: Any) -> Any:
        found = plain.finish(problem, state)
        return found._replace(value=found.value + index * np.arange(7.0))

    def scorer(key: Any, game: Any, num: int) -> gp.types.Scores:
        return gp.types.Scores(np.arange(num) * (-1.0) ** index, np.zeros(num), 0)

    estimators = cast("dict[str, Any]", ESTIMATORS)
    estimators[method] = plain._replace(finish=finish)
    given: dict[str, Any] = {"num_evaluations": 60, "method": method}
    value = gp.banzhaf_values(jax.random.key(1), value_fn, **given).value
    estimators[method] = plain
    trace = gp.iterated_pruning(0, value_fn, 4, step=1, scorer=scorer)
    return {"scores": np.asarray(value).tolist(), "order": trace.order.tolist()}


def keyed(params: dict, key: jax.Array, inputs: jax.Array) -> jax.Array:
    """A network that draws its noise from a key among its inputs."""
    noise = jax.random.normal(key, (inputs.shape[1],))
    return apply_mlp(params, inputs + 0.1 * noise[None])


def make_keyed_game() -> tuple:
    """The arguments of a value function of `keyed`."""
    _, params, metric, inputs, labels = make_game()
    given = jax.random.key(3), inputs
    return gp.find_players(keyed, params, *given), params, metric, given, labels


def make_scaled_game(scale: float) -> tuple:
    """The arguments of a value function, a plain number among the parameters."""
    _, params, metric, inputs, labels = make_game()

    def apply(params: dict, inputs: jax.Array) -> jax.Array:
        return apply_mlp(params["net"], inputs) * params["scale"]

    params = {"net": params, "scale": scale}
    return gp.find_players(apply, params, inputs), params, metric, inputs, labels


def pruned(mesh: Mesh | None, file: Path) -> dict[str, Any]:
    """What a network is cut to, whose weights may be split over a mesh."""
    players, params, _, inputs, labels = make_game()
    if mesh is not None:
        (axis,) = mesh.axis_names
        params = split_kernels(params, mesh, axis)
        params = jax.device_put(
            params, jax.tree.map(lambda x: place_of(x, mesh), params)
        )
    scores = gp.taylor_scores(players, params, gp.cross_entropy, inputs, labels)
    mask = gp.top_n(scores, 4)
    repaired = gp.repair(players, params, mask, inputs).params
    small = gp.compact(players, repaired, mask)
    gp.export.export_safetensors(small.params, file)
    written = gp.export.import_safetensors(file)
    return {
        "scores": np.asarray(scores.value).tolist(),
        "mask": np.asarray(mask).tolist(),
        "weights": [leaf.ravel().tolist() for leaf in jax.tree.leaves(written)],
    }


def split_kernels(params: dict, mesh: Mesh, axis: str) -> dict:
    """The parameters with columns or rows of each kernel over an axis of a mesh."""
    split = {"dense0": P(None, axis), "dense1": P(axis), "dense2": P(None, axis)}

    def put(name: str, layer: dict) -> dict:
        spec = NamedSharding(mesh, split[name])
        return layer | {"kernel": jax.device_put(layer["kernel"], spec)}

    return {name: put(name, layer) for name, layer in params.items()}


def place_of(array: Any, mesh: Mesh) -> NamedSharding:
    """Where an array lies on a mesh: as it is split, or whole."""
    found = getattr(array, "sharding", None)
    return found if isinstance(found, NamedSharding) else NamedSharding(mesh, P())


def arms_of(game: tuple, mesh: Mesh | None, axis: str = "") -> gp.bandits.RemovalArms:
    """The arms of a network, whose weights may be split over an axis of the mesh."""
    players, params, _, inputs, labels = game
    if axis and mesh is not None:
        params = split_kernels(params, mesh, axis)
    data = inputs, labels
    loss = gp.cross_entropy
    return gp.removal_arms(players, params, loss, *data, batch_size=8, mesh=mesh)


def played(mesh: Mesh | None) -> dict[str, str]:
    """The bits of a look at all arms, of games and of a removal."""
    arms, policy, key = arms_of(make_game(), mesh), gp.ucb1(), jax.random.key(2)
    value_fn = gp.value_function(*make_game(), mesh=mesh)
    games = gp.bandits.record_bandits(range(3), policy, arms, stop_at=3)
    scores = gp.play_bandit(key, policy, arms)
    trace = gp.safe_removal(key, policy, arms, value_fn, 4, step=2)
    return {
        "first look": digest(arms.loss_changes()),
        "games": digest(*(one.changes for one in games)),
        "bandit": digest(scores.value, scores.stderr),
        "removal": digest(trace.order, *(r.scores.value for r in trace.rounds)),
    }


def played_on_split(mesh: Mesh | None) -> dict[str, list[float]]:
    """What is found where the weights are split over the devices of all processes."""
    if mesh is not None:
        mesh = Mesh(mesh.devices[None], ("coalitions", "model"))
    arms = arms_of(make_game(), mesh, "model")
    (game,) = gp.bandits.record_bandits([0], gp.bandits.uniform(), arms, stop_at=3)
    changes = np.asarray(arms.loss_changes())
    return {"first look": changes.tolist(), "game": game.mean.tolist()}


def bands_of(game: tuple, mesh: Mesh) -> Any:
    """MCUE over a mesh."""
    players, params, _, inputs, labels = game
    given = players, params, inputs, labels
    return gp.mcue(0, *given, num_samples=4, num_sizes=3, mesh=mesh)


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
    told |= {"played": played(mesh), "split": played_on_split(mesh)}
    far = [d for d in jax.devices() if d.process_index != index]
    told["errors"] = [
        message(lambda: gp.value_function(*make_game(), devices=far)),
        message(lambda: gp.value_function(*make_game(index), mesh=mesh)),
        message(lambda: gp.value_function(*make_scaled_game(1.0 + index), mesh=mesh)),
        message(lambda: bands_of(make_game(index), mesh)),
        message(lambda: arms_of(make_game(index), mesh)),
    ]
    players, params, _, *examples = make_game()
    params = split_kernels(params, mesh, "coalitions")
    told["no mesh"] = message(
        lambda: gp.removal_arms(players, params, gp.cross_entropy, *examples)
    )
    other = some_masks() ^ bool(index)
    orders = np.argsort(other, axis=1, kind="stable")
    told["different questions"] = [
        message(lambda: value_fn(other)),
        message(lambda: value_fn.toggles(other)),
        message(lambda: value_fn.toggles(other[:1])),
        message(lambda: value_fn.prefixes(orders)),
        message(lambda: (value_fn.toggles if index else value_fn)(some_masks())),
    ]
    told["pruned"] = pruned(mesh, Path(f"{checkpoint}.{index}.safetensors"))
    told["differing"] = differing(index, value_fn)
    told["keyed"] = digest(
        gp.value_function(*make_keyed_game(), mesh=mesh)(some_masks())
    )
    own = {"w": np.arange(3.0) + index, "key": jax.random.key(index), "name": "x"}
    sent = of_first_process(own)
    told["trained"] = [sent["name"], sent["w"].tolist(), digest(key_data(sent["key"]))]
    told["losses"] = [
        mean_finite(loss) for loss in (0.5 + index, [np.nan, 2.0][index], np.nan)
    ]
    content = bytes(range(250)) * (1 + 3 * (index == 0))
    assert value_fn.processes is not None
    told["broadcast"] = len(value_fn.processes.broadcast(content))
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
