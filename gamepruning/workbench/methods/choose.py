"""One way from a method's name to the players that stay in a run."""

from typing import Any

import numpy as np

from gamepruning.compaction.gates import Absorbed
from gamepruning.errors import InputError
from gamepruning.selection import SelectionTrace, most_within, top_n
from gamepruning.types import Scores
from gamepruning.workbench.methods.equilibrium import play_equilibrium
from gamepruning.workbench.methods.rank import (
    CAUTION,
    check_scoring,
    count_evaluations,
    rank,
)
from gamepruning.workbench.methods.subject import Choice, Rounds, Subject, counting_bar
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training import sizes
from gamepruning.workbench.training.optimizers import make_game_step
from gamepruning.workbench.training.stages import Trainer
from gamepruning.workbench.training.task import Prepared


def choose(
    made: Prepared, settings: PruneSettings, trainer: Trainer, dense: Any
) -> Choice:
    """Choose the players that stay, by the method of the settings.

    Rounds are written down, and an interrupted run resumes from the last one. The
    equilibrium game starts from the weights of the task, and sees the batches that the
    dense network saw; all others rank the players of the trained weights `dense`. It is
    an InputError if size or budget do not fit the network, or if even the first round
    exceeds --max-drop.
    """
    if settings.selected.kind == "equilibrium":
        return play_equilibrium(made, settings, trainer)
    return _choose_by_rank(made, settings, trainer, dense)


def check_choice(made: Prepared, settings: PruneSettings) -> None:
    """Raise `InputError` if size or budget do not fit, before anything is trained."""
    players, size, method = made.task.players, settings.size, settings.selected
    if method.kind == "equilibrium":
        sizes.check_round_to(players, size)
        # raises if --keep cannot be met
        make_game_step(made.task, settings, made.training)
        return
    if size.max_drop is None:
        if sizes.limit_of(made.task, size) is None:
            sizes.check_keep(players, size)
    elif size.max_drop >= 1 and made.task.dataset.task == "classification":
        raise InputError(
            f"expected --max-drop below 1, since {made.task.metric_name} is a fraction "
            f"of 1, got {size.max_drop:g}: type --max-drop {size.max_drop / 100:g} for "
            f"{size.max_drop:g} percentage points"
        )
    check_scoring(method, settings.scoring, players.num_players)


def _choose_by_rank(
    made: Prepared, settings: PruneSettings, trainer: Trainer, dense: Any
) -> Choice:
    """Rank the players of the trained network; the best stay."""
    task, size, players = made.task, settings.size, made.task.players
    method = settings.selected
    subject = Subject(task, dense, settings.scoring, made.keys.choose)
    limit = sizes.limit_of(task, size)
    keep = smallest = size.round_to * len(players.families)  # until it is told to end
    largest, fits = players.num_players - 1, limit and limit.fits
    if limit is None and size.max_drop is None:
        keep = sizes.check_keep(players, size)
        smallest = largest = sum(keep) if isinstance(keep, tuple) else keep
    note = f"bias {subject.bias:.3f}" if method.scorer == "biased_banzhaf" else ""
    label = f"choose by {settings.method}, {method.selection}"
    rounds = Rounds(
        smallest=smallest,
        largest=largest,
        checkpoint=trainer.folder.checkpoints / f"{method.kind}.npz",
        progress=counting_bar(trainer.progress, label, note),
        max_drop=size.max_drop,
        fits=fits,
    )
    source = rank(method, subject, rounds)
    how: Any = {"players": players, "scope": method.scope, "round_to": size.round_to}
    if isinstance(source, SelectionTrace):
        value, mask, scores = _read(source, size.max_drop)
        measure = "score when last scored"
    else:
        value, scores, measure = np.asarray(source.value), source, "score"
        mask = np.asarray(top_n(source, keep, **how))
    if fits is not None:
        mask = most_within(source, fits, **how)
    if method.kind == "bandit":
        means = np.asarray(scores.value) - CAUTION * np.asarray(scores.stderr)
        scores, measure = scores._replace(value=means), "mean loss change without it"
    full = Absorbed(task.network.apply, dense, players, mask)
    nobody, spent = (0,) * len(players.families), count_evaluations(method, source)
    settled = subject.settled(method) | {"selection": method.selection}
    for name in ("evaluations", "pulls"):  # each round of several has its own
        if name in method.asks and not method.is_iterated:
            settled[name] = spent
    chosen = Choice(mask, value, full, dense, nobody, means=scores, measure=measure)
    return chosen._replace(settled=settled, num_evaluations=spent)


def _read(
    trace: SelectionTrace, max_drop: float | None
) -> tuple[np.ndarray, np.ndarray, Scores]:
    """The rank of the players, which stay, and the scores that decided on them."""
    mask = np.asarray(trace.mask)
    if mask.all():
        raise InputError(
            f"the first round already costs more than --max-drop {max_drop:g}: allow "
            "more, or give --keep"
        )
    return trace.rank, mask, trace.last_scores
