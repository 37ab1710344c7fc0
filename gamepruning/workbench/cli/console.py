"""The command line's entry: exit codes, and one line for every bad end.

Bad input ends in one line on stderr and exit code 2, an interruption in one line and
130; a traceback is a bug. Nothing heavy is imported before an interruption is caught.
"""

import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from gamepruning.files.process import interrupt, open_streams
from gamepruning.files.programs import keep_programs

INTERRUPTED = 130
LOST = 3  # another process of the command has ended
_DISK = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO),
    *(errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)


def console() -> NoReturn:
    """Run the command of this process, and end the process with its exit code."""
    open_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    keep_programs()
    warnings.showwarning = lambda text, *_: print(f"Note: {text}", file=sys.stderr)
    try:
        code = main()
    except KeyboardInterrupt:  # again, while the first one was being told
        code = INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what asks again comes too late
    # XLA's threads still compute: tearing down can crash. Other processes are not
    # waited for.
    if code == INTERRUPTED or (code and "jax" in sys.modules and _is_one_of_many()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, by default that of the process, and return its exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader left; there is nobody to tell
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _is_one_of_many() -> bool:
    import jax

    return jax.distributed.is_initialized()


def _run(argv: Sequence[str]) -> int:
    from gamepruning.errors import InputError, LostProcess, memory_problem
    from gamepruning.workbench.cli.commands import parse

    try:
        parse(argv)()
        sys.stdout.flush()
    except InputError as error:
        return _fail(str(error), 2)
    except LostProcess as error:
        return _fail(str(error), LOST)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        return _fail(f"{error.strerror}: {error.filename or 'the disk'}", 2)
    except (MemoryError, RuntimeError) as error:
        if not (problem := memory_problem(error)):
            raise
        return _fail(problem, 2)
    return 0


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    print("gamepruning: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    console()
