"""Help for a name that does not exist."""

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """The end of an error line: the likeliest meaning of `name`, and all that exist.

    Example:
      >>> closest("mnits", ["digits", "mnist"])
      ': did you mean mnist? There are digits, mnist'
    """
    known = list(known)
    guesses = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"did you mean {guesses[0]}? " if guesses else ""
    return f": {guess}There are {', '.join(known)}"
