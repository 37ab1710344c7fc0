"""Pruning is a game between the parts of a network.

any JAX model --trace--> players --a game scores them--> who stays --compact-->
a smaller model, proven equal

The names that come first in use are here; the rest is in namespaces: `players`,
`equilibrium`, `coalitions`, `uncertainty`, `bandits`, `baselines`, `reconstruction`,
`distillation`, `selection`, `compaction`, `export`, `huggingface`, `metrics`, `stats`,
`tabular`, `images` and `types`.
"""

import warnings
from inspect import ismodule
from typing import Any

import lazy_loader

from gamepruning.spelling import no_attribute

__version__ = "0.2.0"

# The public names stand in `__init__.pyi`; each is imported when it is first used.
_load, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted(_names)

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
    if name in _HOME:
        where = f"gamepruning.{_HOME[name]}.{name}"
        message = f"gamepruning.{name} has moved: use {where}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(__getattr__(_HOME[name]), name)
    if name in __all__:
        return _load(name)
    raise AttributeError(no_attribute(__name__, name, _known(name)))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _known(name: str) -> list[str]:
    """What a name may have been meant to be: public names here and in namespaces."""
    found = [*__all__, *(f"{home}.{moved}" for moved, home in _HOME.items())]
    if name.startswith("_"):  # asked by a tool, not typed
        return found
    modules = {key: _load(key) for key in __all__}
    for key, module in modules.items():
        if ismodule(module):
            found += [f"{key}.{inner}" for inner in dir(module)]
    return found
