"""Whether a network that a run trained is used on the split that it was trained on."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamepruning.files.run_folder import CONFIG
from gamepruning.spelling import flag_of
from gamepruning.types import InputError

SCALING = ("standardise", "pixel_mean", "pixel_scale", "image_size")
ELSEWHERE = "data_dir"  # where the same data may lie
PIXELS = {"pixel_mean": "mean", "pixel_scale": "scale"}  # as a run tells of its images


def check_trained_alike(
    load: Path,
    given: Mapping[str, Any],
    names: Collection[str],
    inputs: str = "",
    contents: Sequence[str] = (),
) -> None:
    """Check that weights of a run are used on its split, and on inputs made as there.

    Nothing is known of a file that does not lie in a run folder. On another data set
    only the scaling of pixels counts; of test files only that there is one. A data set
    is another if its file has another name; if not, it must hold what it did, where the
    run says so. Where the run says how it scaled pixels, that counts and not the flags:
    weights with PyTorch's names have a scaling of their own.

    Args:
      load: a run folder, or a file of weights in one.
      given: the settings as JSON-able data, `dataset` and `seed` among them.
      names: the settings that say how the data set is read.
      inputs: how raw data become inputs, JSON text as in `model/preprocessing.json`.
      contents: fingerprints of what was read, that of the training data first.

    Raises:
      InputError: a setting differs, and the message says both values; or the data do.
    """
    folder = load if load.is_dir() else load.parent
    config = _read(folder / CONFIG)
    stored = config.get("settings")
    match stored:
        case {"dataset": str(dataset), "seed": int()}:
            is_same = Path(dataset).name == Path(given["dataset"]).name
        case _:
            return
    there, here = _read(folder / "model" / "preprocessing.json"), _parsed(inputs)
    are_images = there.get("kind") == here.get("kind") == "image"
    for name in ("seed", *names) if is_same else SCALING:
        then, now = stored.get(name, given.get(name)), given.get(name)
        if name == "test_file":
            is_other = (then is None) != (now is None)
        elif are_images and name in PIXELS:
            then, now = (own.get(PIXELS[name]) for own in (there, here))
            is_other = (is_same or not given.get("standardise")) and _differ(then, now)
        else:
            is_other = then != now and name != ELSEWHERE
        if is_other:
            raise InputError(
                f"the network in {folder} was trained {_told(name, then)}, not "
                f"{_told(name, now)}: give the same flag as there, or it is judged on "
                "examples that it was trained on, or reads other inputs"
            )
    if is_same and _has_changed(config.get("contents"), contents):
        raise InputError(
            f"{given['dataset']} is not what the network in {folder} was trained on: "
            "it has changed since, and the network would be judged on examples that it "
            "was trained on. Put back what it was, or give other data another name"
        )


def _has_changed(known: Any, contents: Sequence[str]) -> bool:
    """True if a run says that it read other training data, in its one data set."""
    then = next(iter(known.values()), None) if isinstance(known, dict) else None
    return isinstance(then, list) and bool(then and contents) and then[0] != contents[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _differ(then: Any, now: Any) -> bool:
    """True if two scalings of pixels do, more than by rounding on another machine."""
    try:
        one, two = (np.atleast_1d(np.asarray(x, float)) for x in (then, now))
        return not np.allclose(one, two, rtol=1e-3, atol=1e-4)
    except (TypeError, ValueError):  # numbers of other channels, or none at all
        return True


def _told(name: str, value: Any) -> str:
    if value is None or value is False or value == []:
        return f"without {flag_of(name)}"
    values = value if isinstance(value, list) else [] if value is True else [value]
    return " ".join(["with", flag_of(name), *map(str, values)])
