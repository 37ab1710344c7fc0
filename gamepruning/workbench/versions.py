"""The versions of what a result was made with."""

import os
import platform

import jax

import gamepruning


def versions() -> dict[str, str]:
    """The versions of the libraries, and the device."""
    device = jax.devices()[0]
    return {
        "gamepruning": gamepruning.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": f"{device.device_kind}, {os.cpu_count()} CPU cores",
    }
