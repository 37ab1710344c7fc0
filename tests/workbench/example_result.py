"""A made-up result, for tests of what is drawn and written from one."""

import numpy as np

from gamepruning.compaction.measure import Cost
from gamepruning.workbench.report.results import Contender, FamilyRow, RunResult


def make_contender(key, label, *, kept=(9, 6), **values) -> Contender:
    return Contender(key=key, label=label, kept=kept, **values)


def make_cost(params: int, milliseconds: float) -> Cost:
    return Cost(
        params=params,
        num_bytes=4 * params,
        macs=params - 10,
        latency_ms=milliseconds,
        latency_p10_ms=0.9 * milliseconds,
        latency_p90_ms=1.3 * milliseconds,
        latency_batch=1000,
    )


def make_result(**changes) -> RunResult:
    fields = {
        "command": "gamepruning prune --dataset <b>",
        "dataset": "<b>digits",
        "model": "mlp",
        "method": "equilibrium",
        "settings": {"epochs": 150, "module": "a&b.py:make"},
        "metric": "accuracy",
        "num_train": 1077,
        "num_validation": 269,
        "num_test": 451,
        "families": (
            FamilyRow(name="hidden_0", kept=9, total=512),
            FamilyRow(name="hidden_1", kept=6, total=256, rescued=1),
        ),
        "dense": make_contender("dense", "dense", kept=(512, 256), gated=0.976),
        "pruned": make_contender(
            "equilibrium",
            "equilibrium (l1_l2)",
            gated=0.969,
            removed=0.968,
            tuned=0.971,
        ),
        "rivals": (
            make_contender("magnitude", "magnitude", removed=0.178, tuned=0.94),
            make_contender("random", "random", removed=0.129, tuned=0.898),
            make_contender("scratch", "from scratch", tuned=0.918),
        ),
        "cost_dense": make_cost(167_178, 3.2),
        "cost_small": make_cost(715, 0.11),
        "max_error": 2.3e-7,
        "shipped": "tuned",
        "seconds": {"train": 5.2},
        "notes": ("One & only.",),
        "versions": {"jax": "0.10.2"},
    }
    return RunResult(**(fields | changes))


def make_untuned() -> RunResult:
    """A baseline without fine-tuning, beside a network from scratch."""
    return make_result(
        pruned=make_contender("taylor", "taylor", removed=0.9),
        rivals=(make_contender("scratch", "from scratch", tuned=0.918),),
        shipped="removed",
    )


def make_records(num_epochs: int = 12) -> list[dict]:
    rows = []
    for epoch in range(1, num_epochs + 1):
        value = 0.97 - 0.5 * np.exp(-epoch / 2)
        left = [512 - 40 * epoch, 256 - 20 * epoch]
        rows.append({"stage": "dense", "epoch": epoch, "validation": value})
        game = {"stage": "equilibrium", "epoch": epoch, "open": left}
        rows.append({**game, "validation": value - 0.01})
    for epoch in (1, 2):
        stage = {"stage": "fine_tune_equilibrium", "epoch": epoch}
        rows.append({**stage, "validation": 0.965})
    return rows
