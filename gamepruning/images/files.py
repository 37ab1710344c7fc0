"""Image files of any size and mode as arrays of one shape, by PIL."""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from gamepruning.images.sets import Shape, check_memory, choose_size, note_names
from gamepruning.types import InputError

SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .avif".split()
)
_GREY = ("1", "L", "LA", "La")
_DEEP = ("I", "I;")  # how modes of 16 bits, and of 32, begin
_TURNED = (5, 6, 7, 8)  # orientations of EXIF that swap height and width
_ORIENTATION = 0x0112


class Header(NamedTuple):
    """What a file says before its pixels are read."""

    size: tuple[int, int]  # height, width
    is_grey: bool
    has_alpha: bool
    is_deep: bool  # more than 8 bits


class Pictures(NamedTuple):
    """The files that could be read.

    Attributes:
      images: uint8 [B, H, W, C], C is 1 if all are grey, else 3.
      read: the index of each in the list of files.
      notes: what was done, a line each.
    """

    images: UInt8[np.ndarray, "B H W C"]
    read: list[int]
    notes: list[str]


def is_image(path: Path) -> bool:
    """Return True if a file has the suffix of an image."""
    return path.suffix.lower() in SUFFIXES


def read_images(
    paths: Sequence[Path],
    *,
    shape: Shape | None = None,
    image_size: int | None = None,
    folder: Path | None = None,
) -> Pictures:
    """Read image files as arrays of one shape.

    Transparent pixels become white, photographs are turned as EXIF says, and 16 bits
    become 8; an image that would be all black by that cannot be read. An image that is
    resized keeps its proportions: the middle is cut out.

    Args:
      paths: the files.
      shape: height, width and channels that images get; None to tell by the files.
      image_size: the side that images get; None to tell by the files.
      folder: from which files are named in notes.

    Raises:
      InputError: no file can be read, or all together do not fit into memory.
    """
    headers = [_header(path) for path in paths]
    known = {k: h for k, h in enumerate(headers) if isinstance(h, Header)}
    notes, size_note = [], ""
    if shape is None and known:
        sizes = [header.size for header in known.values()]
        height, width, size_note = choose_size(sizes, image_size)
        grey = sum(header.is_grey for header in known.values())
        shape = height, width, 1 if grey == len(known) else 3
        if 0 < grey < len(known):
            notes.append(f"{grey:,} grey images read as colour, as the others are")
    made, bad = {}, {k: h for k, h in enumerate(headers) if isinstance(h, str)}
    if shape is not None:
        check_memory(len(known), shape)
        for k in known:
            pixels = _pixels(paths[k], shape)
            if isinstance(pixels, str):
                bad[k] = pixels
            else:
                made[k] = pixels
    names = [f"{_name(paths[k], folder)} ({bad[k]})" for k in sorted(bad)]
    unreadable = note_names(names, "unreadable images left out")
    if not made:
        raise InputError("no image can be read: " + "".join(unreadable))
    alpha = [k for k in made if known[k].has_alpha]
    if alpha:
        notes.append(f"{len(alpha):,} images with transparency laid on white")
    deep = sum(known[k].is_deep for k in made)
    if deep:
        notes.append(f"16 bits read as 8 ({deep:,} images)")
    notes = [*filter(None, [size_note]), *notes, *unreadable]
    return Pictures(np.stack([*made.values()]), [*made], notes)


def _header(path: Path) -> Header | str:
    """What a file says of its image, or why it cannot be read."""
    with _reading() as trouble, Image.open(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        is_grey, is_deep = image.mode in _GREY, image.mode[:2] in _DEEP
        is_grey |= is_deep
        return Header((height, width), is_grey, image.has_transparency_data, is_deep)
    return trouble[0]


def _pixels(path: Path, shape: Shape) -> np.ndarray | str:
    """The pixels of a file in a shape, uint8, or why they cannot be read."""
    with _reading() as trouble, Image.open(path) as image:
        return to_shape(image, shape)
    return trouble[0]


@contextlib.contextmanager
def _reading():
    """Collect, in a list, why a block of PIL's work failed."""
    trouble: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about size and metadata
        try:
            yield trouble
        except Exception as error:  # whatever PIL's many readers raise
            told = str(error).split(" '")[0].split(" <")[0].strip() or "damaged"
            trouble.append(told.splitlines()[0])


def to_shape(image: Image.Image, shape: Shape) -> UInt8[np.ndarray, "H W C"]:
    """An image as an array of height, width and channels (1 or 3)."""
    height, width, channels = shape
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("pixels are not whole numbers")
    if image.mode[:2] in _DEEP:
        pixels = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        if 0 < (most := pixels.max()) < 257:
            raise ValueError(f"16 bits of which the largest is {most}: save it as 8")
        image = Image.fromarray((pixels // 257).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height))
    return np.asarray(image, np.uint8).reshape(shape)


def _name(path: Path, folder: Path | None) -> str:
    return str(path.relative_to(folder)) if folder else path.name
