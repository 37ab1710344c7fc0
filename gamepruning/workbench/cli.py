"""The command line's entry: exit codes, and one line for every bad end.

Bad input ends in one line on stderr and exit code 2, an interruption in one line and
130; a traceback is a bug. Nothing heavy is imported before an interruption is caught.
"""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Sequence

_FLAG = re.compile(r"(?<![\w/.-])data_dir(?![\w/.-])")  # as people type it here
_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
      argv: the words after `gamepruning`; None for those of the process.

    Returns:
      The exit code: 0, 2 after bad input, or 130 after an interruption.
    """
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", 130)
    except BrokenPipeError:  # the reader left; there is nobody to tell
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv: Sequence[str]) -> int:
    from gamepruning.types import InputError
    from gamepruning.workbench.parsing import parse

    try:
        parse(argv)()
        sys.stdout.flush()
    except InputError as error:
        return _fail(_FLAG.sub(r"--data-dir", str(error)), 2)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        return _fail(f"{error.strerror}: {error.filename or 'the disk'}", 2)
    return 0


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    print("gamepruning: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
