"""Exported programs, which `jax.export` writes and reads with flatbuffers.

JAX does not install flatbuffers, so this package requires it.
"""

import os

import jax
from jax import export

from gamepruning.types import InputError


def from_bytes(data: bytes) -> export.Exported:
    """Return the exported program whose bytes are given.

    Raises:
      InputError: if flatbuffers is missing.
    """
    check_flatbuffers()
    return export.deserialize(bytearray(data))


def check_platform(program: export.Exported, path: str | os.PathLike[str]) -> None:
    """Raise InputError if JAX runs on a platform that a program was not made for.

    Where a default device is set, as by `jax.default_device`, that is the choice.
    """
    here, known = export.default_export_platform(), program.platforms
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if here not in known and chosen is None:
        raise InputError(
            f"{path} was exported for {', '.join(known)}, and JAX runs on {here} here: "
            "export it anew where it was made, with export_stablehlo(..., "
            f"platforms={(*known, here)!r})"
        )


def check_flatbuffers() -> None:
    """Raise InputError if the package that writes and reads programs is missing."""
    try:
        import flatbuffers  # noqa: F401  here, so that its absence costs exports alone
    except ImportError as error:
        raise InputError(
            "an exported program is written and read with the package flatbuffers, "
            f"which is missing ({error}): run `pip install flatbuffers`"
        ) from error
