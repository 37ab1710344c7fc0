"""A folder of images by class: one sub-folder for each class.

pets/cat/1.png pets/cat/2.png pets/dog/1.png ...
pets/train/cat/... pets/train/dog/... pets/test/cat/... pets/val/...   # or so
"""

from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gamepruning.files.paths import from_home
from gamepruning.images.files import is_image, read_images
from gamepruning.images.sets import ImageSet, Labelled, note_names
from gamepruning.types import InputError

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_SYSTEM = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")  # what systems leave
_EXPECTED = "expected a sub-folder with images for each of two classes or more"


class _File(NamedTuple):
    """An image file."""

    part: str  # a value of `PARTS`
    label: str  # the name of its class
    path: Path


class _Listing(NamedTuple):
    """What lies in a folder."""

    images: list[_File]
    others: list[str]  # files that are not images
    empty: list[str]  # folders of classes without images
    beside: list[str]  # folders beside the parts


def read_folder(
    folder: str | PathLike[str], *, image_size: int | None = None
) -> ImageSet:
    """Read the images in a folder, one sub-folder a class.

    The sub-folders of classes may lie in `train`, and `test` and `val`, if there are.
    Hidden files, what is not an image, and folders beside the parts are left out; what
    cannot be read is named.

    Args:
      folder: the folder.
      image_size: the side that all images get; if None, images of one size keep it.

    Returns:
      The images; classes are sorted by name.

    Raises:
      InputError: there are no images, no two classes, images beside the sub-folders of
        classes, or folders inside of these.

    Example:
      >>> read_folder("pets")  # doctest: +SKIP
    """
    folder = from_home(folder)
    files, others, empty, beside = _list(folder)
    if not files:
        raise InputError(f"no images in {folder}: {_EXPECTED}")
    _check_classes(folder, files)
    paths = [file.path for file in files]
    images, read, notes = read_images(paths, image_size=image_size, folder=folder)
    files = [files[k] for k in read]
    classes = _check_classes(folder, files)
    parts = {}
    for part in dict.fromkeys(file.part for file in files):
        rows = [k for k, file in enumerate(files) if file.part == part]
        labels = [classes.index(files[k].label) for k in rows]
        parts[part] = Labelled(images[rows], np.array(labels, np.int32))
    notes += note_names(others, "files that are not images left out")
    notes += note_names(empty, "folders without images left out")
    notes += note_names(beside, "folders beside train left out")
    return ImageSet(parts, classes, tuple(notes))


def is_folder_of_images(name: str) -> bool:
    """Return True if this is a folder, and none that tensorflow-datasets prepared."""
    folder = from_home(name)
    return folder.is_dir() and not any(folder.glob("*/dataset_info.json"))


def _check_classes(folder: Path, files: list[_File]) -> tuple[str, ...]:
    """The classes of the training images, which are all."""
    classes = tuple(sorted({file.label for file in files if file.part == "train"}))
    if len(classes) < 2:
        only = f"only one class has images ({classes[0]})" if classes else "no images"
        raise InputError(f"{folder}: {only}, {_EXPECTED}")
    for file in files:
        if file.label not in classes:
            raise InputError(
                f"{file.path.parent}: the class {file.label} has no images for training"
            )
    return classes


def _list(folder: Path) -> _Listing:
    """The images of a folder, of all its parts."""
    if not folder.is_dir():
        raise InputError(f"no folder {folder}")
    listing = _Listing([], [], [], [])
    inner, _ = _contents(folder)
    named = [path for path in inner if path.name.lower() in PARTS]
    roots = {path: PARTS[path.name.lower()] for path in named if _is_part(path)}
    if not any(_contents(path)[0] for path in named):  # classes of such names
        roots = {folder: "train"}
    elif "train" not in roots.values():
        raise InputError(f"{folder} has {named[0].name}, but no folder train beside it")
    else:
        listing.beside.extend(path.name for path in inner if path not in roots)
    for root, part in roots.items():
        classes, files = _contents(root)
        if loose := [path for path in files if is_image(path)]:
            raise InputError(
                f"{len(loose):,} images lie in {root} itself, such as {loose[0].name}: "
                "put each into a sub-folder with the name of its class"
            )
        listing.others.extend(path.name for path in files)
        for path in classes:
            _add_class(listing, folder, part, path)
    return listing


def _is_part(folder: Path) -> bool:
    """True if there are folders of classes, or images that should lie in such."""
    classes, files = _contents(folder)
    return bool(classes) or any(map(is_image, files))


def _add_class(listing: _Listing, folder: Path, part: str, path: Path) -> None:
    """List the images of one class."""
    nested, files = _contents(path)
    if nested:
        inner = ", ".join(folder.name for folder in nested)
        raise InputError(
            f"{path} holds folders ({inner}): put the images of a class into its own, "
            "or name the folder of the classes"
        )
    images = [_File(part, path.name, file) for file in files if is_image(file)]
    listing.images.extend(images)
    own = [file for file in files if not is_image(file)]
    listing.others.extend(str(file.relative_to(folder)) for file in own)
    if not images:
        listing.empty.append(str(path.relative_to(folder)))


def _contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder, sorted, without hidden ones."""
    found = sorted(folder.iterdir())
    seen = [p for p in found if p.name[0] != "." and p.name.lower() not in _SYSTEM]
    return [p for p in seen if p.is_dir()], [p for p in seen if p.is_file()]
