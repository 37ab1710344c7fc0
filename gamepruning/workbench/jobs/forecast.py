"""About how long a comparison takes, told before its methods begin."""

from gamepruning.selection.forecast import (
    Work,
    expected_work,
    measure_speed,
    players_scored,
)
from gamepruning.workbench.jobs.one_curve import Trained
from gamepruning.workbench.methods import rank
from gamepruning.workbench.registry import EQUILIBRIUM, Method, find_method
from gamepruning.workbench.report.formats import format_count
from gamepruning.workbench.settings.studies import CompareSettings

COMPILING = 2.0  # seconds of each method
OPERATIONS_A_SECOND = 1e10  # of regressions, as `choose_method` reckons


def forecast(settings: CompareSettings, network: Trained, training: float) -> str:
    """How long all networks take, and what that is reckoned from.

    The training of this network took so many seconds; its coalitions are timed here.
    """
    speed, spent = measure_speed(network.subject.game), 0.0
    lengths = network.trainer.training
    for name in settings.methods:
        work = work_of(find_method(name), network)
        spent += work.evaluations * speed.evaluation + work.toggles * speed.toggles
        spent += work.operations / OPERATIONS_A_SECOND + COMPILING
        spent += 2 * training if name == EQUILIBRIUM else 0.0
    spent += training * (len(settings.methods) + 1) * lengths.fine_tune / lengths.epochs
    num_networks = len(settings.datasets) * settings.seeds
    minutes = num_networks * (training + spent) / 60
    return (
        f"About {max(minutes, 0.1):.2g} min for {len(settings.methods)} methods on "
        f"{format_count(num_networks, 'network')}: a training takes {training:.2g} s, "
        f"and {1 / speed.evaluation:,.0f} coalitions are evaluated a second"
    )


def work_of(method: Method, network: Trained) -> Work:
    """What a method needs for its curve; a pull is a coalition on fewer rows."""
    total, scoring = network.task.players.num_players, network.settings.scoring
    ends = sorted(max(round(s * total), 1) for s in network.settings.sizes)
    if method.kind not in ("index", "bandit"):
        return Work(0, 0, 0.0)
    is_index, builds = method.kind == "index", method.selection == "building"
    in_rounds, scored = is_index and method.is_iterated, [total]
    step, given = (scoring.step, None) if is_index else (rank.STEP, scoring.pulls)
    if "evaluations" in method.asks:
        given = scoring.evaluations
    if method.is_iterated:
        scored = players_scored(total, ends[-builds], step, is_building=builds)
    usual = rank.PER_PLAYER_IN_ROUNDS if in_rounds else rank.PER_PLAYER
    usual = 1 if method.scorer == "greedy" else usual
    budgets = [usual * players if given is None else given for players in scored]
    swaps, solves = in_rounds and scoring.swaps > 0, method.scorer in rank.LAWS
    work = expected_work(scored, budgets, solves=solves, has_swaps=swaps)
    rows = min(len(network.task.dataset.validation.labels), scoring.rows)
    share = 1.0 if is_index else min(rank.PULL_BATCH / rows, 1.0)
    return work._replace(evaluations=round(share * work.evaluations))
