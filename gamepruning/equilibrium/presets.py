"""The paper's configurations, and the optimizers under which they work."""

import optax

from gamepruning.equilibrium.ascent import joint_optimizer, projected_gate_ascent
from gamepruning.equilibrium.config import UtilityConfig

EQUILIBRIUM_PRESETS: dict[str, UtilityConfig] = {
    "very_high_beta": UtilityConfig(alpha=1.0, beta=0.1, gamma=0.0),
    "extreme_beta": UtilityConfig(alpha=1.0, beta=0.5, gamma=0.0),
    "l1_strong": UtilityConfig(alpha=1.0, beta=0.001, gamma=0.1),
    "l1_l2": UtilityConfig(alpha=1.0, beta=0.05, gamma=0.05),
}
"""The four rows of section 7.3 and Table 2 of arXiv 2512.22106, all with eta = 0.

As they are printed, with the squared norm in the cost, which weighs a layer by its
number of inputs. With `dataclasses.replace(preset, norm="mean")` "l1_l2" keeps fewer
players of MNIST's network and more of its accuracy.
"""


def equilibrium_optimizer(
    *,
    weight_learning_rate: optax.ScalarOrSchedule = 0.1,
    momentum: float = 0.9,
    gate_learning_rate: optax.ScalarOrSchedule = 1e-3,
) -> optax.GradientTransformationExtraArgs:
    """The default optimizer of the game: SGD for the weights, Adam for the gates.

    The paper names neither. Gates move by Adam, whose step does not shrink with the
    gradient: under plain ascent with the paper's rate of 0.001 they are still on their
    way after its 20 epochs. Weights move by SGD with momentum, which does not make up
    for a shrinking gate by growing the weights behind it as fast as Adam does.

    A gate travels at most about steps x gate_learning_rate: 9 for MNIST's 20 epochs in
    batches of 128. Keep that product when the number of steps differs.

    Args:
      weight_learning_rate: a number or an optax schedule.
      momentum: of the weights' SGD.
      gate_learning_rate: a number or an optax schedule.

    Returns:
      A transform over {"params", "gates"}; see `joint_optimizer`.

    References:
      Shah and Khan, arXiv 2512.22106, section 7.
    """
    return joint_optimizer(
        optax.sgd(weight_learning_rate, momentum),
        projected_gate_ascent(gate_learning_rate, optax.scale_by_adam()),
    )
