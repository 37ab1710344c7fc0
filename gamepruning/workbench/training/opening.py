"""How every run begins: its folder, and the settings it goes on under."""

import json
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from gamepruning import __version__
from gamepruning.types import InputError
from gamepruning.workbench.settings.base import CommandSettings
from gamepruning.workbench.settings.defaults import SettledTraining
from gamepruning.workbench.training.run_folder import CONFIG, RunFolder, place_of
from gamepruning.workbench.versions import versions

Settings = TypeVar("Settings", bound=CommandSettings)


def open_folder(
    settings: Settings,
    stem: tuple[str, str, str],
    *,
    out: Path | None,
    resume: bool,
    console: Console,
) -> tuple[RunFolder, Settings]:
    """The folder of a run, and its settings.

    Args:
      settings: what was asked for.
      stem: data set, network and kind of run, which name a folder that nobody named.
      out: the folder that was asked for.
      resume: go on with the interrupted run of `out`, under its own settings.
      console: where it is said that another version began the run.

    Raises:
      InputError: the folder is in the way, there is nothing to go on with, or its
        settings are not those asked for.
    """
    data, network, kind = stem
    name = f"{Path(data).stem}-{Path(network.split(':')[0]).stem}-{kind}"
    folder = place_of(out, resume, stem=name)
    folder.check()
    return folder, _stored(folder, settings, console) if resume else settings


def write_config(
    folder: RunFolder, asked: CommandSettings, training: SettledTraining
) -> None:
    """Write `config.json`: the command, every setting, and the versions used.

    Args:
      folder: where to.
      asked: the settings as asked for; an interrupted run goes on under these.
      training: what was chosen where nothing was asked for.
    """
    data = {
        "command": asked.command(),
        "settings": asked.to_dict(),
        "resolved": asked.to_dict() | training._asdict(),
        "versions": versions(),
    }
    folder.write_text(CONFIG, json.dumps(data, indent=2) + "\n")


def _stored(folder: RunFolder, asked: Settings, console: Console) -> Settings:
    """The settings of the interrupted run; flags beside --resume must agree."""
    config = folder.read_config()
    _tell_version(config.get("versions"), console)
    if not isinstance(config.get("settings"), dict):
        raise InputError(
            f"{folder.partial / CONFIG} holds no settings of a run: delete the folder "
            "and start again"
        )
    stored = type(asked).from_dict(config["settings"])
    default = type(asked)().to_dict()
    for name, value in asked.to_dict().items():
        if value not in (default[name], stored.to_dict()[name]):
            raise InputError(
                f"the interrupted run has {name}={stored.to_dict()[name]!r}, not "
                f"{value!r}: --resume goes on under its own settings"
            )
    return stored


def _tell_version(versions: Any, console: Console) -> None:
    """Say so if the interrupted run was begun by another version."""
    begun = versions.get("gamepruning") if isinstance(versions, dict) else None
    if begun != __version__:
        line = f"Note: gamepruning {begun or 'of unknown version'} began this run, "
        console.print(Text(f"{line}{__version__} goes on with it", style="yellow"))
