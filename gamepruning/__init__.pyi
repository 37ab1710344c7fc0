from . import (
    bandits as bandits,
    baselines as baselines,
    coalitions as coalitions,
    compaction as compaction,
    distillation as distillation,
    equilibrium as equilibrium,
    export as export,
    huggingface as huggingface,
    images as images,
    metrics as metrics,
    players as players,
    reconstruction as reconstruction,
    selection as selection,
    stats as stats,
    tabular as tabular,
    types as types,
    uncertainty as uncertainty,
)
from .bandits import (
    POLICIES as POLICIES,
    play_bandit as play_bandit,
    removal_arms as removal_arms,
    thompson as thompson,
    ucb1 as ucb1,
)
from .baselines import (
    BASELINES as BASELINES,
    magnitude_scores as magnitude_scores,
    taylor_scores as taylor_scores,
)
from .coalitions import (
    ESTIMATORS as ESTIMATORS,
    banzhaf as banzhaf,
    banzhaf_values as banzhaf_values,
    exact_banzhaf as exact_banzhaf,
    exact_shapley as exact_shapley,
    negative_cross_entropy as negative_cross_entropy,
    shapley as shapley,
    shapley_values as shapley_values,
    value_function as value_function,
)
from .compaction import (
    Plan as Plan,
    compact as compact,
    export_model as export_model,
    load_stablehlo as load_stablehlo,
    to_module as to_module,
)
from .equilibrium import (
    Budget as Budget,
    UtilityConfig as UtilityConfig,
    joint_optimizer as joint_optimizer,
    make_equilibrium_step as make_equilibrium_step,
    make_market_step as make_market_step,
    projected_gate_ascent as projected_gate_ascent,
    solve as solve,
    utility_gradient as utility_gradient,
)
from .metrics import (
    accuracy as accuracy,
    cross_entropy as cross_entropy,
    r2 as r2,
    squared_error as squared_error,
)
from .players import (
    Players as Players,
    find_players as find_players,
    from_linen as from_linen,
    from_nnx as from_nnx,
    register_rule as register_rule,
)
from .reconstruction import (
    repair as repair,
)
from .selection import (
    iterated_building as iterated_building,
    iterated_pruning as iterated_pruning,
    safe_removal as safe_removal,
    top_n as top_n,
)
from .stats import (
    compare_methods as compare_methods,
)
from .types import (
    InputError as InputError,
    Scores as Scores,
)
from .uncertainty import (
    mcue as mcue,
)

__version__: str
