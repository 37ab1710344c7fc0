"""Values of many related coalitions: every prefix of an order, every single toggle.

A value function that can do these incrementally has methods `prefixes` and `toggles`;
any other is asked for full values.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gamepruning.types import InputError

ValueFn = Callable[[Any], Any]


def coalition_values(
    value_fn: ValueFn, masks: Bool[np.ndarray, "S N"]
) -> Float[np.ndarray, " S"]:
    """v(S) for each coalition, checked.

    Args:
      value_fn: coalitions bool [S, N] -> values [S].
      masks: the coalitions.

    Returns:
      float64 [S].

    Raises:
      InputError: the values have another shape, or are not finite.

    Cost: S evaluations.

    Example:
      >>> import numpy as np
      >>> coalition_values(lambda masks: masks.sum(axis=1), np.eye(3, dtype=bool))
      array([1., 1., 1.])
    """
    return _checked(value_fn(masks), (len(masks),), "value_fn(masks [S, N])", masks)


def prefix_values(
    value_fn: ValueFn,
    orders: Int[np.ndarray, "S N"],
    *,
    ends: tuple[float, float] | None = None,
) -> Float[np.ndarray, "S N+1"]:
    """v of the empty coalition and of every prefix of each order.

    Args:
      value_fn: coalitions -> values; its method `prefixes(orders) -> [S, N + 1]` is
        used where it has one.
      orders: the players as they enter, each row a permutation of 0..N-1.
      ends: v of nobody and of everybody, if they are known.

    Returns:
      float64 [S, N + 1].

    Raises:
      InputError: the values have another shape, or are not finite.

    Cost: S (N - 1) evaluations, and 2 for the ends; a small fraction of that where the
    value function is incremental.

    Example:
      >>> import numpy as np
      >>> prefix_values(lambda masks: masks @ [1.0, 10.0], np.array([[1, 0]]))
      array([[ 0., 10., 11.]])
    """
    num, n = orders.shape
    if hasattr(value_fn, "prefixes"):
        found = value_fn.prefixes(orders)  # type: ignore[attr-defined]
        return _checked(found, (num, n + 1), "value_fn.prefixes(orders)", orders)
    position = np.argsort(orders, axis=1)
    values = np.empty((num, n + 1))
    values[:, 0], values[:, n] = end_values(value_fn, n) if ends is None else ends
    if n > 1:
        masks = position[:, None, :] < np.arange(1, n)[None, :, None]
        inner = coalition_values(value_fn, masks.reshape(-1, n))
        values[:, 1:n] = inner.reshape(num, n - 1)
    return values


def toggle_values(
    value_fn: ValueFn, masks: Bool[np.ndarray, "S N"]
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S N"]]:
    """v of each coalition, and with the membership of each player changed.

    Args:
      value_fn: coalitions -> values; its method `toggles(masks) -> ([S], [S, N])` is
        used where it has one.
      masks: the coalitions.

    Returns:
      (float64 [S], float64 [S, N]).

    Raises:
      InputError: the values have another shape, or are not finite.

    Cost: S (N + 1) evaluations; a small fraction of that where the value function is
    incremental.

    Example:
      >>> import numpy as np
      >>> toggle_values(lambda masks: masks @ [1.0, 10.0], np.array([[True, False]]))
      (array([1.]), array([[ 0., 11.]]))
    """
    num, n = masks.shape
    if hasattr(value_fn, "toggles"):
        base, toggled = value_fn.toggles(masks)  # type: ignore[attr-defined]
        name = "value_fn.toggles(masks)"
        return (
            _checked(base, (num,), name, masks),
            _checked(toggled, (num, n), name, masks),
        )
    flips = np.concatenate([np.zeros((1, n), bool), np.eye(n, dtype=bool)])
    all_masks = masks[:, None, :] ^ flips
    values = coalition_values(value_fn, all_masks.reshape(-1, n)).reshape(num, n + 1)
    return values[:, 0], values[:, 1:]


def end_values(value_fn: ValueFn, num_players: int) -> tuple[float, float]:
    """v of nobody and v of everybody. Cost: 2 evaluations.

    Example:
      >>> end_values(lambda masks: masks.sum(axis=1), 5)
      (0.0, 5.0)
    """
    masks = np.array([[False], [True]]).repeat(num_players, axis=1)
    nobody, everybody = coalition_values(value_fn, masks)
    return float(nobody), float(everybody)


def _checked(values: Any, shape: tuple, what: str, given: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != shape:
        raise InputError(
            f"expected {what} to give values of shape {list(shape)} for an argument of "
            f"shape {list(given.shape)}, got {list(values.shape)}: one value for each"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(
            f"{what} gave NaN or infinity for {bad} of {values.size} coalitions: make "
            "it finite for every coalition, also for nobody (clip a loss, for example)"
        )
    return values
