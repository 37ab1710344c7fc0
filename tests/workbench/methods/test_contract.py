"""What every method promises, and what it takes to add one.

A new method joins by its entry in `METHODS`; only one of a new kind needs a line here.
"""

import contextlib
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from rich.console import Console

import gamepruning as gp
from gamepruning.bandits import POLICIES
from gamepruning.bandits.policy import one_each, policy_by_index
from gamepruning.baselines import BASELINES, magnitude_scores
from gamepruning.coalitions.estimators import ESTIMATORS
from gamepruning.compaction.latency import LatencySize, Timed
from gamepruning.files.run_folder import RunFolder, working_in
from gamepruning.players import size_of
from gamepruning.types import InputError
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.jobs.compare import _curve_of
from gamepruning.workbench.jobs.one_curve import Trained, choose_at
from gamepruning.workbench.jobs.run import prepare
from gamepruning.workbench.methods.choose import check_choice, choose
from gamepruning.workbench.methods.rank import (
    RANKERS,
    _make_scorer,
    _training_rows,
    rank,
)
from gamepruning.workbench.methods.subject import Rounds, Subject
from gamepruning.workbench.registry import (
    METHODS,
    Method,
    all_methods,
    describe_methods,
    find_method,
    names_of,
)
from gamepruning.workbench.settings.parts import ScoringSettings
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.settings.studies import CompareSettings, CurveSettings
from gamepruning.workbench.training.sizes import measure_latency
from gamepruning.workbench.training.stages import make_trainer, new_progress

NETWORK = {"widths": (4, 3), "epochs": 2, "batch_size": 256}
# What a method of each kind needs in so small a game.
IN_ROUNDS = {"step": 2.0, "swaps": 1}
NEEDED = {
    "equilibrium": {},
    "index": {"evaluations": 30, "rows": 50},
    "bandit": {"pulls": 20},
    "baseline": {},
}
SAME = (
    *("magnitude", "taylor-family", "banzhaf", "biased_banzhaf"),
    *("building-banzhaf", "pruning-greedy", "ucb1"),
)
ONE_OF_EACH = ("equilibrium", "shapley", "building-greedy", "ucb1", "random")


@pytest.fixture(scope="module")
def made():
    return prepare(PruneSettings.of(**NETWORK), 0)


@contextlib.contextmanager
def training(made, out):
    console = Console(file=io.StringIO())
    run = working_in(RunFolder(out, resume=False), "gamepruning prune")
    with run as folder, new_progress(console) as progress:
        yield make_trainer(made.task, made.training, folder, progress)


def flags_for(name):
    method = METHODS[name]
    flags = IN_ROUNDS | NEEDED[method.kind]
    return {**NETWORK, **{k: v for k, v in flags.items() if k in method.asks}}


def choose_by(name, made, out, *, keep, **flags):
    """The choice of a method, of players of untrained weights."""
    settings = PruneSettings.of(method=name, keep=keep, **flags_for(name), **flags)
    check_choice(made, settings)
    with training(made, out) as trainer:
        return choose(made, settings, trainer, made.task.params)


@pytest.mark.parametrize("name", METHODS)
def test_every_method(name, made, tmp_path):
    """As many players as told, and one in every family."""
    choice = choose_by(name, made, tmp_path / "run", keep="4")
    families = made.task.players.families
    assert choice.mask.dtype == bool and choice.mask.sum() == 4
    assert all(choice.mask[f.start : f.stop].any() for f in families)
    assert choice.value.shape == (7,) and len(choice.rescued) == len(families)
    assert (choice.gates is None) == (METHODS[name].kind != "equilibrium")


@pytest.mark.parametrize("name", ["elimination", "elimination-family", "taylor"])
def test_baselines_tell_how_far_they_are(name, made, tmp_path):
    told = []
    subject = Subject(made.task, made.task.params, ScoringSettings(), jax.random.key(0))
    rounds = Rounds(4, 4, tmp_path / "rounds.npz", lambda *at: told.append(at))
    RANKERS["baseline"](jax.random.key(0), METHODS[name], subject, rounds)
    assert told == ([(0, 2), (1, 2), (1, 1)] if "elimination" in name else [(1, 1)])


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_same_key_chooses_the_same_players(name, made, tmp_path):
    one, two = (choose_by(name, made, tmp_path / run, keep="4") for run in "ab")
    np.testing.assert_array_equal(one.mask, two.mask)
    np.testing.assert_array_equal(one.value, two.value)


@pytest.mark.parametrize("name", ["equilibrium", "banzhaf", "thompson", "taylor"])
def test_counts_for_each_family(name, made, tmp_path):
    once = {"selection": "top_n"} if METHODS[name].is_iterated else {}
    choice = choose_by(name, made, tmp_path / "run", keep="3/1", **once)
    assert [choice.mask[:4].sum(), choice.mask[4:].sum()] == [3, 1]


@pytest.mark.parametrize("size", [{"keep": "0.7", "unit": "bytes"}, {"speed_up": 1.5}])
@pytest.mark.parametrize("name", (*ONE_OF_EACH, "pruning-greedy", "taylor-family"))
def test_every_kind_of_method_meets_a_budget(name, size, made, tmp_path):
    choice = choose_by(name, made, tmp_path / "run", **({"keep": None} | size))
    unit, share = ("macs", 1 / 1.5) if "speed_up" in size else ("bytes", 0.7)
    count = size_of(made.task.players, unit).count
    assert 3 <= choice.mask.sum() < 7
    assert count(choice.mask) <= share * count(np.ones(7, bool))


@pytest.mark.parametrize("name", ("equilibrium", "ucb1", "pruning-greedy", "taylor"))
@pytest.mark.parametrize("keep", ["0.7", "14"])
def test_a_budget_of_time(name, keep, made, tmp_path):
    """Of 20 milliseconds; a table that a run left behind is not measured again."""
    task = made.task
    columns = np.arange(1, 8)[:, None]  # everybody takes 2 ms, all the rest 6 ms
    table = Timed([columns], [np.array([1, 7])], 1e6 * np.array([2.0, 14.0]))
    size = LatencySize(7, [table], 6e6)
    size.save(tmp_path / "latency.npz")
    timed = made._replace(task=measure_latency(task, tmp_path / "latency.npz"))
    assert timed.task.latency is not None and timed.task.latency.rest == 6e6
    choice = choose_by(name, timed, tmp_path / "run", keep=keep, unit="latency")
    assert choice.mask.sum() == 4 and size.count(choice.mask) == 14e6
    told = "--keep 0.2 --unit latency: expected a size from 10 .* below 20 "
    with pytest.raises(InputError, match=told):
        check_choice(timed, PruneSettings.of(method=name, keep="0.2", unit="latency"))


def test_a_budget_out_of_reach_is_told_with_its_flags(made):
    for size, told in (
        ({"speed_up": 1e5}, "--speed-up 100000: expected a size from 75 "),
        ({"keep": "0.001", "unit": "params"}, "--keep 0.001 --unit params: expected"),
        ({"keep": "9999", "unit": "macs"}, "got 9,999"),
    ):
        for name in ("taylor", "equilibrium"):
            with pytest.raises(InputError, match=told):
                check_choice(made, PruneSettings.of(method=name, **size))


@pytest.mark.parametrize("name", SAME)
def test_one_name_keeps_the_same_players_in_every_command(name, made, tmp_path):
    """At one size; rounds go through several sizes on one way."""
    choice = choose_by(name, made, tmp_path / "prune", keep="4")
    flags = {**flags_for(name), "sizes": (4 / 7,)}
    curve = CurveSettings.of(methods=(name,), **flags)
    compared = CompareSettings.of(methods=(name, "random"), keep="4", **flags)
    for settings in (curve, _curve_of(compared, "digits", made)):
        with training(made, tmp_path / settings.methods[-1]) as trainer:
            network = Trained(made, settings, made.task.params, trainer, 0, "0")
            masks = choose_at(METHODS[name], network)[1]
        np.testing.assert_array_equal(masks, choice.mask[None])


def test_the_equilibrium_is_told_the_same_by_every_command(made):
    compared = CompareSettings.of(keep="4", fine_tune=1, **NETWORK)
    told = PruneSettings.of(keep="4", fine_tune=1, **NETWORK)
    assert compared.as_equilibrium("digits", 0) == told


@pytest.fixture
def toys(monkeypatch):
    """A baseline, a policy and an estimator, each a line of its table; those called."""
    calls, before = [], dict(METHODS)

    def toy_scores(*given, **chunk):
        calls.append("baseline")
        return magnitude_of_all(*given, **chunk)

    def toy_policy():
        calls.append("policy")
        pick = lambda state, noise: noise - state.counts  # noqa: E731
        return policy_by_index("toy", one_each(jax.random.uniform), pick)

    def finish(problem, state):
        calls.append("estimator")
        return ESTIMATORS["toggle"].finish(problem, state)

    toy = ESTIMATORS["toggle"]._replace(finish=finish, preference=-1)
    monkeypatch.setitem(BASELINES, "toy_scores", toy_scores)
    monkeypatch.setitem(POLICIES, "toy_policy", toy_policy)
    monkeypatch.setitem(ESTIMATORS, "toy", toy)  # "auto" prefers it
    yield calls
    for name in METHODS.keys() - before:
        del METHODS[name]


def test_new_ones_run_through_compare(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["toy_scores", "toy_policy", "shapley", "magnitude"]
    words = f"compare --methods {' '.join(names)} --widths 7 4 --epochs 2 --seeds 1"
    words += " --batch-size 128 --keep 0.5 --sizes 0.7 --fine-tune 1 --out run"
    assert main(words.split()) == 0
    assert set(toys) == {"baseline", "policy", "estimator"}
    rows = json.loads((tmp_path / "run/compare.json").read_text())["rows"]
    found = {row["method"]: row for row in rows}
    assert list(found) == ["dense", *names]
    assert found["toy_scores"]["after"] == found["magnitude"]["after"]
    assert found["toy_policy"]["evaluations"] > 0 == found["toy_scores"]["evaluations"]


def test_a_scorer_that_cannot_be_is_one_line(made, tmp_path, monkeypatch):
    toy = Method("toy", "baseline", "a toy", "magnitud")
    monkeypatch.setitem(METHODS, "toy", toy)
    with pytest.raises(InputError, match="toy has no scorer 'magnitud': did you mean"):
        choose_by("toy", made, tmp_path / "one", keep="4")
    monkeypatch.setitem(RANKERS, "baseline", lambda *args: 3)
    with pytest.raises(InputError, match="scorer of toy to return gp.Scores, got int"):
        choose_by("toy", made, tmp_path / "two", keep="4")


def test_a_line_of_a_table_is_listed_before_anybody_asks_for_it(toys):
    assert {"toy_scores", "toy_scores-family"} <= set(names_of("baseline"))
    assert names_of("bandit")[-1] == "toy_policy" in describe_methods("bandit")
    assert find_method("toy_scores-family").scope == "family"


def test_a_line_of_a_table_is_a_method_and_a_function_may_be_one(toys, made, tmp_path):
    assert find_method("toy_policy").selection == "pruning"
    assert find_method("toy_scores").summary == "toy_scores"
    own = Method("own", "baseline", "a function", magnitude_of_all)
    METHODS["own"] = own
    assert choose_by("own", made, tmp_path / "own", keep="4").mask.sum() == 4
    with pytest.raises(InputError, match="no method 'toy_score': did you mean toy_s"):
        find_method("toy_score")


def magnitude_of_all(key, players, params, loss_fn, inputs, labels, **chunk):
    return magnitude_scores(players, params)


def test_tables_of_the_library_are_covered():
    scorers = {kind: set() for kind in ("baseline", "bandit")}
    for method in all_methods().values():
        if method.kind in scorers:
            scorers[method.kind].add(method.scorer)
    scorers["baseline"].remove("elimination")  # of `gp.reconstruction`
    assert scorers == {"baseline": set(BASELINES), "bandit": set(POLICIES)}


def test_a_file_and_a_line_in_the_library_are_a_method_of_every_command(tmp_path):
    """A copy of the package with a baseline and a policy more, in a new process."""
    package = tmp_path / "gamepruning"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(gp.__file__).parent, package, ignore=leave)
    for place, module, table, value in NEW_LINES:
        new, changed = package / place, package / table
        new.write_text(module, encoding="utf-8")
        text = changed.read_text(encoding="utf-8")
        changed.write_text(f"{text}\n{value}\n", encoding="utf-8")
    words = "compare --methods first_of_all in_turn --epochs 1 --seeds 1 --widths 7 4"
    words += " --keep 0.5 --sizes 0.7 --fine-tune 0 --out run"
    program = (
        "import sys; from gamepruning.workbench.cli.console import main; "
        "ask = 'prune --method in_turn --help'.split(); "
        f"sys.exit(main(['methods']) or main(ask) or main({words.split()}))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    listed = [line.split()[0] for line in run.stdout.splitlines() if line.strip()]
    assert {"first_of_all", "first_of_all-family", "in_turn"} <= set(listed)
    assert "Prune with in_turn" in run.stdout and "--benefit" not in run.stdout
    rows = json.loads((tmp_path / "run/compare.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["dense", "first_of_all", "in_turn"]


NEW_LINES = (
    (
        "baselines/first.py",
        '''"""The first players."""

import jax.numpy as jnp

from gamepruning.types import Scores


def first_scores(players):
    """The first stay."""
    value = -jnp.arange(players.num_players, dtype=jnp.float32)
    return Scores(value, jnp.zeros_like(value), 0)
''',
        "baselines/table.py",
        "from gamepruning.baselines.first import first_scores\n"
        'BASELINES["first_of_all"] = Baseline(first_scores, ("players",))',
    ),
    (
        "bandits/policies/in_turn.py",
        '''"""The arm with the fewest pulls."""

import jax

from gamepruning.bandits.policy import one_each, policy_by_index, remembered


@remembered
def in_turn():
    """The arm with the fewest pulls."""
    draw = one_each(jax.random.uniform)
    return policy_by_index("in_turn", draw, lambda state, noise: noise - state.counts)
''',
        "bandits/policies/__init__.py",
        "from gamepruning.bandits.policies.in_turn import in_turn\n"
        'POLICIES["in_turn"] = in_turn',
    ),
)


def test_a_biased_estimate_of_few_players_has_each_of_them_in_and_out(made):
    """Two coalitions a player are too few to be sure of that where a round has few."""
    scoring = ScoringSettings(bias=0.2)
    subject = Subject(made.task, made.task.params, scoring, made.keys.choose)
    scorer: Any = _make_scorer(METHODS["pruning-biased_banzhaf"], subject, 14)
    num_evaluations = scorer.keywords["num_evaluations"]
    assert 7 * 0.8**num_evaluations < 1e-8  # the chance that somebody is never in
    own = dataclasses.replace(subject, scoring=scoring.but(evaluations=9))
    scorer = _make_scorer(METHODS["pruning-biased_banzhaf"], own, 14)
    assert scorer.keywords["num_evaluations"] == 9  # as told
    even: Any = _make_scorer(METHODS["pruning-banzhaf"], subject, 4)
    assert even.keywords["num_evaluations"] >= 30  # of two free players


def test_greedy_scores_may_be_all_there_is(made, tmp_path):
    """Of one estimate, which is told of its progress, and not of rounds."""
    method = dataclasses.replace(METHODS["pruning-greedy"], selection="top_n")
    subject = Subject(made.task, made.task.params, ScoringSettings(), made.keys.choose)
    rounds = Rounds(3, 3, tmp_path / "c.npz", lambda done, total: None)
    found = rank(method, subject, rounds)
    assert found.value.shape == (made.task.players.num_players,)


def test_choices_see_all_classes_where_rows_are_sorted_by_them(made):
    """The first rows of a folder of images, or of a sorted table, are of one class."""
    train = made.task.dataset.train
    order = np.argsort(np.asarray(train.labels), kind="stable")
    train = Split(train.inputs[order], train.labels[order])
    task = made.task._replace(dataset=made.task.dataset._replace(train=train))
    subject = Subject(task, task.params, ScoringSettings(), made.keys.choose)
    _, labels = _training_rows(subject, 200)
    assert len(labels) == 200 and len(set(np.asarray(labels).tolist())) == 10
