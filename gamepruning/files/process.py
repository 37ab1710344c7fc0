"""A process whose work is written to files: Ctrl-C, and streams that are closed."""

import os
import sys
import threading
import traceback
from types import FrameType

_DEAF = "_xla_gc_callback"  # Python drops what is raised in a callback of its collector
_PATIENCE = 10.0  # seconds; saving a checkpoint takes less


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, and ask again while the program still runs.

    Where Python is known to drop an exception that is at once, elsewhere after some
    seconds: other callbacks drop one, too.
    """
    is_deaf = any(at.f_code.co_name == _DEAF for at, _ in traceback.walk_stack(frame))
    seconds = 0.05 if is_deaf else _PATIENCE
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()
    if not is_deaf:
        raise KeyboardInterrupt


def open_streams() -> None:
    """Let output of any letters go anywhere, and that of a closed stream nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")
