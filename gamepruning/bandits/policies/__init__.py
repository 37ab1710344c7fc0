"""Six bandit policies and uniform pulls, one a file, in one table."""

from collections.abc import Callable

from gamepruning.bandits.policies.epsilon_greedy import epsilon_greedy
from gamepruning.bandits.policies.exp3 import exp3
from gamepruning.bandits.policies.hedge import hedge
from gamepruning.bandits.policies.softmax import softmax
from gamepruning.bandits.policies.thompson import thompson, thompson_beta
from gamepruning.bandits.policies.ucb1 import ucb1
from gamepruning.bandits.policies.uniform import uniform
from gamepruning.bandits.policy import Policy

POLICIES: dict[str, Callable[[], Policy]] = {
    "epsilon_greedy": epsilon_greedy,
    "softmax": softmax,
    "ucb1": ucb1,
    "thompson": thompson,
    "thompson_beta": thompson_beta,
    "hedge": hedge,
    "exp3": exp3,
    "uniform": uniform,
}
"""Every policy by name; called without arguments it has its default settings.

To add one, write a file beside these with a factory made by `policy_by_index` or
`policy_by_probability`, and add its line here: the command line and the contract tests
read this table.
"""

__all__ = [
    "POLICIES",
    "epsilon_greedy",
    "exp3",
    "hedge",
    "softmax",
    "thompson",
    "thompson_beta",
    "ucb1",
    "uniform",
]
