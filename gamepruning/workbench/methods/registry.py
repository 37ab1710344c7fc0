"""The methods by name: what each is, how it selects, and what it can be told.

`METHODS` is the one list of methods. Settings, help and every command read it, so that
a name means the same everywhere and a new method is one entry.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from gamepruning.errors import InputError
from gamepruning.workbench.settings.spelling import closest

Kind = Literal["equilibrium", "index", "bandit", "baseline"]
Selection = Literal["game", "top_n", "family", "pruning", "building"]

COALITIONS = ("value", "rows", "evaluations", "step", "swaps")
ASKS: dict[Kind, tuple[str, ...]] = {
    "equilibrium": ("preset", "price", "norm", "benefit", "threshold", "unit"),
    "index": ("selection", "scope", *COALITIONS),
    "bandit": ("selection", "scope", "pulls", "max_drop"),
    "baseline": ("scope",),
}
"""Settings that only methods of one kind take; `bias` is biased_banzhaf's alone."""


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to choose the players that stay.

    Attributes:
      name: as on the command line.
      kind: "equilibrium" plays a game while training; "index" values coalitions of the
        trained network, "bandit" pulls players, "baseline" scores them once.
      summary: one line for `--help`.
      scorer: what ranks players: a name in `BASELINES` or `POLICIES`, a power index,
        "greedy"; or the function itself, with the signature of its kind: a baseline's
        (key, players, params, loss, inputs, labels) -> `Scores`, a policy's
        () -> `Policy`, an index's (key, value_fn, num_players, *, num_evaluations,
        progress) -> `Scores`.
      selection: "top_n" keeps the best of one scoring, "family" the same share of
        every family, "pruning" removes the worst round by round, "building" adds the
        best round by round; "game" is the equilibrium's.
      estimator: of a power index: a name in `ESTIMATORS`, or "auto".
      aliases: other names for it.
      is_compared: `gamepruning compare` takes it unless told otherwise.
    """

    name: str
    kind: Kind
    summary: str
    scorer: str | Callable[..., Any] = ""
    selection: Selection = "top_n"
    estimator: str = "auto"
    aliases: tuple[str, ...] = ()
    is_compared: bool = True

    @property
    def is_iterated(self) -> bool:
        """Return True if players are decided on round by round."""
        return self.selection in ("pruning", "building")

    @property
    def asks(self) -> tuple[str, ...]:
        """Settings that only methods like this one take."""
        own = ("bias",) if self.scorer == "biased_banzhaf" else ()
        return (*ASKS[self.kind], *own)


_INDICES = {
    "shapley": "Shapley values",
    "banzhaf": "Banzhaf values",
    "biased_banzhaf": "Banzhaf values of coalitions of another size (--bias)",
}
_BANDITS = {
    "epsilon_greedy": "the best mean, now and then any player",
    "softmax": "players drawn by a softmax of their means",
    "ucb1": "the highest upper confidence bound",
    "thompson": "Thompson sampling with Gaussian posteriors",
    "thompson_beta": "Thompson sampling with Beta posteriors",
    "hedge": "multiplicative weights",
    "exp3": "adversarial multiplicative weights",
    "uniform": "pulls spread evenly",
}
_BASELINES = {
    "magnitude": "L2 norm of a player's weights",
    "magnitude_l1": "L1 norm of a player's weights",
    "weight_gradient": "weights times their gradients",
    "taylor": "first-order estimate of the loss change",
    "taylor_second": "second-order estimate of the loss change",
    "activation": "mean activation",
    "random": "by chance",
    "loss_oracle": "the loss change when a player is removed alone",
}
_WAYS: dict[Selection, str] = {
    "pruning": "removes the worst",
    "building": "adds the best",
}
_COMPARED_BY_FAMILY = ("magnitude", "activation", "taylor")


def _indices() -> list[Method]:
    return [
        Method(name, "index", f"{what}, one estimate", name)
        for name, what in _INDICES.items()
    ]


def _rounds() -> list[Method]:
    """Pruning and building by each index; alone they go by Shapley values."""
    plain = [
        Method(
            way, "index", f"{does} by Shapley values", "shapley", way,
            aliases=(f"{way}-shapley",),
        )
        for way, does in _WAYS.items()
    ]  # fmt: skip
    scorers = {**_INDICES, "greedy": "the value of one player more or less"}
    others = [
        Method(
            f"{way}-{name}", "index", f"{does} by {what}", name, way, is_compared=False
        )
        for way, does in _WAYS.items()
        for name, what in scorers.items()
        if name != "shapley"
    ]
    return [*plain, *others]


def _bandits() -> list[Method]:
    return [
        Method(name, "bandit", what, name, "pruning") for name, what in _BANDITS.items()
    ]


def _baselines() -> list[Method]:
    """The best of all players, or ("-family") the same share of every family."""
    scorers = {name: name for name in _BASELINES} | {"magnitude": "magnitude_l2"}
    aliases = {"magnitude": ("magnitude_l2",)}
    best = [
        Method(name, "baseline", what, scorers[name], aliases=aliases.get(name, ()))
        for name, what in _BASELINES.items()
    ]
    by_family = [
        dataclasses.replace(
            method,
            name=f"{method.name}-family",
            summary=f"{method.summary}, the same share of every family",
            selection="family",
            aliases=tuple(f"{alias}-family" for alias in method.aliases),
            is_compared=method.name in _COMPARED_BY_FAMILY,
        )
        for method in best
    ]
    return [*best, *by_family]


_EQUILIBRIUM = Method(
    "equilibrium", "equilibrium", "a game played while training", selection="game"
)
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _EQUILIBRIUM, *_indices(), *_rounds(), *_bandits(), *_baselines()
    )
}  # fmt: skip
"""Every method by name. To add one, write `METHODS[name] = Method(name, kind, ...)`."""


def find_method(name: str) -> Method:
    """The method of a name, an alias, or `index@estimator`.

    Args:
      name: a name in `METHODS` or an alias; a power index may be followed by "@" and a
        name in `ESTIMATORS`, which is checked before training.

    Returns:
      The method; `name` is that in `METHODS`.

    Raises:
      InputError: there is none; the message suggests the closest name.

    Example:
      >>> find_method("building-shapley").name, find_method("magnitude_l2").name
      ('building', 'magnitude')
      >>> find_method("shapley@permutation").estimator
      'permutation'
      >>> find_method("shaply")
      Traceback (most recent call last):
      gamepruning.types.InputError: no method 'shaply': did you mean shapley?
    """
    plain, _, estimator = name.partition("@")
    aliases = {alias: m.name for m in METHODS.values() for alias in m.aliases}
    method = METHODS.get(aliases.get(plain, plain))
    if method is None:
        raise InputError(f"no method {name!r}{closest(name, [*METHODS, *aliases])}")
    if "@" not in name:
        return method
    if method.kind != "index" or method.scorer == "greedy" or not estimator:
        raise InputError(
            f"no method {name!r}: expected a power index before @ and an estimator "
            "after it, such as shapley@permutation"
        )
    return dataclasses.replace(
        method, name=f"{method.name}@{estimator}", estimator=estimator, aliases=()
    )


def names_of(*kinds: Kind) -> tuple[str, ...]:
    """The names of these kinds, or of all methods.

    Example:
      >>> names_of("bandit")[:3]
      ('epsilon_greedy', 'softmax', 'ucb1')
    """
    return tuple(m.name for m in METHODS.values() if not kinds or m.kind in kinds)


def compared_names() -> tuple[str, ...]:
    """The methods that `gamepruning compare` takes unless told otherwise."""
    return tuple(method.name for method in METHODS.values() if method.is_compared)


def describe_methods(*kinds: Kind) -> str:
    """A line for every method of these kinds, or of all: its name and its summary."""
    names = names_of(*kinds)
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {METHODS[name].summary}" for name in names)
