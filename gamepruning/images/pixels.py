"""From the pixels of files to a network's inputs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

from gamepruning.types import InputError


class Scaling(NamedTuple):
    """How pixels become inputs: (pixels / largest - mean) / scale.

    Attributes:
      largest: the value of white.
      mean: one number, or one for each channel.
      scale: likewise.
    """

    largest: float = 255
    mean: Sequence[float] = (0.0,)
    scale: Sequence[float] = (1.0,)

    def __call__(self, pixels: Num[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """The inputs for some pixels [..., channels], float32."""
        inputs = pixels.astype(np.float32) / np.float32(self.largest)
        if self.is_plain:
            return inputs
        mean, scale = (np.asarray(x, np.float32) for x in (self.mean, self.scale))
        return (inputs - mean) / scale

    @property
    def is_plain(self) -> bool:
        """Return True if pixels are in [0, 1]."""
        return (*self.mean, *self.scale) == (0.0, 1.0)

    def describe(self) -> str:
        """What is done, in words.

        Example:
          >>> Scaling(mean=(0.485, 0.456, 0.406), scale=(0.25,)).describe()
          'pixels less 0.485, 0.456, 0.406, divided by 0.25'
        """
        if self.is_plain:
            return "pixels in [0, 1]"
        both = (self.mean, self.scale)
        mean, scale = (", ".join(f"{x:.4g}" for x in values) for values in both)
        return f"pixels less {mean}, divided by {scale}"

    def to_json(self) -> dict[str, object]:
        """Plain data: a number for all channels, or a list."""
        both = {"mean": self.mean, "scale": self.scale}
        plain = {n: [*x] if x[1:] else x[0] for n, x in both.items()}
        return {"largest": self.largest, **plain}


def choose_scaling(
    images: Num[np.ndarray, "B H W C"],
    *,
    largest: float = 255,
    standardise: bool = False,
    pixel_mean: Sequence[float] = (),
    pixel_scale: Sequence[float] = (),
) -> Scaling:
    """The scaling of training images by what a user says.

    Args:
      images: the training images.
      largest: the value of white.
      standardise: give them mean 0 and variance 1.
      pixel_mean: what is subtracted from pixels in [0, 1]; nothing if empty.
      pixel_scale: what they are divided by then.

    Raises:
      InputError: means or scales are neither one nor as many as there are channels.
    """
    plain, channels = Scaling(largest), images.shape[-1]
    for flag, values in (("--pixel-mean", pixel_mean), ("--pixel-scale", pixel_scale)):
        if len(values) not in (0, 1, channels):
            raise InputError(
                f"expected {flag} as one number, or one for each of the channels "
                f"({channels}), got {len(values)} numbers: are the images grey, and "
                "the weights those of a network for colour?"
            )
    if standardise:
        inputs = plain(images)
        return Scaling(largest, (float(inputs.mean()),), (float(inputs.std()),))
    return Scaling(largest, pixel_mean or plain.mean, pixel_scale or plain.scale)
