"""From the words of a command line to the command with its settings."""

import contextlib
import functools
import inspect
import io
import re
from collections.abc import Callable, Sequence

import tyro

import gamepruning
from gamepruning.errors import InputError
from gamepruning.workbench.cli.commands import COMMANDS, RunCommand
from gamepruning.workbench.settings.spelling import closest

MOVED = {
    "bench": "bench is no command: run `python -m benchmarks` in a checkout of the "
    "repository"
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


_SIMPLER = {
    r"^Error parsing [\w.]+: ": "",  # the name of a group of settings
    r"^Error parsing (--[\w-]+): no type matching (.+) could be instantiated from "
    r"\[(.*)\]": r"expected \1 as \2, got \3",
    r"^Error parsing (--[\w-]+): Could not find valid parse for arguments: "
    r"\[(.*)\]": r"\1 cannot be \2",
}


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
        known = closest(name, COMMANDS)
        raise InputError(MOVED.get(name, f"no command {name!r}{known}"))
    command = COMMANDS[name]
    run = command.load() if isinstance(command, RunCommand) else command
    pairs = () if name == "prune" else (tyro.conf.FlagCreatePairsOff,)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                _deferred(run),
                prog=f"gamepruning {name}",
                description=description_of(name),
                args=rest,
                config=(tyro.conf.OmitArgPrefixes, *pairs),
            )
    except SystemExit as end:
        if end.code:
            raise InputError(condense(complaint.getvalue())) from None
        return lambda: None


def usage() -> str:
    """The help of the program as a whole."""
    lines = [
        f"  {name:<12}{description_of(name).splitlines()[0].rstrip('.')}"
        for name in COMMANDS
    ]
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
    text = text.replace("{None}|", "")  # how tyro says that there is a default
    for pattern, told in _SIMPLER.items():
        text = re.sub(pattern, told, text)
    return text.rstrip(". ") or "bad arguments"


def _deferred(run: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The same signature, but the work waits until parsing is over."""

    @functools.wraps(run)
    def bind(*args, **kwargs):
        return functools.partial(run, *args, **kwargs)

    return bind


def description_of(name: str) -> str:
    """What a command does, and its examples."""
    command = COMMANDS[name]
    if isinstance(command, RunCommand):
        return command.description
    return inspect.cleandoc(command.__doc__ or "").split("\n\nArgs:")[0]
