"""The reasoning problems have the answers that their rules say."""

import numpy as np
import pytest

from experiments.bandits import reasoning_tasks as tasks


@pytest.mark.parametrize("name", ["modular", "dyck"])
def test_no_example_stands_in_two_parts(name):
    problem = tasks.make(name, 0)
    parts = (problem.train, problem.validation, problem.test)
    rows = np.concatenate([part.inputs.reshape(len(part.labels), -1) for part in parts])
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert max(part.labels.max() for part in parts) < problem.num_classes


def test_modular_labels_are_sums_and_differences():
    part = tasks.make("modular", 1).train
    first, op, second = np.moveaxis(part.inputs.argmax(-1), 1, 0)
    signs = np.where(op == tasks.MODULUS, 1, -1)
    assert (part.labels == (first + signs * second) % tasks.MODULUS).all()


def test_lists_are_told_by_their_operation():
    inputs, labels = tasks.lists(np.random.default_rng(0))
    tokens = inputs.argmax(-1)
    op, digits = tokens[:, 0] - 10, tokens[:, 1:]
    assert (labels[op == 0] == digits[op == 0].max(1)).all()
    assert (labels[op == 4] == np.sort(digits[op == 4])[:, 3]).all()
    assert (labels[op == 5] == digits[op == 5, :2].sum(1) % 10).all()


@pytest.mark.parametrize(
    ("tokens", "balanced"),
    [
        ([0, 2], True),  # ( )
        ([0, 1, 3, 2], True),  # ( [ ] )
        ([0, 1, 2, 3], False),  # ( [ ) ]
        ([0, 3], False),
        ([2, 0], False),
        ([0, 0, 2], False),
    ],
)
def test_brackets(tokens, balanced):
    assert tasks.is_balanced(np.array(tokens)) == balanced


def test_questions_about_a_drawing():
    """Red square top left, green cross near it, blue square bottom right."""
    places = np.array([[0, 0], [0, 4], [9, 9]])
    scene = tasks.Scene(places, np.array([0, 1, 0]))
    told = [tasks.answer(scene, 0, question) for question in range(6)]
    assert told == [0, 1, 1, 2, 1, 1]  # the next is nearer; one other is a square
    assert tasks.answer(scene, 2, 3) == 3  # nearest to blue: the last of the others
    assert tasks.answer(scene, 1, 5) == 0
    picture = tasks.draw(scene)
    assert picture[..., 0].sum() == 9
    assert picture[..., 1].sum() == 5
