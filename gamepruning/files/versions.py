"""What a result was made with: versions of libraries, and the device."""

import os
import platform

import jax

from gamepruning import __version__


def versions() -> dict[str, str]:
    """The versions of the libraries, and the device."""
    device = jax.devices()[0]
    return {
        "gamepruning": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": f"{device.device_kind}, {os.cpu_count()} CPU cores",
    }
