"""Seven bandit policies and uniform pulls, one a file, in one table."""

from collections.abc import Callable

from gamepruning.bandits.policies.epsilon_greedy import epsilon_greedy
from gamepruning.bandits.policies.exp3 import exp3
from gamepruning.bandits.policies.hedge import hedge
from gamepruning.bandits.policies.softmax import softmax
from gamepruning.bandits.policies.thompson import thompson, thompson_beta
from gamepruning.bandits.policies.ucb1 import ucb1
from gamepruning.bandits.policies.uniform import uniform
from gamepruning.bandits.policy import Policy
from gamepruning.types import InputError

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


PolicyLike = Policy | Callable[..., Policy] | str


def as_policy(policy: PolicyLike) -> Policy:
    """A policy from a policy, the function that makes it, or its name.

    Args:
      policy: such as `gp.ucb1()`; `gp.ucb1` and "ucb1" stand for its default settings.

    Raises:
      InputError: it is none of them.

    Example:
      >>> as_policy(ucb1), as_policy("exp3")
      (Policy('ucb1'), Policy('exp3'))
    """
    made = POLICIES.get(policy) if isinstance(policy, str) else policy
    if callable(made) and made in POLICIES.values():
        made = made()
    if not isinstance(made, Policy):
        raise InputError(
            f"expected a policy, such as gp.ucb1(), or a name among "
            f"{', '.join(POLICIES)}, got {type(policy).__name__} {policy!r:.60}"
        )
    return made


__all__ = [
    "POLICIES",
    "PolicyLike",
    "as_policy",
    "epsilon_greedy",
    "exp3",
    "hedge",
    "softmax",
    "thompson",
    "thompson_beta",
    "ucb1",
    "uniform",
]
