"""The controls of an experiment: as many players, chosen simply."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from gamepruning.baselines import magnitude_scores
from gamepruning.players import Players
from gamepruning.selection.top_n import top_n
from gamepruning.types import KeyLike


def control_masks(
    key: KeyLike, players: Players, params: Any, counts: Sequence[int]
) -> dict[str, Bool[np.ndarray, " N"]]:
    """Masks by "magnitude" and at "random", with so many players in each family.

    A method is good only where it beats both at its own sizes.

    Args:
      key: random key.
      players: the `Players`.
      params: of the trained network.
      counts: players that stay in each family.

    Returns:
      The masks by name, bool [N].

    Example:
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> apply = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.arange(8.0).reshape(2, 4), "out": jnp.ones((4, 3))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 2)))
      >>> masks = control_masks(jax.random.key(0), players, params, (2,))
      >>> masks["magnitude"].tolist(), int(masks["random"].sum())
      ([False, False, True, True], 2)
    """
    values = {
        "magnitude": magnitude_scores(players, params).value,
        "random": jax.random.uniform(key, (players.num_players,)),
    }
    best = {name: top_n(v, counts, players=players) for name, v in values.items()}
    return {name: np.asarray(mask) for name, mask in best.items()}
