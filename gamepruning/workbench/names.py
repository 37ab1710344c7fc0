"""Help for a name that does not exist."""

import difflib
from collections.abc import Iterable


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
