"""How close the policies come to the greedy oracle: MLP on MNIST, 768 arms.

python -m experiments.bandits.regret

The oracle is the mean loss change of each neuron over 10,000 training images. The
regret of k removed neurons is the sum of their loss changes minus that of the k lowest
ones, as a share of the regret of k random ones.
"""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from experiments.bandits.common import RESULTS, trained
from gamepruning.bandits import record_bandit
from gamepruning.files.atomic import new_file

COMMAND = "python -m experiments.bandits.regret"
IMAGES, BATCH = 10_000, 80
BUDGETS = (2, 5, 10, 30)  # pulls an arm
REMOVED = (38, 77, 192, 384, 691)  # 5, 10, 25, 50, 90 % of 768
SEEDS = (0, 1, 2)
SLOW = ("thompson_beta",)  # draws from Beta distributions: not at the largest budget


def regret(value: np.ndarray, exact: np.ndarray, count: int) -> float:
    """Of the `count` lowest values, as a share of that of random ones."""
    best = np.sort(exact)[:count].sum()
    found = exact[np.argsort(value, kind="stable")[:count]].sum()
    return float((found - best) / (exact.mean() * count - best))


def main() -> None:
    rows, oracle_seconds, arms = [], [], None
    for seed in SEEDS:
        data, model, params = trained("mnist", "mlp", seed, epochs=8)
        x = jnp.asarray(data.train.inputs[:IMAGES])
        y = jnp.asarray(data.train.labels[:IMAGES])
        key = jax.random.key(seed)
        if arms is None:
            players = gp.find_players(model.apply, params, x[:2])
            arms = gp.removal_arms(
                *(players, params, gp.cross_entropy, x, y), batch_size=BATCH, key=key
            )
        else:
            arms = arms.renewed(params, x, y, key=key)
        arms.loss_changes().block_until_ready()  # compiles
        start = time.perf_counter()
        exact = np.asarray(arms.loss_changes())
        oracle_seconds.append(round(time.perf_counter() - start, 2))
        for budget in BUDGETS:
            for name in gp.POLICIES:
                if name in SLOW and budget == max(BUDGETS):
                    continue
                policy, num = gp.POLICIES[name](), budget * arms.num_arms
                key = jax.random.key(100 + seed)
                start = time.perf_counter()
                found = record_bandit(key, policy, arms, num_pulls=num)
                spent = time.perf_counter() - start
                own = [regret(found.scores.value, exact, k) for k in REMOVED]
                cautious = found.scores.value + 2 * found.scores.stderr
                careful = [regret(cautious, exact, k) for k in REMOVED]
                by_policy = [regret(-found.preference, exact, k) for k in REMOVED]
                rows.append(
                    {
                        "policy": name,
                        "pulls an arm": budget,
                        "seed": seed,
                        "regret": np.round(own, 4).tolist(),
                        "regret by mean + 2 standard errors": np.round(
                            careful, 4
                        ).tolist(),
                        "regret by the policy's own preference": np.round(
                            by_policy, 4
                        ).tolist(),
                        "most pulls of an arm": int(found.pulls.max()),
                        "seconds": round(spent, 2),
                    }
                )
                print(rows[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "command": COMMAND,
        "arms": 768,
        "images": IMAGES,
        "batch": BATCH,
        "removed": REMOVED,
        "oracle seconds": oracle_seconds,
        "rows": rows,
    }
    with new_file(RESULTS.parent / "regret.json") as temporary:
        temporary.write_text(json.dumps(result) + "\n")
    with new_file(RESULTS.parent / "REGRET.md") as temporary:
        temporary.write_text(markdown(rows))
    print(markdown(rows))


KINDS = (
    ("By the mean loss change", "regret"),
    ("By the mean plus two standard errors", "regret by mean + 2 standard errors"),
    ("By the policy's own preference", "regret by the policy's own preference"),
)


def markdown(rows: list[dict]) -> str:
    """Means of the seeds: a table for each way to rank."""
    lines = [f"<!-- made by: {COMMAND} -->", ""]
    for title, kind in KINDS:
        lines += [f"{title}, mean of {len(SEEDS)} seeds:", ""]
        heads = " | ".join(f"{count} removed" for count in REMOVED)
        lines += [f"| pulls a neuron | policy | {heads} |"]
        lines += ["| --- | --- |" + " ---: |" * len(REMOVED)]
        for budget in BUDGETS:
            for name in gp.POLICIES:
                key = (name, budget)
                own = [r for r in rows if (r["policy"], r["pulls an arm"]) == key]
                if own:
                    means = np.mean([row[kind] for row in own], axis=0)
                    cells = " | ".join(f"{mean:.2f}" for mean in means)
                    lines.append(f"| {budget} | {name} | {cells} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
