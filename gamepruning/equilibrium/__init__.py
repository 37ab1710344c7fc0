"""GAME 1: every player weighs what it earns against what it costs, until all rest."""

from gamepruning.equilibrium.algorithm import (
    EquilibriumResult,
    TrainingOptions,
    equilibrium_pruning,
)
from gamepruning.equilibrium.ascent import (
    JointState,
    joint_optimizer,
    project_to_box,
    projected_gate_ascent,
)
from gamepruning.equilibrium.budget import Budget, MarketSchedule, Seats
from gamepruning.equilibrium.clearing import Clearing, clear_market
from gamepruning.equilibrium.competition import competition
from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.market import (
    MarketInfo,
    MarketState,
    MarketStep,
    make_market_step,
)
from gamepruning.equilibrium.presets import EQUILIBRIUM_PRESETS
from gamepruning.equilibrium.response import (
    OwnTerms,
    best_response,
    condition_numbers,
    dominated_players,
    nash_gap,
    own_terms,
)
from gamepruning.equilibrium.solve import Solution, SolveOptions, solve
from gamepruning.equilibrium.stability import (
    game_jacobian,
    potential,
    response_jacobian,
    spectral_radius,
)
from gamepruning.equilibrium.step import (
    EquilibriumInfo,
    EquilibriumState,
    EquilibriumStep,
    make_equilibrium_step,
    surviving_players,
)
from gamepruning.equilibrium.sweep import (
    SweepPoints,
    make_sweep_step,
    pareto_front,
    sweep_grid,
)
from gamepruning.equilibrium.utility import (
    marginal_benefit,
    squared_norms,
    utility,
    utility_gradient,
)
from gamepruning.spelling import helpful

__all__ = [
    "Budget",
    "Clearing",
    "EQUILIBRIUM_PRESETS",
    "EquilibriumInfo",
    "EquilibriumResult",
    "EquilibriumState",
    "EquilibriumStep",
    "JointState",
    "MarketInfo",
    "MarketSchedule",
    "MarketState",
    "MarketStep",
    "OwnTerms",
    "Seats",
    "Solution",
    "SolveOptions",
    "SweepPoints",
    "TrainingOptions",
    "UtilityConfig",
    "best_response",
    "clear_market",
    "competition",
    "condition_numbers",
    "dominated_players",
    "equilibrium_pruning",
    "game_jacobian",
    "joint_optimizer",
    "make_equilibrium_step",
    "make_market_step",
    "make_sweep_step",
    "marginal_benefit",
    "nash_gap",
    "own_terms",
    "pareto_front",
    "potential",
    "project_to_box",
    "projected_gate_ascent",
    "response_jacobian",
    "solve",
    "spectral_radius",
    "squared_norms",
    "surviving_players",
    "sweep_grid",
    "utility",
    "utility_gradient",
]
__getattr__, __dir__ = helpful(__name__, __all__)
