"""Where compiled programs are kept, so that the next process starts sooner.

Nothing heavy is imported: a command calls this before JAX is loaded.
"""

import contextlib
import hashlib
import os
import platform
import warnings
from pathlib import Path

from gamepruning.errors import InputError
from gamepruning.files.paths import cache_folder


def keep_programs() -> None:
    """Let JAX keep compiled programs beside decoded data: the next run starts sooner.

    They are the same programs and give the same bits. Each kind of processor has a
    folder of its own. What the user says about JAX's cache counts.
    """
    kind = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        kind += next((line for line in lines if line.startswith("flags")), "")
    name = f"programs-{hashlib.sha1(kind.encode()).hexdigest()[:8]}"
    with contextlib.suppress(OSError, InputError):  # no home folder, among others
        kept = cache_folder() / name
        kept.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(kept))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        about = "Error (reading|writing) persistent compilation cache"
        warnings.filterwarnings("ignore", about)  # then it is compiled
