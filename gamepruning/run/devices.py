"""The cores of a machine without an accelerator as devices of their own."""

import contextlib
import os

import jax


def use_cores_as_devices() -> None:
    """Make every core that this process may use a device of JAX, where it still can.

    Networks or coalitions that are evaluated side by side then have a core each, where
    XLA would split each product among all cores, which costs more than small products
    take. Does nothing once JAX has started, where the user has set a number, or for
    other devices than CPUs.
    """
    by_user = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if by_user or jax.config.jax_num_cpu_devices > 0:  # type: ignore[attr-defined]
        return
    has_affinity = hasattr(os, "sched_getaffinity")  # not on every system
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX has started
        jax.config.update("jax_num_cpu_devices", cores)
