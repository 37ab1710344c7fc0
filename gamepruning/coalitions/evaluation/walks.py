"""The values along orders, and around coalitions, from compiled walks.

A walk starts from one coalition and lets players change sides, one after the other or
each alone; see `rank_one.Walk`.
"""

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from gamepruning.coalitions.evaluation.rank_one import Walk
from gamepruning.coalitions.evaluation.tiles import RowSample
from gamepruning.trees.masks import as_masks
from gamepruning.types import InputError


class Walks:
    """Prefixes of orders and toggles of coalitions, one compiled walk for each.

    Attributes:
      varying: who may be out, bool [N].
    """

    def __init__(
        self,
        walk: Walk,
        varying: Bool[np.ndarray, " N"],
        scale: int,
        sample: RowSample | None,
    ):
        """Walks of players who vary; sums over rows are divided by `scale`."""
        self.varying = varying
        self._walk = walk
        self._scale = scale
        self._sample = sample
        self._longest = int(varying.sum())

    def prefixes(
        self, orders: ArrayLike, base: ArrayLike | None = None
    ) -> Float[np.ndarray, "S K"]:
        """The values of the base and after each player of an order has entered.

        Args:
          orders: int [S, M], players who vary, each at most once in a row.
          base: who is in before, bool [N] or [S, N]; None for all who do not vary.

        Raises:
          InputError: a player enters twice, is in the base, or does not vary.
        """
        orders = _check_players(orders, 2, self.varying)
        base = ~self.varying if base is None else base
        shape = (len(orders), len(self.varying))
        masks = _check_masks(np.broadcast_to(np.asarray(base), shape), self.varying)
        rows = np.arange(len(orders))[:, None]
        count = np.zeros(shape, np.int64)
        np.add.at(count, (rows, orders), 1)
        if (count + masks > 1).any():
            raise InputError(
                "a player of an order enters twice, or is in the base already: name "
                "each player once, and only players who are out"
            )
        pairs = zip(masks, orders, strict=True)
        found = [self._values(mask, order, True) for mask, order in pairs]
        return np.array(found).reshape(len(orders), orders.shape[1] + 1)

    def toggles(
        self, masks: ArrayLike, candidates: ArrayLike
    ) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S M"]]:
        """The values of coalitions, and with one candidate's membership changed.

        Args:
          masks: bool [S, N].
          candidates: int [M], players who vary.

        Raises:
          InputError: a candidate does not vary, or a player who does not is out.
        """
        candidates = _check_players(candidates, 1, self.varying)
        masks = _check_masks(np.asarray(masks), self.varying)
        starts = range(0, len(candidates), self._longest)
        chunks = [candidates[k : k + self._longest] for k in starts] or [candidates]
        base, flipped = np.zeros(len(masks)), np.zeros((len(masks), len(candidates)))
        for row, mask in enumerate(masks):
            found = [self._values(mask, chunk, False) for chunk in chunks]
            base[row] = found[0][0]
            flipped[row] = np.concatenate([values[1:] for values in found])
        return base, flipped

    def _values(
        self, mask: np.ndarray, order: np.ndarray, keep: bool
    ) -> Float[np.ndarray, " K"]:
        """At the start and after each move, which stays where `keep`."""
        padded = np.zeros(self._longest, np.int32)
        padded[: len(order)] = order
        if self._sample is None:
            sums = np.asarray(self._walk(mask, padded, len(order), keep), np.float64)
        else:
            tiles, weights = self._sample.draw(mask, *([padded] if keep else []))
            found = self._walk(mask, padded, len(order), keep, tiles)
            sums = np.asarray(found, np.float64) * weights[:, None]
        return sums.sum(axis=0)[: len(order) + 1] / self._scale


def _check_players(
    numbers: ArrayLike, ndim: int, varying: np.ndarray
) -> Int[np.ndarray, "..."]:
    numbers = np.asarray(numbers)
    if numbers.ndim != ndim or not np.issubdtype(numbers.dtype, np.integer):
        raise InputError(
            f"expected player numbers, integers with {ndim} axes, got "
            f"{numbers.dtype} of shape {numbers.shape}"
        )
    inside = (numbers >= 0) & (numbers < len(varying))
    if not inside.all() or not varying[numbers].all():
        raise InputError(
            f"a player's number is outside [0, {len(varying)}) or that of a player "
            "who does not vary: name it in `varying`"
        )
    return numbers


def _check_masks(masks: np.ndarray, varying: np.ndarray) -> np.ndarray:
    masks = as_masks(masks, len(varying))
    if not masks[:, ~varying].all():
        raise InputError(
            "a player who does not vary is out: name it in `varying`, or put it in"
        )
    return masks
