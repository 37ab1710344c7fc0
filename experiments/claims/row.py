"""One claim of a paper beside what came out here."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.markdown import HERE, read

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "not measured"


class Row(NamedTuple):
    """A claim or a figure of a paper.

    Attributes:
      place: where the paper has it.
      claim: what it says, in short.
      paper: its figure.
      here: ours.
      deviation: ours from the paper's.
      verdict: what follows.
      command: what makes our figure.
      source: the JSON file with our figure, under experiments/, or "".
    """

    place: str
    claim: str
    paper: str
    here: str
    deviation: str
    verdict: str
    command: str
    source: str = ""


def unmeasured(place: str, claim: str, paper: str, command: str) -> Row:
    """A row without a figure: the command would make it."""
    return Row(place, claim, paper, "none", "none", UNKNOWN, command)


def command_of(source: str) -> str:
    """The command that a JSON file names, in one line."""
    return str(read(source)["command"])


def is_there(source: str) -> bool:
    return (HERE / source).is_file()


def of_checks(checks: Sequence[bool]) -> str:
    """What follows from several yes-or-no findings."""
    found = sum(map(bool, checks))
    if found == len(checks):
        return HOLDS
    return f"in part: {found} of {len(checks)}" if found else FAILS


def of_figure(ours: float, paper: float, spread: float) -> str:
    """Above, below, or level within two deviations over the seeds."""
    if abs(ours - paper) <= 2 * spread:
        return "level"
    return "above" if ours > paper else "below"


def points(ours: float, paper: float) -> str:
    """The difference of two shares, in points."""
    return f"{100 * (ours - paper):+.1f} points"


def counted(checks: Sequence[bool], what: str) -> str:
    """How many of several findings are yes."""
    return f"{int(np.sum(checks))} of {len(checks)} {what}"
