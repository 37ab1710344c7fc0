"""The two tables of rules, keyed by the name of the primitive."""

from collections.abc import Callable

LABEL_RULES: dict[str, Callable] = {}
REBIND_RULES: dict[str, Callable] = {}


def register_rule(
    name: str, *, label: Callable, rebind: Callable | None = None
) -> None:
    """Teach the tracer a primitive of your own.

    Args:
      name: the primitive's name.
      label: `label(analysis, node, *labels) -> [labels of each output]`. A label is
        None (axis of one entry), a string (the axis stays, and why) or an int array
        of nodes. `analysis.unify`, `analysis.freeze`, `analysis.fresh` and
        `analysis.site` say what belongs together, what has to stay, what is new, and
        where an axis is summed over.
      rebind: `rebind(sizes, node, *args) -> [outputs]` applies the primitive to
        smaller arrays; `sizes.out(k)` is the shape to produce. Leave it out when the
        primitive's parameters hold no sizes.

    Example:
      >>> import gamepruning as gp
      >>> from gamepruning.trace.rules.shape import elementwise
      >>> gp.register_rule("my_activation", label=elementwise)
    """
    LABEL_RULES[name] = label
    if rebind is not None:
        REBIND_RULES[name] = rebind


def label_rule(*names: str):
    """Register a label rule for these primitives."""

    def register(rule):
        for name in names:
            LABEL_RULES[name] = rule
        return rule

    return register


def rebind_rule(*names: str):
    """Register a rebind rule for these primitives."""

    def register(rule):
        for name in names:
            REBIND_RULES[name] = rule
        return rule

    return register
