"""Whether a network that a run trained is used on the split that it was trained on."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gamepruning.files.run_folder import CONFIG
from gamepruning.spelling import flag_of
from gamepruning.types import InputError

SCALING = ("standardise", "pixel_mean", "pixel_scale", "image_size")
ELSEWHERE = ("data_dir",)  # where the same data may lie


def check_trained_alike(
    load: Path, given: Mapping[str, Any], names: Collection[str]
) -> None:
    """Check that weights of a run are used on its split, and on inputs made as there.

    Nothing is known of a file that does not lie in a run folder. On another data set
    only the scaling of pixels counts; of test files only that there is one.

    Args:
      load: a run folder, or a file of weights in one.
      given: the settings as JSON-able data, `dataset` and `seed` among them.
      names: the settings that say how the data set is read.

    Raises:
      InputError: a setting differs; the message says both values.
    """
    folder = load if load.is_dir() else load.parent
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    match config:
        case {"settings": {"dataset": str(dataset), "seed": int()}}:
            stored = config["settings"]
        case _:
            return
    is_same = Path(dataset).name == Path(given["dataset"]).name
    for name in ("seed", *names) if is_same else SCALING:
        then, now = stored.get(name, given.get(name)), given.get(name)
        if name == "test_file":
            is_other = (then is None) != (now is None)
        else:
            is_other = then != now and name not in ELSEWHERE
        if is_other:
            raise InputError(
                f"the network in {folder} was trained {_told(name, then)}, not "
                f"{_told(name, now)}: give the same flag as there, or it is judged on "
                "examples that it was trained on, or reads other inputs"
            )


def _told(name: str, value: Any) -> str:
    if value is None or value is False or value == []:
        return f"without {flag_of(name)}"
    values = value if isinstance(value, list) else [] if value is True else [value]
    return " ".join(["with", flag_of(name), *map(str, values)])
