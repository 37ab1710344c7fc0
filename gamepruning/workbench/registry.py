"""The methods by name: what each is, how it selects, and what it can be told.

`METHODS` is the one list of methods. Settings, help and every command read it, so that
a name means the same everywhere and a new method is one entry.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

from gamepruning.errors import InputError
from gamepruning.spelling import closest, first_line, flag_of, likeliest

Kind = Literal["equilibrium", "index", "bandit", "baseline"]
Selection = Literal["game", "top_n", "family", "pruning", "building"]

EQUILIBRIUM = "equilibrium"
COMPARED = (EQUILIBRIUM, "building", "ucb1", "taylor", "magnitude", "random")
KINDS: dict[Kind, tuple[str, str]] = {
    "equilibrium": ("the equilibrium game", "played while the network trains"),
    "index": ("power indices", "estimated once, or anew in every round"),
    "bandit": ("bandits", "which remove the worst players round by round"),
    "baseline": ("baselines", "which score all players once"),
}
ROUNDS = ("step", "swaps")  # power indices that are estimated once take none of these
ASKS: dict[Kind, tuple[str, ...]] = {
    "equilibrium": (*"preset price norm benefit threshold gate_learning_rate".split(),),
    "index": ("selection", "scope", "value", "rows", "evaluations", *ROUNDS),
    "bandit": ("selection", "scope", "pulls", "max_drop"),
    "baseline": ("scope",),
}  # settings that only methods of one kind take; `bias` is biased_banzhaf's alone


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to choose the players that stay.

    An "equilibrium" plays a game while training; an "index" values coalitions of the
    trained network, a "bandit" pulls players, a "baseline" scores them once. The scorer
    ranks players: a name in `BASELINES` or `POLICIES`, a power index, "elimination",
    "greedy"; or the function itself: a baseline's (key, players, params, loss, inputs,
    labels) -> `Scores`, a policy's () -> `Policy`, an index's (key, value_fn,
    num_players, *, num_evaluations, progress) -> `Scores`.

    "top_n" keeps the best of one scoring, "family" the same share of every family,
    "pruning" removes the worst by rounds, "building" adds the best; "game" is a game's.
    """

    name: str  # as on the command line
    kind: Kind
    summary: str  # one line for `gamepruning methods`
    scorer: str | Callable[..., Any] = ""
    selection: Selection = "top_n"
    aliases: tuple[str, ...] = ()  # other names for it

    def __post_init__(self):
        for name, kind in (("kind", Kind), ("selection", Selection)):
            known, given = get_args(kind), getattr(self, name)
            if given not in known:
                told = f"method {self.name!r} has no {name} {given!r}"
                raise InputError(f"{told}{closest(given, known)}")

    @property
    def is_iterated(self) -> bool:
        """Return True if players are decided on round by round."""
        return self.selection in ("pruning", "building")

    @property
    def scope(self) -> Literal["global", "family"]:
        """Which players the best of one scoring are taken from."""
        return "family" if self.selection == "family" else "global"

    @property
    def asks(self) -> tuple[str, ...]:
        """Settings that only methods like this one take."""
        spared = () if self.is_iterated else ROUNDS
        return tuple(name for name in self._takes if name not in spared)

    @property
    def unused(self) -> frozenset[str]:
        """Settings that it takes with no --selection, and the one that names it."""
        every = frozenset({"bias", "method"}.union(*ASKS.values()))
        return every.difference(self._takes)

    @property
    def _takes(self) -> tuple[str, ...]:
        own = ("bias",) if self.scorer == "biased_banzhaf" else ()
        spared = ("evaluations",) if self.scorer == "greedy" else ()
        return tuple(a for a in (*ASKS[self.kind], *own) if a not in spared)

    @property
    def about(self) -> str:
        """What `gamepruning prune` does by this method, with an example."""
        size = "" if self.kind == "equilibrium" else " --keep 0.1"
        told = f"Prune with {self.name} ({self.summary})."
        return f"{told}\n\nExamples:\n  gamepruning prune {self.name}{size}"


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
    "activation": "variance of the activation",
    "random": "by chance",
    "loss_oracle": "the loss change when a player is removed alone",
    "elimination": "what the others cannot make up for after repair",
}
_Ways = dict[Selection, str]
_WAYS: _Ways = {"pruning": "removes the worst", "building": "adds the best"}
_SHARES: _Ways = {"top_n": "", "family": ", the same share of every family"}


def _methods() -> Iterator[Method]:
    game = "a game played while training"
    yield Method(EQUILIBRIUM, "equilibrium", game, selection="game")
    for name, what in _INDICES.items():
        yield Method(name, "index", f"{what}, one estimate", name)
    for way, does in _WAYS.items():
        told, other = f"{does} by Shapley values", (f"{way}-shapley",)
        yield Method(way, "index", told, "shapley", way, other)
    for way, does in _WAYS.items():
        for name in ("banzhaf", "biased_banzhaf", "greedy"):
            told = f"{does} by {_INDICES.get(name, 'the value of one player')}"
            yield Method(f"{way}-{name}", "index", told, name, way)
    for name, what in _BANDITS.items():
        yield Method(name, "bandit", what, name, "pruning")
    for how, share in _SHARES.items():
        end = "-family" if share else ""
        for name, what in _BASELINES.items():
            full = "magnitude_l2" if name == "magnitude" else name
            aliases = () if full == name else (full + end,)
            yield Method(name + end, "baseline", what + share, full, how, aliases)


METHODS: dict[str, Method] = {method.name: method for method in _methods()}
"""Every method by name. To add one, write `METHODS[name] = Method(name, kind, ...)`."""


def all_methods() -> dict[str, Method]:
    """`METHODS`, and methods of what stands in `BASELINES` and `POLICIES` alone."""
    from gamepruning.bandits.policies import POLICIES
    from gamepruning.baselines.table import BASELINES

    known, methods = {method.scorer for method in METHODS.values()}, dict(METHODS)
    for name in [name for name in BASELINES if name not in known]:
        for how, share in _SHARES.items():
            full = name + ("-family" if share else "")
            told = (first_line(BASELINES[name]) or name) + share
            methods.setdefault(full, Method(full, "baseline", told, name, how))
    for name in [name for name in POLICIES if name not in known]:
        told = first_line(POLICIES[name]) or name
        methods.setdefault(name, Method(name, "bandit", told, name, "pruning"))
    return methods


def _by_name(name: str) -> dict[str, Method]:
    """Methods by name and alias; tables, and JAX with them, are read for new names."""
    known = {a: m for m in METHODS.values() for a in (m.name, *m.aliases)}
    return known if name in known else {**all_methods(), **known}


def find_method(name: str) -> Method:
    """The method of a name or an alias.

    Example:
      >>> find_method("building-shapley").name, find_method("magnitude_l2").name
      ('building', 'magnitude')
      >>> find_method("shaply")
      Traceback (most recent call last):
      gamepruning.types.InputError: no method 'shaply': did you mean shapley?
    """
    if name not in (methods := _by_name(name)):
        raise InputError(f"no method {name!r}{closest(name, methods)}")
    return methods[name]


def named_method(words: Sequence[str]) -> tuple[list[str], Method | None]:
    """The words of `gamepruning prune` as flags, and the method that they name.

    Example:
      >>> words, method = named_method(["shapley", "--keep", "0.1"])
      >>> words, method.name
      (['--keep', '0.1', '--method', 'shapley'], 'shapley')
    """
    first, *rest = words or [""]
    is_flag = not first or first.startswith("-")
    names = _by_name(EQUILIBRIUM if is_flag else first)
    if first in names:
        if "--resume" in rest:
            raise InputError(f"--resume takes the run's own method: leave {first} out")
        words = [*rest, "--method", first]
    elif not is_flag:
        where = "(see gamepruning methods; --dataset names data)"
        raise InputError(f"no method {first!r}{likeliest(first, names)} {where}")
    line = " ".join([*words, ""]).replace("--method=", "--method ")
    told = line.partition("--method ")[2].partition(" ")[0]
    return [*words], _by_name(told).get(told) if told else None


def names_of(*kinds: Kind) -> tuple[str, ...]:
    """The names of these kinds, or of all methods.

    Example:
      >>> names_of("bandit")[:3]
      ('epsilon_greedy', 'softmax', 'ucb1')
    """
    methods = all_methods().values()
    return tuple(m.name for m in methods if not kinds or m.kind in kinds)


def describe_methods(*kinds: Kind) -> str:
    """A line for every method of these kinds, or of all: its name and its summary."""
    methods, lines, width = all_methods(), [], max(map(len, all_methods()))
    for kind in kinds or ASKS:
        lines += ["", f"{', '.join(KINDS[kind]).capitalize()}:"]
        lines += [f"  {n:<{width}}  {methods[n].summary}" for n in names_of(kind)]
    return "\n".join(lines[1:])


def describe_flags() -> str:
    """A line for every kind of method: the flags that only some kinds take."""
    kinds = [f"  {k:<13}{' '.join(map(flag_of, asks))}" for k, asks in ASKS.items()]
    kinds.append("  (prune METHOD --help lists those of a method alone)")
    return "\n".join(["Flags that go with some kinds of METHOD only:", *kinds])
