"""The error of bad input, apart from everything that is slow to import."""

MOST = 1200  # characters of a message: data that it quotes may be long


class InputError(ValueError):
    """Bad input from a user: one clear line that says what was wrong and how to mend.

    The command line prints the message and exits with code 2. Of a very long message
    the middle is left out.

    Example:
      >>> len(str(InputError(f"expected a number, got {list(range(9999))}: mend it")))
      1200
    """

    def __init__(self, *args: object):
        super().__init__(*map(_cut, args))


def _cut(part: object) -> object:
    if not isinstance(part, str) or len(part) <= MOST:
        return part
    return f"{part[: MOST - 305]} ... {part[-300:]}"


InputError.__module__ = "gamepruning.types"  # where users import it from
