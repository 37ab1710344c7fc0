from .baselines import (
    BASELINES as BASELINES,
    activation_scores as activation_scores,
    loss_oracle_scores as loss_oracle_scores,
    magnitude_scores as magnitude_scores,
    random_scores as random_scores,
    taylor_scores as taylor_scores,
    weight_gradient_scores as weight_gradient_scores,
)
from .compaction import (
    CompactionReport as CompactionReport,
    CompactModel as CompactModel,
    Plan as Plan,
    VerificationError as VerificationError,
    compact as compact,
    count_macs as count_macs,
    count_params as count_params,
    export_model as export_model,
    export_orbax as export_orbax,
    export_safetensors as export_safetensors,
    export_stablehlo as export_stablehlo,
    import_orbax as import_orbax,
    import_safetensors as import_safetensors,
    load_stablehlo as load_stablehlo,
    measure_latencies as measure_latencies,
    measure_latency as measure_latency,
    slice_opt_state as slice_opt_state,
)
from .equilibrium import (
    EQUILIBRIUM_PRESETS as EQUILIBRIUM_PRESETS,
    Budget as Budget,
    Solution as Solution,
    UtilityConfig as UtilityConfig,
    best_response as best_response,
    condition_numbers as condition_numbers,
    dominated_players as dominated_players,
    equilibrium_optimizer as equilibrium_optimizer,
    equilibrium_pruning as equilibrium_pruning,
    game_jacobian as game_jacobian,
    joint_optimizer as joint_optimizer,
    make_equilibrium_step as make_equilibrium_step,
    make_market_step as make_market_step,
    make_sweep_step as make_sweep_step,
    nash_gap as nash_gap,
    pareto_front as pareto_front,
    potential as potential,
    projected_gate_ascent as projected_gate_ascent,
    response_jacobian as response_jacobian,
    solve as solve,
    spectral_radius as spectral_radius,
    surviving_players as surviving_players,
    sweep_grid as sweep_grid,
    utility as utility,
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
    Size as Size,
    find_players as find_players,
    from_linen as from_linen,
    from_nnx as from_nnx,
    register_rule as register_rule,
    size_of as size_of,
)
from .selection import (
    round_mask as round_mask,
    top_n as top_n,
)
from .types import (
    InputError as InputError,
    Scores as Scores,
)

__version__: str
