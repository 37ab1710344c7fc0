"""Pruning is a game between the parts of a network.

any JAX model --trace--> players --a game scores them--> who stays --compact-->
a smaller model, proven equal

The names that come first in use are here; the rest is in namespaces: `players`,
`equilibrium`, `coalitions`, `uncertainty`, `bandits`, `baselines`, `reconstruction`,
`distillation`, `selection`, `compaction`, `export`, `huggingface`, `metrics`, `stats`,
`tabular`, `images` and `types`.
"""

import difflib
import importlib
import warnings
from typing import Any

import lazy_loader

__version__ = "0.2.0"

# The public names stand in `__init__.pyi`; each is imported when it is first used.
_load, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted({*_names, "stats"} - {"statistics"})

# Names that stood here in 0.1, by the namespace that they are in now.
_MOVED = {
    "bandits": """
        BanditResult RemovalArms epsilon_greedy exp3 hedge record_bandit softmax
        thompson_beta uniform
    """,
    "baselines": """
        activation_scores loss_oracle_scores random_scores
        weight_gradient_scores
    """,
    "coalitions": """
        IndexEstimate ValueFunction beta_semivalue calibrated_likelihood
        estimate_indices exact_semivalue semivalues true_class_probability
        voting_game weighted_voting_banzhaf weighted_voting_shapley
    """,
    "compaction": """
        CompactModel CompactionReport VerificationError count_macs count_params
        measure_latency slice_opt_state
    """,
    "equilibrium": """
        EQUILIBRIUM_PRESETS Solution best_response condition_numbers
        dominated_players equilibrium_pruning game_jacobian make_sweep_step
        nash_gap pareto_front potential response_jacobian spectral_radius
        surviving_players sweep_grid utility
    """,
    "export": """
        export_orbax export_safetensors export_stablehlo import_orbax
        import_safetensors
    """,
    "players": """
        Size size_of
    """,
    "selection": """
        Curve SelectionTrace compression_curve greedy_scores local_search
        marginal_values masks_at round_mask
    """,
    "stats": """
        MethodComparison friedman_test mean_ranks nemenyi_test wilcoxon_test
    """,
    "uncertainty": """
        Bands
    """,
}
_HOME = {name: home for home, names in _MOVED.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name == "stats":
        return importlib.import_module("gamepruning.statistics")
    if name in _HOME:
        where = f"gamepruning.{_HOME[name]}.{name}"
        message = f"gamepruning.{name} has moved: use {where}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(__getattr__(_HOME[name]), name)
    if name in __all__:
        return _load(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_hint(name)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _hint(name: str) -> str:
    """The name that was meant, where one is close."""
    known = {known.lower(): known for known in (*_HOME, *__all__)}
    close = difflib.get_close_matches(name.lower(), known, n=1)
    if not close:
        return ""
    meant = known[close[0]]
    return f"; did you mean {f'{_HOME[meant]}.{meant}' if meant in _HOME else meant!r}?"
