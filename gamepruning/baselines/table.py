"""All baselines behind one signature, for those who compare them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import PyTree

from gamepruning.baselines.activations import activation_scores, random_scores
from gamepruning.baselines.oracle import loss_oracle_scores
from gamepruning.baselines.taylor import taylor_scores
from gamepruning.baselines.weights import magnitude_scores, weight_gradient_scores
from gamepruning.players import Players
from gamepruning.types import KeyLike, Loss, Scores

LABELLED = (
    "players",
    "params",
    "loss_fn",
    "inputs",
    "labels",
)  # what most of them take
ON_EXAMPLES = {"inputs", "labels"}


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A scorer that takes all arguments and passes on those that its function takes.

    Attributes:
      score: the function.
      takes: the names of the arguments that it takes, in its order.
      options: keywords that it always gets.

    Example:
      >>> BASELINES["taylor"]
      Baseline(taylor_scores(players, params, loss_fn, inputs, labels, order=1))
      >>> BASELINES["magnitude_l2"].needs_labels, BASELINES["taylor"].needs_labels
      (False, True)
    """

    score: Callable[..., Scores]
    takes: tuple[str, ...] = LABELLED
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(
        self,
        key: KeyLike,
        players: Players,
        params: PyTree,
        loss_fn: Loss,
        inputs: PyTree,
        labels: Any,
        *,
        examples_at_once: int | None = None,
    ) -> Scores:
        """Score the players; `examples_at_once` bounds the memory."""
        given = {
            "key": key,
            "players": players,
            "params": params,
            "loss_fn": loss_fn,
            "inputs": inputs,
            "labels": labels,
        }
        options = dict(self.options)
        if examples_at_once is not None and ON_EXAMPLES & set(self.takes):
            options["examples_at_once"] = examples_at_once
        return self.score(*(given[name] for name in self.takes), **options)

    @property
    def help(self) -> str:
        """The first line of the function's docstring."""
        return (self.score.__doc__ or "").strip().partition("\n")[0]

    @property
    def needs_labels(self) -> bool:
        """True if it looks at the labels, and so at the loss."""
        return "labels" in self.takes

    def __repr__(self) -> str:
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        return f"Baseline({self.score.__name__}({', '.join([*self.takes, *options])}))"


BASELINES: dict[str, Baseline] = {
    "random": Baseline(random_scores, ("key", "players")),
    "magnitude_l1": Baseline(magnitude_scores, ("players", "params"), {"ord": 1}),
    "magnitude_l2": Baseline(magnitude_scores, ("players", "params"), {"ord": 2}),
    "weight_gradient": Baseline(weight_gradient_scores),
    "taylor": Baseline(taylor_scores, options={"order": 1}),
    "taylor_second": Baseline(taylor_scores, options={"order": 2}),
    "activation": Baseline(activation_scores, ("players", "params", "inputs")),
    "loss_oracle": Baseline(loss_oracle_scores),
}
"""Scorers by name, each (key, players, params, loss_fn, inputs, labels) -> `Scores`.

To add one, write its function in a file beside these and add its line here. Any
`Scorer` of this signature will do where `Baseline` does not fit.
"""
