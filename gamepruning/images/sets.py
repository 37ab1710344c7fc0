"""What reading images gives, and what all readers of images share."""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gamepruning.types import InputError

MOST_SIDE = 64  # of images of unequal sizes, unless told otherwise
Shape = tuple[int, int, int]  # height, width, channels


class Labelled(NamedTuple):
    """Images and their classes."""

    images: Any  # uint8 [B, H, W, C]
    labels: Any  # int32 [B]


class ImageSet(NamedTuple):
    """Images by class.

    Attributes:
      parts: by name: "train", and "validation" and "test" where there are such.
      classes: the names of the classes.
      notes: what was done to the images, a line each.
    """

    parts: dict[str, Labelled]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose_size(
    sizes: Sequence[tuple[int, int]], image_size: int | None
) -> tuple[int, int, str]:
    """The height and width that all images get, and a note if any is resized.

    Args:
      sizes: (height, width) of each image.
      image_size: the side that was asked for; if None, images of one size keep it, and
        others get the median of their shorter sides, 64 at most.

    Example:
      >>> choose_size([(40, 30), (40, 30)], None)
      (40, 30, '')
      >>> choose_size([(40, 30), (50, 50)], None)[:2]
      (40, 40)
    """
    known = sorted(set(sizes))
    if len(known) == 1 and image_size in (None, *known[0]):
        height, width = known[0]
        if image_size is None or height == width:
            return height, width, ""
    side = image_size or min(MOST_SIDE, int(np.median([min(size) for size in sizes])))
    shown = [f"{width} x {height}" for height, width in (known[0], known[-1])]
    told = " to ".join(dict.fromkeys(shown))
    why = "" if image_size else ": --image-size N sets another size"
    note = f"images of {told} pixels resized to {side} x {side}, longer sides cropped"
    return side, side, note + why


def check_memory(num: int, shape: Shape) -> None:
    """Check that so many images fit into half of the memory as float32.

    Raises:
      InputError: they do not.
    """
    if not hasattr(os, "sysconf"):  # Windows
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    needed = 4 * num * math.prod(shape) / 2**30
    if needed > there / 2:
        raise InputError(
            f"{num:,} images of {shape[1]} x {shape[0]} pixels take {needed:,.1f} GB, "
            f"and the memory has {there:.1f}: make them smaller with --image-size N"
        )


def note_names(names: Sequence[str], what: str) -> list[str]:
    """A note on some files: how many there are, and the first names.

    Example:
      >>> note_names(["a", "b", "c", "d"], "files left out")
      ['files left out (4): a, b, c, ...']
    """
    if not names:
        return []
    more = ", ..." if names[3:] else ""
    return [f"{what} ({len(names):,}): {', '.join(names[:3])}{more}"]


def group_copies(parts: Mapping[str, Labelled]) -> tuple[Any, list[str]]:
    """Number images so that copies of one have one number, and compare the parts.

    Args:
      parts: "train", and "validation" and "test" where they are parts of their own,
        images uint8 [B, H, W, C] each.

    Returns:
      Numbers of the training images by first appearance, integers [B], and notes if
      one is in several classes, or images of a part are in one before it. Images are
      compared by 128 bits of a hash.
    """
    images, labels = parts["train"]
    seen: dict[bytes, int] = {}
    groups = np.array([seen.setdefault(_hash(i), len(seen)) for i in images])
    notes, before = [], "training"
    pairs = np.unique(np.stack([groups, labels]), axis=1)[0]
    if several := int((np.bincount(pairs) > 1).sum()):
        notes.append(f"{several:,} training images are in several classes")
    for part in ("validation", "test"):
        hashes = [_hash(i) for i in parts[part].images] if part in parts else []
        if alike := sum(own in seen for own in hashes):
            notes.append(f"{alike:,} {part} images are {before} images, too")
        if hashes:
            before = "training or validation"
            seen |= dict.fromkeys(hashes, -1)
    return groups, notes


def check_counts(name: str, found: ImageSet, groups: Any, least: int) -> None:
    """Check that every class has enough different training images to be split.

    An image in several classes counts for that of its first copy.

    Raises:
      InputError: one has not.
    """
    labels = found.parts["train"].labels
    first = labels[np.unique(groups, return_index=True)[1]]
    for label, class_name in enumerate(found.classes):
        count = int((first == label).sum())
        own = len(np.unique(groups[labels == label]))
        if own and count < least:
            told = f"{count} different training image{'s' * (count != 1)}"
            told += f" of its own, {own - count} of another class, too" * (own > count)
            raise InputError(f"{name}: {class_name} has {told}, expected {least}")


def _hash(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
