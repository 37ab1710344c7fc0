"""Exported programs, which `jax.export` writes and reads with flatbuffers.

JAX does not install flatbuffers, so this package requires it.
"""

from jax import export

from gamepruning.types import InputError


def from_bytes(data: bytes) -> export.Exported:
    """Return the exported program whose bytes are given.

    Raises:
      InputError: if flatbuffers is missing.
    """
    check_flatbuffers()
    return export.deserialize(bytearray(data))


def check_flatbuffers() -> None:
    """Raise InputError if the package that writes and reads programs is missing."""
    try:
        import flatbuffers  # noqa: F401  here, so that its absence costs exports alone
    except ImportError as error:
        raise InputError(
            "an exported program is written and read with the package flatbuffers, "
            f"which is missing ({error}): run `pip install flatbuffers`"
        ) from error
