"""Stages side by side: both done, or both ended with what they had."""

import signal
import threading

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from gamepruning.files.run_folder import RunFolder
from gamepruning.types import InputError
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.settings.parts import SettledTraining
from gamepruning.workbench.training import stages
from gamepruning.workbench.training.loop import TrainInfo

EPOCHS = 40


@pytest.fixture
def trainer(tmp_path):
    folder = RunFolder(tmp_path / "run", resume=False)
    folder.checkpoints.mkdir(parents=True)
    data = Split(jnp.ones((4, 1)), jnp.zeros(4))
    training = SettledTraining(
        epochs=EPOCHS,
        batch_size=4,
        optimizer="sgd",
        learning_rate=0.1,
        gate_learning_rate=0.1,
        fine_tune=0,
    )
    with Progress(disable=True) as progress:
        yield stages.Trainer(
            data, data, jnp.mean, training, folder, progress, threading.Event()
        )


def run(trainer, name, fails_after=None, error=None):
    """A stage that counts its epochs, and may fail."""
    epochs = [0]

    def record(state):
        epochs[0] += 1
        if error is not None and epochs[0] == fails_after:
            raise error
        return {"validation": float(state[0])}

    def step(state, batch):
        return state + batch.inputs.mean(), TrainInfo(batch.inputs.mean())

    stage = stages.Stage(
        name, name, EPOCHS, jax.random.key(0), jnp.zeros(1), step, record
    )
    return stages.run_stage(stage, trainer).state


def test_a_stage_goes_on_while_another_process_has_a_finite_loss(trainer):
    def step(state, batch):
        return state, TrainInfo(jnp.float32(jnp.nan))

    stage = stages.Stage(
        "sweep",
        "sweep",
        3,
        jax.random.key(0),
        jnp.zeros(1),
        step,
        lambda state: {"validation": 0.0},
    )
    with pytest.raises(InputError, match="training diverged: the loss is nan"):
        stages.run_stage(stage, trainer)
    found = stages.run_stage(stage._replace(loss_of=lambda own: 0.5), trainer)
    assert found.epochs == 3
    assert [line["loss"] for line in trainer.folder.records.read()] == [0.5] * 3


def test_a_bar_tells_the_time_that_is_left():
    columns = stages.new_progress(Console()).columns
    assert any(isinstance(column, TimeRemainingColumn) for column in columns)


def test_two_stages_run_side_by_side(trainer):
    """Each waits for the other to begin: one after the other would hang."""
    meet = threading.Barrier(2, timeout=60)

    def begin(name):
        meet.wait()
        return run(trainer, name)

    one, other = stages.side_by_side(trainer, lambda: begin("b"), lambda: begin("a"))
    assert one.tolist() == other.tolist() == [EPOCHS]
    trainer.folder.records.sort()
    lines = [(line["stage"], line["epoch"]) for line in trainer.folder.records.read()]
    assert lines == [(name, k) for name in "ab" for k in range(1, EPOCHS + 1)]


@pytest.mark.parametrize("failing", ["a", "b"])
@pytest.mark.parametrize("error", [KeyboardInterrupt("now"), InputError("diverged")])
def test_the_other_stage_ends_too_and_keeps_its_epochs(trainer, failing, error):
    begun, ended = threading.Event(), threading.Event()

    def fail():
        assert begun.wait(60)
        try:
            return run(trainer, failing, fails_after=3, error=error)
        finally:
            ended.set()

    def endless():
        for number in range(10**6):
            begun.set()
            run(trainer, f"long_{number}")
            if ended.is_set():
                assert trainer.stop.wait(60)

    calls = (fail, endless) if failing == "a" else (endless, fail)
    with pytest.raises(type(error), match=str(error)):
        stages.side_by_side(trainer, *calls)
    saved = {path.stem for path in trainer.folder.checkpoints.glob("*.npz")}
    assert {failing, "long_0"} <= saved


@pytest.fixture
def interruptible():
    """Not all shells let what they start in the background be interrupted."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_while_waiting_ends_the_other_stage(trainer):
    """The first call is done; only the main thread hears the interruption."""
    waits = threading.Event()

    def endless():
        assert waits.wait(60)
        main = threading.main_thread().ident
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
        for number in range(200):  # each of EPOCHS epochs
            run(trainer, f"long_{number}")
            trainer.stop.wait(0.1)

    with pytest.raises(KeyboardInterrupt):
        stages.side_by_side(trainer, waits.set, endless)
    saved = list(trainer.folder.checkpoints.glob("long_*.npz"))
    assert trainer.stop.is_set() and 0 < len(saved) < 100


def test_crops_are_the_same_after_an_interruption(trainer):
    """Each epoch crops anew, by its own key: an interrupted stage sees the same."""
    images = jnp.arange(4.0 * 8 * 8).reshape(4, 8, 8, 1)
    training = trainer.training._replace(augment=True)
    trainer = trainer._replace(train=Split(images, jnp.zeros(4)), training=training)
    whole = run(trainer, "whole")
    with pytest.raises(KeyboardInterrupt):
        run(trainer, "cut", fails_after=7, error=KeyboardInterrupt())
    assert run(trainer, "cut").tolist() == whole.tolist()
    plain = run(trainer._replace(training=training._replace(augment=False)), "plain")
    assert plain.tolist() != whole.tolist()
