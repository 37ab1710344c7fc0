"""Pruning is a game between the parts of a network.

any JAX model --trace--> players --a game scores them--> who stays --compact-->
a smaller, proven-equal model
"""

import importlib

__version__ = "0.1.0"

_EXPORTS = {
    "gamepruning.types": ("InputError", "Scores"),
    "gamepruning.metrics": ("accuracy", "cross_entropy", "r2", "squared_error"),
    "gamepruning.players": (
        "Players",
        "find_players",
        "from_linen",
        "from_nnx",
        "register_rule",
    ),
    "gamepruning.equilibrium": (
        "EQUILIBRIUM_PRESETS",
        "UtilityConfig",
        "equilibrium_optimizer",
        "equilibrium_pruning",
        "joint_optimizer",
        "make_equilibrium_step",
        "projected_gate_ascent",
        "surviving_players",
        "utility",
        "utility_gradient",
    ),
    "gamepruning.baselines": (
        "BASELINES",
        "activation_scores",
        "loss_oracle_scores",
        "magnitude_scores",
        "random_scores",
        "taylor_scores",
        "weight_gradient_scores",
    ),
    "gamepruning.selection": ("round_mask", "top_n"),
    "gamepruning.compaction": (
        "CompactModel",
        "CompactionReport",
        "Plan",
        "VerificationError",
        "compact",
        "count_macs",
        "count_params",
        "export_model",
        "export_orbax",
        "export_safetensors",
        "export_stablehlo",
        "import_orbax",
        "import_safetensors",
        "load_stablehlo",
        "measure_latencies",
        "measure_latency",
        "slice_opt_state",
    ),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'gamepruning' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted(__all__)
