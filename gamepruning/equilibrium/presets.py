"""The paper's configurations."""

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
