"""The error of bad input, apart from everything that is slow to import."""

import os
import re
import traceback
from pathlib import Path

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


class Diverged(InputError):
    """Training ended in numbers that are not finite, as it will again if resumed."""


def memory_problem(error: BaseException) -> str:
    """What is said of an error where there was too little memory; else "".

    Example:
      >>> memory_problem(RuntimeError("RESOURCE_EXHAUSTED: Out of memory, 9 bytes"))
      'too little memory: Out of memory, 9 bytes'
    """
    told, sign = str(error).partition("\n")[0], "RESOURCE_EXHAUSTED: "
    if isinstance(error, MemoryError) or sign in told:
        return f"too little memory: {told.partition(sign)[2] or told}"
    return ""


def place_in(error: BaseException, path: str | os.PathLike[str]) -> str:
    """Where an error passed a file or its neighbours last: `" (net.py, line 3)"`.

    It is empty where the error never passed their folder. What a callback raised in a
    compiled program has passed the lines that XLA quotes.
    """
    folder = Path(path).resolve().parent
    frames = traceback.extract_tb(error.__traceback__)
    passed = [(frame.filename, frame.lineno) for frame in frames]
    passed += re.findall(r'File "([^"]+)", line (\d+)', str(error))
    own = [(f, n) for f, n in passed if Path(f).resolve().parent == folder]
    return f" ({Path(own[-1][0]).name}, line {own[-1][1]})" if own else ""


def _cut(part: object) -> object:
    if not isinstance(part, str) or len(part) <= MOST:
        return part
    return f"{part[: MOST - 305]} ... {part[-300:]}"


class LostProcess(RuntimeError):
    """Another process of the same program has ended; one line.

    The command line prints it and exits with code 3.
    """


for _kind in (InputError, LostProcess):
    _kind.__module__ = "gamepruning.types"  # where users import them from
