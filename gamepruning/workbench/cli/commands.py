"""What each command does, in terms of public functions."""

import json
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from gamepruning.workbench.settings.bands import BandsSettings
from gamepruning.workbench.settings.compare import CompareSettings
from gamepruning.workbench.settings.curve import CurveSettings
from gamepruning.workbench.settings.parts import DEFAULT_MODEL
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.settings.sweep import SweepSettings

Folder = Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")]


def prune(
    settings: Annotated[PruneSettings, arg(name="")],
    *,
    out: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: runs/DATA-MODEL-METHOD-N)"),
    ] = None,
    resume: bool = False,
) -> None:
    """Train a network, prune it, check the small one, and write a report.

    Examples:
      gamepruning prune
      gamepruning prune --dataset mnist --data-dir DATA --preset l1_strong
      gamepruning prune --keep 0.1 --unit params
      gamepruning prune --method taylor --keep 0.1 --fine-tune 20
      gamepruning prune --method banzhaf --keep 0.05
      gamepruning prune --method shapley --selection top_n --keep 0.3
      gamepruning prune --method ucb1 --max-drop 0.01
      gamepruning prune --module net.py:make --dataset table.csv --out runs/mine
      gamepruning prune --resume --out runs/mine

    Args:
        settings: What to do.
        out: The run folder to make.
        resume: Go on with the interrupted run of --out, under its own settings.
    """
    from gamepruning.workbench.jobs.prune import run_prune

    run_prune(settings, out=out, resume=resume)


def sweep(
    settings: Annotated[SweepSettings, arg(name="")],
    *,
    out: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: runs/DATA-MODEL-sweep-N)"),
    ] = None,
    resume: bool = False,
) -> None:
    """Play many equilibrium games at once and show which are worth having.

    Examples:
      gamepruning sweep
      gamepruning sweep --gamma 0.05 0.1 0.2 --seeds 3
      gamepruning sweep --dataset mnist --data-dir DATA --beta 0.05 --epochs 10
      gamepruning sweep --resume --out runs/mine

    Args:
        settings: What to do.
        out: The folder to make.
        resume: Go on with the interrupted sweep of --out, under its own settings.
    """
    from gamepruning.workbench.cores import use_cores_as_devices
    from gamepruning.workbench.jobs.sweep import run_sweep

    use_cores_as_devices()
    run_sweep(settings, out=out, resume=resume)


def bands(
    settings: Annotated[BandsSettings, arg(name="")],
    *,
    out: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: runs/DATA-MODEL-bands-N)"),
    ] = None,
    resume: bool = False,
) -> None:
    """Show where a network is least sure of itself as random parts of it leave.

    Two stages take neurons out (arXiv 2311.10468, Algorithm 1): a share q of them, then
    each of the others with probability p. The variance of the output peaks somewhere on
    p = q = t*; d = 1 - t* is the bias of the power index beta_d. What counts as the
    output decides the peak, so a table shows it for every definition.

    Examples:
      gamepruning bands
      gamepruning bands --output vote --samples 400
      gamepruning bands --dataset mnist --data-dir DATA --model lenet_300_100
      gamepruning bands --load runs/mine --families hidden_0
      gamepruning bands --resume --out runs/mine

    Args:
        settings: What to do.
        out: The folder to make.
        resume: Go on with the interrupted run of --out, under its own settings.
    """
    from gamepruning.workbench.jobs.bands import run_bands

    run_bands(settings, out=out, resume=resume)


def curve(
    settings: Annotated[CurveSettings, arg(name="")],
    *,
    out: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: runs/DATA-MODEL-curve-N)"),
    ] = None,
    resume: bool = False,
) -> None:
    """Compare ways to prune at every size: compression curves.

    Examples:
      gamepruning curve
      gamepruning curve --methods building pruning-banzhaf taylor --sizes 0.05 0.1 0.2
      gamepruning curve --dataset mnist --data-dir DATA --model lenet_300_100 --seeds 5
      gamepruning curve --methods building random --fine-tune 5
      gamepruning curve --resume --out runs/mine

    Args:
        settings: What to do.
        out: The folder to make.
        resume: Go on with the interrupted run of --out, under its own settings.
    """
    from gamepruning.workbench.jobs.curve import run_curves

    run_curves(settings, out=out, resume=resume)


def compare(
    settings: Annotated[CompareSettings, arg(name="")],
    *,
    out: Annotated[
        Path | None,
        arg(
            metavar="FOLDER", help_behavior_hint="(default: runs/DATA-MODEL-compare-N)"
        ),
    ] = None,
    resume: bool = False,
) -> None:
    """Compare all methods at one size: results, ranks, tests, curves, a report.

    Examples:
      gamepruning compare
      gamepruning compare --keep 0.1 --seeds 5 --methods ucb1 building magnitude random
      gamepruning compare --datasets wine glass vehicle sonar --data-dir DATA
      gamepruning compare --resume --out runs/mine

    Args:
        settings: What to do.
        out: The folder to make.
        resume: Go on with the interrupted run of --out, under its own settings.
    """
    from gamepruning.workbench.jobs.compare import run_compare

    run_compare(settings, out=out, resume=resume)


def explain(
    *,
    model: Annotated[
        str | None,
        arg(metavar="NAME", help_behavior_hint=f"(default: {DEFAULT_MODEL})"),
    ] = None,
    dataset: Annotated[
        str | None, arg(metavar="NAME|FILE.csv", help_behavior_hint="")
    ] = None,
    widths: Annotated[
        tuple[int, ...], arg(metavar="N ...", help_behavior_hint="")
    ] = (),
    module: Annotated[
        str | None, arg(metavar="FILE.py:FACTORY", help_behavior_hint="")
    ] = None,
    granularity: Literal["unit", "layer", "weight"] = "unit",
    reductions: Literal["freeze", "gate"] = "freeze",
    json_: Annotated[bool, arg(name="json")] = False,
    data_dir: Folder = None,
) -> None:
    """Say who could leave a network, and what stays and why.

    Examples:
      gamepruning explain --model transformer
      gamepruning explain --model lenet_5 --dataset mnist --data-dir DATA
      gamepruning explain --module net.py:make

    Args:
        model: Name of a network, such as mlp, lenet_5, resnet or transformer.
        dataset: Data set whose inputs the network reads; without one, inputs of the
            size that the network was made for.
        widths: Hidden units of each layer, for the fully connected networks.
        module: A network of your own: a function that returns (apply, params, inputs).
        granularity: What is a player.
        reductions: Whether an axis that is summed over stays whole or is gated there.
        json_: Print all slices as JSON instead of a table.
        data_dir: Where data lie that are not built in.
    """
    from gamepruning.workbench.jobs.explain import explained_network, find_players_of

    network = explained_network(
        model=model, module=module, widths=widths, dataset=dataset, data_dir=data_dir
    )
    players = find_players_of(network, granularity=granularity, reductions=reductions)
    if json_:
        print(json.dumps(players.to_dict()))
    else:
        print(players.explain().rstrip())


def datasets(*, data_dir: Folder = None) -> None:
    """List the data sets: what is there, and how to get what is not.

    Examples:
      gamepruning datasets
      gamepruning datasets --data-dir DATA

    Args:
        data_dir: Where data lie that are not built in.
    """
    from rich.console import Console

    from gamepruning.workbench.datasets import list_datasets
    from gamepruning.workbench.report.tables import data_hints, data_table

    rows = list_datasets(data_dir)
    console = Console()
    console.print(data_table(rows))
    for hint in data_hints(rows):
        console.print(hint, highlight=False, markup=False)


def apply_plan(
    *,
    plan: Annotated[Path, arg(metavar="plan.json")],
    checkpoint: Annotated[Path, arg(metavar="IN.safetensors")],
    out: Annotated[Path, arg(metavar="OUT.safetensors")],
) -> None:
    """Cut a checkpoint of the full network down, as a plan says.

    Examples:
      gamepruning apply-plan --plan runs/mine/plan.json
          --checkpoint runs/mine/full.safetensors --out small.safetensors

    Args:
        plan: The plan of a run.
        checkpoint: Weights of the network that the plan was made for.
        out: The file to write; it must not exist.
    """
    from gamepruning.workbench.jobs.explain import cut_checkpoint

    print(cut_checkpoint(plan, checkpoint, out))


def bench(
    what: Positional[
        Literal["latency", "gating", "trace", "sweep", "coalitions", "scaling"]
    ],
    *,
    out: Annotated[Path | None, arg(metavar="FILE.json", help_behavior_hint="")] = None,
    repeats: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
) -> None:
    """Measure this library on this machine.

    Examples:
      gamepruning bench latency     LeNet-300-100 with 90 % removed against the dense
      gamepruning bench gating      a training step with gates, against one without
      gamepruning bench trace       finding and removing half the players of ResNet-18
      gamepruning bench sweep       eight games in one program, against one
      gamepruning bench coalitions  values a second, against what products allow
      gamepruning bench scaling     their cost by number and by examples

    Args:
        what: What to measure.
        out: Also write the result, with the command and the machine, as JSON.
        repeats: Calls to time, instead of a budget of a few seconds.
    """
    from benchmarks.bench import run_bench
    from gamepruning.workbench.cores import use_cores_as_devices

    if what in ("sweep", "coalitions", "scaling"):
        use_cores_as_devices()
    run_bench(what, out=out, repeats=repeats)
