"""GAME 3: bandits that learn which players are safe to remove."""

from gamepruning.bandits.arms import ArmsOptions, RemovalArms, removal_arms
from gamepruning.bandits.game import (
    BanditState,
    Plays,
    count_turns,
    make_plays,
    safe_reward,
)
from gamepruning.bandits.play import (
    BanditOptions,
    play_bandit,
    record_bandit,
    record_bandits,
)
from gamepruning.bandits.policies import (
    POLICIES,
    epsilon_greedy,
    exp3,
    hedge,
    softmax,
    thompson,
    thompson_beta,
    ucb1,
    uniform,
)
from gamepruning.bandits.policy import (
    Policy,
    PolicyState,
    policy_by_index,
    policy_by_probability,
)
from gamepruning.bandits.result import BanditResult
from gamepruning.spelling import helpful

__all__ = [
    "POLICIES",
    "ArmsOptions",
    "BanditOptions",
    "BanditResult",
    "BanditState",
    "Plays",
    "Policy",
    "PolicyState",
    "RemovalArms",
    "count_turns",
    "epsilon_greedy",
    "exp3",
    "hedge",
    "make_plays",
    "play_bandit",
    "policy_by_index",
    "policy_by_probability",
    "record_bandit",
    "record_bandits",
    "removal_arms",
    "safe_reward",
    "softmax",
    "thompson",
    "thompson_beta",
    "ucb1",
    "uniform",
]
__getattr__, __dir__ = helpful(__name__, __all__)
