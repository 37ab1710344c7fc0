"""Settings that several commands have, with the help that they all show."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

DatasetName = Annotated[
    str, arg(metavar="NAME|FILE.csv", help="Data set; see gamepruning datasets.")
]
ModelName = Annotated[str | None, arg(metavar="NAME", help="Network to train.")]
Widths = Annotated[
    tuple[int, ...], arg(metavar="N ...", help="Hidden units of each layer.")
]
Standardise = Annotated[
    bool, arg(help="Give image pixels mean 0 and variance 1 instead of [0, 1].")
]
Epochs = Annotated[int | None, arg(metavar="N", help="Passes over the training data.")]
BatchSize = Annotated[int | None, arg(metavar="N", help="Examples a step.")]
Pulls = Annotated[
    int | None,
    arg(
        metavar="N",
        help="Of the bandits: pulls in each round; a pull takes a player out on one "
        "mini-batch.",
        help_behavior_hint="(default: 10 for each player that is left)",
    ),
]
Target = Annotated[
    str | None,
    arg(
        metavar="COLUMN",
        help="Column of a table to predict.",
        help_behavior_hint="(default: target)",
    ),
]
HandleRare = Literal["error", "drop"]
RareClasses = Annotated[
    HandleRare,
    arg(help="What to do with a table's classes too small to split."),
]
DataDir = Annotated[
    Path | None, arg(metavar="FOLDER", help="Where data lie that are not built in.")
]
