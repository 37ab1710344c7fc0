"""The one table of rules: for each primitive all that is known of it."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

from gamepruning.trace.primitives import SAME
from gamepruning.trace.program import Node
from gamepruning.trace.rules.types import (
    Contraction,
    LabelRule,
    RebindRule,
    Rules,
    UsageRule,
    ZeroRule,
)
from gamepruning.types import InputError


class Registry:
    """Rules by the name of the primitive."""

    def __init__(self):
        self._rules: dict[str, Rules] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __getitem__(self, name: str) -> Rules:
        """The rules of a primitive; all None for an unknown one."""
        return self._rules.get(name, _NONE)

    def find(self, kind: str, name: str) -> Callable[..., Any] | None:
        """One rule of a primitive: `find("label", "tanh")`."""
        return getattr(self[name], kind)

    def set(self, name: str, rules: Rules) -> None:
        """Set all the rules of a primitive."""
        self._rules[name] = rules

    def remove(self, name: str) -> None:
        """Forget a primitive."""
        self._rules.pop(name, None)
        SAME.pop(name, None)
        _TAUGHT.discard(name)


_NONE = Rules()
RULES = Registry()
_TAUGHT: set[str] = set()  # primitives whose rules are not ours


def define(names: str | Iterable[str], **rules: Any) -> None:
    """Enter the rules of one of our own primitives, or of a class of them.

    Raises:
      ValueError: a primitive has its rules already: it has one home.
    """
    for name in [names] if isinstance(names, str) else sorted(names):
        if name in RULES:
            raise ValueError(f"{name} has its rules already: {rules_of(name)}")
        RULES.set(name, Rules(**rules))


def contraction_of(node: Node) -> Contraction | None:
    """How a node sums products of its operands; None if it is not a product."""
    rule = RULES[node.name].contraction
    return None if rule is None else rule(node)


def register_rule(
    name: str,
    *,
    like: str | None = None,
    same_as: str | None = None,
    label: LabelRule | None = None,
    rebind: RebindRule | None = None,
    usage: UsageRule | None = None,
    zero: ZeroRule | None = None,
) -> None:
    """Teach the tracer a primitive of your own.

    An unknown primitive is opaque: what it meets stays whole, which is safe. Each rule
    makes one more thing possible: `label` lets players through, `rebind` lets
    `compact` shrink the primitive's own parameters, `usage` tells which parameters are
    a player's own, and `zero` lets `exclude` prove that zeroed parameters are enough.
    docs/extend/new-primitive.md takes a primitive through all four. Some analyses ask
    what a primitive computes, not how it ties axes: an addition may begin a residual
    branch, and `repair` looks behind a reader for additions. `same_as` answers those
    that ask by the classes of `gamepruning.trace.primitives`, and the count of
    multiply-adds. Patterns of several operations, such as a softmax, and views are
    known by JAX's own names alone: with yours there, less can leave or be repaired.

    Args:
      name: the primitive's name.
      like: a known primitive; rules that are not given are taken from it.
      same_as: a known primitive that computes the same from the same operands and
        parameters; yours joins its classes. Includes `like`.
      label: `label(analysis, node, *labels) -> [labels of each result]`. A label is
        None (axis of one entry), a string (the axis stays, and why) or an int array
        of nodes. `analysis.unify`, `analysis.freeze`, `analysis.fresh` and
        `analysis.site` say what belongs together, what has to stay, what is new, and
        where an axis is summed over. Needed unless `like` or `same_as` is given.
      rebind: `rebind(sizes, node, *args) -> [results]` applies the primitive to
        smaller arrays; `sizes.out(k)` is the shape to produce. Leave it out when the
        primitive's parameters hold no sizes.
      usage: `usage(analysis, node, *origins) -> [origin of each result]`. An origin
        says of which parameter axes the entries come; `analysis.use` notes how they
        are used. Without it a parameter that the primitive reads has the role "other".
      zero: `zero(analysis, node, *levels) -> [levels of each result]`. A level is
        ZERO, CONSTANT or ANY (see `gamepruning.trace.zeros`), one an axis: what the
        result is at the entries that leave. Without it, ANY.

    Raises:
      InputError: neither `label` nor a known `like` is given.

    Example: an activation that works entry by entry, and is 0 at 0.
      >>> import gamepruning as gp
      >>> gp.register_rule("my_activation", like="tanh")

      The same, with a label rule of one's own.
      >>> def label(analysis, node, labels):
      ...     return [labels]
      >>> gp.register_rule("my_activation", like="tanh", label=label)
    """
    for flag, known in (("like", like), ("same_as", same_as)):
        if known is not None and (known not in RULES or known == same_as == name):
            close = difflib.get_close_matches(known, list(RULES), 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            told = f"{flag}={known!r}: no primitive of this name has rules{hint}"
            raise InputError(told)
    like = same_as if like is None else like
    given = {"label": label, "rebind": rebind, "usage": usage, "zero": zero}
    given = {kind: rule for kind, rule in given.items() if rule is not None}
    start = Rules() if like is None else RULES[like]
    rules = replace(start, **given)
    if rules.label is None:
        raise InputError(
            f"register_rule({name!r}) needs a label rule, or like=, the name of a "
            "known primitive that ties its axes in the same way"
        )
    RULES.remove(name)
    RULES.set(name, rules)
    _TAUGHT.add(name)
    if same_as is not None:
        SAME[name] = SAME.get(same_as, same_as)


def is_taught(name: str) -> bool:
    """True for a primitive whose rules `register_rule` was given."""
    return name in _TAUGHT


def rules_of(name: str) -> dict[str, str]:
    """Where the rules of a primitive stand: {kind of rule: function}.

    Args:
      name: the primitive's name.

    Example:
      >>> rules_of("transpose")["label"]
      'gamepruning.trace.rules.shape.label_transpose'
    """
    rules = RULES[name]
    found = {field.name: getattr(rules, field.name) for field in fields(rules)}
    return {
        kind: f"{rule.__module__}.{rule.__qualname__}"
        for kind, rule in found.items()
        if callable(rule)
    }
