"""The error of bad input, apart from everything that is slow to import."""


class InputError(ValueError):
    """Bad input from a user: one clear line that says what was wrong and how to mend.

    The command line prints the message and exits with code 2.
    """


InputError.__module__ = "gamepruning.types"  # where users import it from
