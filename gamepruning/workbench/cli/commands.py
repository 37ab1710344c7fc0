"""The commands by name: what they do, their examples, and where the work is done."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from tyro.conf import arg

from gamepruning.workbench.methods.registry import describe_methods
from gamepruning.workbench.settings.parts import FOLDER, DataSettings, NetworkSettings

Folder = Annotated[Path | None, FOLDER]


class RunCommand(NamedTuple):
    """A command that writes a run folder.

    Attributes:
      description: what it does, and examples.
      settings: its settings, as `module:class` in the workbench.
      job: its work, as `module:function` in the workbench.
      uses_cores: its networks are trained side by side, each on a core.
    """

    description: str
    settings: str
    job: str
    uses_cores: bool = False

    def load(self) -> Callable[..., None]:
        """The command as a function, whose signature is its flags."""

        def run(settings: Any, *, out: Folder = None, resume: bool = False) -> None:
            """What every run can be told.

            Args:
              settings: What to do.
              out: Folder to make (default: runs/DATA-MODEL-KIND-NUMBER).
              resume: Go on with the interrupted run of --out, under its own settings.
            """
            if self.uses_cores:
                _load("cores:use_cores_as_devices")()
            _load(self.job)(settings, out=out, resume=resume)

        run.__annotations__["settings"] = Annotated[_load(self.settings), arg(name="")]
        return run


PRUNE = """\
Train a network, prune it, check the small one, and write a report.

Examples:
  gamepruning prune
  gamepruning prune --dataset mnist --data-dir DATA --preset l1_strong
  gamepruning prune --keep 0.1 --unit params
  gamepruning prune --method taylor --keep 0.1 --fine-tune 20
  gamepruning prune --method banzhaf --keep 0.05
  gamepruning prune --method shapley --selection top_n --keep 0.3
  gamepruning prune --method ucb1 --max-drop 0.01
  gamepruning prune --module net.py:make --dataset table.csv --out runs/mine
  gamepruning prune --resume --out runs/mine"""
SWEEP = """\
Play many equilibrium games at once, and show which are worth having.

Examples:
  gamepruning sweep
  gamepruning sweep --gamma 0.05 0.1 0.2 --seeds 3
  gamepruning sweep --dataset mnist --data-dir DATA --beta 0.05 --epochs 10
  gamepruning sweep --resume --out runs/mine"""
BANDS = """\
Show where a network is least certain as random parts of it leave.

Two stages take players out (arXiv 2311.10468, Algorithm 1): a share q of them, then
each of the others with probability p. The variance of the output peaks somewhere on
p = q = t*; d = 1 - t* is the bias of the power index beta_d. What counts as the output
decides where the peak is, so a table shows it for every definition.

Examples:
  gamepruning bands
  gamepruning bands --output vote --samples 400
  gamepruning bands --dataset mnist --data-dir DATA --model lenet_300_100
  gamepruning bands --load runs/mine --families hidden_0
  gamepruning bands --resume --out runs/mine"""
CURVE = """\
Compare methods of pruning at many sizes: compression curves.

Examples:
  gamepruning curve
  gamepruning curve --methods building pruning-banzhaf taylor --sizes 0.05 0.1 0.2
  gamepruning curve --dataset mnist --data-dir DATA --model lenet_300_100 --seeds 5
  gamepruning curve --methods building random --fine-tune 5
  gamepruning curve --resume --out runs/mine"""
COMPARE = """\
Compare methods of pruning at one size: results, ranks, tests, a report.

Examples:
  gamepruning compare
  gamepruning compare --keep 0.1 --seeds 5 --methods ucb1 building magnitude random
  gamepruning compare --datasets wine glass vehicle sonar --data-dir DATA
  gamepruning compare --resume --out runs/mine"""


def explain(
    network: Annotated[NetworkSettings, arg(name="")],
    data: Annotated[DataSettings, arg(name="")],
    *,
    dataset: Annotated[
        str | None, arg(metavar="NAME|FILE.csv", help_behavior_hint="")
    ] = None,
    granularity: Literal["unit", "layer", "weight"] = "unit",
    reductions: Literal["freeze", "gate"] = "freeze",
    json_: Annotated[bool, arg(name="json")] = False,
) -> None:
    """List the players of a network, and what stays and why.

    Examples:
      gamepruning explain --model transformer
      gamepruning explain --model lenet_5 --dataset mnist --data-dir DATA
      gamepruning explain --module net.py:make

    Args:
        network: The network.
        data: How the data set is read.
        dataset: Data set whose inputs the network reads (default: inputs of the size
            that the network was made for).
        granularity: What is a player.
        reductions: Whether an axis that is summed over stays whole or is gated there.
        json_: Print all slices as JSON instead of a table.
    """
    from gamepruning.workbench.jobs.explain import explained_players

    options = {"granularity": granularity, "reductions": reductions}
    players = explained_players(network, dataset, data, **options)
    print(json.dumps(players.to_dict()) if json_ else players.explain().rstrip())


def methods() -> None:
    """List the methods that choose players.

    Examples:
      gamepruning methods
    """
    print(describe_methods())


def datasets(*, data_dir: Folder = None) -> None:
    """List the data sets, and how to get those that are missing.

    Examples:
      gamepruning datasets
      gamepruning datasets --data-dir DATA

    Args:
        data_dir: Folder of the data sets that are not built in.
    """
    from rich.console import Console

    from gamepruning.workbench.datasets import list_datasets
    from gamepruning.workbench.report.tables import data_hints, data_table

    rows, console = list_datasets(data_dir), Console()
    console.print(data_table(rows))
    for hint in data_hints(rows):
        console.print(hint, highlight=False, markup=False)


def apply_plan(
    *,
    plan: Annotated[Path, arg(metavar="plan.json")],
    checkpoint: Annotated[Path, arg(metavar="IN.safetensors")],
    out: Annotated[Path, arg(metavar="OUT.safetensors")],
) -> None:
    """Cut another checkpoint of the full network down, as the plan of a run says.

    Examples:
      gamepruning apply-plan --plan runs/mine/plan.json
          --checkpoint runs/mine/full.safetensors --out small.safetensors

    Args:
        plan: Plan of a run.
        checkpoint: Weights of the network that the plan was made for.
        out: File to write; it must not exist.
    """
    from gamepruning.workbench.jobs.explain import cut_checkpoint

    print(cut_checkpoint(plan, checkpoint, out))


COMMANDS: dict[str, RunCommand | Callable[..., None]] = {
    "prune": RunCommand(PRUNE, "settings.prune:PruneSettings", "jobs.prune:run_prune"),
    "sweep": RunCommand(
        SWEEP, "settings.sweep:SweepSettings", "jobs.sweep:run_sweep", uses_cores=True
    ),
    "bands": RunCommand(BANDS, "settings.bands:BandsSettings", "jobs.bands:run_bands"),
    "curve": RunCommand(CURVE, "settings.curve:CurveSettings", "jobs.curve:run_curves"),
    "compare": RunCommand(
        COMPARE, "settings.compare:CompareSettings", "jobs.compare:run_compare"
    ),
    "methods": methods,
    "explain": explain,
    "datasets": datasets,
    "apply-plan": apply_plan,
}


def _load(place: str) -> Any:
    """`module:name` of the workbench, imported only when it is needed."""
    module, name = place.split(":")
    return getattr(importlib.import_module(f"gamepruning.workbench.{module}"), name)
