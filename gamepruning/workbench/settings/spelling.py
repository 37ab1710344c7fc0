"""Names as people type them, and help for one that does not exist."""

import difflib
import re
from collections.abc import Iterable

_TYPED = {"data_dir": "--data-dir", 'rare_classes="drop"': "--rare-classes drop"}
_ARGUMENT = re.compile(r'(?<![\w/.-])(?:data_dir(?![\w/.=-])|rare_classes="drop")')


def as_typed(text: str) -> str:
    """The text with names of arguments as the flags of the command line.

    What stands before "=" is code to run, and stays.

    Example:
      >>> as_typed("name it with data_dir"), as_typed('leave out (rare_classes="drop")')
      ('name it with --data-dir', 'leave out (--rare-classes drop)')
      >>> as_typed("tfds.builder('mnist', data_dir=FOLDER)")
      "tfds.builder('mnist', data_dir=FOLDER)"
    """

    return _ARGUMENT.sub(lambda match: _TYPED[match[0]], text)


def closest(name: str, known: Iterable[str]) -> str:
    """The end of an error line: the likeliest meaning of `name`, and what there is.

    Of more than a dozen names none is listed.

    Example:
      >>> closest("mnits", ["digits", "mnist"])
      ': did you mean mnist? There are digits, mnist'
    """
    known = list(known)
    guesses = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"did you mean {guesses[0]}? " if guesses else ""
    rest = f"There are {', '.join(known)}" if len(known) <= 12 else ""
    return f": {guess}{rest}".rstrip(": ")
