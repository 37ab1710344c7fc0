"""Checks annotations, array shapes included, while the tests run.

The import hook of jaxtyping decorates every function and class of the package with
`jaxtyping.jaxtyped`. To word its errors well, that binds the arguments at each call and
generates four functions wherever one is defined. What stands here checks the same in
less time; where no annotation names axes, beartype is all there is to call. A function
that is called often is checked at its first calls and at some of the later ones: most
of what the hundredth call of an inner loop would tell, the first calls have told.
"""

import dataclasses
import functools
import inspect
import types
import typing

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

_check = beartype(
    conf=BeartypeConf(
        is_pep484_tower=True,  # an int is a float
        violation_type=jaxtyping.TypeCheckError,
    )
)
_jaxtyped = jaxtyping.jaxtyped
FIRST_CALLS = 24  # of a function in a process, all checked
ONE_OF = 16  # later calls
_calls: dict[types.CodeType, int] = {}
_UNKNOWN = object()


def install(modules: list[str]) -> None:
    """Check the annotations of modules that are imported from now on."""
    jaxtyping.jaxtyped = _for_the_hook
    jaxtyping.install_import_hook(modules, f"{__name__}.typechecked")


def _for_the_hook(*args, **options):
    """For the hook, which names a type checker alone; for others, jaxtyping's own."""
    return typechecked if not args and options else _jaxtyped(*args, **options)


def typechecked(thing):
    """A function, or a dataclass and its `__init__`, with its annotations checked.

    The names of axes mean the same in all arguments and results of one call.
    """
    if inspect.isclass(thing):
        if dataclasses.is_dataclass(thing) and "__init__" in vars(thing):
            thing.__init__ = typechecked(thing.__init__)
        return thing
    if not thing.__annotations__:
        return thing
    checked = None
    code = thing.__code__  # one for all functions that the same lines define

    @functools.wraps(thing)
    def call(*args, **kwargs):
        nonlocal checked
        __tracebackhide__ = True
        calls = _calls[code] = _calls.get(code, 0) + 1
        if calls > FIRST_CALLS and calls % ONE_OF:
            return thing(*args, **kwargs)
        if checked is None:  # most functions are never called in a process
            checked = _make_checked(thing)
        return checked(*args, **kwargs)

    return call


def _make_checked(thing):
    """A function with its annotations checked."""
    hints = _hints_of(thing)
    if inspect.isgeneratorfunction(thing):  # beartype would check when it is iterated
        return _jaxtyped(thing, typechecker=_check)
    try:
        checked = _check(_with_hints(thing, hints))
    except BeartypeDecorHintException:  # typing.Self, seen without its class
        return thing
    if not any(map(_names_axes, hints.values())):
        return checked

    def call(*args, **kwargs):
        __tracebackhide__ = True
        with _jaxtyped("context"):
            return checked(*args, **kwargs)

    return call


def _hints_of(function) -> dict[str, object]:
    """The annotations; of those that are text, the ones that name what is known."""
    hints = {n: _resolve(h, function) for n, h in function.__annotations__.items()}
    return {name: hint for name, hint in hints.items() if hint is not _UNKNOWN}


def _resolve(hint, function):
    if not isinstance(hint, str):
        return hint
    holder = types.SimpleNamespace(__annotations__={"hint": hint})
    try:
        names = function.__globals__
        return typing.get_type_hints(holder, names, include_extras=True)["hint"]
    except Exception:  # imported for type checkers alone
        return _UNKNOWN


def _names_axes(hint) -> bool:
    """True if an annotation may name axes, which a call must agree on."""
    if isinstance(hint, str | typing.ForwardRef):
        return True
    kinds = getattr(hint, "__module__", ""), type(hint).__module__
    if any(kind.split(".")[0] == "jaxtyping" for kind in kinds):
        return True
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return False
    return any(_names_axes(part) for part in _flat(parts))


def _flat(parts) -> typing.Iterator:
    for part in parts:
        if isinstance(part, list | tuple):  # the arguments of a Callable
            yield from _flat(part)
        else:
            yield part


def _with_hints(function, hints):
    """A copy that says what its annotations mean, if the function itself does not."""
    if hints == function.__annotations__:
        return function
    copy = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = hints
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy
