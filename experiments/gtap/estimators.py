"""Which estimator is best at which budget, on a trained network, small d included.

    python -m experiments.gtap.estimators

A 64-128-64-10 network on digits, 192 players, value = mean probability of the true
class on 100 held-out images. Relative L2 error and Spearman's correlation with an
independent reference (regression or leverage at 200 N). Writes estimators.json.
"""

import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from experiments.gtap.common import write_json
from gamepruning.coalitions.estimators import ESTIMATORS
from gamepruning.coalitions.estimators.select import least_evaluations
from gamepruning.coalitions.estimators.stopping import rank_correlation
from gamepruning.coalitions.indices import semivalues
from gamepruning.coalitions.semivalues import banzhaf, shapley

SIZES, NUM_PLAYERS = (128, 64), 192
BUDGETS = (2, 5, 10, 25, 50)  # evaluations a player
NUM_KEYS = 2
REFERENCE = 200
LAWS = {
    **{f"banzhaf {d}": banzhaf(NUM_PLAYERS, d) for d in (0.175, 0.225, 0.5, 0.8)},
    "shapley": shapley(NUM_PLAYERS),
}


def network_game():
    """Masks of the hidden units -> mean probability of the true class."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    model = MLPClassifier(SIZES, random_state=0, max_iter=40, learning_rate_init=3e-3)
    model.set_params(n_iter_no_change=100, tol=0)
    model.fit(x[200:], y[200:])
    weights = [w.astype(np.float32) for w in model.coefs_]
    biases = [b.astype(np.float32) for b in model.intercepts_]
    first, label = np.maximum(x[:100] @ weights[0] + biases[0], 0), y[:100]

    def some(masks):
        masks = masks.astype(np.float32)
        hidden = first * masks[:, None, : SIZES[0]]
        hidden = np.maximum(hidden @ weights[1] + biases[1], 0)
        logits = hidden * masks[:, None, SIZES[0] :] @ weights[2] + biases[2]
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        return (odds[:, np.arange(100), label] / odds.sum(axis=2)).mean(axis=1)

    def value_fn(masks):
        parts = np.array_split(masks, -(-len(masks) // 64))
        return np.concatenate([some(part) for part in parts])

    return value_fn


def main() -> None:
    start, value_fn, rows = time.perf_counter(), network_game(), []
    masks = np.random.default_rng(0).random((1024, NUM_PLAYERS)) < 0.5
    begin = time.perf_counter()
    value_fn(masks)
    rate = round(1024 / (time.perf_counter() - begin))
    for index, law in LAWS.items():
        best = "leverage" if law.name == "shapley" else "regression"
        best = "paired_regression" if law.bias == 0.5 else best
        reference = semivalues(
            jax.random.key(99),
            value_fn,
            law,
            num_evaluations=REFERENCE * NUM_PLAYERS,
            method=best,
        )
        for method, estimator in ESTIMATORS.items():
            is_slow = method == "toggle" and law.name == "shapley"
            if estimator.misfit(law) is None and not is_slow:
                rows += _curve(value_fn, index, law, method, reference)
    result = {
        "command": "python -m experiments.gtap.estimators",
        "evaluations_per_second": rate,
        "seconds": round(time.perf_counter() - start),
        "rows": rows,
    }
    write_json(Path(__file__).with_suffix(".json"), result)


def _curve(value_fn, index, law, method, reference) -> list[dict]:
    """One row per budget; a larger budget resumes the checkpoint of a smaller one."""
    found: dict = {}
    for key in jax.random.split(jax.random.key(0), NUM_KEYS):
        with tempfile.TemporaryDirectory() as folder:
            for times in BUDGETS:
                budget = times * NUM_PLAYERS
                if budget < least_evaluations(method, law):
                    continue
                scores = semivalues(
                    key,
                    value_fn,
                    law,
                    num_evaluations=budget,
                    method=method,
                    checkpoint=Path(folder) / "run.npz",
                )
                found.setdefault(times, []).append(_quality(scores, reference))
    rows = []
    for times, pairs in found.items():
        error, correlation = np.mean(pairs, axis=0)
        rows.append(
            {
                "index": index,
                "method": method,
                "evaluations_per_player": times,
                "relative_error": round(float(error), 3),
                "spearman": round(float(correlation), 3),
            }
        )
        print(rows[-1], flush=True)
    return rows


def _quality(scores, reference) -> tuple[float, float]:
    apart = np.linalg.norm(scores.value - reference.value)
    error = apart / np.linalg.norm(reference.value)
    return float(error), rank_correlation(scores.value, reference.value)


if __name__ == "__main__":
    main()
