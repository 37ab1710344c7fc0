"""Checks annotations, array shapes included, while the tests run."""

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float


def typechecked(function):
    """The function with its annotations checked, where they can be."""
    try:
        return _check(function)
    except BeartypeDecorHintException:  # typing.Self, seen without its class
        return function
