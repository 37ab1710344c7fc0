"""Lay Tiny ImageNet out as folders of classes, which every command reads.

    python -m experiments.gtap.tiny_imagenet tiny-imagenet-200 tiny-imagenet
    gamepruning bands --dataset tiny-imagenet --model alexnet

The first folder is as it was published: `train/CLASS/images/` and the 10,000 validation
images in `val/images/`, whose classes stand in `val/val_annotations.txt`. These become
the test set; choices are made on a part of the training images. Files are linked, not
copied.
"""

import sys
from pathlib import Path


def lay_out(source: Path, target: Path) -> tuple[int, int]:
    """Make `target/train/CLASS/` and `target/test/CLASS/`.

    Args:
      source: the published folder.
      target: the folder to be made.

    Returns:
      How many images there are for training and for the test.

    Raises:
      FileNotFoundError: a class or the annotations are missing.
    """
    classes = sorted(folder.name for folder in (source / "train").iterdir())
    train = [
        (name, path) for name in classes for path in _images(source / "train" / name)
    ]
    lines = (source / "val" / "val_annotations.txt").read_text().splitlines()
    marked = [line.split("\t")[:2] for line in lines]
    test = [(name, source / "val" / "images" / file) for file, name in marked]
    for part, images in (("train", train), ("test", test)):
        for name, path in images:
            place = target / part / name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path.resolve(strict=True))
    return len(train), len(test)


def _images(folder: Path) -> list[Path]:
    found = sorted((folder / "images").glob("*.JPEG"))
    if not found:
        raise FileNotFoundError(f"no images in {folder / 'images'}")
    return found


if __name__ == "__main__":
    print(*lay_out(Path(sys.argv[1]), Path(sys.argv[2])))
