"""From the words of a command line to the command with its settings."""

import contextlib
import functools
import inspect
import io
import re
from collections.abc import Callable, Sequence

import tyro

import gamepruning
from gamepruning.types import InputError
from gamepruning.workbench.cli import commands
from gamepruning.workbench.settings.spelling import closest

COMMANDS: dict[str, Callable[..., None]] = {
    "prune": commands.prune,
    "sweep": commands.sweep,
    "bands": commands.bands,
    "curve": commands.curve,
    "compare": commands.compare,
    "explain": commands.explain,
    "datasets": commands.datasets,
    "apply-plan": commands.apply_plan,
    "bench": commands.bench,
}
USAGE = """\
usage: gamepruning COMMAND [OPTIONS]

Train a network, let a game decide which of its parts stay, and take the others out for
real: a smaller model, checked against the full one, and a report.

{commands}

Examples:
  gamepruning prune                       prune a network on digits, in about a minute
  gamepruning prune --dataset mnist --data-dir DATA
  gamepruning sweep                       many games at once, and which are worth it
  gamepruning explain --model lenet_5     what could leave a network
  gamepruning COMMAND --help              the options of a command
"""


def parse(argv: Sequence[str]) -> Callable[[], None]:
    """Find the command and its settings.

    Args:
      argv: the words after `gamepruning`.

    Returns:
      The command, ready to run.

    Raises:
      InputError: the words make no sense.
    """
    name, rest = (argv[0], list(argv[1:])) if argv else ("--help", [])
    if name in ("-h", "--help"):
        return functools.partial(print, usage(), end="")
    if name == "--version":
        return functools.partial(print, gamepruning.__version__)
    if name not in COMMANDS:
        raise InputError(f"no command {name!r}{closest(name, COMMANDS)}")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                _deferred(COMMANDS[name]),
                prog=f"gamepruning {name}",
                description=_description(COMMANDS[name]),
                args=rest,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
                if name != "prune"
                else (tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as end:
        if end.code:
            raise InputError(condense(complaint.getvalue())) from None
        return lambda: None


def usage() -> str:
    """The help of the program as a whole."""
    lines = [f"  {name:<12}{_summary(run)}" for name, run in COMMANDS.items()]
    return USAGE.format(commands="Commands:\n" + "\n".join(lines))


def condense(box: str) -> str:
    """One line of the box in which tyro complains.

    Example:
      >>> condense("╭─ Value error ─╮\\n│ Error parsing --seed: │\\n│ not a number. │")
      'Error parsing --seed: not a number'
    """
    body = []
    for line in (line.strip(" │┃|") for line in box.splitlines()):
        if line.startswith(("─", "╰")) and body:
            break
        if line and not line.startswith(("╭", "─")):
            body.append(line)
    text = re.sub(r"\s*Got errors:.*", "", " ".join(body))
    text = re.sub(r"^Error parsing [\w.-]+: (?=expected|--)", "", text)
    text = text.replace("{None}|", "")  # how tyro says that there is a default
    return text.rstrip(". ") or "bad arguments"


def _deferred(run: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The same signature, but the work waits until parsing is over."""

    @functools.wraps(run)
    def bind(*args, **kwargs):
        return functools.partial(run, *args, **kwargs)

    return bind


def _description(run: Callable[..., None]) -> str:
    return inspect.cleandoc(run.__doc__ or "").split("\n\nArgs:")[0]


def _summary(run: Callable[..., None]) -> str:
    return _description(run).splitlines()[0].rstrip(".")
